"""`autocast` for CUDA tensors, under its old name."""

from __future__ import annotations

from tracec.amp.autocast_mode import autocast as _autocast
from tracec.amp.autocast_mode import custom_bwd, custom_fwd
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType


class autocast(_autocast):
    """`tracec.amp.autocast` for CUDA tensors.

    Args:
        enabled: Whether it is on within, or off.
        dtype: ``float16`` or ``bfloat16``.
        cache_enabled: PyTorch's argument; see `tracec.amp.autocast`.
    """

    def __init__(self, enabled: bool = True, dtype: DType = dt.float16, cache_enabled: bool = True) -> None:
        super().__init__("cuda", dtype=dtype, enabled=enabled, cache_enabled=cache_enabled)


__all__ = ["autocast", "custom_bwd", "custom_fwd"]
