"""cuDNN, which tracec does without: convolutions are kernels of its own. The switches are there for programs that
set them, and have nothing to switch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Whether cuDNN may be used.
enabled = True
#: Whether the fastest algorithm is searched for; kernels are chosen when a function is compiled.
benchmark = False
benchmark_limit = 10
#: Whether results are to be the same from run to run; they are.
deterministic = False
#: Whether products may be computed in TensorFloat-32; they are computed in float32.
allow_tf32 = True


def is_available() -> bool:
    """Whether cuDNN is used: no."""
    return False


def is_acceptable(tensor: Any) -> bool:
    """Whether cuDNN would take a tensor: no."""
    return False


def version() -> None:
    """cuDNN's version; None, since it is not used."""


def set_flags(
    _enabled: bool | None = None,
    _benchmark: bool | None = None,
    _benchmark_limit: int | None = None,
    _deterministic: bool | None = None,
    _allow_tf32: bool | None = None,
) -> tuple[bool, bool, int, bool, bool]:
    """Set those that are given; the values before."""
    before = (enabled, benchmark, benchmark_limit, deterministic, allow_tf32)
    given = (_enabled, _benchmark, _benchmark_limit, _deterministic, _allow_tf32)
    names = ("enabled", "benchmark", "benchmark_limit", "deterministic", "allow_tf32")
    globals().update({n: v for n, v in zip(names, given, strict=True) if v is not None})
    return before


@contextmanager
def flags(
    enabled: bool = False,
    benchmark: bool = False,
    benchmark_limit: int = 10,
    deterministic: bool = False,
    allow_tf32: bool = True,
) -> Iterator[None]:
    """Within, the switches have these values."""
    before = set_flags(enabled, benchmark, benchmark_limit, deterministic, allow_tf32)
    try:
        yield
    finally:
        set_flags(*before)
