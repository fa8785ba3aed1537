"""What all schedulers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tracec.errors import ArgumentError, ArgumentTypeError, RuleMissingError
from tracec.optim.optimizer import Optimizer
from tracec.optim.options import check_numbers
from tracec.optim.updates import Group
from tracec.record.tensor import Tensor


class LRScheduler:
    """Sets the learning rates of an optimiser's groups, as a function of the number of epochs so far.

    A rate that is a tensor is written in place, so that compiled steps go on with it; one that is a number is
    replaced, and a compiled step is recorded anew.

    Args:
        optimizer: Whose rates to set.
        last_epoch: The epoch to resume from; -1 begins with the rates that the groups have.

    Attributes:
        optimizer: The optimiser.
        base_lrs: Each group's rate in the beginning.
        last_epoch: Number of epochs so far.

    Raises:
        ArgumentTypeError: it is no optimiser.
        ArgumentError: it is to resume, and a group does not know its first rate.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise ArgumentTypeError(
                f"{type(self).__name__}: {type(optimizer).__name__} is not an Optimizer", hint="give an optimizer"
            )
        self.optimizer = optimizer
        for k, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", _number(group["lr"]))
            elif "initial_lr" not in group:
                raise ArgumentError(
                    f"{type(self).__name__}: param 'initial_lr' is not specified in param_groups[{k}] when resuming",
                    hint="load the optimizer's state_dict first, or begin with last_epoch=-1",
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._step_count = 0
        self._last_lr: list[float] = [_number(group["lr"]) for group in optimizer.param_groups]
        self.step()

    def get_lr(self) -> list[float]:
        """The rates of this epoch, from those of the epoch before."""
        raise RuleMissingError(
            f"{type(self).__name__}: does not define get_lr",
            hint="define get_lr(self), which gives a rate for each group",
        )

    def closed_form(self) -> list[float]:
        """The rates of this epoch, from those of the beginning."""
        return self.get_lr()

    def step(self, epoch: int | None = None) -> None:
        """Go on by one epoch.

        Args:
            epoch: Where to go instead.
        """
        self._step_count += 1
        if epoch is None:
            self.last_epoch += 1
            values = self.get_lr()
        else:
            self.last_epoch = epoch
            values = self.closed_form()
        self._set(values)

    def get_last_lr(self) -> list[float]:
        """The rates that were set last."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """All that it remembers, the optimiser left out."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.__dict__.update(state_dict)

    def _set(self, values: list[float]) -> None:
        for group, value in zip(self.optimizer.param_groups, values, strict=True):
            set_option(group, "lr", value)
        self._last_lr = [_number(group["lr"]) for group in self.optimizer.param_groups]

    def _rates(self) -> list[float]:
        """The present rates."""
        return [_number(group["lr"]) for group in self.optimizer.param_groups]


def set_option(group: Group, name: str, value: float) -> None:
    """Set an option of a group, in place where it is a tensor."""
    if isinstance(group[name], Tensor):
        group[name].fill_(value)
    else:
        group[name] = value


def _number(value: Any) -> float:
    return float(value) if isinstance(value, Tensor) else value


def one_for_each(name: str, what: str, value: Any, optimizer: Optimizer) -> list[Any]:
    """A value for each group: one for all of them, or a list.

    Raises:
        ArgumentError: the list has another length than there are groups.
    """
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise ArgumentError(f"{name}: expected {count} values for {what}, got {len(value)}", hint="one for each group")
    return list(value)


def number_for_each(name: str, what: str, value: Any, optimizer: Optimizer) -> list[Any]:
    """The same of numbers.

    Raises:
        ArgumentError: the list has another length than there are groups.
        ArgumentTypeError: one is no number.
    """
    found = one_for_each(name, what, value, optimizer)
    for one in found:
        check_numbers(name, **{what: one})
    return found


def saved_functions(functions: list[Callable[..., Any]]) -> list[dict[str, Any] | None]:
    """What to save of functions: the attributes of objects that can be called, nothing of functions proper."""
    return [f.__dict__.copy() if not hasattr(f, "__code__") and hasattr(f, "__dict__") else None for f in functions]


def load_functions(functions: list[Callable[..., Any]], saved: list[dict[str, Any] | None]) -> None:
    """Give the objects back the attributes that were saved."""
    for f, attributes in zip(functions, saved, strict=True):
        if attributes is not None:
            f.__dict__.update(attributes)
