"""Results that go into tensors the user has already: ``out=``, and tensors that change their size."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError, GradientError
from tracec.ir import dtype as dt
from tracec.ir.source import warn
from tracec.record.backward import own
from tracec.record.cell import Cell, Changes
from tracec.record.mode import no_grad
from tracec.record.promote import can_cast
from tracec.record.refusal import refuse
from tracec.record.state import STATE
from tracec.record.tape import edge_of
from tracec.record.write import copy_into

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor


def write_out(name: str, out: Any, value: Any) -> Any:
    """Write a result into what the user gave as ``out``, which is given back.

    Args:
        name: The function, for errors.
        out: A tensor, or as many of them as there are results.
        value: The result: a tensor, or a tuple of tensors.

    Raises:
        ArgumentTypeError: ``out`` is no tensor, or not as many as there are results.
        GradientError: gradients would have to flow through.
        DTypeError: the result's element type cannot be cast to that of ``out``.
    """
    if isinstance(value, Cell):
        return _write_one(name, out, value)
    if not isinstance(out, (tuple, list)) or len(out) != len(value):
        raise ArgumentTypeError(
            f"{name}: out must be {len(value)} tensors, {type(out).__name__} given",
            hint="give a tuple of tensors, one for each result",
        )
    written = [_write_one(name, o, v) for o, v in zip(out, value, strict=True)]
    return value._make(written) if hasattr(value, "_make") else tuple(written)


def _write_one(name: str, out: Any, value: Any) -> Any:
    into: Any = out
    if not isinstance(out, Cell):
        raise ArgumentTypeError(
            f"{name}: out must be a tensor, {type(out).__name__} given", hint="e.g. tracec.empty(0)"
        )
    if STATE.grad and (edge_of(value) is not None or edge_of(out) is not None):
        raise GradientError(
            f"{name}: functions with out=... arguments don't support automatic differentiation, but one of the "
            "arguments requires grad.",
            hint="leave out= away, or compute under tracec.no_grad()",
        )
    given, own = value.dtype, dt.of_numpy(out._array.dtype)
    if not can_cast(given, own):
        raise DTypeError(
            f"{name}: result type {given.name} can't be cast to the desired output type {own.name}",
            hint=f"give out= a tensor of {given.name}",
        )
    if value._device != out._device:
        raise ArgumentError(
            f"{name}: the result is on {value._device}, out on {out._device}",
            hint="give out= a tensor of that device",
        )
    shape = tuple(value._shape)
    if tuple(out._shape) != shape:
        if out._array.size:
            warn(
                f"{name}: an output with one or more elements was resized since it had shape "
                f"{list(out._shape)}, which does not match the required output shape {list(shape)}. "
                "Give out= an empty tensor, or one of that shape.",
                UserWarning,
            )
        resize(out, shape)
    with no_grad():
        return copy_into(into, value, name)


_NAMES = """
    abs absolute acos acosh add addbmm addcdiv addcmul addmm addmv addr all amax amin aminmax angle any arccos arccosh
    arcsin arcsinh arctan arctan2 arctanh argmax argmin argsort asin asinh atan atan2 atanh baddbmm bernoulli
    bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor bmm bucketize cat ceil
    chain_matmul cholesky cholesky_inverse cholesky_solve clamp clamp_max clamp_min clip column_stack complex concat
    concatenate conj_physical copysign cos cosh cross cummax cummin cumprod cumsum deg2rad det diag diff digamma div
    divide dot dstack eq erf erfc erfinv exp exp2 expm1 fix float_power floor floor_divide fmax fmin fmod frac frexp
    gather gcd ge geqrf ger greater greater_equal gt heaviside histc histogram hstack hypot i0 igamma igammac index_add
    index_copy index_reduce index_select inner inverse isin isneginf isposinf kron kthvalue lcm ldexp le lerp less
    less_equal lgamma log log10 log1p log2 log_softmax logaddexp logaddexp2 logcumsumexp logical_and logical_not
    logical_or logical_xor logit logsumexp lt lu_solve lu_unpack masked_select matmul matrix_power max maximum mean
    median min minimum mm mode msort mul multinomial multiply mv mvlgamma nan_to_num nanmean nanmedian nanquantile
    nansum narrow_copy ne neg negative nextafter nonzero nonzero_static norm not_equal nuclear_norm orgqr ormqr outer
    polar polygamma pow prod qr quantile rad2deg reciprocal remainder renorm round row_stack rsqrt scatter scatter_add
    scatter_reduce searchsorted sgn sigmoid sign signbit sin sinc sinh slice_scatter softmax sort sqrt square stack std
    sub subtract sum svd take take_along_dim tan tanh tensordot topk triangular_solve tril triu true_divide trunc
    var vdot vstack where xlogy
"""

#: Functions of PyTorch that take ``out=``; those that make tensors have it among their options.
OUT = frozenset(_NAMES.split())


def give_out(namespace: dict[str, Any], names: Iterable[str] = OUT) -> None:
    """Let those functions of a module that are named take ``out=``."""
    for name in names:
        if name in namespace:
            namespace[name] = takes_out(namespace[name])


def takes_out(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with ``out=`` for a tensor, or tensors, that the result is written into."""
    own = inspect.signature(function)
    if "out" in own.parameters:
        return function
    name = function.__name__

    @functools.wraps(function)
    def _run(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        if out is None:
            return function(*args, **kwargs)
        return write_out(name, out, function(*args, **kwargs))

    _run.__signature__ = signature_with_out(own)  # type: ignore[attr-defined]
    return _run


def signature_with_out(own: inspect.Signature) -> inspect.Signature:
    """The signature, with ``out`` among the arguments that are given by name."""
    extra = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)
    behind = [p for p in own.parameters.values() if p.kind is inspect.Parameter.VAR_KEYWORD]
    before = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    return own.replace(parameters=[*before, extra, *behind])


def resize(x: Any, shape: Sequence[int]) -> Any:
    """Give a tensor another shape: its elements in row-major order, as many as fit, in memory of its own.

    What is new is zero. Views of the tensor go on looking at the memory that it had.

    Raises:
        GradientError: gradients flow through it.
        RecordError: in a compiled function, of a tensor from outside.
    """
    if STATE.grad and edge_of(x) is not None:
        raise GradientError("resize_: cannot resize variables that require grad", hint="resize a detach()ed tensor")
    shape = tuple(shape)
    if shape == tuple(x._shape):
        return x
    if STATE.recorder is not None and not STATE.recorder.is_inside(x):
        refuse(
            "resize_: cannot change the shape of a tensor from outside in a compiled function",
            hint=f"give a tensor of shape {list(shape)}",
        )
    with no_grad():
        made = _resized(x, shape)
    Changes.count += 1
    x._storage, x._array, x._steps = made._storage, made._array, ()
    x._parent = x._node = x._node_of = None
    x._is_constant = False
    return x


def _resized(x: Any, shape: tuple[int, ...]) -> Tensor:
    count, size = math.prod(shape), x._array.size
    flat = ops.reshape(x, shape=(size,))
    if count > size:
        flat = ops.pad(flat, low=(0,), high=(count - size,), value=False if x._array.dtype.kind == "b" else 0)
    return own(ops.reshape(ops.slice(flat, starts=(0,), stops=(count,), steps=(1,)), shape=shape))
