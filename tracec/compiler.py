"""What a function can ask of the compiler that records it, under the names of ``torch.compiler``."""

from __future__ import annotations

from tracec.compile import compile as compile
from tracec.record.state import STATE


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


__all__ = ["compile", "cudagraph_mark_step_begin", "is_compiling", "is_dynamo_compiling", "is_exporting"]
