"""Nodes that a target runs as library routines, and how their operands lie in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from tracec.ir import index as ix
from tracec.ir.dtype import DType
from tracec.ir.extent import plain
from tracec.ir.graph import Graph
from tracec.ir.kernel import Const, Var
from tracec.ir.lower import ContractionSpec, Library, Structured
from tracec.ir.node import Node, is_constant, is_input
from tracec.ir.plan import Structure
from tracec.ir.types import contiguous_strides
from tracec.plan.alike import Alike
from tracec.plan.inline import is_view
from tracec.plan.reads import Reader

#: Whether a matrix product is to run as a routine, by the routine's parameters.
Gemm = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True, eq=False)
class Within:
    """A step that runs bodies, before memory is planned.

    Attributes:
        step: The step; in place of values it names the routine's operands by number.
        scratch: Memory for what the bodies need.
    """

    step: Structure
    scratch: Node

    def placed(self, operands: tuple[int, ...], output: int, scratch: int) -> Structure:
        """The step over values."""
        inputs = tuple(-1 if k < 0 else operands[k] for k in self.step.inputs)
        return replace(self.step, inputs=inputs, output=output, scratch=scratch)


@dataclass(frozen=True, slots=True)
class Routine:
    """A routine's name, the nodes whose memory it reads, its parameters, operands elsewhere, and what it repeats."""

    name: str
    operands: tuple[Node, ...]
    params: tuple[tuple[str, Any], ...]
    literals: tuple[tuple[int, Any, DType], ...] = ()
    within: Within | None = None


@dataclass(frozen=True, eq=False)
class Call:
    """A library routine before memory is planned."""

    routine: Routine
    node: Node

    def reads(self) -> list[Node]:
        return list(self.routine.operands)

    def writes(self) -> list[Node]:
        return [self.node] if self.routine.within is None else [self.node, self.routine.within.scratch]


@dataclass(frozen=True, slots=True)
class _Matrix:
    """A matrix in memory: which node, whether its rows are the stored columns, and its strides in elements."""

    node: Node
    transposed: bool
    leading: int
    batch: tuple[int, ...]
    offset: int


def by_size(least: Mapping[DType, int]) -> Gemm:
    """Products of these element types, from so many multiplications on."""

    def wanted(params: Mapping[str, Any]) -> bool:
        size = plain(prod(params["batch"]) * params["m"] * params["n"] * params["k"])
        return params["dtype"] in least and size >= least[params["dtype"]]

    return wanted


def no_gemm(params: Mapping[str, Any]) -> bool:
    """No product at all."""
    return False


def find_routines(
    graph: Graph, inlined: dict[Node, int], gemm: Gemm, structured: Callable[[Node, dict[Node, int]], Routine | None],
    alike: Alike,
) -> dict[Node, Routine]:  # fmt: skip
    """The nodes to run as routines. Operands that a routine cannot read in place leave ``inlined``.

    Args:
        graph: The graph.
        inlined: Nodes that are computed where they are read.
        gemm: Which matrix products to run so.
        structured: Plans a node that runs bodies; None where its eager rule is to run.
        alike: What was found for nodes like these before.
    """
    found: dict[Node, Routine] = {}
    for node in graph.nodes:
        if isinstance(node.op.lower, Structured) and (routine := structured(node, inlined)) is not None:
            found[node] = routine
        elif isinstance(node.op.lower, (Library, Structured)):
            for operand in node.inputs:
                inlined.pop(operand, None)
            found[node] = _whole(node, getattr(node.op.lower, "routine", "eager"))
        elif node.op.name == "dot" and isinstance(node.op.lower, ContractionSpec):
            routine = _gemm(node, inlined, gemm, alike)
            if routine is not None:
                found[node] = routine
    return found


def _whole(node: Node, name: str) -> Routine:
    """The routine that does what an operator does, of its operands as they are."""
    operands: list[Node] = []
    literals: list[tuple[int, Any, DType]] = []
    for k, i in enumerate(node.inputs):
        if is_constant(i):
            literals.append((k, i.param("value"), i.dtype))
        elif not i.type.size:  # which no step writes
            literals.append((k, i.shape, i.dtype))
        else:
            operands.append(i)
    return Routine(name, tuple(operands), node.params, tuple(literals))


