"""Races the first plans of factors.kronecker_plans on some patterns: how good the model's choice is.

usage: tune_kronecker.py OUT.json [--patterns 1x48x48x8,...] [--rows 25088] [--plans 6]
"""

import argparse
import json
from concurrent.futures import ThreadPoolExecutor

import torch

from factors import Kronecker, kronecker_plans, kronecker_reference
from timing import median_ms

parser = argparse.ArgumentParser()
parser.add_argument("out")
parser.add_argument("--patterns", default="1x48x48x8,1x64x64x16,1x48x48x96,1x128x128x96,1x96x384x8,1x48x192x24,1x192x48x24,1x96x96x128,1x128x128x6,1x256x256x3,"
                    "1x128x512x2,1x512x128x4,96x64x64x1,12x192x192x1,4x256x1024x1,4x48x48x64,4x128x128x16,1x64x64x2,1x512x512x6")
parser.add_argument("--rows", type=int, default=25088)
parser.add_argument("--plans", type=int, default=6)
options = parser.parse_args()


def main():
    big = [torch.randn(1 << 29, device="cuda").to(torch.bfloat16) for _ in range(2)]
    copy = 4 * (1 << 29) / median_ms(lambda i: torch.neg(big[0], out=big[1])) * 1e3
    del big
    patterns = [tuple(map(int, p.split("x"))) for p in options.patterns.split(",")]
    pool = ThreadPoolExecutor(14)
    jobs = {p: [] for p in patterns}
    for p in patterns:
        seen = set()
        for plan in kronecker_plans(p, options.rows):
            key = (plan.slice, plan.part, plan.width, plan.tiles, plan.row_blocks, plan.warps, plan.blocks)
            if key not in seen and len(jobs[p]) < options.plans:
                seen.add(key)
                jobs[p].append((plan, pool.submit(Kronecker, plan)))
    report = {"copy_bytes_per_s": copy, "patterns": []}
    for p in patterns:
        a, b, c, d = p
        m = options.rows
        sets = max(1, min(4, 200_000_000 // (2 * m * a * d * (b + c)) + 1))
        xs = [torch.randn(m, a * c * d, device="cuda").to(torch.bfloat16) for _ in range(sets)]
        ys = [torch.empty(m, a * b * d, device="cuda", dtype=torch.bfloat16) for _ in range(sets)]
        w = (torch.randn(a, b, c, d, device="cuda") / c ** 0.5).to(torch.bfloat16)
        limit = max(2 * m * a * d * (b + c) / copy, 2 * m * a * b * c * d / 690e12) * 1e3
        bmm = median_ms(lambda i: kronecker_reference(xs[i], w), sets, 5)
        direct = 0.0
        if d == 1:
            wt = w.view(a, b, c).transpose(1, 2)
            direct = median_ms(lambda i: torch.bmm(xs[i].view(m, a, c).transpose(0, 1), wt, out=ys[i].view(m, a, b).transpose(0, 1)), sets, 5)
        exact = kronecker_reference(xs[0][:300].double(), w.double())
        allowed = 2 * (kronecker_reference(xs[0][:300], w).double() - exact).abs().max().item()
        print(f"{p} limit {limit:.4f} bmm x {bmm / limit:.2f} direct x {direct / limit:.2f}")
        rows = []
        for plan, job in jobs[p]:
            run = job.result()
            packed = run.pack(torch, w)
            worst = 0.0
            for count in (300, m):
                ys[0].fill_(float("nan"))
                run(xs[0][:count], packed, ys[0][:count])
                torch.cuda.synchronize()
                error = (ys[0][:300].double() - exact).abs().max().item()
                worst = max(worst, error / allowed if error == error else float("inf"))
            if ys[0].isnan().any():
                worst = float("inf")
            ms = median_ms(lambda i: run(xs[i], packed, ys[i]), sets, 5)
            rows.append((ms / limit, plan.cost(m) / limit * 1e3, worst, str(plan), plan.splits(m), [round(t / limit * 1e3, 2) for t in plan.times(m)[:4]]))
        for row in rows:
            print("   x {:.2f}  model {:.2f}  error {:.2f}  {} z{} {}".format(*row))
        report["patterns"].append({"pattern": p, "limit_ms": limit, "bmm": bmm, "direct": direct, "plans": rows})
        del xs, ys
    with open(options.out, "w") as f:
        json.dump(report, f, indent=1)


main()
