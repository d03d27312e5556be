"""Kernels of factors against their definitions: max |ours - exact| <= 2 max |plain - exact| + floor.

`plain` is the same job in the same precision by torch, `exact` in float64. Outputs start as NaN, and NaN fails; every launch is
repeated and has to give the same bits. usage: check_factors.py [--memcheck | --racecheck: few, for compute-sanitizer]
[--groups: only what Hopper's warpgroups and turns do of single factors] [--written: of these only outputs that tensor maps write whole]
[--pair-groups: only pairs by warpgroups]
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import torch

sanitizer = next((n for n, tool in ((1, "--racecheck"), (2, "--memcheck")) if tool in sys.argv), None)
if sanitizer:
    os.environ["TESSERA_SANITIZE"] = str(sanitizer)

from factors import (BlockGradient, Groups, Kronecker, Pair, PairBackward, PairPlan, PairShape, Turn, bulk_possible, groups_plans,
                     kronecker_aligned, kronecker_plans, kronecker_reference, pair_groups_candidates, pair_kernels, pair_plan)

torch.manual_seed(1)
torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
failures, worst, cases = [], [0.0], []
pool = ThreadPoolExecutor(12)


def compare(label, ours, plain, exact, floor=1e-6):
    exact = exact.double()
    scale = exact.abs().max().item() if exact.numel() else 0.0
    error = (ours.double() - exact).abs().max().item() if exact.numel() else 0.0
    allowed = 2 * (plain.double() - exact).abs().max().item() + floor * scale if exact.numel() else 0.0
    if not error <= allowed:
        failures.append(label)
        bad = ~((ours.double() - exact).abs() <= allowed)
        print(f"FAIL {label}: error {error:.3e} allowed {allowed:.3e} scale {scale:.3e} bad {bad.float().mean().item():.4f} "
              f"first {torch.nonzero(bad)[:3].tolist()}")
    elif allowed:
        worst[0] = max(worst[0], error / allowed)


def twice(label, run, *outputs):
    """Runs twice on poisoned outputs; both times the same bits."""
    first = None
    for _ in range(2):
        for out in outputs:
            out.fill_(float("nan"))
        run()
        torch.cuda.synchronize()
        if first is not None and not all(torch.equal(a, b) for a, b in zip(first, outputs)):
            failures.append(label + " differs from run to run")
            print("FAIL", failures[-1])
        first = [out.clone() for out in outputs]


def activate(v, activation):
    functional = torch.nn.functional
    return {"none": lambda t: t, "gelu": functional.gelu, "gelu_tanh": lambda t: functional.gelu(t, approximate="tanh"),
            "silu": functional.silu}[activation](v)


def padded(rows, columns, dtype, offset, pitch):
    """A matrix whose rows start anywhere: `offset` elements in, `pitch` elements apart."""
    storage = torch.full((rows * pitch + offset,), float("nan"), device="cuda", dtype=dtype)
    return storage[offset:].view(rows, pitch)[:, :columns]


def pair_case(shape, rows, element="bfloat16", activation="none", extras=False, backward=False, offset=0, extra_pitch=0, cluster=None,
              room=None, shares=1):
    """By the kernel of warp-wide instructions or, with `room`, of Hopper's warpgroups, with little (1) or much (2) room for z."""
    bulk = shape.m0 % 8 == 0 and offset % 8 == 0 and (shape.inputs + extra_pitch) % 8 == 0
    bulk_back = shape.n1 % 8 == 0 and offset % 8 == 0 and (shape.outputs + extra_pitch) % 8 == 0
    plan, back = pair_plan(shape, bulk, cluster), pair_plan(shape.transposed, bulk_back, cluster)
    if room:
        # Two warpgroups for the first product, or one, in turn.
        first = len(cases) % 2 + 1
        plan, back = (min(pair_groups_candidates(s), key=lambda p: (abs(p.shares - shares), cluster not in (None, p.cluster), p.first_groups != first,
                                                                    (p.z_units + p.places) * (3 - 2 * room)))
                      for s in (shape, shape.transposed))
    whole = offset % 8 == 0 and extra_pitch % 8 == 0
    job = pool.submit(pair_kernels, plan, element, activation, 7 if extras else 0, whole)
    backward_job = pool.submit(PairBackward, plan, back, element, True, whole) if backward else None
    cases.append(lambda: run_pair(job.result, backward_job, shape, plan, rows, element, activation, extras, offset, extra_pitch))


