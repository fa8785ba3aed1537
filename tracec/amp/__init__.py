"""Mixed precision: `autocast` chooses the types of functions, `GradScaler` keeps small gradients."""

import sys
from typing import TYPE_CHECKING

from tracec.amp.autocast_mode import autocast, custom_bwd, custom_fwd, is_autocast_available
from tracec.amp.grad_scaler import GradScaler
from tracec.errors import name_missing

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]


if not TYPE_CHECKING:

    def __getattr__(name):
        raise name_missing(sys.modules[__name__], name)
