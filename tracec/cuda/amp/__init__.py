"""Mixed precision on CUDA devices, under its old names; `tracec.amp` has it for every device."""

from __future__ import annotations

from tracec.cuda.amp.autocast_mode import autocast, custom_bwd, custom_fwd
from tracec.cuda.amp.grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]
