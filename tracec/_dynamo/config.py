"""Settings of PyTorch's recorder. Programs may write them and read what they wrote; nothing follows from them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tracec._inductor.config import patched
from tracec.errors import name_missing

assume_static_by_default = True
automatic_dynamic_shapes = True
cache_size_limit = recompile_limit = 8
accumulated_cache_size_limit = accumulated_recompile_limit = 256
capture_dynamic_output_shape_ops = capture_scalar_outputs = True
compiled_autograd = optimize_ddp = suppress_errors = verbose = False


def patch(arg1: Any = None, arg2: Any = None, **kwargs: Any) -> Any:
    """Within, settings have other values; a context, and a decorator."""
    return patched(sys.modules[__name__], arg1, arg2, kwargs)


if not TYPE_CHECKING:

    def __getattr__(name):
        raise name_missing(sys.modules[__name__], name)
