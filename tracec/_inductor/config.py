"""Settings of PyTorch's compiler. Programs may write them and read what they wrote; nothing follows from them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tracec.errors import name_missing

coordinate_descent_tuning = epilogue_fusion = max_autotune = max_autotune_gemm = False
force_fuse_int_mm_with_mul = shape_padding = freezing = False
fx_graph_cache = True
#: Groups of settings, in which programs write as well.
triton, cpp, cuda, aot_inductor = SimpleNamespace(), SimpleNamespace(), SimpleNamespace(), SimpleNamespace()


@contextmanager
def patched(module: Any, arg1: Any, arg2: Any, kwargs: Mapping[str, Any]) -> Iterator[None]:
    """Within, settings of a module have other values.

    Args:
        module: The module.
        arg1: Settings by name, or the name of one.
        arg2: The value of the one.
        kwargs: Settings by name.
    """
    given = {**({arg1: arg2} if isinstance(arg1, str) else arg1 or {}), **kwargs}
    before = {name: getattr(module, name) for name in given if hasattr(module, name)}
    vars(module).update(given)
    try:
        yield
    finally:
        for name in given:
            if name in before:
                setattr(module, name, before[name])
            else:
                delattr(module, name)


def patch(arg1: Any = None, arg2: Any = None, **kwargs: Any) -> Any:
    """Within, settings have other values; a context, and a decorator."""
    return patched(sys.modules[__name__], arg1, arg2, kwargs)


if not TYPE_CHECKING:

    def __getattr__(name):
        raise name_missing(sys.modules[__name__], name)
