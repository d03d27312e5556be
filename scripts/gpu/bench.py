"""Times Strassen-Tile's kernels and their rivals in one run: medians and spread, share of the limits measured in the same run,
energy, JSON.

usage: bench.py OUT.json [--shapes MxKxN,...] [--ranks 16,24,...] [--compile-ranks 16] [--energy SHAPES] [--parts] [--no-sparse]

Rivals: dense cuBLAS; 2:4 by cuSPARSELt with its search; the operator written plainly in PyTorch, and that under torch.compile; a
pair of plain Triton kernels around torch.bmm. Ours is what the Swift library launches.
"""

import argparse
import ctypes
import json
import random
import subprocess
import sys

import torch

from strassen import Rows, StrassenTile, ceil_div
from timing import captured

parser = argparse.ArgumentParser()
parser.add_argument("out")
parser.add_argument("--shapes", default="8192x8192x8192,16384x4096x4096,16384x4096x11008,16384x11008x4096,4096x2048x5632,"
                    "32768x1024x4096,25088x768x3072,4095x2047x5631")
parser.add_argument("--ranks", default="16,24,32,48,49")
parser.add_argument("--compile-ranks", default="16")
parser.add_argument("--energy", default="8192x8192x8192,16384x4096x4096")
parser.add_argument("--parts", action="store_true")
parser.add_argument("--no-sparse", action="store_true")
parser.add_argument("--rounds", type=int, default=5)
options = parser.parse_args()
torch.manual_seed(0)
random.seed(0)
MEASURED_MS, WARM_TIMES = 20, 3
torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
L2 = torch.cuda.get_device_properties(0).L2_cache_size


class Race:
    """Candidates captured as graphs and timed in turn, round after round, so that all meet the same clocks."""

    def __init__(self):
        self.graphs, self.passes, self.failed = {}, {}, {}

    def add(self, name, run, sets=1):
        try:
            self.graphs[name], self.passes[name] = captured(run, sets), sets
        except Exception as error:
            torch.cuda.synchronize()
            self.failed[name] = str(error).splitlines()[0][:160]

    def replay(self, name, count):
        """Milliseconds of one pass."""
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(count):
            self.graphs[name].replay()
        stop.record()
        torch.cuda.synchronize()
        return start.elapsed_time(stop) / count / self.passes[name]

    def run(self, rounds):
        times = {name: [] for name in self.graphs}
        repeats = {}
        for name in self.graphs:
            self.replay(name, 1)
            repeats[name] = max(2, int(MEASURED_MS / max(self.replay(name, 1) * self.passes[name], 1e-3)))
        names = list(self.graphs)
        for _ in range(rounds):
            # The chip runs at its power limit and the control loop is slow: each candidate first runs until the clocks are those
            # that it causes itself, and the order changes from round to round, so that none always follows a light one.
            for name in random.sample(names, len(names)):
                self.replay(name, repeats[name] * WARM_TIMES)
                times[name].append(self.replay(name, repeats[name]))
        result = {}
        for name, values in times.items():
            values.sort()
            result[name] = {"ms": values[len(values) // 2], "min": values[0], "max": values[-1]}
        for name, message in self.failed.items():
            result[name] = {"failed": message}
        return result

    def energy(self, meter):
        """Joules of one pass of each candidate, over half a second each after as long a start."""
        result = {}
        for name in self.graphs:
            count = max(2, int(500 / self.replay(name, 4) / self.passes[name]))
            self.replay(name, count)
            before = meter()
            self.replay(name, count)
            result[name] = (meter() - before) / count / self.passes[name]
        return result


def energy_meter():
    """Joules that the GPU has used since its driver was loaded, by NVML's counter."""
    nvml = ctypes.CDLL("libnvidia-ml.so.1")
    device, value = ctypes.c_void_p(), ctypes.c_ulonglong()
    if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device)):
        raise RuntimeError("NVML does not answer")
    def read():
        if nvml.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(value)):
            raise RuntimeError("NVML has no energy counter")
        return value.value / 1e3
    return read


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


