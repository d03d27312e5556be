"""Strassen-Tile on planes of 8-bit floats (e4m3): speed of every way to their products, and the error of it, beside bf16 and beside a
dense product in 8 bits.

usage: fp8.py OUT.json [--shapes MxKxN,...] [--ranks 16,24,32]

Planes are encoded to 8 bits by the Triton kernel; the products leave as bf16. Error: relative to the same layer in float32, for
weights encoded from a random dense matrix by the library's table. Planes and weights are scaled to the largest value of all, or of
each plane.
"""

import argparse
import ctypes
import json
import os
import re
import sys

import torch

from race import Race
from triton_pair import TritonPair

parser = argparse.ArgumentParser()
parser.add_argument("out")
parser.add_argument("--shapes", default="8192x8192x8192,16384x4096x4096")
parser.add_argument("--ranks", default="16,24,32")
parser.add_argument("--rounds", type=int, default=3)
options = parser.parse_args()
torch.manual_seed(0)
FP8, LARGEST = torch.float8_e4m3fn, 448.0


class Lt:
    """The products of all planes as one strided batch of cuBLASLt: [r, G, K] e4m3, [r, N, K] e4m3 → [r, G, N] bf16."""

    def __init__(self, planes, weight, out, fast):
        self.library = ctypes.CDLL("libcublasLt.so.13")
        self.operands = planes, weight, out
        (r, G, K), N = planes.shape, weight.shape[1]
        self.handle, self.description = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cublasLtCreate", ctypes.byref(self.handle))
        self.call("cublasLtMatmulDescCreate", ctypes.byref(self.description), 68, 0)  # float32 sums, float32 scale
        def describe(attribute, value):
            self.call("cublasLtMatmulDescSetAttribute", self.description, attribute, ctypes.byref(value), ctypes.sizeof(value))
        describe(3, ctypes.c_int(1))  # the first operand transposed
        describe(25, ctypes.c_int8(fast))
        self.one = torch.ones(1, device="cuda")
        for attribute in (17, 18):  # the scales of the operands
            describe(attribute, ctypes.c_void_p(self.one.data_ptr()))
        def layout(kind, rows, columns, stride):
            result = ctypes.c_void_p()
            self.call("cublasLtMatrixLayoutCreate", ctypes.byref(result), kind, ctypes.c_uint64(rows), ctypes.c_uint64(columns),
                      ctypes.c_int64(rows))
            for attribute, value in ((5, ctypes.c_int32(r)), (6, ctypes.c_int64(stride))):
                self.call("cublasLtMatrixLayoutSetAttribute", result, attribute, ctypes.byref(value), ctypes.sizeof(value))
            return result
        # Column by column, as cuBLAS reads it: (W [K, N])ᵀ · planes [K, G] = out [N, G].
        e4m3, bf16 = 28, 14
        self.layouts = layout(e4m3, K, N, N * K), layout(e4m3, K, G, G * K), layout(bf16, N, G, G * N)
        preference = ctypes.c_void_p()
        self.call("cublasLtMatmulPreferenceCreate", ctypes.byref(preference))
        self.workspace = torch.empty(64 << 20, device="cuda", dtype=torch.uint8)
        size = ctypes.c_size_t(self.workspace.numel())
        self.call("cublasLtMatmulPreferenceSetAttribute", preference, 1, ctypes.byref(size), ctypes.sizeof(size))
        self.results, count = (ctypes.c_uint64 * (12 * 8))(), ctypes.c_int()
        a, b, c = self.layouts
        self.call("cublasLtMatmulAlgoGetHeuristic", self.handle, self.description, a, b, c, c, preference, 8, self.results,
                  ctypes.byref(count))
        if not count.value:
            raise RuntimeError("cuBLASLt knows no algorithm")
        self.count = count.value

    def call(self, name, *arguments):
        status = getattr(self.library, name)(*arguments)
        if status:
            raise RuntimeError(f"{name}: {status}")

    def run(self, algorithm=0):
        planes, weight, out = (ctypes.c_void_p(v.data_ptr()) for v in self.operands)
        a, b, c = self.layouts
        alpha, beta = ctypes.c_float(1), ctypes.c_float(0)
        # A result of the heuristic is 96 bytes; the algorithm comes first.
        chosen = ctypes.byref(self.results, 96 * algorithm)
        self.call("cublasLtMatmul", self.handle, self.description, ctypes.byref(alpha), weight, a, planes, b, ctypes.byref(beta), out,
                  c, out, c, chosen, ctypes.c_void_p(self.workspace.data_ptr()), ctypes.c_size_t(self.workspace.numel()),
                  ctypes.c_void_p(torch.cuda.current_stream().cuda_stream))


