"""Functions of each element, and those along axes that are not ragged, of nested tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tracec.functions as F
import tracec.nn.functional as NF
from tracec import ops
from tracec.errors import ArgumentError, ShapeError
from tracec.functions.common import fail, one_axis
from tracec.nested.jagged import NestedTensor, handles, inner_axis
from tracec.record.composite import Composite
from tracec.record.tensor import Tensor
from tracec.record.write import assign, check_writable

#: Functions of each element, of one nested tensor or of several that are cut alike, and of dense ones that broadcast.
_POINTWISE = """
    abs absolute acos acosh add addcdiv addcmul arccos arcsin arctan asin asinh atan atan2 atanh bitwise_and
    bitwise_not bitwise_or bitwise_xor ceil clamp clamp_max clamp_min clip conj copysign cos cosh deg2rad div divide
    eq erf erfc erfinv exp exp2 expm1 floor floor_divide fmod frac ge greater greater_equal gt hypot isclose isfinite
    isinf isnan le lerp less less_equal lgamma log log10 log1p log2 logaddexp logical_and logical_not logical_or
    logical_xor logit lt masked_fill maximum minimum mul multiply nan_to_num ne neg negative not_equal positive pow
    rad2deg reciprocal relu remainder round rsqrt rsub sgn sigmoid sign signbit sin sinc sinh sqrt square sub subtract
    tan tanh true_divide trunc where xlogy dropout alpha_dropout bernoulli
    ones_like zeros_like empty_like full_like rand_like randn_like
"""
_ACTIVATIONS = """
    celu elu gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu logsigmoid mish relu6 rrelu selu silu softplus
    softshrink softsign tanhshrink threshold
