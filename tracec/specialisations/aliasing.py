"""How the arguments of a recorded call alias, which are views and of which memory, and whether those of others do so.

A program is right only for the aliasing that it was recorded with: a write to one argument changes another one that
shares its memory.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import NamedTuple

from tracec.ir.types import TensorType
from tracec.record.cell import Storage
from tracec.record.recording import Lifted, Recording
from tracec.record.tensor import Tensor
from tracec.specialisations.gradients import Gradients
from tracec.specialisations.guards import steps_key


class ArgumentAlias(NamedTuple):
    """How an argument looked at memory.

    Attributes:
        storage: Its memory, where the function reaches that otherwise too, so that it has to be the same again.
        steps: Its view steps.
        whole: Type of all of its memory, where all of it is an input, or a result is another look at it.
    """

    storage: Storage | None
    steps: tuple[Hashable, ...]
    whole: TensorType | None


class Aliasing:
    """What a program asks of the arguments of a call, and of gradients that it reads.

    Args:
        recording: What was recorded.
        inputs: What the program reads of it.
        arguments: The tensors that the function was given then.
        captured: Memory that it reaches otherwise than by them.

    Attributes:
        arguments: How each looked at its memory.
        gradients: Gradients that the function looked at.
        plain: No argument is a view or memory that is reached otherwise, and no gradient is looked at: then those of
            a call need only be no views.
    """

    def __init__(
        self, recording: Recording, inputs: Sequence[Lifted], arguments: Sequence[Tensor], captured: Collection[Storage]
    ) -> None:
        self._surroundings = recording.surroundings
        reached = {v.storage for v in inputs if v.argument is None and v.grad_of is None}
        self._storages = {id(storage) for storage in reached}
        whole = {v.storage for v in inputs if v.whole} | {
            r.tensor._storage for r in recording.results if r.goes_by_memory
        }
        self.arguments = tuple(
            ArgumentAlias(
                t._storage if id(t._storage) in self._storages or t._storage in captured else None,
                tuple(map(steps_key, t._steps)),
                t._storage.type if t._storage in whole else None,
            )
            for t in arguments
        )
        self.gradients = Gradients(recording.grad_reads, arguments, reached.union(captured))
        self._reads_grads = bool(self.gradients)
        #: No argument is a view, and none was memory that is reached otherwise; only that must not be so now.
        self._own = all(a.storage is None and not a.steps for a in self.arguments)
        self.plain = self._own and not self._storages and not self._reads_grads

    @property
    def go_further(self) -> bool:
        """Whether `fit` depends on more than that no argument is a view."""
        return bool(self._surroundings.seen) or not self.plain

    def fit(self, arguments: Sequence[Tensor]) -> bool:
        """Whether gradients that the function looked at are there as they were, and memory is shared as it was."""
        if not self._surroundings.hold():
            return False
        if self.plain:
            for t in arguments:  # a generator expression would take longer than this
                if t._steps:
                    break
            else:
                return True
        if self._reads_grads and not self.gradients.fit(arguments):
            return False
        if self._own and len(arguments) == len(self.arguments):
            storages = self._storages
            for t in arguments:
                if t._steps or id(t._storage) in storages:
                    break
            else:
                return True
        # Behind the arguments are values saved.
        return all(map(self.same, arguments, self.arguments))

    def same(self, t: Tensor, look: ArgumentAlias) -> bool:
        """Whether an argument views memory as one did when the function was recorded."""
        storage, steps, whole = look
        if storage is None:
            if id(t._storage) in self._storages:
                return False
            if whole is None or not (steps or t._steps):
                return True
        elif t._storage is not storage:
            return False
        return tuple(map(steps_key, t._steps)) == steps and (whole is None or t._storage.type == whole)


def sharing(tensors: Sequence[Tensor]) -> tuple[Hashable, ...]:
    """Which tensors are one, which look at one memory, and which of these at a part of another; often nothing.

    Where in the memory they look is no part of it: a function that goes by that has all of the memory as an input, and
    then `Aliasing` asks for it. Batches of one long text, each with its targets one place further on, are alike so.
    """
    if len(tensors) < 2 or len({id(t._storage) for t in tensors}) == len(tensors):
        return ()
    first: dict[int, int] = {}
    beside: dict[int, list[int]] = {}
    found: list[Hashable] = []
    for k, t in enumerate(tensors):
        found += (first.setdefault(id(t), k), first.setdefault(id(t._storage), k))
        beside.setdefault(id(t._storage), []).append(k)
    for together in beside.values():
        if len(together) > 1:
            found += (part_of(tensors, k, together) for k in together)
    return tuple(found)


def part_of(tensors: Sequence[Tensor], k: int, others: Iterable[int]) -> Hashable:
    """Of which others at the same memory a tensor looks at a part: of the smallest, and at which; None for no other."""
    steps, found = tensors[k]._steps, None
    for j in others:
        whole = tensors[j]._steps
        n = len(whole)
        # Of two that look alike the second is a part of the first.
        if (n < len(steps) or (n == len(steps) and j < k)) and whole == steps[:n] and (found is None or n > found[1]):
            found = j, n
    return None if found is None else (found[0], tuple(map(steps_key, steps[found[1] :])))
