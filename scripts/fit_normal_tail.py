"""Prints the coefficients of Sources/Kernels/CPUKernels/Activation.inc.h.

    python scripts/fit_normal_tail.py     (numpy)

1 - Φ(x) = exp(-x²/2) P(t) with t = 1 / (1 + SCALE x) for x >= 0, P of degree 8 without a constant:
least squares on Chebyshev points of t, reweighted (Lawson) until the largest error stops falling,
absolute in the function that is multiplied by x. Then the largest error of x Φ(x) in single
precision, in units of rounding of max(1, |x|).
"""

from math import erfc, sqrt

import numpy as np

DEGREE, SCALE, END, POINTS, SWEEPS = 8, 0.3, 13.0, 4000, 500

lowest = 1 / (1 + SCALE * END)
t = lowest + (1 - lowest) / 2 * (1 - np.cos(np.pi * (np.arange(POINTS) + 0.5) / POINTS))
x = (1 / t - 1) / SCALE
target = np.array([erfc(value / sqrt(2)) / 2 * np.exp(value * value / 2) for value in x])
# Relative near zero, and still some weight in the far tail.
weight = np.maximum(np.maximum(x, 0.3) * np.exp(-x * x / 2), 1e-3 / target)
powers = np.stack([t**i for i in range(1, DEGREE + 1)], 1)
lawson, best = np.ones_like(x), (np.inf, None)
for _ in range(SWEEPS):
    row = np.sqrt(lawson) * weight
    p = np.linalg.lstsq(powers * row[:, None], target * row, rcond=None)[0]
    error = np.abs(powers @ p - target) * weight
    if error.max() < best[0]:
        best = (error.max(), p)
    lawson = np.maximum(lawson * np.sqrt(error / error.max() + 1e-12), 1e-9)
    lawson /= lawson.mean()
p = best[1]
print("P, lowest power first:", ", ".join(f"{value:.9g}" for value in p))
print("largest weighted error:", best[0])

single = np.float32
inputs = np.linspace(-12, 12, 400_001).astype(single)
size = np.abs(inputs)
t = single(1) / (single(1) + single(SCALE) * size)
value = np.full_like(t, single(p[-1]))
for coefficient in p[-2::-1]:
    value = value * t + single(coefficient)
tail = value * t * np.exp(-(size * size) * single(0.5))
ours = inputs * np.where(inputs < 0, tail, single(1) - tail)
exact = np.array([value * erfc(-value / sqrt(2)) / 2 for value in inputs.astype(float)])
error = np.abs(ours - exact) / np.maximum(1, np.abs(exact)) / 2.0**-24
print("largest error in single precision:", error.max(), "roundings")
