"""Families of operators: constructors that supply the rules which all members share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tracec.errors import AxisError, DTypeError, GradientError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.lower import Elementwise, Index, LoadElement, Lowering, Pull, Reduction
from tracec.ir.node import is_constant
from tracec.ir.operator import OPERATORS, Arg, NotDifferentiable, Operator, Sample
from tracec.ir.scalar import Expr
from tracec.ir.types import Shape, TensorType, broadcast_shapes, numel, same
from tracec.ops.arrays import in_float32
from tracec.ops.base import primitive
from tracec.ops.core import expand, unbroadcast, zeros_like

Rule = Callable[..., Any]

#: Partial derivatives: of the only operand, or one for each.
Partials = Rule | tuple[Rule | NotDifferentiable | None, ...]

#: What operands may be: kinds of dtypes, their name in messages, dtypes to test with, and what to do about others.
_TAKES: dict[str, tuple[str, str, tuple[DType, ...], str]] = {
    "floats": ("f", "floats", (dt.float32, dt.float16, dt.bfloat16), "cast it to a floating dtype first"),
    "inexact": (
        "fc",
        "floats and complex numbers",
        (dt.float32, dt.float16, dt.bfloat16, dt.complex64),
        "cast it to a floating dtype first",
    ),
    "complex": ("c", "complex numbers", (dt.complex64,), "cast it to a complex dtype first"),
    "numbers": (
        "uifc",
        "numbers",
        (dt.float32, dt.bfloat16, dt.int32, dt.int8, dt.uint8, dt.complex64),
        "cast it to a number type",
    ),
    "real numbers": (
        "uif",
        "real numbers",
        (dt.float32, dt.bfloat16, dt.int32, dt.int8, dt.uint8),
        "cast it to a number type that is not complex, or take its .real",
    ),
    "integers": ("ui", "integers", (dt.int64, dt.int8, dt.uint32), "cast it to an integer dtype first"),
    "bits": ("bui", "integers and bools", (dt.int64, dt.uint8, dt.bool_), "cast it to an integer dtype first"),
    "anything": ("buifc", "anything", (dt.float32, dt.float16, dt.int64, dt.uint8, dt.bool_, dt.complex64), ""),
    "ordered": (
        "buif",
        "real numbers and bools",
        (dt.float32, dt.float16, dt.int64, dt.uint8, dt.bool_),
        "complex numbers have no order: compare their .abs() or .real",
    ),
}


def check_dtype(x: TensorType, takes: str) -> None:
    """Refuse an operand whose dtype is not among those of that name."""
    kinds, words, _, hint = _TAKES[takes]
    if x.dtype.kind not in kinds:
        raise DTypeError(f"takes {words}, {x.dtype.short} given", hint=hint)


def check_same_dtype(types: Sequence[TensorType]) -> None:
    """Refuse operands of several dtypes."""
    first = types[0].dtype
    for t in types[1:]:
        if t.dtype is not first:
            raise DTypeError(
                f"operands have dtypes {first.short} and {t.dtype.short}", hint="cast one to the other's dtype"
            )


# Elementwise ------------------------------------------------------------------------------------------


def elementwise(
    name: str,
    *,
    eager: Rule,
    derivative: Partials | Modes | NotDifferentiable,
    takes: str = "floats",
    gives: DType | Callable[[DType], DType] | None = None,
    domain: tuple[float, float] | tuple[tuple[float, float], ...] = (-2.0, 2.0),
    lower: Lowering | None = None,
    samples: tuple[Sample, ...] = (),
    doc: str = "",
) -> Operator:
    """Define an operator that makes each element of elements at the same place, operands broadcast.

    Its Jacobian is diagonal, so its transpose is itself, and one rule gives forward and reverse mode.

    Args:
        name: Its name, also that of the scalar operation in kernels.
        eager: ``(xp, *arrays) -> array``; 16-bit floats are given as float32.
        derivative: ``(t, out, *inputs) -> Node``: t times the partial derivative; a tuple of them, one for each
            operand, where there are several. None: zero; `not_differentiable`: unknown. `Modes` where the two modes
            are not alike.
        takes: ``floats``, ``complex``, ``inexact`` (one of these), ``numbers``, ``real numbers``, ``integers``,
            ``bits`` (integers and bools), ``ordered`` (all that is not complex) or ``anything``.
        gives: The result's dtype, where that is not the operands', or a function from theirs to it.
        domain: Smallest and largest value to test with, or one such pair for each operand.
        lower: How kernels compute it, where that is not the scalar operation of its name.
        samples: Further samples; the family supplies some for every dtype class and for broadcasting.
        doc: What it computes.
    """
    arity = len(inspect.signature(eager).parameters) - 1
    ranges = domain if isinstance(domain[0], tuple) else (domain,) * arity

    kinds = _TAKES[takes][0]

    def type_rule(*types: TensorType) -> TensorType:
        first = types[0]
        dtype, shape = first.dtype, first.shape
        for t in types:
            if t.dtype.kind not in kinds:
                check_dtype(t, takes)
            if t.dtype is not dtype:
                check_same_dtype(types)
            # Scalars are common, and looked at no further. Sizes of others that differ in number are not compared.
            if t.shape and (len(t.shape) != len(shape) or t.shape != shape):
                shape = broadcast_shapes(*(u.shape for u in types)) if shape else t.shape
        if gives is not None:
            dtype = gives if isinstance(gives, DType) else gives(dtype)
        return first if dtype is first.dtype and shape is first.shape else TensorType(dtype, shape, first.device)

    vjp, jvp = diagonal(derivative)
    return primitive(
        name,
        family="special" if lower else "elementwise",
        type_rule=type_rule,
        eager=in_float32(eager),
        vjp=vjp,
        jvp=jvp,
        batch=lambda inputs, batched, size: OPERATORS[name](*aligned(inputs, batched)),
        lower=lower or Elementwise(name),
        samples=_elementwise_samples(takes, ranges) + samples,
        arity=arity,
        promotion="float" if takes in ("floats", "inexact") else "same",
        doc=doc,
    )


@dataclass(frozen=True, slots=True)
class Modes:
    """The derivative of a function of one operand that is not the product of t and a number, for each mode.

    Attributes:
        reverse: ``(ct, out, x) -> Node``.
        forward: ``(t, out, x) -> Node``.
    """

    reverse: Rule
    forward: Rule


def diagonal(
    derivative: Partials | Modes | NotDifferentiable,
) -> tuple[Rule | NotDifferentiable, Rule | NotDifferentiable]:
    """Reverse and forward mode of a map whose Jacobians are diagonal but for broadcasting."""
    if isinstance(derivative, NotDifferentiable):
        return derivative, derivative
    if isinstance(derivative, Modes):
        reverse, forward = derivative.reverse, derivative.forward
        return lambda ct, out, x: (reverse(ct, out, x),), lambda tangents, out, x: forward(tangents[0], out, x)
    partials = derivative if isinstance(derivative, tuple) else (derivative,)

    def vjp(ct: Any, out: Any, *inputs: Any) -> tuple[Any, ...]:
        return tuple(
            None if d is None or not _varies(x)
            else d if isinstance(d, NotDifferentiable)
            else unbroadcast(d(ct, out, *inputs), x.shape)
            for d, x in zip(partials, inputs, strict=True)
        )  # fmt: skip

    def jvp(tangents: Sequence[Any], out: Any, *inputs: Any) -> Any:
        terms = []
        for d, t in zip(partials, tangents, strict=True):
            if isinstance(d, NotDifferentiable):
                if t is not None:
                    raise GradientError(f"{out.op.name}: has no derivative: {d.reason}", hint="detach() that operand")
            elif d is not None and t is not None:
                terms.append(d(t, out, *inputs))
        if not terms:
            return zeros_like(out)
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return expand(total, shape=out.shape)

    return vjp, jvp


def _varies(x: Any) -> bool:
    return bool(x.dtype.is_differentiable) and not is_constant(x)


def aligned(inputs: Sequence[Any], batched: Sequence[bool]) -> list[Any]:
    """Operands such that batches meet at axis 0 when the operands are broadcast."""
    ndim = max(x.ndim - b for x, b in zip(inputs, batched, strict=True))
    result = []
    for x, b in zip(inputs, batched, strict=True):
        missing = ndim + 1 - x.ndim
        if b and missing:
            x = OPERATORS["reshape"](x, shape=(x.shape[0], *(1,) * missing, *x.shape[1:]))
        result.append(x)
    return result


def all_batched(inputs: Sequence[Any], batched: Sequence[bool], size: int) -> list[Any]:
    """Operands with a batch each: those without one are repeated."""
    return [
        x if b else OPERATORS["expand"](x, shape=(size, *x.shape)) for x, b in zip(inputs, batched, strict=True)
    ]  # fmt: skip


def _elementwise_samples(takes: str, ranges: tuple[tuple[float, float], ...]) -> tuple[Sample, ...]:
    _, _, dtypes, _ = _TAKES[takes]
    precise = dt.float64 if dt.float32 in dtypes else dt.complex128 if dt.complex64 in dtypes else dt.int64
    dtypes = (dt.complex128, *dtypes) if dt.complex64 in dtypes else dtypes
    shapes: tuple[tuple[tuple[int, ...], ...], ...] = (((2, 3, 5),), ((),), ((0, 3),))
    if len(ranges) == 2:
        shapes = (((2, 3), (2, 3)), ((4, 1, 3), (5, 1)), ((), (3,)), ((3,), ()), ((), ()), ((0, 3), (1, 3)))
    cases = [(precise, s) for s in shapes] + [(d, ((7,),) * len(ranges)) for d in dtypes]
    return tuple(Sample(tuple(map(arg, s, (d,) * len(s), ranges))) for d, s in cases)


def arg(shape: Shape, dtype: DType, limits: tuple[float, float]) -> Arg:
    """An operand to test with; unsigned ones are not negative, and integers go a little further than floats."""
    low, high = limits
    if dtype.kind in "iu":
        low, high = (max(low, 0) if dtype.kind == "u" else low) * 3, high * 3
    return Arg(shape, dtype, low, high)


# Views ------------------------------------------------------------------------------------------------


def view(
    name: str,
    *,
    type_rule: Callable[..., TensorType],
    eager: Rule,
    element: Callable[..., Expr],
    vjp: Rule,
    batch: Rule,
    samples: tuple[Sample, ...],
    jvp: Rule | None = None,
    arity: int | None = 1,
    doc: str = "",
) -> Operator:
    """Define an operator whose elements are elements of its operand, at other places.

    It is linear, so that the tangent of the result is the operator of the operand's tangent.

    Args:
        name: Its name.
        type_rule: ``(*types, **params) -> TensorType``.
        eager: ``(xp, *arrays, **params) -> array``.
        element: ``(load, index, out_type, input_types, **params) -> Expr``: an element of the operand, or a literal.
        vjp: ``(ct, out, *operands, **params) -> tuple`` of gradients.
        batch: ``(inputs, batched, size, **params) -> Node``.
        samples: Sample inputs.
        jvp: ``(tangents, out, *operands, **params) -> Node``, where there are several operands.
        arity: Number of operands; None for any.
        doc: One sentence for users.
    """
    return primitive(
        name,
        family="view",
        type_rule=type_rule,
        eager=eager,
        vjp=vjp,
        jvp=jvp or (lambda tangents, out, x, **params: OPERATORS[name](tangents[0], **params)),
        batch=batch,
        lower=Pull(element, view=True),
        samples=samples,
        arity=arity,
        promotion="same" if arity is None else "none",
        doc=doc,
    )


# Reductions -------------------------------------------------------------------------------------------


def reduction(
    name: str,
    *,
    eager: Rule,
    combine: str,
    vjp: Rule,
    jvp: Rule,
    takes: str,
    empty: bool = True,
    samples: tuple[Sample, ...] = (),
    doc: str = "",
) -> Operator:
    """Define an operator that combines all elements along some axes into one.

    Args:
        name: Its name.
        eager: ``(xp, x, axes, keepdims) -> array``; 16-bit floats are given as float32.
        combine: What combines two elements: one of `tracec.ir.kernel.COMBINES`.
        vjp: ``(ct, out, x, axes) -> Node``, where ct and out keep the reduced axes, with size 1.
        jvp: ``(t, out, x, axes) -> Node``, where out and the result keep the reduced axes.
        takes: As in `elementwise`.
        empty: Whether there may be nothing to combine.
        samples: Further samples.
        doc: What it computes.
    """

    def type_rule(x: TensorType, *, axes: Shape, keepdims: bool = False) -> TensorType:
        check_dtype(x, takes)
        return reduced_type(x, axes, keepdims, empty)

    def run(xp: Any, x: Any, *, axes: Shape, keepdims: bool) -> Any:
        return eager(xp, x, tuple(axes), keepdims)

    def reverse(ct: Any, out: Any, x: Any, *, axes: Shape, keepdims: bool) -> tuple[Any, ...]:
        return (vjp(kept(ct, x, axes), kept(out, x, axes), x, axes),)

    def forward(tangents: Sequence[Any], out: Any, x: Any, *, axes: Shape, keepdims: bool) -> Any:
        result = jvp(tangents[0], kept(out, x, axes), x, axes)
        return result if keepdims else _reshaped(result, out.shape)

    return primitive(
        name,
        family="reduction",
        type_rule=type_rule,
        eager=in_float32(run),
        vjp=reverse,
        jvp=forward,
        batch=lambda inputs, batched, size, *, axes, keepdims: OPERATORS[name](
            inputs[0], axes=tuple(a + 1 for a in axes), keepdims=keepdims
        ),
        lower=Reduction(combine, _reduced_extents, _reduced_element, axes=lambda types, *, axes, keepdims: axes),
        samples=_reduction_samples(takes, empty) + samples,
        arity=1,
        promotion="none",
        doc=doc,
    )


def reduced_type(x: TensorType, axes: Shape, keepdims: bool, empty: bool) -> TensorType:
    """The type of what is left when axes are reduced."""
    for axis in axes:
        if not 0 <= axis < x.ndim:
            raise AxisError(
                f"axis {axis} is out of range for shape {x.shape}",
                hint=f"count axes from the front, from 0 to {x.ndim - 1}" if x.ndim else "a scalar has no axes",
            )
    if list(axes) != sorted(set(axes)):
        raise AxisError(f"axes {tuple(axes)} are not distinct and in order", hint="name each axis once, in order")
    if not empty and not numel(x.shape[a] for a in axes):
        axis = next(a for a in axes if x.shape[a] == 0)
        raise ShapeError(
            f"shape {x.shape} has nothing to reduce (axis {axis} has size 0)", hint="there is no identity to give"
        )
    if keepdims:
        return x.with_shape(1 if a in axes else size for a, size in enumerate(x.shape))
    return x.with_shape(size for a, size in enumerate(x.shape) if a not in axes)


def kept(reduced: Any, x: Any, axes: Shape) -> Any:
    """A reduction of x over axes, with these axes kept at size 1."""
    return _reshaped(reduced, tuple(1 if a in axes else size for a, size in enumerate(x.shape)))


def _reshaped(x: Any, shape: Shape) -> Any:
    return x if same(x.shape, shape) else OPERATORS["reshape"](x, shape=shape)


def _reduced_extents(types: tuple[TensorType, ...], *, axes: Shape, keepdims: bool) -> Shape:
    return tuple(types[0].shape[a] for a in axes)


def _reduced_element(
    load: LoadElement,
    index: Index,
    reduced: Index,
    out: TensorType,
    types: tuple[TensorType, ...],
    *,
    axes: Shape,
    keepdims: bool,
) -> Expr:
    left = iter(e for a, e in enumerate(index) if not (keepdims and a in axes))
    inner = iter(reduced)
    return load(0, tuple(next(inner if a in axes else left) for a in range(types[0].ndim)))


def _reduction_samples(takes: str, empty: bool) -> tuple[Sample, ...]:
    f64 = dt.float64

    def sample(shape: Shape, axes: Shape, dtype: DType = f64, keepdims: bool = False) -> Sample:
        return Sample((arg(shape, dtype, (-2.0, 2.0)),), {"axes": axes, "keepdims": keepdims})

    nothing = (sample((0,), (0,)), sample((3, 0), (1,), dt.float32)) if empty else ()
    return (
        sample((2, 3, 5), (1,)),
        sample((2, 3, 5), (0, 2), keepdims=True),
        sample((7,), (0,)),
        sample((), ()),
        sample((3, 4), ()),
        sample((3, 1), (1,), keepdims=True),
        sample((0, 3), (1,)),
        *nothing,
        *(sample((4, 7), (1,), d) for d in _TAKES[takes][2]),
    )