def run_pair(job, backward_job, shape, plan, rows, element, activation, extras, offset, extra_pitch):
    dtype = getattr(torch, element)
    label = f"pair {shape.m0}x{shape.m1} {shape.n0}x{shape.n1} r{shape.rank} rows {rows} {element} {activation} {plan} +{offset}"
    x = padded(rows, shape.inputs, dtype, offset, shape.inputs + extra_pitch)
    x.copy_(torch.randn(rows, shape.inputs, device="cuda"))
    y = padded(rows, shape.outputs, dtype, offset, shape.outputs + extra_pitch)
    core0, core1 = shape.draw(torch, dtype)
    assert not isinstance(plan, PairPlan) or plan.bulk == bulk_possible(x, shape.m0), label
    draw = lambda *s: torch.randn(*s, device="cuda").to(dtype)
    bias = draw(shape.outputs) if extras else None
    gate, residual = (padded(rows, shape.outputs, dtype, offset, shape.outputs + extra_pitch) for _ in range(2)) if extras else (None, None)
    if extras:
        gate.copy_(draw(rows, shape.outputs))
        residual.copy_(draw(rows, shape.outputs))

    def whole(x, core0, core1, bias, gate, residual):
        v = shape.reference(x, core0, core1)
        if extras:
            v = v + bias
        v = activate(v, activation)
        return v * gate + residual if extras else v

    wide = [v.double() if v is not None else None for v in (x, core0, core1, bias, gate, residual)]
    exact, plain = whole(*wide), whole(x, core0, core1, bias, gate, residual)
    pair = job()
    packed = pair.pack(torch, core0, core1)
    twice(label, lambda: pair(x, packed, y, bias, gate, residual), y)
    compare(label, y, plain, exact)
    if backward_job is None:
        return
    run = backward_job.result()
    dy = padded(rows, shape.outputs, dtype, offset, shape.outputs + extra_pitch)
    dy.copy_(draw(rows, shape.outputs))
    dx = padded(rows, shape.inputs, dtype, offset, shape.inputs + extra_pitch)
    dcore0, dcore1 = torch.empty_like(core0), torch.empty_like(core1)
    packed, packed_transposed = run.pack(torch, core0, core1)
    z, dz = run.allocate(torch, rows, dtype)
    twice(label + " backward", lambda: run(torch, x, dy, packed, packed_transposed, z, dz, dx, dcore0, dcore1), dx, dcore0, dcore1, z, dz)

    def gradients(x, core0, core1, dy):
        x, core0, core1 = (v.detach().clone().requires_grad_() for v in (x, core0, core1))
        return torch.autograd.grad(shape.reference(x, core0, core1), (x, core0, core1), dy)

    for name, ours, plain, exact in zip(("dx", "dcore0", "dcore1"), (dx, dcore0, dcore1), gradients(x, core0, core1, dy),
                                        gradients(*wide[:3], dy.double())):
        compare(f"{label} {name}", ours, plain, exact)


def kronecker_dense(w):
    """The matrix [a b d, a c d] of weights [a, b, c, d], entry by entry from the definition."""
    a, b, c, d = w.shape
    i, j, k, l = torch.meshgrid(*(torch.arange(n, device=w.device) for n in w.shape), indexing="ij")
    dense = torch.zeros(a * b * d, a * c * d, device=w.device, dtype=w.dtype)
    dense[(i * b * d + j * d + l).reshape(-1), (i * c * d + k * d + l).reshape(-1)] = w.reshape(-1)
    return dense


def pair_is_two_kronecker_factors():
    """On small sizes: the pair against (m1, R n0, m0, 1) then (1, n1, R m1, n0), by explicit masks and the two re-orderings."""
    s = PairShape(5, 3, 4, 6, 2)
    plan = pair_plan(s, False)
    core0, core1 = (v.double() for v in s.draw(torch, torch.bfloat16))
    first = kronecker_dense(core0.view(s.m1, s.m0, s.n0, s.rank).permute(0, 3, 2, 1).reshape(s.m1, s.rank * s.n0, s.m0, 1))
    second = kronecker_dense(core1.permute(2, 1, 0).reshape(1, s.n1, s.m1 * s.rank, s.n0).contiguous())
    x = torch.randn(33, s.inputs, device="cuda").to(torch.bfloat16)
    exact = (x.double() @ first.t() @ second.t()).view(33, s.n1, s.n0).transpose(1, 2).reshape(33, s.outputs)
    pair = Pair(plan)
    y = torch.full((33, s.outputs), float("nan"), device="cuda", dtype=torch.bfloat16)
    pair(x, pair.pack(torch, core0.bfloat16(), core1.bfloat16()), y)
    torch.cuda.synchronize()
    compare("pair as Kronecker factors", y, s.reference(x, core0.bfloat16(), core1.bfloat16()), exact)


