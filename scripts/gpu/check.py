"""Every kernel against its definition: max |ours - exact| <= 2 max |plain - exact| + floor, on ragged shapes and all policies.

`plain` is the same job in the same precision by torch; `exact` in float64. NaN fails: outputs and buffers start as NaN.
usage: check.py [--quick] [--sanitize]
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import torch

from strassen import Rows, StrassenTile, reference, reference_encode, scatter_tiles, gather_tiles, apply_activation

torch.manual_seed(1)
failures = []
worst = 0.0


def compare(label, ours, plain, exact, floor=1e-6):
    """`floor` is a share of the largest value: TF32's own rounding, where torch chose exact float32 for its part."""
    global worst
    if plain.dtype == torch.float32:
        floor = 1e-3
    exact = exact.double()
    scale = exact.abs().max().item()
    error = (ours.double() - exact).abs().max().item()
    allowed = 2 * (plain.double() - exact).abs().max().item() + floor * scale
    ok = error <= allowed and not torch.isnan(ours).any().item()
    worst = max(worst, error / allowed if allowed else 0.0)
    if not ok:
        failures.append(label)
        bad = ~((ours.double() - exact).abs() <= allowed)
        print(f"FAIL {label}: error {error:.3e} allowed {allowed:.3e} scale {scale:.3e} bad {bad.float().mean().item():.4f} "
              f"first {torch.nonzero(bad)[:3].tolist()}")
    return ok


