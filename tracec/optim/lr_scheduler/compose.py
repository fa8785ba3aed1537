"""Schedulers made of others."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from tracec.errors import ArgumentError
from tracec.optim.lr_scheduler.base import LRScheduler, set_option
from tracec.optim.lr_scheduler.plateau import ReduceLROnPlateau
from tracec.optim.optimizer import Optimizer


class _Composed(LRScheduler):
    _schedulers: list[LRScheduler]

    def state_dict(self) -> dict[str, Any]:
        """All that it remembers, and the states of its parts."""
        state = {key: value for key, value in super().state_dict().items() if key != "_schedulers"}
        return {**state, "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.__dict__.update({key: value for key, value in state_dict.items() if key != "_schedulers"})
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)


def _check(name: str, optimizer: Optimizer, schedulers: Sequence[LRScheduler]) -> None:
    if not schedulers:
        raise ArgumentError(f"{name}: expects at least one scheduler to be chained, but got no scheduler")
    for k, scheduler in enumerate(schedulers):
        if isinstance(scheduler, ReduceLROnPlateau):
            raise ArgumentError(
                f"{name}: does not support `ReduceLROnPlateau` scheduler as it requires additional kwargs",
                hint=f"scheduler {k} is one: step it by itself",
            )
        if scheduler.optimizer is not optimizer:
            raise ArgumentError(f"{name}: scheduler {k} is of another optimizer", hint="all must be of one optimizer")


class SequentialLR(_Composed):
    """One scheduler after the other.

    Args:
        optimizer: Whose rates to set.
        schedulers: The schedulers, all of that optimiser.
        milestones: Epochs at which the next one begins; one less than there are schedulers.
        last_epoch: The epoch to resume from.

    Raises:
        ArgumentError: the milestones do not fit, or a scheduler is of another optimiser.
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int], last_epoch: int = -1
    ) -> None:  # fmt: skip
        _check("SequentialLR", optimizer, schedulers)
        if len(milestones) != len(schedulers) - 1:
            raise ArgumentError(
                "SequentialLR: expects number of schedulers provided to be one more than the number of milestone "
                f"points, but got {len(schedulers)} and {len(milestones)}"
            )
        self._schedulers, self._milestones, self.optimizer = schedulers, milestones, optimizer
        self.last_epoch = last_epoch + 1
        # Each of them made its first step when it was made: take all of these back, and make that of the first again.
        for group in optimizer.param_groups:
            set_option(group, "lr", group["initial_lr"])
        for scheduler in schedulers:
            scheduler.last_epoch -= 1
        schedulers[0]._step_count = 0
        schedulers[0].step()
        self._last_lr = schedulers[0].get_last_lr()

    def step(self) -> None:  # type: ignore[override]
        """Go on by one epoch."""
        self.last_epoch += 1
        k = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[k]
        if k > 0 and self._milestones[k - 1] == self.last_epoch:
            scheduler.step(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


class ChainedScheduler(_Composed):
    """Several schedulers that all step at each epoch.

    Args:
        schedulers: The schedulers, all of one optimiser.
        optimizer: The optimiser; by default the first scheduler's.

    Raises:
        ArgumentError: there is no scheduler, or one is of another optimiser.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        given = list(schedulers)
        first = optimizer or (given[0].optimizer if given else None)
        _check("ChainedScheduler", first, given)  # type: ignore[arg-type]
        self._schedulers, self.optimizer = given, given[0].optimizer
        self._last_lr = self._rates()

    def step(self) -> None:  # type: ignore[override]
        """Go on by one epoch."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = self._rates()
