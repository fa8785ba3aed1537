"""A loaded plan, called with arrays."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np

from tracec.errors import ArgumentTypeError, OutOfMemoryError
from tracec.ir.operator import OPERATORS
from tracec.ir.plan import Branch, Launch, LibraryCall, Plan, Repeat, Value, While
from tracec.runtime.blas import lib_table, symbol_address
from tracec.runtime.pool import MIN_POOLED, POOL, Array
from tracec.runtime.threads import ThreadChoice, Threads

Invoke = Callable[[int, list[Array], list[Array], int], None]
Outputs = Callable[..., list[Array]]


class Executable:
    """Runs a plan on the CPU. Safe to call from several threads at once: each call has an arena of its own.

    Args:
        plan: The plan.
        library: The shared object made of it, if there is any; kept loaded as long as this object lives.
        parts: What to run, in order: symbols to call, and steps that are eager rules.
        host: Calls entries; None where there are none.
        threads: OpenMP's runtime, where the program has parallel loops.
        tables: Arrays that entries are given behind the outputs.
        seconds: Where a call is to put the time that each part takes.

    Attributes:
        quick: Does the same in one crossing from Python, given a list; gives nothing, with nothing done, where some
            inputs are no plain arrays, or their elements have gaps between them. None where the program is more than
            one entry.
    """

    def __init__(
        self, plan: Plan, library: ctypes.CDLL | None, parts: Sequence[str | LibraryCall], host: Host | None,
        threads: Threads | None = None, tables: Sequence[Array] = (), seconds: list[float] | None = None,
    ) -> None:  # fmt: skip
        self.plan = plan
        self._entry = 0
        invoke = _none if host is None else host.invoke
        if tables:
            invoke = partial(_with_tables, invoke, tables)
        if len(parts) == 1 and isinstance(parts[0], str) and seconds is None:
            self._entry = symbol_address(library, parts[0])
        else:
            steps = [_EagerStep(plan, p) if isinstance(p, LibraryCall) else symbol_address(library, p) for p in parts]
            invoke = partial(_in_turn, steps, invoke, seconds)
        work = sum(int(v.type.nbytes) for v in plan.values)
        self._choice = None if threads is None else threads.choice(work)
        if threads is not None and self._choice is not None:
            invoke = partial(self._timed, invoke, threads.set, *self._choice)
        self._library = library
        self._invoke = invoke
        self._arena_bytes = int(plan.memory.peak_bytes)
        self._arenas: list[tuple[Array, int]] = []
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
        self._outputs: Outputs | None = None
        in_turn = all(given or i == n for n, (given, i) in enumerate(results))
        if host is not None and self._entry and in_turn and makers and self._choice is None:
            self._outputs = host.outputs(self._entry, makers, tables, [i if given else -1 for given, i in results])
        self.quick = self._in_arena if self._arena_bytes and self._outputs is not None else self._outputs

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        """Run the plan.

        Args:
            inputs: C-contiguous arrays of the plan's input types. Those that the plan donates are written to.

        Returns:
            The outputs; one that is written in place of an input is that very array.
        """
        if type(inputs) is not list:
            inputs = list(inputs)
        if not self._arena_bytes:
            return self._run(inputs, 0)
        arena = self._take()
        outputs = self._run(inputs, arena[1])
        self._arenas.append(arena)
        return outputs

    def _in_arena(self, inputs: list[Array]) -> list[Array]:
        """`quick`, where the program keeps something while it runs."""
        assert self._outputs is not None
        arena = self._take()
        outputs = self._outputs(inputs, arena[1])
        self._arenas.append(arena)
        return outputs

    def _take(self) -> tuple[Array, int]:
        """Memory for what is kept while the program runs, and its address."""
        try:
            return self._arenas.pop()
        except IndexError:
            arena = POOL.empty((self._arena_bytes + 64,), _BYTE, max(self._arena_bytes + 64, MIN_POOLED))
            return arena, arena.__array_interface__["data"][0]

    def _run(self, inputs: list[Array], arena: int) -> list[Array]:
        if self._outputs is not None and (made := self._outputs(inputs, arena)):
            return made
        outputs = [make() if make else _NOTHING for make in self._makers]
        self._invoke(self._entry, inputs, outputs, arena)
        return outputs if self._plain else [inputs[i] if given else outputs[i] for given, i in self._results]

    def describe(self) -> str:
        """How calls run, for readers."""
        launches, calls = _runs(self.plan)
        eager = [s.operator for s in self.plan.steps if isinstance(s, LibraryCall) and s.routine == "eager"]
        text = f"on the CPU: {launches} kernel runs" + (f" and {calls} library calls" if calls else "")
        others = sum(isinstance(s, (Branch, While)) for s in self.plan.steps)
        text += f", and those of {others} branches and loops of no fixed length" if others else ""
        text = f"{text} a call{self.plan.about_slices}"
        return f"{text}; computed by NumPy between them: {', '.join(dict.fromkeys(eager))}" if eager else text

    @staticmethod
    def _timed(
        invoke: Invoke,
        set_threads: Callable[[int], object],
        choice: ThreadChoice,
        scale: float,
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
            choice.note(threads, (perf_counter() - start) * scale)
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


def _none(entry: int, inputs: list[Array], outputs: list[Array], arena: int) -> None:
    """Calls an entry, of which there are none."""


def _with_tables(
    invoke: Invoke, tables: Sequence[Array], entry: int, inputs: list[Array], outputs: list[Array], arena: int
) -> None:
    """Call an entry that is given numbers besides."""
    invoke(entry, inputs, [*outputs, *tables], arena)


def _in_turn(
    steps: Sequence[int | _EagerStep], invoke: Invoke, seconds: list[float] | None, _: int, inputs: list[Array],
    outputs: list[Array], arena: int,
) -> None:  # fmt: skip
    """Call the entries, and run the eager rules between them."""
    ends = []
    start = perf_counter()
    for step in steps:
        if isinstance(step, int):
            invoke(step, inputs, outputs, arena)
        else:
            step(inputs, outputs, arena)
        if seconds is not None:
            ends.append(perf_counter())
    if seconds is not None:
        seconds[:] = [end - before for before, end in pairwise((start, *ends))]


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


class _Laid(ctypes.Structure):
    """What lies in an array object from its data pointer on."""

    _fields_ = (
        ("data", ctypes.c_void_p), ("axes", ctypes.c_int), ("shape", ctypes.POINTER(ctypes.c_ssize_t)),
        ("strides", ctypes.POINTER(ctypes.c_ssize_t)), ("base", ctypes.c_void_p), ("element", ctypes.c_void_p),
        ("flags", ctypes.c_int),
    )  # fmt: skip


@cache
def data_offset() -> int:
    """Where NumPy keeps the data pointer of an array object, if what lies behind is as `_Laid` says; -1 otherwise."""
    probe = np.empty((3, 5, 7), np.float32)[:, ::2]
    offset, size = object.__basicsize__, ctypes.sizeof(_Laid)
    if ctypes.sizeof(ctypes.c_void_p) != 8 or np.ndarray.__basicsize__ < offset + size:
        return -1
    laid = _Laid.from_address(id(probe) + offset)
    found = laid.data, laid.axes, laid.base, laid.element, laid.flags
    if found != (probe.ctypes.data, probe.ndim, id(probe.base), id(probe.dtype), probe.flags.num):
        return -1
    return offset if (laid.shape[:3], laid.strides[:3]) == ([*probe.shape], [*probe.strides]) else -1


class Host:
    """The compiled helper of ``templates/c/host.c``, and the routines that every plan is handed.

    Args:
        path: Its shared object.
    """

    def __init__(self, path: str) -> None:
        self._library = library = ctypes.PyDLL(path)
        self._table = lib_table(library)
        self._lib = ctypes.addressof(self._table)
        library.tracec_set.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long, ctypes.py_object]
        library.tracec_set(self._lib, id(np.ndarray), data_offset(), OutOfMemoryError)
        library.tracec_function.restype = ctypes.py_object
        library.tracec_function.argtypes = [ctypes.c_long, ctypes.py_object]
        self._function = library.tracec_function
        #: Whether it can look into array objects.
        self.knows_arrays = data_offset() >= 0

    def forked(self) -> None:
        """Know, in a forked child, that none of the threads that ran plans is there."""
        self._library.tracec_blas_forked(ctypes.c_void_p(self._lib))

    def outputs(
        self, entry: int, makers: Sequence[Any], tables: Sequence[Array], places: Sequence[int]
    ) -> Outputs | None:  # fmt: skip
        """How an entry is called whose outputs are made, or those inputs; see `Executable.quick`."""
        if not self.knows_arrays:
            return None
        held = entry, (*makers,), (*tables,), struct.pack(f"{len(places)}q", *places)
        function: Outputs = self._function(_OUTPUTS, held)
        return function

    def holds(self, guards: bytes, found: bytes, alive: Any) -> Callable[[], bool]:
        """A function that tells whether places hold what they did; see `tracec.runtime.identity_guards`.

        Args:
            guards: The places.
            found: Addresses of what they held.
            alive: Keeps all of that alive.
        """
        function: Callable[[], bool] = self._function(_HOLDS, (guards, found, alive))
        return function

    def is_like(
        self, guard: bytes, guards: bytes, found: bytes, alive: Any
    ) -> Callable[[tuple[Any, ...], dict[str, Any]], bool]:
        """A function that tells whether arguments make a call like an earlier one; see `tracec.runtime.call_guard`."""
        function: Callable[..., bool] = self._function(_IS_LIKE, (guard, guards, found, alive))
        return function

    @property
    def invoke(self) -> Invoke:
        """How entries are called on this interpreter."""
        return self._directly() if self.knows_arrays else self._plainly

    def _directly(self) -> Invoke:
        """The helper reads the pointers, and runs the entry without Python's lock."""
        call = self._function(_CALL, None)

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
        self._library.tracec_failed()  # raises where it has


#: As in ``host.c``.
_CALL, _OUTPUTS, _HOLDS, _IS_LIKE = range(4)
_ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