def unblock(planes, rank, rows, columns, bytes_):
    """Row-major planes from blocked ones, by the layout's definition."""
    width = 128 // bytes_
    v = planes.reshape(rank, rows // 64, columns // width, 64, 8, 16 // bytes_)
    row = torch.arange(64, device=planes.device)
    chunk = torch.arange(8, device=planes.device)
    stored = chunk[None, :] ^ (row[:, None] & 7)
    v = torch.gather(v, 4, stored[None, None, None, :, :, None].expand_as(v))
    return v.permute(0, 1, 3, 2, 4, 5).reshape(rank, rows, columns)


cases = []
pool = ThreadPoolExecutor(12)


def case(rows, K, N, rank, element, activation="none", use_bias=True, tile_columns=256, backward=False, group=None,
         offset=0):
    layer = pool.submit(StrassenTile, rows, K, N, rank, element, activation, tile_columns, group, backward)
    cases.append((layer, rows, K, N, rank, element, activation, use_bias, tile_columns, backward, offset))


def run(layer, rows, K, N, rank, element, activation, use_bias, tile_columns, backward, offset):
    dtype = getattr(torch, element)
    label = f"{rows.policy} {rows.samples}x{rows.length} K{K} N{N} r{rank} {element} {activation} n{tile_columns}"
    draw = lambda *s: torch.randn(*s, device="cuda").to(dtype)
    storage = draw(rows.rows * K + offset)
    x = storage[offset:].reshape(rows.rows, K)
    encoder = (torch.randn(rank, 16, device="cuda") / 4).to(dtype)
    decoder = (torch.randn(rank, 16, device="cuda") / 4).to(dtype)
    nt, kt = -(-N // 4), -(-K // 4)
    weight = (torch.randn(rank, nt, kt, device="cuda") / kt ** 0.5).to(dtype)
    bias = draw(N) if use_bias else None
    layer = layer.result()
    layer.allocate(torch)
    packed = layer.pack(torch, weight)
    wide = [v.double() if v is not None else None for v in (x, encoder, weight, decoder, bias)]
    exact = reference(torch, *wide, rows, N, activation)
    plain = reference(torch, x, encoder, weight, decoder, bias, rows, N, activation)

    back = unblock(packed, rank, layer.n_padded, layer.k_columns * layer.block_columns, layer.bytes)
    compare(label + " pack", back[:, :nt, :kt], weight, wide[2])
    if back[:, nt:].any() or back[:, :, kt:].any():
        failures.append(label + " pack padding")

    layer.encode(x, encoder)
    planes = unblock(layer.planes, rank, layer.padded_rows, layer.k_columns * layer.block_columns, layer.bytes)
    g = rows.tile_rows
    exact_planes = reference_encode(torch, wide[0], wide[1], rows)
    compare(label + " encode", planes[:, :g, :kt], reference_encode(torch, x, encoder, rows), exact_planes)
    if torch.isnan(planes).any() or planes[:, g:].any() or planes[:, :, kt:].any():
        failures.append(label + " encode padding")
        print("FAIL padding", label)

    exact_products = torch.bmm(exact_planes, wide[2].transpose(1, 2))
    plain_products = torch.bmm(reference_encode(torch, x, encoder, rows).contiguous(), weight.transpose(1, 2))
    result = torch.full((rank, g, nt), float("nan"), device="cuda", dtype=dtype)
    layer.counters.zero_()
    layer.products_rows(packed, result)
    torch.cuda.synchronize()
    compare(label + " products", result, plain_products, exact_products)

    for name, forward in (("fused", layer.forward), ("whole", layer.whole), ("separate", layer.separate)):
        first = None
        for _ in range(2):
            y = torch.full((rows.rows, N), float("nan"), device="cuda", dtype=dtype)
            layer.fragments.fill_(float("nan"))
            layer.planes.fill_(float("nan"))
            forward(x, encoder, packed, decoder, bias, y)
            torch.cuda.synchronize()
            compare(label + " " + name, y, plain, exact)
            if first is not None and not torch.equal(first, y):
                failures.append(label + " not deterministic")
                print("FAIL not deterministic", label, name)
            first = y
        planes = unblock(layer.planes, rank, layer.padded_rows, layer.k_columns * layer.block_columns, layer.bytes)
        if torch.isnan(planes).any() or planes[:, g:].any() or planes[:, :, kt:].any():
            failures.append(label + " padding " + name)
            print("FAIL padding", label, name)
    layer.forward(x, encoder, packed, decoder, bias, y)
    dy = draw(rows.rows, N)
    products = torch.bmm(exact_planes, wide[2].transpose(1, 2))
    exact_basis = torch.einsum("pgj,gje->pe", products, gather_tiles(torch, dy.double(), rows))
    rounded = torch.bmm(reference_encode(torch, x, encoder, rows).contiguous(), weight.transpose(1, 2)).double()
    plain_basis = torch.einsum("pgj,gje->pe", rounded, gather_tiles(torch, dy.double(), rows))
    compare(label + " decoder gradient", layer.basis_gradient(torch, dy, nt), plain_basis, exact_basis, 2e-3)

    y = torch.full((rows.rows, N), float("nan"), device="cuda", dtype=dtype)
    layer.allocate_rows(torch, weight)
    layer.portable(torch, x, encoder, decoder, bias, y)
    compare(label + " portable", y, plain, exact)

    if backward:
        dx = torch.full((rows.rows, K), float("nan"), device="cuda", dtype=dtype)
        dw = torch.full((rank, nt, kt), float("nan"), device="cuda", dtype=dtype)
        layer.fragments.fill_(float("nan"))
        layer.planes.fill_(float("nan"))
        layer.backward_pass(dy, x, encoder, packed, decoder, dx, dw)
        torch.cuda.synchronize()
        def gradients(dy, x, encoder, weight, decoder):
            dyh = reference_encode(torch, dy, decoder, rows).contiguous()
            xh = reference_encode(torch, x, encoder, rows).contiguous()
            dxh = torch.bmm(dyh, weight)
            return (scatter_tiles(torch, dxh.permute(1, 2, 0) @ encoder, rows, K), torch.bmm(dyh.transpose(1, 2), xh))
        plain_dx, plain_dw = gradients(dy, x, encoder, weight, decoder)
        exact_dx, exact_dw = gradients(dy.double(), *wide[:4])
        compare(label + " dx", dx, plain_dx, exact_dx)
        compare(label + " dw", dw, plain_dw, exact_dw)
        exact_dxh = torch.bmm(reference_encode(torch, dy.double(), wide[3], rows), wide[2])
        plain_dxh = torch.bmm(reference_encode(torch, dy, decoder, rows).contiguous(), weight).double()
        z = gather_tiles(torch, x.double(), rows)
        compare(label + " encoder gradient", layer.basis_gradient(torch, x, kt),
                torch.einsum("pgj,gje->pe", plain_dxh, z), torch.einsum("pgj,gje->pe", exact_dxh, z), 2e-3)


def main():
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    if "--sanitize" in sys.argv:
        case(Rows("sequence", 3, 197), 515, 1031, 24, "bfloat16", "gelu", backward=True)
    elif "--quick" in sys.argv:
        case(Rows("flat", 1, 1024), 512, 1024, 16, "bfloat16")
        case(Rows("sequence", 3, 197), 515, 1031, 24, "bfloat16", "gelu", backward=True)
    else:
        case(Rows("flat", 1, 1024), 512, 1024, 16, "bfloat16", use_bias=False)
        for rows in range(1, 6):
            case(Rows("flat", 1, rows), 100, 75, 16, "bfloat16", "silu")
            case(Rows("batch", rows, 7), 64, 256, 24, "bfloat16")
        for element in ("bfloat16", "float16", "float32"):
            for rank in (16, 24, 32, 49):
                backward = element != "float32"
                case(Rows("sequence", 3, 197), 515, 1031, rank, element, "gelu", backward=backward)
                case(Rows("batch", 6, 331), 1023, 250, rank, element, "gelu_tanh", backward=backward, tile_columns=128)
        for rank in (7, 25, 64):
            case(Rows("flat", 1, 777), 260, 1300, rank, "bfloat16", "silu", backward=True, group=(1, 2))
        case(Rows("flat", 1, 777), 264, 1304, 16, "bfloat16", offset=3)
        case(Rows("flat", 1, 4095), 2047, 5631, 24, "bfloat16", backward=True)
        case(Rows("sequence", 32, 197), 768, 768, 16, "bfloat16", "gelu", backward=True, tile_columns=128)
        case(Rows("flat", 1, 40000), 96, 100, 16, "float16", group=(3, 1))
    for arguments in cases:
        run(*arguments)
    print(f"{len(cases)} cases; worst error / allowed {worst:.3f}; {len(failures)} failures")
    sys.exit(1 if failures else 0)


main()
