"""Pairs of factors and single Kronecker-sparse factors on torch tensors, through the device code of Sources/Kernels: what the Swift
launcher does, and the operators' definitions to hold it against."""

import os
from dataclasses import dataclass, replace
from itertools import product

from nvrtc import ELEMENTS, Kernel

SHARED_LIMIT, PAIR_THREADS, CORE_REGISTERS = 232448, 512, 64
ACTIVATIONS = {"none": 0, "gelu": 1, "gelu_tanh": 2, "silu": 3}


def ceil_div(a, b):
    return -(-a // b)


def round_up(a, b):
    return ceil_div(a, b) * b


def epilogue_parts(bias, gate, residual):
    return (bias is not None) + 2 * (gate is not None) + 4 * (residual is not None)


@dataclass(frozen=True)
class PairShape:
    """m1 input pieces of m0, n0 output pieces of n1, rank numbers for each pair of them (Factors/PairShape.cuh)."""

    m0: int
    m1: int
    n0: int
    n1: int
    rank: int

    @property
    def inputs(self):
        return self.m0 * self.m1

    @property
    def outputs(self):
        return self.n0 * self.n1

    @property
    def multiply_adds(self):
        return self.rank * self.m1 * self.n0 * (self.m0 + self.n1)

    @property
    def run_tiles(self):
        """Tiles of eight outputs in a lane's run."""
        return 4 if 24 <= self.n1 <= 32 or self.n1 > 48 else 2 if self.n1 >= 12 else 1

    @property
    def column_tiles(self):
        return ceil_div(self.n1, 8 * self.run_tiles) * self.run_tiles

    @property
    def output_aligned(self):
        """Whether every run of outputs starts at a multiple of its size."""
        return self.n1 % (2 * self.run_tiles) == 0

    @property
    def transposed(self):
        return PairShape(self.n1, self.n0, self.m1, self.m0, self.rank)

    def draw(self, torch, dtype, seed=0):
        g = torch.Generator(device="cuda").manual_seed(seed)
        core0 = torch.randn(self.m1, self.m0, self.n0 * self.rank, device="cuda", generator=g) / self.m0 ** 0.5
        core1 = torch.randn(self.n0, self.m1 * self.rank, self.n1, device="cuda", generator=g) / (self.m1 * self.rank) ** 0.5
        return core0.to(dtype), core1.to(dtype)

    def reference(self, x, core0, core1):
        """[M, m1 m0] -> [M, n0 n1] by two batched products: BlockPair.product of the library, and PyTorch's usual way."""
        m = x.shape[0]
        z = x.reshape(m, self.m1, self.m0).transpose(0, 1) @ core0
        z = z.reshape(self.m1, m, self.n0, self.rank).permute(2, 1, 0, 3).reshape(self.n0, m, self.m1 * self.rank)
        return (z @ core1).transpose(0, 1).reshape(m, self.outputs)


@dataclass(frozen=True)
class PairPlan:
    """How a cluster divides a pair: the constants of Factors/PairShape.cuh and Factors/Pair.cu."""

    shape: PairShape
    cluster: int
    row_blocks: int
    stages: int
    buffers: int
    bulk: bool = True

    @property
    def inner(self):
        return ceil_div(self.shape.m1, self.cluster) * self.shape.rank

    @property
    def chunks(self):
        return round_up(self.cluster * ceil_div(self.inner, 8), 2)

    @property
    def output_pieces(self):
        return ceil_div(self.shape.n0, self.cluster)

    @property
    def part_words(self):
        s = self.shape
        return 64 * (self.inner * ceil_div(s.n0, 8) * ceil_div(s.m0, 16)
                     + self.output_pieces * self.shape.column_tiles * (self.chunks // 2))

    @property
    def words(self):
        return self.cluster * self.part_words

    @property
    def part_tiles(self):
        """Tiles of eight outputs a warp takes at a time: the most whose operands of core 1 fit its registers."""
        best = None
        for tiles in (8, 4, 2, 1):
            turns = ceil_div(self.output_pieces * ceil_div(self.shape.column_tiles, tiles), 8)
            if tiles % self.shape.run_tiles == 0 and turns * tiles * self.chunks <= CORE_REGISTERS:
                if best is None or ceil_div(self.shape.column_tiles, tiles) == ceil_div(self.shape.column_tiles, best):
                    best = tiles
        return best

    @property
    def shared(self):
        s, rows = self.shape, 16 * self.row_blocks
        z = self.output_pieces * (self.chunks * rows * 16 + 16)
        units = ceil_div(s.m1, self.cluster) * round_up(s.m0, 8) // 8
        x = rows * ((units + 1) // 2 * 32 + 16)
        return round_up(self.buffers * z + self.stages * x, 16) + 16 * (self.stages + self.buffers)

    @property
    def fits(self):
        s = self.shape
        idle = any((self.cluster - 1) * ceil_div(pieces, self.cluster) >= pieces for pieces in (s.m1, s.n0))
        turns = ceil_div(ceil_div(self.inner, 8) * ceil_div(s.n0, 8), 8)
        registers = turns * 8 * ceil_div(s.m0, 16) * 2
        return self.shared <= SHARED_LIMIT and registers <= CORE_REGISTERS and self.part_tiles is not None and not idle

    def defines(self, **more):
        s = self.shape
        return dict(M0=s.m0, M1=s.m1, N0=s.n0, N1=s.n1, RANK=s.rank, CLUSTER=self.cluster, **more)

    def __str__(self):
        return f"c{self.cluster} r{16 * self.row_blocks} x{self.stages} z{self.buffers}"


def pair_candidates(shape, bulk=True):
    result = []
    for cluster in (1, 2, 4, 8, 16):
        for row_blocks in (1, 2):
            for stages in (2, 3, 4) if bulk else (1,):
                for buffers in (2, 3, 4):
                    plan = PairPlan(shape, cluster, row_blocks, stages, buffers, bulk)
                    if plan.fits:
                        result.append(plan)
    return result


def pair_plan(shape, bulk=True, cluster=None):
    """The plan by rule, or None where the cores do not fit the registers of a portable cluster: the smallest cluster that holds
    them, 16 rows a step, then as many buffers as there is room for."""
    plans = [p for p in pair_candidates(shape, bulk) if p.cluster <= 8 and cluster in (None, p.cluster)]
    return max(plans, key=lambda p: (-p.cluster, -p.row_blocks, min(p.stages, 3), p.buffers, -p.stages), default=None)


@dataclass(frozen=True)
class PairGroupsPlan:
    """How a cluster divides a pair among Hopper's warpgroups: the constants of Factors/PairGroupsShape.cuh and Factors/PairGroups.cu."""

    shape: PairShape
    cluster: int
    stages: int
    z_units: int
    places: int
    first_groups: int
    shares: int = 1

    @property
    def divided(self):
        """What one cluster multiplies: its share of the output pieces."""
        return replace(self.shape, n0=self.shape.n0 // self.shares)

    @property
    def low_rank(self):
        return self.divided.m1 == 1 and self.divided.n0 == 1

    @property
    def pieces(self):
        return ceil_div(self.shape.m1, self.cluster)

    @property
    def output_pieces(self):
        return ceil_div(self.divided.n0, self.cluster)

    @property
    def unit_pieces(self):
        """Output pieces of each block in a tile of eight columns of the first product."""
        return 1 if self.low_rank else 8 // self.cluster

    @property
    def tiles(self):
        return ceil_div(self.output_pieces, self.unit_pieces)

    @property
    def units(self):
        """Of a step: the tiles, and an empty one where two warpgroups divide an odd number of them."""
        return self.group_tiles * self.tile_groups

    @property
    def inner(self):
        return self.pieces * self.shape.rank

    @property
    def chunks(self):
        return round_up(self.cluster * ceil_div(self.inner, 8), 2)

    @property
    def boxes(self):
        return ceil_div(self.pieces * self.shape.m0, 64)

    @property
    def window_steps(self):
        m0 = self.shape.m0
        return ceil_div(16 - min(16, m0 & -m0) + m0, 16)

    @property
    def tile_groups(self):
        """Two warpgroups of the first product divide chunks, or tiles of eight columns."""
        splits = ceil_div(self.inner, 8) % 2 == 0 and self.tiles <= 4
        return 1 if splits else self.first_groups

    @property
    def group_tiles(self):
        return ceil_div(self.tiles, self.tile_groups)

    @property
    def span(self):
        """Inner indices of a piece in one instruction of the first product."""
        return next(n for n in (8, 4, 2, 1) if self.shape.rank % n == 0)

    @property
    def core_bytes(self):
        first = self.window_steps * self.chunks if self.low_rank else (
            self.pieces * self.window_steps * self.tile_groups * self.shape.rank * self.group_tiles)
        return (first * 256,
                self.output_pieces * self.chunks // 2 * self.shape.column_tiles * 256)

    @property
    def words(self):
        return self.shares * self.cluster * sum(self.core_bytes) // 4

    @property
    def window(self):
        """Boxes that a chunk's longest instruction needs."""
        m0 = self.shape.m0
        return 1 if self.low_rank else ceil_div(self.window_steps + 3, 4) if m0 % 64 else m0 // 64

    @property
    def held_boxes(self):
        """Boxes that must be there together: an instruction's, and those of the one before in its chunk, which may still be reading."""
        if self.low_rank:
            return 2
        s, most = self.shape, 0
        for inner in range(0, self.inner, self.span):
            before = max(inner // 8 * 8, inner - self.span) // s.rank
            end = ceil_div((inner // s.rank + 1) * s.m0, 16)
            most = max(most, (end - 1) // 4 + 1 - before * s.m0 // 16 // 4)
        return most

    @property
    def tasks(self):
        """Parts of a unit that a warpgroup of the second product takes at a time, as wide as its registers hold."""
        most = 16 if self.group_tiles <= 3 else 12 if self.first_groups == 1 else 8
        tiles, run = self.shape.column_tiles, self.shape.run_tiles
        return self.unit_pieces * tiles // max(t for t in range(1, most + 1) if tiles % t == t % run == 0)

    @property
    def unit_bytes(self):
        """z of a unit."""
        return self.unit_pieces * self.chunks * 1024

    @property
    def place_bytes(self):
        return 8 * ceil_div(self.inner, 8) * 1024

    @property
    def shared(self):
        return (self.z_units * self.unit_bytes + self.stages * 8192 + sum(self.core_bytes) + self.places * self.place_bytes + 128
                + 16 * (self.stages + self.z_units + 1) + round_up(8 * self.places * (1 + ceil_div(self.inner, 8)), 16))

    @property
    def tensor(self):
        return self.pieces * self.shape.m0 % 8 == 0

    @property
    def fits(self):
        s = self.divided
        if self.shares > 1 and (self.low_rank or s.n0 % self.cluster):
            return False
        idle = any((self.cluster - 1) * ceil_div(pieces, self.cluster) >= pieces for pieces in (s.m1, s.n0))
        if self.low_rank:
            return self.cluster == self.first_groups == 1 and self.chunks <= 16 and self.shared <= SHARED_LIMIT
        ring = self.z_units if self.cluster == 1 else self.places
        whole = self.inner <= 8 or ring >= self.units
        # A warpgroup must see every use of a barrier that it waits for.
        return (not idle and whole and ring % self.tile_groups == 0 and self.group_tiles <= 4 and self.shared <= SHARED_LIMIT
                and self.stages >= self.held_boxes)

    def defines(self, **more):
        s = self.divided
        return dict(M0=s.m0, M1=s.m1, N0=s.n0, N1=s.n1, RANK=s.rank, CLUSTER=self.cluster, FIRST_GROUPS=self.first_groups, SHARES=self.shares,
                    **more)

    def cost(self, rows):
        """Seconds expected: PairGroupsPlan.seconds of the library, for 132 multiprocessors."""
        s, resident = self.shape, SMS // self.cluster if self.cluster <= 2 else SMS * 11 // 12 // self.cluster
        clusters = resident // self.shares
        second_groups, inner_chunks = 3 - self.first_groups, ceil_div(self.inner, 8)
        first = (self.window_steps * (16 + 2 * self.chunks) if self.low_rank else
                 ceil_div(self.inner, self.span) * ceil_div(s.m0, 16) * self.tile_groups * (16 + 2 * self.span * self.group_tiles))
        second = self.output_pieces * self.chunks // 2 * (16 + 2 * s.column_tiles)
        gathered = self.chunks if self.low_rank else 8 * self.units * inner_chunks
        written = self.output_pieces * s.n1 / 8
        parts = (
            (first * 0.57e-9 + gathered * 29e-9) / self.first_groups,
            (second * 0.57e-9 + written * 18e-9 + self.units * self.tasks * 0.15e-6) / second_groups,
            gathered * 39e-9 if self.cluster > 1 else 0,
            128 * (s.inputs + s.outputs) * clusters / 4.23e12,
            128 * s.inputs * clusters * self.shares / 5e12 if self.shares > 1 else 0,
            self.boxes * 1.72e-6 * (0.6 + 0.4 / self.shares) / (self.stages - self.window + 1),
            self.units / self.z_units * (0.45e-6 + self.unit_bytes / 1024 * 45e-9),
            self.units / self.places * (0.23e-6 + inner_chunks * 0.48e-6) if self.places else 0)
        return 5.6e-6 + ceil_div(ceil_div(rows, 64), clusters) * sum(part ** 4.6 for part in parts) ** (1 / 4.6)

    def __str__(self):
        return f"g c{self.cluster} x{self.stages} z{self.z_units} p{self.places} f{self.first_groups} s{self.shares}"


def pair_groups_candidates(shape):
    """For each number of shares, size of a cluster and division of its warpgroups some numbers of units, and as many stages as there is room
    for, at most two steps of them."""
    result = []
    for shares, cluster, first in product([n for n in (1, 2, 3, 4) if shape.n0 % n == 0], (1, 2, 4, 8), (1, 2)):
        units = PairGroupsPlan(shape, cluster, 2, 1, 1, first, shares).units
        amounts = sorted({2, 3, 4, units, 2 * units})
        for z_units, places in product(amounts, amounts if cluster > 1 else (0,)):
            plans = (PairGroupsPlan(shape, cluster, stages, z_units, places, first, shares) for stages in range(16, 1, -1))
            plans = [p for p in plans if p.fits and p.stages <= max(2 * p.boxes, 4)]
            result += plans[:1]
    return result


def pair_groups_plan(shape):
    """Of the plans that are expected to be within 2 % of the fastest the one with most units up to four, then with most boxes of x, then with
    fewest warpgroups for the first product."""
    plans = [(p.cost(25088), p) for p in pair_groups_candidates(shape)]
    least = min((cost for cost, _ in plans), default=None)
    return min((p for p in plans if p[0] <= 1.02 * least),
               key=lambda p: (-min(p[1].z_units, 4), -p[1].stages, p[1].first_groups, p[0]))[1] if plans else None


class Pair:
    """Kernels and launches of one pair: y = epilogue(x through core 0 and core 1)."""

    def __init__(self, plan, element="bfloat16", activation="none", keep=False, output=True):
        self.plan, self.shape, self.keep, self.output = plan, plan.shape, keep, output
        defines = plan.defines(ELEMENT=ELEMENTS[element])
        tag = "_".join(str(v) for _, v in sorted(defines.items()))
        self.pack_kernel = Kernel("Factors/PairPack.cu", "pair_pack_" + tag, defines)
        defines.update(ROW_BLOCKS=plan.row_blocks, X_STAGES=plan.stages, Z_BUFFERS=plan.buffers, X_BULK=int(plan.bulk), SHARED=plan.shared, PART_TILES=plan.part_tiles,
                       ACTIVATION=ACTIVATIONS[activation], KEEP=int(keep), OUTPUT=int(output))
        tag = "_".join(str(v) for _, v in sorted(defines.items()))
        self.kernel = Kernel("Factors/Pair.cu", "pair_" + tag, defines, plan.shared, cluster=plan.cluster)
        self.resident = None

    def pack(self, torch, core0, core1, transposed=False):
        """Both cores of the pair, or (transposed) of the pair whose transpose this one is: for the input gradient."""
        s = self.shape
        strides0 = [s.m0 * s.n0 * s.rank, s.n0 * s.rank, s.rank, 1]
        strides1 = [s.m1 * s.rank * s.n1, s.rank * s.n1, s.n1, 1]
        if transposed:
            o = s.transposed
            first, second = core1, core0
            # Its core 0 is (i = j, p = q, j = i, s) of core1[j][(i, s)][q]; its core 1 is (j = i, i = j, s, q = p) of core0[i][p][(j, s)].
            strides0 = [o.m1 * o.rank * o.n1, 1, o.rank * o.n1, o.n1]
            strides1 = [o.m0 * o.n0 * o.rank, o.rank, 1, o.n0 * o.rank]
        else:
            first, second = core0, core1
        words = self.plan.words
        packed = torch.full((words,), -1, device="cuda", dtype=torch.int32)
        self.pack_kernel(ceil_div(words, 256), 256, first, second, packed, *strides0, *strides1)
        return packed

    shares = 1

    @property
    def step_rows(self):
        return 16 * self.plan.row_blocks

    def workspace(self, x):
        return []

    def allocate_inner(self, torch, rows, dtype):
        return torch.full((rows, self.shape.n0 * 8 * self.plan.chunks), float("nan"), device="cuda", dtype=dtype)

    @property
    def inner_places(self):
        """How BlockGradient finds the intermediate: (outer, stride, whether it is in units)."""
        return 8 * self.plan.chunks, 1, False

    def __call__(self, x, packed, y, bias=None, gate=None, residual=None, inner=None):
        rows = x.shape[0]
        if self.resident is None:
            self.resident = self.kernel.resident_clusters(PAIR_THREADS)
        shares = self.shares
        clusters = max(1, min(self.resident // shares, ceil_div(rows, self.step_rows))) * shares
        target = y if y is not None else x
        run = 4 * self.shape.run_tiles
        aligned = target.data_ptr() % run == 0 and target.stride(0) * 2 % run == 0 and self.shape.output_aligned
        outputs = [out for out, there in ((y, self.output), (inner, self.keep)) if there] + self.workspace(x)
        self.kernel(clusters * self.plan.cluster, PAIR_THREADS, x, packed, bias, gate, residual, *outputs, target.stride(0), aligned,
                    epilogue_parts(bias, gate, residual), rows, x.stride(0))


class PairGroups(Pair):
    """The same by Hopper's warpgroups."""

    def __init__(self, plan, element="bfloat16", activation="none", keep=False, output=True, epilogue=0, y_aligned=True):
        self.plan, self.shape, self.keep, self.output = plan, plan.shape, keep, output
        defines = plan.defines(ELEMENT=ELEMENTS[element])
        tag = "_".join(str(v) for _, v in sorted(defines.items()))
        self.pack_kernel = Kernel("Factors/PairGroupsPack.cu", "pair_groups_pack_" + tag, defines)
        defines.update(X_STAGES=plan.stages, Z_UNITS=plan.z_units, PLACES=plan.places, TENSOR=int(plan.tensor), SHARED=plan.shared,
                       ACTIVATION=ACTIVATIONS[activation], KEEP=int(keep), OUTPUT=int(output), EPILOGUE=epilogue,
                       Y_ALIGNED=int(y_aligned and plan.shape.output_aligned), **({"SANITIZE": int(os.environ["TESSERA_SANITIZE"])} if "TESSERA_SANITIZE" in os.environ else {}))
        tag = "_".join(str(v) for _, v in sorted(defines.items()))
        self.kernel = Kernel("Factors/PairGroups.cu", "pair_groups_" + tag, defines, plan.shared, cluster=plan.cluster)
        self.resident, self.maps = None, None

    step_rows = 64

    @property
    def shares(self):
        return self.plan.shares

    def allocate_inner(self, torch, rows, dtype):
        p = self.plan
        return torch.full((ceil_div(rows, 64), p.shares * p.cluster * p.units * p.unit_bytes // 2), float("nan"), device="cuda", dtype=dtype)

    @property
    def inner_places(self):
        return self.plan.output_pieces, self.plan.unit_pieces, True

    def workspace(self, x):
        if self.maps is None:
            self.maps = x.new_full((64 * 132,), float("nan"))
        return [self.maps]


def pair_kernels(plan, element="bfloat16", activation="none", epilogue=0, y_aligned=True, **more):
    """`epilogue` and `y_aligned` are what the launches will have: warpgroups leave out the rest."""
    if isinstance(plan, PairGroupsPlan):
        return PairGroups(plan, element, activation, epilogue=epilogue, y_aligned=y_aligned, **more)
    return Pair(plan, element, activation, **more)


def bulk_possible(x, m0):
    return m0 % 8 == 0 and x.data_ptr() % 16 == 0 and x.stride(0) % 8 == 0


class BlockGradient:
    """gradient[group, p, q] = sum over rows of a[row, (group, p)] b[row, (group, q)], in a fixed order."""

    def __init__(self, element="bfloat16"):
        defines = dict(ELEMENT=ELEMENTS[element])
        kernel = lambda small, units: Kernel(
            "Factors/BlockGradient.cu", f"block_gradient_{ELEMENTS[element]}_{small}_{units}", dict(defines, SMALL=small, UNITS=units),
            3 * 2 * 64 * 64 * 2)
        self.kernels = {(small, units): kernel(small, units) for small in (0, 1) for units in (0, 1, 2)}
        self.sums = Kernel("Factors/BlockGradient.cu", f"block_gradient_sum_{ELEMENTS[element]}",
                           dict(defines, SUM=1, FLOAT_GRADIENT=0))

    def __call__(self, torch, a, b, groups, p, q, out, inner=1, outer_a=0, stride_a=1, outer_b=0, stride_b=1, padding=None, units=0):
        """`padding`: (numbers, numbers with padding) of a block of the inner index, for p and for q. `units`: 1 where a, 2 where b is an
        intermediate in units."""
        rows = (b if units == 1 else a).shape[0]
        # A warp for each of four groups of up to 32 x 32, else a block for each tile of 64 x 64.
        small = max(p, q) <= 32
        kernel, blocks, resident = self.kernels[small, units], ceil_div(groups, 4) if small else groups, 4
        tiles = ceil_div(p, 64) * ceil_div(q, 64)
        # Blocks fill the places that there are once or, where that fills them better, twice.
        once, twice = (n * resident * SMS // (tiles * blocks) for n in (1, 2))
        splits = min(max(1, twice if 20 * once < 9 * twice else once),
                     max(1, min(ceil_div(rows, 256), (1 << 26) // (groups * p * q) + 1)))
        partials = torch.empty(splits, groups, p, q, device="cuda", dtype=torch.float32)
        kernel((splits, tiles, blocks), 128, a, b, partials, rows, groups, p, q, inner, a.stride(0), outer_a, stride_a, b.stride(0),
               outer_b, stride_b)
        out_p, out_q = out.shape[1:]
        (block_p, padded_p), (block_q, padded_q) = padding or ((out_p, out_p), (out_q, out_q))
        self.sums(ceil_div(out.numel(), 256), 256, partials, out, splits, groups, p, q, out_p, out_q, block_p, padded_p, block_q,
                  padded_q)


class PairBackward:
    """Gradients of a pair: x saved, z recomputed (or saved as well, by a forward kernel with `keep`); dx by the transposed pair, which
    leaves dz as its own intermediate."""

    def __init__(self, plan, transposed_plan, element="bfloat16", recompute=True, x_aligned=True):
        self.plan, self.transposed_plan, self.recompute = plan, transposed_plan, recompute
        self.input = pair_kernels(transposed_plan, element, keep=True, y_aligned=x_aligned)
        self.inner = pair_kernels(plan, element, keep=True, output=False)
        self.gradient = BlockGradient(element)

    def pack(self, torch, core0, core1):
        return self.inner.pack(torch, core0, core1), self.input.pack(torch, core0, core1, transposed=True)

    def allocate(self, torch, rows, dtype):
        return self.inner.allocate_inner(torch, rows, dtype), self.input.allocate_inner(torch, rows, dtype)

    def __call__(self, torch, x, dy, packed, packed_transposed, z, dz, dx, dcore0, dcore1):
        s, plan, back = self.plan.shape, self.plan, self.transposed_plan
        self.input(dy, packed_transposed, dx, inner=dz)
        if self.recompute:
            self.inner(x, packed, None, inner=z)
        outer, stride, in_units = self.input.inner_places
        self.gradient(torch, x, dz, s.m1, s.m0, 8 * back.chunks, dcore0, outer_a=s.m0, outer_b=outer, stride_b=stride,
                      padding=((s.m0, s.m0), (back.inner, 8 * ceil_div(back.inner, 8))), units=2 * in_units)
        outer, stride, in_units = self.inner.inner_places
        self.gradient(torch, z, dy, s.n0, 8 * plan.chunks, s.n1, dcore1, outer_a=outer, stride_a=stride, outer_b=s.n1,
                      padding=((plan.inner, 8 * ceil_div(plan.inner, 8)), (s.n1, s.n1)), units=int(in_units))


@dataclass(frozen=True)
class KroneckerPlan:
    """How a grid divides a factor (a, b, c, d): the constants of Factors/KroneckerShape.cuh and Factors/Kronecker.cu."""

    pattern: tuple
    slice: int
    part: int
    width: int
    tiles: int
    row_blocks: int
    tile_rows: int
    chunk_steps: int
    stages: int
    warps: int = 8
    blocks: int = 1
    aligned: bool = True

    @property
    def slices(self):
        return ceil_div(self.pattern[3], self.slice)

    @property
    def parts(self):
        return ceil_div(self.pattern[1], self.part)

    @property
    def steps(self):
        return ceil_div(self.pattern[2], 16)

    @property
    def part_words(self):
        return 64 * self.slice * (self.part // 8) * self.steps

    @property
    def pitch(self):
        return row_pitch(self.slice, self.width, self.chunk_steps)

    @property
    def shared(self):
        return 4 * self.part_words + self.stages * self.tile_rows * self.pitch

    @property
    def units(self):
        return self.tile_rows // (16 * self.row_blocks) * (self.slice // self.width) * (self.part // 8 // self.tiles)

    def splits(self, rows):
        """Blocks along the rows: whole waves of the multiprocessors, and not so many that loading the weights shows."""
        c = self.pattern[2]
        combos = self.parts * self.slices * self.pattern[0]
        slots = SMS * self.blocks
        row_tiles = ceil_div(rows, self.tile_rows)
        best = None
        for waves in (1, 2, 3, 4):
            z = max(1, min(row_tiles, waves * slots // combos))
            tile_bytes = self.tile_rows * self.slice * (c + self.part) * 2
            cost = ceil_div(combos * z, slots) * (ceil_div(row_tiles, z) * tile_bytes + 4 * self.part_words + 60000)
            if best is None or cost < best[0]:
                best = (cost, z)
        return best[1]

    def times(self, rows):
        """Seconds by what could bound it: device memory, L2, shared memory, matrix units; and the share of warps with work."""
        a, b, c, d = self.pattern
        segment = 2 * self.slice if self.slice < d else 2 * c * d
        run = 4 * self.tiles * self.width if d == self.width else 2 * self.width
        partial = 1 if run % 32 == 0 else 2 if run >= 16 else 32 / run
        products = ceil_div(rows, 16) * a * self.slices * self.slice * self.steps * self.parts * self.part // 8
        x_bytes = rows * a * c * d * 2
        memory = (x_bytes + rows * a * b * d * 2) / 4.25e12
        l2 = (x_bytes * self.parts * max(1, 32 / segment) + rows * a * b * d * 2 * partial * 1.5) / 6.25e12
        shared = (products * (512 / self.tiles + 256 / self.row_blocks) + 2 * x_bytes * self.parts) / 28e12
        matrix = products * 2 / (SMS * 1.7e9)
        busy = self.units / self.warps
        combos = self.parts * self.slices * a * self.splits(rows)
        slots = SMS * self.blocks
        return memory, l2, shared / busy, matrix / busy, combos / round_up(combos, slots)

    def cost(self, rows):
        """Predicted seconds. The weights are fitted to 160 measured plans (tune_kronecker.py): 25 % off on average, and the plan it
        prefers 1.5 % slower than the best measured."""
        *times, full = self.times(rows)
        flight = min(1.0, (self.stages - 1) * self.tile_rows * self.pitch * self.blocks / 30000)
        return (max(times) + 0.6 * (sum(times) - max(times))) / max(full, 0.3) / flight ** 0.25

    def defines(self, **more):
        a, b, c, d = self.pattern
        return dict(A=a, B=b, C=c, D=d, SLICE=self.slice, PART=self.part, WIDTH=self.width, TILES=self.tiles, **more)

    def __str__(self):
        return f"l{self.slice}/{self.width} j{self.part}/{8 * self.tiles} rows {self.tile_rows}/{16 * self.row_blocks} k{16 * self.chunk_steps} x{self.stages} w{self.warps}x{self.blocks}"


SMS = 132
_pitches = {}


def read_group(width):
    return next(g for g in (8, 6, 4, 3, 2, 1) if width % g == 0)


def row_pitch(slice, width, steps):
    """Bytes between rows in shared memory: the fewest for which the lanes of one access share no bank, if there is such a pitch."""
    key = slice, width, steps
    if key not in _pitches:
        least = steps * 32 * slice
        words = {8: 4, 4: 2}.get(read_group(width), 1)
        best = None
        for pad in range(0, 128, 16):
            pitch = least + pad
            if slice == 1:
                conflicts = 0 if pitch // 16 % 2 else 1
            else:
                banks = [((lane // 4) * pitch + (lane % 4) * slice * 2 + 4 * w) // 4 % 32
                         for lane in range(32 // words) for w in range(words)]
                conflicts = max(banks.count(v) for v in set(banks))
            if best is None or conflicts < best[0]:
                best = (conflicts, pitch)
        _pitches[key] = best[1]
    return _pitches[key]


def kronecker_candidates(pattern, aligned=True):
    a, b, c, d = pattern
    slices = [d] if d <= 24 else []
    slices += [s for s in (1, 2, 4, 8, 16, 32) if s < d and (not aligned or (s % 8 == 0 and d % s == 0))]
    steps, result = ceil_div(c, 16), []
    for slice in slices or [1]:
        widths = {w for w in (16, 8, 4, 2, 1) if slice % w == 0} | ({slice} if slice <= 24 else set())
        for width, row_blocks, tiles, (warps, blocks, sums) in product(sorted(widths), (1, 2, 4), (1, 2, 3, 4, 6, 8), ((8, 1, 32), (8, 2, 16), (16, 1, 16))):
            if width * tiles * row_blocks > sums or read_group(width) * row_blocks > 8:
                continue
            most = ceil_div(b, 8 * tiles)
            for number in sorted({ceil_div(most, p) for p in range(1, most + 1)}):
                units = slice // width * number
                if units > warps:
                    continue
                for chunk_steps in sorted({ceil_div(steps, n) for n in (1, 2, 3, 4, 6, 8, 12, 16)}):
                    for stages in (2, 3, 4):
                        plan = KroneckerPlan(pattern, slice, 8 * tiles * number, width, tiles, row_blocks,
                                             16 * row_blocks * (warps // units), chunk_steps, stages, warps, blocks, aligned)
                        if plan.shared > (SHARED_LIMIT if blocks == 1 else 115000):
                            break
                        result.append(plan)
    return result


def kronecker_plans(pattern, rows, aligned=True):
    return sorted(kronecker_candidates(pattern, aligned), key=lambda p: p.cost(rows))


def kronecker_choice(pattern, rows, aligned=True):
    """(path, plan or None, predicted seconds by path): the kernel; one strided batched product without copies (d = 1); a permutation
    and batched products (einsum); the dense product.

    The library's paths are predicted from measurements (bench_factors.py): 1.3 times the limit where nothing moves; with permutations
    a time that grows with d and with the share of x, and the arithmetic."""
    a, b, c, d = pattern
    memory, arithmetic = 2 * rows * a * d * (b + c) / 4.25e12, 2 * rows * a * b * c * d / 690e12
    plan = next(iter(kronecker_plans(pattern, rows, aligned)), None)
    launch = 3e-6
    predicted = {"dense": 1.1 * max(memory, arithmetic * a * d, 2 * a * b * d * a * c * d / 4.25e12) + launch}
    if plan:
        predicted["kernel"] = plan.cost(rows) + launch
    if d == 1:
        predicted["zero-copy bmm"] = 1.3 * max(memory, arithmetic) + launch
    else:
        predicted["einsum"] = (1.2 + c / (b + c) * (4 + 0.5 * min(d, 100))) * memory + arithmetic + 3 * launch
    return min(predicted, key=predicted.get), plan, predicted


class Kronecker:
    """Kernels and launches of one factor, batch first."""

    def __init__(self, plan, element="bfloat16", activation="none"):
        self.plan = plan
        defines = plan.defines(ELEMENT=ELEMENTS[element])
        tag = "_".join(str(v) for _, v in sorted(defines.items()))
        self.pack_kernel = Kernel("Factors/KroneckerPack.cu", "kronecker_pack_" + tag, defines)
        defines.update(ROW_BLOCKS=plan.row_blocks, TILE_ROWS=plan.tile_rows, CHUNK_STEPS=plan.chunk_steps, STAGES=plan.stages, X_PITCH=plan.pitch,
                       X_ALIGNED=int(plan.aligned), SHARED=plan.shared, ACTIVATION=ACTIVATIONS[activation], WARPS=plan.warps,
                       BLOCKS_PER_SM=plan.blocks)
        tag = "_".join(str(v) for _, v in sorted(defines.items()))
        self.kernel = Kernel("Factors/Kronecker.cu", "kronecker_" + tag, defines, plan.shared)

    def pack(self, torch, w, transposed=False):
        """Weights [a, b, c, d] of the factor, or (transposed) of the one whose transpose this is: for the input gradient."""
        plan = self.plan
        a, b, c, d = plan.pattern
        words = a * plan.slices * plan.parts * plan.part_words
        packed = torch.full((words,), -1, device="cuda", dtype=torch.int32)
        strides = [b * c * d, d, b * d, 1] if transposed else [b * c * d, c * d, d, 1]
        self.pack_kernel(ceil_div(words, 256), 256, w, packed, *strides)
        return packed

    def __call__(self, x, packed, y, bias=None, gate=None, residual=None):
        plan, rows = self.plan, x.shape[0]
        a, b, c, d = plan.pattern
        run = 2 * plan.tiles * d if d == plan.width else plan.width
        piece = min(16, 2 * (run & -run))
        aligned = all(n * 2 % piece == 0 for n in (y.stride(0), b * d, run, d if d > plan.width else run)) and y.data_ptr() % piece == 0
        self.kernel((plan.parts * plan.slices, a, plan.splits(rows)), 32 * plan.warps, x, packed, bias, gate, residual, y, y.stride(0), aligned,
                    epilogue_parts(bias, gate, residual), rows, x.stride(0))


def kronecker_aligned(x, pattern):
    """Whole segments of 16 bytes, so that rows may be copied by 16 bytes."""
    a, b, c, d = pattern
    return x.data_ptr() % 16 == 0 and x.stride(0) % 8 == 0 and (d % 8 == 0 or (d <= 24 and c * d % 8 == 0))


def kronecker_reference(x, w):
    """[M, a c d] and [a, b, c, d] -> [M, a b d]: a permutation, a batched product, a permutation."""
    a, b, c, d = w.shape
    m = x.shape[0]
    left = x.view(m, a, c, d).permute(1, 3, 0, 2).reshape(a * d, m, c)
    right = w.permute(0, 3, 2, 1).reshape(a * d, c, b)
    return (left @ right).view(a, d, m, b).permute(2, 0, 3, 1).reshape(m, a * b * d)


@dataclass(frozen=True)
class GroupsPlan:
    """How a grid divides a factor (a, b, c, d) among Hopper's warpgroups: the constants of Factors/KroneckerGroupsShape.cuh and
    Factors/KroneckerGroups.cu."""

    pattern: tuple
    size: int
    exact: bool
    slice: int
    width: int
    tiles: int
    column_units: int
    row_units: int
    chunk_steps: int
    stages: int
    stationary: bool
    aligned: bool
    tensor: int = 0  # 1: boxes of 128 bytes of each row, 2: whole runs
    cluster: int = 1
    places: int = 0  # of outputs that a tensor map writes while the products go on

    @property
    def slices(self):
        return ceil_div(self.pattern[3], self.slice)

    @property
    def columns(self):
        return 8 * self.tiles

    @property
    def alignment(self):
        return 1024 if self.tensor else 1

    @property
    def part(self):
        return self.columns * self.column_units

    @property
    def parts(self):
        return ceil_div(self.pattern[1], self.part)

    @property
    def chunk(self):
        return self.chunk_steps * 32 // self.size

    @property
    def chunks(self):
        return ceil_div(self.pattern[2], self.chunk)

    @property
    def step_bytes(self):
        return self.slice * (2 if self.exact else 1) * self.part * 32

    @property
    def block_bytes(self):
        return self.chunks * self.chunk_steps * self.step_bytes

    @property
    def group(self):
        if self.together:
            return self.width
        choices = (4, 3, 2, 1) if self.size == 4 else (8, 4, 6, 3, 2, 1) if self.width * self.tiles <= 40 or self.producers == 0 else (4, 6, 3, 2, 1)
        return next(g for g in choices if self.width % g == 0)

    @property
    def together(self):
        """Whether a lane reads whole runs: no access of 8 or 16 bytes takes l of one k."""
        return self.tensor == 2 and self.width * self.size % 8 != 0

    @property
    def pitch(self):
        run = self.chunk * self.slice * self.size
        if self.tensor == 1:
            return run
        if self.together:
            return groups_pitch(run, 8 * self.slice, 16 if self.slice % 2 == 0 else 8, True)
        return groups_pitch(run, self.slice * self.size, self.group * self.size, self.tensor == 2)

    @property
    def tile_rows(self):
        return 64 * self.row_units

    @property
    def stage_bytes(self):
        return self.tile_rows * self.pitch + (0 if self.stationary else round_up(self.chunk_steps * self.step_bytes, self.alignment))

    @property
    def neighbours(self):
        """Whether the four lanes of a row have neighbouring outputs."""
        return self.places > 0 and (self.tensor == 1 or self.width < self.slice)

    @property
    def written_tiles(self):
        """Tiles of outputs in one place."""
        if not self.neighbours:
            return self.tiles
        if self.slice * self.size == 16 or self.producers == 0 and self.stationary:
            return 1
        return 2 if self.tiles % 2 == 0 else 3 if self.tiles % 3 == 0 else 1

    @property
    def producers(self):
        return 0 if self.size == 2 and self.tensor == 1 and self.width == 8 and self.slice == 16 and self.tiles > 5 else 128

    @property
    def output_bytes(self):
        """Room in which outputs are put together, and of their tensor map."""
        letters, tiles = self.slice * self.size, self.written_tiles
        units = 1 if self.width < self.slice else 2
        return self.places * units * 8 * tiles * 32 * letters + 128 if self.places else 0

    @property
    def shared(self):
        return ((round_up(self.block_bytes, self.alignment) if self.stationary else 0) + self.stages * (self.stage_bytes + 16) + 16
                + self.output_bytes + (128 if self.tensor else 0))

    def splits(self, rows):
        """Blocks along the rows: one wave, or more where that leaves fewer multiprocessors idle."""
        a, c = self.pattern[0], self.pattern[2]
        combos = self.parts * self.slices * a
        row_tiles = ceil_div(rows, self.tile_rows)
        # Slices of the same rows come from the same lines, which blocks that run long apart would fetch again.
        drifts = self.tensor and self.slice < self.pattern[3]
        if drifts and self.cluster == 1 and self.parts > 1:
            return ceil_div(row_tiles, 4)
        best = None
        for waves in range(1, 9 if drifts else 5):
            z = max(1, min(row_tiles, waves * SMS // combos))
            if drifts:
                z = max(z, ceil_div(row_tiles, 48))
            tile_bytes = self.tile_rows * self.slice * (c + self.part) * self.size
            fixed = (self.block_bytes if self.stationary else 0) + 60000
            cost = ceil_div(combos * z, SMS) * (ceil_div(row_tiles, z) * tile_bytes + fixed)
            if best is None or cost < best[0]:
                best = (cost, z)
        return best[1]

    def times(self, rows):
        """Seconds by what could bound it: device memory, L2, shared memory, matrix units; and the share of blocks that are there."""
        a, b, c, d = self.pattern
        size = self.size
        segment = size * (self.slice if self.slice < d else c * d)
        run = size * (2 * self.tiles * self.width if d == self.width else self.width)
        partial = 1 if run % 32 == 0 else 3.5 if run >= 16 else 48 / run
        x, y = rows * a * c * d * size, rows * a * b * d * size
        row_tiles, combos = ceil_div(rows, self.tile_rows), self.parts * self.slices * a
        z = self.splits(rows)
        weights = combos * self.block_bytes * (z if self.stationary else row_tiles)
        unit_steps = 2 * row_tiles * combos * self.chunks * self.chunk_steps * self.width
        products = 3 if self.exact else 1
        memory = (x + y * (1.5 if partial > 1 else 1)) / 4.25e12
        l2 = (x * self.parts * max(1, 32 / segment) + weights + y * partial * 1.5) / 6.25e12
        shared = (unit_steps * 32 * (64 + self.columns * products) + x * self.parts + weights) / (SMS * 128 * 1.7e9)
        matrix = unit_steps * products * max(self.columns / 2, 16) / (SMS * 1.7e9)
        return memory, l2, shared, matrix, combos * z / round_up(combos * z, SMS)

    def cost(self, rows):
        if self.tensor:
            return self.tensor_cost(rows)
        *times, full = self.times(rows)
        flight = min(1.0, (self.stages - 1) * self.tile_rows * self.pitch / 60000)
        return (max(times) + 0.5 * (sum(times) - max(times))) / max(full, 0.3) / flight ** 0.25

    def tensor_cost(self, rows):
        """Fitted to 461 times of 70 patterns: 9 % off on average, the preferred plan 2 % slower than the best measured of each."""
        a, b, c, d = self.pattern
        x, y = rows * a * c * d * self.size, rows * a * b * d * self.size
        row_tiles, combos, z = ceil_div(rows, self.tile_rows), self.parts * self.slices * a, self.splits(rows)
        weights = combos * self.block_bytes * (z if self.stationary else row_tiles)
        steps = row_tiles * combos * self.chunks * self.chunk_steps
        products = 3 if self.exact else 1
        memory = (x + y) / 4.7e12
        # Rows pass L2 once for each part; writing costs several times as much as reading.
        passed, rate = x * self.parts, 13.5e12
        l2 = (weights + (2.25 if self.places else 3.8) * y) / rate
        if self.slice < d:
            # Boxes whose lines are 32 bytes.
            l2 += passed / 32 / SMS * (7.85e-10 if self.cluster > 1 else 9.2e-10)
        else:
            # Runs are read with what pads them.
            l2 += passed * self.pitch / (self.chunk * self.slice * self.size) * (0.57 if self.cluster > 1 else 1) / rate
        conflicts = 1.8 if self.slice * self.size >= 32 and self.group * self.size == 8 else 1
        read = steps * 2 * self.width * 32 * (64 * conflicts + self.columns * products)
        # The rounding of float32, copies by threads that multiply, the begin of a stage, the end of a tile.
        own = steps * ((self.width * 5.2e-8 if self.size == 4 else 0) + (0 if self.producers else 3e-7))
        own += row_tiles * combos * (self.chunks * 7.9e-8 + 7.5e-7)
        shared = (read + passed + weights) / (SMS * 128 * 1.97e9) + own / SMS
        times = memory, l2, shared
        uneven = ceil_div(combos * z, SMS) * SMS * ceil_div(row_tiles, z) / (combos * row_tiles)
        flight = min(1, (self.stages - 1) * self.stage_bytes / 120000)
        return (max(times) + 0.18 * (sum(times) - max(times))) * uneven ** 0.95 / flight ** 0.165 + 5.4e-6

    def defines(self, **more):
        a, b, c, d = self.pattern
        return dict(A=a, B=b, C=c, D=d, SLICE=self.slice, WIDTH=self.width, TILES=self.tiles, COLUMN_UNITS=self.column_units,
                    CHUNK_STEPS=self.chunk_steps, EXACT=int(self.exact), TOGETHER=int(self.together), NEIGHBOURS=int(self.neighbours), **more)

    def __str__(self):
        return (f"g l{self.slice}/{self.width} j{self.part}/{self.columns} rows {self.tile_rows} k{self.chunk} x{self.stages}"
                + (" stay" if self.stationary else "") + ("", " map", " runs")[self.tensor] + (f" w{self.places}" if self.places else "") + (f" cluster {self.cluster}" if self.cluster > 1 else ""))


def groups_pitch(run, stride, access, far):
    """Bytes between rows: the fewest for which lanes of one access (of `access` bytes at `stride` bytes) share the fewest banks; `far`:
    neighbouring lanes take rows 0, 4, 1, 5 ..."""
    key = "groups", run, stride, access, far
    if key not in _pitches:
        words = access // 4 if access in (16, 8) else 1
        best = None
        for pad in range(0, 128, 16):
            pitch = round_up(run, 16) + pad
            rows = [row // 2 + row % 2 * 4 if far else row for row in range(8)]
            banks = [(rows[lane // 4] * pitch + lane % 4 * stride + 4 * w) // 4 % 32 for lane in range(32 // words) for w in range(words)]
            conflicts = max(banks.count(v) for v in set(banks))
            if best is None or conflicts < best[0]:
                best = (conflicts, pitch)
        _pitches[key] = best[1]
    return _pitches[key]


def groups_aligned(pattern, size):
    """Whole segments of 16 bytes exist for a slice of all d, or for slices of 16 bytes and more."""
    a, b, c, d = pattern
    return d * size % 16 == 0, c * d * size % 16 == 0


def groups_candidates(pattern, size, exact=False, aligned=True):
    a, b, c, d = pattern
    by_slice, whole = groups_aligned(pattern, size)
    slices = [d] if d <= 16 and (whole or not aligned) else []
    slices += [s for s in (1, 2, 4, 8, 16) if s < d and (not aligned or (by_slice and s * size % 16 == 0 and d % s == 0))]
    result = []
    for slice in slices:
        for width_units, column_units, row_units in ((2, 1, 1), (1, 2, 1), (1, 1, 2)):
            if slice % width_units:
                continue
            width = slice // width_units
            most = min(16, 32 // width)
            needed = ceil_div(b, 8 * column_units)
            for tiles in sorted({ceil_div(needed, n) for n in range(1, needed + 1)}):
                if tiles > most:
                    continue
                for chunk_steps in (1, 2, 3, 4, 6, 8):
                    if chunk_steps * width > 64 or chunk_steps > ceil_div(c * size, 32):
                        continue
                    for stationary in (True, False):
                        for stages in (8, 6, 5, 4, 3, 2):
                            plan = GroupsPlan(pattern, size, exact, slice, width, tiles, column_units, row_units, chunk_steps, stages,
                                              stationary, aligned)
                            if plan.shared <= SHARED_LIMIT:
                                result.append(plan)
                                break
    return result


def tensor_candidates(pattern, size, exact=False):
    """Plans whose rows come by tensor maps: in boxes of 128 bytes, in lines of 32 bytes, or in whole runs."""
    a, b, c, d = pattern
    result = []
    for slice in sorted({2, 4, 8, 16, d} - {1}):
        flat = slice == d and c * d * size % 16 == 0
        if not flat and not (slice * size == 32 and slice < d and d * size % 32 == 0):
            continue
        runs = flat and (slice * size > 32 or slice & (slice - 1) != 0)
        together = runs and d * size % 8 != 0
        if runs and d > (8 if together else 24):
            continue
        for width_units, column_units, row_units in ((2, 1, 1), (1, 2, 1), (1, 1, 2)):
            width = slice // width_units
            split = width_units == 2
            if split and not (runs and slice % 2 == 0 and slice * size % 16 == width * size % 8 == b * d * size % 16 == 0
                              or size == 2 and not runs and slice == 16):
                continue
            needed = ceil_div(b, 8 * column_units)
            for tiles in sorted({ceil_div(needed, n) for n in range(1, needed + 1)}):
                # Sums and operands fit the registers.
                if tiles > min(16, (32 if exact else 48) // width) or together and (4 * tiles + 6) * d > 212:
                    continue
                for places in groups_places(pattern, size, slice, split, runs, tiles):
                    # No run is cut by an end, none has parts of sectors.
                    if places == 0 and flat and (b % (2 * tiles) or 2 * tiles * slice * size % 32):
                        continue
                    for chunk_steps in (1, 2, 3, 4, 6, 8):
                        if chunk_steps * width > 64 or chunk_steps > ceil_div(c * size, 32) or not runs and chunk_steps * 32 * slice % 128:
                            continue
                        for stationary in (True, False):
                            for cluster in (1, 2):
                                for stages in (8, 6, 5, 4, 3, 2):
                                    plan = GroupsPlan(pattern, size, exact, slice, width, tiles, column_units, row_units, chunk_steps, stages,
                                                      stationary, True, 2 if runs else 1, cluster, places)
                                    # Without threads that copy a stage is filled later.
                                    if plan.parts % cluster == 0 and plan.shared <= SHARED_LIMIT and stages > (2 if plan.producers == 0 else 1):
                                        result.append(plan)
                                        break
    return result


def groups_places(pattern, size, slice, split, runs, tiles):
    """How many places of outputs that a tensor map writes there may be; 0: lanes write."""
    a, b, c, d = pattern
    if split:
        return (3,)
    if size != 2 or slice < d or b * d * size % 16:
        return (0,)
    if runs:
        return (0, 2) if tiles * d % 2 == 0 and 2 * tiles * d <= 256 else (0,)
    return (0, 3) if d == 8 or d == 4 and tiles % 2 == 0 else (0,)


def groups_plans(pattern, rows, size, exact=False, aligned=True):
    maps = tensor_candidates(pattern, size, exact) if aligned else []
    return sorted(groups_candidates(pattern, size, exact, aligned) + maps, key=lambda p: p.cost(rows))


class Groups:
    """Kernels and launches of one factor, batch first, by warpgroups."""

    def __init__(self, plan, element="bfloat16", activation="none", epilogue=0, y_aligned=True):
        self.plan = plan
        defines = plan.defines(ELEMENT=ELEMENTS[element])
        tag = "_".join(str(v) for _, v in sorted(defines.items()))
        self.pack_kernel = Kernel("Factors/KroneckerGroupsPack.cu", "kronecker_groups_pack_" + tag, defines)
        a, b, c, d = plan.pattern
        run = 2 * plan.tiles * d if d == plan.width else plan.width
        self.piece = min(16, plan.size * (run & -run))
        self.starts = (b * d, run, d if d > plan.width else run)
        y_aligned = y_aligned and all(n * plan.size % self.piece == 0 for n in self.starts + (a * b * d,))
        defines.update(ROW_UNITS=plan.row_units, STAGES=plan.stages, X_PITCH=plan.pitch, STATIONARY=int(plan.stationary),
                       TENSOR=int(plan.tensor), CLUSTER=plan.cluster, PRODUCERS=plan.producers, WRITES=plan.places, WRITTEN_TILES=plan.written_tiles,
                       X_ALIGNED=int(plan.aligned), SHARED=plan.shared, ACTIVATION=ACTIVATIONS[activation], EPILOGUE=epilogue,
                       Y_ALIGNED=int(y_aligned))
        tag = "_".join(str(v) for _, v in sorted(defines.items()))
        self.kernel = Kernel("Factors/KroneckerGroups.cu", "kronecker_groups_" + tag, defines, plan.shared)
        self.maps = None

    def pack(self, torch, w, transposed=False):
        plan = self.plan
        a, b, c, d = plan.pattern
        words = a * plan.slices * plan.parts * plan.block_bytes // 4
        packed = torch.full((words,), -1, device="cuda", dtype=torch.int32)
        strides = [b * c * d, d, b * d, 1] if transposed else [b * c * d, c * d, d, 1]
        self.pack_kernel(ceil_div(words, 256), 256, w, packed, *strides)
        return packed

    def __call__(self, x, packed, y, bias=None, gate=None, residual=None):
        plan, rows = self.plan, x.shape[0]
        aligned = all(n * plan.size % self.piece == 0 for n in self.starts + (y.stride(0),)) and y.data_ptr() % self.piece == 0
        grid = (plan.parts * plan.slices, plan.pattern[0], plan.splits(rows))
        maps = []
        if plan.tensor:
            size = (256 if plan.places else 128) // plan.size * grid[0] * grid[1] * grid[2]
            if self.maps is None or self.maps.numel() < size:
                self.maps = x.new_full((size,), float("nan"))
            maps = [self.maps]
        self.kernel(grid, 256 + plan.producers, x, packed, bias, gate, residual, y, *maps, y.stride(0), aligned, epilogue_parts(bias, gate, residual), rows,
                    x.stride(0))


class Turn:
    """y[row][group][q][p] = epilogue(x[row][group][p][q])."""

    def __init__(self, groups, p, q, element="bfloat16", activation="none", epilogue=0):
        size = 4 if element == "float32" else 2
        vector = 16 // size
        self.tile_q = q if q <= 64 else 64
        self.tile_p = min(round_up(p, vector), max(vector, 8192 // size // self.tile_q // (4 * vector) * 4 * vector))
        self.tile_rows = max(1, 8192 // size // (self.tile_p * self.tile_q))
        self.groups, self.p, self.q, self.size = groups, p, q, size
        run = self.tile_q * size % 16 == 0
        aligned = q * size % 16 == 0 if run else p * q * size % 16 == 0 and self.tile_p * q * size % 16 == 0
        defines = dict(ELEMENT=ELEMENTS[element], P=p, Q=q, TILE_P=self.tile_p, TILE_Q=self.tile_q, TILE_ROWS=self.tile_rows, X_ALIGNED=int(aligned),
                       ACTIVATION=ACTIVATIONS[activation], EPILOGUE=epilogue)
        tag = "_".join(str(v) for _, v in sorted(defines.items()))
        self.kernel = Kernel("Factors/Turn.cu", "factor_turn_" + tag, defines)

    def __call__(self, x, y, bias=None, gate=None, residual=None):
        rows = x.shape[0]
        aligned = self.p * self.size % 16 == 0 and y.data_ptr() % 16 == 0 and y.stride(0) * self.size % 16 == 0
        tiles = self.groups * ceil_div(self.p, self.tile_p) * ceil_div(self.q, self.tile_q)
        self.kernel((ceil_div(rows, self.tile_rows), tiles), 256, x, bias, gate, residual, y, y.stride(0), aligned,
                    epilogue_parts(bias, gate, residual), rows, x.stride(0))
