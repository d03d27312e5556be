"""Runs the barriers of Factors/PairGroups.cu, without its arithmetic, in random orders: a plan whose blocks would wait for one another
for ever, or go on before what they wait for has come, is found without a GPU.

usage: simulate_pair.py [SHAPES | COUNT]   (m0xm1xn0xn1xrank, comma-separated, or how many random ones; 200)
"""

import random
import sys
import types

sys.modules.setdefault("torch", types.ModuleType("torch"))

from factors import PairShape, ceil_div, pair_groups_candidates

STEPS = 7


class Barrier:
    """An mbarrier: a phase ends when all arrivals and all announced bytes are there."""

    def __init__(self, count):
        self.count, self.pending, self.bytes, self.phase = count, count, 0, 0

    def arrive(self, announced=0):
        self.pending -= 1
        self.bytes += announced
        self.settle()

    def deliver(self, count):
        self.bytes -= count
        self.settle()

    def settle(self):
        assert self.pending >= 0, "more arrivals than a phase has"
        if self.pending == 0 and self.bytes == 0:
            self.pending, self.phase = self.count, self.phase + 1

    def wait(self, phase):
        """Waits for a phase as the kernel does, by its parity."""
        while self.phase % 2 == phase % 2:
            yield
        assert self.phase == phase + 1, f"waited for phase {phase}, {self.phase} are over"


class Block:
    def __init__(self, plan, keeps):
        c = plan.cluster
        self.full = [Barrier(1) for _ in range(plan.stages)]
        self.empty = [Barrier(plan.first_groups) for _ in range(plan.stages)]
        gathering = 1 if plan.low_rank else ceil_div(plan.inner, 8)
        self.full_z = [Barrier(gathering if c == 1 else 1) for _ in range(plan.z_units)]
        self.empty_z = [Barrier(c * ((1 if alternates(plan) else 3 - plan.first_groups) + keeps)) for _ in range(plan.z_units)]
        self.filled = [[Barrier(1) for _ in range(gathering)] for _ in range(plan.places)]
        self.emptied = [Barrier(c) for _ in range(plan.places)]


def alternates(plan):
    return plan.first_groups == 1 and plan.tasks == 1 and plan.z_units % 2 == 0


