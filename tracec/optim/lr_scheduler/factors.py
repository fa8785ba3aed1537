"""Schedulers that multiply the rate by a factor at each epoch, or at some."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tracec.errors import ArgumentError
from tracec.optim.lr_scheduler.base import LRScheduler, load_functions, one_for_each, saved_functions
from tracec.optim.optimizer import Optimizer
from tracec.optim.options import check_not_zero, check_numbers

Factor = Callable[[int], float]


class _ByFunction(LRScheduler):
    """A scheduler with a function for each group."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Factor | list[Factor], last_epoch: int = -1) -> None:
        self.lr_lambdas: list[Factor] = one_for_each(type(self).__name__, "lr_lambdas", lr_lambda, optimizer)
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """All that it remembers; of functions only the attributes of objects that can be called."""
        state = {key: value for key, value in super().state_dict().items() if key != "lr_lambdas"}
        return {**state, "lr_lambdas": saved_functions(self.lr_lambdas)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; functions stay."""
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "lr_lambdas"})
        load_functions(self.lr_lambdas, state_dict["lr_lambdas"])


class LambdaLR(_ByFunction):
    """The first rate times a function of the epoch.

    Args:
        optimizer: Whose rates to set.
        lr_lambda: Epoch → factor; one for all groups, or one for each.
        last_epoch: The epoch to resume from.
    """

    def get_lr(self) -> list[float]:
        return [base * f(self.last_epoch) for f, base in zip(self.lr_lambdas, self.base_lrs, strict=True)]


class MultiplicativeLR(_ByFunction):
    """The rate before times a function of the epoch.

    Args:
        optimizer: Whose rates to set.
        lr_lambda: Epoch → factor; one for all groups, or one for each.
        last_epoch: The epoch to resume from.
    """

    def get_lr(self) -> list[float]:
        if self.last_epoch <= 0:
            return self._rates()
        return [rate * f(self.last_epoch) for f, rate in zip(self.lr_lambdas, self._rates(), strict=True)]


class StepLR(LRScheduler):
    """The rate times ``gamma`` every ``step_size`` epochs.

    Args:
        optimizer: Whose rates to set.
        step_size: Epochs between two changes.
        gamma: The factor.
        last_epoch: The epoch to resume from.
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        check_not_zero("StepLR", step_size=step_size)
        check_numbers("StepLR", gamma=gamma)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        changes = self.last_epoch and not self.last_epoch % self.step_size
        return [rate * self.gamma for rate in self._rates()] if changes else self._rates()

    def closed_form(self) -> list[float]:
        return [base * self.gamma ** (self.last_epoch // self.step_size) for base in self.base_lrs]


class MultiStepLR(LRScheduler):
    """The rate times ``gamma`` at each of the milestones.

    Args:
        optimizer: Whose rates to set.
        milestones: Epochs of changes; one that is given twice counts twice.
        gamma: The factor.
        last_epoch: The epoch to resume from.
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:  # fmt: skip
        check_numbers("MultiStepLR", gamma=gamma)
        self.milestones, self.gamma = Counter(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        times = sum(n for milestone, n in self.milestones.items() if milestone == self.last_epoch)
        if not times:
            return self._rates()
        return [rate * self.gamma**times for rate in self._rates()]

    def closed_form(self) -> list[float]:
        passed = bisect_right(sorted(self.milestones.elements()), self.last_epoch)
        return [base * self.gamma**passed for base in self.base_lrs]


class ConstantLR(LRScheduler):
    """The rate times ``factor`` in the first ``total_iters`` epochs.

    Args:
        optimizer: Whose rates to set.
        factor: The factor, above 0 and at most 1.
        total_iters: Number of epochs with it.
        last_epoch: The epoch to resume from.

    Raises:
        ArgumentError: the factor is out of range.
    """

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:  # fmt: skip
        check_numbers("ConstantLR", factor=factor, total_iters=total_iters)
        if not 0 <= factor <= 1.0:
            raise ArgumentError(
                f"ConstantLR: factor is {factor}", hint="Constant multiplicative factor expected to be between 0 and 1."
            )
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [rate * self.factor for rate in self._rates()]
        if self.last_epoch != self.total_iters:
            return self._rates()
        return [rate * (1.0 / self.factor) for rate in self._rates()]

    def closed_form(self) -> list[float]:
        return [base * (1.0 if self.last_epoch >= self.total_iters else self.factor) for base in self.base_lrs]


class LinearLR(LRScheduler):
    """The first rate times a factor that goes from one value to another in a line.

    Args:
        optimizer: Whose rates to set.
        start_factor: The factor in the beginning, above 0 and at most 1.
        end_factor: The factor in the end, from 0 to 1.
        total_iters: Epochs on the way.
        last_epoch: The epoch to resume from.

    Raises:
        ArgumentError: a factor is out of range.
    """

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1.0 / 3, end_factor: float = 1.0, total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        check_numbers("LinearLR", start_factor=start_factor, end_factor=end_factor, total_iters=total_iters)
        if not 0 < start_factor <= 1.0:
            raise ArgumentError(
                f"LinearLR: start_factor is {start_factor}",
                hint="Starting multiplicative factor expected to be greater than 0 and less or equal to 1.",
            )
        if not 0 <= end_factor <= 1.0:
            raise ArgumentError(
                f"LinearLR: end_factor is {end_factor}",
                hint="Ending multiplicative factor expected to be between 0 and 1.",
            )
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [rate * self.start_factor for rate in self._rates()]
        if self.last_epoch > self.total_iters:
            return self._rates()
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return [rate * (1.0 + rise / before) for rate in self._rates()]

    def closed_form(self) -> list[float]:
        passed = min(self.total_iters, self.last_epoch) / self.total_iters
        factor = self.start_factor + (self.end_factor - self.start_factor) * passed
        return [base * factor for base in self.base_lrs]


class ExponentialLR(LRScheduler):
    """The rate times ``gamma`` at each epoch.

    Args:
        optimizer: Whose rates to set.
        gamma: The factor.
        last_epoch: The epoch to resume from.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        check_numbers("ExponentialLR", gamma=gamma)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._rates() if self.last_epoch == 0 else [rate * self.gamma for rate in self._rates()]

    def closed_form(self) -> list[float]:
        return [base * self.gamma**self.last_epoch for base in self.base_lrs]


class PolynomialLR(LRScheduler):
    """The first rate times ``(1 - epoch / total_iters) ** power``, then 0.

    Args:
        optimizer: Whose rates to set.
        total_iters: Epochs on the way.
        power: The exponent.
        last_epoch: The epoch to resume from.
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        check_numbers("PolynomialLR", total_iters=total_iters, power=power)
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0 or self.last_epoch > self.total_iters:
            return self._rates()
        left, before = (1.0 - e / self.total_iters for e in (self.last_epoch, self.last_epoch - 1))
        return [rate * (left / before) ** self.power for rate in self._rates()]

    def closed_form(self) -> list[float]:
        left = 1.0 - min(self.total_iters, self.last_epoch) / self.total_iters
        return [base * left**self.power for base in self.base_lrs]
