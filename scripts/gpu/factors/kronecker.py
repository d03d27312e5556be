"""Single factors by warp-wide instructions: plans (Factors/KroneckerShape.cuh) and launches."""

from dataclasses import dataclass
from functools import cache
from itertools import product

from nvrtc import ELEMENTS, Kernel

from .sizes import ACTIVATIONS, SHARED_LIMIT, SMS, ceil_div, epilogue_parts, round_up


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
        return (f"l{self.slice}/{self.width} j{self.part}/{8 * self.tiles} rows {self.tile_rows}/{16 * self.row_blocks} "
                f"k{16 * self.chunk_steps} x{self.stages} w{self.warps}x{self.blocks}")


def read_group(width):
    return next(g for g in (8, 6, 4, 3, 2, 1) if width % g == 0)


@cache
def row_pitch(slice, width, steps):
    """Bytes between rows in shared memory: the fewest for which the lanes of one access share no bank, if there is such a pitch."""
    least = steps * 32 * slice
    words = {8: 4, 4: 2}.get(read_group(width), 1)

    def conflicts(pitch):
        if slice == 1:
            return 0 if pitch // 16 % 2 else 1
        banks = [((lane // 4) * pitch + (lane % 4) * slice * 2 + 4 * w) // 4 % 32 for lane in range(32 // words) for w in range(words)]
        return max(banks.count(v) for v in set(banks))

    return min(range(least, least + 128, 16), key=conflicts)


def kronecker_candidates(pattern, aligned=True):
    a, b, c, d = pattern
    slices = [d] if d <= 24 else []
    slices += [s for s in (1, 2, 4, 8, 16, 32) if s < d and (not aligned or (s % 8 == 0 and d % s == 0))]
    steps, result = ceil_div(c, 16), []
    for slice in slices or [1]:
        widths = {w for w in (16, 8, 4, 2, 1) if slice % w == 0} | ({slice} if slice <= 24 else set())
        for width, row_blocks, tiles, (warps, blocks, sums) in product(
                sorted(widths), (1, 2, 4), (1, 2, 3, 4, 6, 8), ((8, 1, 32), (8, 2, 16), (16, 1, 16))):
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


def pack_weights(torch, kernel, plan, part_words, w, transposed):
    """Weights [a, b, c, d] of the factor, or (transposed) of the one whose transpose this is: for the input gradient."""
    a, b, c, d = plan.pattern
    words = a * plan.slices * plan.parts * part_words
    packed = torch.full((words,), -1, device="cuda", dtype=torch.int32)
    strides = [b * c * d, d, b * d, 1] if transposed else [b * c * d, c * d, d, 1]
    kernel(ceil_div(words, 256), 256, w, packed, *strides)
    return packed


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
        return pack_weights(torch, self.pack_kernel, self.plan, self.plan.part_words, w, transposed)

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