def kronecker_case(pattern, rows, element="bfloat16", activation="none", extras=False, backward=False, offset=0, extra_pitch=0,
                   plan_index=0):
    a, b, c, d = pattern
    aligned = offset % 8 == 0 and (a * c * d + extra_pitch) % 8 == 0 and (d % 8 == 0 or (d <= 24 and c * d % 8 == 0))
    aligned_back = offset % 8 == 0 and (a * b * d + extra_pitch) % 8 == 0 and (d % 8 == 0 or (d <= 24 and b * d % 8 == 0))
    plans = kronecker_plans(pattern, rows, aligned)
    job = pool.submit(Kronecker, plans[min(plan_index, len(plans) - 1)], element, activation)
    back = pool.submit(Kronecker, kronecker_plans((a, c, b, d), rows, aligned_back)[0], element) if backward else None
    cases.append(lambda: run_kronecker(job.result, back, pattern, rows, element, activation, extras, offset, extra_pitch))


def run_kronecker(job, back, pattern, rows, element, activation, extras, offset, extra_pitch):
    a, b, c, d = pattern
    dtype = getattr(torch, element)
    run = job()
    label = f"factor {pattern} rows {rows} {element} {activation} {run.plan} +{offset}"
    draw = lambda *s: torch.randn(*s, device="cuda").to(dtype)
    x = padded(rows, a * c * d, dtype, offset, a * c * d + extra_pitch)
    x.copy_(draw(rows, a * c * d))
    assert run.plan.aligned == kronecker_aligned(x, pattern), label
    w = (torch.randn(a, b, c, d, device="cuda") / c ** 0.5).to(dtype)
    outputs = [padded(rows, a * b * d, dtype, offset, a * b * d + extra_pitch) for _ in range(4)]
    y, gate, residual, dy = outputs
    for v in outputs[1:]:
        v.copy_(draw(rows, a * b * d))
    bias = draw(a * b * d)

    def whole(x, w, bias, gate, residual):
        v = kronecker_reference(x.contiguous(), w)
        v = activate(v + bias if extras else v, activation)
        return v * gate + residual if extras else v

    wide = [v.double() for v in (x, w, bias, gate, residual)]
    packed = run.pack(torch, w)
    extra = (bias, gate, residual) if extras else ()
    twice(label, lambda: run(x, packed, y, *extra), y)
    compare(label, y, whole(x, w, bias, gate, residual), whole(*wide))
    if a * b * c * d * d * a < 1 << 22 and not extras and activation == "none":
        compare(label + " mask", y, whole(x, w, bias, gate, residual), wide[0] @ kronecker_dense(wide[1]).t())
    if back is None:
        return
    input_run = back.result()
    dx = padded(rows, a * c * d, dtype, offset, a * c * d + extra_pitch)
    packed = input_run.pack(torch, w, transposed=True)
    twice(label + " dx", lambda: input_run(dy, packed, dx), dx)
    gradient = BlockGradient(element)
    dw = torch.empty(a * d, b, c, device="cuda", dtype=dtype)
    twice(label + " dw", lambda: gradient(torch, dy, x, a * d, b, c, dw, inner=d, outer_a=b * d, stride_a=d, outer_b=c * d, stride_b=d), dw)

    def gradients(x, w, dy):
        x, w = (v.detach().clone().requires_grad_() for v in (x, w))
        return torch.autograd.grad(kronecker_reference(x, w), (x, w), dy)

    plain, exact = gradients(x, w, dy), gradients(wide[0], wide[1], dy.double())
    compare(label + " dx", dx, plain[0], exact[0])
    order = lambda g: g.permute(0, 3, 1, 2).reshape(a * d, b, c)
    compare(label + " dw", dw, order(plain[1]), order(exact[1]))


def groups_case(pattern, rows, element="bfloat16", exact=False, activation="none", extras=False, offset=0, extra_pitch=0, choose=None,
                plan_index=0, aligned=None):
    """By Hopper's warpgroups, the product and the one with the transposed matrix; `aligned` plans for rows that are not."""
    planned = aligned
    a, b, c, d = pattern
    size = 4 if element == "float32" else 2
    vector = 16 // size
    jobs = []
    for transposed, (p, q) in enumerate(((b, c), (c, b))):
        aligned = offset % vector == 0 and (a * q * d + extra_pitch) % vector == 0 and d * size % 16 == 0
        aligned = aligned or (offset % vector == 0 and (a * q * d + extra_pitch) % vector == 0 and d <= 16 and q * d * size % 16 == 0)
        ordered = groups_plans((a, p, q, d), rows, size, exact, aligned if planned is None else planned)
        plans = [plan for plan in ordered if choose is None or choose(plan)] or ordered
        jobs.append(pool.submit(Groups, plans[min(plan_index, len(plans) - 1)], element, activation, 7 if extras else 0,
                                offset == 0 and extra_pitch == 0))
    cases.append(lambda: run_groups(jobs, pattern, rows, element, exact, activation, extras, offset, extra_pitch))


