"""Deferred operations, for lazy execution: what they compute is known when somebody asks for it, or the function ends.

A function that no program can stand in for runs as Python at each call (`tracec.specialisations.lazy`). Within such a
call operations give arrays without values, and are written down; views, gradients and writes go on over these arrays
as they always do. Before anything reads values all that was deferred is computed, by a program where the same
operations have come before, or one by one in the same order. Nothing that the function could see differs from an eager
run:

- where the elements of a result lie is what it was when the operation ran with such operands for the first time;
- operations that fail for some values are never deferred;
- memory that NumPy or another library can see is read when the operation is called, and written at once;
- on a GPU it is computed in the stream that the operation was called in, and memory is taken when it is called.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tracec.ir.node import current_source
from tracec.ir.source import Source
from tracec.record.backend import device_of, is_array, module, on, share_memory
from tracec.record.deferred_steps import (
    COMPUTED,
    COPY,
    LOOK,
    NUMBER,
    WRITE,
    WRITING,
    Layout,
    Step,
    can_wait,
    eager_now,
    empty,
    held,
    places_of,
    run,
)
from tracec.record.seen import any_is_seen, is_seen, root
from tracec.record.state import STATE

if TYPE_CHECKING:
    from tracec.record.call import Call

#: Further steps are not put off: a loop that asks for no value would make ever larger programs.
MOST_STEPS = 1 << 14

#: So much of a GPU's memory results may take that are put off: eagerly, most of them would be gone by then.
_MOST_MEMORY = 1 / 16

#: Who puts operations off now, in any thread. Nobody pays for it while it is empty.
ACTIVE: list[Deferred] = []


def settled(array: Any) -> Any:
    """The array, with its values."""
    if ACTIVE:
        for deferred in tuple(ACTIVE):
            deferred.settle(array)
    return array


def settle_all() -> None:
    """Compute all that was put off: somebody looks at what streams have to do, or at memory as a whole."""
    for deferred in tuple(ACTIVE):
        deferred.settle()


def settle_others() -> None:
    """Compute what other threads have put off: a program reads and writes memory as it is."""
    for deferred in tuple(ACTIVE):
        if deferred is not STATE.deferred:
            deferred.settle()


def copied(array: Any) -> Any:
    """A copy, row by row."""
    if ACTIVE and (mine := _mine()) is not None and is_array(array):
        return mine.copy(array)
    return settled(array).copy()


def fill(into: Any, values: Any) -> None:
    """Write values into an array."""
    if ACTIVE and (mine := _mine()) is not None and is_array(into) and is_array(values):
        mine.write(into, values)
    else:
        for deferred in tuple(ACTIVE):
            deferred.settle_reads(into)
        into[...] = settled(values)


def look(call: Call, of: Any, array: Any) -> None:
    """Note that an array is a view operator's look at another."""
    if (mine := _mine()) is not None and is_array(array):
        mine.add((LOOK, call, (of,), (), array, None))


def put(call: Call, arrays: list[Any], numbers: tuple[int, ...]) -> Any:
    """Put an operation off; views, of arrays without values too, and constants are computed now.

    Args:
        call: The operation.
        arrays: Its operands, on its device; Python's numbers as NumPy's arrays.
        numbers: Positions of those that are Python's numbers.

    Returns:
        An array for its result; None where it is to be computed now, for which its operands have values then.
    """
    mine = _mine()
    if mine is None:
        for a in arrays:
            settled(a)
        return None
    return None if call.is_view or call.op.name == "constant" else mine.put(call, arrays, numbers)


def put_copy(call: Call, of: Any) -> Any:
    """Put off a view operator whose result has memory of its own, row by row; as `put`."""
    mine = _mine()
    return None if mine is None or not is_array(of) else mine.computed(call, [of], (), None)


def ran(call: Call, arrays: Sequence[Any], out: Any) -> None:
    """Note where the elements of a result lie that was computed while others were put off."""
    if (mine := _mine()) is not None:
        if call.op.name == "constant":
            number = out if type(out) is np.ndarray else np.asarray(dict(call.params)["value"], out.dtype)
            mine.add((NUMBER, call, (number,), (), out, None))
        elif can_wait(call) and is_array(out):
            call.layouts[places_of(arrays)] = out.strides, out.base is not None


