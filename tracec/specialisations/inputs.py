"""How a program's inputs are found at a call: among the arguments, or in memory that is the same at every call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tracec.record.cell import Storage
from tracec.record.recording import Lifted
from tracec.record.tensor import Tensor


def locator(tensor: Tensor, here: Mapping[int, int]) -> Callable[[Sequence[Tensor]], Tensor]:
    """How a tensor is found: as an argument, or as it is."""
    k = here.get(id(tensor))
    return (lambda arguments: tensor) if k is None else (lambda arguments: arguments[k])


def grad_of(owner: Callable[[Sequence[Tensor]], Tensor]) -> Callable[[Sequence[Tensor]], Any]:
    """How the ``grad`` of a tensor is found."""
    return lambda arguments: owner(arguments)._grad


def finder(lifted: Lifted, here: Mapping[int, int]) -> Callable[[Sequence[Tensor]], Any]:
    """How an input's array is found."""
    k = lifted.argument
    if k is not None:
        if lifted.whole:
            return lambda arguments: arguments[k]._storage.array
        return lambda arguments: arguments[k]._array
    if lifted.grad_of is not None:
        owner, whole = locator(lifted.grad_of, here), lifted.whole

        def find(arguments: Sequence[Tensor]) -> Any:
            grad: Any = owner(arguments)._grad
            return grad._storage.array if whole else grad._array

        return find
    storage, array = lifted.storage, lifted.array
    if lifted.whole:
        return lambda arguments: storage.array
    return lambda arguments: array


class Arrays:
    """How the arrays of all inputs are found: those of memory that is the same at each call without a call each.

    Args:
        inputs: The inputs.
        here: Positions of the arguments, by identity.
    """

    def __init__(self, inputs: Sequence[Lifted], here: Mapping[int, int]) -> None:
        memory = [(i, memory_of(v)) for i, v in enumerate(inputs)]
        self._memory = [(i, storage) for i, storage in memory if storage is not None and inputs[i].whole]
        # A view of such memory is the array that it is; all of it is what it was at the last call, mostly.
        self._looks = [v.array if storage is not None else None for v, (_, storage) in zip(inputs, memory, strict=True)]
        given = [(i, v.argument, v.whole) for i, v in enumerate(inputs) if v.argument is not None]
        self._given = [(i, k) for i, k, whole in given if not whole]
        self._wholes = [(i, k) for i, k, whole in given if whole]
        grads = [i for i, v in enumerate(inputs) if v.argument is None and v.grad_of is not None]
        self._grads = [(i, finder(inputs[i], here)) for i in grads]
        #: Inputs whose elements may lie with gaps between them.
        self._loose = self._look_for_gaps(self._looks)

    def __call__(self, arguments: Sequence[Tensor]) -> list[Any]:
        found = self._looks.copy()
        moved = False
        for i, storage in self._memory:
            if storage.array is not found[i]:
                found[i], moved = storage.array, True
        if moved:  # in this order, for other threads
            self._loose = self._look_for_gaps(found)
            self._looks = found.copy()
        for i, k in self._given:
            found[i] = arguments[k]._array
        for i, k in self._wholes:
            found[i] = arguments[k]._storage.array
        for i, find in self._grads:
            found[i] = find(arguments)
        return found

    def side_by_side(self, found: list[Any]) -> list[Any]:
        """Arrays that were found, with copies of those whose elements have gaps; the same list where there are none."""
        for i in self._loose:
            if not found[i].flags.c_contiguous:
                return [a if a.flags.c_contiguous else a.copy() for a in found]
        return found

    def _look_for_gaps(self, looks: Sequence[Any]) -> list[int]:
        return [i for i, a in enumerate(looks) if a is None or not a.flags.c_contiguous]


def memory_of(lifted: Lifted) -> Storage | None:
    """An input's memory, where it is the same at each call."""
    return lifted.storage if lifted.argument is None and lifted.grad_of is None else None


def storage_finder(lifted: Lifted, here: Mapping[int, int]) -> Callable[[Sequence[Tensor]], Storage]:
    """How an input's memory is found."""
    k = lifted.argument
    if k is not None:
        return lambda arguments: arguments[k]._storage
    if lifted.grad_of is not None:
        owner = locator(lifted.grad_of, here)
        return lambda arguments: owner(arguments)._grad._storage  # type: ignore[union-attr]
    storage = lifted.storage
    return lambda arguments: storage
