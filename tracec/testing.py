"""Comparing results in tests, and making inputs for them: ``assert_close`` and ``make_tensor``."""

from __future__ import annotations

import cmath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from tracec import functions
from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.record import promote
from tracec.record.backend import Device
from tracec.record.form import MemoryFormat, in_format
from tracec.record.tensor import Tensor

#: Element type → relative and absolute tolerance; others are compared exactly.
_TOLERANCES = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
    "complex64": (1.3e-6, 1e-5),
    "complex128": (1e-7, 1e-7),
}
#: Those of `assert_allclose`; others are compared exactly.
_OLDER_TOLERANCES = {"float16": (1e-3, 1e-3), "float32": (1e-4, 1e-5), "float64": (1e-5, 1e-8)}
_NUMBERS: dict[type, str] = {bool: "bool", int: "int64", float: "float64", complex: "complex128"}


@dataclass(frozen=True)
class _Rules:
    """What is compared, and how strictly.

    Attributes:
        place: Where in nested containers the values are, ``[0]['bias']``.
    """

    rtol: float | None
    atol: float | None
    equal_nan: bool
    check_device: bool
    check_dtype: bool
    check_stride: bool
    msg: str | Callable[[str], str] | None
    place: str = ""

    def fail(self, message: str) -> NoReturn:
        if self.place:
            message += f"\n\nThe failure occurred for item {self.place}"
        if self.msg is not None:
            message = self.msg(message) if callable(self.msg) else self.msg
        raise AssertionError(message)

    def tolerances(self, *dtypes: str) -> tuple[float, float]:
        if self.rtol is not None and self.atol is not None:
            return self.rtol, self.atol
        found = [_TOLERANCES.get(d, (0.0, 0.0)) for d in dtypes]
        return max(r for r, _ in found), max(a for _, a in found)

    def within(self, key: Any) -> _Rules:
        return _Rules(**{**self.__dict__, "place": f"{self.place}[{key!r}]"})


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Assert that two results are close: ``|actual - expected| <= atol + rtol * |expected|`` for each element.

    Args:
        actual: A tensor, an array or a number; or sequences and mappings of them.
        expected: The same of what it ought to be.
        allow_subclasses: Whether tensors, or numbers, of two types may be compared where one is a subclass.
        rtol: Relative tolerance; by default by the element type, 1.3e-6 for float32, 0 for integers.
        atol: Absolute tolerance, given whenever rtol is; by default 1e-5 for float32.
        equal_nan: Whether NaN is close to NaN.
        check_device: Whether they must be on one device.
        check_dtype: Whether they must be of one element type.
        check_layout: Whether they must be stored in one way; tensors of two layouts are never close.
        check_stride: Whether they must have the same strides.
        msg: The message of the error, or a function of the message to the one to give.

    Raises:
        AssertionError: they are not close, or not of one shape or element type.
        ArgumentError: only one of rtol and atol is given.
        ArgumentTypeError: they are nothing that can be compared.
    """
    if (rtol is None) != (atol is None):
        missing = "atol" if atol is None else "rtol"
        raise ArgumentError(
            f"assert_close: both 'rtol' and 'atol' must be either specified or omitted, but got no {missing}.",
            hint="give both",
        )
    if not allow_subclasses and type(actual) is not type(expected):
        raise ArgumentTypeError(
            f"assert_close: {type(actual).__name__} and {type(expected).__name__} are two types", hint="compare equals"
        )
    _compare(actual, expected, _Rules(rtol, atol, equal_nan, check_device, check_dtype, check_stride, msg))


def assert_allclose(
    actual: Any,
    expected: Any,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = True,
    msg: str = "",
) -> None:
    """PyTorch's older `assert_close`: numbers and lists are made tensors, element types may differ, NaN equals NaN.

    Args:
        actual: A tensor, or what makes one.
        expected: The same of what it ought to be.
        rtol: Relative tolerance; by default by the element types, 1e-4 for float32.
        atol: Absolute tolerance, given whenever rtol is; by default 1e-5 for float32.
        equal_nan: Whether NaN is close to NaN.
        msg: The message of the error.

    Raises:
        AssertionError: they are not close, or not of one shape.
        ArgumentError: only one of rtol and atol is given.
    """
    given = actual if isinstance(actual, Tensor) else functions.tensor(actual)
    wanted = expected if isinstance(expected, Tensor) else functions.tensor(expected, dtype=given.dtype)
    if rtol is None and atol is None:
        found = [_OLDER_TOLERANCES.get(x.dtype.name, (0.0, 0.0)) for x in (given, wanted)]
        rtol, atol = max(r for r, _ in found), max(a for _, a in found)
    assert_close(given, wanted, rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=False, msg=msg or None)


def _compare(actual: Any, expected: Any, rules: _Rules) -> None:
    if actual is None or expected is None:
        if actual is not expected:
            rules.fail(f"None mismatch: {actual} is not {expected}")
    elif isinstance(actual, (bool, np.bool_)) and isinstance(expected, (bool, np.bool_)):
        if bool(actual) is not bool(expected):
            rules.fail(f"Booleans mismatch: {actual} is not {expected}")
    elif isinstance(actual, tuple(_NUMBERS)) and isinstance(expected, tuple(_NUMBERS)):
        if rules.check_dtype and type(actual) is not type(expected):
            rules.fail(f"The (d)types do not match: {type(actual)} != {type(expected)}.")
        kinds = [_NUMBERS.get(type(v), "float64") for v in (actual, expected)]
        _compare_numbers(actual, expected, rules, *rules.tolerances(*kinds))
    elif isinstance(actual, Tensor) and isinstance(expected, Tensor) and (actual.is_composite or expected.is_composite):
        _compare_composites(actual, expected, rules)
    elif isinstance(actual, Tensor) and isinstance(expected, Tensor):
        _compare_tensors(actual, expected, rules)
    elif isinstance(actual, (np.ndarray, np.generic)) and isinstance(expected, (np.ndarray, np.generic)):
        _compare_tensors(functions.tensor(np.array(actual)), functions.tensor(np.array(expected)), rules)
    elif isinstance(actual, Mapping) and isinstance(expected, Mapping):
        _compare_mappings(actual, expected, rules)
    elif _is_sequence(actual) and _is_sequence(expected):
        if len(actual) != len(expected):
            rules.fail(f"The length of the sequences mismatch: {len(actual)} != {len(expected)}")
        for k, (a, e) in enumerate(zip(actual, expected, strict=True)):
            _compare(a, e, rules.within(k))
    else:
        raise ArgumentTypeError(
            f"assert_close: no comparison of {type(actual).__name__} and {type(expected).__name__}",
            hint="compare two tensors, two arrays, two numbers, or sequences or mappings of them",
        )


def _is_sequence(x: Any) -> bool:
    return isinstance(x, Sequence) and not isinstance(x, (str, bytes))


def _compare_mappings(actual: Mapping[Any, Any], expected: Mapping[Any, Any], rules: _Rules) -> None:
    missing, more = [k for k in expected if k not in actual], [k for k in actual if k not in expected]
    if missing or more:
        rules.fail(
            "The keys of the mappings do not match:\n"
            f"Missing keys in the actual mapping: {sorted(missing, key=str)}\n"
            f"Additional keys in the actual mapping: {sorted(more, key=str)}"
        )
    for key in actual:
        _compare(actual[key], expected[key], rules.within(key))


def _allowed(tolerance: float, exact: bool) -> str:
    return "" if exact else f" (up to {tolerance} allowed)"


def _compare_numbers(actual: Any, expected: Any, rules: _Rules, rtol: float, atol: float) -> None:
    both_nan = cmath.isnan(actual) and cmath.isnan(expected)
    near = cmath.isfinite(actual) and cmath.isfinite(expected) and abs(actual - expected) <= atol + rtol * abs(expected)
    if actual == expected or near or (rules.equal_nan and both_nan):
        return
    exact = not rtol and not atol
    difference = abs(actual - expected)
    relative = difference / abs(expected) if expected else float("inf")
    rules.fail(
        f"Scalars are not {'equal' if exact else 'close'}!\n\n"
        f"Expected {expected} but got {actual}.\n"
        f"Absolute difference: {difference}{_allowed(atol, exact)}\n"
        f"Relative difference: {relative}{_allowed(rtol, exact)}"
    )


def _compare_composites(actual: Any, expected: Any, rules: _Rules) -> None:
    """Tensors that are made of others, part by part; sparse ones with each place once."""
    if actual.layout is not expected.layout or actual.is_nested is not expected.is_nested:
        rules.fail(f"The values for attribute 'layout' do not match: {actual.layout!r} != {expected.layout!r}.")
    if not actual.is_nested and actual.shape != expected.shape:
        rules.fail(f"The values for attribute 'shape' do not match: {actual.shape} != {expected.shape}.")
    (mine, *places), (theirs, *others) = ((x.coalesce() if x.is_sparse else x).inner() for x in (actual, expected))
    for k, (a, e) in enumerate(zip(places, others, strict=True)):
        _compare_tensors(a, e, rules.within(f"indices {k}"))
    _compare_tensors(mine, theirs, rules.within("values"))


def _compare_tensors(actual: Tensor, expected: Tensor, rules: _Rules) -> None:
    checks: list[tuple[str, Any, Any]] = [("shape", actual.shape, expected.shape)]
    if rules.check_device:
        checks.append(("device", actual.device, expected.device))
    if rules.check_dtype:
        checks.append(("dtype", actual.dtype, expected.dtype))
    if rules.check_stride:
        checks.append(("stride()", actual.stride(), expected.stride()))
    for what, a, e in checks:
        if a != e:
            rules.fail(f"The values for attribute {what!r} do not match: {a} != {e}.")
    rtol, atol = rules.tolerances(actual.dtype.name, expected.dtype.name)
    common = dt.promote(actual.dtype, expected.dtype)
    a, e = (_wide(x.detach().cpu().to(common).numpy()) for x in (actual, expected))
    with np.errstate(all="ignore"):
        matches = np.isclose(a, e, rtol=rtol, atol=atol, equal_nan=rules.equal_nan)
    if matches.all():
        return
    if not a.ndim:
        _compare_numbers(a.item(), e.item(), rules, rtol, atol)
        return
    _report(a, e, matches, rules, rtol, atol, common)


def _wide(array: Any) -> Any:
    """Elements in a type in which differences are exact enough: bools and integers as int64."""
    if array.dtype.kind in "biu":
        return array.astype(np.int64)
    return array.astype(np.float32) if array.dtype.itemsize == 2 else array


def _report(a: Any, e: Any, matches: Any, rules: _Rules, rtol: float, atol: float, common: DType) -> NoReturn:
    exact = not rtol and not atol
    parts = []
    with np.errstate(all="ignore"):
        difference = np.where(matches, 0, np.abs(a - e))
        relative = np.where(matches, 0, difference / np.abs(e))
        if common.kind in "biu":
            relative = relative.astype(promote.DEFAULT_FLOAT.numpy)
        elif common.itemsize == 2:  # told as they would be computed in the type itself
            difference, relative = (v.astype(common.numpy).astype(np.float32) for v in (difference, relative))
    for what, values, tolerance in (("absolute", difference, atol), ("relative", relative, rtol)):
        at = int(np.argmax(values))
        index = tuple(int(i) for i in np.unravel_index(at, values.shape))
        parts.append(
            f"Greatest {what} difference: {values.reshape(-1)[at].item()} at index {index}{_allowed(tolerance, exact)}"
        )
    wrong, size = int((~matches).sum()), matches.size
    rules.fail(
        f"Tensor-likes are not {'equal' if exact else 'close'}!\n\n"
        f"Mismatched elements: {wrong} / {size} ({wrong / size:.1%})\n" + "\n".join(parts)
    )


def make_tensor(
    *shape: Any,
    dtype: DType,
    device: str | int | Device,
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: MemoryFormat | None = None,
) -> Tensor:
    """A tensor of uniform random numbers, for tests.

    Args:
        *shape: The sizes, one by one or as one sequence.
        dtype: Element type.
        device: Where it lives.
        low: The least number; by default -9, or 0 for bool and uint8.
        high: The number to stay below; by default 9 for floats, 10 for integers, 2 for bool.
        requires_grad: Whether gradients are computed for it.
        noncontiguous: Whether its elements lie apart in memory.
        exclude_zero: Whether zeros are replaced by the least positive number.
        memory_format: The order of the axes in memory.

    Raises:
        ArgumentError: low is not below high; it is to be non-contiguous and in a memory format.
        GradientError: integers are to require grad.
    """
    if noncontiguous and memory_format is not None:
        raise ArgumentError("make_tensor: noncontiguous and memory_format exclude each other", hint="give one of them")
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    floating = dtype.is_floating_point
    least = 0 if dtype.kind in "bu" else -9
    most = 2 if dtype.kind == "b" else 9 if floating else 10
    first, last = least if low is None else low, most if high is None else high
    if not first < last and 0 not in sizes:
        raise ArgumentError(f"make_tensor: low={first} is not below high={last}", hint="exchange them")
    doubled = (*sizes[:-1], 2 * sizes[-1]) if noncontiguous and sizes else sizes
    if floating:
        made = functions.rand(doubled, dtype=dtype, device=device) * (last - first) + first
    else:
        made = functions.randint(int(first), int(last), doubled, device=device).to(dtype)
    made = made.detach()[..., ::2] if doubled != sizes else made
    if exclude_zero:
        tiny = float(np.finfo(np.float32).tiny) if floating else 1
        made[made == 0] = tiny
    if memory_format is not None:
        made = in_format("make_tensor", made, memory_format)
    return made.requires_grad_() if requires_grad else made
