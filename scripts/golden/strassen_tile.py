"""Makes Tests/OperatorsTests/Golden/strassen-tile.safetensors: the layer by explicit loops.

    python scripts/golden/strassen_tile.py                         (torch, numpy, safetensors)

Every number is formed by the scalar formulas of the definition, tile by tile and plane by plane, in
float64, with encoders that are random and so neither exact nor symmetric. Names are
`TILE|RANK|ROWS|K|N|WHAT`: x, probe, y, and for x and each parameter NAME also d:NAME, the gradient
of sum(y * probe).
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

GOLDEN = Path(__file__).parents[2] / "Tests/OperatorsTests/Golden/strassen-tile.safetensors"
generator = torch.Generator().manual_seed(7)


def random(*shape):
    # Values that float32 holds exactly, so that both sides start from the same numbers.
    numbers = torch.randn(shape, generator=generator)
    return numbers.float().double().requires_grad_()


def tiles_of(samples, tokens, t, rows):
    """The tiles, each a list of t rows (sample, token), or None for a row of zeros."""
    everything = [(s, i) for s in range(samples) for i in range(tokens)]
    if rows == "sequence":
        lines = [[(s, i) for i in range(tokens)] for s in range(samples)]
    elif rows == "batch":
        lines = [[(s, i) for s in range(samples)] for i in range(tokens)]
    else:
        lines = [everything]
    for line in lines:
        for first in range(0, len(line), t):
            tile = line[first : first + t]
            yield tile + [None] * (t - len(tile))


def layer(x, weight, encoder, decoder, t, rows, outputs):
    samples, tokens, inputs = x.shape
    rank, out_tiles, in_tiles = weight.shape
    zero = torch.zeros((), dtype=torch.float64)
    y = [[[zero] * outputs for _ in range(tokens)] for _ in range(samples)]
    for tile in tiles_of(samples, tokens, t, rows):
        encoded = [[zero] * in_tiles for _ in range(rank)]
        for p in range(rank):
            for l in range(in_tiles):
                for a, row in enumerate(tile):
                    for b in range(t):
                        if row is not None and l * t + b < inputs:
                            value = x[row[0], row[1], l * t + b]
                            encoded[p][l] = encoded[p][l] + encoder[p, a * t + b] * value
        for j in range(out_tiles):
            products = [sum(encoded[p][l] * weight[p, j, l] for l in range(in_tiles)) for p in range(rank)]
            for a, row in enumerate(tile):
                for c in range(t):
                    if row is not None and j * t + c < outputs:
                        y[row[0]][row[1]][j * t + c] = sum(
                            decoder[p, a * t + c] * products[p] for p in range(rank)
                        )
    return torch.stack([torch.stack([torch.stack(row) for row in sample]) for sample in y])


def main():
    arrays = {}
    for t, rank, inputs, outputs in [(2, 5, 5, 3), (3, 4, 6, 4), (4, 6, 7, 5)]:
        for rows in ["sequence", "batch", "flat"]:
            x = random(3, 5, inputs)
            p = {
                "weight": random(rank, -(-outputs // t), -(-inputs // t)),
                "encoder": random(rank, t * t),
                "decoder": random(rank, t * t),
            }
            y = layer(x, **p, t=t, rows=rows, outputs=outputs)
            probe = random(*y.shape).detach()
            (y * probe).sum().backward()
            case = {"x": x, "d:x": x.grad, "probe": probe, "y": y}
            for name, value in p.items():
                case |= {name: value, f"d:{name}": value.grad}
            for name, value in case.items():
                key = f"{t}|{rank}|{rows}|{inputs}|{outputs}|{name}"
                arrays[key] = value.detach().numpy().astype(np.float32)
    save_file(arrays, GOLDEN)


main()