def run_groups(jobs, pattern, rows, element, exact, activation, extras, offset, extra_pitch):
    a, b, c, d = pattern
    dtype = getattr(torch, element)
    torch.backends.cuda.matmul.allow_tf32 = not exact
    draw = lambda *s: torch.randn(*s, device="cuda").to(dtype)
    w = (torch.randn(a, b, c, d, device="cuda") / c ** 0.5).to(dtype)
    for transposed, job in enumerate(jobs):
        run = job.result()
        p, q = (c, b) if transposed else (b, c)
        label = f"groups {run.plan.pattern} rows {rows} {element}{' exact' if exact else ''} {activation} {run.plan} +{offset}"
        x = padded(rows, a * q * d, dtype, offset, a * q * d + extra_pitch)
        x.copy_(draw(rows, a * q * d))
        y, gate, residual = (padded(rows, a * p * d, dtype, offset, a * p * d + extra_pitch) for _ in range(3))
        gate.copy_(draw(rows, a * p * d))
        residual.copy_(draw(rows, a * p * d))
        bias = draw(a * p * d)

        def whole(x, w, bias, gate, residual):
            v = kronecker_reference(x.contiguous(), w.transpose(1, 2) if transposed else w)
            v = activate(v + bias if extras else v, activation)
            return v * gate + residual if extras else v

        packed = run.pack(torch, w, transposed=bool(transposed))
        twice(label, lambda: run(x, packed, y, *((bias, gate, residual) if extras else ())), y)
        arguments = (x, w, bias, gate, residual)
        # torch takes plain float32 for small products, where ours goes through TF32.
        compare(label, y, whole(*arguments), whole(*(v.double() for v in arguments)), 1e-3 if element == "float32" and not exact else 1e-6)


def turn_case(groups, p, q, rows, element="bfloat16", extras=False, offset=0):
    job = pool.submit(Turn, groups, p, q, element, "gelu" if extras else "none", 7 if extras else 0)

    def run():
        dtype = getattr(torch, element)
        n = groups * p * q
        x, y, gate, residual = (padded(rows, n, dtype, offset, n + offset) for _ in range(4))
        for v in (x, gate, residual):
            v.copy_(torch.randn(rows, n, device="cuda").to(dtype))
        bias = torch.randn(n, device="cuda").to(dtype)
        turn = job.result()
        label = f"turn {groups}x{p}x{q} rows {rows} {element} +{offset}"
        twice(label, lambda: turn(x, y, *((bias, gate, residual) if extras else ())), y)

        def whole(x, bias, gate, residual):
            v = x.reshape(rows, groups, p, q).transpose(2, 3).reshape(rows, n)
            return activate(v + bias, "gelu") * gate + residual if extras else v

        arguments = (x, bias, gate, residual)
        compare(label, y, whole(*arguments), whole(*(v.double() for v in arguments)))

    cases.append(run)


def split(plan):
    """Both warpgroups' outputs are put together, which differ in l."""
    return plan.places > 0 and plan.width < plan.slice


def alone(plan):
    """Each warpgroup puts its outputs together for itself."""
    return plan.places > 0 and plan.width == plan.slice


def anywhere(pattern, chosen, element="bfloat16", plan_index=1):
    """Rows apart, rows that no tensor map describes, and many."""
    groups_case(pattern, 300, element, extra_pitch=8, choose=chosen)
    groups_case(pattern, 200, element, offset=3, extra_pitch=5, choose=chosen, aligned=True, extras=True)
    groups_case(pattern, 5000, element, choose=chosen, plan_index=plan_index)


