"""Convolution and its two gradients, in any number of spatial axes.

The three are one trilinear form, ``sum of g[n, o, p] · x[n, c, stride·p + dilation·k - low] · w[o, c, k]``,
each solved for another of g, x and w. So each one's derivatives are the other two.
"""

from __future__ import annotations

from typing import Any

from tracec.errors import ArgumentError, ShapeError
from tracec.ir import index as ix
from tracec.ir.lower import ContractionSpec, Index, LoadElement
from tracec.ir.operator import Arg, Operator, Sample
from tracec.ir.scalar import Expr
from tracec.ir.types import Shape, TensorType
from tracec.ops.arrays import in_float32
from tracec.ops.base import primitive
from tracec.ops.contraction import bilinear_jvp, check_factors
from tracec.ops.conv_arrays import Padding, conv_arrays, conv_input_grad_arrays, conv_weight_grad_arrays
from tracec.ops.view import reshape, transpose
from tracec.ops.window import check_per_axis, source_position, window_counts, zero_unless

Types = tuple[TensorType, ...]
Pair = tuple[Any, ...]


def conv_shape(x: Shape, w: Shape, stride: Shape, padding: Padding, dilation: Shape, groups: int) -> Shape:
    """The shape of a convolution's result.

    Args:
        x: (N, C, *sizes).
        w: (O, C / groups, *kernel).
        stride: Steps between windows.
        padding: Zeros before and after, (low, high) for each spatial axis.
        dilation: Steps between the elements of a window.
        groups: Blocks of channels that do not mix.

    Raises:
        ShapeError: the shapes do not fit each other.
        ArgumentError: a parameter does not fit the shapes.
    """
    if len(x) != len(w) or len(x) < 3:
        raise ShapeError(
            f"input {x} and weight {w} are not (N, C, *sizes) and (O, C / groups, *kernel)",
            hint="both need a batch or output axis, a channel axis and the same number, 1 or more, of spatial axes",
        )
    n = len(x) - 2
    check_per_axis(n, stride=stride, dilation=dilation, kernel=w[2:])
    if len(padding) != n or any(low < 0 or high < 0 for low, high in padding):
        raise ArgumentError(
            f"padding={padding} does not fit {n} spatial axes", hint=f"give {n} pairs (low, high), none negative"
        )
    if groups < 1 or w[0] % groups:
        raise ArgumentError(
            f"{w[0]} output channels do not divide into {groups} groups", hint="the weight is (O, C / groups, *kernel)"
        )
    if x[1] != w[1] * groups:
        raise ShapeError(
            f"input {x} has {x[1]} channels (axis 1), weight {w} with groups={groups} takes {w[1] * groups}",
            hint="the weight is (O, C / groups, *kernel)",
        )
    sizes = tuple(s + low + high for s, (low, high) in zip(x[2:], padding, strict=True))
    return (x[0], w[0], *window_counts(sizes, w[2:], stride, dilation))


def _conv_type(
    x: TensorType, w: TensorType, *, stride: Shape, padding: Padding, dilation: Shape, groups: int
) -> TensorType:
    check_factors(x, w)
    return x.with_shape(conv_shape(x.shape, w.shape, stride, padding, dilation, groups))


def _input_grad_type(
    g: TensorType, w: TensorType, *, shape: Shape, stride: Shape, padding: Padding, dilation: Shape, groups: int
) -> TensorType:
    check_factors(g, w)
    _check_gradient(g.shape, conv_shape(tuple(shape), w.shape, stride, padding, dilation, groups))
    return g.with_shape(shape)


def _weight_grad_type(
    x: TensorType, g: TensorType, *, shape: Shape, stride: Shape, padding: Padding, dilation: Shape, groups: int
) -> TensorType:
    check_factors(x, g)
    _check_gradient(g.shape, conv_shape(x.shape, tuple(shape), stride, padding, dilation, groups))
    return x.with_shape(shape)


