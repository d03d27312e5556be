"""Races the ways of a Kronecker-sparse factor, batch first: the kernel of warp-wide instructions, plans of the kernel of warpgroups, turned
block-diagonal products (with d = 1 in place), the usual batched product and dense.

usage: race_factors.py OUT.json [--patterns FILE] [--first 62] [--rows 25088] [--plans 4] [--element bfloat16] [--exact] [--seconds 100]
"""

import argparse
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import torch

from factors import Groups, Kronecker, Turn, groups_plans, kronecker_plans, kronecker_reference
from timing import median_ms

parser = argparse.ArgumentParser()
parser.add_argument("out")
parser.add_argument("--patterns", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../benchmarks/factor-patterns.txt"))
parser.add_argument("--first", type=int, default=1000)
parser.add_argument("--rows", type=int, default=25088)
parser.add_argument("--plans", type=int, default=4)
parser.add_argument("--element", default="bfloat16")
parser.add_argument("--exact", action="store_true")
parser.add_argument("--seconds", type=float, default=100)
options = parser.parse_args()


def distinct(plans, count, key):
    """The first plans that differ in more than depth."""
    result = {}
    for plan in plans:
        result.setdefault(key(plan), plan)
        if len(result) == count:
            break
    return list(result.values())


def main():
    began = time.time()
    torch.backends.cuda.matmul.allow_tf32 = not options.exact
    dtype = getattr(torch, options.element)
    size = torch.empty((), dtype=dtype).element_size()
    big = [torch.randn(1 << 28, device="cuda") for _ in range(2)]
    copy = 8 * (1 << 28) / median_ms(lambda i: torch.neg(big[0], out=big[1])) * 1e3
    del big
    left, right = (torch.randn(8192, 8192, device="cuda").to(dtype) for _ in range(2))
    rate = 2 * 8192 ** 3 / median_ms(lambda i: left @ right, 1, 3) * 1e3
    print(f"copy {copy / 1e12:.2f} TB/s, dense {rate / 1e12:.0f} TFLOP/s, {options.element}{' exact' if options.exact else ''}, {options.rows} rows")
    with open(options.patterns) as f:
        patterns = [tuple(map(int, line.split("x"))) for line in f.read().split("\n") if line and line[0] != "#"]
    patterns = patterns[:options.first]
    pool, jobs, m = ThreadPoolExecutor(15), {}, options.rows
    for p in patterns:
        a, b, c, d = p
        aligned = d * size % 16 == 0 or (d <= 16 and c * d * size % 16 == 0)
        ordered = groups_plans(p, m, size, options.exact, aligned)
        plans = distinct(ordered, options.plans, lambda q: (q.slice, q.width, q.tiles, q.row_units, q.stationary))
        # And the best of each kind.
        for kind in (lambda q: (q.slice, q.width), lambda q: q.stationary, lambda q: q.row_units, lambda q: q.tensor):
            plans += [q for q in distinct(ordered, 4, kind) if q not in plans and q.cost(m) < 2 * ordered[0].cost(m)]
        jobs[p] = [(plan, pool.submit(Groups, plan, options.element)) for plan in plans]
        if size == 2:
            old = kronecker_plans(p, m, d % 8 == 0 or (d <= 24 and c * d % 8 == 0))[0]
            jobs[p].append((old, pool.submit(Kronecker, old)))
        if d > 1:
            jobs[p].append(("turn", pool.submit(lambda a=a, b=b, c=c, d=d: (Turn(a, c, d, options.element), Turn(a, d, b, options.element)))))
    report = {"copy_bytes_per_s": copy, "flops": rate, "rows": m, "element": options.element, "exact": options.exact, "patterns": []}
    for p in patterns:
        if time.time() - began > options.seconds:
            print("out of time")
            break
        a, b, c, d = p
        volume = size * m * a * d * (b + c)
        sets = max(1, min(4, 200_000_000 // volume + 1))
        xs = [torch.randn(m, a * c * d, device="cuda").to(dtype) for _ in range(sets)]
        ys = [torch.empty(m, a * b * d, device="cuda", dtype=dtype) for _ in range(sets)]
        w = (torch.randn(a, b, c, d, device="cuda") / c ** 0.5).to(dtype)
        limit = max(volume / copy, 2 * m * a * b * c * d / rate) * 1e3
        exact = kronecker_reference(xs[0][:300].double(), w.double())
        allowed = 2 * (kronecker_reference(xs[0][:300], w).double() - exact).abs().max().item() + 1e-6 * exact.abs().max().item()
        repeats = 3 if limit > 0.5 else 5
        entry = {"pattern": p, "limit_ms": limit, "ways": []}

        def measure(name, run, more=None):
            ys[0].fill_(float("nan"))
            run(0)
            torch.cuda.synchronize()
            error = (ys[0][:300].double() - exact).abs().max().item() / allowed
            if not error <= 1 or ys[0].isnan().any():
                error = float("inf")
            entry["ways"].append((name, median_ms(run, sets, repeats) / limit, error, more))

        entry["bmm"] = median_ms(lambda i: kronecker_reference(xs[i], w), sets, 3) / limit
        if a * b * d * a * c * d < 1 << 25 and a * d < 40:
            matrix = torch.zeros(a, b, d, a, c, d, device="cuda", dtype=dtype)
            for i in range(a):
                for l in range(d):
                    matrix[i, :, l, i, :, l] = w[i, :, :, l]
            matrix = matrix.view(a * b * d, a * c * d)
            measure("dense", lambda i: torch.mm(xs[i], matrix.t(), out=ys[i]))
        if d == 1:
            back = w.view(a, b, c).transpose(1, 2)
            measure("in place", lambda i: torch.bmm(xs[i].view(m, a, c).transpose(0, 1), back, out=ys[i].view(m, a, b).transpose(0, 1)))
        for plan, job in jobs[p]:
            made = job.result()
            if plan == "turn":
                back = w.permute(0, 3, 2, 1).reshape(a * d, c, b).contiguous()
                whole = [torch.empty(m, a * d * n, device="cuda", dtype=dtype) for n in (c, b)]

                def turned(i):
                    u, v = whole
                    made[0](xs[i], u)
                    torch.bmm(u.view(m, a * d, c).transpose(0, 1), back, out=v.view(m, a * d, b).transpose(0, 1))
                    made[1](v, ys[i])

                measure("turned", turned)
                entry["ways"].append(("turn alone", median_ms(lambda i: made[0](xs[i], whole[0]), sets, 3) / (2 * size * m * a * c * d / copy * 1e3), 0.0, None))
                del whole
            else:
                packed = made.pack(torch, w)
                try:
                    measure(str(plan), lambda i: made(xs[i], packed, ys[i]),
                            {"model": plan.cost(m) / limit * 1e3, "times": [t / limit * 1e3 for t in plan.times(m)[:4]]})
                except RuntimeError as error:
                    print(plan, error)
        best = min(way[1] for way in entry["ways"] if way[0] != "turn alone")
        print(f"{p} limit {limit:.4f} bmm {entry['bmm']:.2f} best {best:.2f}: " + "; ".join(
            f"{name} {ratio:.2f}" + (f"/{more['model']:.2f}" if more else "") + (f" ERROR {error:.2f}" if not error <= 1 else "")
            for name, ratio, error, more in entry["ways"]))
        report["patterns"].append(entry)
        del xs, ys
    with open(options.out, "w") as f:
        json.dump(report, f, indent=1)


main()
