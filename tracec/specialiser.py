"""The specialisations of one function: the key of a call, recording it, and what becomes of a recording.

A recording is kept for its key and guards, and compiled; or, with symbols in place of sizes, for many keys; or it tells
that the function sets something up once, and the next call is recorded instead; or that no program can stand in for the
function, which then runs eagerly for such calls, with a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

from tracec.errors import RecordError
from tracec.inspect.arguments import Part, named, parts_of
from tracec.inspect.history import History
from tracec.ir.graph import Graph
from tracec.ir.source import warn
from tracec.options import RUN_AGAIN, Options
from tracec.program_builder import ProgramBuilder, check_devices
from tracec.progress import Clock, timing
from tracec.record import promote
from tracec.record.counts import Counts
from tracec.record.state import PROCESS, STATE
from tracec.record.tensor import Tensor
from tracec.record.unfolding import Unfolding
from tracec.recording_lock import NAMES
from tracec.specialisations.aliasing import sharing
from tracec.specialisations.building import Building, Known
from tracec.specialisations.compared import Shapes
from tracec.specialisations.dynamic_shapes import DynamicShapes
from tracec.specialisations.environment import Environment
from tracec.specialisations.flattening import FlattenedClasses
from tracec.specialisations.guards import Change
from tracec.specialisations.keys import Flattener, flatten, without_sizes
from tracec.specialisations.lazy import LazyRunner
from tracec.specialisations.paths import check_whole
from tracec.specialisations.printed import printed_before
from tracec.specialisations.proxies import Proxies
from tracec.specialisations.recorded import CallToRecord, Recorded, Refused, record
from tracec.specialisations.specialisation import Call, Specialisation, drawn_out
from tracec.specialisations.watching import SetupCalls, Watch

#: To a function that keeps its results, what stands in for a size is another key than the size itself.
_KEEPS = "the function reaches one that keeps its results, which may be by sizes"


class Specialiser:
    """Keeps the specialisations of a function, and makes new ones by recording calls.

    Args:
        fn: A function, bound method, Module or other callable over tensors.
        options: How it is compiled.
    """

    def __init__(self, fn: Callable[..., Any], options: Options) -> None:
        self.fn = fn
        self._options = options
        self._name = getattr(fn, "__qualname__", type(fn).__name__)
        self._begin()

    def _begin(self) -> None:
        """Know nothing of the function yet."""
        options = self._options
        self._known = Known()
        self._history = History(self._name, options)
        self._flattened = FlattenedClasses()
        self._watch = Watch(self._flattened.held)
        self._setup_calls = SetupCalls(self._watch, lambda key: without_sizes(key)[0])
        self._builder = ProgramBuilder(options)
        self._counts = Counts(options.dynamic)
        self._sizes = DynamicShapes(options.dynamic, self._builder, self._counts)
        self._unfolding = Unfolding(never=options.fullgraph)
        self._lazy = LazyRunner(self.fn, self._name, self._builder.program, options.background)
        self._building = Building(self._name, self._builder, self._known, options.fullgraph, self._counts)
        self._verification = self._builder.verification(self.fn) if options.verifies else None

    def _parts(self, call: Call) -> tuple[Part, ...]:
        """The arguments part by part, as explanations name them."""
        return parts_of(self.fn, call.args, call.kwargs, self._flattened.layouts)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any], flattener: Flattener | None = None) -> Call:
        """Arguments with the key of such a call: modes of the thread, then each argument flattened."""
        tensors: list[Tensor] = []
        kept: list[Any] = []
        place = STATE.devices[-1] if STATE.devices else STATE.device
        parts: list[Hashable] = [
            STATE.grad, promote.DEFAULT_FLOAT, place, STATE.autocast, STATE.generators, PROCESS.any_order,
            PROCESS.replaced, len(args),
        ]  # fmt: skip
        for value in args:
            flatten(value, tensors, parts, kept, flattener)
        for name, value in kwargs.items():
            parts.append(name)
            flatten(value, tensors, parts, kept, flattener)
        if kept and flattener is None and self._flattened.among(kept):
            try:
                return self._call(args, kwargs, Flattener(self._flattened.layouts))
            except RecursionError:
                self._flattened.close()
        if len(tensors) > 1:
            parts += sharing(tensors)
        # Without the detour through the class's own __new__, which takes twice as long.
        return tuple.__new__(Call, (args, kwargs, tuple(parts), tensors, kept))

    def _record(self, call: Call, lasting: bool = True) -> Any:
        """Run the function on a call under a recorder, and keep what it gave; without a lasting effect if asked."""
        NAMES.append(self._name)
        try:
            with timing("running") as clock:
                return self._recorded(call, lasting, clock)
        finally:
            NAMES.pop()

    def _recorded(self, call: Call, lasting: bool, clock: Clock) -> Any:
        call = self._flattened_anew(call)
        parts, layouts = self._parts(call), self._flattened.layouts
        reason, changes = self._learn(call, parts)
        key = self._watch.key(call.whole)[0]
        if self._options.target == "cuda" and self._options.launcher == "gpu":
            check_devices("compile", call.tensors)
        surroundings = self._surroundings(call)
        proxies = Proxies(self._watch, surroundings, key, layouts)
        arguments = [*call.tensors, *proxies.tensors]
        surroundings.sharing, surroundings.keyed = sharing(arguments), surroundings.as_keys(call.tensors)
        symbols = self._sizes.begin(key, _KEEPS if surroundings.keeps_each else None)
        # As it is before the call: the function may change what they depend on.
        fitting = self._fitting(key)
        to_record = CallToRecord(
            self.fn, call.args, call.kwargs, arguments, surroundings, keep=lasting, proxies=proxies,
            sizes=proxies.shapes(symbols, arguments, len(call.tensors)), unfolding=self._unfolding,
            counts=None if surroundings.keeps_each or not (symbols or self._counts.vary) else self._counts,
        )  # fmt: skip
        try:
            recorded = record(to_record)
        except Refused as refused:
            return self._refused(key, call, surroundings, refused)
        made = Specialisation(recorded.recording.graph, surroundings, call.kept, parts, self._builder.disabled())
        if self._is_set_up(key, recorded, proxies, surroundings, lasting):
            self._setup_calls.add(call.whole, call.kept)
        else:
            if recorded.eager is None:
                recorded = replace(recorded, eager=drawn_out(self._known.get(key, ()), recorded.numbers))
            self._enter(key, made, recorded, symbols, fitting, lasting)
        self._history.note(reason, changes, parts, clock.read())
        self._flattened.note((*call.args, *call.kwargs.values()))
        surroundings.let_go()
        return recorded.given

    def _flattened_anew(self, call: Call) -> Call:
        """The call, after classes were learned whose instances are to be flattened from now on."""
        known = [(k, s.kept) for k, found in self._known.items() for s in found] + list(self._setup_calls.calls.items())
        return self._call(call.args, call.kwargs) if known and self._flattened.learn(call, known) else call

    def _learn(self, call: Call, parts: Sequence[Part]) -> tuple[str, tuple[Change, ...]]:
        """Why nothing serves a call, in words and as changes; what differs by value alone is watched from now on."""
        key, numbers = self._watch.key(call.whole)
        near = self._sizes.near(key) if self._sizes.any else ()
        sizes = self._watch.names_of_sizes
        found = self._history.begin(self._known, key, parts, call.tensors, numbers, near, sizes)
        read = [s.surroundings for s in (*self._known.get(key, ()), *near)]
        set_up = [self._watch.key(whole)[0] for whole in self._setup_calls.calls]
        self._watch.learn(key, (*self._known, *set_up), read)
        return found

    def _surroundings(self, call: Call) -> Environment:
        """What the function can read besides its arguments; which of it is watched is learned first."""
        arguments = dict(named(self.fn, call.args, call.kwargs))

        def look() -> Environment:
            return Environment(self.fn, arguments, self._watch.kinds, self._flattened.layouts, names=self._watch.names)

        surroundings = look()
        if surroundings.keeps:
            self._watch.stop()
        elif self._watch.foresee(surroundings):
            surroundings = look()
        return surroundings

    def _is_set_up(
        self, key: Hashable, recorded: Recorded, proxies: Proxies, surroundings: Environment, lasting: bool
    ) -> bool:
        """Whether a call did what is done once, as lazy set-up is, so that the next one is recorded instead."""
        void = proxies.is_void
        if recorded.left is not None:
            self._flattened.keep(recorded.left.classes)
            void = self._watch.written(recorded.left.effects, recorded.put, surroundings) or void
        return (recorded.may_be_setup and lasting and not self._setup_calls.knows(key)) or void

    def _enter(
        self, key: Hashable, made: Specialisation, recorded: Recorded, symbols: Shapes | None,
        fitting: Sequence[Specialisation], lasting: bool,
    ) -> None:  # fmt: skip
        """Let a program of what was recorded serve later calls, or one for many sizes, or the function itself."""
        if self._options.fullgraph:
            check_whole(recorded)
        recorded, of_many = self._sizes.took(key, symbols, recorded, made, fitting)
        made.graph = recorded.recording.graph
        if of_many is not None:
            if of_many not in fitting:
                self._known.keep(key, of_many)
        elif recorded.eager is None:
            self._building.build(key, made, recorded, fitting, self._options.background and lasting)
        elif lasting or not recorded.may_be_setup:
            self._give_up(key, made, recorded.eager)

    def _fitting(self, key: Hashable) -> list[Specialisation]:
        """The specialisations of a key for which all is as they need it now."""
        return [s for s in self._known.get(key, ()) if s.surroundings.fails() is None]

    def _refused(self, key: Hashable, call: Call, surroundings: Environment, refused: Refused) -> Any:
        """Run a function eagerly that cannot be recorded; from the second time on it is not recorded again."""
        error = refused.__cause__
        assert isinstance(error, RecordError)
        if self._options.fullgraph:
            raise error
        surroundings.let_go()
        with printed_before(refused.text):
            out = self.fn(*call.args, **call.kwargs)
        if self._setup_calls.knows(key):
            graph = Graph((), (), self._name)
            made = Specialisation(graph, surroundings, call.kept, self._parts(call), frozenset())
            self._give_up(key, made, str(refused), error.hint)
        self._setup_calls.add(call.whole, call.kept)
        self._flattened.note((*call.args, *call.kwargs.values()))
        return out

    def _give_up(self, key: Hashable, made: Specialisation, why: str, hint: str | None = None) -> None:
        """Let the function run without a program of its own."""
        name = made.graph.name
        if self._options.fullgraph:
            raise RecordError(f"compile: {name}: {why}", hint=f"without fullgraph=True such a function is {RUN_AGAIN}")
        warn(f"{name}: {why}; such a function {self._runs}" + (f"\n  hint: {hint}" if hint else ""))
        made.eager = why
        self._known.keep(key, made)

    @property
    def _runs(self) -> str:
        """How it runs where no program stands in for it, in words."""
        return f"is {RUN_AGAIN}" if self._verification is None else "runs eagerly at every call"

    def _runs_eagerly(self, key: Hashable) -> bool:
        known = self._known.get(key)
        return bool(known) and known[-1].eager is not None  # type: ignore[index]
