"""New tensors of numbers in order: ranges, the identity, positions in matrices."""

from __future__ import annotations

import math
from typing import Any, Unpack

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, DTypeError
from tracec.functions.common import check_number, check_real, check_room, fail, integers, iota, sizes_of
from tracec.functions.options import Options, OutOptions, create, dtype_of
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.extent import as_real, plain
from tracec.ir.source import warn
from tracec.record import promote
from tracec.record.backend import Device, to_device
from tracec.record.create import of_numbers
from tracec.record.opaque import unwrapped
from tracec.record.tensor import Tensor

Number = int | float | complex | Tensor


def _numbers(name: str, **given: Any) -> list[int | float]:
    """Arguments as Python numbers.

    Raises:
        ArgumentTypeError: one is no real number.
    """
    found = []
    for what, value in given.items():
        check_real(name, value, what)
        found.append(value.item() if isinstance(value, (Tensor, np.generic)) else unwrapped(value))
    return found


def arange(start: Number, end: Number | None = None, step: Number = 1, **options: Unpack[OutOptions]) -> Tensor:
    """``start, start + step, …`` up to ``end``, which is left out; with one argument, from 0 up to it.

    The element type is int64 where all arguments are integers, else the floating type of new tensors.

    Args:
        start: The first number; with one argument the end.
        end: Where to stop, itself left out.
        step: From one number to the next; negative to go down.
        **options: ``dtype``, ``device``, ``requires_grad`` and ``out``.

    Returns:
        One axis of ``ceil((end - start) / step)`` elements.

    Raises:
        ArgumentError: the step is 0, or leads away from the end; the range is not finite.
        DTypeError: the element type is bool.
    """
    if end is None:
        start, end = 0, start
    first, last, by = _numbers("arange", start=start, end=end, step=step)
    whole = not any(isinstance(v, float) for v in (first, last, by))
    default = dt.int64 if whole else promote.DEFAULT_FLOAT
    count = _count("arange", first, last, by, dtype_of("arange", options.get("dtype")) or default)
    return create(
        "arange",
        options,
        lambda dtype, device: _progression("arange", first, by, count, dtype, device),
        dtype=default,
        takes=OutOptions,
    )


def range(start: Number, end: Number, step: Number = 1, **options: Unpack[OutOptions]) -> Tensor:
    """`arange` with its end included, floating; deprecated in PyTorch, since Python's ``range`` leaves the end out."""
    warn("range: deprecated; use tracec.arange, which leaves the end out as Python's range does", UserWarning)
    first, last, by = _numbers("range", start=start, end=end, step=step)
    _check_range("range", first, last, by)
    count = math.floor((last - first) / by) + 1
    return create(
        "range",
        options,
        lambda dtype, device: _progression("range", first, by, count, dtype, device),
        takes=OutOptions,
    )


def _check_range(name: str, first: float, last: float, by: float) -> None:
    if not all(isinstance(v, int) or math.isfinite(v) for v in (first, last, by)):
        fail(ArgumentError, f"{name}: unsupported range: {first} to {last} by {by}", "give finite numbers")
    if by == 0:
        fail(ArgumentError, f"{name}: step must be nonzero", "give a step that leads from start to end")
    if (last - first) * by < 0:
        fail(
            ArgumentError,
            f"{name}: upper bound and lower bound inconsistent with step sign: step {by} does not lead from {first} "
            f"to {last}",
            "change its sign",
        )


