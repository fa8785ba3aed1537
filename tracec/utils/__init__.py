"""Helpers around training."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tracec.errors import name_missing
from tracec.ir.forks import imported
from tracec.utils.swapping import swap_tensors

if TYPE_CHECKING:
    from tracec.utils import benchmark, checkpoint, data, dlpack, hooks
    from tracec.utils import tensorboard as tensorboard

#: Modules that are imported when they are first asked for.
_LATER = ("_pytree", "benchmark", "checkpoint", "data", "dlpack", "hooks", "model_zoo", "tensorboard")


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise name_missing(sys.modules[__name__], name)
    return imported(f"tracec.utils.{name}")


__all__ = ["benchmark", "checkpoint", "data", "dlpack", "hooks", "swap_tensors"]
