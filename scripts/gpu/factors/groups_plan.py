"""How a grid divides a single factor among Hopper's warpgroups (Factors/KroneckerGroupsShape.cuh)."""

from dataclasses import dataclass
from functools import cache
from itertools import product

from .sizes import SHARED_LIMIT, SMS, ceil_div, round_up


# Matrix units cut what they add: a sum of 512 numbers is off five times as far as float32's. Longer sums than this are added up from
# shorter ones, whose errors then add up, too.
LONGEST_EXACT_SUM, PARTIAL_EXACT_SUM = 192, 128


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
    def partial_chunks(self):
        """Chunks whose exact sums are added to the others by plain additions; 0: never."""
        if not self.exact or self.pattern[2] <= LONGEST_EXACT_SUM:
            return 0
        return ceil_div(self.chunks, ceil_div(self.pattern[2], PARTIAL_EXACT_SUM))

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
        """Whether the four lanes of a row have neighbouring outputs: of single words only of whole 128 bytes."""
        words = self.slice * self.size == 4 and self.tiles % 4 == 0
        return self.places > 0 and (self.tensor == 1 or self.width < self.slice or words)

    @property
    def written_tiles(self):
        """Tiles of outputs in one place."""
        if not self.neighbours:
            return self.tiles
        letters = self.slice * self.size
        if letters == 4:
            return 4
        if letters == 16 or letters == 32 and self.width == self.slice or self.producers == 0 and self.stationary:
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
        """Fitted to 1,152 times of 104 patterns (benchmarks/factor-writes-h200.json): 10 % off on average, the preferred plan 3 % slower
        than the best measured of each."""
        a, b, c, d = self.pattern
        x, y = rows * a * c * d * self.size, rows * a * b * d * self.size
        row_tiles, combos, z = ceil_div(rows, self.tile_rows), self.parts * self.slices * a, self.splits(rows)
        weights = combos * self.block_bytes * (z if self.stationary else row_tiles)
        steps = row_tiles * combos * self.chunks * self.chunk_steps
        products = 3 if self.exact else 1
        memory = (x + y) / 4.7e12 * (1.25 if self.slice < d and self.size == 4 else 1)
        # Rows pass L2 once for each part; writing costs several times as much as reading.
        passed, rate = x * self.parts, 13.5e12
        l2 = (weights + (1.75 if self.places else 3.9) * y) / rate
        if self.slice < d:
            # Boxes whose lines are 32 bytes.
            l2 += passed / 32 / SMS * (5.9e-10 if self.cluster > 1 else 8.8e-10)
        else:
            # Runs are read with what pads them.
            l2 += passed * self.pitch / (self.chunk * self.slice * self.size) * (0.45 if self.cluster > 1 else 1) / rate
        conflicts = 1.4 if self.slice * self.size >= 32 and self.group * self.size == 8 else 1
        read = steps * 2 * self.width * 32 * (64 * conflicts + self.columns * products)
        # The rounding of float32, copies by threads that multiply, the begin of a stage, the end of a tile.
        rounding = 5.7e-8 if self.exact else 1.9e-8 if self.size == 4 else 0
        own = steps * (self.width * rounding + (0 if self.producers else 3.5e-7))
        own += row_tiles * combos * (self.chunks * 4.3e-8 + 5.7e-7)
        shared = (read + passed + weights) / (SMS * 128 * 1.97e9) + own / SMS
        times = memory, l2, shared
        uneven = ceil_div(combos * z, SMS) * SMS * ceil_div(row_tiles, z) / (combos * row_tiles)
        flight = min(1, (self.stages - 1) * self.stage_bytes / 120000)
        return (max(times) + 0.25 * (sum(times) - max(times))) * uneven ** 0.95 / flight ** 0.165 + 4.5e-6

    def defines(self, **more):
        a, b, c, d = self.pattern
        return dict(A=a, B=b, C=c, D=d, SLICE=self.slice, WIDTH=self.width, TILES=self.tiles, COLUMN_UNITS=self.column_units,
                    CHUNK_STEPS=self.chunk_steps, EXACT=int(self.exact), TOGETHER=int(self.together), NEIGHBOURS=int(self.neighbours), **more)

    def __str__(self):
        return (f"g l{self.slice}/{self.width} j{self.part}/{self.columns} rows {self.tile_rows} k{self.chunk} x{self.stages}"
                + (" stay" if self.stationary else "") + ("", " map", " runs")[self.tensor] + (f" w{self.places}" if self.places else "")
                + (f" cluster {self.cluster}" if self.cluster > 1 else ""))


@cache
def groups_pitch(run, stride, access, far):
    """Bytes between rows: the fewest for which lanes of one access (of `access` bytes at `stride` bytes) share the fewest banks; `far`:
    neighbouring lanes take rows 0, 4, 1, 5 ..."""
    words = access // 4 if access in (16, 8) else 1
    rows = [row // 2 + row % 2 * 4 if far else row for row in range(8)]

    def conflicts(pitch):
        banks = [(rows[lane // 4] * pitch + lane % 4 * stride + 4 * w) // 4 % 32 for lane in range(32 // words) for w in range(words)]
        return max(banks.count(v) for v in set(banks))

    least = round_up(run, 16)
    return min(range(least, least + 128, 16), key=conflicts)


def groups_aligned(pattern, size):
    """Whole segments of 16 bytes exist for a slice of all d, or for slices of 16 bytes and more."""
    a, b, c, d = pattern
    return d * size % 16 == 0, c * d * size % 16 == 0
