"""The rival to beat: a plain Triton encode and decode around torch.bmm (about fifteen lines each)."""

import torch
import triton
import triton.language as tl


@triton.jit
def encode_kernel(x, basis, planes, K, G: tl.constexpr, L: tl.constexpr, R: tl.constexpr, RP: tl.constexpr, rows, columns):
    g0, l0 = tl.program_id(0) * G, tl.program_id(1) * L
    row = g0 * 4 + tl.arange(0, 4 * G)
    column = l0 * 4 + tl.arange(0, 4 * L)
    tile = tl.load(x + row[:, None].to(tl.int64) * K + column[None, :])
    tile = tile.reshape(G, 4, L, 4).permute(0, 2, 1, 3).reshape(G * L, 16)
    p = tl.arange(0, RP)
    e = tl.load(basis + tl.arange(0, 16)[:, None] + p[None, :] * 16, mask=p[None, :] < R, other=0.0)
    out = tl.dot(tile, e).to(planes.dtype.element_ty)
    out = out.permute(1, 0).reshape(RP, G, L)
    g, l = g0 + tl.arange(0, G), l0 + tl.arange(0, L)
    at = p[:, None, None].to(tl.int64) * rows * columns + g[None, :, None] * columns + l[None, None, :]
    tl.store(planes + at, out, mask=(p[:, None, None] < R) & (g[None, :, None] < rows) & (l[None, None, :] < columns))


@triton.jit
def decode_kernel(planes, basis, y, N, G: tl.constexpr, L: tl.constexpr, R: tl.constexpr, RP: tl.constexpr, rows, columns):
    g0, l0 = tl.program_id(0) * G, tl.program_id(1) * L
    p = tl.arange(0, RP)
    g, l = g0 + tl.arange(0, G), l0 + tl.arange(0, L)
    at = p[:, None, None].to(tl.int64) * rows * columns + g[None, :, None] * columns + l[None, None, :]
    v = tl.load(planes + at, mask=p[:, None, None] < R, other=0.0)
    v = v.reshape(RP, G * L).permute(1, 0)
    d = tl.load(basis + p[:, None] * 16 + tl.arange(0, 16)[None, :], mask=p[:, None] < R, other=0.0)
    out = tl.dot(v, d).to(y.dtype.element_ty)
    out = out.reshape(G, L, 4, 4).permute(0, 2, 1, 3).reshape(4 * G, 4 * L)
    row = g0 * 4 + tl.arange(0, 4 * G)
    column = l0 * 4 + tl.arange(0, 4 * L)
    tl.store(y + row[:, None].to(tl.int64) * N + column[None, :], out)


class TritonPair:
    """Whole tiles only: M a multiple of 8, K and N of 512."""

    def __init__(self, M, K, N, rank, planes=torch.bfloat16):
        self.M, self.K, self.N, self.rank = M, K, N, rank
        self.padded = max(16, triton.next_power_of_2(rank))
        self.planes = torch.empty(rank, M // 4, K // 4, device="cuda", dtype=planes)

    def encode(self, x, basis, planes):
        g, l = self.M // 4, x.shape[1] // 4
        encode_kernel[(g // 2, l // 128)](x, basis, planes, x.shape[1], 2, 128, self.rank, self.padded, g, l, num_warps=4)

    def decode(self, planes, basis, y):
        g, l = self.M // 4, y.shape[1] // 4
        decode_kernel[(g // 2, l // 128)](planes, basis, y, y.shape[1], 2, 128, self.rank, self.padded, g, l, num_warps=4)

    def forward(self, x, encoder, weight_t, decoder, y):
        self.encode(x, encoder, self.planes)
        self.decode(torch.bmm(self.planes, weight_t), decoder, y)

    def backward(self, dy, x, encoder, weight, decoder, dx, dw):
        """As the kernels of the library do it: the planes of x are computed again."""
        outputs = torch.empty(self.rank, self.M // 4, self.N // 4, device="cuda", dtype=dy.dtype)
        self.encode(dy, decoder, outputs)
        self.decode(torch.bmm(outputs, weight), encoder, dx)
        self.encode(x, encoder, self.planes)
        torch.bmm(outputs.transpose(1, 2), self.planes, out=dw)
