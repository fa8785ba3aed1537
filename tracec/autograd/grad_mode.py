"""Switching gradients on and off."""

from __future__ import annotations

from typing import Any

from tracec.record.mode import (
    Mode,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)


class set_multithreading_enabled(Mode):
    """PyTorch's switch for going back in several threads; here it is always one, so that nothing changes."""

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self.mode = bool(mode)

    def _switch(self) -> Any:
        return None

    def _restore(self, before: Any) -> None:
        return None

    def _again(self) -> Mode:
        return set_multithreading_enabled(self.mode)


__all__ = [
    "enable_grad", "inference_mode", "is_grad_enabled", "is_inference_mode_enabled", "no_grad", "set_grad_enabled",
    "set_multithreading_enabled",
]  # fmt: skip
