"""Split reductions: many elements to few in two steps, partial results side by side and then their combination.

Both steps are reductions of the graph, so that what feeds the first and what follows the second fuse with them as
with any other. How many parts there are depends on sizes alone, never on the machine: sums round the same everywhere.
"""

from __future__ import annotations

from collections.abc import Collection

from tracec.ir.extent import chosen, formula_key, is_varying, pin, plain
from tracec.ir.graph import Graph
from tracec.ir.kernel import identity
from tracec.ir.lower import Reduction
from tracec.ir.node import Node, is_constant, made_from
from tracec.ir.operator import OPERATORS
from tracec.ir.types import numel
from tracec.plan.parts import dividing
from tracec.plan.space import Space, of_shape
from tracec.plan.stripes import rows_in, stripes_for

#: With few cores, a reduction to fewer rows than this is split,
FEW_ROWS = 8
#: when its rows have this many elements,
LARGE = 1 << 16
#: into this many parts.
PARTS = 256

#: On a GPU a block reduces a row, or this many neighbouring columns: 128 bytes of each line.
COLUMNS = 32
#: (blocks, elements of each block's share): with fewer blocks, of larger shares, a reduction is split. One block
#: reads some 60 bytes a nanosecond: half of an H100's 132 multiprocessors use its memory's bandwidth, and with fewer a
#: share of 256 KB takes longer than another launch. Rows of 4 MB are split even where there are many, so that all
#: blocks end together; what several loops over such rows read again does not stay in a cache either way.
LARGE_SHARES = ((64, 1 << 16), (132, 1 << 18), (528, 1 << 20))
#: A part is no smaller than this, which hides the cost of its combination.
SMALLEST_PART = 1 << 13
#: Parts of one result, which are combined without a launch of their own (`tracec.codegen.cuda_joined`), are smaller as
#: long as there are fewer than multiprocessors.
SMALLEST_OF_ONE, FEW_PARTS = 1 << 11, 128
#: Rows of fewer columns are taken several at a time, so that neighbouring threads read neighbouring elements.
FOLDED_COLUMNS = 64
#: Partial results for each result.
MOST_PARTIALS = 4096


def split_reductions(graph: Graph, blocks: int, whole: Collection[object] = ()) -> Graph:
    """Reduce many elements to few in two steps.

    Args:
        graph: What to rewrite.
        blocks: Blocks that fill a GPU; 0: there are a few cores.
        whole: Rows whose reductions are left as they are, by `formula_key`.
    """
    rows = rows_in(graph) if blocks else set()

    def split(node: Node) -> Node:
        lower = node.op.lower
        if not isinstance(lower, Reduction) or lower.axes is None or is_constant(node.inputs[0]):
            return node
        with made_from(node.source, node.origin or "split reduction"):
            return _split_for_blocks(node, lower, blocks, rows, whole) if blocks else _split_for_cores(node, lower)

    return graph.map(split)


# -- a few cores --------------------------------------------------------------------------------------------


def _split_for_cores(node: Node, lower: Reduction) -> Node:
    operand, axes = node.inputs[0], node.param("axes")
    row = numel(operand.shape[a] for a in axes)
    if plain(row) < LARGE or plain(node.type.size) >= FEW_ROWS:
        return node
    lead = operand.ndim - len(axes)
    if tuple(sorted(axes)) != tuple(range(lead, operand.ndim)):
        return node
    rows = _reshape(operand, (*operand.shape[:lead], row))
    parts = _in_parts(rows, lead, PARTS, 1, lower)
    first = node.op(parts, axes=(lead + 1, lead + 2), keepdims=False)
    return _reshape(node.op(first, axes=(lead,), keepdims=False), node.shape)


# -- a GPU's blocks -----------------------------------------------------------------------------------------


