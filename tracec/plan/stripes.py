"""Rows and columns in one kernel: a block walks a stripe of rows and keeps sums of their columns on the way.

The gradient of a norm reads its operands for sums of each row, and again for sums of each column: of weight and bias.
Where rows come in stripes, as the first step of a split column sum has them, both are computed as the rows go by. What
a stripe's columns sum to is written once, and summed up by the second step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracec.ir import index as ix
from tracec.ir.extent import is_varying, like
from tracec.ir.graph import Graph
from tracec.ir.lower import Index, Reduction
from tracec.ir.node import Node
from tracec.ir.types import numel
from tracec.plan.space import FULL, ROW, Space, of_shape, reduced_shape

if TYPE_CHECKING:
    from tracec.plan.partition import Group

#: A group of rows with sums of columns; and the level of the latter, with an element for each column of a stripe.
STRIPE, COLUMN = "stripe", "column"
#: Fewer stripes leave multiprocessors idle, and of fewer rows their sums are as much memory as the rows.
LEAST_STRIPES, LEAST_ROWS = 128, 8
#: About so many stripes: four blocks for each of an H100's multiprocessors.
STRIPES = 528
#: Rows of fewer elements are one thread's, and with fewer elements in all they stay in a cache.
SHORTEST, FEWEST = 33, 1 << 19
#: Words of a stripe's sums that threads have registers for, next to what they have read of a row.
MOST_WORDS, LONGEST = 1 << 14, 1 << 13


def rows_of(space: Space) -> tuple[int, int] | None:
    """How many rows there are and of how many elements, where a space in normal form reduces contiguous rows."""
    if space.reduced != (False, True):
        return None
    rows, row = space.extents
    return rows, row


def columns_of(space: Space) -> tuple[int, int, int] | None:
    """Stripes, rows of each and their elements, where a space in normal form reduces the columns of each stripe."""
    if space.reduced != (False, True, False):
        return None
    stripes, rows, row = space.extents
    return stripes, rows, row


def striped(a: Group, b: Group) -> tuple[Space, int] | str:
    """The rows and the number of stripes that two groups of reductions have in common, or why there are none."""
    wanted = [_parted(g) for g in (a, b)]
    if None in wanted:
        return "they are no rows and columns"
    (space_a, stripes_a), (space_b, stripes_b) = wanted  # type: ignore[misc]
    if not all(like(x, y) for x, y in zip(space_a.extents, space_b.extents, strict=True)):
        return "rows and columns are of other elements"
    if stripes_a and stripes_b and not like(stripes_a, stripes_b):
        return "columns are summed over other rows"
    stripes = stripes_a or stripes_b
    rows, row = space_a.extents
    if is_varying((stripes, rows, row)):
        return "how many stripes suit hangs on sizes that vary"
    if not are_enough(stripes, rows):
        return f"{stripes} stripes of {rows // stripes} rows would leave multiprocessors idle"
    if row < SHORTEST or rows * row < FEWEST:
        return "few elements stay in a cache"
    sums = [n for g in (a, b) for n in g.nodes if isinstance(n.op.lower, Reduction) and _is_column(n, g)]
    words = row * max((n.dtype.compute.itemsize // 4 for n in sums), default=1)
    if words > LONGEST or len(sums) * words > MOST_WORDS:
        return f"sums of {len(sums)}×{row} columns do not fit the registers of a block"
    return space_a, stripes


def _parted(group: Group) -> tuple[Space, int] | None:
    """A group's rows and their stripes, 0 where these are open."""
    if rows_of(group.space) is not None:
        return group.space, group.stripes
    found = columns_of(group.space)
    if found is None or not all(_sums_columns(n) for n in group.nodes if group.level[n] != FULL):
        return None
    stripes, rows, row = found
    return Space((stripes * rows, row), (False, True)), stripes


def _sums_columns(node: Node) -> bool:
    return isinstance(node.op.lower, Reduction) and node.op.lower.combine == "add"


def _is_column(node: Node, group: Group) -> bool:
    return group.level[node] == COLUMN or columns_of(group.space) is not None


def levels(group: Group) -> dict[Node, str]:
    """The levels of a group's members among rows in stripes."""
    if columns_of(group.space) is None:
        return group.level
    return {n: COLUMN if level == ROW else level for n, level in group.level.items()}


def rows_in(graph: Graph) -> set[tuple[int, int]]:
    """How many rows of how many elements the reductions of a graph reduce."""
    found = set()
    for node in graph.nodes:
        if isinstance(node.op.lower, Reduction):
            rows = rows_of(of_shape(*reduced_shape(node)).normal())
            if rows is not None and not is_varying(rows):
                found.add(rows)
    return found


def stripes_for(rows: int, row: int) -> int:
    """About how many stripes rows are best parted into, so that sums of columns go with them; 0 for none."""
    if not SHORTEST <= row <= LONGEST or rows * row < FEWEST:
        return 0
    wanted = min(STRIPES, rows // LEAST_ROWS)
    return wanted if wanted >= LEAST_STRIPES else 0


def are_enough(stripes: int, rows: int) -> bool:
    """Whether stripes keep a GPU busy, and are of more than a few rows."""
    return bool(stripes >= LEAST_STRIPES and rows >= LEAST_ROWS * stripes)


def column_index(node: Node, space: Space, stripes: int) -> tuple[Index, Index]:
    """A column sum's output index and reduced index in the loop variables of rows in stripes."""
    shape, axes = reduced_shape(node)
    kept_shape = tuple(s for i, s in enumerate(shape) if i not in axes)
    red_shape = tuple(s for i, s in enumerate(shape) if i in axes)
    outer, inner = space.parted(stripes)
    assert numel(kept_shape) == stripes * space.row
    kept = ix.flatten((*outer, *space.reduced_vars), tuple(v.extent for v in (*outer, *space.reduced_vars)))
    within = ix.flatten(inner, tuple(v.extent for v in inner))
    return ix.reshape(ix.unflatten(kept, kept_shape), kept_shape, node.shape), ix.unflatten(within, red_shape)