def groups():
    if sanitizer:
        groups_case((1, 48, 48, 16), 150)
        groups_case((1, 128, 64, 16), 150, choose=lambda plan: not plan.stationary)
        groups_case((2, 24, 37, 3), 70, extras=True, activation="gelu")
        groups_case((1, 64, 48, 8), 130, "float32", exact=True)
        groups_case((2, 64, 40, 32), 150, choose=lambda plan: plan.cluster == 2)
        groups_case((1, 48, 36, 4), 200, choose=lambda plan: plan.tensor and not plan.stationary)
        groups_case((1, 48, 64, 6), 200, choose=lambda plan: plan.tensor == 2)
        groups_case((2, 48, 32, 24), 200, choose=lambda plan: plan.places > 0 and plan.cluster == 2)
        groups_case((1, 96, 96, 16), 200, choose=lambda plan: plan.producers == 0)
        groups_case((1, 96, 96, 32), 200, choose=lambda plan: plan.producers == 0 and plan.cluster == 2)
        groups_case((1, 48, 36, 4), 200, choose=lambda plan: plan.places > 0)
        groups_case((1, 48, 64, 6), 200, choose=lambda plan: plan.places > 0)
        groups_case((3, 96, 80, 1), 200)
        groups_case((1, 64, 320, 1), 150, "float32", exact=True)
        groups_case((3, 100, 72, 1), 150, "float32", choose=lambda plan: plan.places == 3)
        groups_case((1, 48, 40, 16), 150, choose=alone)
        turn_case(2, 37, 5, 9, extras=True)
        turn_case(1, 64, 96, 9)
        return
    for index, pattern in enumerate(((1, 48, 48, 8), (1, 64, 64, 16), (1, 192, 48, 24), (2, 128, 128, 4), (1, 192, 48, 2), (1, 64, 64, 3),
                                     (3, 96, 96, 32), (1, 128, 512, 16), (2, 256, 256, 4), (1, 96, 96, 6), (1, 48, 48, 12))):
        groups_case(pattern, 501)
        groups_case(pattern, 1201, "float16", activation="silu", extras=True, plan_index=7)
        groups_case(pattern, 333, "float32", plan_index=index % 3)
        groups_case(pattern, 200, "float32", exact=True)
        groups_case(pattern, 5000, choose=lambda plan: not plan.stationary)
    # Blocks, and exact sums that are long.
    for pattern in ((1, 96, 384, 1), (12, 64, 64, 1), (3, 104, 72, 1), (2, 128, 512, 1)):
        for stationary in (True, False):
            choose = lambda plan: plan.stationary == stationary
            groups_case(pattern, 777, choose=choose)
            groups_case(pattern, 333, "float16", activation="gelu", extras=True, choose=choose)
            if pattern[1] % 64 == 0:
                groups_case(pattern, 333, "float32", choose=choose)
                groups_case(pattern, 130, "float32", exact=True, choose=choose)
    groups_case((5, 64, 40, 1), 100, offset=3, extra_pitch=5, aligned=True)
    groups_case((2, 64, 320, 4), 200, "float32", exact=True)
    # By tensor maps: whole lines and lines of 32 bytes, alone and shared; ragged everywhere; rows that begin anywhere fall back.
    for pattern in ((1, 64, 64, 16), (2, 64, 40, 32), (3, 100, 52, 4), (2, 96, 70, 48), (2, 144, 60, 2), (3, 100, 50, 8), (1, 192, 192, 64)):
        for stationary in (True, False):
            for cluster in (1, 2):
                choose = lambda plan: plan.tensor and not plan.places and plan.cluster == cluster and plan.stationary == stationary
                groups_case(pattern, 777, choose=choose)
                groups_case(pattern, 130, "float16", activation="gelu", extras=True, choose=choose)
                groups_case(pattern, 333, "float32", choose=choose)
                groups_case(pattern, 65, "float32", exact=True, choose=choose)
    groups_case((2, 64, 40, 32), 100, offset=3, extra_pitch=5, choose=lambda plan: plan.tensor, aligned=True)
    # In whole runs, and with outputs put together and written later.
    kinds = (("bfloat16", {}), ("float16", {"activation": "gelu", "extras": True}), ("float32", {}), ("float32", {"exact": True}))
    for index, pattern in enumerate(((2, 48, 40, 6), (1, 64, 112, 3), (2, 48, 72, 7), (1, 64, 64, 5), (2, 40, 72, 12), (1, 96, 80, 24))):
        for stationary in (True, False):
            for element, more in kinds:
                groups_case(pattern, 333 + 64 * index, element, **more,
                            choose=lambda plan: plan.tensor == 2 and not plan.places and plan.stationary == stationary)
    for index, pattern in enumerate(((3, 48, 100, 24), (2, 48, 40, 12), (1, 96, 64, 16))):
        for number in (0, 1, 3 + index, 20):
            for element, more in kinds if pattern[3] == 24 else kinds[2:]:
                groups_case(pattern, 333 + 64 * index, element, **more, choose=split, plan_index=number)
    groups_case((1, 96, 64, 24), 3000, choose=split, extra_pitch=8)
    groups_case((1, 96, 64, 24), 300, choose=split, extra_pitch=4, aligned=True)
    for pattern in ((1, 64, 48, 24), (2, 64, 40, 32), (1, 64, 48, 3)):
        groups_case(pattern, 100, offset=3, extra_pitch=5, choose=lambda plan: plan.tensor > 0, aligned=True, extras=True)
    # Warpgroups that differ in l, with copying threads and without; each warpgroup's outputs by maps; runs that two blocks share.
    for patterns, chosen in ((((2, 96, 96, 16), (1, 96, 48, 32), (1, 100, 52, 48)), split),
                             (((3, 100, 52, 4), (2, 96, 70, 8), (1, 48, 64, 6), (2, 64, 112, 3)), alone),
                             (((1, 96, 80, 24), (2, 64, 64, 3)), lambda plan: plan.tensor == 2 and plan.cluster == 2)):
        for pattern in patterns:
            for producers in (0, 128) if chosen is split else (128,):
                for cluster in (1, 2):
                    for stationary in (True, False):
                        choose = lambda plan: chosen(plan) and plan.producers == producers and plan.cluster == cluster and plan.stationary == stationary
                        groups_case(pattern, 777, choose=choose)
                        groups_case(pattern, 130, "float16", activation="gelu", extras=True, choose=choose)
                anywhere(pattern, lambda plan: chosen(plan) and plan.producers == producers)
    for units in ("column_units", "row_units"):
        groups_case((1, 256, 128, 16), 3000, choose=lambda plan: getattr(plan, units) == 2)
    for pattern in ((3, 50, 37, 7), (1, 5, 3, 2), (2, 9, 17, 5), (1, 33, 65, 40), (1, 16, 16, 37)):
        groups_case(pattern, 333)
        groups_case(pattern, 77, "float32", activation="gelu", extras=True)
    for rows in (1, 2, 63, 64, 65):
        groups_case((1, 64, 64, 16), rows)
        groups_case((1, 64, 64, 16), rows, "float32", exact=True)
    groups_case((1, 64, 64, 16), 300, offset=3, extras=True)
    groups_case((1, 64, 64, 16), 300, extra_pitch=8)
    groups_case((1, 64, 64, 16), 300, "float32", extra_pitch=5)
    for shape in ((1, 64, 96), (3, 48, 4), (2, 37, 5), (1, 512, 3), (4, 96, 128), (1, 16, 384), (2, 6, 130)):
        for element in ("bfloat16", "float16", "float32"):
            turn_case(*shape, 301, element)
        turn_case(*shape, 77, extras=True, offset=3)
    written()


