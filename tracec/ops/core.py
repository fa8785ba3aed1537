"""Leaves of the graph, and constants spread over a shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracec.errors import ArgumentError, DTypeError, GradientError
from tracec.ir import dtype as dt
from tracec.ir import node as nodes
from tracec.ir.dtype import DType
from tracec.ir.node import Node
from tracec.ir.operator import OPERATORS, Operator, Sample, not_differentiable
from tracec.ir.types import Shape, TensorType, same
from tracec.ops.base import primitive

Number = bool | int | float | complex


def _input_type(*, name: str = "") -> TensorType:
    raise GradientError("an input is given from outside, so its type cannot be worked out")


def _input_eager(xp: Any, *, name: str) -> Any:
    raise GradientError(f"input {name}: an input is given from outside, so it cannot be computed")


input = primitive(
    "input",
    family="core",
    type_rule=_input_type,
    eager=_input_eager,
    vjp=not_differentiable("an input depends on nothing"),
    batch=lambda inputs, batched, size, **params: None,
    lower=None,
    samples=(),
    arity=0,
    promotion="none",
    doc="A value given from outside; made with `tracec.ir.input_node`.",
)


def _constant_type(*, value: Number, dtype: DType | None = None, device: str = "cpu") -> TensorType:
    chosen = dtype or dt.of_scalar(value)
    if isinstance(value, complex):
        if not chosen.is_complex:
            raise DTypeError(f"the complex number {value} does not fit in {chosen.name}", hint="use a complex dtype")
    elif chosen.kind in "iu":
        low, high = int(np.iinfo(chosen.numpy).min), int(np.iinfo(chosen.numpy).max)
        if not low <= value <= high:
            raise ArgumentError(
                f"the number {value} does not fit in {chosen.name}", hint=f"it holds integers from {low} to {high}"
            )
    return TensorType(chosen, (), device)


def _constant_eager(xp: Any, *, value: Number, dtype: DType | None = None, device: str = "cpu") -> Any:
    return xp.asarray(value, dtype=(dtype or dt.of_scalar(value)).numpy)


constant: Operator = primitive(
    "constant",
    family="core",
    type_rule=_constant_type,
    eager=_constant_eager,
    vjp=lambda ct, out, **params: (),
    batch=lambda inputs, batched, size, **params: expand(constant(**params), shape=(size,)),
    lower=None,
    samples=(
        Sample((), {"value": 2.5}),
        Sample((), {"value": -3, "dtype": dt.int32}),
        Sample((), {"value": True}),
        Sample((), {"value": 0.1, "dtype": dt.bfloat16}),
        Sample((), {"value": 1.0 - 0.5j}),
    ),
    arity=0,
    promotion="none",
    doc="A scalar known when the graph is made.",
)


def expand(x: Any, *, shape: Shape) -> Any:
    """The primitive of that name, or x itself where it has the shape already."""
    return x if same(x.shape, shape) else OPERATORS["expand"](x, shape=shape)


def full(value: Number, shape: Shape, dtype: DType, device: str = "cpu") -> Any:
    """A tensor of one value, or a node of one where nodes are being built; it takes no memory."""
    return expand(constant(value=value, dtype=dtype, device=device), shape=tuple(shape))


def full_like(x: Any, value: Number) -> Any:
    """One value in the shape and dtype of x."""
    if isinstance(x, Node):
        return expand(nodes.constant(value, x.type), shape=x.shape)
    return full(value, x.shape, x.dtype, str(x.device))


def zeros_like(x: Any) -> Any:
    """Zeros in the shape and dtype of x."""
    return full_like(x, 0)


def ones_like(x: Any) -> Any:
    """Ones in the shape and dtype of x."""
    return full_like(x, 1)


def unbroadcast(ct: Any, shape: Shape) -> Any:
    """The cotangent of an operand of this shape, of that of what it was broadcast to: summed over the copies."""
    if same(ct.shape, shape):
        return ct
    lead = ct.ndim - len(shape)
    stretched = [lead + i for i, size in enumerate(shape) if size == 1 and ct.shape[lead + i] != 1]
    axes = (*range(lead), *stretched)
    summed = OPERATORS["sum"](ct, axes=axes, keepdims=bool(stretched))
    return summed if same(summed.shape, shape) else OPERATORS["reshape"](summed, shape=shape)
