"""Operators that move elements about and compute nothing."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Sequence
from typing import Any

from tracec.errors import ArgumentError, AxisError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir import index as ix
from tracec.ir.lower import Index, LoadElement
from tracec.ir.operator import Arg, Operator, Sample
from tracec.ir.scalar import Const, Expr
from tracec.ir.types import Shape, TensorType, numel, resolve_reshape
from tracec.ops.arrays import broadcast, is_channels_last
from tracec.ops.core import unbroadcast, zeros_like
from tracec.ops.families import all_batched, check_same_dtype, view

Types = tuple[TensorType, ...]
Inputs = tuple[Any, ...]


def _per_axis(x: TensorType, **params: Any) -> None:
    """Refuse parameters that do not have one value for each axis."""
    for name, values in params.items():
        if len(values) != x.ndim:
            raise ArgumentError(
                f"{name}={tuple(values)} does not fit shape {x.shape}", hint=f"give {x.ndim} values, one for each axis"
            )


# reshape ----------------------------------------------------------------------------------------------

reshape: Operator = view(
    "reshape",
    type_rule=lambda x, *, shape: x.with_shape(resolve_reshape(x.shape, shape)),
    eager=lambda xp, x, *, shape: x.reshape(shape),
    element=lambda load, index, out, types, *, shape: load(0, ix.reshape(index, out.shape, types[0].shape)),
    vjp=lambda ct, out, x, *, shape: (reshape(ct, shape=x.shape),),
    batch=lambda inputs, batched, size, *, shape: reshape(
        inputs[0], shape=(size, *resolve_reshape(inputs[0].shape[1:], shape))
    ),
    samples=(
        Sample((Arg((2, 3, 5), dt.float64),), {"shape": (6, 5)}),
        Sample((Arg((6, 5), dt.float64),), {"shape": (3, 1, 10)}),
        Sample((Arg((4, 6)),), {"shape": (-1, 3)}),
        Sample((Arg((1,)),), {"shape": ()}),
        Sample((Arg(()),), {"shape": (1, 1)}),
        Sample((Arg((0, 3)),), {"shape": (5, 0)}),
        Sample((Arg((7, 2), dt.bfloat16),), {"shape": (2, 7)}),
        Sample((Arg((8,), dt.bool_),), {"shape": (2, 2, 2)}),
    ),
    doc="The same elements, in row-major order, in another shape.",
)

# transpose --------------------------------------------------------------------------------------------


def _transpose_type(x: TensorType, *, perm: Shape) -> TensorType:
    if sorted(perm) != list(range(x.ndim)):
        raise AxisError(
            f"perm={tuple(perm)} does not name each axis of shape {x.shape} once",
            hint=f"give the numbers from 0 to {x.ndim - 1} in some order" if x.ndim else "a scalar takes perm=()",
        )
    return x.with_shape(x.shape[a] for a in perm)


def _inverse(perm: Shape) -> Shape:
    return tuple(sorted(range(len(perm)), key=perm.__getitem__))


transpose: Operator = view(
    "transpose",
    type_rule=_transpose_type,
    eager=lambda xp, x, *, perm: x.transpose(perm),
    element=lambda load, index, out, types, *, perm: load(0, tuple(index[a] for a in _inverse(perm))),
    vjp=lambda ct, out, x, *, perm: (transpose(ct, perm=_inverse(perm)),),
    batch=lambda inputs, batched, size, *, perm: transpose(inputs[0], perm=(0, *(a + 1 for a in perm))),
    samples=(
        Sample((Arg((2, 3), dt.float64),), {"perm": (1, 0)}),
        Sample((Arg((2, 3, 5), dt.float64),), {"perm": (2, 0, 1)}),
        Sample((Arg((2, 3, 1, 4)),), {"perm": (0, 2, 3, 1)}),
        Sample((Arg(()),), {"perm": ()}),
        Sample((Arg((0, 4)),), {"perm": (1, 0)}),
        Sample((Arg((3, 5), dt.int8, -9, 9),), {"perm": (1, 0)}),
    ),
    doc="The axes in another order: axis k of the result is axis ``perm[k]`` of x.",
)

# expand -----------------------------------------------------------------------------------------------


def _expand_type(x: TensorType, *, shape: Shape) -> TensorType:
    target = tuple(shape)
    if len(target) < x.ndim:
        raise ShapeError(f"shape {x.shape} does not expand to {target}, which has fewer axes", hint="reshape it first")
    for i, size in enumerate(x.shape):
        axis = len(target) - x.ndim + i
        if size not in (1, target[axis]):
            raise ShapeError(
                f"shape {x.shape} does not expand to {target} (axis {axis}: {size} vs {target[axis]})",
                hint="only axes of size 1 are repeated",
            )
    return x.with_shape(target)


def _expand_element(load: LoadElement, index: Index, out: TensorType, types: Types, *, shape: Shape) -> Expr:
    own = types[0].shape
    lead = out.ndim - len(own)
    return load(0, tuple(Const(0) if size == 1 else index[lead + i] for i, size in enumerate(own)))


def _expand_batch(inputs: Inputs, batched: tuple[bool, ...], size: int, *, shape: Shape) -> Any:
    x = inputs[0]
    missing = len(shape) + 1 - x.ndim
    if missing:
        x = reshape(x, shape=(size, *(1,) * missing, *x.shape[1:]))
    return expand(x, shape=(size, *shape))


expand: Operator = view(
    "expand",
    type_rule=_expand_type,
    eager=lambda xp, x, *, shape: broadcast(xp, x, shape),
    element=_expand_element,
    vjp=lambda ct, out, x, *, shape: (unbroadcast(ct, x.shape),),
    batch=_expand_batch,
    samples=(
        Sample((Arg((3, 1), dt.float64),), {"shape": (3, 4)}),
        Sample((Arg((2, 1, 3), dt.float64),), {"shape": (5, 2, 4, 3)}),
        Sample((Arg((3,)),), {"shape": (2, 3)}),
        Sample((Arg(()),), {"shape": (2, 2)}),
        Sample((Arg((3,)),), {"shape": (3,)}),
        Sample((Arg((1, 2)),), {"shape": (0, 2)}),
        Sample((Arg((1, 3), dt.float16),), {"shape": (5, 3)}),
        Sample((Arg((1,), dt.int64, -9, 9),), {"shape": (7,)}),
    ),
    doc="x repeated along new leading axes and along axes of size 1.",
)

# slice ------------------------------------------------------------------------------------------------


def _slice_type(x: TensorType, *, starts: Shape, stops: Shape, steps: Shape) -> TensorType:
    _per_axis(x, starts=starts, stops=stops, steps=steps)
    sizes = []
    for axis, (size, start, stop, step) in enumerate(zip(x.shape, starts, stops, steps, strict=True)):
        if not (0 <= start <= stop <= size and step > 0):
            raise ArgumentError(
                f"{start}:{stop}:{step} does not lie in shape {x.shape} (axis {axis}: size {size})",
                hint="give 0 <= start <= stop <= size and a step of at least 1",
            )
        sizes.append(-(-(stop - start) // step))
    return x.with_shape(sizes)


def _slice_eager(xp: Any, x: Any, *, starts: Shape, stops: Shape, steps: Shape) -> Any:
    return x[(*map(builtins.slice, starts, stops, steps), ...)]


def _slice_element(
    load: LoadElement, index: Index, out: TensorType, types: Types, *, starts: Shape, stops: Shape, steps: Shape
) -> Expr:
    return load(0, tuple(ix.add(ix.mul(i, step), start) for i, start, step in zip(index, starts, steps, strict=True)))


def _spread(x: Any, steps: Shape) -> Any:
    """Elements a step apart along each axis, zeros between them: size n becomes ``(n - 1) * step + 1``."""
    wide = [axis for axis, step in enumerate(steps) if step > 1]
    if not wide:
        return x
    pairs = [(n, 1) if a in wide else (n,) for a, n in enumerate(x.shape)]
    gaps = [(0, step - 1) if a in wide else (0,) for a, step in enumerate(steps)]
    x = reshape(x, shape=sum(pairs, ()))
    x = pad(x, low=(0,) * x.ndim, high=sum(gaps, ()), value=0)
    x = reshape(x, shape=tuple(numel(pair) * step for pair, step in zip(pairs, steps, strict=True)))
    stops = tuple(n - step + 1 for n, step in zip(x.shape, steps, strict=True))
    return slice(x, starts=(0,) * x.ndim, stops=stops, steps=(1,) * x.ndim)


def _slice_vjp(ct: Any, out: Any, x: Any, *, starts: Shape, stops: Shape, steps: Shape) -> tuple[Any, ...]:
    if 0 in ct.shape:
        return (zeros_like(x),)
    inner = _spread(ct, steps)
    high = tuple(size - start - n for size, start, n in zip(x.shape, starts, inner.shape, strict=True))
    return (pad(inner, low=starts, high=high, value=0),)


slice: Operator = view(
    "slice",
    type_rule=_slice_type,
    eager=_slice_eager,
    element=_slice_element,
    vjp=_slice_vjp,
    batch=lambda inputs, batched, size, *, starts, stops, steps: slice(
        inputs[0], starts=(0, *starts), stops=(size, *stops), steps=(1, *steps)
    ),
    samples=(
        Sample((Arg((7,), dt.float64),), {"starts": (2,), "stops": (6,), "steps": (1,)}),
        Sample((Arg((7, 9), dt.float64),), {"starts": (1, 0), "stops": (7, 9), "steps": (2, 4)}),
        Sample((Arg((3, 8, 2), dt.float64),), {"starts": (0, 1, 0), "stops": (3, 8, 2), "steps": (1, 3, 1)}),
        Sample((Arg((4, 5), dt.float64),), {"starts": (1, 3), "stops": (4, 3), "steps": (1, 2)}),
        Sample((Arg(()),), {"starts": (), "stops": (), "steps": ()}),
        Sample((Arg((0, 3)),), {"starts": (0, 1), "stops": (0, 2), "steps": (1, 1)}),
        Sample((Arg((5,), dt.bfloat16),), {"starts": (0,), "stops": (5,), "steps": (5,)}),
        Sample((Arg((6,), dt.uint8, 0, 9),), {"starts": (5,), "stops": (6,), "steps": (1,)}),
    ),
    doc="Elements from each axis's start up to its stop, a step apart.",
)

# pad --------------------------------------------------------------------------------------------------


def _pad_type(x: TensorType, *, low: Shape, high: Shape, value: float = 0) -> TensorType:
    _per_axis(x, low=low, high=high)
    if any(n < 0 for n in (*low, *high)):
        raise ArgumentError(f"low={tuple(low)}, high={tuple(high)} take elements away", hint="slice instead")
    return x.with_shape(a + size + b for a, size, b in zip(low, x.shape, high, strict=True))


def _pad_eager(xp: Any, x: Any, *, low: Shape, high: Shape, value: float) -> Any:
    out = xp.full([a + size + b for a, size, b in zip(low, x.shape, high, strict=True)], value, x.dtype)
    out[(*(builtins.slice(a, a + size) for a, size in zip(low, x.shape, strict=True)), ...)] = x
    return out


def _pad_element(
    load: LoadElement, index: Index, out: TensorType, types: Types, *, low: Shape, high: Shape, value: float
) -> Expr:
    at = tuple(ix.sub(i, a) for i, a in zip(index, low, strict=True))
    inside = ix.all_of([ix.in_range(i, 0, size) for i, size in zip(at, types[0].shape, strict=True)])
    element = load(0, tuple(ix.held(i, size) for i, size in zip(at, types[0].shape, strict=True)))
    kind = {"f": float, "b": bool}.get(out.dtype.kind, int)
    return ix.select(inside, element, Const(kind(value), element.dtype))


pad: Operator = view(
    "pad",
    type_rule=_pad_type,
    eager=_pad_eager,
    element=_pad_element,
    vjp=lambda ct, out, x, *, low, high, value: (
        slice(ct, starts=low, stops=tuple(map(operator.add, low, x.shape)), steps=(1,) * x.ndim),
    ),
    jvp=lambda tangents, out, x, *, low, high, value: pad(tangents[0], low=low, high=high, value=0),
    batch=lambda inputs, batched, size, *, low, high, value: pad(
        inputs[0], low=(0, *low), high=(0, *high), value=value
    ),
    samples=(
        Sample((Arg((3,), dt.float64),), {"low": (2,), "high": (1,), "value": 0.5}),
        Sample((Arg((2, 3, 4), dt.float64),), {"low": (0, 1, 2), "high": (0, 0, 3)}),
        Sample((Arg((2, 3)),), {"low": (1, 1), "high": (1, 1), "value": float("-inf")}),
        Sample((Arg(()),), {"low": (), "high": (), "value": 1.0}),
        Sample((Arg((0, 2)),), {"low": (2, 0), "high": (1, 1), "value": 3.0}),
        Sample((Arg((2, 3)),), {"low": (0, 0), "high": (0, 0), "value": 7.0}),
        Sample((Arg((5,), dt.float16),), {"low": (3,), "high": (0,), "value": 0.1}),
        Sample((Arg((5,), dt.int32, -9, 9),), {"low": (1,), "high": (1,), "value": 7}),
        Sample((Arg((5,), dt.bool_),), {"low": (1,), "high": (1,), "value": True}),
    ),
    doc="x with a literal put before and after it along each axis.",
)

# Moving along an axis ---------------------------------------------------------------------------------


def shifted(x: Any, axis: int, by: int, value: float) -> Any:
    """Elements moved along an axis by some places, with a value moving in; to the front where negative."""
    at = [0] * x.ndim
    at[axis] = by
    low, high = tuple(max(n, 0) for n in at), tuple(max(-n, 0) for n in at)
    moved = pad(x, low=low, high=high, value=value)
    stops = tuple(n + k for n, k in zip(x.shape, high, strict=True))
    return slice(moved, starts=high, stops=stops, steps=(1,) * x.ndim)


# flip -------------------------------------------------------------------------------------------------


def _flip_type(x: TensorType, *, axes: Shape) -> TensorType:
    if not all(0 <= a < x.ndim for a in axes) or len(set(axes)) != len(axes):
        raise AxisError(
            f"axes={tuple(axes)} are not distinct axes of shape {x.shape}", hint="count axes from the front"
        )
    return x


def _flip_element(load: LoadElement, index: Index, out: TensorType, types: Types, *, axes: Shape) -> Expr:
    last = [size - 1 for size in out.shape]
    return load(0, tuple(ix.sub(Const(last[a]), i) if a in axes else i for a, i in enumerate(index)))


flip: Operator = view(
    "flip",
    type_rule=_flip_type,
    eager=lambda xp, x, *, axes: xp.flip(x, axes),
    element=_flip_element,
    vjp=lambda ct, out, x, *, axes: (flip(ct, axes=axes),),
    batch=lambda inputs, batched, size, *, axes: flip(inputs[0], axes=tuple(a + 1 for a in axes)),
    samples=(
        Sample((Arg((5,), dt.float64),), {"axes": (0,)}),
        Sample((Arg((2, 3, 4), dt.float64),), {"axes": (0, 2)}),
        Sample((Arg((2, 3)),), {"axes": ()}),
        Sample((Arg((0, 3)),), {"axes": (0,)}),
        Sample((Arg((5,), dt.float16),), {"axes": (0,)}),
        Sample((Arg((3, 3), dt.int64, -9, 9),), {"axes": (1,)}),
    ),
    doc="The elements along some axes in reverse order.",
)

# concatenate ------------------------------------------------------------------------------------------


def _concatenate_type(*types: TensorType, axis: int) -> TensorType:
    if not types:
        raise ArgumentError("takes at least one operand, none given", hint="give the tensors to join")
    check_same_dtype(types)
    first = types[0]
    if not 0 <= axis < first.ndim:
        raise AxisError(
            f"axis {axis} is out of range for shape {first.shape}",
            hint="count the axis from the front" if first.ndim else "scalars have no axes: stack them instead",
        )
    for k, t in enumerate(types):
        if t.ndim != first.ndim:
            raise ShapeError(
                f"operand {k} has shape {t.shape}, the first has {first.shape}",
                hint="all operands have the same number of axes",
            )
        for a, (size, expected) in enumerate(zip(t.shape, first.shape, strict=True)):
            if a != axis and size != expected:
                raise ShapeError(
                    f"operand {k} has shape {t.shape}, the first has {first.shape} (axis {a}: {size} vs {expected})",
                    hint=f"the sizes may differ along axis {axis} alone",
                )
    total = sum(t.shape[axis] for t in types)
    return first.with_shape((*first.shape[:axis], total, *first.shape[axis + 1 :]))


#: Parts of a concatenation that are asked one after the other whether they have an element.
_ASKED_IN_TURN = 16


def _concatenate_element(load: LoadElement, index: Index, out: TensorType, types: Types, *, axis: int) -> Expr:
    ends, end = [], 0
    for t in types:
        end += t.shape[axis]
        ends.append(end)
    at = index[axis]

    def among(parts: Sequence[int]) -> Expr:
        """The element where it is in one of some parts; of many, it is asked first which half has it."""
        half = len(parts) // 2 if len(parts) > _ASKED_IN_TURN else 1
        if len(parts) > 1:
            later = among(parts[half:])
            return ix.select(ix.in_range(at, 0, ends[parts[half - 1]]), among(parts[:half]), later)
        (k,) = parts
        size = types[k].shape[axis]
        return load(k, (*index[:axis], ix.held(ix.sub(at, ends[k] - size), size), *index[axis + 1 :]))

    return among([k for k, t in enumerate(types) if t.shape[axis]] or [0])


def _concatenate_vjp(ct: Any, out: Any, *xs: Any, axis: int) -> tuple[Any, ...]:
    parts, start = [], 0
    for x in xs:
        starts = tuple(start if a == axis else 0 for a in range(x.ndim))
        stops = tuple(s + size for s, size in zip(starts, x.shape, strict=True))
        parts.append(slice(ct, starts=starts, stops=stops, steps=(1,) * x.ndim))
        start += x.shape[axis]
    return tuple(parts)


def _concatenate_jvp(tangents: Inputs, out: Any, *xs: Any, axis: int) -> Any:
    filled = (zeros_like(x) if t is None else t for t, x in zip(tangents, xs, strict=True))
    return concatenate(*filled, axis=axis)


def _concatenate_eager(xp: Any, *xs: Any, axis: int) -> Any:
    """Row by row in memory, or channels last where all operands are; NumPy takes an order of theirs."""
    found = xp.concatenate(xs, axis=axis)
    if found.flags.c_contiguous:
        return found
    if all(map(is_channels_last, xs)):
        return xp.moveaxis(xp.ascontiguousarray(xp.moveaxis(found, 1, -1)), -1, 1)
    return xp.ascontiguousarray(found)


concatenate: Operator = view(
    "concatenate",
    type_rule=_concatenate_type,
    eager=_concatenate_eager,
    element=_concatenate_element,
    vjp=_concatenate_vjp,
    jvp=_concatenate_jvp,
    batch=lambda inputs, batched, size, *, axis: concatenate(*all_batched(inputs, batched, size), axis=axis + 1),
    samples=(
        Sample((Arg((3,), dt.float64), Arg((2,), dt.float64)), {"axis": 0}),
        Sample((Arg((2, 3), dt.float64), Arg((2, 1), dt.float64), Arg((2, 4), dt.float64)), {"axis": 1}),
        Sample((Arg((2, 3)),), {"axis": 0}),
        Sample((Arg((0, 3)), Arg((2, 3)), Arg((0, 3))), {"axis": 0}),
        Sample((Arg((2, 0)), Arg((1, 0))), {"axis": 0}),
        Sample((Arg((3,), dt.bfloat16), Arg((4,), dt.bfloat16)), {"axis": 0}),
        Sample((Arg((3,), dt.int8, -9, 9), Arg((4,), dt.int8, -9, 9)), {"axis": 0}),
        Sample((Arg((3,), dt.bool_), Arg((4,), dt.bool_)), {"axis": 0}),
    ),
    arity=None,
    doc="Operands one after the other along an axis.",
)