def _gemm(node: Node, inlined: dict[Node, int], gemm: Gemm, alike: Alike) -> Routine | None:
    a, b = node.inputs
    if is_constant(a) or is_constant(b):
        return None
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    if 0 in node.shape or k == 0 or node.dtype.kind != "f":
        return None
    batch = node.shape[:-2]
    left, right = _matrix(a, inlined, alike) or _written(a), _matrix(b, inlined, alike) or _written(b)
    params: tuple[tuple[str, Any], ...] = (
        ("batch", batch), ("m", m), ("n", n), ("k", k), ("a_batch", left.batch), ("b_batch", right.batch),
        ("trans_a", left.transposed), ("trans_b", right.transposed), ("lda", left.leading), ("ldb", right.leading),
        ("a_offset", left.offset), ("b_offset", right.offset), ("dtype", node.dtype),
    )  # fmt: skip
    if not gemm(dict(params)):
        return None
    for operand, matrix in ((a, left), (b, right)):
        if matrix.node is operand:
            inlined.pop(operand, None)
    return Routine("gemm", (left.node, right.node), params)


def _written(node: Node) -> _Matrix:
    """The operand written to memory first, row by row."""
    batch = contiguous_strides(node.shape)[:-2]
    return _Matrix(node, False, max(node.shape[-1], 1), tuple(batch), 0)


def lies_in(node: Node, inlined: dict[Node, int]) -> tuple[Node, int] | None:
    """The value in memory that a value is a whole piece of, and the elements in front; None where it is no such."""
    if node not in inlined:
        return node, 0
    found = _strides(node, inlined)
    if found is None:
        return None
    source, steps, offset = found
    rows = contiguous_strides(node.shape)
    fits = all(size == 1 or step == row for size, step, row in zip(node.shape, steps, rows, strict=True))
    return (source, offset) if fits else None


def _strides(node: Node, inlined: dict[Node, int]) -> tuple[Node, list[int], int] | None:
    """The value in memory that a value is a view of, how far the view's axes move in it, and where it begins."""
    if not _pure_view(node, inlined):
        return None
    axes = [Var(f"i{k}", s) for k, s in enumerate(node.shape)]
    at = tuple(Const(0) if v.extent == 1 else v for v in axes)
    reader = Reader(inlined)
    reader.read(node, at)
    if len(reader.found) != 1:
        return None
    source, index = reader.found[0]
    flat = ix.flatten(index, source.shape)
    terms, offset = ix.terms_of(flat)
    if any(not isinstance(t, Var) or c < 0 for t, c in terms.items()):
        return None
    return source, [terms.get(v, 0) for v in axes], offset


def _matrix(node: Node, inlined: dict[Node, int], alike: Alike) -> _Matrix | None:
    """How a matrix lies in the memory of the value that it is a view of; None where it does not lie in one."""
    traced, place = alike.traced((node,), inlined, {node: node in inlined})

    def strides() -> tuple[int, list[int], int] | None:
        found = _strides(node, inlined)
        return None if found is None else (place[found[0]], *found[1:])

    found = alike.find(("strides", traced), strides)
    if found is None:
        return None
    at, (*batch, row, column), offset = found
    source = list(place)[at]
    rows, columns = node.shape[-2:]
    if (column == 1 or columns == 1) and (row >= columns or rows == 1):
        return _Matrix(source, False, max(row, columns, 1), tuple(batch), offset)
    if (row == 1 or rows == 1) and (column >= rows or columns == 1):
        return _Matrix(source, True, max(column, rows, 1), tuple(batch), offset)
    return None


def _pure_view(node: Node, inlined: dict[Node, int]) -> bool:
    while node in inlined:
        if not is_view(node) or node.op.name not in ("reshape", "transpose", "expand", "slice"):
            return False
        (node,) = node.inputs
        if is_constant(node):
            return False
    return True


def alias_of(node: Node, routines: dict[Node, Routine]) -> Node:
    """The node whose memory a reshape of a routine's result can share; the node itself where there is none."""
    source = node
    while source not in routines and source.op.name == "reshape":
        if is_input(source.inputs[0]) or is_constant(source.inputs[0]):
            break
        source = source.inputs[0]
    return source if source in routines else node