def factors():
    if sanitizer:
        kronecker_case((1, 48, 40, 8), 70, backward=True)
        kronecker_case((2, 24, 37, 3), 70, backward=True, extras=True, activation="gelu")
        kronecker_case((3, 20, 33, 1), 70, "float16", backward=True)
        kronecker_case((1, 48, 48, 32), 70, backward=True)
        return
    for pattern in ((1, 48, 48, 8), (1, 64, 64, 16), (1, 48, 192, 24), (1, 192, 48, 24), (6, 64, 64, 1), (4, 48, 48, 64), (1, 96, 96, 6),
                    (1, 48, 48, 12), (2, 128, 128, 4), (1, 192, 48, 2), (1, 64, 64, 3), (1, 256, 256, 3), (12, 48, 192, 1)):
        kronecker_case(pattern, 501, backward=True)
        kronecker_case(pattern, 1201, "float16", "silu", extras=True, plan_index=5)
    for pattern in ((3, 50, 37, 7), (1, 5, 3, 2), (2, 9, 17, 5), (5, 31, 29, 1), (1, 33, 65, 40), (1, 16, 16, 37)):
        kronecker_case(pattern, 333, backward=True)
        kronecker_case(pattern, 77, activation="gelu", extras=True, plan_index=9)
    for rows in (1, 2, 16, 17, 63):
        kronecker_case((1, 64, 64, 16), rows, backward=True)
        kronecker_case((16, 64, 64, 1), rows, extras=True)
    kronecker_case((1, 64, 64, 16), 300, backward=True, offset=3, extras=True)
    kronecker_case((1, 64, 64, 16), 300, backward=True, extra_pitch=8)
    kronecker_case((1, 64, 64, 16), 300, backward=True, extra_pitch=5)


