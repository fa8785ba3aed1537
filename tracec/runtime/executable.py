"""A loaded plan, called with arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache, partial
from time import perf_counter
from typing import Any

import numpy as np

from tracec.errors import ArgumentTypeError
from tracec.ir.operator import OPERATORS
from tracec.ir.plan import Branch, Launch, LibraryCall, Plan, Repeat, Value, While
from tracec.runtime.blas import lib_table
from tracec.runtime.pool import MIN_POOLED, POOL, Array
from tracec.runtime.threads import ThreadChoice, Threads

Invoke = Callable[[int, list[Array], list[Array], int], None]


class Executable:
    """Runs a plan on the CPU. Safe to call from several threads at once: each call has an arena of its own.

    Args:
        plan: The plan.
        library: The shared object made of it, if there is any; kept loaded as long as this object lives.
        parts: What to run, in order: symbols to call, and steps that are eager rules.
        invoke: Calls an entry's address with inputs, outputs and arena; see `Host`.
        threads: OpenMP's runtime, where the program has parallel loops.
    """

    def __init__(
        self, plan: Plan, library: ctypes.CDLL | None, parts: Sequence[str | LibraryCall], invoke: Invoke,
        threads: Threads | None = None,
    ) -> None:  # fmt: skip
        self.plan = plan
        self._entry = 0
        if len(parts) == 1 and isinstance(parts[0], str):
            self._entry = _address(library, parts[0])
        else:
            steps = [_EagerStep(plan, p) if isinstance(p, LibraryCall) else _address(library, p) for p in parts]
            invoke = partial(_in_turn, steps, invoke)
        self._choice = None if threads is None else threads.choice()
        if threads is not None and self._choice is not None:
            invoke = partial(self._timed, invoke, threads.set, self._choice)
        self._library = library
        self._invoke = invoke
        self._arena_bytes = int(plan.memory.peak_bytes)
        self._arenas: list[Array] = []
        makers: list[Callable[[], Array] | None] = []
        results: list[tuple[bool, int]] = []
        for position, v in enumerate(plan.outputs):
            value = plan.values[v]
            own = value.place == "output" and value.index == position
            shape = tuple(map(int, value.type.shape))
            makers.append(_maker(shape, value.type.dtype.numpy, int(value.type.nbytes)) if own else None)
            results.append((value.place == "input", value.index))
        self._makers = makers
        self._results = results
        self._plain = all(makers) and all(not given and i == n for n, (given, i) in enumerate(results))

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        """Run the plan.

        Args:
            inputs: C-contiguous arrays of the plan's input types. Those that the plan donates are written to.

        Returns:
            The outputs; one that is written in place of an input is that very array.
        """
        if type(inputs) is not list:
            inputs = list(inputs)
        if self._plain:
            outputs = [make() for make in self._makers]  # type: ignore[misc]
            if not self._arena_bytes:
                self._invoke(self._entry, inputs, outputs, 0)
                return outputs
        else:
            outputs = [make() if make else _NOTHING for make in self._makers]
        if self._arena_bytes:
            try:
                arena = self._arenas.pop()
            except IndexError:
                arena = POOL.empty((self._arena_bytes + 64,), _BYTE, max(self._arena_bytes + 64, MIN_POOLED))
            base = arena.__array_interface__["data"][0]
            self._invoke(self._entry, inputs, outputs, base)
            self._arenas.append(arena)
        else:
            self._invoke(self._entry, inputs, outputs, 0)
        if self._plain:
            return outputs
        return [inputs[i] if given else outputs[i] for given, i in self._results]

    def describe(self) -> str:
        """How calls run, for readers."""
        launches, calls = _runs(self.plan)
        eager = [s.operator for s in self.plan.steps if isinstance(s, LibraryCall) and s.routine == "eager"]
        text = f"on the CPU: {launches} kernel runs" + (f" and {calls} library calls" if calls else "")
        others = sum(isinstance(s, (Branch, While)) for s in self.plan.steps)
        text += f", and those of {others} branches and loops of no fixed length" if others else ""
        if not eager:
            return f"{text} a call"
        return f"{text} a call; computed by NumPy between them: {', '.join(dict.fromkeys(eager))}"

    @staticmethod
    def _timed(
        invoke: Invoke,
        set_threads: Callable[[int], object],
        choice: ThreadChoice,
        entry: int,
        inputs: list[Array],
        outputs: list[Array],
        arena: int,
    ) -> None:
        """Call on the number of threads that has been the faster one."""
        threads = choice.next()
        if threads != choice.most:
            set_threads(threads)
        start = perf_counter()
        try:
            invoke(entry, inputs, outputs, arena)
        finally:
            choice.note(threads, perf_counter() - start)
            if threads != choice.most:
                set_threads(choice.most)


def _runs(plan: Plan) -> tuple[int, int]:
    """How many kernels and library routines run in a call, branches and loops of no fixed length left out."""
    launches = calls = 0
    for step in plan.steps:
        if isinstance(step, Launch):
            launches += len(step.args)
        elif isinstance(step, Repeat):
            inner = _runs(step.body)
            launches, calls = launches + step.length * inner[0], calls + step.length * inner[1]
        elif isinstance(step, LibraryCall):
            calls += step.routine != "eager"
    return launches, calls


def _address(library: ctypes.CDLL | None, symbol: str) -> int:
    return ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value or 0


def _in_turn(
    steps: Sequence[int | _EagerStep], invoke: Invoke, _: int, inputs: list[Array], outputs: list[Array], arena: int
) -> None:
    """Call the entries, and run the eager rules between them."""
    for step in steps:
        if isinstance(step, int):
            invoke(step, inputs, outputs, arena)
        else:
            step(inputs, outputs, arena)


class _EagerStep:
    """A step that an operator's eager rule does.

    Args:
        plan: The plan.
        step: The step.
    """

    def __init__(self, plan: Plan, step: LibraryCall) -> None:
        self._step = step
        self._inputs = [plan.values[v] for v in step.inputs]
        self._output = plan.values[step.output]
        self._eager = OPERATORS[step.operator].eager
        self._params = dict(step.params)

    def __call__(self, inputs: list[Array], outputs: list[Array], arena: int) -> None:
        def array(value: Value) -> Array:
            kind = value.type
            if value.place != "arena":
                given = inputs if value.place == "input" else outputs
                return given[value.index].reshape(kind.shape)
            memory: Any = (ctypes.c_char * kind.nbytes).from_address(arena + value.offset)
            return np.ndarray(kind.shape, kind.dtype.numpy, memory)

        operands = self._step.operands(map(array, self._inputs), np)
        out = array(self._output)
        out[...] = np.asarray(self._eager(np, *operands, **self._params)).reshape(out.shape)


_BYTE = np.dtype(np.uint8)
_NOTHING = np.empty(0, np.uint8)


def _maker(shape: tuple[int, ...], dtype: np.dtype[Any], nbytes: int) -> Callable[[], Array]:
    if nbytes < MIN_POOLED:
        return partial(np.empty, shape, dtype)
    return partial(POOL.empty, shape, dtype, nbytes)


@cache
def data_offset() -> int:
    """Where NumPy's array objects keep their data pointer; -1 where it cannot be told."""
    probe = np.empty(1)
    address, word = probe.ctypes.data, ctypes.sizeof(ctypes.c_void_p)
    offset = object.__basicsize__
    try:
        found = ctypes.c_void_p.from_address(id(probe) + offset).value
    except (ValueError, OSError):
        return -1
    return offset if word == 8 and found == address else -1


