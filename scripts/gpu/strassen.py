"""Strassen-Tile on torch tensors through the device code of Sources/Kernels: what the Swift launcher does, and its twins."""

from dataclasses import dataclass

from nvrtc import ELEMENTS, Kernel

PRODUCT_THREADS, FUSED_THREADS, PRODUCT_SHARED = 384, 512, 198656
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
    """Kernels and launches of one layer: M rows (a Rows), K inputs, N outputs, rank, element type."""

    def __init__(self, rows, K, N, rank, element="bfloat16", activation="none", tile_columns=256, group=None,
                 backward=False):
        self.rows, self.K, self.N, self.rank, self.element = rows, K, N, rank, element
        self.activation, self.tile_columns = activation, tile_columns
        self.bytes = 4 if element == "float32" else 2
        self.block_columns = 128 // self.bytes
        # Both dimensions are padded to whole output tiles, so that every operand serves in both orientations.
        across = 256 if backward else self.block_columns
        self.m_pairs = ceil_div(rows.tile_rows, 256)
        self.padded_rows = 256 * self.m_pairs
        self.k_tiles, self.n_tiles = ceil_div(K, 4), ceil_div(N, 4)
        self.k_columns = round_up(self.k_tiles, across) // self.block_columns
        self.n_columns = round_up(self.n_tiles, across) // self.block_columns
        self.n_padded = round_up(self.n_tiles, 256)
        self.group = group or self.choose_group(ceil_div(self.n_tiles, tile_columns))
        self.backward = backward
        self.encode_kernel = self.kernel("StrassenEncode.cu", "encode", RANK=rank)
        self.pack_kernel = self.kernel("PackPlanes.cu", "pack")
        self.clear_kernel = Kernel("Clear.cu", "clear_counters")
        self.encode_rows_kernel = self.kernel("StrassenEncode.cu", "encode_rows", RANK=rank, PLANES=1)
        self.decode_rows_kernel = self.kernel("StrassenDecode.cu", "decode_rows", RANK=rank, PLANES=1,
                                              ACTIVATION=ACTIVATIONS[activation])
        self.decode_kernel = self.kernel("StrassenDecode.cu", "decode", RANK=rank, PLANES=0, TILE_COLUMNS=tile_columns,
                                         ACTIVATION=ACTIVATIONS[activation])
        self.fused_kernel = self.products("fused", OUTPUT=2, ACTIVATION=ACTIVATIONS[activation])
        self.whole_kernel = self.products("whole", OUTPUT=2, ACTIVATION=ACTIVATIONS[activation], ENCODE=1)
        self.fragment_kernel = self.products("fragments", OUTPUT=0)
        self.rows_kernel = self.products("rows", OUTPUT=1)
        self.basis_kernel = self.kernel("BasisGradient.cu", "basis_gradient", RANK=rank, TILE_COLUMNS=tile_columns)
        self.sum_kernel = self.kernel("BasisGradient.cu", "basis_sum", RANK=rank, SUM=1)
        if backward:
            self.input_kernel = self.products("input", OUTPUT=2, TRANSPOSED_B=1)
            self.weight_kernel = self.products("weight", OUTPUT=1, TRANSPOSED_A=1, TRANSPOSED_B=1)

    def kernel(self, file, role, shared=0, **defines):
        defines["ELEMENT"] = ELEMENTS[self.element]
        name = "strassen_" + role + "_" + "_".join(str(v) for _, v in sorted(defines.items()))
        return Kernel(file, name, defines, shared)

    def products(self, role, **defines):
        return self.kernel("StrassenProducts.cu", role, PRODUCT_SHARED, RANK=self.rank, TILE_COLUMNS=self.tile_columns,
                           **defines)

    def choose_group(self, n_blocks):
        """Groups of about 32 output blocks: two waves at rank 16, and fragments that fit the L2 cache with their operands."""
        group_n = min(n_blocks, 8)
        cells = max(1, 256 // self.rank)
        return max(1, min(self.m_pairs, cells // group_n)), group_n

    # Buffers

    def allocate(self, torch):
        """Planes, fragments and counters; poisoned, so that whatever is not written shows."""
        dtype = getattr(torch, self.element)
        def poison(*shape):
            return torch.full(shape, float("nan"), device="cuda", dtype=dtype)
        n_blocks = ceil_div(max(self.n_tiles, self.k_tiles if self.backward else 0), self.tile_columns)
        self.blocks = 2 * self.m_pairs * n_blocks
        self.planes = poison(self.rank, self.padded_rows, self.k_columns * self.block_columns)
        self.fragments = poison(self.blocks, self.rank, 128, self.tile_columns)
        self.counters = torch.zeros(4 + 2 * self.m_pairs + self.blocks, device="cuda", dtype=torch.int32)
        self.sms = torch.cuda.get_device_properties(0).multi_processor_count
        if self.backward:
            self.output_planes = poison(self.rank, self.padded_rows, self.n_columns * self.block_columns)

    def pack(self, torch, weight):
        """Blocked planes of the canonical weight [rank, N/4, K/4]."""
        r, n, k = weight.shape
        packed = torch.full((r, self.n_padded, self.k_columns * self.block_columns), float("nan"), device="cuda",
                            dtype=weight.dtype)
        threads = r * self.n_padded * self.k_columns * 8
        self.pack_kernel(ceil_div(threads, 256), 256, weight, packed, r, n, k, self.n_padded, self.k_columns)
        return packed

    # Launches

    def encode(self, x, basis, planes=None, clear=False):
        planes = self.planes if planes is None else planes
        columns = x.shape[-1]
        blocks = self.k_columns if planes is self.planes else self.n_columns
        self.encode_kernel((ceil_div(blocks, 2), ceil_div(self.padded_rows, 8)), 256, x, basis, planes,
                           self.counters, *self.rows.arguments, self.rows.tile_rows, columns, x.stride(0), self.padded_rows,
                           blocks, 0, self.counters.numel() if clear else 0)

    def clear(self):
        self.clear_kernel(ceil_div(self.counters.numel(), 256), 256, self.counters, self.counters.numel())

    def strides(self, rows, columns, transposed):
        plane = rows // 64 * columns
        return [plane, 1, columns] if transposed else [plane, columns, 1]

    def grid(self, m_pairs, n_blocks):
        return 2 * min(self.sms // 2, m_pairs * n_blocks * self.rank)

    def plane_group(self, n_blocks):
        """Without a decode beside them, products run plane by plane: each operand leaves device memory once."""
        bytes_per_pair = 256 * self.k_tiles * self.bytes
        pairs = (32 << 20) // bytes_per_pair - n_blocks * self.tile_columns // 256
        return max(1, min(self.m_pairs, pairs)), n_blocks

    def forward_schedule(self, group=None):
        n_blocks = ceil_div(self.n_tiles, self.tile_columns)
        return [self.m_pairs, n_blocks, ceil_div(self.k_tiles, self.block_columns),
                *self.strides(self.padded_rows, self.k_columns, False),
                *self.strides(self.n_padded, self.k_columns, False), *(group or self.group)]

    def fused(self, packed, basis, bias, y):
        """Products and decode in one launch."""
        schedule = self.forward_schedule()
        self.fused_kernel(self.grid(*schedule[:2]), FUSED_THREADS, self.planes, packed, basis,
                          basis if bias is None else bias, self.counters, self.fragments, y, *self.rows.arguments,
                          self.rows.tile_rows, self.N, y.stride(0), bias is not None, *schedule)

    def products_only(self, packed):
        schedule = self.forward_schedule(self.plane_group(ceil_div(self.n_tiles, self.tile_columns)))
        self.fragment_kernel(self.grid(*schedule[:2]), PRODUCT_THREADS, self.planes, packed, self.counters,
                             self.fragments, *schedule)

    def products_rows(self, packed, result):
        schedule = self.forward_schedule(self.plane_group(ceil_div(self.n_tiles, self.tile_columns)))
        self.rows_kernel(self.grid(*schedule[:2]), PRODUCT_THREADS, self.planes, packed, self.counters, result,
                         self.rows.tile_rows, self.n_tiles, *schedule)

    def forward(self, x, encoder, packed, decoder, bias, y):
        """Two launches: the planes are there for other layers that read x."""
        self.encode(x, encoder, clear=True)
        self.fused(packed, decoder, bias, y)

    def whole(self, x, encoder, packed, decoder, bias, y):
        """One launch, the encode beside the products."""
        self.clear()
        schedule = self.forward_schedule()
        self.whole_kernel(self.grid(*schedule[:2]), FUSED_THREADS, x, encoder, packed, decoder,
                          decoder if bias is None else bias, self.counters, self.planes, self.fragments, y,
                          *self.rows.arguments, self.rows.tile_rows, self.K, x.stride(0), self.N, y.stride(0),
                          bias is not None, *schedule)

    def decode(self, decoder, bias, y):
        self.decode_kernel((ceil_div(self.n_tiles, 64), ceil_div(self.rows.tile_rows, 8)), 256, self.fragments, decoder,
                           decoder if bias is None else bias, y, *self.rows.arguments, self.rows.tile_rows, self.N,
                           y.stride(0), bias is not None, ceil_div(self.n_tiles, self.tile_columns), 0)

    def separate(self, x, encoder, packed, decoder, bias, y):
        """Three launches."""
        self.encode(x, encoder, clear=True)
        self.products_only(packed)
        self.decode(decoder, bias, y)

    # Without the Hopper products: row-major planes around the framework's batched product.

    def allocate_rows(self, torch, weight):
        unit = 16 // self.bytes
        self.k_pitch, self.n_pitch = round_up(self.k_tiles, unit), round_up(self.n_tiles, unit)
        self.row_planes = torch.full((self.rank, self.rows.tile_rows, self.k_pitch), float("nan"), device="cuda",
                                     dtype=weight.dtype)
        self.row_products = torch.full((self.rank, self.rows.tile_rows, self.n_pitch), float("nan"), device="cuda",
                                       dtype=weight.dtype)
        padded = torch.nn.functional.pad(weight, (0, self.k_pitch - self.k_tiles, 0, self.n_pitch - self.n_tiles))
        self.row_weight = padded.transpose(1, 2)

    def portable(self, torch, x, encoder, decoder, bias, y):
        g = self.rows.tile_rows
        self.encode_rows_kernel((ceil_div(self.k_pitch, 2 * self.block_columns), ceil_div(g, 8)), 256, x, encoder,
                                self.row_planes, self.counters, *self.rows.arguments, g, self.K, x.stride(0), g,
                                ceil_div(self.k_pitch, self.block_columns), self.k_pitch, 0)
        torch.bmm(self.row_planes, self.row_weight, out=self.row_products)
        self.decode_rows_kernel((ceil_div(self.n_tiles, 64), ceil_div(g, 8)), 256, self.row_products, decoder,
                                decoder if bias is None else bias, y, *self.rows.arguments, g, self.N, y.stride(0),
                                bias is not None, 0, self.n_pitch)

    def input_gradient(self, packed, encoder, dx):
        """dX from the encoded output gradient in `output_planes`."""
        n_blocks = ceil_div(self.k_tiles, self.tile_columns)
        schedule = [self.m_pairs, n_blocks, ceil_div(self.n_tiles, self.block_columns),
                    *self.strides(self.padded_rows, self.n_columns, False),
                    *self.strides(self.n_padded, self.k_columns, True), *self.choose_group(n_blocks)]
        self.input_kernel(self.grid(self.m_pairs, n_blocks), FUSED_THREADS, self.output_planes, packed, encoder,
                          encoder, self.counters, self.fragments, dx, *self.rows.arguments, self.rows.tile_rows, self.K,
                          dx.stride(0), False, *schedule)

    def weight_gradient(self, result):
        """dW [rank, N/4, K/4] from the encoded output gradient and the encoded input."""
        m_pairs, n_blocks = ceil_div(self.n_tiles, 256), ceil_div(self.k_tiles, self.tile_columns)
        cells = max(1, 128 // n_blocks)
        schedule = [m_pairs, n_blocks, ceil_div(self.rows.tile_rows, 64),
                    *self.strides(self.padded_rows, self.n_columns, True),
                    *self.strides(self.padded_rows, self.k_columns, True), min(m_pairs, cells), n_blocks]
        self.weight_kernel(self.grid(m_pairs, n_blocks), PRODUCT_THREADS, self.output_planes, self.planes, self.counters,
                           result, self.n_tiles, self.k_tiles, *schedule)

    def backward_pass(self, dy, x, encoder, packed, decoder, dx, dw):
        """Gradients of the input and of the encoded weight; the planes of x are recomputed."""
        self.encode(dy, decoder, self.output_planes, clear=True)
        self.input_gradient(packed, encoder, dx)
        self.encode(x, encoder, clear=True)
        self.weight_gradient(dw)

    def basis_gradient(self, torch, z, tiles):
        """[rank, 16] float32 from the fragments of the last fused or input_gradient launch of `tiles` tile columns."""
        n_blocks = ceil_div(tiles, self.tile_columns)
        blocks = 2 * self.sms
        partials = torch.full((blocks, self.rank, 16), float("nan"), device="cuda")
        result = torch.full((self.rank, 16), float("nan"), device="cuda")
        self.basis_kernel(blocks, 256, self.fragments, z, partials, *self.rows.arguments, self.rows.tile_rows, z.shape[1],
                          z.stride(0), 2 * self.m_pairs, n_blocks)
        self.sum_kernel(ceil_div(self.rank * 16, 256), 256, partials, result, blocks)
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