def pairs():
    square = PairShape(32, 32, 32, 32, 1)
    if sanitizer:
        pair_case(PairShape(16, 24, 17, 19, 1), 77, "float16", "gelu", extras=True, backward=True)
        pair_case(PairShape(24, 16, 16, 32, 1), 77, extras=True, backward=True, cluster=2)
        pair_case(PairShape(7, 5, 6, 9, 3), 41, activation="silu", extras=True, backward=True, cluster=2)
        return
    cases.append(pair_is_two_kronecker_factors)
    for rows in (1, 2, 5, 15, 16, 17, 64, 1000):
        pair_case(square, rows, "float16" if rows % 2 else "bfloat16", backward=rows > 4)
    for cluster in (1, 2, 4, 8):
        pair_case(square, 4097, cluster=cluster, backward=True, extras=True, activation="gelu")
    pair_case(PairShape(64, 64, 64, 64, 1), 3001, backward=True)
    pair_case(PairShape(64, 64, 64, 64, 1), 3001, "float16", "silu", extras=True)
    pair_case(PairShape(32, 64, 32, 64, 1), 2049, backward=True, activation="gelu_tanh", extras=True)
    pair_case(PairShape(24, 32, 24, 32, 1), 2049, backward=True)
    pair_case(PairShape(32, 32, 32, 32, 2), 1000, backward=True)
    pair_case(PairShape(64, 16, 16, 64, 4), 1000, backward=True)
    pair_case(PairShape(16, 16, 16, 16, 8), 500, backward=True)
    pair_case(PairShape(40, 30, 36, 28, 1), 777, backward=True, extras=True)
    pair_case(PairShape(7, 5, 6, 9, 3), 333, backward=True, extras=True, activation="silu")
    pair_case(PairShape(7, 5, 6, 9, 3), 333, backward=True, cluster=2)
    pair_case(PairShape(29, 13, 11, 31, 1), 333, backward=True, cluster=4)
    pair_case(PairShape(12, 4, 4, 50, 5), 257, backward=True)
    pair_case(PairShape(32, 32, 32, 32, 1), 600, backward=True, offset=3, extras=True)
    pair_case(PairShape(32, 32, 32, 32, 1), 600, backward=True, extra_pitch=8, extras=True)
    pair_case(PairShape(32, 32, 32, 32, 1), 600, backward=True, extra_pitch=5)


def pair_groups():
    square = PairShape(32, 32, 32, 32, 1)
    if sanitizer:
        pair_case(PairShape(16, 24, 17, 19, 1), 200, "float16", "gelu", extras=True, backward=True, cluster=1, room=1)
        pair_case(PairShape(24, 16, 16, 32, 1), 300, extras=True, backward=True, cluster=2, room=2)
        pair_case(PairShape(7, 5, 6, 9, 3), 141, activation="silu", extras=True, backward=True, cluster=2, room=1)
        pair_case(PairShape(24, 32, 24, 32, 1), 200, backward=True, cluster=2, room=2)
        pair_case(PairShape(24, 16, 16, 19, 1), 300, extras=True, backward=True, cluster=2, room=1, shares=2)
        pair_case(PairShape(200, 1, 1, 120, 24), 200, activation="gelu", extras=True, backward=True, room=2)
        return
    for rows in (1, 63, 64, 65, 1000):
        pair_case(square, rows, "float16" if rows % 2 else "bfloat16", backward=rows > 4, cluster=2, room=1)
    for cluster in (2, 4, 8):
        for room in (1, 2):
            pair_case(square, 8193, cluster=cluster, backward=True, extras=True, activation="gelu", room=room)
    pair_case(PairShape(16, 16, 16, 16, 1), 9000, backward=True, cluster=1, room=1)
    pair_case(PairShape(16, 16, 16, 16, 2), 9000, backward=True, extras=True, cluster=1, room=2)
    pair_case(PairShape(64, 64, 64, 64, 1), 5001, backward=True, room=1)
    pair_case(PairShape(64, 64, 64, 64, 1), 3001, "float16", "silu", extras=True, room=1)
    pair_case(PairShape(32, 64, 32, 64, 1), 4049, backward=True, activation="gelu_tanh", extras=True, room=1)
    pair_case(PairShape(32, 48, 32, 48, 1), 4049, backward=True, cluster=8, room=1)
    pair_case(PairShape(48, 64, 48, 64, 1), 2049, backward=True, room=2)
    pair_case(PairShape(24, 32, 24, 32, 1), 9049, backward=True, cluster=2, room=2)
    pair_case(PairShape(24, 32, 24, 32, 1), 2049, "float16", backward=True, cluster=8, room=1)
    pair_case(PairShape(32, 32, 32, 32, 2), 4000, backward=True, cluster=4, room=2)
    pair_case(PairShape(24, 32, 24, 32, 4), 3000, backward=True, cluster=8, room=1)
    pair_case(PairShape(64, 16, 16, 64, 4), 5000, backward=True, cluster=4, room=1)
    pair_case(PairShape(48, 16, 16, 48, 3), 5000, backward=True, cluster=2, room=2)
    pair_case(PairShape(96, 16, 16, 96, 6), 3000, backward=True, cluster=8, room=2)
    pair_case(PairShape(128, 16, 16, 128, 8), 3000, backward=True, cluster=8, room=1)
    pair_case(PairShape(16, 16, 16, 16, 16), 3000, backward=True, cluster=2, room=1)
    pair_case(PairShape(40, 30, 36, 28, 1), 777, backward=True, extras=True, cluster=2, room=1)
    pair_case(PairShape(7, 5, 6, 9, 3), 333, backward=True, extras=True, activation="silu", cluster=1, room=2)
    pair_case(PairShape(7, 5, 6, 9, 3), 333, backward=True, cluster=2, room=1)
    pair_case(PairShape(29, 13, 11, 31, 1), 333, backward=True, cluster=4, room=1)
    pair_case(PairShape(12, 4, 4, 50, 5), 257, backward=True, cluster=1, room=1)
    pair_case(PairShape(32, 48, 32, 48, 1), 9049, backward=True, cluster=4, room=1)
    pair_case(PairShape(32, 64, 32, 64, 1), 9049, "float16", backward=True, cluster=4, room=1)
    pair_case(PairShape(128, 16, 16, 128, 8), 3001, backward=True, cluster=8, room=2)
    pair_case(PairShape(64, 64, 64, 64, 2), 3001, backward=True, room=2, shares=4)
    pair_case(PairShape(64, 64, 64, 64, 2), 9001, "float16", "gelu", extras=True, room=1, shares=4)
    pair_case(PairShape(48, 64, 48, 64, 2), 5049, backward=True, room=2, shares=3)
    pair_case(PairShape(32, 64, 32, 64, 4), 4001, backward=True, room=1, shares=4)
    pair_case(PairShape(32, 48, 32, 48, 2), 9001, backward=True, cluster=4, room=1, shares=2)
    pair_case(PairShape(16, 16, 16, 16, 1), 9000, backward=True, extras=True, cluster=1, room=1, shares=4)
    pair_case(PairShape(7, 5, 6, 9, 3), 333, backward=True, extras=True, activation="silu", cluster=2, room=2, shares=3)
    for rows in (1, 64, 65, 127):
        pair_case(PairShape(32, 64, 32, 64, 2), rows, backward=True, room=1, shares=2)
    for rank, room in ((24, 1), (32, 2), (40, 2), (7, 1)):
        pair_case(PairShape(768, 1, 1, 768, rank), 9049, backward=True, room=room)
    for rows in (1, 63, 65):
        pair_case(PairShape(1024, 1, 1, 1024, 32), rows, "float16", "silu", extras=True, room=2)
    pair_case(PairShape(1000, 1, 1, 500, 17), 4000, activation="gelu", extras=True, backward=True, room=1)
    pair_case(PairShape(33, 1, 1, 29, 5), 333, backward=True, room=2)
    pair_case(PairShape(64, 1, 1, 96, 128), 777, "float16", backward=True, room=2)
    pair_case(PairShape(256, 1, 1, 384, 64), 600, backward=True, offset=3, extras=True, room=1)
    pair_case(square, 600, backward=True, offset=3, extras=True, cluster=2, room=1)
    pair_case(square, 600, backward=True, extra_pitch=8, extras=True, cluster=4, room=1)
    pair_case(square, 600, backward=True, extra_pitch=5, cluster=2, room=2)


