"""Guards over the ``grad`` of tensors that a recorded function read: there or None, and which memory each is."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from tracec.ir.types import TensorType
from tracec.record.cell import Storage
from tracec.record.recording import FoundGrad
from tracec.record.tensor import Tensor
from tracec.specialisations.guards import steps_key
from tracec.specialisations.inputs import locator


class _Look(NamedTuple):
    """How a gradient looked at memory.

    Attributes:
        at: Whose memory it was: the position of an argument, or what stands for the gradient that was the first there.
        storage: The memory, where the function reaches that otherwise too, so that it has to be the same again.
        steps: Its view steps.
        whole: Type of all of the memory, where it is a view.
        strides: How far its elements are apart, where that is not as in the tensor itself.
    """

    at: int
    storage: Storage | None
    steps: tuple[Hashable, ...]
    whole: TensorType | None
    strides: tuple[int, ...] | None


def _nothing() -> None:
    """In place of a reference to a gradient's array, where there is none."""


class Gradients:
    """What a program needs of the gradients that are there when it is called.

    Args:
        found: Tensors whose ``grad`` the function looked at before it was assigned, and what it found.
        arguments: The tensors that it was given.
        reached: Memory that it reached otherwise than by arguments and gradients.
    """

    def __init__(
        self, found: Mapping[Tensor, FoundGrad | None], arguments: Sequence[Tensor], reached: Collection[Storage]
    ) -> None:
        here = {id(t): k for k, t in enumerate(arguments)}
        self._count = len(arguments)
        self._reached = {id(s): s for s in reached}
        known = {id(t._storage): k for k, t in enumerate(arguments)}
        self._wanted: list[tuple[Callable[[Sequence[Tensor]], Tensor], _Look | None]] = []
        for j, (owner, grad) in enumerate(found.items()):
            look = None
            if grad is not None:
                storage, steps = grad.storage, grad.steps
                at = known.setdefault(id(storage), -1 - j)
                whole = storage.type if steps else None
                look = _Look(at, self._reached.get(id(storage)), tuple(map(steps_key, steps)), whole, grad.strides)
            self._wanted.append((locator(owner, here), look))

        #: The arrays of the gradients that fitted last, and identities of their memory.
        self._fitted: tuple[list[Callable[[], Any]], frozenset[int]] | None = None

    def __bool__(self) -> bool:
        return bool(self._wanted)

    def fit(self, arguments: Sequence[Tensor]) -> bool:
        """Whether the gradients are as a program needs them; where they are those that fitted last, at once."""
        if self._fitted is not None:
            arrays, memory = self._fitted
            for (owner, _), array in zip(self._wanted, arrays, strict=True):
                grad = owner(arguments)._grad
                if array is not _nothing if grad is None else grad._array is not array():
                    break
            else:
                if not any(id(t._storage) in memory for t in arguments[: self._count]):
                    return True
        self._fitted = None
        if self.misfit(arguments) is not None:
            return False
        grads = [owner(arguments)._grad for owner, _ in self._wanted]
        if all(look is None or look.at < 0 for _, look in self._wanted):
            with suppress(TypeError):  # arrays of other libraries may have no weak references
                arrays = [_nothing if g is None else weakref.ref(g._array) for g in grads]
                self._fitted = arrays, frozenset(id(g._storage) for g in grads if g is not None)
        return True

    def misfit(self, arguments: Sequence[Tensor]) -> tuple[Tensor, str, str] | None:
        """The first tensor with another gradient than a program needs: in words, what that was and what it is.

        Args:
            arguments: Those of a call; behind them may be values that were saved.
        """
        known = {id(t._storage): k for k, t in enumerate(arguments[: self._count])}
        for j, (owner, look) in enumerate(self._wanted):
            x = owner(arguments)
            grad: Any = x._grad
            if grad is None or look is None:
                if grad is not look:
                    return x, *(("None", "a tensor") if look is None else ("a tensor", "None"))
                continue
            storage = grad._storage
            at = known.setdefault(id(storage), -1 - j)
            if at != look.at or self._reached.get(id(storage)) is not look.storage:
                return x, "memory as recorded", "other memory"
            strides = grad._array.strides
            if (None if strides == x._array.strides else strides) != look.strides:
                return x, "elements lying as recorded", "otherwise"
            if grad._steps or look.steps:
                steps = tuple(map(steps_key, grad._steps))
                if steps != look.steps or (look.whole is not None and storage.type != look.whole):
                    return x, "the view as recorded", "another view"
        return None
