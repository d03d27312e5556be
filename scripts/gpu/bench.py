"""Times Strassen-Tile's kernels and their rivals in one run: medians and spread, share of the limits measured in the same run,
energy, JSON. All candidates of a shape, of every rank, run in one race.

usage: bench.py --prepare OUT.json ...    (optional: compiles what torch.compile will be asked for, by several processes)
       bench.py OUT.json [--shapes MxKxN,...] [--ranks 16,24,...] [--compile-ranks ...] [--compile-backward-ranks ...]
                [--energy SHAPES] [--parts] [--no-sparse] [--rounds 3]

Rivals: dense cuBLAS; 2:4 by cuSPARSELt with its search; the operator written plainly in PyTorch, and that under torch.compile; a
pair of plain Triton kernels around torch.bmm. Ours is what the Swift library launches. Forward and backward is y, dx and dw, all
written out; the planes of x are computed again.

What an illegal memory access ends is a process of its own, which the next shape gets too. 2:4 has one for itself, beside a dense
product of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import time

import torch

from strassen import Rows, StrassenTile, ceil_div
from race import Race, energy_meter

parser = argparse.ArgumentParser()
parser.add_argument("out")
parser.add_argument("--shapes", default="8192x8192x8192,16384x4096x4096,16384x4096x11008,16384x11008x4096,4096x2048x5632,"
                    "32768x1024x4096,25088x768x3072,4095x2047x5631")
parser.add_argument("--ranks", default="16,24,32,48,49")
parser.add_argument("--compile-ranks", default="16,24,32,48,49")
parser.add_argument("--compile-backward-ranks", default="16,24,32")
parser.add_argument("--energy", default="8192x8192x8192,16384x4096x4096")
parser.add_argument("--parts", action="store_true")
parser.add_argument("--no-sparse", action="store_true")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--workers", type=int, default=12)
parser.add_argument("--prepare", action="store_true")
parser.add_argument("--warm", help="internal: compile every WORKERS-th candidate from this one, and end")
parser.add_argument("--part", help="internal: measure all, all but torch.compile, or 2:4, and end")
parser.add_argument("--limits", help="internal: the ceilings")
options = parser.parse_args()
torch.manual_seed(0)
torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
L2 = torch.cuda.get_device_properties(0).L2_cache_size


def numbers(text):
    return [int(v) for v in text.split(",") if v]


SHAPES = [tuple(int(v) for v in shape.split("x")) for shape in options.shapes.split(",")]
RANKS = numbers(options.ranks)


def machine():
    query = "name,driver_version,clocks.sm,clocks.mem,power.draw,power.limit,temperature.gpu"
    smi = subprocess.run(["nvidia-smi", "--query-gpu=" + query, "--format=csv,noheader"], capture_output=True, text=True)
    import triton
    return {"gpu": torch.cuda.get_device_name(0), "nvidia_smi": {query: smi.stdout.strip()},
            "multiprocessors": torch.cuda.get_device_properties(0).multi_processor_count, "l2_bytes": L2,
            "torch": torch.__version__, "cuda": torch.version.cuda, "triton": triton.__version__}


def draw(*shape):
    return torch.randn(*shape, device="cuda").to(torch.bfloat16)


def ceilings():
    race = Race()
    a, b = draw(1 << 30), draw(1 << 30)
    race.add("copy", lambda i: torch.neg(a, out=b))
    x, w = draw(8192, 8192), draw(8192, 8192)
    y = torch.empty_like(x)
    race.add("matmul", lambda i: torch.matmul(x, w.t(), out=y))
    t = race.run(5)
    return {"copy_bytes_per_s": 2 * a.numel() * 2 / t["copy"]["ms"] * 1e3,
            "bf16_flop_per_s": 2 * 8192 ** 3 / t["matmul"]["ms"] * 1e3}


# 2:4


def measure_sparse(shape, meter):
    """Half of the weight is zero in the pattern 2:4; the algorithm is the fastest that cuSPARSELt's search finds."""
    M, K, N = shape
    if not is_whole(shape):
        return {"failed": "needs whole tiles"}
    sets = buffer_sets(shape)
    xs = [draw(M, K) for _ in range(sets)]
    dense, y = draw(N, K), torch.empty(M, N, device="cuda", dtype=torch.bfloat16)
    pruned = dense * torch.tensor([1, 1, 0, 0], device="cuda", dtype=torch.bool).repeat(N, K // 4)
    compressed = torch._cslt_compress(pruned)
    best = torch._cslt_sparse_mm_search(compressed, xs[0].t())
    race = Race()
    race.add("dense", lambda i: torch.matmul(xs[i], dense.t(), out=y), sets)
    race.add("2:4", lambda i: torch._cslt_sparse_mm(compressed, xs[i].t(), alg_id=best, transpose_result=True), sets)
    times = race.run(options.rounds)
    result = times["2:4"]
    if "ms" in result:
        result["ratio"] = times["dense"]["ms"] / result["ms"]
        if wants_energy(shape):
            result["joules"] = race.energy(meter, "2:4")
    return result


# The operator written plainly


def is_whole(shape):
    return all(size % 4 == 0 for size in shape)


def plain_functions(shape, rank):
    M, K, N = shape
    def tiles(x):
        return x.view(M // 4, 4, -1, 4).permute(0, 2, 1, 3).reshape(-1, 16)
    def planes(x, basis):
        return (tiles(x) @ basis.t()).view(M // 4, -1, rank).permute(2, 0, 1)
    def rows(planes, basis, columns):
        o = planes.permute(1, 2, 0).reshape(-1, rank) @ basis
        return o.view(M // 4, columns // 4, 4, 4).permute(0, 2, 1, 3).reshape(M, columns)
    def forward(x, encoder, weight, decoder):
        return rows(torch.bmm(planes(x, encoder), weight.transpose(1, 2)), decoder, N)
    def both(x, dy, encoder, weight, decoder):
        y = forward(x, encoder, weight, decoder)
        dz = planes(dy, decoder)
        return y, rows(torch.bmm(dz, weight), encoder, K), torch.bmm(dz.transpose(1, 2), planes(x, encoder))
    return forward, both


def operands(shape, rank):
    M, K, N = shape
    return draw(rank, 16) / 4, draw(rank, ceil_div(N, 4), ceil_div(K, 4)) / (K / 4) ** 0.5, draw(rank, 16) / 4


def compilations():
    """Every function that torch.compile is to compile: shape, rank, whether backward too."""
    for shape in SHAPES:
        if is_whole(shape):
            for rank in numbers(options.compile_ranks):
                yield shape, rank, False
            for rank in numbers(options.compile_backward_ranks):
                yield shape, rank, True


def compiled(shape, rank, both):
    torch._dynamo.reset()
    return torch.compile(plain_functions(shape, rank)[both], dynamic=False)


def warm(first):
    for shape, rank, both in list(compilations())[first::options.workers]:
        M, K, N = shape
        encoder, weight, decoder = operands(shape, rank)
        inputs = [draw(M, K)] + ([draw(M, N)] if both else [])
        compiled(shape, rank, both)(*inputs, encoder, weight, decoder)
        torch.cuda.empty_cache()


# One shape


def buffer_sets(shape):
    """So many that none is still in the cache when its turn comes again."""
    M, K, N = shape
    return max(1, min(6, ceil_div(3 * L2, 2 * (M * K + M * N))))


def wants_energy(shape):
    return "x".join(map(str, shape)) in options.energy.split(",")


def measure(shape, limits, meter):
    M, K, N = shape
    sets = buffer_sets(shape)
    xs, dys = [draw(M, K) for _ in range(sets)], [draw(M, N) for _ in range(sets)]
    ys, dxs = [torch.empty_like(v) for v in dys], [torch.empty_like(v) for v in xs]
    dense = draw(N, K)
    ddense = torch.empty_like(dense)
    race = Race()
    both = "forward and backward"
    race.add("dense", lambda i: torch.matmul(xs[i], dense.t(), out=ys[i]), sets)
    def dense_both(i):
        torch.matmul(xs[i], dense.t(), out=ys[i])
        torch.matmul(dys[i], dense, out=dxs[i])
        torch.matmul(dys[i].t(), xs[i], out=ddense)
    race.add(f"dense, {both}", dense_both, sets)
    for rank in RANKS:
        def add(name, run, count, rank=rank):
            race.add(f"{name}|{rank}", run, count)
        encoder, weight, decoder = operands(shape, rank)
        layer = StrassenTile(torch, Rows("flat", 1, M), K, N, rank, backward=True)
        padded = layer.pad(weight)
        dw = torch.empty_like(padded)
        def ours(i, layer=layer, encoder=encoder, padded=padded, decoder=decoder):
            layer.forward(xs[i], encoder, padded, decoder, None, ys[i])
        def ours_both(i, layer=layer, encoder=encoder, padded=padded, decoder=decoder, dw=dw):
            layer.forward(xs[i], encoder, padded, decoder, None, ys[i])
            layer.backward(dys[i], xs[i], encoder, padded, decoder, dxs[i], dw)
        add("ours", ours, sets)
        add(f"ours, {both}", ours_both, sets)
        if options.parts:
            add("encode", lambda i, l=layer, e=encoder: l.encode(xs[i], e, l.planes), sets)
            add("products", lambda i, l=layer, w=padded: torch.bmm(l.planes, w.transpose(1, 2), out=l.products), 1)
            add("decode", lambda i, l=layer, d=decoder: l.decode(l.products, d, None, ys[i]), sets)
        if not is_whole(shape):
            continue
        arguments = (encoder, weight, decoder)
        plain = plain_functions(shape, rank)
        add("PyTorch", lambda i, f=plain[0], a=arguments: f(xs[i], *a), sets)
        add(f"PyTorch, {both}", lambda i, f=plain[1], a=arguments: f(xs[i], dys[i], *a), sets)
        if options.part == "all" and rank in numbers(options.compile_ranks):
            f = compiled(shape, rank, False)
            add("torch.compile", lambda i, f=f, a=arguments: f(xs[i], *a), sets)
        if options.part == "all" and rank in numbers(options.compile_backward_ranks):
            f = compiled(shape, rank, True)
            add(f"torch.compile, {both}", lambda i, f=f, a=arguments: f(xs[i], dys[i], *a), sets)
        if K % 512 == N % 512 == M % 8 == 0:
            from triton_pair import TritonPair
            pair = TritonPair(M, K, N, rank)
            weight_t = weight.transpose(1, 2)
            def pair_both(i, pair=pair, a=arguments, weight_t=weight_t, dw=dw):
                pair.forward(xs[i], a[0], weight_t, a[2], ys[i])
                pair.backward(dys[i], xs[i], *a, dxs[i], dw)
            add("Triton pair", lambda i, p=pair, a=arguments, w=weight_t: p.forward(xs[i], a[0], w, a[2], ys[i]), sets)
            add(f"Triton pair, {both}", pair_both, sets)

    all_times = race.run(options.rounds)
    if wants_energy(shape):
        for name in race.graphs:
            if name.split("|")[0] in ("dense", "ours", "Triton pair"):
                all_times[name]["joules"] = race.energy(meter, name)
    return [report_rank(shape, rank, all_times, limits) for rank in RANKS]


def report_rank(shape, rank, all_times, limits):
    M, K, N = shape
    times = {name: dict(value) for name, value in all_times.items() if "|" not in name}
    for name, value in all_times.items():
        if name.endswith(f"|{rank}"):
            times[name.split("|")[0]] = dict(value)
    copy, rate = limits["copy_bytes_per_s"], limits["bf16_flop_per_s"]
    coding = 2 * (1 + rank / 16) / copy
    limit = {"encode": M * K * coding * 1e3, "decode": M * N * coding * 1e3,
             "products": 2 * M * K * N * rank / 64 / rate * 1e3}
    print(f"{M}x{K}x{N} rank {rank} limits " + " ".join(f"{k} {v:.4f}" for k, v in limit.items()))
    for name, t in times.items():
        if "failed" in t:
            print(f"   {name:36s} failed: {t['failed']}")
            continue
        both = "backward" in name
        t["ratio"] = times["dense, forward and backward" if both else "dense"]["ms"] / t["ms"]
        if name in limit:
            t["share_of_limit"] = limit[name] / t["ms"]
        elif name.startswith("dense"):
            t["share_of_limit"] = 2 * M * K * N * (3 if both else 1) / rate * 1e3 / t["ms"]
        else:
            # Backward: encode dY, two products, decode dX, encode X again.
            least = sum(limit.values()) + (limit["decode"] + 2 * limit["products"] + 2 * limit["encode"]) * both
            t["share_of_limit"] = least / t["ms"]
        share = f"  of limit {t['share_of_limit']:.2f}"
        joules = f"  {t['joules']:.3f} J" if "joules" in t else ""
        print(f"   {name:36s} {t['ms']:.4f} ({t['min']:.4f} - {t['max']:.4f})  ratio {t['ratio']:.2f}{share}{joules}")
    sys.stdout.flush()
    return {"shape": list(shape), "rank": rank, "limit_ms": limit, "times": times}


def prepare():
    """Compiles what torch.compile will be asked for, a process for every so many."""
    environment = {**os.environ, "TORCHINDUCTOR_COMPILE_THREADS": "1", "OMP_NUM_THREADS": "1"}
    arguments = [argument for argument in sys.argv if argument != "--prepare"]
    workers = [subprocess.Popen([sys.executable, *arguments, "--warm", str(i)], env=environment) for i in range(options.workers)]
    return max(worker.wait() for worker in workers)


def part():
    """Measures the shapes, a line of JSON each as soon as it is done."""
    meter = energy_meter()
    for shape in SHAPES:
        if options.part.startswith("all"):
            result = measure(shape, json.loads(options.limits), meter)
        else:
            result = measure_sparse(shape, meter)
        torch.cuda.empty_cache()
        with open(options.out, "a") as f:
            f.write(json.dumps(result) + "\n")


def collect(name, limits, shapes=SHAPES, fallback=None):
    """The results of a part for each shape, from processes that may die."""
    results, path = [], options.out + ".part"
    while len(results) < len(shapes):
        if os.path.exists(path):
            os.remove(path)
        left = ",".join("x".join(map(str, shape)) for shape in shapes[len(results):])
        arguments = [path if argument == options.out else argument for argument in sys.argv]
        run = subprocess.run(
            [sys.executable, *arguments, "--shapes", left, "--part", name, "--limits", json.dumps(limits)],
            stderr=subprocess.PIPE, text=True)
        if os.path.exists(path):
            with open(path) as f:
                results += [json.loads(line) for line in f]
        if run.returncode and len(results) < len(shapes):
            message = [line for line in run.stderr.splitlines() if "Error" in line] or ["died"]
            print(f"{name} {shapes[len(results)]}: {message[-1][:200]}")
            shape = shapes[len(results)]
            results += collect(fallback, limits, [shape]) if fallback else [None]
        elif len(results) < len(shapes):
            raise RuntimeError(f"{name}: expected {len(shapes)} results, got {len(results)}")
    return results


def main():
    if options.warm is not None:
        return warm(int(options.warm))
    if options.prepare:
        return sys.exit(prepare())
    if options.part:
        return part()
    began = time.time()
    report = {"command": "scripts/gpu/bench.py " + " ".join(sys.argv[1:]), "machine": machine(), "limits": ceilings(), "rows": []}
    torch.cuda.empty_cache()
    print(json.dumps(report["machine"]), json.dumps(report["limits"]), flush=True)
    rate = report["limits"]["bf16_flop_per_s"]
    sparse = [] if options.no_sparse else collect("2:4", report["limits"])
    measured = collect("all", report["limits"], fallback="all but torch.compile")
    for index, (shape, rows) in enumerate(zip(SHAPES, measured)):
        M, K, N = shape
        if sparse:
            row = sparse[index] or {"failed": "an illegal memory access"}
            if "ms" in row:
                row["share_of_limit"] = M * K * N / rate * 1e3 / row["ms"]
            print(f"{M}x{K}x{N} 2:4 cuSPARSELt {json.dumps(row)}")
            for rank_row in rows or []:
                rank_row["times"]["2:4 cuSPARSELt"] = row
        report["rows"] += rows or [{"shape": list(shape), "failed": "an illegal memory access"}]
    report["machine_after"] = machine()["nvidia_smi"]
    report["seconds"] = time.time() - began
    with open(options.out, "w") as f:
        json.dump(report, f, indent=1)
    print(f"{report['seconds']:.0f} s in all")


main()
