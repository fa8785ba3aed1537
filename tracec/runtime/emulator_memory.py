"""The memory behind a plan's values while it is emulated, and which value each byte holds.

Every byte of the arena and of the outputs has an owner: the value that wrote it last, 0 where none did. A value's
range is cleared when it comes to life and when it dies, and a read of a byte that another value owns is found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tracec.errors import ArgumentTypeError, EmulatorError
from tracec.ir.launch import CudaLaunch, CudaStep
from tracec.ir.plan import Launch, LibraryCall, Plan
from tracec.runtime.emulator_findings import Buffer

Array = np.ndarray[Any, Any]

#: Alignment of memory that a GPU's allocator gives.
_ALIGN = 256
#: Of freed and fresh memory: not a number, where it is seen as floats.
_POISON = 0xFF


def aligned(nbytes: int, skew: int = 0) -> Array:
    """New poisoned memory, ``skew`` bytes off the boundary on which a GPU's would start."""
    raw = np.full(nbytes + 2 * _ALIGN, _POISON, np.uint8)
    start = -raw.ctypes.data % _ALIGN + skew
    return raw[start : start + nbytes]


def name_of(plan: Plan, value: int) -> str:
    """A value and the user's line that it comes from, for messages."""
    v = plan.values[value]
    return f"{v.name} of {v.source}" if v.source else v.name


def owner_of(value: int) -> int:
    """The number that marks a value's bytes; 0 is nobody's."""
    return value % 0xFFFF + 1


class Lives:
    """When values of the arena come to life and die, by the plan's steps.

    Attributes:
        steps: For each of the program's steps, the plan's steps that it is of.
        born: Plan step → values that it is the first to write, and the value whose memory each takes over, or None.
        died: Plan step → values that it is the last to read.
    """

    def __init__(self, plan: Plan, steps: Sequence[CudaStep]) -> None:
        self.plan = plan
        self.steps = _steps(plan, steps)
        self.born: dict[int, list[tuple[int, int | None]]] = defaultdict(list)
        self.died: dict[int, list[int]] = defaultdict(list)
        placed = [i for i, v in enumerate(plan.values) if v.place == "arena" and v.type.nbytes]
        for i in placed:
            v = plan.values[i]
            self.born[v.first].append((i, self._taken_over(placed, i)))
            self.died[v.last].append(i)
        self.placed = placed

    def _taken_over(self, placed: Iterable[int], value: int) -> int | None:
        """The value whose memory another takes over: the kernel reads the one where it writes the other."""
        v = self.plan.values[value]
        step = self.plan.steps[v.first]
        if not isinstance(step, Launch):
            return None
        kernel = self.plan.kernels[step.kernel]
        roles = {b.role for row in step.args for a, b in zip(row, kernel.buffers, strict=True) if a == value}
        if "inout" not in roles:
            return None
        for k in placed:
            w = self.plan.values[k]
            same = w.offset == v.offset and w.type.nbytes == v.type.nbytes
            if k != value and same and w.last == v.first and w.first < v.first:
                return k
        return None

    def overlapping(self, value: int, step: int) -> Iterable[int]:
        """Other values that are alive in a step and lie where this one does."""
        v = self.plan.values[value]
        for k in self.placed:
            w = self.plan.values[k]
            apart = w.offset >= v.offset + v.type.nbytes or v.offset >= w.offset + w.type.nbytes
            if k != value and not apart and w.first <= step <= w.last:
                yield k


def _steps(plan: Plan, steps: Sequence[CudaStep]) -> list[tuple[int, ...]]:
    """Which of the plan's steps each of the program's steps is of."""
    found, at = [], 0
    for step in steps:
        if isinstance(step, CudaLaunch):
            found.append(step.steps)
        else:
            at = next((n for n in range(at, len(plan.steps)) if plan.steps[n] == step), at)
            found.append((at,))
        at = found[-1][-1]
    return found


def formals(plan: Plan, steps: Iterable[int]) -> dict[int, tuple[str, bool]]:
    """For each value that a plan's steps touch, the name of a kernel's buffer, and whether it may be written."""
    found: dict[int, tuple[str, bool]] = {}
    for step in (plan.steps[n] for n in steps):
        if isinstance(step, LibraryCall):
            found |= {v: (f"x{n}", False) for n, v in enumerate(step.inputs)}
            found[step.output] = ("y", True)
            continue
        assert isinstance(step, Launch), "loops are written out"
        for row in step.args:
            for value, buffer in zip(row, plan.kernels[step.kernel].buffers, strict=True):
                if buffer.role != "in" or value not in found:
                    found[value] = buffer.name, buffer.role != "in"
    return found


