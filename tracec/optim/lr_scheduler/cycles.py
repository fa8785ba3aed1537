"""Schedulers whose rates rise and fall, momentum the other way round."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tracec.errors import ArgumentError
from tracec.optim.lr_scheduler.base import LRScheduler, number_for_each, set_option
from tracec.optim.optimizer import Optimizer
from tracec.optim.options import check_not_zero, check_numbers
from tracec.optim.updates import Group


class _WithMomentum(LRScheduler):
    """A scheduler that sets the momentum too: SGD's, or Adam's first beta."""

    def _check_momentum(self) -> None:
        if not {"momentum", "betas"} & self.optimizer.defaults.keys():
            raise ArgumentError(
                f"{type(self).__name__}: optimizer must support momentum or beta1 with `cycle_momentum` option enabled",
                hint="pass cycle_momentum=False",
            )

    def _set_momentum(self, group: Group, value: float) -> None:
        if "betas" in self.optimizer.defaults:
            group["betas"] = (value, *group["betas"][1:])
        else:
            set_option(group, "momentum", value)


class CyclicLR(_WithMomentum):
    """Rates that rise and fall between two bounds, over and over.

    Args:
        optimizer: Whose rates to set.
        base_lr: The lower bound, one for all groups or one for each.
        max_lr: The upper bound, likewise.
        step_size_up: Steps upwards.
        step_size_down: Steps downwards; by default as many.
        mode: ``triangular``, ``triangular2`` (the height is halved at each cycle) or ``exp_range`` (it shrinks by
            ``gamma`` at each step).
        gamma: For ``exp_range``.
        scale_fn: A height of your own, in place of ``mode``.
        scale_mode: Whether ``scale_fn`` is given the number of the ``cycle``, from 1, or of ``iterations``.
        cycle_momentum: Whether the momentum goes the other way round.
        base_momentum: Its lower bound.
        max_momentum: Its upper bound.
        last_epoch: The step to resume from.

    Raises:
        ArgumentError: the mode is unknown, or the optimiser has no momentum to cycle.

    Source: Smith, "Cyclical Learning Rates for Training Neural Networks", 2015.
    """

    def __init__(
        self, optimizer: Optimizer, base_lr: float | list[float], max_lr: float | list[float],
        step_size_up: int = 2000, step_size_down: int | None = None, mode: str = "triangular", gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None, scale_mode: str = "cycle", cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8, max_momentum: float | list[float] = 0.9, last_epoch: int = -1,
    ) -> None:  # fmt: skip
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ArgumentError(
                f"CyclicLR: mode={mode!r} is invalid and scale_fn is None",
                hint="use 'triangular', 'triangular2' or 'exp_range'",
            )
        self.optimizer = optimizer
        lower = number_for_each("CyclicLR", "base_lr", base_lr, optimizer)
        if last_epoch == -1:
            for group, value in zip(optimizer.param_groups, lower, strict=True):
                set_option(group, "lr", value)
                group["initial_lr"] = value
        self.max_lrs = number_for_each("CyclicLR", "max_lr", max_lr, optimizer)
        down = step_size_up if step_size_down is None else step_size_down
        check_numbers("CyclicLR", step_size_down=down)
        check_not_zero("CyclicLR", step_size_up=step_size_up)
        self.total_size = float(step_size_up + down)
        self.step_ratio = step_size_up / self.total_size
        self.mode, self.gamma, self.cycle_momentum = mode, gamma, cycle_momentum
        self.scale_mode = scale_mode if scale_fn is not None else "iterations" if mode == "exp_range" else "cycle"
        self._scale_fn = scale_fn
        if cycle_momentum:
            self._check_momentum()
            self.base_momentums = number_for_each("CyclicLR", "base_momentum", base_momentum, optimizer)
            self.max_momentums = number_for_each("CyclicLR", "max_momentum", max_momentum, optimizer)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = lower

    def scale_fn(self, x: float) -> float:
        """The height of a cycle, as a share of the first one's."""
        if self._scale_fn is not None:
            return self._scale_fn(x)
        if self.mode == "exp_range":
            return float(self.gamma**x)
        return 1 / (2.0 ** (x - 1)) if self.mode == "triangular2" else 1.0

    def get_lr(self) -> list[float]:
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        at = 1.0 + self.last_epoch / self.total_size - cycle
        share = at / self.step_ratio if at <= self.step_ratio else (at - 1) / (self.step_ratio - 1)
        share *= self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            bounds = zip(self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True)
            for group, least, most in bounds:
                self._set_momentum(group, most - (most - least) * share)
        return [base + (most - base) * share for base, most in zip(self.base_lrs, self.max_lrs, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """All that it remembers, functions left out."""
        return {key: value for key, value in super().state_dict().items() if key != "_scale_fn"}


class OneCycleLR(_WithMomentum):
    """One rise to the highest rate and one fall far below the first, momentum the other way round.

    Args:
        optimizer: Whose rates to set.
        max_lr: The highest rate, one for all groups or one for each.
        total_steps: Steps in all; or
        epochs: epochs, of
        steps_per_epoch: so many steps.
        pct_start: Share of the steps that the rise takes.
        anneal_strategy: ``cos`` or ``linear``.
        cycle_momentum: Whether to set the momentum.
        base_momentum: Its lower bound.
        max_momentum: Its upper bound.
        div_factor: The highest rate divided by the first.
        final_div_factor: The first rate divided by the last.
        three_phase: Whether to fall to the first rate as fast as it rose, and then to the last.
        last_epoch: The step to resume from.

    Raises:
        ArgumentError: the steps are not given, or an option is out of range; ``step`` raises it after the last step.

    Source: Smith, Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates", 2017.
    """

    def __init__(
        self, optimizer: Optimizer, max_lr: float | list[float], total_steps: int | None = None,
        epochs: int | None = None, steps_per_epoch: int | None = None, pct_start: float = 0.3,
        anneal_strategy: str = "cos", cycle_momentum: bool = True, base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95, div_factor: float = 25.0, final_div_factor: float = 1e4,
        three_phase: bool = False, last_epoch: int = -1,
    ) -> None:  # fmt: skip
        self.optimizer = optimizer
        self.total_steps = _steps_of(total_steps, epochs, steps_per_epoch)
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ArgumentError(f"OneCycleLR: expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(
                f"OneCycleLR: anneal_strategy must be one of 'cos' or 'linear', got {anneal_strategy!r}"
            )
        check_not_zero("OneCycleLR", div_factor=div_factor, final_div_factor=final_div_factor)
        self._anneal_func_type, self.cycle_momentum = anneal_strategy, cycle_momentum
        rise = float(pct_start * self.total_steps)
        self._schedule_phases = [
            _phase(rise - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum"),
            _phase(self.total_steps - 1, "max_lr", "min_lr", "base_momentum", "max_momentum"),
        ]
        if three_phase:
            self._schedule_phases[1:] = [
                _phase(2 * rise - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum"),
                _phase(self.total_steps - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum"),
            ]
        highest = number_for_each("OneCycleLR", "max_lr", max_lr, optimizer)
        if cycle_momentum:
            self._check_momentum()
        if last_epoch == -1:
            for group, most in zip(optimizer.param_groups, highest, strict=True):
                first = most / div_factor
                group.update(initial_lr=first, max_lr=most, min_lr=first / final_div_factor)
            if cycle_momentum:
                least = number_for_each("OneCycleLR", "base_momentum", base_momentum, optimizer)
                most_momentum = number_for_each("OneCycleLR", "max_momentum", max_momentum, optimizer)
                for group, low, high in zip(optimizer.param_groups, least, most_momentum, strict=True):
                    group.update(base_momentum=low, max_momentum=high)
                    self._set_momentum(group, high)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        step = self.last_epoch
        if step > self.total_steps:
            raise ArgumentError(
                f"OneCycleLR: tried to step {step} times. The specified number of total steps is {self.total_steps}",
                hint="give as many total_steps as there are batches in all epochs",
            )
        begin = 0.0
        for phase in self._schedule_phases:
            end = phase["end_step"]
            if step <= end or phase is self._schedule_phases[-1]:
                break
            begin = end
        passed = (step - begin) / (end - begin)
        groups = self.optimizer.param_groups
        if self.cycle_momentum:
            for group in groups:
                start, stop = group[phase["start_momentum"]], group[phase["end_momentum"]]
                self._set_momentum(group, self._between(start, stop, passed))
        return [self._between(group[phase["start_lr"]], group[phase["end_lr"]], passed) for group in groups]

    def _between(self, start: float, end: float, passed: float) -> float:
        if self._anneal_func_type == "linear":
            return (end - start) * passed + start
        return end + (start - end) / 2.0 * (1 + math.cos(math.pi * passed))


def _phase(end: float, start_lr: str, end_lr: str, start_momentum: str, end_momentum: str) -> dict[str, Any]:
    return {
        "end_step": end,
        "start_lr": start_lr,
        "end_lr": end_lr,
        "start_momentum": start_momentum,
        "end_momentum": end_momentum,
    }


def _steps_of(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    given: dict[str, int | None] = {"total_steps": total_steps}
    if total_steps is None:
        given = {"epochs": epochs, "steps_per_epoch": steps_per_epoch}
    for what, value in given.items():
        if value is None:
            raise ArgumentError(
                "OneCycleLR: you must define either total_steps OR (epochs AND steps_per_epoch)",
                hint=f"{what} is not given",
            )
        if not isinstance(value, int) or value <= 0:
            raise ArgumentError(f"OneCycleLR: expected positive integer {what}, but got {value}")
    return math.prod(v for v in given.values() if v is not None)
