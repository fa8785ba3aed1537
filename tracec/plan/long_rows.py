"""Online statistics of rows that no block keeps on chip: pieces of a row first, then what the pieces come to.

A softmax takes the maximum of a row, then a sum of exponentials of what lies below it; a norm takes a mean, then
squares of what lies off it. A row that is too long to be kept would be read for each. So each piece of it, which is
kept, is reduced by its own maximum or mean, and the row's statistics follow from those of the pieces: with m the
maximum and s the sum of a piece, the row's sum is Σ s exp(m - M); with a the mean and q the sum of squares of its n
elements, the row's is Σ q + n (a - A)². Both are the graph's own reductions, which fuse with what feeds them and what
follows. How many pieces there are depends on sizes alone, and they are what spreads few rows over a GPU.

Source: Milakov, Gimelshein, "Online normalizer calculation for softmax", 2018; Chan, Golub, LeVeque, "Updating Formulae
and a Pairwise Algorithm for Computing Sample Variances", 1979.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tracec.ir import dtype as dt
from tracec.ir.extent import formula_key, is_varying, plain
from tracec.ir.graph import Graph
from tracec.ir.lower import Reduction
from tracec.ir.node import Node, is_constant, made_from
from tracec.ir.operator import OPERATORS
from tracec.ir.types import numel
from tracec.plan.clusters import stored_bytes
from tracec.plan.space import of_shape

#: Elements of a piece, about, and at most.
PIECE, LONGEST_PIECE = 1 << 13, 1 << 15
#: Elements of a row of 16-bit floats that a block holds as they are in memory, where it divides them evenly.
MOST_KEPT = 52 << 10
#: With fewer rows a GPU has blocks that do nothing, where each takes a row.
LEAST_ROWS = 128
#: Pieces of a row, at most: a block goes over what they come to.
MOST_PIECES = 1 << 12


def part_long_rows(graph: Graph, row_bytes: int, whole: Collection[object] = ()) -> Graph:
    """The same values, with statistics of rows of more than so many bytes taken from those of pieces.

    Args:
        graph: What to rewrite.
        row_bytes: Bytes of a row that a block keeps.
        whole: Rows that are left as they are, by `formula_key`.
    """
    found = {s.second: s for s in _statistics(graph, row_bytes) if _key(s.first) not in whole}
    if not found:
        return graph
    first = {s.first: s for s in found.values()}
    pieces: dict[Node, Node] = {}
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        operands = tuple(new.get(i, i) for i in node.inputs)
        with made_from(node.source, node.origin or "long rows"):
            if node in first:
                s = first[node]
                pieces[node], new[node] = s.of_pieces(operands[0])
            elif node in found:
                s = found[node]
                values, centre = new.get(s.values, s.values), new.get(s.centre, s.centre)
                new[node] = s.of_row(values, centre, pieces[s.first])
            else:
                new[node] = node.with_inputs(operands)
    return graph.with_outputs(tuple(new.get(o, o) for o in graph.outputs))


class _Statistics:
    """Two reductions of the same rows, the second of values from which the first one's result is taken off.

    Attributes:
        first: The maximum, or the sum.
        second: The sum of exponentials, or of squares.
        values: What both reduce.
        centre: What is taken off: the maximum, or zero for an infinite one; the mean.
        pieces: How many pieces a row has.
        length: Elements of a piece; the last one may lack some, where these are exponentials.
    """

    def __init__(self, first: Node, second: Node, values: Node, centre: Node, pieces: int, length: int) -> None:
        self.first, self.second, self.values, self.centre = first, second, values, centre
        self.pieces, self.length = pieces, length

    @property
    def _exponentials(self) -> bool:
        return self.first.op.name == "max"

    def of_pieces(self, values: Node) -> tuple[Node, Node]:
        """The first reduction of each piece, in a type that sums are taken in, and of the row."""
        parted = self._parted(values)
        each = self.first.op(parted, axes=(parted.ndim - 1,), keepdims=True)
        whole = self.first.op(each, axes=(parted.ndim - 2, parted.ndim - 1), keepdims=False)
        return each, _shaped(whole, self.first)

    def of_row(self, values: Node, centre: Node, each: Node) -> Node:
        """The second reduction of the row.

        Args:
            values: What is reduced.
            centre: What is taken off.
            each: The first reduction of each piece.
        """
        parted = self._parted(values)
        last = parted.ndim - 1
        centre = OPERATORS["reshape"](_as(centre, each.dtype), shape=(*parted.shape[: last - 1], 1, 1))
        if self._exponentials:
            # Of a piece of infinities alone zero is taken off, as a difference of infinities is no number.
            infinite = OPERATORS["eq"](OPERATORS["abs"](each), float("inf"))
            top = OPERATORS["where"](infinite, 0.0, each)
            sums = OPERATORS["sum"](OPERATORS["exp"](parted - top), axes=(last,), keepdims=True)
            terms = sums * OPERATORS["exp"](each - centre)
        else:
            mean = each * (1.0 / self.length)
            off, apart = parted - mean, mean - centre
            squares = OPERATORS["sum"](off * off, axes=(last,), keepdims=True)
            terms = squares + apart * apart * float(self.length)
        return _shaped(OPERATORS["sum"](terms, axes=(last - 1, last), keepdims=False), self.second)

    def _parted(self, values: Node) -> Node:
        """Rows as pieces."""
        axes = self.first.param("axes")
        lead, row = values.shape[: -len(axes)], numel(values.shape[-len(axes) :])
        values = OPERATORS["reshape"](_as(values, values.dtype.compute), shape=(*lead, row))
        missing = self.pieces * self.length - row
        if missing:
            low, high = (0,) * values.ndim, (*(0,) * (values.ndim - 1), missing)
            values = OPERATORS["pad"](values, low=low, high=high, value=float("-inf"))
        result: Node = OPERATORS["reshape"](values, shape=(*lead, self.pieces, self.length))
        return result


def _as(node: Node, dtype: dt.DType) -> Node:
    result: Node = node if node.dtype is dtype else OPERATORS["cast"](node, dtype=dtype)
    return result


def _shaped(whole: Node, like: Node) -> Node:
    """A row's result in the type and shape that it had."""
    result: Node = OPERATORS["reshape"](_as(whole, like.dtype), shape=like.shape)
    return result


