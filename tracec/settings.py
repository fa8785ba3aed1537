"""PyTorch's switches of the whole program: threads, determinism, precision of products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.ir.dtype import DType
from tracec.ir.number import observe
from tracec.record.backend import set_default_device
from tracec.record.legacy import meant
from tracec.record.state import PROCESS
from tracec.record.tensor import set_default_dtype
from tracec.runtime import threads


def _count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ArgumentTypeError(f"{name}: takes an integer, {type(value).__name__} given", hint="e.g. 4")
    if value < 1:
        raise ArgumentError(f"{name}: expects a positive integer, {value} given", hint="give 1 or more")
    return value


# Threads ----------------------------------------------------------------------------------------------


def set_num_threads(int: int) -> None:
    """Let compiled programs run on so many threads of the CPU, rather than on as many as their calls show to be best.

    NumPy, which computes eagerly, has threads in matrix products alone, which its own variables limit
    (``OMP_NUM_THREADS``).

    Raises:
        ArgumentTypeError: it is no integer.
        ArgumentError: it is below 1.
    """
    threads.Asked.count = _count("set_num_threads", int)


def get_num_threads() -> int:
    """The most threads of the CPU that compiled programs run on."""
    observe("how many threads there may be, get_num_threads")
    return threads.most()


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Within, compiled programs run on so many threads."""
    before, threads.Asked.count = threads.Asked.count, _count("num_threads", count)
    try:
        yield
    finally:
        threads.Asked.count = before


class _Interop:
    """What was set and has no effect: there is no pool of threads between operations."""

    threads = 1


def set_num_interop_threads(int: int) -> None:
    """Note a number of threads for work side by side; one operation runs at a time here, so that it changes nothing.

    Raises:
        ArgumentTypeError: it is no integer.
        ArgumentError: it is below 1.
    """
    _Interop.threads = _count("set_num_interop_threads", int)


def get_num_interop_threads() -> int:
    """What `set_num_interop_threads` was given."""
    return _Interop.threads


# Determinism ------------------------------------------------------------------------------------------


class _Deterministic:
    """What was asked for: nothing, or determinism with warnings, or with errors."""

    mode = 0


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Ask for the same results from run to run, or do without.

    Every operation gives the same bits from run to run unless ``False`` was asked for. Then what compiled functions add
    at computed positions (`scatter_add`, `index_add`, gradients of `embedding` and of indexing) may be added by atomic
    operations of a GPU, in whatever order threads come: a pass less over values and positions, which are not sorted.
    That goes for float32, float64 and integers of 32 and 64 bits; 16-bit floats are summed in float32, in order.
    Compiled functions are recorded anew when it changes; ``disable={"deterministic"}`` does the same for one function.

    Args:
        mode: Whether to ask for it.
        warn_only: Whether operations that cannot do so are to warn rather than raise; there are none.
    """
    _set_mode((1 if warn_only else 2) if mode else 0)


def _set_mode(mode: int) -> None:
    observe("a setting, use_deterministic_algorithms")
    _Deterministic.mode = mode
    PROCESS.any_order = mode == 0


def are_deterministic_algorithms_enabled() -> bool:
    """Whether `use_deterministic_algorithms` asked for it."""
    return _Deterministic.mode > 0


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether it was asked for with ``warn_only``."""
    observe("a setting, is_deterministic_algorithms_warn_only_enabled")
    return _Deterministic.mode == 1


_MODES = ("default", "warn", "error")


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """The same as `use_deterministic_algorithms`, by name: ``default``, ``warn`` or ``error``, or 0, 1 or 2.

    Raises:
        ArgumentError: there is no such mode.
    """
    found = _MODES.index(debug_mode) if debug_mode in _MODES else debug_mode
    if found not in (0, 1, 2):
        raise ArgumentError(f"set_deterministic_debug_mode: {debug_mode!r} is not known", hint=f"one of {_MODES}")
    _set_mode(int(found))


def get_deterministic_debug_mode() -> int:
    """0, 1 or 2: not asked for, asked for with ``warn_only``, asked for."""
    observe("a setting, get_deterministic_debug_mode")
    return _Deterministic.mode


# Precision --------------------------------------------------------------------------------------------


class _Products:
    """The precision that float32 products may have."""

    precision = "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """Say how precise matrix products of float32 have to be: ``highest``, ``high`` or ``medium``.

    The lower two allow TensorFloat-32 and bfloat16 inside of products. They are a permission, which products here
    do not use: they are computed in float32.

    Raises:
        ArgumentError: there is no such precision.
    """
    if precision not in ("highest", "high", "medium"):
        raise ArgumentError(
            f"set_float32_matmul_precision: {precision!r} is not known", hint="use 'highest', 'high' or 'medium'"
        )
    observe("a setting, set_float32_matmul_precision")
    _Products.precision = precision


def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` was given."""
    observe("a setting, get_float32_matmul_precision")
    return _Products.precision


def set_flush_denormal(mode: bool) -> bool:
    """Ask that numbers too small for full precision become zero; not done here, which False says."""
    return False


# Types ------------------------------------------------------------------------------------------------


def set_default_tensor_type(t: object) -> None:
    """Let new tensors be of a type: ``set_default_tensor_type(tracec.DoubleTensor)``, or its name.

    Raises:
        ArgumentTypeError: it is no type of tensors, or not of floats.
    """
    dtype, device = (t, "cpu") if isinstance(t, DType) else meant("set_default_tensor_type", t)
    set_default_dtype(dtype)
    set_default_device(None if device == "cpu" else device)