def written():
    """Outputs of all l, put together by each warpgroup for itself: float32, and boxes and runs of 16 bits."""
    for pattern, elements in (((3, 100, 72, 1), ("float32",)), ((2, 128, 64, 1), ("float32", "bfloat16")), ((1, 88, 320, 1), ("float32",)),
                              ((2, 256, 64, 2), ("float32",)), ((3, 100, 52, 4), ("float32",)), ((2, 96, 70, 8), ("float32",)),
                              ((2, 96, 40, 16), ("bfloat16",)), ((1, 128, 96, 3), ("bfloat16", "float32"))):
        for element in elements:
            for number, (cluster, stationary) in enumerate(((1, True), (2, True), (1, False), (2, False))):
                choose = lambda plan: alone(plan) and plan.cluster == cluster and plan.stationary == stationary
                groups_case(pattern, 777, element, choose=choose)
                if number % 3 == 0:
                    groups_case(pattern, 333, "float16" if element == "bfloat16" else element, activation="gelu", extras=True, choose=choose)
                if element == "float32":
                    groups_case(pattern, 130, element, exact=True, choose=choose, plan_index=number)
            anywhere(pattern, alone, element, plan_index=5)


def main():
    if "--written" in sys.argv:
        written()
        return run()
    if "--pair-groups" in sys.argv:
        pair_groups()
        return run()
    if "--groups" not in sys.argv:
        pairs()
        factors()
        pair_groups()
    groups()
    run()


def run():
    for case in cases:
        case()
    print(f"{len(cases)} cases; worst error / allowed {worst[0]:.3f}; {len(failures)} failures")
    sys.exit(1 if failures else 0)


main()
