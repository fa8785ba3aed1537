"""A region of a graph as a loop over slices: what an axis of one value is in the others, and the loop's body."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from tracec.ir import dtype as dt
from tracec.ir.body import Body
from tracec.ir.extent import is_varying, like, plain
from tracec.ir.graph import Graph
from tracec.ir.lower import Elementwise, Library, Reduction, input_types
from tracec.ir.node import Node, constant, input_node, is_constant, made_from
from tracec.ir.operator import OPERATORS
from tracec.ir.types import Shape
from tracec.ops.loops import ScanParams
from tracec.ops.packing import take
from tracec.plan.structured import PACK_BYTES

#: Families of what is cheaper to compute in each run than to read.
CHEAP = frozenset({"elementwise", "view"})
#: How many times larger a value is than one that is small beside it.
SMALL = 8
#: Random words of one counter: where slices begin.
WORDS = 4
#: Views that are taken of slices rather than cut themselves.
_VIEWS = frozenset({"transpose", "reshape", "expand"})

#: Axis of each value that is cut; None for those of which each run reads all.
Axes = dict[Node, "int | None"]


# Axes -------------------------------------------------------------------------------------------------


def operand_axes(node: Node, axis: int) -> tuple[int | None, ...] | None:
    """Which axis of each operand an axis of a result is; None for those that do not have it.

    Returns:
        None where a slice of the result cannot be had from slices of the operands.
    """
    lower = node.op.lower
    if isinstance(lower, Library):
        return None
    match node.op.name:
        case "dot":
            last = node.ndim - axis
            return (axis, axis) if last > 2 else (axis, None) if last == 2 else (None, axis)
        case "transpose":
            return (node.param("perm")[axis],)
        case "reshape":
            return _found(_same_axis(node.shape, node.inputs[0].shape, axis))
        case "iota":
            return () if node.param("axis") != axis else None
        case "random_bits":
            return (None,) if axis < 2 or _is_first(node.shape, axis) else None
    if isinstance(lower, Elementwise) or node.op.name == "expand":
        places = tuple(axis - (node.ndim - i.ndim) for i in node.inputs)
        if any(k >= 0 and is_varying(i.shape[k]) for i, k in zip(node.inputs, places, strict=True)):
            return None  # it is 1 or the same, and nothing says which
        return tuple(
            k if k >= 0 and i.shape[k] == node.shape[axis] else None for i, k in zip(node.inputs, places, strict=True)
        )
    if isinstance(lower, Reduction) and lower.axes is not None and len(node.inputs) == 1:
        (x,) = node.inputs
        gone = set(lower.axes(input_types(node), **dict(node.params)))
        kept = [a for a in range(x.ndim) if x.ndim == node.ndim or a not in gone]
        return (kept[axis],)
    return None


def _found(axis: int | None) -> tuple[int] | None:
    return None if axis is None else (axis,)


def _is_first(shape: Shape, axis: int) -> bool:
    """Whether slices along an axis lie one behind the other."""
    return all(type(n) is int and n == 1 for n in shape[:axis])


def _same_axis(shape: Shape, other: Shape, axis: int) -> int | None:
    """The axis of another shape of the same elements that counts the same."""
    before = prod(shape[:axis])
    return next((a for a, n in enumerate(other) if like(n, shape[axis]) and like(prod(other[:a]), before)), None)


def _multiple(shape: Shape) -> int:
    """What the number of elements is a multiple of, whatever sizes vary."""
    return prod(n for n in shape if type(n) is int)


def propagate_axis(region: Iterable[Node], users: Mapping[Node, list[Node]], seed: Node, axis: int) -> Axes | None:
    """The axes that an axis of one value means of the others of a region and of their operands; None for conflicts."""
    inside, size = set(region), seed.shape[axis]
    axes: Axes = {seed: axis}
    waiting = [seed]

    def conflicts(node: Node, axis: int | None) -> bool:
        if node in axes:
            return axes[node] != axis
        axes[node] = axis
        if axis is not None:
            waiting.append(node)
        return False

    while waiting:
        node = waiting.pop()
        own = axes[node]
        assert own is not None
        if node in inside:
            operands = operand_axes(node, own)
            if operands is None or any(
                conflicts(i, a) for i, a in zip(node.inputs, operands, strict=True) if not is_constant(i)
            ):
                return None
        for user in users.get(node, ()):
            if user in inside and ((out := _result_axis(user, node, own, size)) is None or conflicts(user, out)):
                return None
    return axes


def _result_axis(node: Node, operand: Node, axis: int, size: int) -> int | None:
    """The axis of a result that an axis of an operand is."""
    for out, n in enumerate(node.shape):
        found = operand_axes(node, out) if type(n) is int and n == size else None
        if found is not None and any(i is operand and a == axis for i, a in zip(node.inputs, found, strict=True)):
            return out
    return None


# Loops ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Region:
    """A region and how it is cut.

    Attributes:
        nodes: What each run computes, in order.
        axes: The axis along which each is cut, and each operand.
        size: What that axis counts.
        count: How many of them one run has.
        results: Those that are read outside.
    """

    nodes: tuple[Node, ...]
    axes: Axes
    size: int
    count: int
    results: tuple[Node, ...]

    @property
    def runs(self) -> int:
        return self.size // self.count

    def is_cut(self, node: Node) -> bool:
        return self.axes.get(node) is not None

    def is_even(self) -> bool:
        """Whether each slice begins where packs of elements, and words of one counter, begin."""
        read = [i for n in self.nodes for i in n.inputs if self.is_cut(i)]
        drawn = [n for n in self.nodes if n.op.name == "random_bits" and self.is_cut(n)]
        packs = all(_multiple(self.slice_shape(n)) * n.dtype.itemsize % PACK_BYTES == 0 for n in (*read, *self.results))
        return packs and all(map(self.counters, drawn))

    def counters(self, node: Node) -> tuple[int, int] | None:
        """How many counters of random bits a slice has, and are between its parts; None where words are left over."""
        axis = self.axes[node]
        assert axis is not None
        rest = node.shape[axis + 1 :]
        if is_varying(rest) or self.count * prod(rest) % WORDS or self.size * prod(rest) % WORDS:
            return None
        gap = 0 if _is_first(node.shape, axis) else self.size - self.count
        return self.count * prod(rest) // WORDS, gap * prod(rest) // WORDS

    def slice_shape(self, node: Node) -> Shape:
        """The shape of a slice."""
        axis = self.axes[node]
        assert axis is not None
        return (*node.shape[:axis], self.count, *node.shape[axis + 1 :])


def with_views(cut: list[Node], axes: Axes) -> list[Node]:
    """The same with the views that operands are: a run cuts what they look at, and nothing is moved for it."""
    inside = set(cut)
    found: list[Node] = []

    def visit(node: Node) -> None:
        axis = axes.get(node)
        if axis is None or node in inside or node.op.name not in _VIEWS or is_constant(node.inputs[0]):
            return
        (x,) = node.inputs
        within = operand_axes(node, axis)
        if within is None or within[0] is None or axes.get(x, within[0]) != within[0]:
            return
        inside.add(node)
        axes[x] = within[0]
        visit(x)
        found.append(node)

    for node in cut:
        for i in node.inputs:
            visit(i)
    return [*found, *cut]


def shared(cut: list[Node], axes: Axes) -> list[Node]:
    """What is the same for all slices and cheaper to compute in each run than to read, such as who sees whom."""
    found: dict[Node, None] = {}

    def visit(node: Node) -> bool:
        if is_constant(node) or node in found:
            return True
        cheap = node.op.name == "iota" or node.op.family in CHEAP
        if axes.get(node) is not None or not cheap or node.op.name == "input":
            return False
        if not all(visit(i) or plain(i.type.size) * SMALL <= plain(node.type.size) for i in node.inputs):
            return False
        found[node] = None
        return True

    for node in cut:
        for i in node.inputs:
            visit(i)
    return list(found)


def as_loop(region: Region) -> dict[Node, Node]:
    """The results of a region, each taken out of what a loop gives."""
    states = {n: _states(region, n) for n in region.nodes if n.op.name == "random_bits" and region.is_cut(n)}
    operands = _operands(region, states)
    scanned = [x for x in operands if region.is_cut(x)]
    others = [x for x in operands if not region.is_cut(x)]
    new: dict[Node, Node] = {x: input_node(x.type.with_shape(region.slice_shape(x)), "", x.source) for x in scanned}
    drawn = {n: input_node(x.type.with_shape(x.shape[1:])) for n, x in states.items()}
    shared = {x: input_node(x.type, "", x.source) for x in others}
    inputs = (*new.values(), *drawn.values(), *shared.values())
    new |= shared
    for node in region.nodes:
        found = (drawn[node],) if node in drawn else tuple(i if is_constant(i) else new[i] for i in node.inputs)
        new[node] = _narrowed(region, node, found)
    body = Body(Graph(inputs, tuple(new[r] for r in region.results), "slice"))
    loop = ScanParams(body, 0, len(scanned) + len(drawn), region.runs)
    with made_from(region.nodes[-1].source, "slices"):
        slices = [_stacked(region, x) for x in scanned]
        packed = OPERATORS["scan"](*slices, *states.values(), *others, **loop._asdict())
        parts = zip(region.results, loop.results.parts, strict=True)
        return {r: _whole(region, r, take(packed, part)) for r, part in parts}


def _states(region: Region, node: Node) -> Node:
    """The states of random bits of each slice: parts of one array."""
    counters = region.counters(node)
    assert counters is not None
    state, runs, (step, gap) = node.inputs[0], region.runs, counters
    with made_from(node.source, "slices"):
        words = state.type.size
        rows = OPERATORS["expand"](OPERATORS["reshape"](state, shape=(1, words)), shape=(runs, words))
        run = OPERATORS["iota"](shape=(runs, 1), axis=0, dtype=dt.int64, device=node.device)
        one = run.type.with_shape(())
        first = OPERATORS["mul"](run, constant(step, one))
        jump = OPERATORS["expand"](constant(gap, one), shape=(runs, 1))
        if words > 2:  # it is a part itself
            before, apart = (OPERATORS["slice"](rows, starts=(0, k), stops=(runs, k + 1), steps=(1, 1)) for k in (2, 3))
            if region.axes[node] == 0:
                before = OPERATORS["add"](
                    before, OPERATORS["mul"](OPERATORS["mul"](run, constant(region.count, one)), apart)
                )
            first, jump = OPERATORS["add"](first, before), OPERATORS["add"](jump, apart)
            rows = OPERATORS["slice"](rows, starts=(0, 0), stops=(runs, 2), steps=(1, 1))
        return OPERATORS["concatenate"](rows, first, jump, axis=1)  # type: ignore[no-any-return]


def _operands(region: Region, states: Iterable[Node]) -> list[Node]:
    """What is read from outside, but for the states of random bits that are cut."""
    inside, drawn = set(region.nodes), set(states)
    read = (i for n in region.nodes if n not in drawn for i in n.inputs)
    return list(dict.fromkeys(i for i in read if i not in inside and not is_constant(i)))


def _narrowed(region: Region, node: Node, inputs: tuple[Node, ...]) -> Node:
    """A node over slices of its operands."""
    if not region.is_cut(node):
        return node.with_inputs(inputs)
    params: dict[str, Any] = dict(node.params)
    if "shape" in params:
        params["shape"] = region.slice_shape(node)
    type_ = node.type.with_shape(region.slice_shape(node))
    return replace(node, inputs=inputs, params=tuple(params.items()), type=type_)


def _stacked(region: Region, x: Node) -> Node:
    """An operand with its slices one behind the other: what a run reads lies in one piece."""
    axis = region.axes[x]
    assert axis is not None
    moved = x
    if not _is_first(x.shape, axis):
        shape = (*x.shape[:axis], region.runs, region.count, *x.shape[axis + 1 :])
        moved = OPERATORS["reshape"](x, shape=shape)
        moved = OPERATORS["transpose"](moved, perm=(axis, *(a for a in range(len(shape)) if a != axis)))
    return OPERATORS["reshape"](moved, shape=(region.runs, *region.slice_shape(x)))  # type: ignore[no-any-return]


def _whole(region: Region, node: Node, stacked: Node) -> Node:
    """The inverse of `_stacked`."""
    axis = region.axes[node]
    assert axis is not None
    moved = stacked
    if not _is_first(node.shape, axis):
        moved = OPERATORS["transpose"](stacked, perm=(*range(1, axis + 1), 0, *range(axis + 1, node.ndim + 1)))
    return OPERATORS["reshape"](moved, shape=node.shape)  # type: ignore[no-any-return]