def _count(name: str, first: float, last: float, by: float, dtype: DType) -> int:
    _check_range(name, first, last, by)
    if dtype is dt.int64:
        # PyTorch cuts the bounds to integers first for int64, and for no other type.
        first, last, by = (v if isinstance(v, int) else int(v) for v in (first, last, by))
        _check_range(name, first, last, by)
    if isinstance(first, int) and isinstance(last, int) and isinstance(by, int):
        return -((first - last) // by)
    return math.ceil((last - first) / by)


def _progression(name: str, first: float, by: float, count: int, dtype: DType, device: Device) -> Tensor:
    """``first + i · by`` for each i below the count."""
    if dtype is dt.bool_:
        fail(DTypeError, f"{name}: not implemented for bool", "use an integer or a floating type")
    place = str(device)
    whole = isinstance(first, int) and isinstance(by, int)
    exact = whole and dtype.itemsize >= 4 and abs(first) + abs(by) * count < 2**24
    if dtype.is_floating_point and not exact:
        i = ops.iota(shape=(count,), axis=0, dtype=dt.float64, device=place)
        return ops.cast(ops.add(ops.mul(i, float(by)), float(first)), dtype=dtype)
    made = ops.iota(shape=(count,), axis=0, dtype=dtype, device=place)
    made = made if by == 1 else ops.mul(made, by if isinstance(by, int) else int(by))
    return made if first == 0 else ops.add(made, first if isinstance(first, int) else int(first))


def _steps(name: str, steps: Any) -> int:
    (found,) = integers(name, (steps,), "steps")
    if found < 0:
        fail(ArgumentError, f"{name}: number of steps must be non-negative, steps={found}", "give 0 or more")
    return found


def _even(start: complex, end: complex, steps: int, dtype: DType, device: Device) -> Tensor:
    """Numbers at equal distances, as float64 or complex128; between integers where the element type is one."""
    number: Any = float
    if dtype.is_complex:
        number = complex
    elif not dtype.is_floating_point:
        number = int
    start, end = number(start), number(end)
    i = ops.iota(shape=(steps,), axis=0, dtype=dt.float64, device=str(device))
    by = (end - start) / as_real(max(steps - 1, 1))
    # The second half is counted back from the end, so that both ends are exact.
    up, down = ops.add(ops.mul(i, by), start), ops.add(ops.mul(ops.sub(i, steps - 1), by), end)
    return ops.where(ops.lt(i, steps // 2 or 1), up, down)


def linspace(start: Number, end: Number, steps: int, **options: Unpack[OutOptions]) -> Tensor:
    """So many numbers at equal distances from ``start`` to ``end``, both included; complex where one of these is.

    Args:
        start: The first number, or a scalar tensor.
        end: The last one, likewise.
        steps: How many numbers.
        **options: ``dtype``, floating by default, ``device``, ``requires_grad`` and ``out``.

    Returns:
        Shape ``(steps,)``.

    Raises:
        DTypeError: an end is complex, and the dtype that is asked for is not.
    """
    ends = []
    for what, value in (("start", start), ("end", end)):
        check_number("linspace", value, what)
        ends.append(value.item() if isinstance(value, (Tensor, np.generic)) else value)
    count = _steps("linspace", steps)
    given = any(isinstance(e, complex) for e in ends)
    default = promote.DEFAULT_FLOAT.to_complex() if given else promote.DEFAULT_FLOAT

    def make(dtype: DType, device: Device) -> Tensor:
        if given and not dtype.is_complex:
            fail(DTypeError, f"linspace: inferred {default.name} can't be safely cast to {dtype.name}", "leave it")
        return ops.cast(_even(ends[0], ends[1], count, dtype, device), dtype=dtype)

    return create("linspace", options, make, dtype=default, takes=OutOptions)


def logspace(start: Number, end: Number, steps: int, base: float = 10.0, **options: Unpack[OutOptions]) -> Tensor:
    """``base`` to the powers that `linspace` gives."""
    first, last = _numbers("logspace", start=start, end=end)
    count = _steps("logspace", steps)
    return create(
        "logspace",
        options,
        lambda dtype, device: ops.cast(ops.pow(float(base), _even(first, last, count, dtype, device)), dtype=dtype),
        takes=OutOptions,
    )


def eye(n: int, m: int | None = None, **options: Unpack[OutOptions]) -> Tensor:
    """A matrix with ones on its diagonal.

    Args:
        n: Rows.
        m: Columns; as many as rows by default.
        **options: ``dtype``, ``device``, ``requires_grad`` and ``out``.

    Returns:
        Shape ``(n, m)``.
    """
    rows, columns = sizes_of("eye", (n, n if m is None else m))

    def make(dtype: DType, device: Device) -> Tensor:
        if device != "meta":
            check_room("eye", plain(rows) * plain(columns))
        like = ops.full(0, (), dtype, str(device))
        on = ops.eq(iota((rows, 1), 0, dt.int64, like), iota((1, columns), 1, dt.int64, like))
        return ops.cast(on, dtype=dtype)

    return create("eye", options, make, takes=OutOptions)


def _indices(name: str, positions: Any, row: int, col: int, offset: int, options: Any) -> Tensor:
    rows, columns = sizes_of(name, (row, col))
    (shift,) = integers(name, (offset,), "offset")

    def make(dtype: DType, device: Device) -> Tensor:
        return of_numbers(to_device(np.stack(positions(rows, shift, columns)).astype(dtype.numpy), device))

    return create(name, options, make, dtype=dt.int64, takes=Options)


def tril_indices(row: int, col: int, offset: int = 0, **options: Unpack[Options]) -> Tensor:
    """Positions on and below a diagonal: a row of row numbers and one of columns."""
    return _indices("tril_indices", np.tril_indices, row, col, offset, options)


def triu_indices(row: int, col: int, offset: int = 0, **options: Unpack[Options]) -> Tensor:
    """Positions on and above a diagonal: a row of row numbers and one of columns."""
    return _indices("triu_indices", np.triu_indices, row, col, offset, options)