"""


def _mapped(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        nested = [a for a in (*args, *kwargs.values()) if isinstance(a, NestedTensor)]
        like = max(nested, key=lambda x: x.ndim)
        for x in nested:
            if not x.is_cut_as(like) or x._axis - x.ndim != like._axis - like.ndim:
                shapes = f"{tuple(like.shape)} and {tuple(x.shape)}"
                fail(
                    ShapeError,
                    f"{name}: cannot call binary pointwise function {name} with inputs of shapes {shapes}",
                    "nested tensors are cut at the same places where one is computed from the other",
                )
        given = [aligned(name, a, like) for a in args]
        found = function(*given, **{k: aligned(name, v, like) for k, v in kwargs.items()})
        return like.with_data(found)

    return run


def aligned(name: str, x: Any, like: NestedTensor) -> Any:
    """An operand as one of the values of a nested tensor.

    Raises:
        ShapeError: a dense one does not broadcast.
    """
    if isinstance(x, NestedTensor):
        return x._data
    if not isinstance(x, Tensor) or x.ndim < like.ndim - like._axis:
        return x
    if isinstance(x, Composite):
        type(x).refuse(name)
    full = x[(None,) * (like.ndim - x.ndim)] if x.ndim < like.ndim else x
    if full.ndim == like.ndim and full.shape[0] in (1, like._sizes[0]):
        front = F.movedim(full, like._axis, 1)
        which, place = like.rows()
        if front.shape[1] == 1:
            if front.shape[0] == 1:
                return F.select(full, 0, 0)
            return F.movedim(ops.index(F.select(front, 1, 0), which, axes=(0,)), 0, like._axis - 1)
        if front.shape[1] >= like._max_seqlen:
            front = F.expand(front, (like._sizes[0], *front.shape[1:]))
            return F.movedim(ops.index(front, which, place, axes=(0, 1)), 0, like._axis - 1)
    fail(
        ShapeError,
        f"{name}: shapes {tuple(like.shape)} and {tuple(x.shape)} do not broadcast",
        "along the ragged axis a dense operand has size 1, or that of the padded tensor",
    )


for _name in _POINTWISE.split():
    handles(_name)(_mapped(_name, getattr(F, _name)))
for _name in _ACTIVATIONS.split():
    handles(_name)(_mapped(_name, getattr(NF, _name)))
for _name, _operator in {
    "__pow__": "pow", "__floordiv__": "floor_divide", "__and__": "bitwise_and", "__or__": "bitwise_or",
    "__xor__": "bitwise_xor", "__invert__": "bitwise_not", "__eq__": "eq", "__ne__": "ne",
}.items():  # fmt: skip
    handles(_name)(NestedTensor.functions[_operator])


def _reflected(name: str) -> Callable[..., Any]:
    function = NestedTensor.functions[name]
    return lambda self, other: function(aligned_number(other, self), self)


def aligned_number(x: Any, like: NestedTensor) -> Any:
    """A number as a tensor of no dimensions, so that functions that take a tensor first take it."""
    return x if isinstance(x, Tensor) else F.tensor(x, dtype=like.dtype, device=like.device)


for _name in ("sub", "pow", "floordiv", "truediv", "mod"):
    _meant = {"floordiv": "floor_divide", "truediv": "div", "mod": "remainder"}.get(_name, _name)
    handles(f"__r{_name}__")(_reflected(_meant))


def _in_place(name: str) -> Callable[..., Any]:
    function = NestedTensor.functions[name]

    def run(input: NestedTensor, *args: Any, **kwargs: Any) -> NestedTensor:
        check_writable(input._data, f"{name}_")
        assign(input._data, function(input, *args, **kwargs)._data, f"{name}_")
        return input

    return run


for _name in ("add", "sub", "mul", "div", "pow", "relu", "clamp", "exp", "neg", "sqrt", "masked_fill"):
    handles(f"{_name}_")(_in_place(_name))


@handles("zero_")
def zero_(input: NestedTensor) -> NestedTensor:
    """Write zeros."""
    input._data.zero_()
    return input


@handles("fill_")
def fill_(input: NestedTensor, value: Any) -> NestedTensor:
    """Write one value everywhere."""
    input._data.fill_(value)
    return input


@handles("copy_")
def copy_(input: NestedTensor, source: Any, non_blocking: bool = False) -> NestedTensor:
    """Write the elements of another nested tensor that is cut alike, or of a tensor that broadcasts."""
    input._data.copy_(aligned("copy_", source, input))
    return input


# Along the last axes ----------------------------------------------------------------------------------


def _last(name: str, x: NestedTensor, count: int) -> None:
    """Refuse functions of the last axes where the ragged one, or the list, is among them."""
    if x._axis >= x.ndim - count:
        fail(
            ArgumentError,
            f"{name}: the ragged axis {x._axis} is among the last {count} axes of shape {tuple(x.shape)}",
            "transpose it away",
        )


@handles("linear")
def linear(input: NestedTensor, weight: Any, bias: Any = None) -> NestedTensor:
    """``input @ weight.T + bias`` along the last axis."""
    if not isinstance(input, NestedTensor):
        NestedTensor.refuse("linear with a nested weight")
    _last("linear", input, 1)
    return input.with_data(NF.linear(input._data, weight, bias))


@handles("layer_norm")
def layer_norm(input: NestedTensor, normalized_shape: Any, *args: Any, **kwargs: Any) -> NestedTensor:
    """`layer_norm` over axes behind the ragged one."""
    _last("layer_norm", input, len(tuple(normalized_shape)))
    return input.with_data(NF.layer_norm(input._data, normalized_shape, *args, **kwargs))


@handles("rms_norm")
def rms_norm(input: NestedTensor, normalized_shape: Any, *args: Any, **kwargs: Any) -> NestedTensor:
    """`rms_norm` over axes behind the ragged one."""
    _last("rms_norm", input, len(tuple(normalized_shape)))
    return input.with_data(NF.rms_norm(input._data, normalized_shape, *args, **kwargs))


@handles("embedding")
def embedding(input: NestedTensor, weight: Tensor, *args: Any, **kwargs: Any) -> NestedTensor:
    """Rows of a table, for nested numbers of rows."""
    return input.with_data(NF.embedding(input._data, weight, *args, **kwargs))


@handles("normalize")
def normalize(input: NestedTensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> NestedTensor:
    """`normalize` along an axis that is not ragged."""
    return input.with_data(NF.normalize(input._data, p, inner_axis("normalize", input, dim), eps))


@handles("glu")
def glu(input: NestedTensor, dim: int = -1) -> NestedTensor:
    """`glu` along an axis that is not ragged."""
    return input.with_data(NF.glu(input._data, inner_axis("glu", input, dim)))


def _normed(name: str) -> Callable[..., Any]:
    """Softmax along any axis but the list; along the ragged one each tensor by itself."""

    def run(input: NestedTensor, dim: int, dtype: Any = None, **_: Any) -> NestedTensor:
        axis = one_axis(name, dim, input.ndim)
        if axis != input._axis:
            return input.with_data(getattr(F, name)(input._data, inner_axis(name, input, dim), dtype=dtype))
        x = input if dtype is None else input.to(dtype)
        return x.unpadded(getattr(F, name)(x.padded(float("-inf"), x._max_seqlen), axis))

    return run


for _name in ("softmax", "log_softmax"):
    handles(_name)(_normed(_name))