# Error


def table(rank):
    """Encoder and decoder [rank, 16] of the library's fitted table of tile 4."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../Sources/Encoders/Tables")
    for name in os.listdir(folder):
        with open(os.path.join(folder, name)) as file:
            found = re.search(rf'tile: 4, rank: {rank},.*?text: """(.*?)"""', file.read(), re.S)
        if found:
            entries = torch.tensor([float(v) for v in found[1].split()], dtype=torch.float64) / 1e4
            parts = entries.view(3, rank, 16)
            return parts[0].cuda(), parts[2].cuda()
    raise RuntimeError(f"no table of rank {rank}")


def rounded(x, per_plane):
    """x after a journey through 8 bits, scaled by its largest value, or each plane's."""
    largest = x.abs().amax(dim=(1, 2), keepdim=True) if per_plane else x.abs().max()
    scale = LARGEST / largest
    return (x * scale).to(FP8).to(x.dtype) / scale


def errors(rank, side=1024):
    """‖ŷ − y‖ / ‖y‖ of the layer in each precision, and of a dense product in 8 bits."""
    u, d = table(rank)
    x = torch.randn(side, side, device="cuda", dtype=torch.float64)
    w = torch.randn(side, side, device="cuda", dtype=torch.float64) / side ** 0.5
    tiles = lambda m: m.view(side // 4, 4, side // 4, 4).permute(0, 2, 1, 3).reshape(side // 4, side // 4, 16)
    planes = torch.einsum("pe,gle->pgl", u, tiles(x))
    # The weight that is best for white inputs: G⁻¹ C of the tiles of W, which enter transposed.
    gram = (u @ u.t()) * (d @ d.t())
    c = torch.einsum("pac,pab->pcb", d.view(-1, 4, 4), u.view(-1, 4, 4)).reshape(rank, 16)
    weight = torch.einsum("pe,jle->pjl", torch.linalg.solve(gram, c), tiles(w))
    def layer(planes, weight):
        return torch.einsum("pgj,pe->gje", torch.bmm(planes, weight.transpose(1, 2)), d)
    def error(a, b):
        return ((a - b).norm() / b.norm()).item()
    exact, dense = layer(planes, weight), x @ w.t()
    half = lambda m: m.to(torch.bfloat16).double()
    return {"rank": rank, "side": side, "bf16": error(layer(half(planes), half(weight)), exact),
            "fp8": error(layer(rounded(planes, False), rounded(weight, False)), exact),
            "fp8, a scale for each plane": error(layer(rounded(planes, True), rounded(weight, True)), exact),
            "fp8 planes, bf16 weight": error(layer(rounded(planes, True), half(weight)), exact),
            "dense fp8": error(rounded(x[None], False)[0] @ rounded(w[None], False)[0].t(), dense),
            "dense bf16": error(half(x) @ half(w).t(), dense),
            "of the structure itself": error(exact, tiles(dense))}


# Speed


def measure(shape, rank):
    M, K, N = shape
    race = Race()
    x, dense = (torch.randn(*s, device="cuda").to(torch.bfloat16) for s in ((M, K), (N, K)))
    y = torch.empty(M, N, device="cuda", dtype=torch.bfloat16)
    one = torch.ones(1, device="cuda")
    race.add("dense bf16", lambda i: torch.matmul(x, dense.t(), out=y))
    x8, dense8 = x.to(FP8), dense.to(FP8)
    for fast in (False, True):
        name = "dense fp8" + (", fast sums" if fast else "")
        race.add(name, lambda i, fast=fast: torch._scaled_mm(
            x8, dense8.t(), one, one, out_dtype=torch.bfloat16, use_fast_accum=fast, out=y))
    def cast(i):
        x8.copy_(x)
        torch._scaled_mm(x8, dense8.t(), one, one, out_dtype=torch.bfloat16, use_fast_accum=True, out=y)
    race.add("dense fp8, fast sums, with the cast of X", cast)

    encoder, decoder = (torch.randn(rank, 16, device="cuda").to(torch.bfloat16) / 4 for _ in range(2))
    weight = (torch.randn(rank, N // 4, K // 4, device="cuda") / (K / 4) ** 0.5).to(torch.bfloat16)
    weight8 = weight.to(FP8)
    pair, pair8 = TritonPair(M, K, N, rank), TritonPair(M, K, N, rank, FP8)
    products = torch.empty(rank, M // 4, N // 4, device="cuda", dtype=torch.bfloat16)
    race.add("stl bf16", lambda i: pair.forward(x, encoder, weight.transpose(1, 2), decoder, y))
    race.add("encode to bf16", lambda i: pair.encode(x, encoder, pair.planes))
    race.add("encode to fp8", lambda i: pair8.encode(x, encoder, pair8.planes))
    race.add("decode", lambda i: pair.decode(products, decoder, y))
    race.add("products bf16", lambda i: torch.bmm(pair.planes, weight.transpose(1, 2), out=products))
    pair8.encode(x, encoder, pair8.planes)

    ways = {}
    def one_by_one(fast):
        for p in range(rank):
            torch._scaled_mm(pair8.planes[p], weight8[p].t(), one, one, out_dtype=torch.bfloat16, use_fast_accum=fast, out=products[p])
    ways["_scaled_mm, plane by plane"] = lambda: one_by_one(True)
    streams = [torch.cuda.Stream() for _ in range(4)]
    def on_streams():
        current = torch.cuda.current_stream()
        for index, stream in enumerate(streams):
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                for p in range(index, rank, len(streams)):
                    torch._scaled_mm(pair8.planes[p], weight8[p].t(), one, one, out_dtype=torch.bfloat16, use_fast_accum=True,
                                     out=products[p])
        for stream in streams:
            current.wait_stream(stream)
    ways["_scaled_mm, planes on four streams"] = on_streams
    row, column = (torch.ones(rank, size // 4, device="cuda") for size in (M, N))
    ways["_scaled_grouped_mm"] = lambda: torch._scaled_grouped_mm(
        pair8.planes, weight8.transpose(1, 2), row, column, out_dtype=torch.bfloat16, use_fast_accum=True)
    failed = {}
    for fast in (False, True):
        name = "cuBLASLt, one batch" + (", fast sums" if fast else "")
        try:
            batch = Lt(pair8.planes, weight8, products, fast)
            batch.run()
            torch.cuda.synchronize()
            expected = torch.bmm(pair8.planes.to(torch.bfloat16), weight8.to(torch.bfloat16).transpose(1, 2))
            difference = ((products - expected).float().norm() / expected.float().norm()).item()
            if not difference < 1e-2:
                raise RuntimeError(f"wrong by {difference}")
            ways[name] = batch.run
        except Exception as error:
            failed[name] = str(error).splitlines()[0][:160]
    for name, products_of in ways.items():
        race.add("products " + name, lambda i, f=products_of: f())
        def layer(i, f=products_of):
            pair8.encode(x, encoder, pair8.planes)
            f()
            pair8.decode(products, decoder, y)
        race.add("stl fp8, " + name, layer)
    times = race.run(options.rounds)
    for name, message in failed.items():
        times["products " + name] = {"failed": message}
    print(f"{M}x{K}x{N} rank {rank}")
    for name, t in times.items():
        if "ms" in t:
            t["ratio"] = times["dense bf16"]["ms"] / t["ms"]
        print(f"   {name:50s} " + (f"{t['ms']:.4f} ({t['min']:.4f} - {t['max']:.4f})  ratio to dense bf16 {t['ratio']:.2f}"
                                   if "ms" in t else t["failed"]))
    sys.stdout.flush()
    return {"shape": list(shape), "rank": rank, "times": times}


def main():
    ranks = [int(v) for v in options.ranks.split(",")]
    report = {"command": "scripts/gpu/fp8.py " + " ".join(sys.argv[1:]), "gpu": torch.cuda.get_device_name(0),
              "torch": torch.__version__, "errors": [errors(rank) for rank in ranks], "rows": []}
    for row in report["errors"]:
        print(json.dumps(row))
    for shape in options.shapes.split(","):
        for rank in ranks:
            report["rows"].append(measure(tuple(int(v) for v in shape.split("x")), rank))
            torch.cuda.empty_cache()
            with open(options.out, "w") as file:
                json.dump(report, file, indent=1)


main()