def pulled(calls: Sequence[tuple[Call, tuple[int, ...], tuple[int, ...]]], values: list[Any]) -> None:
    """Compute a derived graph; the results of its nodes come behind its inputs and constants.

    Args:
        calls: Its nodes; see `tracec.record.rules.calls_of`.
        values: Its inputs and constants; the constants as NumPy's arrays.
    """
    for call, at, numbers in calls:
        arrays = [values[i] for i in at]
        if call.is_view:
            out = eager_now(call, arrays, numbers)
            if share_memory(out, arrays[0]) or not out.size:
                look(call, arrays[0], out)
            elif (late := put_copy(call, arrays[0])) is not None:
                out = late
            else:
                out = eager_now(call, arrays, numbers)
        elif (out := put(call, arrays, numbers)) is None:
            out = eager_now(call, arrays, numbers)
            same = next((k for k, a in enumerate(arrays) if a is out), None)
            if same is None:
                if any(share_memory(out, a) for a in arrays):
                    out = out.copy("K")[...]
                ran(call, arrays, out)
            elif _mine() is not None:
                call.layouts[places_of(arrays)] = same
        values.append(out)


def _mine() -> Deferred | None:
    """Who puts off what this thread does, if it may be."""
    deferred = STATE.deferred
    return None if deferred is None or STATE.recorder is not None or STATE.duals else deferred


@cache
def _memory(device: str) -> int:
    """Bytes of memory that a GPU has."""
    with on(device):
        return int(module(device).cuda.runtime.memGetInfo()[1])


