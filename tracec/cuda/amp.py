"""Mixed precision on CUDA devices, under its old names; `tracec.amp` has it for every device."""

from __future__ import annotations

from tracec.amp import GradScaler as _GradScaler
from tracec.amp import autocast as _autocast
from tracec.amp import custom_bwd, custom_fwd
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


class GradScaler(_GradScaler):
    """`tracec.amp.GradScaler` for CUDA tensors.

    Args:
        init_scale: The first factor.
        growth_factor: What it is multiplied by after a run of steps without overflow.
        backoff_factor: What it is multiplied by after an overflow.
        growth_interval: How many steps such a run has.
        enabled: Whether it does anything.
    """

    def __init__(
        self, init_scale: float = 65536.0, growth_factor: float = 2.0, backoff_factor: float = 0.5,
        growth_interval: int = 2000, enabled: bool = True,
    ) -> None:  # fmt: skip
        super().__init__("cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled)


__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]