class Memory:
    """The memory of one run.

    Args:
        plan: The plan.
        lives: When its values live.
        workspace_bytes: Memory for the program's own use.
        alignment: What each value's address must be a multiple of.
        inputs: The caller's arrays.
        checks: Whether owners are kept. Outputs are then no better aligned than they must be.
    """

    def __init__(
        self, plan: Plan, lives: Lives, workspace_bytes: int, alignment: Mapping[int, int],
        inputs: Sequence[Array], checks: bool,
    ) -> None:  # fmt: skip
        self.plan, self.lives, self.checks = plan, lives, checks
        self.lost: dict[int, str] = {}
        self._given = dict(zip(plan.inputs, inputs, strict=True))
        self._arena = aligned(plan.memory.peak_bytes)
        self._arena_owners = np.zeros(plan.memory.peak_bytes if checks else 0, np.uint16)
        self._workspace = aligned(workspace_bytes)
        self._workspace_owners = np.zeros(workspace_bytes if checks else 0, np.uint16)
        self._tickets = aligned(_ALIGN)
        self._tickets[:] = 0
        self.arrays: dict[int, Array] = {}
        self._owners: dict[int, Array] = {}
        for i, value in enumerate(plan.values):
            needed, nbytes = max(alignment.get(i, 1), value.type.dtype.itemsize), value.type.nbytes
            if i in self._given:
                self.arrays[i] = _fitting(self._given[i], needed)
                continue
            if value.place == "part":
                whole = self.arrays[value.index].reshape(-1).view(np.uint8)
                piece = whole[value.offset :][:nbytes]
                self.arrays[i] = piece.view(value.type.dtype.numpy).reshape(value.type.shape)
                if value.index in self._owners:
                    self._owners[i] = self._owners[value.index][value.offset :][:nbytes]
                continue
            if value.place == "arena":
                piece = self._arena[value.offset :][:nbytes]
                owners = self._arena_owners[value.offset :][:nbytes]
            else:
                piece = aligned(nbytes, needed % _ALIGN if checks else 0)
                owners = np.zeros(nbytes if checks else 0, np.uint16)
            self.arrays[i] = piece.view(value.type.dtype.numpy).reshape(value.type.shape)
            self._owners[i] = owners

    def results(self) -> list[Array]:
        """The outputs; those that the caller gave memory for are in it."""
        for i in self.plan.outputs:
            if i in self._given:
                if self.arrays[i] is not self._given[i]:
                    self._given[i][...] = self.arrays[i]
            else:
                self._check_written("the plan ends and", i)
        return [self._given.get(i, self.arrays[i]) for i in self.plan.outputs]

    def begin(self, step: int) -> None:
        """The values that a plan's step writes first come to life."""
        for value, before in self.lives.born.get(step, ()):
            owners = self._owners[value]
            if before is not None:
                owners[owners == owner_of(before)] = owner_of(value)
                continue
            for other in self.lives.overlapping(value, step):
                self.lost[owner_of(other)] = f"since step {step} gave its memory to {name_of(self.plan, value)}"
            self._clear(value)

    def end(self, step: int) -> None:
        """The values that a plan's step reads last are gone."""
        for value in self.lives.died.get(step, ()) if self.checks else ():
            self.lost[owner_of(value)] = f"since it was freed after step {step}"
            mine = self._owners[value] == owner_of(value)
            self._owners[value][mine] = 0
            self.arrays[value].reshape(-1).view(np.uint8)[mine] = _POISON

    def _clear(self, value: int) -> None:
        self._owners[value][:] = 0
        self.arrays[value].reshape(-1).view(np.uint8)[:] = _POISON

    def read(self, step: LibraryCall) -> None:
        """What a routine reads must be there; what it writes is there afterwards."""
        for i in step.inputs:
            self._check_written(f"{step.routine}", i)
        if self.checks and step.output in self._owners:
            self._owners[step.output][:] = owner_of(self.plan.whole(step.output))

    def _check_written(self, who: str, value: int) -> None:
        owners = self._owners.get(value)
        if owners is None or not self.checks:
            return
        wrong = np.flatnonzero(owners != owner_of(self.plan.whole(value)))
        if len(wrong):
            v = self.plan.values[value]
            element = int(wrong[0]) // v.type.dtype.itemsize
            raise EmulatorError(
                f"emulator: {who} reads element {element} of {name_of(self.plan, value)}, which nothing has written"
            )

    def value(self, value: int, name: str, writable: bool) -> Buffer:
        """The memory behind one of the plan's values, as a kernel's parameter."""
        array = self.arrays[value]
        return Buffer(
            name, str(array.dtype), array.ctypes.data, array.nbytes, array.itemsize, writable,
            self._address(self._owners.get(value)), owner_of(self.plan.whole(value)), name_of(self.plan, value),
        )  # fmt: skip

    def workspace(self, offset: int, nbytes: int) -> Buffer:
        """An array of the workspace; what one launch leaves in it is there for the next."""
        place, owners = self._workspace[offset:], self._workspace_owners[offset:]
        name = f"at {offset} of the workspace"
        return Buffer(name, "uint8", place.ctypes.data, nbytes, 1, True, self._address(owners), 1)

    def tickets(self) -> Buffer:
        """The counter of blocks."""
        return Buffer("tickets", "uint32", self._tickets.ctypes.data, 4, 4)

    def _address(self, owners: Array | None) -> int:
        return owners.ctypes.data if owners is not None and self.checks and len(owners) else 0


def _fitting(array: Any, needed: int) -> Array:
    """The array, or a copy where its address is not one that kernels can take."""
    if not isinstance(array, np.ndarray):
        raise ArgumentTypeError(
            f"emulator: takes arrays of the CPU, {type(array).__name__} given", hint="move the tensors with .to('cpu')"
        )
    if array.ctypes.data % needed == 0:
        return array
    copy = aligned(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
