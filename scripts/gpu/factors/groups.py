"""Single factors by Hopper's warpgroups: which plans there are, their launches, and turned rows."""

from itertools import product

from nvrtc import ELEMENTS, Kernel

from .groups_plan import LONGEST_EXACT_SUM, GroupsPlan, groups_aligned
from .kronecker import pack_weights
from .sizes import ACTIVATIONS, SHARED_LIMIT, ceil_div, epilogue_parts, round_up


def most_sums(pattern, exact, most):
    """Tiles of all l of a thread: half as many where exact sums are added to others."""
    return most // 2 if exact and pattern[2] > LONGEST_EXACT_SUM else most


def groups_candidates(pattern, size, exact=False, aligned=True):
    a, b, c, d = pattern
    if d == 1:
        return []
    by_slice, whole = groups_aligned(pattern, size)
    slices = [d] if d <= 16 and (whole or not aligned) else []
    slices += [s for s in (1, 2, 4, 8, 16) if s < d and (not aligned or (by_slice and s * size % 16 == 0 and d % s == 0))]
    result = []
    for slice in slices:
        for width_units, column_units, row_units in ((2, 1, 1), (1, 2, 1), (1, 1, 2)):
            if slice % width_units:
                continue
            width = slice // width_units
            most = min(16, most_sums(pattern, exact, 32) // width)
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
    for slice in [1] if d == 1 else sorted({2, 4, 8, 16, d} - {1}):
        flat = slice == d and c * d * size % 16 == 0
        if not flat and not (slice * size == 32 and slice < d and d * size % 32 == 0):
            continue
        runs = flat and (slice * size > 32 or slice & (slice - 1) != 0 or d == 1)
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
                if tiles > min(16, most_sums(pattern, exact, 32 if exact else 48) // width) or together and (4 * tiles + 6) * d > 212:
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
    if slice < d or b * d * size % 16:
        return (0,)
    letters = d * size
    if letters == 4 and runs and tiles % 4 == 0:
        return (0, 3)
    if runs:
        return (0, 2) if tiles * letters % 4 == 0 and (8 * tiles * letters % 128 == 0 or tiles * letters <= 256) else (0,)
    return (0, 3) if letters in (16, 32) or letters == 8 and tiles % 2 == 0 else (0,)


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
                       PARTIAL_CHUNKS=plan.partial_chunks, Y_ALIGNED=int(y_aligned))
        tag = "_".join(str(v) for _, v in sorted(defines.items()))
        self.kernel = Kernel("Factors/KroneckerGroups.cu", "kronecker_groups_" + tag, defines, plan.shared)
        self.maps = None

    def pack(self, torch, w, transposed=False):
        return pack_weights(torch, self.pack_kernel, self.plan, self.plan.block_bytes // 4, w, transposed)

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
        self.kernel(grid, 256 + plan.producers, x, packed, bias, gate, residual, y, *maps, y.stride(0), aligned,
                    epilogue_parts(bias, gate, residual), rows, x.stride(0))


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
