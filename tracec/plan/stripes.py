"""Row and column reductions in one kernel: a block walks a stripe of rows and keeps sums of their columns on the way.

As fused backward kernels of layer norm are written by hand. The gradient of a norm reads its operands for sums of each
row, and again for sums of each column: of weight and bias. Where the rows are parted into stripes, as the first step of
a split column sum has them, both are computed as the rows go by. What a stripe's columns sum to is written once, and
summed up by the second step. The last stripe may have fewer rows than the others: any number of rows has stripes, and
one that varies from call to call too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracec.ir import index as ix
from tracec.ir.extent import chosen, formula_key, is_varying, like, plain
from tracec.ir.graph import Graph
from tracec.ir.kernel import Expr, Var
from tracec.ir.lower import Index, Reduction
from tracec.ir.node import Node
from tracec.ir.types import Shape, numel
from tracec.plan.space import FULL, ROW, Space, of_shape, reduced_shape

if TYPE_CHECKING:
    from tracec.plan.group import Group

#: A group of rows with sums of columns; and the level of the latter, with an element for each column of a stripe.
STRIPE, COLUMN = "stripe", "column"
#: Fewer stripes leave multiprocessors idle, and of fewer rows their sums are as much memory as the rows.
LEAST_STRIPES, LEAST_ROWS = 128, 8
#: Nearly so many stripes: four blocks for each of an H100's multiprocessors.
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
    if is_varying(row):
        return "the sums of columns that vary in number have no place on chip"
    if STRIPE not in (a.kind, b.kind):  # else it was found to be so before
        if is_varying((stripes, rows)):
            return "how many stripes suit depends on sizes that vary"
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


def rows_in(graph: Graph) -> set[object]:
    """How many rows of how many elements the reductions of a graph reduce, as `formula_key` has them."""
    found: set[object] = set()
    for node in graph.nodes:
        if isinstance(node.op.lower, Reduction):
            rows = rows_of(of_shape(*reduced_shape(node)).normal())
            if rows is not None:
                found.add(formula_key(rows))
    return found


def stripes_for(rows: int, row: int, words: int) -> int:
    """How many stripes rows are best parted into, so that sums of columns go with them; 0 for none.

    Args:
        rows: How many rows there are; where that varies, so do the stripes.
        row: Elements of a row.
        words: 32-bit words of a column's sum.
    """
    if is_varying(row) or row < SHORTEST or row * words > LONGEST or rows * row < FEWEST:
        return 0
    return chosen("stripes", _stripes_for, rows) if rows >= LEAST_ROWS * LEAST_STRIPES else 0


def _stripes_for(rows: int) -> int:
    """Stripes of as many rows each, where nearly the wanted number of them has that; otherwise the last has fewer.

    Never more than wanted, which all are computed at a time: a few more would take as long again.
    """
    wanted = min(STRIPES, rows // LEAST_ROWS)
    even = next((n for n in range(wanted, 3 * wanted // 4, -1) if rows % n == 0), 0)
    return even if even and are_enough(even, rows) else -(-rows // -(-rows // wanted))


def are_enough(stripes: int, rows: int) -> bool:
    """Whether stripes keep a GPU busy, and are of more than a few rows."""
    return bool(stripes >= LEAST_STRIPES and rows >= LEAST_ROWS * stripes)


def uneven_sum(node: Node, rows: set[object]) -> tuple[Space, int] | None:
    """The rows whose columns a node sums up, and their stripes, of which the last lacks some rows or may lack them.

    Args:
        node: What may be such a sum, as `tracec.plan.split` makes them.
        rows: Those that reductions reduce too.
    """
    if node.op.name != "sum" or node.param("axes") != (1,):
        return None
    parted = node.inputs[0]
    padded = parted.inputs[0] if parted.op.name == "reshape" else parted
    if padded.op.name != "pad" or padded.ndim != 2:
        return None
    whole = padded.inputs[0]
    stripes = parted.shape[0]
    wide = max(node.dtype.compute.itemsize // 4, 1)
    if formula_key(whole.shape) not in rows or plain(stripes) != plain(
        stripes_for(whole.shape[0], whole.shape[1], wide)
    ):
        return None
    return Space(whole.shape, (False, True)), stripes


def rows_of_stripe(space: Space, stripes: int) -> int:
    """How many rows a stripe has, but for the last."""
    return -(-space.kept // stripes)


def column_index(node: Node, space: Space, stripes: int) -> tuple[Index, Index]:
    """A column sum's output index and reduced index in the loop variables of the rows that it sums up."""
    length = rows_of_stripe(space, stripes)
    stripe, within = ix.div(space.row_flat, length), ix.mod(space.row_flat, length)
    shape, axes = reduced_shape(node)
    red_shape = tuple(s for i, s in enumerate(shape) if i in axes)
    return sum_index(node, space, stripe, stripes), ix.unflatten(within, red_shape)


def sum_index(node: Node, space: Space, stripe: Expr, stripes: int) -> Index:
    """A column sum's output index for a stripe."""
    shape, axes = reduced_shape(node)
    kept_shape: Shape = tuple(s for i, s in enumerate(shape) if i not in axes)
    assert like(numel(kept_shape), stripes * space.row)
    columns = space.reduced_vars
    kept = ix.flatten((stripe, *columns), (stripes, *(v.extent for v in columns)))
    return ix.reshape(ix.unflatten(kept, kept_shape), kept_shape, node.shape)


def stripe_var(stripes: int) -> Var:
    """The loop over stripes."""
    return Var("p0", stripes)