class Host:
    """The compiled helper of ``templates/c/host.c``, and the routines that every plan is handed.

    Args:
        path: Its shared object.
    """

    def __init__(self, path: str) -> None:
        library = ctypes.PyDLL(path)
        self._table = lib_table(library)
        self._lib = ctypes.addressof(self._table)
        self._library = library

    @property
    def invoke(self) -> Invoke:
        """How entries are called on this interpreter."""
        return self._plainly if data_offset() < 0 else self._directly()

    @property
    def holds(self) -> Callable[[bytes, bytes], bool]:
        """Whether containers hold the very same objects as before; see `tracec.runtime.containers`."""
        make = self._library.tracec_holds
        make.restype, make.argtypes = ctypes.py_object, []
        found: Callable[[bytes, bytes], bool] = make()
        return found

    def _directly(self) -> Invoke:
        """The helper reads the pointers, and runs the entry without Python's lock."""
        make = self._library.tracec_call
        make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long]
        call = make(self._lib, id(np.ndarray), data_offset())

        def invoke(entry: int, inputs: list[Array], outputs: list[Array], arena: int) -> None:
            if not call(entry, inputs, outputs, arena):
                self._plainly(entry, inputs, outputs, arena)  # some are of a class derived from ndarray

        return invoke

    def _plainly(self, entry: int, inputs: list[Array], outputs: list[Array], arena: int) -> None:
        """NumPy is asked for the pointers, where its array objects are laid out otherwise."""
        for a in inputs:
            if not isinstance(a, np.ndarray):
                raise ArgumentTypeError(f"a compiled plan takes arrays, {type(a).__name__} given")
        pointers = [a.ctypes.data for a in (*inputs, *outputs)]
        table = (ctypes.c_void_p * (len(pointers) + 1))(*pointers)
        _ENTRY(entry)(table, arena, self._lib)


_ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
