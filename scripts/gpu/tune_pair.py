"""Races every plan of some pairs (cluster size, rows a step, stages) against dense, two bmm and the copy limit: what the rule of
factors.pair_plan is made from.

usage: tune_pair.py OUT.json [--shapes 64x64x64x64x1,...] [--rows 25088]
"""

import argparse
import json
from concurrent.futures import ThreadPoolExecutor, wait

import torch

from factors import PairShape, pair_candidates, pair_groups_candidates, pair_kernels, pair_plan
from timing import median_ms

parser = argparse.ArgumentParser()
parser.add_argument("out")
parser.add_argument("--shapes", default="64x64x64x64x1,32x64x32x64x1,32x32x32x32x1,24x32x24x32x1,32x32x32x32x2,32x32x32x32x4,64x64x64x64x2,"
                    "32x64x32x64x2,64x16x16x64x4,1024x1x1x1024x64")
parser.add_argument("--rows", type=int, default=25088)
parser.add_argument("--groups", action="store_true",
                    help="Hopper's warpgroups, where they are expected to be nearly as fast as the best, and the other kernel's plan by rule only")
options = parser.parse_args()


def main():
    big = [torch.randn(1 << 29, device="cuda").to(torch.bfloat16) for _ in range(2)]
    copy = 4 * (1 << 29) / median_ms(lambda i: torch.neg(big[0], out=big[1])) * 1e3
    del big
    print(f"copy {copy / 1e12:.3f} TB/s")
    report = {"copy_bytes_per_s": copy, "rows": options.rows, "shapes": []}
    pool = ThreadPoolExecutor(14)
    shapes = [PairShape(*map(int, s.split("x"))) for s in options.shapes.split(",")]

    def plans(shape):
        if not options.groups:
            return pair_candidates(shape)
        groups = pair_groups_candidates(shape)
        least = min((p.cost(options.rows) for p in groups), default=0)
        return [p for p in groups if p.cost(options.rows) <= 1.15 * least] + [p for p in [pair_plan(shape)] if p]

    jobs = {s: [(p, pool.submit(pair_kernels, p)) for p in plans(s)] for s in shapes}
    # Compiling beside a measurement would disturb it.
    wait(job for all_jobs in jobs.values() for _, job in all_jobs)
    for shape in shapes:
        m = options.rows
        sets = max(2, min(6, 200_000_000 // (2 * m * (shape.inputs + shape.outputs)) + 1))
        xs = [torch.randn(m, shape.inputs, device="cuda").to(torch.bfloat16) for _ in range(sets)]
        ys = [torch.empty(m, shape.outputs, device="cuda", dtype=torch.bfloat16) for _ in range(sets)]
        x, y = xs[0], ys[0]
        core0, core1 = shape.draw(torch, torch.bfloat16)
        dense = torch.randn(shape.outputs, shape.inputs, device="cuda").to(torch.bfloat16)
        exact = shape.reference(x[:300].double(), core0.double(), core1.double())
        plain = shape.reference(x[:300], core0, core1).double()
        allowed = 2 * (plain - exact).abs().max().item()
        limit = 2 * (x.numel() + y.numel()) / copy * 1e3
        print(f"{shape} limit {limit:.4f} dense {median_ms(lambda i: torch.matmul(xs[i], dense.t(), out=ys[i]), sets):.4f} "
              f"two bmm {median_ms(lambda i: shape.reference(xs[i], core0, core1), sets):.4f}  allowed {allowed:.2e}")
        rows = []
        for plan, job in jobs[shape]:
            try:
                pair = job.result()
                packed = pair.pack(torch, core0, core1)
                worst = 0.0
                for count in (300, 5, m):
                    y.fill_(float("nan"))
                    pair(x[:count], packed, y[:count])
                    torch.cuda.synchronize()
                    k = min(count, 300)
                    error = (y[:k].double() - exact[:k]).abs().max().item()
                    worst = max(worst, error / allowed if error == error else float("inf"))
                    if count < m and not y[count:].isnan().all():
                        worst = float("inf")
                if y.isnan().any():
                    worst = float("inf")
                ms = median_ms(lambda i: pair(xs[i], packed, ys[i]), sets)
                rows.append((ms, str(plan), pair.resident, worst))
            except Exception as error:
                rows.append((1e9, str(plan), 0, str(error)[:150]))
        rows.sort(key=lambda r: r[0])
        for ms, plan, resident, worst in rows[:7] + [r for r in rows[7:] if r[0] > 1e8 or not r[3] <= 1][:3]:
            print(f"   {plan:16s} resident {resident:3d} {ms:.4f} ms  limit x {ms / limit:.2f}  error/allowed {worst}")
        report["shapes"].append({"shape": vars(shape), "limit_ms": limit, "plans": rows})
        with open(options.out, "w") as f:
            json.dump(report, f, indent=1)
        del x, y, xs, ys


if __name__ == "__main__":
    main()
