"""Averages of models: stochastic weight averaging and exponential moving averages."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tracec.errors import ArgumentError
from tracec.functions import tensor
from tracec.nn.batchnorm import _BatchNorm
from tracec.nn.module import Module
from tracec.optim.lr_scheduler.base import LRScheduler, number_for_each
from tracec.optim.optimizer import Optimizer
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor

#: (average, parameter, number averaged so far) → new average.
Average = Callable[[Tensor, Tensor, Any], Tensor]
#: The same for lists of tensors, in place.
Averages = Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """An exponential moving average: ``decay`` of the average and the rest of the parameter."""
    _check_decay(decay)
    return lambda average, p, count: average * decay + p * (1 - decay)


def get_ema_multi_avg_fn(decay: float = 0.999) -> Averages:
    """An exponential moving average of many tensors."""
    return _each(get_ema_avg_fn(decay))


def get_swa_avg_fn() -> Average:
    """The mean of all so far."""
    return lambda average, p, count: average + (p - average) / (count + 1)


def get_swa_multi_avg_fn() -> Averages:
    """The mean of all so far, of many tensors."""
    return _each(get_swa_avg_fn())


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ArgumentError(f"get_ema_avg_fn: invalid decay value {decay} provided", hint="a value in [0,1]")


def _each(average: Average) -> Averages:
    def all_of_them(averages: Sequence[Tensor], params: Sequence[Tensor], count: Any) -> None:
        for a, p in zip(averages, params, strict=True):
            a.copy_(average(a, p.detach().to(a.device), count))

    return all_of_them


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's.

    Args:
        model: The model.
        device: Where the copy is to live; by default where the model does.
        avg_fn: How to average one parameter; by default the mean of all so far.
        multi_avg_fn: The same for all of them at once.
        use_buffers: Whether buffers are averaged too; otherwise they are copied.

    Attributes:
        module: The copy.
        n_averaged: Number of models averaged so far.

    Raises:
        ArgumentError: both functions are given.

    Source: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018.
    """

    def __init__(
        self, model: Module, device: Any = None, avg_fn: Average | None = None, multi_avg_fn: Averages | None = None,
        use_buffers: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ArgumentError("AveragedModel: only one of avg_fn and multi_avg_fn should be provided")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, device=device))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model gives."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take one more model into the average."""

        def tensors(of: Module) -> list[Tensor]:
            return [*of.parameters(), *(of.buffers() if self.use_buffers else ())]

        with no_grad():
            mine, theirs = tensors(self.module), [t.detach() for t in tensors(model)]
            count: Tensor = self.n_averaged
            if bool(count == 0):
                for a, p in zip(mine, theirs, strict=True):
                    a.copy_(p)
            else:
                average = self.multi_avg_fn or _each(self.avg_fn or get_swa_avg_fn())
                average(mine, theirs, count.to(mine[0].device))
            if not self.use_buffers:
                for a, p in zip(self.module.buffers(), model.buffers(), strict=True):
                    a.copy_(p.detach())
            count.copy_(count + 1)


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Measure the running statistics of batch normalisation layers anew, with one pass over data.

    Args:
        loader: Gives batches; of tuples and lists the first item is the input.
        model: The model, in training mode meanwhile.
        device: Where to move the batches to.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    if not layers:
        return
    momenta = [m.momentum for m in layers]
    was_training = model.training
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the mean of all batches
    model.train()
    try:
        with no_grad():
            for batch in loader:
                x = batch[0] if isinstance(batch, (list, tuple)) else batch
                model(x if device is None else x.to(device))
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        model.train(was_training)


class SWALR(LRScheduler):
    """Goes from the present rate to a constant one.

    Args:
        optimizer: Whose rates to set.
        swa_lr: The rate to go to, one for all groups or one for each.
        anneal_epochs: Epochs on the way.
        anneal_strategy: ``cos`` or ``linear``.
        last_epoch: The epoch to resume from.

    Raises:
        ArgumentError: an option is out of range.
    """

    def __init__(
        self, optimizer: Optimizer, swa_lr: float | list[float], anneal_epochs: int = 10, anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        for group, rate in zip(
            optimizer.param_groups, number_for_each("SWALR", "swa_lr", swa_lr, optimizer), strict=True
        ):  # fmt: skip
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(f"SWALR: anneal_strategy must be one of 'cos' or 'linear', got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ArgumentError(f"SWALR: anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs, self._anneal_strategy = anneal_epochs, anneal_strategy
        super().__init__(optimizer, last_epoch)

    def _passed(self, epoch: int) -> float:
        """The share of the way that is behind at an epoch."""
        t = max(0.0, min(1.0, epoch / max(1, self.anneal_epochs)))
        return t if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    def get_lr(self) -> list[float]:
        # PyTorch counts the steps, not the epochs.
        step = self._step_count - 1 if self.anneal_epochs else max(1, self._step_count - 1)
        before, now = self._passed(max(0, step - 1)), self._passed(step)
        if before == 1:
            return [group["swa_lr"] for group in self.optimizer.param_groups]
        rates = zip(self._rates(), (group["swa_lr"] for group in self.optimizer.param_groups), strict=True)
        return [end * now + (rate - before * end) / (1 - before) * (1 - now) for rate, end in rates]
