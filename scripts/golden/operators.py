"""Makes Tests/OperatorsTests/Golden/operators.safetensors: forward and gradients of every structure.

    python scripts/golden/operators.py                             (torch, numpy, safetensors)

Each structure is computed from its definition, in float64, in another way than the package does it:
explicit permutation matrices for Monarch, entry by entry inside an explicit Kronecker-product mask
for Kronecker-sparse factors, the two batched products of the paper's layout for Block Tensor-Train.
Names are `SPEC|K|N|WHAT`: x, probe, y, dx, and for each parameter NAME and d:NAME, the gradients of
sum(y * probe).
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

GOLDEN = Path(__file__).parents[2] / "Tests/OperatorsTests/Golden/operators.safetensors"
ROWS = 3
generator = torch.Generator().manual_seed(20)


def random(*shape):
    # Values that float32 holds exactly, so that both sides start from the same numbers.
    return torch.randn(shape, generator=generator).double().requires_grad_()


def padded(x, width):
    return torch.nn.functional.pad(x, (0, width - x.shape[-1]))


def dense(x, p):
    return torch.nn.functional.linear(x, p["weight"])


def low_rank(x, p):
    linear = torch.nn.functional.linear
    return linear(linear(x, p["v"]), p["u"])


def kronecker(x, p, outputs):
    weight = torch.kron(p["core0"], p["core1"])
    return (padded(x, weight.shape[1]) @ weight.T)[:, :outputs]


def tensor_train(x, p, outputs):
    weight = sum(
        torch.kron(p["core0"][:, :, s], p["core1"][s]) for s in range(p["core1"].shape[0])
    )
    return (padded(x, weight.shape[1]) @ weight.T)[:, :outputs]


def block_tensor_train(x, p, rank, m, n, outputs):
    (m0, m1), (n0, n1) = m, n
    x = padded(x, m0 * m1)
    y = x.reshape(len(x), m1, m0).transpose(0, 1)  # (m1, B, m0)
    y = torch.bmm(y, p["core0"])  # (m1, B, n0 r)
    y = y.reshape(m1, len(x), n0, rank).transpose(0, 2).contiguous()  # (n0, B, m1, r)
    y = torch.bmm(y.reshape(n0, len(x), m1 * rank), p["core1"])  # (n0, B, n1)
    return y.transpose(0, 1).reshape(len(x), n0 * n1)[:, :outputs]


def normalized(p, rank, m, n):
    (m0, m1), (n0, n1) = m, n
    result = {}
    for name, gamma, fan_in, fan_out in [
        ("core0", "gamma0", m0, n0 * rank),
        ("core1", "gamma1", m1 * rank, n1),
    ]:
        sigma = min(fan_in, fan_out) ** 0.5 / fan_in
        rms = p[name].pow(2).mean().sqrt()
        result[name] = p[gamma] * p[name] / torch.clamp(rms / sigma, min=1)
    return result


def monarch(x, p, blocks, outputs):
    """y = L P R x with block-diagonal R and L, and P from (i, j, rank) to (j, i, rank)."""
    core0, core1 = p["core0"], p["core1"]
    inner = core0.shape[2]
    rank = inner // blocks
    right = torch.block_diag(*[core0[i].T for i in range(blocks)])
    left = torch.block_diag(*[core1[j].T for j in range(blocks)])
    permutation = torch.zeros(blocks * inner, blocks * inner, dtype=torch.float64)
    for i in range(blocks):
        for j in range(blocks):
            for r in range(rank):
                permutation[(j * blocks + i) * rank + r, (i * blocks + j) * rank + r] = 1
    weight = left @ permutation @ right
    return (padded(x, weight.shape[1]) @ weight.T)[:, :outputs]


def kronecker_sparse(x, p, patterns, outputs):
    x = padded(x, patterns[0][0] * patterns[0][2] * patterns[0][3])
    for index, (a, b, c, d) in enumerate(patterns):
        mask = np.kron(np.kron(np.eye(a), np.ones((b, c))), np.eye(d))
        weight = torch.zeros(mask.shape, dtype=torch.float64)
        for i in range(a):
            for j in range(b):
                for k in range(c):
                    for l in range(d):
                        row, column = i * b * d + j * d + l, i * c * d + k * d + l
                        assert mask[row, column] == 1
                        weight[row, column] = p[f"factor{index}"][i, j, k, l]
        assert mask.sum() == a * b * c * d
        x = x @ weight.T
    return x[:, :outputs]


def two_four(x, p):
    values, indices = p["values"], p["indices"]
    outputs, half = values.shape
    weight = torch.zeros(outputs, 2 * half, dtype=torch.float64)
    for row in range(outputs):
        for column in range(half):
            weight[row, column // 2 * 4 + int(indices[row, column])] = values[row, column]
    return padded(x, 2 * half) @ weight.T


def two_of_four(outputs, groups):
    pairs = [sorted(torch.randperm(4, generator=generator)[:2].tolist())
             for _ in range(outputs * groups)]
    return torch.tensor(pairs, dtype=torch.uint8).reshape(outputs, 2 * groups)


arrays = {}


def record(spec, inputs, outputs, parameters, forward):
    x, probe = random(ROWS, inputs), random(ROWS, outputs)
    y = forward(x, parameters)
    assert y.shape == (ROWS, outputs)
    (y * probe).sum().backward()
    case = {"x": x, "probe": probe, "y": y, "dx": x.grad}
    for name, value in parameters.items():
        case[name] = value
        if value.is_floating_point():
            case["d:" + name] = value.grad
    for name, value in case.items():
        value = value.detach().numpy()
        kept = value if value.dtype == np.uint8 else value.astype(np.float32)
        arrays[f"{spec}|{inputs}|{outputs}|{name}"] = np.ascontiguousarray(kept)


record("dense", 5, 4, {"weight": random(4, 5)}, dense)
record("lowrank:rank=2", 6, 5, {"v": random(2, 6), "u": random(5, 2)}, low_rank)
for inputs, outputs in [(6, 10), (5, 9)]:
    record(
        "kronecker:in=2x3,out=5x2", inputs, outputs,
        {"core0": random(5, 2), "core1": random(2, 3)},
        lambda x, p: kronecker(x, p, outputs))
    record(
        "tt:rank=2,in=2x3,out=5x2", inputs, outputs,
        {"core0": random(5, 2, 2), "core1": random(2, 2, 3)},
        lambda x, p: tensor_train(x, p, outputs))
record(
    "monarch:blocks=2", 8, 12, {"core0": random(2, 4, 4), "core1": random(2, 4, 6)},
    lambda x, p: monarch(x, p, 2, 12))
record(
    "monarch:blocks=3", 10, 7, {"core0": random(3, 4, 3), "core1": random(3, 3, 3)},
    lambda x, p: monarch(x, p, 3, 7))
for inputs, outputs in [(12, 10), (11, 9)]:
    m, n = (4, 3), (2, 5)
    record(
        "btt:rank=2,in=4x3,out=2x5", inputs, outputs,
        {"core0": random(3, 4, 4), "core1": random(2, 6, 5)},
        lambda x, p: block_tensor_train(x, p, 2, m, n, outputs))
record(
    "btt:rank=2,in=4x3,out=2x5,norm=true", 12, 10,
    {
        "core0": random(3, 4, 4), "core1": random(2, 6, 5),
        "gamma0": random(1), "gamma1": random(1),
    },
    lambda x, p: block_tensor_train(x, normalized(p, 2, m, n), 2, m, n, 10))
for spec, inputs, outputs in [
    ("ks:2x3x2x2", 8, 12), ("ks:3x2x4x1+1x5x2x3", 12, 15), ("ks:3x2x4x1+1x5x2x3", 11, 13),
    ("ks:1x2x2x4+2x2x2x2+4x2x2x1", 8, 8),
]:
    patterns = [tuple(map(int, part.split("x"))) for part in spec[3:].split("+")]
    record(
        spec, inputs, outputs,
        {f"factor{index}": random(*pattern) for index, pattern in enumerate(patterns)},
        lambda x, p: kronecker_sparse(x, p, patterns, outputs))
for inputs, outputs in [(8, 3), (6, 5)]:
    groups = -(-inputs // 4)
    record(
        "2:4", inputs, outputs,
        {"values": random(outputs, 2 * groups), "indices": two_of_four(outputs, groups)},
        lambda x, p: two_four(padded(x, 4 * groups), p))

GOLDEN.parent.mkdir(parents=True, exist_ok=True)
save_file(arrays, GOLDEN)
print(f"{len(arrays)} arrays, {GOLDEN.stat().st_size} bytes")