def copies(plan, block):
    for index in range(STEPS * plan.boxes):
        stage = index % plan.stages
        if index >= plan.stages:
            yield from block.empty[stage].wait(index // plan.stages - 1)
        yield
        block.full[stage].arrive()


def low_rank(plan, block):
    for step in range(STEPS):
        slot = step % plan.z_units
        for box in range(plan.boxes):
            index = step * plan.boxes + box
            yield from block.full[index % plan.stages].wait(index // plan.stages)
            if box > 0:
                block.empty[(index - 1) % plan.stages].arrive()
        block.empty[(step * plan.boxes + plan.boxes - 1) % plan.stages].arrive()
        if step >= plan.z_units:
            yield from block.empty_z[slot].wait(step // plan.z_units - 1)
        block.full_z[slot].arrive()


def first(plan, block, group):
    s, tiles = plan.shape, plan.group_tiles
    chunks, instructions = ceil_div(plan.inner, 8), 8 // plan.span
    splits = plan.first_groups == 2 and plan.tile_groups == 1
    mine = range(group, chunks, 2) if splits else range(chunks)
    ready, done = (block.empty_z, block.full_z) if plan.cluster == 1 else (block.emptied, block.filled)
    begin = lambda piece: piece * s.m0 // 16
    end = lambda piece: ceil_div((piece + 1) * s.m0, 16)

    def send(step, chunk, part):
        for index in range(tiles):
            tile = index * plan.tile_groups + group % plan.tile_groups
            if index * instructions // tiles != part:
                continue
            unit = step * plan.units + tile
            slot = unit % len(done)
            if chunk == mine[0] and unit >= len(done):
                yield from ready[slot].wait(unit // len(done) - 1)
            yield
            (done[slot] if plan.cluster == 1 else done[slot][chunk]).arrive()

    for step in range(STEPS):
        counts = {"arrived": 0, "released": 0}

        def wait_to(box):
            while counts["arrived"] < box:
                index = step * plan.boxes + counts["arrived"]
                yield from block.full[index % plan.stages].wait(index // plan.stages)
                counts["arrived"] += 1

        def release_to(box):
            while counts["released"] < box:
                yield from wait_to(counts["released"] + 1)
                block.empty[(step * plan.boxes + counts["released"]) % plan.stages].arrive()
                counts["released"] += 1

        for place, chunk in enumerate(mine):
            yield from release_to(begin(chunk * 8 // s.rank) // 4)
            for k in range(instructions):
                inner = chunk * 8 + k * plan.span
                piece = inner // s.rank
                if inner < plan.inner:
                    yield from wait_to((end(piece) - 1) // 4 + 1)
                if place > 0:
                    yield from send(step, mine[place - 1], k)
                elif step > 0:
                    yield from send(step - 1, mine[-1], k)
                if k > 0 and inner < plan.inner:
                    yield from release_to(begin(piece) // 4)
            yield from release_to(plan.boxes if chunk == mine[-1] else begin((chunk + 1) * 8 // s.rank) // 4)
    for k in range(instructions):
        yield from send(STEPS - 1, mine[-1], k)


def send_places(plan, cluster, block):
    for unit in range(STEPS * plan.units):
        slot, place = unit % plan.z_units, unit % plan.places
        if unit >= plan.z_units:
            yield from block.empty_z[slot].wait(unit // plan.z_units - 1)
        for filled in block.filled[place]:
            yield from filled.wait(unit // plan.places)
            for owner in cluster:
                owner.full_z[slot].deliver(plan.unit_pieces)
                yield


def receive(plan, cluster, block, keeps):
    alone = plan.cluster == 1
    if not alone:
        for slot in range(plan.z_units):
            block.full_z[slot].arrive(8 * ceil_div(plan.inner, 8))
    for unit in range(STEPS * plan.units):
        slot = unit % plan.z_units
        yield from block.full_z[slot].wait(unit // plan.z_units)
        if not alone:
            block.full_z[slot].arrive(8 * ceil_div(plan.inner, 8))
            for other in cluster:
                other.emptied[unit % plan.places].arrive()
                yield
        late = 1 if plan.z_units > (plan.units if alone and plan.inner > 8 else 2) else 0
        if keeps and unit >= late:
            for other in cluster:
                other.empty_z[(unit - late) % plan.z_units].arrive()
                yield


def second(plan, cluster, block, group):
    groups = 3 - plan.first_groups
    for unit in range(group if alternates(plan) else 0, STEPS * plan.units, groups if alternates(plan) else 1):
        slot = unit % plan.z_units
        yield from block.full_z[slot].wait(unit // plan.z_units)
        yield
        for other in cluster:
            other.empty_z[slot].arrive()


def simulate(plan, seed):
    keeps = seed % 2 == 1
    cluster = [Block(plan, keeps) for _ in range(plan.cluster)]
    agents = []
    for block in cluster:
        agents.append(copies(plan, block))
        if plan.cluster > 1:
            agents.append(send_places(plan, cluster, block))
        if plan.cluster > 1 or keeps:
            agents.append(receive(plan, cluster, block, keeps))
        for group in range(plan.first_groups):
            agents.append(low_rank(plan, block) if plan.low_rank else first(plan, block, group))
        agents += [second(plan, cluster, block, group) for group in range(3 - plan.first_groups)]
    order = random.Random(seed)
    idle = 0
    while agents:
        index = order.randrange(len(agents))
        before = state(cluster)
        for _ in range(order.choice((1, 1, 3, 30))):
            try:
                next(agents[index])
            except StopIteration:
                agents.pop(index)
                idle = 0
                break
        idle = 0 if state(cluster) != before else idle + 1
        assert idle < 4000 * plan.cluster, f"{len(agents)} wait for ever"


def state(cluster):
    return [(b.phase, b.pending, b.bytes) for block in cluster
            for group in (block.full, block.empty, block.full_z, block.empty_z, *block.filled, block.emptied) for b in group]


def shapes(argument):
    if "x" in argument:
        return [PairShape(*map(int, text.split("x"))) for text in argument.split(",")]
    draw = random.Random(1)
    result = []
    while len(result) < int(argument):
        size = lambda: draw.choice((1, 3, 4, 7, 8, 11, 16, 24, 31, 32, 33, 48, 64))
        wide = lambda: draw.choice((72, 96, 128, 160, 192, 256)) if draw.random() < 0.2 else size()
        shape = PairShape(wide(), size(), size(), wide(), draw.choice((1, 1, 1, 2, 3, 4, 6, 8, 12)))
        if draw.random() < 0.15:
            shape = PairShape(draw.choice((33, 96, 200, 768)), 1, 1, draw.choice((29, 64, 384)), draw.choice((5, 24, 40, 128)))
        if pair_groups_candidates(shape):
            result.append(shape)
    return result


def main():
    count = 0
    for shape in shapes(sys.argv[1] if len(sys.argv) > 1 else "200"):
        for plan in pair_groups_candidates(shape):
            try:
                simulate(plan, count)
            except AssertionError as error:
                sys.exit(f"{shape} {plan}: {error}")
            count += 1
    print(f"{count} plans, none waits for ever or goes on too early")


main()
