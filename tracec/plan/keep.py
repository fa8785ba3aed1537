"""Which values of a row stay on chip between the loops over it, and which are computed again."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tracec.ir.extent import plain
from tracec.ir.lower import Reduction
from tracec.ir.node import Node
from tracec.plan.group import Group
from tracec.plan.inline import operation_cost
from tracec.plan.space import FULL, Space
from tracec.plan.stripes import COLUMN

#: Where there is no other limit, values of a row are kept up to this many elements; a longer one is computed again.
MAX_SCRATCH = 8192
#: 32-bit words of a column that the threads of a block can keep in registers next to its neighbours.
MAX_COLUMN = 512
#: Worth keeping: what costs more than reading it back.
SCRATCH_COST = 10
#: Rows this short are unrolled while the loop over rows is vectorised.
SHORT_ROW = 32


def reduces_rows(node: Node, group: Group) -> bool:
    """Whether a member is a reduction of rows, rather than of columns."""
    return isinstance(node.op.lower, Reduction) and group.level[node] != COLUMN


def needed(group: Group, wanted: list[Node], full: list[Node], known: Collection[Node] = ()) -> list[Node]:
    """The full-level members that the wanted ones take, themselves included, operands first.

    What only the ``known`` ones take is left out.
    """
    members, found, stack = set(full), set(), list(wanted)
    while stack:
        node = stack.pop()
        if node in found:
            continue
        if node in members:
            found.add(node)
            if node in known:
                continue
        stack.extend(r for r in group.reads[node] if r in members)
    return [n for n in full if n in found]


def kept_on_chip(
    group: Group, space: Space, stage: Mapping[Node, int], full: list[Node], stored: Collection[Node], row_bytes: int
) -> set[Node]:
    """Full-level members worth a scratch row: costly, and needed by more than one loop; as many as there is room for.

    Args:
        group: A group of reductions.
        space: Its loops.
        stage: Member → how many loops over the row must have ended before it is known.
        full: Its members with an element for each point.
        stored: Members that are written to memory.
        row_bytes: Bytes of a row that there is room for, loads included; 0 where only what is costly is kept.
    """
    if not SHORT_ROW < plain(space.row) <= (row_bytes or MAX_SCRATCH):
        return set()
    cost = _costs(group, space, full, loads=row_bytes > 0)
    for least in sorted({SCRATCH_COST, *(c for c in cost.values() if c > SCRATCH_COST)}):
        kept = _worth_keeping(group, stage, full, {n for n in full if cost[n] >= least}, stored)
        if not kept:
            break
        most = row_bytes // sum(n.dtype.compute.itemsize for n in kept) if row_bytes else MAX_SCRATCH
        if plain(space.row) <= most:
            words = sum(max(n.dtype.compute.itemsize // 4, 1) for n in kept)
            if row_bytes and reduction_shape(space) == "column" and words * plain(space.row) > MAX_COLUMN:
                break
            # A condition on sizes that vary where it is kept, since it has to fit for all of them.
            return kept if space.row <= most else set()
    return set()


def _costs(group: Group, space: Space, full: list[Node], loads: bool) -> dict[Node, int]:
    """What an element of each full-level member costs to compute again; with loads or without."""
    cost: dict[Node, int] = {}
    for node in full:
        reads = group.reads[node]
        cost[node] = operation_cost(node) + sum(cost.get(r, 0) for r in reads)
        if loads:
            cost[node] += SCRATCH_COST * sum(r.type.size >= space.total for r in reads if r not in cost)
    return cost


def _worth_keeping(
    group: Group, stage: Mapping[Node, int], full: list[Node], costly: set[Node], stored: Collection[Node]
) -> set[Node]:
    """The costly ones that more than one loop needs, though what they are made of is computed where they are."""
    loops: dict[Node, set[int]] = {n: set() for n in full}
    for node in group.nodes:
        if reduces_rows(node, group):
            used_in = {stage[node]}
        elif group.level[node] == COLUMN or (node in stored and group.level[node] == FULL):
            used_in = {stage[node] + 1}
        else:
            continue
        for n in needed(group, [node], full):
            loops[n] |= used_in
    kept: set[Node] = set()
    for node in reversed(full):
        if len(loops[node]) > 1 and node in costly:
            kept.add(node)
            for below in needed(group, [node], full):  # what it was made from is needed only where it is made
                if below is not node:
                    loops[below] = {min(loops[below], default=1)} | _direct_uses(group, below, kept, stage)
    return kept


def _direct_uses(group: Group, node: Node, kept: set[Node], stage: Mapping[Node, int]) -> set[int]:
    """Loops in which members outside of ``kept`` read the node directly."""
    return {stage[u] + (not reduces_rows(u, group)) for u in group.nodes if node in group.reads[u] and u not in kept}


def reduction_shape(space: Space) -> str:
    if not any(not r for r in space.reduced):
        return "full"
    if plain(space.row) <= SHORT_ROW and plain(space.kept) > plain(space.row):
        return "column"
    return "row" if space.reduced[-1] else "column"
