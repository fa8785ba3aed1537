"""Schedulers along a cosine."""

from __future__ import annotations

import math

from tracec.errors import ArgumentError
from tracec.optim.lr_scheduler.base import LRScheduler
from tracec.optim.optimizer import Optimizer
from tracec.optim.options import check_not_zero, check_numbers


class CosineAnnealingLR(LRScheduler):
    """From the first rate to the least one along half a cosine, and back.

    Args:
        optimizer: Whose rates to set.
        T_max: Epochs on the way down.
        eta_min: The least rate.
        last_epoch: The epoch to resume from.

    Source: Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2016, eq. 5, without restarts.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        check_not_zero("CosineAnnealingLR", T_max=T_max)
        check_numbers("CosineAnnealingLR", eta_min=eta_min)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        epoch, least, half = self.last_epoch, self.eta_min, self.T_max
        if epoch == 0:
            return self._rates()
        if self._step_count == 1:
            return self.closed_form()
        rates = zip(self._rates(), self.base_lrs, strict=True)
        if (epoch - 1 - half) % (2 * half) == 0:  # the rate before was the least, which tells nothing
            return [rate + (base - least) * (1 - math.cos(math.pi / half)) / 2 for rate, base in rates]
        now, before = (1 + math.cos(math.pi * e / half) for e in (epoch, epoch - 1))
        return [now / before * (rate - least) + least for rate, _ in rates]

    def closed_form(self) -> list[float]:
        share = (1 + math.cos(math.pi * self.last_epoch / self.T_max)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """From the first rate to the least one along half a cosine, then from the start again.

    Args:
        optimizer: Whose rates to set.
        T_0: Epochs of the first run.
        T_mult: How many times longer each run is than the one before.
        eta_min: The least rate.
        last_epoch: The epoch to resume from.

    Raises:
        ArgumentError: ``T_0`` or ``T_mult`` is no positive integer.

    Source: Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2016.
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:  # fmt: skip
        for what, value in (("T_0", T_0), ("T_mult", T_mult)):
            if not isinstance(value, int) or value < 1:
                raise ArgumentError(
                    f"CosineAnnealingWarmRestarts: expected positive integer {what}, but got {value}", hint="e.g. 1"
                )
        self.T_0, self.T_i, self.T_mult, self.eta_min = T_0, T_0, T_mult, eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        share = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Go on by one epoch.

        Args:
            epoch: Where to go instead; a part of an epoch may be given.

        Raises:
            ArgumentError: it is negative.
        """
        self._step_count += 1
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur -= self.T_i
                self.T_i *= self.T_mult
        elif epoch < 0:
            raise ArgumentError(
                f"CosineAnnealingWarmRestarts: expected non-negative epoch, but got {epoch}", hint="0 or more"
            )
        else:
            self._go_to(epoch)
        self.last_epoch = math.floor(epoch)
        self._set(self.get_lr())

    def _go_to(self, epoch: float) -> None:
        """Find the run that an epoch is in."""
        runs = 0
        if epoch >= self.T_0 and self.T_mult == 1:
            self.T_cur, self.T_i = epoch % self.T_0, self.T_0
            return
        if epoch >= self.T_0:
            runs = int(math.log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
            epoch -= self.T_0 * (self.T_mult**runs - 1) / (self.T_mult - 1)
        self.T_cur, self.T_i = epoch, self.T_0 * self.T_mult**runs
