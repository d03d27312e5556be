"""Pairs of block factors, and how a cluster divides them by warp-wide instructions (Factors/PairShape.cuh)."""

from dataclasses import dataclass

from .sizes import SHARED_LIMIT, ceil_div, round_up

PAIR_THREADS, CORE_REGISTERS = 512, 64


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
    shares = 1

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
