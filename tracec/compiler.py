"""What a function can ask of the compiler that records it, under the names of ``torch.compiler``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tracec.compile import compile as compile
from tracec.compiled import EVERY, Compiled
from tracec.record.state import STATE
from tracec.recording_lock import RECORDING_LOCK, wait_to_record


def is_compiling() -> bool:
    """Whether a compiled function is being recorded."""
    return STATE.recorder is not None


def is_dynamo_compiling() -> bool:
    """The same, under the name of PyTorch's recorder."""
    return STATE.recorder is not None


def is_exporting() -> bool:
    """Whether a function is being recorded to be exported: no."""
    return False


def cudagraph_mark_step_begin() -> None:
    """Say that results of the step before are no longer looked at.

    Nothing follows from it: results of compiled functions are never overwritten by another call.
    """


def disable(fn: Callable[..., Any] | None = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """The function as it is written, not compiled by itself.

    Within a compiled function it is recorded with all else that this does: what is recorded does what was written, so
    that nothing is to be kept from the recorder; where it cannot be, the compiled function runs as it is written.

    Args:
        fn: A function, which may be compiled; without it, a decorator comes back.
        recursive: Taken as in PyTorch, with no effect: it tells what is kept from the recorder.
        reason: Taken as in PyTorch, with no effect.
    """
    if fn is None:
        return partial(disable, recursive=recursive, reason=reason)
    return fn.fn if isinstance(fn, Compiled) else fn


def reset() -> None:
    """Forget what was recorded of all compiled functions, so that the next call of each is as its first one.

    Programs that were generated stay in the cache on disk.
    """
    wait_to_record("compiler.reset")
    try:
        for compiled in list(EVERY):
            compiled._begin()
    finally:
        RECORDING_LOCK.release()


def list_backends(exclude_tags: Any = ()) -> list[str]:
    """Names that ``compile(backend=...)`` takes beside others, all for the one compiler.

    Args:
        exclude_tags: Taken as in PyTorch, with no effect.
    """
    return ["inductor"]


__all__ = [
    "compile", "cudagraph_mark_step_begin", "disable", "is_compiling", "is_dynamo_compiling", "is_exporting",
    "list_backends", "reset",
]  # fmt: skip
