"""The device code of Strassen-Tile against its definition: max |ours - exact| <= 2 max |plain - exact| + floor.

`tessera doctor --check` does the same for what Swift launches; this one is small enough for compute-sanitizer. `plain` is the job in
the same precision by torch, `exact` in float64. NaN fails: outputs and buffers start as NaN.

usage: [compute-sanitizer [--tool racecheck]] python3 check.py [--sanitize]
"""

import sys

import torch

from strassen import Rows, StrassenTile, gather_tiles, reference, reference_encode, scatter_tiles

torch.manual_seed(1)
failures = []
worst = 0.0


def compare(label, ours, plain, exact, floor=1e-6):
    """`floor` is a share of the largest value: TF32's own rounding, where torch chose exact float32 for its part."""
    global worst
    if plain.dtype == torch.float32:
        floor = 2e-3
    exact = exact.double()
    scale = exact.abs().max().item()
    error = (ours.double() - exact).abs().max().item()
    allowed = 2 * (plain.double() - exact).abs().max().item() + floor * scale
    worst = max(worst, error / allowed)
    if not error <= allowed:
        failures.append(label)
        print(f"FAIL {label}: error {error:.3e} allowed {allowed:.3e} scale {scale:.3e}")


def run(rows, K, N, rank, element, activation="none", offset=0):
    dtype = getattr(torch, element)
    label = f"{rows.policy} {rows.samples}x{rows.length} K{K} N{N} r{rank} {element} {activation}"
    draw = lambda *s: torch.randn(*s, device="cuda").to(dtype)
    x = draw(rows.rows * K + offset)[offset:].reshape(rows.rows, K)
    encoder, decoder = draw(rank, 16) / 4, draw(rank, 16) / 4
    nt, kt = -(-N // 4), -(-K // 4)
    weight = (torch.randn(rank, nt, kt, device="cuda") / kt ** 0.5).to(dtype)
    bias, dy = draw(N), draw(rows.rows, N)
    layer = StrassenTile(torch, rows, K, N, rank, element, activation, backward=True)
    wide = [v.double() for v in (x, encoder, weight, decoder, bias)]

    padded = layer.pad(weight)
    y = layer.poison(rows.rows, N)
    layer.forward(x, encoder, padded, decoder, bias, y)
    compare(label + " forward", y, reference(torch, x, encoder, weight, decoder, bias, rows, N, activation),
            reference(torch, *wide, rows, N, activation))
    if layer.planes[:, :, kt:].any() or torch.isnan(layer.planes).any():
        failures.append(label + " padding")
    first = y.clone()
    layer.forward(x, encoder, padded, decoder, bias, y)
    if not torch.equal(first, y):
        failures.append(label + " differs from run to run")

    def gradients(dy, x, encoder, weight, decoder):
        dyh = reference_encode(torch, dy, decoder, rows).contiguous()
        xh = reference_encode(torch, x, encoder, rows).contiguous()
        dxh = torch.bmm(dyh, weight)
        z = torch.bmm(xh, weight.transpose(1, 2))
        basis = lambda planes, m: torch.einsum("pgj,gje->pe", planes.double(), gather_tiles(torch, m.double(), rows))
        return (scatter_tiles(torch, dxh.permute(1, 2, 0) @ encoder, rows, K), torch.bmm(dyh.transpose(1, 2), xh),
                basis(dxh, x), basis(z, dy))
    dx, dw = layer.poison(rows.rows, K), torch.full_like(padded, float("nan"))
    layer.backward(dy, x, encoder, padded, decoder, dx, dw)
    ours = (dx, dw[:, :nt, :kt], layer.basis_gradient(layer.input_planes, x), layer.basis_gradient(layer.products, dy))
    plain, exact = gradients(dy, x, encoder, weight, decoder), gradients(dy.double(), *wide[:4])
    for name, a, b, c in zip(("dx", "dw", "dencoder", "ddecoder"), ours, plain, exact):
        compare(f"{label} {name}", a, b, c, 2e-3 if name.startswith(("den", "dde")) else 1e-6)


torch.backends.cuda.matmul.allow_tf32 = True
torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
run(Rows("sequence", 3, 197), 515, 1031, 24, "bfloat16", "gelu")
run(Rows("batch", 6, 31), 1023, 250, 49, "float32", "silu")
if "--sanitize" not in sys.argv:
    for element in ("bfloat16", "float16", "float32"):
        for rank in (7, 64):
            run(Rows("sequence", 3, 197), 515, 1031, rank, element, "gelu")
    run(Rows("flat", 1, 777), 264, 1304, 16, "bfloat16", offset=3)
print(f"worst error / allowed {worst:.3f}; {len(failures)} failures")
sys.exit(1 if failures else 0)
