"""What models ask of PyTorch's exporter while they run: whether they are being written as ONNX. They never are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tracec.errors import name_missing


def is_in_onnx_export() -> bool:
    """Whether a model is being written: no."""
    return False


__all__ = ["is_in_onnx_export"]

if not TYPE_CHECKING:

    def __getattr__(name):
        raise name_missing(sys.modules[__name__], name)
