"""Settings of PyTorch's gradients ahead of time. Programs may write them; nothing follows from them."""

from __future__ import annotations

import sys
from typing import Any

from tracec._inductor.config import patched

donated_buffer = enable_autograd_cache = True


def patch(arg1: Any = None, arg2: Any = None, **kwargs: Any) -> Any:
    """Within, settings have other values; a context, and a decorator."""
    return patched(sys.modules[__name__], arg1, arg2, kwargs)
