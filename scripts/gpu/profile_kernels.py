"""Runs each kernel of a layer a few times, for Nsight Compute.

usage: ncu --profile-from-start off --clock-control none --metrics ... python3 profile_kernels.py [MxKxN ...] [--rank 16]
"""

import argparse

import torch

from strassen import Rows, StrassenTile

parser = argparse.ArgumentParser()
parser.add_argument("shapes", nargs="*", default=["8192x8192x8192", "16384x4096x4096", "4096x2048x5632"])
parser.add_argument("--rank", type=int, default=16)
options = parser.parse_args()
torch.manual_seed(0)


def draw(*shape):
    return torch.randn(*shape, device="cuda").to(torch.bfloat16)


for shape in options.shapes:
    M, K, N = (int(v) for v in shape.split("x"))
    x, dense = draw(M, K), draw(N, K)
    y = torch.empty(M, N, device="cuda", dtype=torch.bfloat16)
    layer = StrassenTile(torch, Rows("flat", 1, M), K, N, options.rank)
    encoder, decoder = draw(options.rank, 16) / 4, draw(options.rank, 16) / 4
    weight = layer.pad(draw(options.rank, -(-N // 4), -(-K // 4)) / (K / 4) ** 0.5)
    torch.cuda.synchronize()
    # Between these marks, so that what draws the data is left out (ncu --profile-from-start off).
    torch.cuda.cudart().cudaProfilerStart()
    torch.matmul(x, dense.t(), out=y)
    layer.forward(x, encoder, weight, decoder, None, y)
    torch.cuda.synchronize()
    torch.cuda.cudart().cudaProfilerStop()
