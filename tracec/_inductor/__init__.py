"""PyTorch's compiler, as programs reach into it for its settings."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tracec._inductor import config
from tracec.compiler import cudagraph_mark_step_begin
from tracec.errors import name_missing

__all__ = ["config", "cudagraph_mark_step_begin"]


if not TYPE_CHECKING:

    def __getattr__(name):
        raise name_missing(sys.modules[__name__], name)
