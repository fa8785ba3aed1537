"""How an operator becomes part of a kernel: the record that its ``lower`` field holds.

Each describes one output element in terms of elements of the operands, so that fusing is substitution (a pull array).
``load(k, index)`` stands for the element of operand k at a multi-index.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tracec.ir.scalar import Expr
from tracec.ir.types import Shape, TensorType

Index = tuple[Expr, ...]
LoadElement = Callable[[int, Index], Expr]


@dataclass(frozen=True, slots=True)
class Elementwise:
    """``out[i] = scalar(x[i], y[i], …)``, operands broadcast.

    Attributes:
        scalar: A name of `tracec.ir.kernel.SCALAR_OPS`.
    """

    scalar: str


@dataclass(frozen=True, slots=True)
class Pull:
    """``out[i]`` is an expression over operands at indices computed from i: views, gathers, generators.

    Attributes:
        element: ``(load, index, out_type, input_types, **params) -> Expr``.
        view: Every element is an element of operand 0, or a literal: moving it costs no arithmetic.
    """

    element: Callable[..., Expr]
    view: bool = False


@dataclass(frozen=True, slots=True)
class Reduction:
    """``out[i] = combine over r of element(i, r)``.

    Attributes:
        combine: A name of `tracec.ir.kernel.COMBINES`.
        extents: ``(input_types, **params) -> Shape``: sizes of the reduced loops.
        element: ``(load, index, reduced, out_type, input_types, **params) -> Expr``.
        axes: ``(input_types, **params) -> axes of operand 0`` where the element is operand 0 with the reduced
            indices put in at these axes; None for other reductions.
    """

    combine: str
    extents: Callable[..., Shape]
    element: Callable[..., Expr]
    axes: Callable[..., Shape] | None = None


@dataclass(frozen=True, slots=True)
class ContractionSpec:
    """``out[i] = sum over r of a(i, r) * b(i, r)``, a over one operand and b over the other.

    Attributes:
        extents: ``(input_types, **params) -> Shape``: sizes of the reduced loops.
        factors: ``(load, index, reduced, out_type, input_types, **params) -> (a, b)``.
        groups: ``(input_types, out_type, **params) -> (batch, m, n)``: output axes by what they index
            (both operands, only a, only b).
        blocks: ``(input_types, out_type, **params) -> {axis: blocks}``: output axes that go through blocks one after
            the other, as channels through the groups of a convolution. Which block it is indexes both operands, the
            place within the block what ``groups`` says of the axis.
    """

    extents: Callable[..., Shape]
    factors: Callable[..., tuple[Expr, Expr]]
    groups: Callable[..., tuple[Shape, Shape, Shape]]
    blocks: Callable[..., dict[int, int]] = lambda inputs, out, **params: {}


@dataclass(frozen=True, slots=True)
class Scan:
    """A running combination along one axis, which the parameter ``axis`` names."""

    combine: str


@dataclass(frozen=True, slots=True)
class Scatter:
    """Starts from operand 0 and writes (or adds) operand 1's elements at computed positions, in order.

    Attributes:
        position: ``(load, index of operand 1, input_types, **params) -> multi-index of operand 0``.
            Operands from 2 on hold the index arrays.
        add: ``(**params) -> bool``: accumulate rather than overwrite.
    """

    position: Callable[..., Index]
    add: Callable[..., bool]


@dataclass(frozen=True, slots=True)
class Library:
    """Runs as a routine of the target's runtime (``argsort``), or eagerly where the target has none."""

    routine: str


@dataclass(frozen=True, slots=True)
class HostCall:
    """Computed by its eager rule, as a call out of the compiled program: NumPy on the CPU, CuPy on a GPU."""


@dataclass(frozen=True, slots=True)
class Structured:
    """Runs bodies, which are planned by themselves: a loop or a branch between kernels."""


@dataclass(frozen=True, slots=True)
class Decompose:
    """Rewritten into other operators before fusion.

    Attributes:
        build: ``(*nodes, **params) -> Node``.
    """

    build: Callable[..., Any]


Lowering = (
    Elementwise | Pull | Reduction | ContractionSpec | Scan | Scatter | Library | HostCall | Structured | Decompose
)


def input_types(node: Any) -> tuple[TensorType, ...]:
    """The types of a node's operands."""
    return tuple(i.type for i in node.inputs)
