"""Prints the coefficients of Sources/MLXNN/GELU+Rational.swift.

    python scripts/fit_gelu.py            (numpy)

erf(x / sqrt 2) / 2 = x P(x²) / Q(x²) for |x| <= 5.5, with P and Q of degree 5 and Q(0) = 1: least
squares on Chebyshev points, reweighted (Lawson) until the largest error of the GELU, relative to its
value, stops falling. Then the largest absolute error in single precision.
"""

from math import erf, sqrt

import numpy as np

DEGREE, END, POINTS, SWEEPS = 5, 5.5, 6000, 400

x = END / 2 * (1 - np.cos(np.pi * (np.arange(POINTS) + 0.5) / POINTS))
x = x[x > 1e-6]
t = (x / END) ** 2
target = np.array([erf(value / sqrt(2)) / value / 2 for value in x])
weight = np.maximum(x * x / np.maximum(x / 2 + x * x * target, 1e-3), 0.05)
powers = np.stack([t**i for i in range(DEGREE + 1)], 1)
lawson, denominator, best = np.ones_like(x), np.ones_like(x), (np.inf, None, None)
for _ in range(SWEEPS):
    row = np.sqrt(lawson) * weight / np.abs(denominator)
    matrix = np.concatenate([powers, -target[:, None] * powers[:, 1:]], 1) * row[:, None]
    solution = np.linalg.lstsq(matrix, target * row, rcond=None)[0]
    p, q = solution[: DEGREE + 1], np.concatenate([[1], solution[DEGREE + 1 :]])
    denominator = powers @ q
    error = np.abs(powers @ p / denominator - target) * weight
    if error.max() < best[0]:
        best = (error.max(), p, q)
    lawson = np.maximum(lawson * np.sqrt(error / error.max() + 1e-12), 1e-8)
    lawson /= lawson.mean()
p, q = (c / END ** (2 * np.arange(DEGREE + 1)) for c in best[1:])
print("P:", ", ".join(f"{value:.9g}" for value in p))
print("Q:", ", ".join(f"{value:.9g}" for value in q))


def polynomial(coefficients, s):
    value = np.full_like(s, np.float32(coefficients[-1]))
    for coefficient in coefficients[-2::-1]:
        value = value * s + np.float32(coefficient)
    return value


inputs = np.linspace(-12, 12, 400_001).astype(np.float32)
inside = np.clip(inputs, np.float32(-END), np.float32(END))
square = inside * inside
ours = inputs * (inside * polynomial(p, square) / polynomial(q, square) + np.float32(0.5))
exact = np.array([value * (1 + erf(value / sqrt(2))) / 2 for value in inputs.astype(float)])
print("largest error of the GELU on [-12, 12] in single precision:", np.abs(ours - exact).max())
