"""Loss scaling: gradients of float16 are kept from vanishing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tracec import functions as fn
from tracec.errors import ArgumentError, StateError
from tracec.ir import dtype as dt
from tracec.optim.hooks import has_step_hooks
from tracec.optim.optimizer import Optimizer
from tracec.record.mode import no_grad
from tracec.record.state import STATE
from tracec.record.tensor import Tensor


class GradScaler:
    """Multiplies the loss, divides the gradients, and leaves out steps whose gradients are infinite or no numbers.

    The factor grows after a number of good steps and shrinks after a bad one. In a compiled function the step is
    computed in any case and kept where the gradients were finite, so that no value has to be asked for.

    Args:
        device: PyTorch's argument; the factor lives where the loss does.
        init_scale: The first factor.
        growth_factor: What it is multiplied by to grow.
        backoff_factor: What it is multiplied by to shrink.
        growth_interval: Good steps in a row after which it grows.
        enabled: Whether it does anything.

    Raises:
        ArgumentError: a factor is out of range.

    Source: Micikevicius et al., "Mixed Precision Training", 2017, section 3.2.
    """

    def __init__(
        self, device: str = "cuda", init_scale: float = 2.0**16, growth_factor: float = 2.0,
        backoff_factor: float = 0.5, growth_interval: int = 2000, enabled: bool = True,
    ) -> None:  # fmt: skip
        if enabled and growth_factor <= 1.0:
            raise ArgumentError("GradScaler: the growth factor must be > 1.0.", hint="e.g. 2.0")
        if enabled and backoff_factor >= 1.0:
            raise ArgumentError("GradScaler: the backoff factor must be < 1.0.", hint="e.g. 0.5")
        self._enabled = enabled
        self._growth_factor, self._backoff_factor, self._growth_interval = (
            growth_factor,
            backoff_factor,
            growth_interval,
        )
        self._scale = fn.tensor(float(init_scale))
        self._growth_tracker = fn.tensor(0)
        #: Optimisers whose gradients are divided already, and whether something in them was not finite.
        self._found: dict[int, Tensor] = {}
        self._stepped: dict[int, None] = {}

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def get_scale(self) -> float:
        """The factor."""
        return self._scale.item() if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """What the factor is multiplied by to grow."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set what the factor is multiplied by to grow."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the factor is multiplied by to shrink."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set what the factor is multiplied by to shrink."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """Good steps in a row after which the factor grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set after how many good steps in a row the factor grows."""
        self._growth_interval = new_interval

    def scale(self, outputs: Any) -> Any:
        """A loss, or an iterable of losses, times the factor: a list or tuple as such, others as an iterator."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            self._move(outputs)
            return outputs * self._scale.to(outputs.dtype)
        if isinstance(outputs, Iterable) and not isinstance(outputs, str):
            scaled = map(self.scale, outputs)
            return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled
        raise ArgumentError("GradScaler: outputs must be a Tensor or an iterable of Tensors")

    def _move(self, like: Tensor) -> None:
        if self._scale.device != like.device:
            self._scale, self._growth_tracker = self._scale.to(like.device), self._growth_tracker.to(like.device)

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimiser's parameters, as before they are clipped.

        Raises:
            StateError: it was done since the last `update`.
            ArgumentError: a gradient is float16, in which dividing would lose it.
        """
        if not self._enabled:
            return
        if id(optimizer) in self._found:
            raise StateError(
                "GradScaler: unscale_() has already been called on this optimizer since the last update()."
            )
        if id(optimizer) in self._stepped:
            raise StateError("GradScaler: unscale_() is being called after step().")
        with no_grad():
            inverse = 1.0 / self._scale
            bad = fn.zeros((), dtype=dt.bool_, device=self._scale.device)
            for p in _parameters(optimizer):
                if p.grad is None:
                    continue
                if p.grad.dtype is dt.float16:
                    raise ArgumentError(
                        "GradScaler: attempting to unscale FP16 gradients.", hint="keep parameters in float32"
                    )
                bad = fn.logical_or(bad, fn.logical_not(fn.all(fn.isfinite(p.grad))))
                p.grad = p.grad * inverse.to(p.grad.dtype)
            self._found[id(optimizer)] = bad

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """Let an optimiser make its step, unless a gradient is not finite.

        Args:
            optimizer: The optimiser.
            *args: For its ``step``; a closure is not taken.
            **kwargs: Likewise.

        Returns:
            What its ``step`` gave; None where the step was left out.

        Raises:
            StateError: it made a step since the last `update`.
            ArgumentError: a closure is given.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs or args:
            raise ArgumentError("GradScaler: closure use is not currently supported if GradScaler is enabled.")
        if id(optimizer) in self._stepped:
            raise StateError("GradScaler: step() has already been called since the last update().")
        if id(optimizer) not in self._found:
            self.unscale_(optimizer)
        self._stepped[id(optimizer)] = None
        bad = self._found[id(optimizer)]
        if STATE.recorder is None or has_step_hooks(optimizer):
            return None if bool(bad) else optimizer.step(**kwargs)
        with no_grad():
            kept = [(t, t.clone()) for t in _tensors(optimizer)]
            result = optimizer.step(**kwargs)
            for t, before in kept:
                t.copy_(fn.where(bad, before, t))
        return result

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Change the factor by what the steps since the last time were like.

        Args:
            new_scale: A factor to set instead.

        Raises:
            StateError: there was no step.
        """
        if not self._enabled:
            return
        with no_grad():
            if new_scale is not None:
                self._scale.copy_(new_scale)
            elif not self._found:
                raise StateError("GradScaler: no inf checks were recorded prior to update.", hint="call step() first")
            else:
                self._grow_or_shrink()
        self._found.clear()
        self._stepped.clear()

    def _grow_or_shrink(self) -> None:
        bad, *more = self._found.values()
        for other in more:
            bad = fn.logical_or(bad, other.to(bad.device))
        bad = bad.to(self._scale.device)
        count = self._growth_tracker + 1
        grows = fn.eq(count, self._growth_interval)
        grown = self._scale * self._growth_factor
        good = fn.where(fn.logical_and(grows, fn.isfinite(grown)), grown, self._scale)
        self._scale.copy_(fn.where(bad, self._scale * self._backoff_factor, good))
        self._growth_tracker.copy_(fn.where(fn.logical_or(bad, grows), 0, count))

    def state_dict(self) -> dict[str, Any]:
        """The factor and how it changes; empty where nothing is done."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": int(self._growth_tracker),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            ArgumentError: it is empty.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise ArgumentError(
                "GradScaler: the source state dict is empty, possibly because it was saved from a disabled instance."
            )
        self._scale.fill_(state_dict["scale"])
        self._growth_factor, self._backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker.fill_(state_dict["_growth_tracker"])


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _tensors(optimizer: Optimizer) -> list[Tensor]:
    """What a step changes."""
    states = (v for state in optimizer.state.values() for v in state.values())
    return [*_parameters(optimizer), *(v for v in states if isinstance(v, Tensor))]
