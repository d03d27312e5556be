"""Times Strassen-Tile and its rivals in one run: medians and spread, share of the limits measured in the same run, JSON.

usage: bench.py OUT.json [--shapes MxKxN,...] [--ranks 16,24,32] [--parts] [--fused] [--rivals] [--compile] [--sparse] [--backward] [--groups] [--columns 128]
"""

import argparse
import json
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import torch

from strassen import Rows, StrassenTile, ceil_div

parser = argparse.ArgumentParser()
parser.add_argument("out")
parser.add_argument("--shapes", default="8192x8192x8192,16384x4096x4096,4096x2048x5632")
parser.add_argument("--ranks", default="16,24,32")
parser.add_argument("--columns", default="256")
parser.add_argument("--rounds", type=int, default=5)
for flag in ("parts", "fused", "rivals", "compile", "backward", "groups", "sparse"):
    parser.add_argument("--" + flag, action="store_true")
options = parser.parse_args()
torch.manual_seed(0)
random.seed(0)
MEASURED_MS, WARM_TIMES = 30, 4
torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
L2 = torch.cuda.get_device_properties(0).L2_cache_size


class Race:
    """Candidates captured as graphs and timed in turn, round after round, so that all meet the same clocks."""

    def __init__(self):
        self.graphs, self.passes, self.failed = {}, {}, {}

    def add(self, name, run, sets=1):
        try:
            stream = torch.cuda.Stream()
            with torch.cuda.stream(stream):
                for i in range(sets):
                    run(i)
                torch.cuda.synchronize()
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, stream=stream):
                    for i in range(sets):
                        run(i)
            self.graphs[name], self.passes[name] = graph, sets
        except Exception as error:
            torch.cuda.synchronize()
            self.failed[name] = str(error).splitlines()[0][:160]

    def run(self, rounds):
        times = {name: [] for name in self.graphs}
        repeats = {}
        for name, graph in self.graphs.items():
            start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            graph.replay()
            start.record()
            graph.replay()
            stop.record()
            torch.cuda.synchronize()
            repeats[name] = max(2, int(MEASURED_MS / max(start.elapsed_time(stop), 1e-3)))
        names = list(self.graphs)
        for _ in range(rounds):
            # The chip runs at its power limit and the control loop is slow: each candidate first runs until the clocks are those
            # that it causes itself, and the order changes from round to round, so that none always follows a light one.
            for name in random.sample(names, len(names)):
                graph = self.graphs[name]
                start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                for _ in range(repeats[name] * WARM_TIMES):
                    graph.replay()
                start.record()
                for _ in range(repeats[name]):
                    graph.replay()
                stop.record()
                torch.cuda.synchronize()
                times[name].append(start.elapsed_time(stop) / repeats[name] / self.passes[name])
        result = {}
        for name, values in times.items():
            values.sort()
            result[name] = {"ms": values[len(values) // 2], "min": values[0], "max": values[-1]}
        for name, message in self.failed.items():
            result[name] = {"failed": message}
        return result


def machine():
    query = "name,driver_version,clocks.sm,clocks.mem,power.draw,temperature.gpu"
    smi = subprocess.run(["nvidia-smi", "--query-gpu=" + query, "--format=csv,noheader"], capture_output=True, text=True)
    import triton
    return {"gpu": torch.cuda.get_device_name(0), "nvidia_smi": {query: smi.stdout.strip()},
            "multiprocessors": torch.cuda.get_device_properties(0).multi_processor_count, "l2_bytes": L2,
            "torch": torch.__version__, "cuda": torch.version.cuda, "triton": triton.__version__}


def ceilings():
    race = Race()
    a, b = (torch.randn(1 << 30, device="cuda").to(torch.bfloat16) for _ in range(2))
    race.add("copy", lambda i: torch.neg(a, out=b))
    x, w = (torch.randn(8192, 8192, device="cuda").to(torch.bfloat16) for _ in range(2))
    y = torch.empty_like(x)
    race.add("matmul", lambda i: torch.matmul(x, w.t(), out=y))
    t = race.run(3)
    return {"copy_bytes_per_s": 2 * a.numel() * 2 / t["copy"]["ms"] * 1e3,
            "bf16_flop_per_s": 2 * 8192 ** 3 / t["matmul"]["ms"] * 1e3}


def build(shapes, ranks, columns):
    jobs = {}
    with ThreadPoolExecutor(8) as pool:
        for shape in shapes:
            for r in ranks:
                for c in columns:
                    M, K, N = shape
                    jobs[shape, r, c] = pool.submit(StrassenTile, Rows("flat", 1, M), K, N, r, tile_columns=c,
                                                    backward=options.backward)
    return {key: job.result() for key, job in jobs.items()}


def measure(shape, rank, layers, limits):
    M, K, N = shape
    sets = max(1, min(6, ceil_div(3 * L2, 2 * (M * K + M * N))))
    draw = lambda *s: torch.randn(*s, device="cuda").to(torch.bfloat16)
    xs = [draw(M, K) for _ in range(sets)]
    ys = [torch.empty(M, N, device="cuda", dtype=torch.bfloat16) for _ in range(sets)]
    dense = draw(N, K)
    encoder, decoder = draw(rank, 16) / 4, draw(rank, 16) / 4
    weight = draw(rank, ceil_div(N, 4), ceil_div(K, 4)) / (K / 4) ** 0.5
    race = Race()
    race.add("dense", lambda i: torch.matmul(xs[i], dense.t(), out=ys[i]), sets)
    whole = K % 4 == 0 and N % 4 == 0 and M % 4 == 0
    if whole:
        planes = draw(rank, M // 4, K // 4)
        products = torch.empty(rank, M // 4, N // 4, device="cuda", dtype=torch.bfloat16)
        weight_t = weight.transpose(1, 2)
        race.add("bmm", lambda i: torch.bmm(planes, weight_t, out=products), 1)
    for columns, layer in layers.items():
        layer.allocate(torch)
        layer.planes.normal_()
        packed = layer.pack(torch, weight)
        tag = "" if columns == 256 else f" n{columns}"
        race.add("ours, three launches" + tag,
                 lambda i, l=layer, p=packed: l.separate(xs[i], encoder, p, decoder, None, ys[i]), sets)
        if columns == 256:
            layer.allocate_rows(torch, weight)
            race.add("ours around bmm", lambda i, l=layer: l.portable(torch, xs[i], encoder, decoder, None, ys[i]), sets)
            if options.parts:
                race.add("decode rows", lambda i, l=layer: l.decode_rows_kernel(
                    (ceil_div(l.n_tiles, 64), ceil_div(l.rows.tile_rows, 8)), 256, l.row_products, decoder, decoder, ys[i],
                    *l.rows.arguments, l.rows.tile_rows, l.N, ys[i].stride(0), False, 0, l.n_pitch), sets)
        if options.fused:
            race.add("ours, one launch" + tag, lambda i, l=layer, p=packed: l.whole(xs[i], encoder, p, decoder, None, ys[i]), sets)
        race.add("ours, two launches" + tag, lambda i, l=layer, p=packed: l.forward(xs[i], encoder, p, decoder, None, ys[i]), sets)
        if options.groups:
            n_blocks = ceil_div(layer.n_tiles, columns)
            chosen = layer.group
            for group in [(1, n_blocks), (2, n_blocks), (4, n_blocks), (8, n_blocks), (4, ceil_div(n_blocks, 2)),
                          (2, ceil_div(n_blocks, 2))]:
                if group[0] > layer.m_pairs:
                    continue
                def run(i, l=layer, p=packed, g=group):
                    l.group = g
                    l.whole(xs[i], encoder, p, decoder, None, ys[i])
                race.add(f"one launch{tag} g{group[0]}x{group[1]}", run, sets)
                def run(i, l=layer, p=packed, g=group):
                    l.group = g
                    l.clear()
                    l.fused(p, decoder, None, ys[i])
                race.add(f"fused{tag} g{group[0]}x{group[1]}", run, sets)
            layer.group = chosen
        if options.parts:
            race.add("encode" + tag, lambda i, l=layer: l.encode(xs[i], encoder), sets)
            def products_run(i, l=layer, p=packed):
                l.clear()
                l.products_only(p)
            race.add("products" + tag, products_run)
            def fused_run(i, l=layer, p=packed):
                l.clear()
                l.fused(p, decoder, None, ys[i])
            if options.fused:
                race.add("fused" + tag, fused_run, sets)
            race.add("decode" + tag, lambda i, l=layer: l.decode(decoder, None, ys[i]), sets)
        if options.backward:
            dw = torch.empty_like(weight)
            dxs = [torch.empty_like(v) for v in xs]
            def forward_backward(i, l=layer, p=packed):
                l.forward(xs[i], encoder, p, decoder, None, ys[i])
                l.backward_pass(ys[i], xs[i], encoder, p, decoder, dxs[i], dw)
            race.add("ours forward+backward" + tag, forward_backward, sets)
            race.add("ours backward" + tag,
                     lambda i, l=layer, p=packed: l.backward_pass(ys[i], xs[i], encoder, p, decoder, dxs[i], dw), sets)
    if options.backward:
        ddense = torch.empty_like(dense)
        ddx = [torch.empty_like(v) for v in xs]
        def dense_both(i):
            torch.matmul(xs[i], dense.t(), out=ys[i])
            torch.matmul(ys[i], dense, out=ddx[i])
            torch.matmul(ys[i].t(), xs[i], out=ddense)
        race.add("dense forward+backward", dense_both, sets)
    if options.rivals and whole:
        def plain(x):
            tiles = x.view(M // 4, 4, K // 4, 4).permute(0, 2, 1, 3).reshape(-1, 16)
            p = (tiles @ encoder.t()).view(M // 4, K // 4, rank).permute(2, 0, 1)
            o = torch.bmm(p, weight_t).permute(1, 2, 0).reshape(-1, rank) @ decoder
            return o.view(M // 4, N // 4, 4, 4).permute(0, 2, 1, 3).reshape(M, N)
        race.add("PyTorch", lambda i: plain(xs[i]), 1)
        if options.compile:
            compiled = torch.compile(plain, dynamic=False)
            race.add("torch.compile", lambda i: compiled(xs[i]), 1)
        if K % 512 == 0 and N % 512 == 0 and M % 8 == 0:
            from triton_pair import TritonPair
            pair = TritonPair(M, K, N, rank)
            race.add("Triton pair", lambda i: pair.forward(xs[i], encoder, weight_t, decoder, ys[i]), sets)
    if options.sparse:
        try:
            from torch.sparse import to_sparse_semi_structured
            mask = torch.tensor([1, 1, 0, 0], device="cuda", dtype=torch.bool).repeat(N, K // 4)
            dense.mul_(mask)
            sparse = to_sparse_semi_structured(dense)
            linear = torch.nn.functional.linear
            race.add("2:4", lambda i: linear(xs[i], sparse), 1)
            compressed = torch._cslt_compress(dense)
            best = torch._cslt_sparse_mm_search(compressed, xs[0].t())
            race.add("2:4 searched", lambda i: torch._cslt_sparse_mm(compressed, xs[i].t(), alg_id=best, transpose_result=True), 1)
        except Exception as error:
            race.failed["2:4"] = str(error).splitlines()[0][:160]
    times = race.run(options.rounds)
    bytes_x, bytes_y = 2 * M * K, 2 * M * N
    copy, rate = limits["copy_bytes_per_s"], limits["bf16_flop_per_s"]
    limit = {"encode": bytes_x * (1 + rank / 16) / copy * 1e3, "decode": bytes_y * (1 + rank / 16) / copy * 1e3,
             "products": 2 * M * K * N * rank / 64 / rate * 1e3}
    base = times["dense"]["ms"]
    print(f"{M}x{K}x{N} r{rank} group {[l.group for l in layers.values()]} limits " +
          " ".join(f"{k} {v:.4f}" for k, v in limit.items()))
    for name, t in times.items():
        if "failed" in t:
            print(f"   {name:32s} failed: {t['failed']}")
            continue
        part = name.split()[0]
        share = f"  limit x {t['ms'] / limit[part]:.2f}" if part in limit else ""
        reference = times.get("dense forward+backward", {}).get("ms", base) if "forward+backward" in name else base
        t["ratio"] = reference / t["ms"]
        print(f"   {name:32s} {t['ms']:.4f} ({t['min']:.4f} - {t['max']:.4f})  ratio {t['ratio']:.3f}{share}")
    sys.stdout.flush()
    return {"shape": [M, K, N], "rank": rank, "limit_ms": limit, "times": times,
            "group": {c: l.group for c, l in layers.items()}}


def main():
    shapes = [tuple(int(v) for v in s.split("x")) for s in options.shapes.split(",")]
    ranks = [int(r) for r in options.ranks.split(",")]
    columns = [int(c) for c in options.columns.split(",")]
    layers = build(shapes, ranks, columns)
    report = {"command": "bench.py " + " ".join(sys.argv[1:]), "machine": machine(), "limits": ceilings(), "rows": []}
    print(json.dumps(report["machine"]), json.dumps(report["limits"]))
    for shape in shapes:
        for r in ranks:
            report["rows"].append(measure(shape, r, {c: layers.pop((shape, r, c)) for c in columns}, report["limits"]))
            torch.cuda.empty_cache()
            with open(options.out, "w") as f:
                json.dump(report, f, indent=1)
    report["machine_after"] = machine()["nvidia_smi"]
    with open(options.out, "w") as f:
        json.dump(report, f, indent=1)


main()