def _key(first: Node) -> object:
    return formula_key(of_shape(first.inputs[0].shape, first.param("axes")).normal().extents)


def _statistics(graph: Graph, row_bytes: int) -> Iterator[_Statistics]:
    taken: set[Node] = set()
    for node in graph.nodes:
        found = _found(node, row_bytes) if node.op.name == "sum" else None
        if found is not None and found.first not in taken:
            taken.add(found.first)
            yield found


def _found(node: Node, row_bytes: int) -> _Statistics | None:
    """The statistics whose second reduction a sum is."""
    operand = node.inputs[0]
    square = operand.op.name == "mul" and operand.inputs[0] is operand.inputs[1]
    if operand.op.name != "exp" and not square:
        return None
    off = operand.inputs[0]
    if off.op.name != "sub" or off.dtype.kind != "f" or any(map(is_constant, off.inputs)):
        return None
    values, centre = off.inputs
    first = _total(centre, values) if square else _maximum(centre)
    if first is None or first.inputs[0] is not values or first.param("axes") != node.param("axes"):
        return None
    axes = node.param("axes")
    row = numel(values.shape[a] for a in axes)
    if axes != tuple(range(values.ndim - len(axes), values.ndim)) or is_varying(row) or not values.type.size:
        return None
    if _is_kept(values, row, row_bytes) or centre.type.size != first.type.size:
        return None
    length = _piece(row, whole=square)
    return _Statistics(first, node, values, centre, -(-row // length), length) if length else None


def _is_kept(values: Node, row: int, row_bytes: int) -> bool:
    """Whether a block keeps a row: what is computed of it, or where there are rows enough, what is in memory."""
    if row * values.dtype.compute.itemsize <= row_bytes:
        return True
    return stored_bytes(values) == 2 and is_held(values.type.size, row)


def is_held(size: int, row: int) -> bool:
    """Whether a block holds rows of 16-bit floats as they are in memory, of so many elements in all."""
    return row <= MOST_KEPT and row % 8 == 0 and size >= LEAST_ROWS * row


def _maximum(centre: Node) -> Node | None:
    """The maximum that is taken off, as it is or with zero in place of an infinity."""
    if centre.op.name == "where" and is_constant(centre.inputs[1]):
        centre = centre.inputs[2]
    return centre if centre.op.name == "max" and isinstance(centre.op.lower, Reduction) else None


def _total(centre: Node, values: Node) -> Node | None:
    """The sum whose mean is taken off."""
    if centre.op.name not in ("mul", "div") or not is_constant(centre.inputs[1]):
        return None
    total, factor = centre.inputs[0], float(centre.inputs[1].param("value"))
    if total.op.name != "sum" or total.inputs[0] is not values:
        return None
    count = numel(values.shape[a] for a in total.param("axes"))
    share = factor * count if centre.op.name == "mul" else factor / max(count, 1)
    return total if abs(share - 1) < 1e-6 else None


def _piece(row: int, *, whole: bool) -> int:
    """Elements of a piece; 0 where there must be none over and no number of pieces suits."""
    row = plain(row)
    wanted = max(PIECE, -(-row // MOST_PIECES))
    for count in sorted(range(-(-row // LONGEST_PIECE), row // (wanted // 4) + 1), key=lambda n: abs(n - row / wanted)):
        if count and row % count == 0 and row // count % 8 == 0:
            return row // count
    return 0 if whole else min(-(-wanted // 8) * 8, LONGEST_PIECE)
