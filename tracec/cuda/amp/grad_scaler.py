"""`GradScaler` for CUDA tensors, under its old name."""

from __future__ import annotations

from tracec.amp.grad_scaler import GradScaler as _GradScaler


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


__all__ = ["GradScaler"]
