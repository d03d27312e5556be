"""Strassen-Tile on torch tensors through the device code of Sources/Kernels: what the Swift launcher does, and its twins."""

from dataclasses import dataclass

from nvrtc import ELEMENTS, Kernel

ACTIVATIONS = {"none": 0, "gelu": 1, "gelu_tanh": 2, "silu": 3}


def ceil_div(a, b):
    return -(-a // b)


def round_up(a, b):
    return ceil_div(a, b) * b


@dataclass
class Rows:
    """A row policy for `samples` samples of `length` rows: the parameters of RowMap.cuh and the number of tile rows."""

    policy: str
    samples: int
    length: int

    @property
    def rows(self):
        return self.samples * self.length

    @property
    def tile_rows(self):
        if self.policy == "batch":
            return ceil_div(self.samples, 4) * self.length
        if self.policy == "flat":
            return ceil_div(self.rows, 4)
        return self.samples * ceil_div(self.length, 4)

    @property
    def arguments(self):
        samples, length = self.samples, self.length
        if self.policy == "batch":
            return [length, 4 * length, 1, length, 4, 0, samples]
        if self.policy == "flat":
            samples, length = 1, samples * length
        return [ceil_div(length, 4), length, 4, 1, 0, 4, length]

    def index(self, torch, device):
        """[tile_rows, 4] source rows, -1 where there is none, by the policy's definition (not by its strides)."""
        grid = torch.arange(self.rows, device=device)
        if self.policy == "flat":
            grid = grid.reshape(1, self.rows)
        else:
            grid = grid.reshape(self.samples, self.length)
        if self.policy == "batch":
            grid = grid.t()
        padded = torch.full((grid.shape[0], round_up(grid.shape[1], 4)), -1, device=device)
        padded[:, : grid.shape[1]] = grid
        tiles = padded.reshape(grid.shape[0], -1, 4)
        if self.policy == "batch":
            tiles = tiles.transpose(0, 1)
        return tiles.reshape(-1, 4)


class StrassenTile:
    """Kernels, buffers and launches of one layer: M rows (a Rows), K inputs, N outputs, rank, element type."""

    def __init__(self, torch, rows, K, N, rank, element="bfloat16", activation="none", backward=False):
        self.torch, self.rows, self.K, self.N, self.rank = torch, rows, K, N, rank
        self.dtype = getattr(torch, element)
        unit = 4 if element == "float32" else 8
        self.block_columns = 8 * unit
        self.k_pitch, self.n_pitch = round_up(ceil_div(K, 4), unit), round_up(ceil_div(N, 4), unit)
        defines = {"RANK": rank, "ELEMENT": ELEMENTS[element]}
        def kernel(file, role, **more):
            every = {**defines, **more}
            name = "strassen_" + role + "_" + "_".join(str(v) for _, v in sorted(every.items()))
            return Kernel(file, name, every)
        def decoding(activation):
            """The kernel for rows that begin at multiples of 16 bytes, and for others."""
            return [kernel("StrassenDecode.cu", "decode", ACTIVATION=ACTIVATIONS[activation], STAGED=staged) for staged in (0, 1)]
        self.encode_kernel = kernel("StrassenEncode.cu", "encode")
        self.decode_kernels, self.plain_decode_kernels = decoding(activation), decoding("none")
        self.basis_kernel = kernel("BasisGradient.cu", "basis")
        self.sum_kernel = kernel("BasisGradient.cu", "sum", SUM=1)
        # Poisoned, so that whatever is not written shows.
        g = rows.tile_rows
        self.planes, self.products = self.poison(rank, g, self.k_pitch), self.poison(rank, g, self.n_pitch)
        if backward:
            self.input_planes, self.output_planes = torch.empty_like(self.planes), torch.empty_like(self.products)

    def poison(self, *shape, dtype=None):
        return self.torch.full(shape, float("nan"), device="cuda", dtype=dtype or self.dtype)

    def pad(self, weight):
        """The canonical weight [rank, N/4, K/4] with zeros up to the pitches."""
        _, n, k = weight.shape
        if (n, k) == (self.n_pitch, self.k_pitch):
            return weight
        return self.torch.nn.functional.pad(weight, (0, self.k_pitch - k, 0, self.n_pitch - n))

    def encode(self, x, basis, planes):
        g, pitch = self.rows.tile_rows, planes.shape[2]
        blocks = ceil_div(pitch, 2 * self.block_columns) * ceil_div(g, 4)
        self.encode_kernel(blocks, 256, x, basis, planes, *self.rows.arguments, g, x.shape[1], x.stride(0), pitch)

    def decode(self, planes, basis, bias, y, kernels=None):
        g, columns = self.rows.tile_rows, y.shape[1]
        staged = columns * y.itemsize % 16 != 0
        (kernels or self.decode_kernels)[staged](
            ceil_div(columns, 512) * ceil_div(g, 4), 256, planes, basis, basis if bias is None else bias, y,
            *self.rows.arguments, g, columns, y.stride(0), bias is not None, planes.shape[2])

    def forward(self, x, encoder, weight, decoder, bias, y):
        """`weight` as pad() gives it."""
        self.encode(x, encoder, self.planes)
        self.torch.bmm(self.planes, weight.transpose(1, 2), out=self.products)
        self.decode(self.products, decoder, bias, y)

    def backward(self, dy, x, encoder, weight, decoder, dx, dw):
        """Gradients of the input and of the padded weight; the planes of x are computed again."""
        self.encode(dy, decoder, self.output_planes)
        self.torch.bmm(self.output_planes, weight, out=self.input_planes)
        self.decode(self.input_planes, encoder, None, dx, self.plain_decode_kernels)
        self.encode(x, encoder, self.planes)
        self.torch.bmm(self.output_planes.transpose(1, 2), self.planes, out=dw)

    def basis_gradient(self, planes, z):
        """[rank, 16] float32."""
        blocks = 4 * self.torch.cuda.get_device_properties(0).multi_processor_count
        partials = self.poison(blocks, self.rank, 16, dtype=self.torch.float32)
        result = self.poison(self.rank, 16, dtype=self.torch.float32)
        self.basis_kernel(blocks, 256, planes, z, partials, *self.rows.arguments, self.rows.tile_rows, z.shape[1], z.stride(0),
                          planes.shape[2])
        self.sum_kernel(self.rank, 256, partials, result, blocks)
        return result


# The operator written plainly: the definition.


def gather_tiles(torch, x, rows):
    """[tile_rows, columns/4, 16], zeros where a row or a column is absent."""
    index = rows.index(torch, x.device)
    columns = round_up(x.shape[1], 4)
    padded = torch.zeros(x.shape[0] + 1, columns, device=x.device, dtype=x.dtype)
    padded[:-1, : x.shape[1]] = x
    tiles = padded[index.reshape(-1)].reshape(index.shape[0], 4, columns // 4, 4)
    return tiles.permute(0, 2, 1, 3).reshape(index.shape[0], columns // 4, 16)


def scatter_tiles(torch, tiles, rows, columns):
    index = rows.index(torch, tiles.device)
    g, j, _ = tiles.shape
    flat = tiles.reshape(g, j, 4, 4).permute(0, 2, 1, 3).reshape(4 * g, 4 * j)
    y = torch.zeros(rows.rows + 1, 4 * j, device=tiles.device, dtype=tiles.dtype)
    y[index.reshape(-1)] = flat
    return y[:-1, :columns]


def apply_activation(torch, y, activation):
    F = torch.nn.functional
    return {"none": lambda v: v, "gelu": F.gelu, "gelu_tanh": lambda v: F.gelu(v, approximate="tanh"),
            "silu": F.silu}[activation](y)


def reference_encode(torch, x, basis, rows):
    return (gather_tiles(torch, x, rows) @ basis.t()).permute(2, 0, 1)


def reference(torch, x, encoder, weight, decoder, bias, rows, N, activation):
    """y in the dtype of its arguments, one operation after another."""
    planes = reference_encode(torch, x, encoder, rows).contiguous()
    products = torch.bmm(planes, weight.transpose(1, 2))
    y = scatter_tiles(torch, products.permute(1, 2, 0) @ decoder, rows, N)
    if bias is not None:
        y = y + bias
    return apply_activation(torch, y, activation)