def add_sparse(race, dense, xs, sets):
    """Half of the weight is zero in the pattern 2:4; the algorithm is the fastest that cuSPARSELt's search finds."""
    try:
        N, K = dense.shape
        pruned = dense * torch.tensor([1, 1, 0, 0], device="cuda", dtype=torch.bool).repeat(N, K // 4)
        compressed = torch._cslt_compress(pruned)
        best = torch._cslt_sparse_mm_search(compressed, xs[0].t())
        race.add("2:4 cuSPARSELt", lambda i: torch._cslt_sparse_mm(compressed, xs[i].t(), alg_id=best, transpose_result=True),
                 sets)
    except Exception as error:
        race.failed["2:4 cuSPARSELt"] = str(error).splitlines()[0][:160]


def measure(shape, rank, limits, meter):
    M, K, N = shape
    sets = max(1, min(6, ceil_div(3 * L2, 2 * (M * K + M * N))))
    xs, dys = [draw(M, K) for _ in range(sets)], [draw(M, N) for _ in range(sets)]
    ys, dxs = [torch.empty_like(v) for v in dys], [torch.empty_like(v) for v in xs]
    dense = draw(N, K)
    ddense = torch.empty_like(dense)
    encoder, decoder = draw(rank, 16) / 4, draw(rank, 16) / 4
    weight = draw(rank, ceil_div(N, 4), ceil_div(K, 4)) / (K / 4) ** 0.5
    race = Race()
    race.add("dense", lambda i: torch.matmul(xs[i], dense.t(), out=ys[i]), sets)
    if not options.no_sparse:
        add_sparse(race, dense, xs, sets)

    layer = StrassenTile(torch, Rows("flat", 1, M), K, N, rank, backward=True)
    padded = layer.pad(weight)
    dw = torch.empty_like(padded)
    race.add("ours", lambda i: layer.forward(xs[i], encoder, padded, decoder, None, ys[i]), sets)
    if options.parts:
        race.add("encode", lambda i: layer.encode(xs[i], encoder, layer.planes), sets)
        race.add("products", lambda i: torch.bmm(layer.planes, padded.transpose(1, 2), out=layer.products))
        race.add("decode", lambda i: layer.decode(layer.products, decoder, None, ys[i]), sets)

    if M % 4 == K % 4 == N % 4 == 0:
        weight_t = weight.transpose(1, 2)
        def plain(x):
            tiles = x.view(M // 4, 4, K // 4, 4).permute(0, 2, 1, 3).reshape(-1, 16)
            p = (tiles @ encoder.t()).view(M // 4, K // 4, rank).permute(2, 0, 1)
            o = torch.bmm(p, weight_t).permute(1, 2, 0).reshape(-1, rank) @ decoder
            return o.view(M // 4, N // 4, 4, 4).permute(0, 2, 1, 3).reshape(M, N)
        race.add("PyTorch", lambda i: plain(xs[i]))
        if str(rank) in options.compile_ranks.split(","):
            compiled = torch.compile(plain, dynamic=False)
            race.add("torch.compile", lambda i: compiled(xs[i]))
        if K % 512 == N % 512 == M % 8 == 0:
            from triton_pair import TritonPair
            pair = TritonPair(M, K, N, rank)
            race.add("Triton pair", lambda i: pair.forward(xs[i], encoder, weight_t, decoder, ys[i]), sets)

    def dense_both(i):
        torch.matmul(xs[i], dense.t(), out=ys[i])
        torch.matmul(dys[i], dense, out=dxs[i])
        torch.matmul(dys[i].t(), xs[i], out=ddense)
    race.add("dense, forward and backward", dense_both, sets)
    def ours_both(i):
        layer.forward(xs[i], encoder, padded, decoder, None, ys[i])
        layer.backward(dys[i], xs[i], encoder, padded, decoder, dxs[i], dw)
    race.add("ours, forward and backward", ours_both, sets)

    times = race.run(options.rounds)
    if "x".join(map(str, shape)) in options.energy.split(","):
        for name, joules in race.energy(meter).items():
            times[name]["joules"] = joules
    copy, rate = limits["copy_bytes_per_s"], limits["bf16_flop_per_s"]
    coding = 2 * (1 + rank / 16) / copy
    limit = {"encode": M * K * coding * 1e3, "decode": M * N * coding * 1e3,
             "products": 2 * M * K * N * rank / 64 / rate * 1e3}
    print(f"{M}x{K}x{N} rank {rank} limits " + " ".join(f"{k} {v:.4f}" for k, v in limit.items()))
    for name, t in times.items():
        if "failed" in t:
            print(f"   {name:28s} failed: {t['failed']}")
            continue
        both = "backward" in name
        t["ratio"] = times["dense, forward and backward" if both else "dense"]["ms"] / t["ms"]
        if name in limit:
            t["share_of_limit"] = limit[name] / t["ms"]
        elif name.startswith("ours"):
            # Backward: encode dY, two products, decode dX, encode X again.
            least = sum(limit.values()) + (limit["decode"] + 2 * limit["products"] + 2 * limit["encode"]) * both
            t["share_of_limit"] = least / t["ms"]
        elif name.startswith("dense"):
            t["share_of_limit"] = 2 * M * K * N * (3 if both else 1) / rate * 1e3 / t["ms"]
        share = f"  of limit {t['share_of_limit']:.2f}" if "share_of_limit" in t else ""
        joules = f"  {t['joules']:.3f} J" if "joules" in t else ""
        print(f"   {name:28s} {t['ms']:.4f} ({t['min']:.4f} - {t['max']:.4f})  ratio {t['ratio']:.2f}{share}{joules}")
    sys.stdout.flush()
    return {"shape": [M, K, N], "rank": rank, "limit_ms": limit, "times": times}


def main():
    report = {"command": "bench.py " + " ".join(sys.argv[1:]), "machine": machine(), "limits": ceilings(), "rows": []}
    print(json.dumps(report["machine"]), json.dumps(report["limits"]))
    meter = energy_meter()
    for shape in options.shapes.split(","):
        for rank in options.ranks.split(","):
            report["rows"].append(measure(tuple(int(v) for v in shape.split("x")), int(rank), report["limits"], meter))
            torch.cuda.empty_cache()
            with open(options.out, "w") as f:
                json.dump(report, f, indent=1)
    report["machine_after"] = machine()["nvidia_smi"]
    with open(options.out, "w") as f:
        json.dump(report, f, indent=1)


main()
