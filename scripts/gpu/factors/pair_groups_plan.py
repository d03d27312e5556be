"""How clusters divide a pair among Hopper's warpgroups (Factors/PairGroupsShape.cuh)."""

from dataclasses import dataclass, replace
from itertools import product

from .pair_plan import PairShape
from .sizes import SHARED_LIMIT, SMS, ceil_div, round_up


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
