"""What Python programs read of PyTorch's C++ part: whether they are traced, how a subclass of tensors opts out, …"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tracec.errors import LinAlgError as _LinAlgError
from tracec.errors import name_missing
from tracec.record.overriding import disabled as _disabled_torch_function_impl


def _get_tracing_state() -> None:
    """What is being traced: nothing."""


def _is_tracing() -> bool:
    """Whether something is being traced: no."""
    return False


def _log_api_usage_once(event: str) -> None:
    """Count the use of a name: nothing is counted."""


__all__ = ["_LinAlgError", "_disabled_torch_function_impl", "_get_tracing_state", "_is_tracing", "_log_api_usage_once"]

if not TYPE_CHECKING:

    def __getattr__(name):
        raise name_missing(sys.modules[__name__], name)
