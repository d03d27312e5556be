"""Times Kronecker-sparse factors and pairs of factors against their rivals in one run; energy of some; JSON.

usage: bench_factors.py OUT.json [--patterns 104] [--seconds 200]
"""

import argparse
import json
import random
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pynvml
import torch

from factors import (Kronecker, Pair, PairBackward, PairGroups, PairShape, kronecker_choice, kronecker_reference, pair_groups_plan,
                     pair_plan)
from timing import median_ms

parser = argparse.ArgumentParser()
parser.add_argument("out")
parser.add_argument("--patterns", type=int, default=104)
parser.add_argument("--seconds", type=float, default=200)
options = parser.parse_args()
torch.manual_seed(0)
torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
started = time.time()
pool = ThreadPoolExecutor(14)
pynvml.nvmlInit()
handle = pynvml.nvmlDeviceGetHandleByIndex(0)
BF16, ROWS = torch.bfloat16, 25088


def draw(*shape, dtype=BF16):
    return torch.randn(*shape, device="cuda", dtype=dtype)


def grid_patterns(count):
    """A fixed sample of the paper's grid (a = 1 or d = 1), and of the authors' second batch (a > 1 and d > 1)."""
    sizes = [48, 64, 96, 128, 192, 256, 384, 512, 768, 1024]
    outer = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128]
    blocks = [(b, c) for b in sizes for c in sizes if b == c or b == 4 * c or c == 4 * b]
    paper = [(a, b, c, d) for b, c in blocks for a in outer for d in outer if a == 1 or d == 1]
    second = [(a, b, c, d) for b, c in blocks for a in outer[1:] for d in (4, 16, 64)]
    small = lambda p: p[0] * p[3] * max(p[1], p[2]) * ROWS < 2 ** 31 and p[0] * p[3] * p[1] * p[2] < 2 ** 27
    chosen = random.Random(5)
    return (chosen.sample([p for p in paper if small(p)], count * 3 // 4)
            + chosen.sample([p for p in second if small(p)], count - count * 3 // 4))


def timed(table, name, run, sets=1):
    try:
        table[name] = median_ms(run, sets, 5)
    except Exception as error:
        torch.cuda.synchronize()
        table[name + " failed"] = str(error).splitlines()[0][:120]


def energy(run, seconds=0.35):
    """Joules a call, by NVML's counter over many calls."""
    run(0)
    torch.cuda.synchronize()
    calls, begin = 0, time.time()
    while time.time() - begin < seconds / 2:
        run(0)
        calls += 1
        if calls % 16 == 0:
            torch.cuda.synchronize()
    torch.cuda.synchronize()
    first, count, begin = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle), 0, time.time()
    while time.time() - begin < seconds:
        for _ in range(16):
            run(0)
        count += 16
        torch.cuda.synchronize()
    return (pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) - first) / 1e3 / count


def batch_last(table, pattern, m, dtype):
    """Strided batched products that need no copy (one for each i where d > 1), and the usual one."""
    a, b, c, d = pattern
    x, w = draw(a * c * d, m, dtype=dtype), draw(a, b, c, d, dtype=dtype)
    y = torch.empty(a * b * d, m, device="cuda", dtype=dtype)
    left = w.permute(0, 3, 1, 2).reshape(a * d, b, c)
    if d == 1:
        timed(table, "last: zero-copy bmm", lambda i: torch.bmm(left, x.view(a, c, m), out=y.view(a, b, m)))
    else:
        xv, yv, lv = x.view(a, c, d, m).transpose(1, 2), y.view(a, b, d, m).transpose(1, 2), left.view(a, d, b, c)

        def direct(i):
            for n in range(a):
                torch.bmm(lv[n], xv[n], out=yv[n])

        timed(table, "last: zero-copy bmm", direct)

    def usual(i):
        z = left @ x.view(a, c, d, m).transpose(1, 2).reshape(a * d, c, m)
        return z.view(a, d, b, m).transpose(1, 2).reshape(a * b * d, m)

    timed(table, "last: bmm", usual)


def factor(pattern, m, element, run, plan, limits, with_energy=False):
    a, b, c, d = pattern
    dtype = getattr(torch, element)
    move = 2 * m * a * d * (b + c) + 2 * a * b * c * d
    limit = max(move / limits["copy_bytes_per_s"], 2 * m * a * b * c * d / limits["bf16_flop_per_s"]) * 1e3
    sets = max(1, min(4, 200_000_000 // move + 1))
    xs = [draw(m, a * c * d, dtype=dtype) for _ in range(sets)]
    ys = [torch.empty(m, a * b * d, device="cuda", dtype=dtype) for _ in range(sets)]
    w = draw(a, b, c, d, dtype=dtype) / c ** 0.5
    table = {}
    if run is not None:
        packed = run.pack(torch, w)
        timed(table, "kernel", lambda i: run(xs[i], packed, ys[i]), sets)
    if d == 1:
        wt = w.view(a, b, c).transpose(1, 2)
        timed(table, "zero-copy bmm", lambda i: torch.bmm(xs[i].view(m, a, c).transpose(0, 1), wt,
                                                          out=ys[i].view(m, a, b).transpose(0, 1)), sets)
    timed(table, "bmm", lambda i: kronecker_reference(xs[i], w), sets)
    timed(table, "einsum", lambda i: torch.einsum("macd,abcd->mabd",
                                                  xs[i].view(m, a, c, d), w), sets)
    if a * b * d * a * c * d <= 1 << 27:
        dense = draw(a * b * d, a * c * d, dtype=dtype)
        timed(table, "dense", lambda i: torch.matmul(xs[i], dense.t(), out=ys[i]), sets)
    batch_last(table, pattern, m, dtype)
    row = {"pattern": pattern, "rows": m, "element": element, "limit_ms": limit, "ms": table}
    if plan is not None:
        row["plan"] = str(plan)
    if with_energy:
        joules = {"bmm": energy(lambda i: kronecker_reference(xs[0], w))}
        if run is not None:
            joules["kernel"] = energy(lambda i: run(xs[0], packed, ys[0]))
        if d == 1:
            joules["zero-copy bmm"] = energy(lambda i: torch.bmm(xs[0].view(m, a, c).transpose(0, 1), wt,
                                                                 out=ys[0].view(m, a, b).transpose(0, 1)))
        row["joules"] = joules
    return row


def zero_copy_pair(shape, x, y, left, core1):
    """kronecker-sparse.md, A10: the intermediate batch last, so that no operand needs a copy. `left` is [m1, R n0, m0]."""
    m, s = x.shape[0], shape
    z = torch.bmm(left, x.view(m, s.m1, s.m0).permute(1, 2, 0))
    torch.bmm(z.view(s.m1 * s.rank, s.n0, m).permute(1, 2, 0), core1, out=y.view(m, s.n0, s.n1).transpose(0, 1))


def pair(name, shape, m, forward, back, limits, backward, with_energy):
    s = shape
    move = 2 * m * (s.inputs + s.outputs) + 2 * s.multiply_adds
    limit = max(move / limits["copy_bytes_per_s"], 2 * m * s.multiply_adds / limits["bf16_flop_per_s"]) * 1e3
    sets = max(1, min(4, 200_000_000 // move + 1))
    xs, ys = [draw(m, s.inputs) for _ in range(sets)], [draw(m, s.outputs) for _ in range(sets)]
    core0, core1 = s.draw(torch, BF16)
    dense = draw(s.outputs, s.inputs)
    left = core0.view(s.m1, s.m0, s.n0, s.rank).permute(0, 3, 2, 1).reshape(s.m1, s.rank * s.n0, s.m0).contiguous()
    table, row = {}, {"name": name, "shape": vars(s), "rows": m, "limit_ms": limit, "memory_limit_ms": move / limits["copy_bytes_per_s"] * 1e3}
    timed(table, "dense", lambda i: torch.matmul(xs[i], dense.t(), out=ys[i]), sets)
    timed(table, "two bmm", lambda i: s.reference(xs[i], core0, core1), sets)
    timed(table, "zero-copy bmm", lambda i: zero_copy_pair(s, xs[i], ys[i], left, core1), sets)
    if forward is not None:
        packed = forward.pack(torch, core0, core1)
        row["plan"] = str(forward.plan)
        timed(table, "kernel", lambda i: forward(xs[i], packed, ys[i]), sets)
        timed(table, "pack", lambda i: forward.pack(torch, core0, core1))
    if backward:
        dx, dy, dw = draw(m, s.inputs), draw(m, s.outputs), torch.empty_like(dense)

        def dense_both(i):
            torch.matmul(xs[i], dense.t(), out=ys[i])
            torch.matmul(dy, dense, out=dx)
            torch.matmul(dy.t(), xs[i], out=dw)

        timed(table, "dense forward+backward", dense_both, sets)
        leaves = [v.detach().clone().requires_grad_() for v in (xs[0], core0, core1)]
        timed(table, "two bmm forward+backward", lambda i: torch.autograd.grad(s.reference(*leaves), leaves, dy))
        if back is not None:
            grads = torch.empty_like(core0), torch.empty_like(core1)
            both = back.pack(torch, core0, core1)
            inner = back.allocate(torch, m, BF16)

            def ours(i):
                forward(xs[i], packed, ys[i])
                back(torch, xs[i], dy, *both, *inner, dx, *grads)

            timed(table, "kernel forward+backward", ours, sets)
            keeping, saved = Pair(forward.plan, keep=True), PairBackward(back.plan, back.transposed_plan, recompute=False)

            def saving(i):
                keeping(xs[i], packed, ys[i], inner=inner[0])
                saved(torch, xs[i], dy, *both, *inner, dx, *grads)

            timed(table, "kernel forward+backward, z saved", saving, sets)
    if with_energy:
        row["joules"] = {"dense": energy(lambda i: torch.matmul(xs[0], dense.t(), out=ys[0])),
                         "two bmm": energy(lambda i: s.reference(xs[0], core0, core1)),
                         "zero-copy bmm": energy(lambda i: zero_copy_pair(s, xs[0], ys[0], left, core1))}
        if forward is not None:
            row["joules"]["kernel"] = energy(lambda i: forward(xs[0], packed, ys[0]))
    row["ms"] = table
    return row


def pair_shapes():
    def balanced(width):
        low = next(v for v in range(int(width ** 0.5), 0, -1) if width % v == 0)
        return low, width // low

    shapes = []
    for width in (768, 1024, 1536, 2048, 3072, 4096, 8192):
        low, high = balanced(width)
        for rank in (1, 2, 4):
            shapes.append((f"btt r{rank} {width}", PairShape(low, high, low, high, rank)))
        for blocks in (4, 16):
            side = width // blocks
            shapes.append((f"monarch {blocks} {width}", PairShape(side, blocks, blocks, side, max(1, side // blocks))))
        same = max(8, low * high * (low + high) // (2 * width) // 8 * 8)
        shapes.append((f"low rank {same} {width}", PairShape(width, 1, 1, width, same)))
    return shapes


def machine():
    query = "name,driver_version,clocks.sm,clocks.mem,power.draw,temperature.gpu"
    smi = subprocess.run(["nvidia-smi", "--query-gpu=" + query, "--format=csv,noheader"], capture_output=True, text=True)
    return {"gpu": torch.cuda.get_device_name(0), "nvidia_smi": {query: smi.stdout.strip()}, "torch": torch.__version__,
            "cuda": torch.version.cuda, "multiprocessors": torch.cuda.get_device_properties(0).multi_processor_count}


def main():
    big = [torch.randn(1 << 29, device="cuda").to(BF16) for _ in range(2)]
    copy = 4 * (1 << 29) / median_ms(lambda i: torch.neg(big[0], out=big[1])) * 1e3
    del big
    x, w = draw(8192, 8192), draw(8192, 8192)
    rate = 2 * 8192 ** 3 / median_ms(lambda i: x @ w, 1, 20) * 1e3
    del x, w
    limits = {"copy_bytes_per_s": copy, "bf16_flop_per_s": rate}
    report = {"command": f"scripts/gpu/bench_factors.py OUT.json --patterns {options.patterns}", "machine": machine(), "limits": limits,
              "factors": [], "pairs": []}
    print(json.dumps(limits))
    patterns = grid_patterns(options.patterns)
    work = [(p, ROWS, "bfloat16") for p in patterns]
    work += [(p, m, "bfloat16") for m in (4096, 512) for p in patterns[::5]] + [(p, ROWS, "float16") for p in patterns[2::8]]

    def build(p, m, element):
        a, b, c, d = p
        aligned = d % 8 == 0 or (d <= 24 and c * d % 8 == 0)
        path, plan, predicted = kronecker_choice(p, m, aligned)
        return path, predicted, plan, Kronecker(plan, element) if plan else None

    def build_pair(shape, rows):
        plan, back = pair_plan(shape), pair_plan(shape.transposed)
        if plan:
            Pair(plan, keep=True)  # compiled ahead, into the cache
        return (Pair(plan) if plan else None, PairBackward(plan, back) if plan and back else None)

    shapes = pair_shapes()
    pair_jobs = {name: pool.submit(build_pair, shape, ROWS) for name, shape in shapes}
    jobs = [pool.submit(build, *item) for item in work]

    for name, shape in shapes:
        forward, back = pair_jobs[name].result()
        for m in (ROWS, 2048, 64, 1):
            if m < 2048 and ("btt r1" not in name):
                continue
            row = pair(name, shape, m, forward, back, limits,
                       backward=m >= 2048, with_energy=m == ROWS and name in ("btt r1 4096", "btt r1 1024", "btt r1 2048"))
            report["pairs"].append(row)
            t = row["ms"]
            print(name, m, row.get("plan"), {k: round(v, 4) if isinstance(v, float) else v for k, v in t.items()}, "limit",
                  round(row["limit_ms"], 4), row.get("joules", ""))
        torch.cuda.empty_cache()
        if time.time() - started > options.seconds * 0.4:
            print("pairs cut short by time")
            break
    save(report)
    for number, (item, job) in enumerate(zip(work, jobs)):
        if time.time() - started > options.seconds:
            print("factors cut short by time after", number)
            break
        path, predicted, plan, kernel = job.result()
        try:
            row = factor(*item, kernel, plan, limits, with_energy=item[1] == ROWS and item[2] == "bfloat16" and number % 13 == 0)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            row = {"pattern": item[0], "rows": item[1], "element": item[2], "failed": "memory"}
        row.update(choice=path, predicted_ms={k: v * 1e3 for k, v in predicted.items()})
        report["factors"].append(row)
        if number % 16 == 0:
            torch.cuda.empty_cache()
    report["machine_after"] = machine()["nvidia_smi"]
    save(report)
    summary(report)


def save(report):
    with open(options.out, "w") as f:
        json.dump(report, f, indent=1)


def summary(report):
    def median(values):
        values = sorted(values)
        return round(values[len(values) // 2], 3) if values else None

    for m, element in ((ROWS, "bfloat16"), (4096, "bfloat16"), (512, "bfloat16"), (ROWS, "float16")):
        rows = [r for r in report["factors"] if r["rows"] == m and r["element"] == element and r.get("choice") in r.get("ms", {})]
        ours = lambda r: r["ms"][r["choice"]]
        rival = lambda r: min(r["ms"][k] for k in ("bmm", "einsum", "dense") if k in r["ms"])
        for label, some in (("all", rows), ("d=1", [r for r in rows if r["pattern"][3] == 1]),
                            ("a=1 d>1", [r for r in rows if r["pattern"][0] == 1 and r["pattern"][3] > 1]),
                            ("a>1 d>1", [r for r in rows if r["pattern"][0] > 1 and r["pattern"][3] > 1])):
            print(m, element, label, len(some), "limit x: ours", median([ours(r) / r["limit_ms"] for r in some]), "kernel",
                  median([r["ms"]["kernel"] / r["limit_ms"] for r in some if "kernel" in r["ms"]]), "rival / ours", median([rival(r) / ours(r) for r in some]),
                  "least", round(min([rival(r) / ours(r) for r in some], default=0), 2), "predicted / kernel",
                  median([r["predicted_ms"]["kernel"] / r["ms"]["kernel"] for r in some if "kernel" in r["ms"]]), "last zero-copy",
                  median([r["ms"]["last: zero-copy bmm"] / r["limit_ms"] for r in some if "last: zero-copy bmm" in r["ms"]]))
    for r in report["factors"]:
        if "joules" in r:
            print("energy", r["pattern"], {k: round(v * 1e3, 2) for k, v in r["joules"].items()}, "mJ")


main()
