"""The scalar operations of kernels over NumPy arrays, for the interpreter."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tracec.ir.exact import VARIATES

Array = np.ndarray[Any, Any]

COMBINE: dict[str, Any] = {
    "add": np.add, "mul": np.multiply, "maximum": np.maximum, "minimum": np.minimum, "logaddexp": np.logaddexp,
}  # fmt: skip

_erf = np.frompyfunc(math.erf, 1, 1)


def _sigmoid(x: Array) -> Array:
    # exp of a non-positive number never overflows.
    small = np.exp(-np.abs(x))
    result: Array = np.where(x >= 0, 1, small) / (1 + small)
    return result


def _pow(x: Array, y: Array) -> Array:
    """Powers of integers wrap around; negative exponents round towards zero."""
    negative = np.asarray(y < 0)
    if x.dtype.kind not in "iu" or not negative.any():
        return np.asarray(np.power(x, y))
    unit = np.where(x == 1, 1, np.where(x == -1, np.where(y & 1, -1, 1), 0))
    return np.where(negative, unit, np.power(x, np.where(negative, 0, y))).astype(x.dtype)


def _mulhi(a: Array, b: Array) -> Array:
    return (a.astype(np.uint64) * b.astype(np.uint64)) >> np.uint64(32)


def _philox(seed: Array, draw: Array, element: Array) -> Array:
    """Word ``element % 4`` of Philox-4x32-10 of counter (element // 4, draw) under key seed, all 64-bit integers."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    key, high, count = (np.asarray(x).astype(np.int64).view(np.uint64) for x in (seed, draw, element // 4))
    c, k = [count & low, count >> half, high & low, high >> half], [key & low, key >> half]
    for _ in range(10):
        p, q = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(q >> half) ^ c[1] ^ k[0], q & low, (p >> half) ^ c[3] ^ k[1], p & low]
        k = [(k[0] + np.uint64(0x9E3779B9)) & low, (k[1] + np.uint64(0xBB67AE85)) & low]
    return np.choose(element % 4, np.broadcast_arrays(*c, element)[:4])


_COMPUTE: dict[str, Callable[..., Any]] = {
    "neg": np.negative, "abs": np.abs, "sign": np.sign, "exp": np.exp, "expm1": np.expm1, "log": np.log,
    "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos,
    "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "erf": lambda x: np.asarray(_erf(x), x.dtype), "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x), "sigmoid": _sigmoid,
    "exp2": np.exp2, "log2": np.log2, "log10": np.log10, "asinh": np.arcsinh, "acosh": np.arccosh,
    "atanh": np.arctanh,
    "floor": np.floor, "ceil": np.ceil, "round": np.rint, "trunc": np.trunc,
    "isnan": lambda x: x != x, "logical_not": lambda x: x == 0, "bitwise_not": np.invert, "cast": lambda x: x,
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.true_divide, "pow": _pow,
    "maximum": np.maximum, "minimum": np.minimum, "atan2": np.arctan2,
    "floor_div": np.floor_divide, "remainder": np.remainder, "fmod": np.fmod, "copysign": np.copysign,
    "hypot": np.hypot, "nextafter": np.nextafter, "logaddexp": np.logaddexp,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or, "bitwise_xor": np.bitwise_xor,
    "shift_left": np.left_shift, "shift_right": np.right_shift, "mulhi": _mulhi, "philox": _philox,
    "short_exp": np.exp, "rounded_mul": np.multiply,
    **{name: partial(formula, np) for name, formula in VARIATES.items()},
}  # fmt: skip


def compute(op: str, args: Sequence[Array], dtype: Any) -> Array:
    """A scalar operation of `tracec.ir.kernel.SCALAR_OPS` on every element, the result in ``dtype``."""
    if op == "bitcast":
        return args[0].view(dtype)
    return convert(_COMPUTE[op](*args), dtype)


def convert(x: Array, dtype: Any) -> Array:
    """x in another dtype, as a C cast does it; to bool: whether it is not zero."""
    return x if x.dtype == dtype else (x != 0) if dtype == np.bool_ else x.astype(dtype)
