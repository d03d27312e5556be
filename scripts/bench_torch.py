"""Measures PyTorch on this machine's CPU at the shapes of benchmarks/cpu-layers.json.

    python scripts/bench_torch.py > benchmarks/cpu-torch.json       (torch)

Dense layers, and the structures as one writes them in PyTorch: Strassen-Tile by reshapes and batched
products, Block Tensor-Train and Monarch by two batched products, low rank by two. float32, forward, and
forward with all gradients; medians of repetitions in random order, as `tessera bench layer` takes them.
"""

import json
import math
import random
import statistics
import sys
import time

import torch

SHAPES = [(197, 384, 1536), (512, 768, 3072), (2048, 1024, 1024), (2048, 2048, 2048)]


def split(n):
    """The two factors of n nearest to each other."""
    a = math.isqrt(n)
    while n % a:
        a -= 1
    return a, n // a


class Dense:
    def __init__(self, k, n):
        self.weights = [torch.randn(n, k)]

    def __call__(self, x):
        return torch.nn.functional.linear(x, self.weights[0])


class LowRank:
    def __init__(self, k, n, rank):
        self.weights = [torch.randn(rank, k), torch.randn(n, rank)]

    def __call__(self, x):
        return x @ self.weights[0].T @ self.weights[1].T


class StrassenTile:
    def __init__(self, k, n, rank):
        self.weights = [
            torch.randn(rank, k // 4, n // 4), torch.randn(rank, 16), torch.randn(rank, 16)]
        self.k, self.n = k // 4, n // 4

    def __call__(self, x):
        weight, encoder, decoder = self.weights
        rows = x.shape[0]
        x = torch.nn.functional.pad(x, (0, 0, 0, -rows % 4))
        tiles = x.reshape(-1, 4, self.k, 4).permute(1, 3, 0, 2).reshape(16, -1)
        products = torch.bmm((encoder @ tiles).reshape(len(encoder), -1, self.k), weight)
        tiles = decoder.T @ products.reshape(len(encoder), -1)
        return tiles.reshape(4, 4, -1, self.n).permute(2, 0, 3, 1).reshape(-1, 4 * self.n)[:rows]


class BlockTensorTrain:
    def __init__(self, k, n, rank):
        (a, b), (self.c, d) = split(k), split(n)
        self.weights = [torch.randn(a, b, self.c * rank), torch.randn(self.c, a * rank, d)]

    def __call__(self, x):
        first, second = self.weights
        rows = x.shape[0]
        z = torch.bmm(x.reshape(rows, len(first), -1).transpose(0, 1), first)
        z = z.reshape(len(first), rows, self.c, -1).permute(2, 1, 0, 3)
        y = torch.bmm(z.reshape(self.c, rows, -1), second)
        return y.transpose(0, 1).reshape(rows, -1)


class Monarch:
    def __init__(self, k, n, blocks):
        size = k // blocks
        self.weights = [torch.randn(blocks, size, size), torch.randn(blocks, size, n // blocks)]

    def __call__(self, x):
        first, second = self.weights
        rows, blocks = x.shape[0], len(first)
        z = torch.bmm(x.reshape(rows, blocks, -1).transpose(0, 1), first)
        z = z.permute(1, 2, 0).reshape(rows, blocks, -1)
        return torch.bmm(z.transpose(0, 1), second).transpose(0, 1).reshape(rows, -1)


def structures(k, n):
    yield "dense", Dense(k, n)
    for rank in (16, 24, 32, 49):
        yield f"stl:rank={rank}", StrassenTile(k, n, rank)
    for rank in (1, 2):
        yield f"btt:rank={rank}", BlockTensorTrain(k, n, rank)
    yield "monarch:blocks=16", Monarch(k, n, 16)
    yield "lowrank:rank=128", LowRank(k, n, 128)


def measure(rows, k, n, backward):
    x, dy = torch.randn(rows, k), torch.randn(rows, n)
    layers = dict(structures(k, n))

    def run(layer):
        if not backward:
            with torch.no_grad():
                layer(x)
            return
        leaves = [x.requires_grad_()] + [w.requires_grad_() for w in layer.weights]
        torch.autograd.grad(layer(x), leaves, dy)

    times = {name: [] for name in layers}
    for turn in range(12):
        for name in random.sample(sorted(layers), len(layers)):
            begin = time.perf_counter()
            run(layers[name])
            if turn > 1:
                times[name].append(time.perf_counter() - begin)
    dense = statistics.median(times["dense"])
    return [
        {
            "name": name,
            "milliseconds": round(1e3 * statistics.median(all_), 3),
            "ratio": round(dense / statistics.median(all_), 3),
        }
        for name, all_ in times.items()
    ]


runs = []
for shape in SHAPES:
    for backward in (False, True):
        runs.append({"shape": shape, "backward": backward, "rows": measure(*shape, backward)})
        print(f"bench: {shape} {'backward' if backward else 'forward'}", file=sys.stderr)
json.dump(
    {
        "command": "python scripts/bench_torch.py > benchmarks/cpu-torch.json",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "runs": runs,
    },
    sys.stdout,
    indent=1,
)