def _split_for_blocks(node: Node, lower: Reduction, fill: int, rows: set[object], whole: Collection[object]) -> Node:
    operand, axes = node.inputs[0], node.param("axes")
    space = of_shape(operand.shape, axes).normal()
    if not space.total or not space.has_reduction:
        return node
    if space.reduced[-1] and formula_key(space.extents) in whole:
        return node
    if stripes := _stripes(node, lower, space, rows):
        return _two_steps(node, lower, space, 0, stripes, 1)
    inner = 1 if space.reduced[-1] else space.extents[-1]
    blocks = space.kept // inner * -(-inner // COLUMNS)
    share = space.total // blocks
    if not any(share >= large and blocks < most for most, large in LARGE_SHARES):
        return node
    reduced = [k for k, r in enumerate(space.reduced) if r]
    fold = 1 << (-(-FOLDED_COLUMNS // inner) - 1).bit_length() if 1 < inner < COLUMNS else 1
    if is_varying(operand.shape) and len(reduced) == 1 and not is_varying(space.kept):
        (at,) = reduced
        fold = fold if fold <= space.extents[at] // 2 else 1
        return _two_steps(node, lower, space, at, _open_parts(space, at, blocks, fill, fold), fold)
    for size in operand.shape:
        pin(size)  # how many parts there are depends on each
    parts = min(-(-fill // blocks), _most_parts(space, share))
    if 1 < fold <= space.extents[reduced[-1]] // 2:
        parts, at = min(parts, MOST_PARTIALS // fold), reduced[-1]
    else:
        fold = 1
        wide = [k for k in reduced if space.extents[k] >= parts]
        at = wide[0] if wide else max(reduced, key=space.extents.__getitem__)
    parts = min(parts, space.extents[at] // fold)
    if parts < 2:
        return node
    parts = dividing(parts, fold, _axes_of(operand.shape, axes, at)) or parts
    return _two_steps(node, lower, space, at, parts, fold)


def _open_parts(space: Space, at: int, blocks: int, fill: int, fold: int) -> int:
    """How many parts the loop number ``at`` has, whose extent varies from call to call; so do the parts."""
    each = space.kept // blocks

    def choose(extent: int) -> int:
        parts = min(-(-fill // blocks), _most_parts(space, extent * each), extent // fold)
        parts = max(1, min(parts, MOST_PARTIALS // fold) if fold > 1 else parts)
        return dividing(parts, fold, (extent,)) or parts

    return chosen("parts", choose, space.extents[at])


def _most_parts(space: Space, share: int) -> int:
    """Into how many parts a block's share may be split."""
    parts = share // SMALLEST_PART
    return max(parts, min(share // SMALLEST_OF_ONE, FEW_PARTS)) if space.kept == 1 else parts


def _stripes(node: Node, lower: Reduction, space: Space, rows: set[object]) -> int:
    """Into how many stripes the rows are parted that are also reduced themselves; 0 where they are not."""
    if space.reduced != (True, False) or lower.combine != "add" or formula_key(space.extents) not in rows:
        return 0
    count, row = space.extents
    return stripes_for(count, row, max(node.dtype.compute.itemsize // 4, 1))


def _two_steps(node: Node, lower: Reduction, space: Space, at: int, parts: int, fold: int) -> Node:
    """A reduction of parts of the loop number ``at``, and of their results."""
    operand = node.inputs[0]
    reduced = [k for k, r in enumerate(space.reduced) if r]
    if node.dtype.compute is not node.dtype and lower.combine in ("add", "mul"):
        operand = OPERATORS["cast"](operand, dtype=node.dtype.compute)  # partial results are not rounded
    rows = _in_parts(_reshape(operand, space.extents), at, parts, fold, lower)
    # Axes from the split one on have moved: (…, parts, elements, fold, …).
    inside = tuple(k if k < at else k + 1 if k == at else k + 2 for k in reduced)
    first = node.op(rows, axes=inside, keepdims=True)
    whole = node.op(first, axes=(at, at + 2), keepdims=False)
    return _reshape(OPERATORS["cast"](whole, dtype=node.dtype) if whole.dtype is not node.dtype else whole, node.shape)


def _axes_of(shape: tuple[int, ...], axes: tuple[int, ...], at: int) -> tuple[int, ...]:
    """Sizes of the axes that the loop number ``at`` of a normal space walks along."""
    runs: list[list[int]] = []
    before: bool | None = None
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        if (axis in axes) is not before:
            runs.append([])
        before = axis in axes
        runs[-1].append(size)
    return tuple(runs[at])


def _in_parts(rows: Node, at: int, parts: int, fold: int, lower: Reduction) -> Node:
    """An axis as three: parts, elements of a part, those taken together; what is missing is filled."""
    extent, shape = rows.shape[at], rows.shape
    length = -(-extent // (parts * fold))
    missing = parts * length * fold - extent
    if is_varying(missing) or missing:
        high = tuple(missing if k == at else 0 for k in range(rows.ndim))
        fill = identity(lower.combine, rows.dtype)
        rows = OPERATORS["pad"](rows, low=(0,) * rows.ndim, high=high, value=fill)
    return _reshape(rows, (*shape[:at], parts, length, fold, *shape[at + 1 :]))


def _reshape(node: Node, shape: tuple[int, ...]) -> Node:
    result: Node = node if node.shape == shape else OPERATORS["reshape"](node, shape=shape)
    return result
