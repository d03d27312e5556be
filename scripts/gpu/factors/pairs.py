"""Launches of pairs, and their gradients."""

import os

from nvrtc import ELEMENTS, Kernel

from .pair_groups_plan import PairGroupsPlan
from .pair_plan import PAIR_THREADS
from .sizes import ACTIVATIONS, SMS, ceil_div, epilogue_parts


class Pair:
    """Kernels and launches of one pair: y = epilogue(x through core 0 and core 1)."""

    def __init__(self, plan, element="bfloat16", activation="none", keep=False, output=True):
        self.plan, self.shape, self.keep, self.output = plan, plan.shape, keep, output
        defines = plan.defines(ELEMENT=ELEMENTS[element])
        tag = "_".join(str(v) for _, v in sorted(defines.items()))
        self.pack_kernel = Kernel("Factors/PairPack.cu", "pair_pack_" + tag, defines)
        defines.update(ROW_BLOCKS=plan.row_blocks, X_STAGES=plan.stages, Z_BUFFERS=plan.buffers, X_BULK=int(plan.bulk),
                       SHARED=plan.shared, PART_TILES=plan.part_tiles,
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
        shares = self.plan.shares
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
                       Y_ALIGNED=int(y_aligned and plan.shape.output_aligned))
        if "TESSERA_SANITIZE" in os.environ:
            defines.update(SANITIZE=int(os.environ["TESSERA_SANITIZE"]))
        tag = "_".join(str(v) for _, v in sorted(defines.items()))
        self.kernel = Kernel("Factors/PairGroups.cu", "pair_groups_" + tag, defines, plan.shared, cluster=plan.cluster)
        self.resident, self.maps = None, None

    step_rows = 64

    def allocate_inner(self, torch, rows, dtype):
        p = self.plan
        return torch.full((ceil_div(rows, 64), p.shares * p.cluster * p.units * p.unit_bytes // 2), float("nan"), device="cuda", dtype=dtype)

    @property
    def inner_places(self):
        return self.plan.output_pieces, self.plan.unit_pieces, True

    def workspace(self, x):
        if self.maps is None:
            self.maps = x.new_full((64 * SMS,), float("nan"))
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
