"""A scheduler that waits until a quantity no longer gets better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.optim.lr_scheduler.base import LRScheduler, number_for_each, set_option
from tracec.optim.optimizer import Optimizer
from tracec.optim.options import check_numbers


class ReduceLROnPlateau(LRScheduler):
    """The rate times ``factor`` when a quantity has not got better for some epochs.

    Args:
        optimizer: Whose rates to set.
        mode: Whether better is less, ``min``, or more, ``max``.
        factor: The factor, below 1.
        patience: Epochs without getting better that are let pass.
        threshold: How much better counts as better.
        threshold_mode: Whether that is a share of the best value, ``rel``, or a difference, ``abs``.
        cooldown: Epochs after a change in which nothing counts.
        min_lr: The least rate, one for all groups or one for each.
        eps: Changes that are smaller than this are left out.

    Raises:
        ArgumentError: an option is out of range.
        ArgumentTypeError: it is no optimiser.
    """

    def __init__(
        self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10,
        threshold: float = 1e-4, threshold_mode: str = "rel", cooldown: int = 0, min_lr: float | list[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:  # fmt: skip
        check_numbers("ReduceLROnPlateau", factor=factor)
        if factor >= 1.0:
            raise ArgumentError(f"ReduceLROnPlateau: factor is {factor}", hint="Factor should be < 1.0.")
        if not isinstance(optimizer, Optimizer):
            raise ArgumentTypeError(f"ReduceLROnPlateau: {type(optimizer).__name__} is not an Optimizer")
        if mode not in ("min", "max"):
            raise ArgumentError(f"ReduceLROnPlateau: mode {mode} is unknown!", hint="use 'min' or 'max'")
        if threshold_mode not in ("rel", "abs"):
            raise ArgumentError(
                f"ReduceLROnPlateau: threshold mode {threshold_mode} is unknown!", hint="use 'rel' or 'abs'"
            )
        self.optimizer = optimizer
        self.min_lrs = number_for_each("ReduceLROnPlateau", "min_lrs", min_lr, optimizer)
        self.mode, self.factor, self.patience, self.cooldown, self.eps = mode, factor, patience, cooldown, eps
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.last_epoch = 0
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = 0
        self._last_lr = self._rates()

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Look at the quantity after one more epoch.

        Args:
            metrics: Its value, a number or a tensor of one element.
            epoch: The number of the epoch, in place of one more than the last.
        """
        now = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self.is_better(now, self.best):
            self.best, self.num_bad_epochs = now, 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = self._rates()

    def _reduce(self) -> None:
        for group, rate, least in zip(self.optimizer.param_groups, self._rates(), self.min_lrs, strict=True):
            new = max(rate * self.factor, least)
            if rate - new > self.eps:
                set_option(group, "lr", new)

    @property
    def in_cooldown(self) -> bool:
        """Whether nothing counts for the present."""
        return self.cooldown_counter > 0

    def is_better(self, a: float, best: float) -> bool:
        """Whether a value is better than the best so far by the threshold."""
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "abs":
            return sign * a < sign * best - self.threshold
        return sign * a < sign * best * (1.0 - sign * self.threshold)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.__dict__.update(state_dict)