class Deferred:
    """Puts off what one thread does while it is entered.

    Args:
        serve: Given steps, what computes all of them that matter by a program; None where there is none.
        keeps_lines: Whether the user's lines are asked for.

    Attributes:
        steps: What was deferred, in order, behind views of memory that was there before.
        keeps_lines: As given.
        operations: How many operations were called, views left out.
        bytes: The size of what they compute.
    """

    def __init__(self, serve: Callable[[Sequence[Step]], Callable[[], None] | None], keeps_lines: bool = True) -> None:
        self.steps: list[Step] = []
        self.keeps_lines = keeps_lines
        self.operations = self.bytes = 0
        self._serve = serve
        #: Numbers of the memory that has no values, or old ones.
        self._without: set[int] = set()
        #: The device, and its stream, that the steps are for.
        self._device = "cpu"
        self._stream: Any = None
        #: Bytes of a GPU that results take which are put off, and how many may.
        self._taken = self._most = 0
        self._lock = threading.RLock()
        self._before: tuple[Deferred | None, bool] = (None, False)

    def __enter__(self) -> Deferred:
        self._before = STATE.deferred, STATE.as_written
        STATE.deferred, STATE.as_written = self, True
        ACTIVE.append(self)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self.settle(by_program=kind is None)
        finally:
            try:
                self.settle(by_program=False)  # where a program could not be built
            finally:
                ACTIVE.remove(self)
                STATE.deferred, STATE.as_written = self._before

    def add(self, step: Step) -> None:
        """Put a step behind the others."""
        kind, out = step[0], step[4]
        with self._lock:  # another thread may ask for values
            if kind in WRITING:
                self._without.add(id(root(out)))
            self.steps.append(step)
        if len(self.steps) >= MOST_STEPS:
            self.settle()

    def put(self, call: Call, arrays: list[Any], numbers: tuple[int, ...]) -> Any:
        """See `put`."""
        self.operations += 1
        self.bytes += call.type.nbytes
        layout = call.layouts.get(places_of(arrays))
        if layout is not None:
            return arrays[layout] if type(layout) is int else self.computed(call, arrays, numbers, layout)
        # A part that ends where a layout is not known yet does not come again.
        self.settle(by_program=not can_wait(call))
        return None

    def computed(self, call: Call, arrays: list[Any], numbers: tuple[int, ...], layout: Layout | None) -> Any:
        """An array for the result of an operation that is put off; row by row where no layout is given."""
        made = self._new(call.type.device, call.type.nbytes, lambda: empty(call.type, layout))
        return self._made(COMPUTED, call, arrays, numbers, made)

    def copy(self, array: Any) -> Any:
        """An array for a copy."""
        device = device_of(array)
        made = self._new(device, array.nbytes, lambda: module(device).empty(array.shape, array.dtype))
        return self._made(COPY, None, [array], (), made)

    def write(self, into: Any, values: Any) -> None:
        """Put off writing values into an array."""
        if self._device != "cpu" or not isinstance(into, np.ndarray):
            self._go_to(device_of(into))
        self.add((WRITE, None, self._read([values]), (), into, self._line()))
        if is_seen(into):
            self.settle()

    def _made(self, kind: int, call: Any, arrays: list[Any], numbers: tuple[int, ...], out: Any) -> Any:
        self.add((kind, call, self._read(arrays), numbers, out, self._line()))
        return out

    def _read(self, arrays: list[Any]) -> list[Any]:
        """Operands as they are now, where others may write into them."""
        if any_is_seen():
            for k, a in enumerate(arrays):
                if is_seen(a):
                    self.settle(a)
                    arrays = [*arrays[:k], a.copy("K"), *arrays[k + 1 :]]
        return arrays

    def _go_to(self, device: str) -> None:
        """Put off no longer what is for another device or another stream than what comes now."""
        stream = None if device == "cpu" else module(device).cuda.get_current_stream()
        if device == self._device and (stream is None or stream == self._stream):
            return
        self.settle()
        self._device, self._stream = device, stream
        self._most = 0 if device == "cpu" else int(_memory(device) * _MOST_MEMORY)

    def _new(self, device: str, nbytes: int, make: Callable[[], Any]) -> Any:
        """An array on a device; what was put off is computed before where a GPU would hold too much of it."""
        if device != "cpu" or self._device != "cpu":
            self._go_to(device)
        if device == "cpu":
            return make()
        if self._taken + nbytes > self._most:
            self.settle()
        self._taken += nbytes
        with on(device):
            try:
                return make()
            except MemoryError:
                self.settle()
                return make()

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Within, work goes to the device and the stream that the steps are for."""
        if self._stream is None:
            yield
            return
        with on(self._device):
            if module(self._device).cuda.get_current_stream() == self._stream:
                yield
            else:
                with self._stream:
                    yield

    def _line(self) -> Source | None:
        return current_source() if self.keeps_lines else None

    def settle_reads(self, array: Any) -> None:
        """Compute what was put off, if it reads or writes an array's memory."""
        memory = root(array)
        with self._lock:
            if any(root(a) is memory for step in self.steps for a in (*step[2], step[4])):
                self.settle()

    def settle(self, array: Any = None, by_program: bool = True) -> None:
        """Compute what was put off.

        Args:
            array: Only if it depends on that; where none is given, in any case.
            by_program: A program may compute it.
        """
        if not self._without or (array is not None and id(root(array)) not in self._without):
            return
        with self._lock:
            if not (self._without and self.steps):  # another thread has computed it meanwhile
                return
            steps, self.steps, self._taken = self.steps, [], 0
            looks = [step for step in steps if step[0] == LOOK]
            try:
                with self._place():
                    try:
                        program = self._serve(steps) if by_program else None
                        if program is None:
                            run(steps)
                    except BaseException:  # no program could be built, or an interrupt came: it is still to be computed
                        self.steps = [*steps, *self.steps]
                        raise
                    if program is not None:
                        program()
                del steps, program
                self.steps[:0] = held(looks)
            finally:  # not before: who asks meanwhile waits
                self._without = {id(root(step[4])) for step in self.steps if step[0] in WRITING}


def _before_fork() -> None:
    """Compute all that was put off: a child has what an eager run would have left it."""
    for deferred in tuple(ACTIVE):
        deferred.settle(by_program=False)  # a fork is no place to compile


def _as_a_child() -> None:
    """Forget what other threads put off, which the child does not have."""
    ACTIVE[:] = [deferred for deferred in ACTIVE if deferred is STATE.deferred]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_as_a_child)