def _check_gradient(given: Shape, result: Shape) -> None:
    if given != result:
        raise ShapeError(
            f"gradient {given} is not of the shape of the convolution's result, {result}",
            hint="pass the shape, stride, padding, dilation and groups of the convolution itself",
        )


def _conv_eager(xp: Any, x: Any, w: Any, **p: Any) -> Any:
    return conv_arrays(xp, x, w, counts=conv_shape(x.shape, w.shape, **p)[2:], **p)


# Batching: the batch joins the images where one operand has it alone, the channels of either operand
# where the other has it alone, and the groups where both have it.


def _into(x: Any, axis: int, groups: int = 1) -> Any:
    """The batch at axis 0 merged into an axis (counted without it): (groups, batch, rest of the axis)."""
    size, *shape = x.shape
    split = (*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])
    perm = (*range(1, axis + 2), 0, *range(axis + 2, len(split) + 1))
    merged = (*shape[:axis], size * shape[axis], *shape[axis + 1 :])
    return reshape(transpose(reshape(x, shape=(size, *split)), perm=perm), shape=merged)


def _out_of(y: Any, axis: int, size: int, groups: int = 1) -> Any:
    """The reverse of `_into`."""
    before, channels, after = y.shape[:axis], y.shape[axis] // size, y.shape[axis + 1 :]
    split = reshape(y, shape=(*before, groups, size, channels // groups, *after))
    perm = (axis + 1, *range(axis + 1), *range(axis + 2, len(split.shape)))
    return reshape(transpose(split, perm=perm), shape=(size, *before, channels, *after))


def _times(shape: Shape, axis: int, size: int) -> Shape:
    return (*shape[:axis], size * shape[axis], *shape[axis + 1 :])


def _conv_batch(inputs: Pair, batched: Pair, size: int, *, groups: int, **p: Any) -> Any:
    x, w = inputs
    if batched == (True, False):
        return _out_of(conv(_into(x, 0), w, groups=groups, **p), 0, size)
    if batched == (False, True):
        return _out_of(conv(x, _into(w, 0, groups), groups=groups, **p), 1, size, groups)
    return _out_of(conv(_into(x, 1), _into(w, 0), groups=groups * size, **p), 1, size)


def _input_grad_batch(inputs: Pair, batched: Pair, size: int, *, shape: Shape, groups: int, **p: Any) -> Any:
    g, w = inputs
    if batched == (True, False):
        out = conv_input_grad(_into(g, 0), w, shape=_times(shape, 0, size), groups=groups, **p)
        return _out_of(out, 0, size)
    wide = _times(shape, 1, size)
    if batched == (False, True):
        return _out_of(conv_input_grad(g, _into(w, 1), shape=wide, groups=groups, **p), 1, size, groups)
    return _out_of(conv_input_grad(_into(g, 1), _into(w, 0), shape=wide, groups=groups * size, **p), 1, size)


def _weight_grad_batch(inputs: Pair, batched: Pair, size: int, *, shape: Shape, groups: int, **p: Any) -> Any:
    x, g = inputs
    if batched == (True, False):
        out = conv_weight_grad(_into(x, 1, groups), g, shape=_times(shape, 1, size), groups=groups, **p)
        return _out_of(out, 1, size)
    tall = _times(shape, 0, size)
    if batched == (False, True):
        return _out_of(conv_weight_grad(x, _into(g, 1, groups), shape=tall, groups=groups, **p), 0, size, groups)
    return _out_of(conv_weight_grad(_into(x, 1), _into(g, 1), shape=tall, groups=groups * size, **p), 0, size)


# Lowering: positions in the padding, and input positions between two windows, read as 0.


def _padded(load: LoadElement, operand: int, lead: Index, over: Index, within: Index, sizes: Shape, p: Any) -> Expr:
    """The element of the input at stride · over + dilation · within - low, or 0 in the padding."""
    at, tests = [], []
    for o, k, size, s, d, (low, _) in zip(over, within, sizes, p["stride"], p["dilation"], p["padding"], strict=True):
        position = ix.sub(ix.add(ix.mul(o, s), ix.mul(k, d)), low)
        at.append(position)
        tests.append(ix.in_range(position, 0, size))
    return zero_unless(ix.all_of(tests), load(operand, (*lead, *at)))


def _channel(of: Expr, per_group: int, within: Expr, count: int, groups: int) -> Expr:
    """A channel counted ``within`` its group of ``count``, the group being that of channel ``of`` on the other side."""
    return within if groups == 1 else ix.add(ix.mul(ix.div(of, per_group), count), within)


def _conv_factors(
    load: LoadElement, index: Index, reduced: Index, out: TensorType, inputs: Types, *, groups: int, **p: Any
) -> tuple[Expr, Expr]:
    (n, o, *over), (c, *within) = index, reduced
    x, w = inputs
    channel = _channel(o, w.shape[0] // groups, c, w.shape[1], groups)
    a = _padded(load, 0, (n, channel), tuple(over), tuple(within), x.shape[2:], p)
    return a, load(1, (o, *reduced))


def _input_grad_factors(
    load: LoadElement, index: Index, reduced: Index, out: TensorType, inputs: Types, *, groups: int, **p: Any
) -> tuple[Expr, Expr]:
    (n, c, *position), (r, *within) = index, reduced
    g, w = inputs
    channel = _channel(c, w.shape[1], r, w.shape[0] // groups, groups)
    at, tests = [], []
    for i, (low, _) in enumerate(p["padding"]):
        shifted = ix.add(position[i], low)
        window, test = source_position(shifted, within[i], p["stride"][i], p["dilation"][i], g.shape[2 + i])
        at.append(window)
        tests.append(test)
    a = zero_unless(ix.all_of(tests), load(0, (n, channel, *at)))
    return a, load(1, (channel, ix.mod(c, w.shape[1]), *within))


def _weight_grad_factors(
    load: LoadElement, index: Index, reduced: Index, out: TensorType, inputs: Types, *, groups: int, **p: Any
) -> tuple[Expr, Expr]:
    (o, c, *within), (n, *over) = index, reduced
    x = inputs[0]
    channel = _channel(o, out.shape[0] // groups, c, out.shape[1], groups)
    b = _padded(load, 0, (n, channel), tuple(over), tuple(within), x.shape[2:], p)
    return load(1, (n, o, *over)), b


# Groups of several channels on both sides are products each. Where one side has one channel, as in depthwise
# convolutions, what remains are sums over windows of a plane, with nothing to reuse among channels.


def mixes_channels(weight: Shape, groups: int) -> bool:
    """Whether several input channels go into each of several output channels."""
    return groups == 1 or (weight[1] > 1 and weight[0] > groups)


def _by_channel(inputs: Types, out: TensorType, *, groups: int, **p: Any) -> tuple[Shape, Shape, Shape]:
    places = (0, *range(2, out.ndim))
    return ((), places, (1,)) if mixes_channels(inputs[1].shape, groups) else ((1,), places, ())


def _groups_of_channels(inputs: Types, out: TensorType, *, groups: int, **p: Any) -> dict[int, int]:
    return {1: groups} if groups > 1 and mixes_channels(inputs[1].shape, groups) else {}


def _by_weight(inputs: Types, out: TensorType, *, groups: int, **p: Any) -> tuple[Shape, Shape, Shape]:
    rest = tuple(range(1, out.ndim))
    return ((), (0,), rest) if mixes_channels(out.shape, groups) else ((0,), (), rest)


def _groups_of_weights(inputs: Types, out: TensorType, *, groups: int, **p: Any) -> dict[int, int]:
    return {0: groups} if groups > 1 and mixes_channels(out.shape, groups) else {}


def _samples(
    *cases: tuple[Shape, Shape, Shape, Padding, Shape, int],
) -> list[tuple[Shape, Shape, Shape, dict[str, Any]]]:
    """(x, w, result, params) of each case (x, w, stride, padding, dilation, groups)."""
    return [
        (x, w, conv_shape(x, w, s, p, d, g), {"stride": s, "padding": p, "dilation": d, "groups": g})
        for x, w, s, p, d, g in cases
    ]


_CASES = _samples(
    ((2, 3, 7), (5, 3, 3), (1,), ((0, 0),), (1,), 1),
    ((1, 4, 11), (6, 2, 2), (3,), ((1, 2),), (2,), 2),
    ((2, 3, 5, 7), (4, 3, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    ((2, 4, 7, 6), (6, 2, 3, 2), (2, 3), ((2, 0), (1, 1)), (1, 2), 2),
    ((2, 3, 5, 5), (6, 1, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 3),
    ((3, 5, 3, 3), (2, 5, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    ((1, 2, 4, 3, 5), (3, 2, 2, 1, 3), (1, 2, 2), ((1, 0), (0, 0), (1, 2)), (2, 1, 1), 1),
    ((0, 2, 4, 4), (3, 2, 2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
)

conv: Operator = primitive(
    "conv",
    family="contraction",
    type_rule=_conv_type,
    eager=in_float32(_conv_eager),
    vjp=lambda ct, out, x, w, **p: (
        conv_input_grad(ct, w, shape=x.shape, **p),
        conv_weight_grad(x, ct, shape=w.shape, **p),
    ),
    jvp=lambda tangents, out, x, w, **p: bilinear_jvp(conv, tangents, x, w, p),
    batch=_conv_batch,
    lower=ContractionSpec(lambda inputs, **p: inputs[1].shape[1:], _conv_factors, _by_channel, _groups_of_channels),
    arity=2,
    doc="Convolution (correlation) of (N, C, *sizes) with (O, C / groups, *kernel) to (N, O, *counts).",
    samples=tuple(Sample((Arg(x), Arg(w)), p) for x, w, _, p in _CASES),
)

conv_input_grad: Operator = primitive(
    "conv_input_grad",
    family="contraction",
    type_rule=_input_grad_type,
    eager=in_float32(conv_input_grad_arrays),
    vjp=lambda ct, out, g, w, *, shape, **p: (
        conv(ct, w, **p),
        conv_weight_grad(ct, g, shape=w.shape, **p),
    ),
    jvp=lambda tangents, out, g, w, **p: bilinear_jvp(conv_input_grad, tangents, g, w, p),
    batch=_input_grad_batch,
    lower=ContractionSpec(
        lambda inputs, *, groups, **p: (inputs[1].shape[0] // groups, *inputs[1].shape[2:]),
        _input_grad_factors,
        _by_channel,
        _groups_of_channels,
    ),
    arity=2,
    doc="Gradient of `conv` with respect to its input, of the given shape, from the result's and the weight.",
    samples=tuple(Sample((Arg(y), Arg(w)), {"shape": x, **p}) for x, w, y, p in _CASES),
)

conv_weight_grad: Operator = primitive(
    "conv_weight_grad",
    family="contraction",
    type_rule=_weight_grad_type,
    eager=in_float32(conv_weight_grad_arrays),
    vjp=lambda ct, out, x, g, *, shape, **p: (
        conv_input_grad(g, ct, shape=x.shape, **p),
        conv(x, ct, **p),
    ),
    jvp=lambda tangents, out, x, g, **p: bilinear_jvp(conv_weight_grad, tangents, x, g, p),
    batch=_weight_grad_batch,
    lower=ContractionSpec(
        lambda inputs, **p: (inputs[1].shape[0], *inputs[1].shape[2:]),
        _weight_grad_factors,
        _by_weight,
        _groups_of_weights,
    ),
    arity=2,
    doc="Gradient of `conv` with respect to its weight, of the given shape, from the input and the result's.",
    samples=tuple(Sample((Arg(x), Arg(y)), {"shape": w, **p}) for x, w, y, p in _CASES),
)
