"""Compiled functions: what a call of one does, from the arguments to the program that serves it.

A call tries, in this order, and the first that serves it ends it:

1. fast paths: a small inline cache of programs, each behind one check in C (`specialisations.fast_path`);
2. the specialisations under the key of its arguments whose guards hold (`Specialisation.takes`);
3. the program of a recording with symbolic sizes, for these sizes (`specialisations.dynamic_shapes`);
4. lazy execution, for a function that no program can stand in for (`specialisations.lazy`);
5. recording: the function runs eagerly under a recorder, and a program is built for the calls after this one
   (`tracec.specialiser`).
"""

from __future__ import annotations

import functools
import sys
import types
import weakref
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

from tracec.autotune import describe_choices
from tracec.background import resume
from tracec.errors import RecordError
from tracec.inspect.arguments import Part, named, parts_of
from tracec.inspect.explanation import Explanation
from tracec.inspect.history import History
from tracec.ir.forks import undo_rest
from tracec.ir.graph import Graph
from tracec.ir.node import leave_contexts
from tracec.ir.number import WATCH
from tracec.ir.source import warn
from tracec.lowered import Lowered, arrays_like, check_names, like_lowered
from tracec.options import RUN_AGAIN, Options
from tracec.program_builder import DEFAULT_ARCH, ProgramBuilder, check_devices
from tracec.progress import Clock, timing
from tracec.record import promote
from tracec.record.deferred import ACTIVE, settle_others
from tracec.record.state import PROCESS, STATE
from tracec.record.tensor import Tensor
from tracec.record.unfolding import Unfolding
from tracec.recording_lock import NAMES, RECORDING_LOCK, give_back, wait_to_record
from tracec.specialisations.building import Building, Known
from tracec.specialisations.derivatives import bind
from tracec.specialisations.dynamic_shapes import DynamicShapes
from tracec.specialisations.environment import Environment
from tracec.specialisations.fast_path import with_fast_path
from tracec.specialisations.flattening import FlattenedClasses
from tracec.specialisations.keys import Flattener, flatten, without_sizes
from tracec.specialisations.lazy import LazyRunner
from tracec.specialisations.paths import check_whole
from tracec.specialisations.printed import printed_before
from tracec.specialisations.program import build_program
from tracec.specialisations.proxies import Proxies
from tracec.specialisations.recorded import CallToRecord, Recorded, Refused, record
from tracec.specialisations.replay import Unfit
from tracec.specialisations.specialisation import BEING_COMPILED, Call, Specialisation, drawn_out, undo, undone
from tracec.specialisations.tree import UNSEEN
from tracec.specialisations.variants import Shapes
from tracec.specialisations.watching import Unsettled, Watch, sharing

#: To a function that keeps its results, what stands in for a size is another key than the size itself.
_KEEPS = "the function reaches one that keeps its results, which may be by sizes"
#: Functions that were compiled and are still there.
EVERY: weakref.WeakSet[Compiled] = weakref.WeakSet()


class Compiled:
    """A function that records itself and then runs compiled.

    Args:
        fn: A function, bound method, Module or other callable over tensors.
        options: How it is compiled.
    """

    def __init__(self, fn: Callable[..., Any], options: Options = Options()) -> None:  # noqa: B008 (it is frozen)
        self.fn = fn
        self._options = options
        self._name = getattr(fn, "__qualname__", type(fn).__name__)
        self._owner: tuple[int, int] | None = None
        self._begin()
        functools.update_wrapper(self, fn, updated=())
        EVERY.add(self)

    def _begin(self) -> None:
        """Know nothing of the function yet."""
        options = self._options
        self._known = Known()
        self._history = History(self._name, options)
        self._flattened = FlattenedClasses()
        self._watch = Watch(self._flattened.held)
        self._unsettled = Unsettled(self._watch, lambda key: without_sizes(key)[0])
        self._builder = ProgramBuilder(options)
        self._sizes = DynamicShapes(options.dynamic, self._builder)
        self._unfolding = Unfolding(never=options.fullgraph)
        self._lazy = LazyRunner(self.fn, self._name, self._builder.program, options.background)
        self._building = Building(self._name, self._builder, self._known, options.fullgraph)
        self._verification = self._builder.verification(self.fn) if options.verifies else None

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        attributes = getattr(instance, "__dict__", None)
        if type(attributes) is not dict:  # a class, or an object with slots: it is an argument like others
            return types.MethodType(self, instance)
        name = f"_compiled_{self.__name__}"
        bound = attributes.get(name)
        if bound is None or bound._owner != (id(self), id(instance)):
            bound = Compiled(self.fn.__get__(instance, owner), self._options)
            bound._owner = id(self), id(instance)
            attributes[name] = bound
        return bound

    def __reduce_ex__(self, protocol: Any) -> Any:
        """What was compiled, without what was built: copies and other processes record anew."""
        if self._owner is not None:  # bound to an object that is copied too
            return type(None), ()  # whose only object is None
        module = sys.modules.get(getattr(self.fn, "__module__", None) or "")
        name = getattr(self.fn, "__qualname__", "")
        if getattr(module, name, None) is self:
            return name
        return Compiled, (self.fn, self._options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "fn":
            raise AttributeError(name)
        return getattr(self.fn, name)

    def __repr__(self) -> str:
        return f"<compiled {getattr(self.fn, '__qualname__', self.fn)!s}: {self._known.count} specialisations>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if ACTIVE:
            settle_others()
        for fast_path in self._known.fast_paths:
            if fast_path.is_like(args, kwargs) and (out := fast_path.serve(args, kwargs)) is not UNSEEN:
                return out
        # Inside of another compiled function: become part of its graph. A program knows no tangents, nor hooks, and
        # does not look for NaN on the way back.
        if STATE.recorder is not None or STATE.duals or STATE.packing is not None or STATE.as_written or STATE.anomaly:
            return self.fn(*args, **kwargs)
        if self._history.in_vain and self._history.gives_up():
            return self._lazy(args, kwargs)
        call = self._call(args, kwargs)
        key, numbers = self._watch.key(call.whole) if self._watch.positions or self._watch.sized else (call.whole, [])
        out = self._served(call, key, numbers)
        if out is not UNSEEN:
            self._history.in_vain = 0
            return out
        for older, few in self._watch.older_keys(call.whole):
            if (out := self._served(call, older, few)) is not UNSEEN:
                return out
        known = self._known.get(key)
        if known and known[-1].eager is not None:
            if not known[-1].pays_again:
                known[-1].hits += 1
                return self._eagerly(known[-1], args, kwargs)
            self._known.drop(key, known[-1])
        if self._sizes.any and (out := self._resized(call, key, numbers)) is not UNSEEN:
            return out
        if self._known.count >= self._options.max_specializations or self._history.storms(self._known):
            self._history.full()
            return self._lazy(args, kwargs)
        before = STATE.__dict__.copy()
        try:
            # Waiting could last for ever: the function that another thread records may wait for this one.
            if not RECORDING_LOCK.acquire(blocking=False):
                return self.fn(*args, **kwargs)
            out = self._served(call, *self._watch.key(call.whole))  # another thread may have recorded meanwhile
            return self._record(call) if out is UNSEEN else out
        except Exception:
            raise
        except BaseException:  # an interrupt, which may have come where modes are left
            STATE.__dict__.clear()
            STATE.__dict__.update(before)
            leave_contexts()
            undo_rest()
            WATCH.watcher = None
            raise
        finally:
            give_back()

    def _eagerly(self, found: Specialisation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a function that no program stands in for."""
        if found.eager is BEING_COMPILED:
            resume()
            return self.fn(*args, **kwargs)
        if self._verification is not None or found.plainly:
            return self.fn(*args, **kwargs)
        return self._lazy(args, kwargs)

    def _served(self, call: Call, key: Hashable, numbers: list[Any]) -> Any:
        """What a program gives that may stand in for the function now; `UNSEEN` where there is none."""
        for found in self._known.get(key, ()):
            given = found.takes(call, numbers, undoing=self._verification is not None)
            if given is None or found.replay is None:
                continue
            try:
                if self._verification is None:
                    out = found.replay(*given)
                else:
                    # Another thread that records may wait for this one.
                    if not RECORDING_LOCK.acquire(blocking=False):
                        undo(given[1])
                        return self.fn(*call.args, **call.kwargs)
                    try:
                        run = functools.partial(found.replay, symbols=given[1])
                        again = undone(found.replay, given[1])  # an eager run draws first
                        out = self._verification(run, found.graph, call.args, call.kwargs, given[0], UNSEEN, again)
                    finally:
                        RECORDING_LOCK.release()
            except Unfit as unfit:
                undo(given[1])
                return self._unfit(call, unfit.error)
            except Exception:
                raise
            except BaseException:  # an interrupt, which may have come where modes are left
                STATE.grad = call.whole[0]  # type: ignore[assignment]
                raise
            if out is not UNSEEN:
                found.hits += 1
                if found.replay.goes_back:
                    bind(out, found.surroundings, call.args, call.kwargs)
                if key is call.whole and self._verification is None:
                    fast_paths = with_fast_path(self._known.fast_paths, found, call)
                    if fast_paths is not self._known.fast_paths:
                        self._known.fast_paths = fast_paths
                        if found not in self._known[key]:  # another thread has taken it away meanwhile
                            self._known.fast_paths = ()
                return out
            undo(given[1])
        return UNSEEN

    def _resized(self, call: Call, key: Hashable, numbers: list[Any]) -> Any:
        """What the program of a recording for other sizes gives; `UNSEEN` where there is none that serves the call."""
        try:
            if not RECORDING_LOCK.acquire(blocking=False):
                return UNSEEN
            fitting = self._fitting(key)
            match = self._sizes.match(key, [v for s in self._known.get(key, ()) for v in s.variants])
            made = None
            if match is not None:
                made = self._sizes.serve(key, *match, call.kept, self._parts(call), fitting)
            if made is None:
                return UNSEEN
            if made not in fitting:
                self._sizes.keep(self._known, key, made)
        finally:
            give_back()
        return self._served(call, key, numbers)

    def _parts(self, call: Call) -> tuple[Part, ...]:
        return parts_of(self.fn, call.args, call.kwargs, self._flattened.layouts)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any], flattener: Flattener | None = None) -> Call:
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
        NAMES.append(self._name)
        try:
            with timing("running") as clock:
                return self._recorded(call, lasting, clock)
        finally:
            NAMES.pop()

    def _recorded(self, call: Call, lasting: bool, clock: Clock) -> Any:
        known = [(k, s.kept) for k, found in self._known.items() for s in found] + list(self._unsettled.calls.items())
        if known and self._flattened.learn(call, known):
            call = self._call(call.args, call.kwargs)
        key, numbers = self._watch.key(call.whole)
        parts, layouts = self._parts(call), self._flattened.layouts
        near = self._sizes.near(key) if self._sizes.any else ()
        sizes = self._watch.names_of_sizes
        reason, changes = self._history.begin(self._known, key, parts, call.tensors, numbers, near, sizes)
        read = [s.surroundings for s in (*self._known.get(key, ()), *near)]
        self._watch.learn(key, (*self._known, *self._unsettled.calls), read)
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
        )  # fmt: skip
        try:
            recorded = record(to_record)
        except Refused as refused:
            return self._refused(key, call, surroundings, refused)
        made = Specialisation(recorded.recording.graph, surroundings, call.kept, parts, self._builder.disabled())
        if self._is_set_up(key, recorded, proxies, surroundings, lasting):
            self._unsettled.add(call.whole, call.kept)
        else:
            if recorded.eager is None:
                recorded = replace(recorded, eager=drawn_out(self._known.get(key, ()), recorded.numbers))
            self._enter(key, made, recorded, symbols, fitting, lasting)
        self._history.note(reason, changes, parts, clock.read())
        self._flattened.note((*call.args, *call.kwargs.values()))
        surroundings.let_go()
        return recorded.given

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
        return (recorded.settles and lasting and not self._unsettled.knows(key)) or void

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
        elif lasting or not recorded.settles:
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
        if self._unsettled.knows(key):
            graph = Graph((), (), self._name)
            made = Specialisation(graph, surroundings, call.kept, self._parts(call), frozenset())
            self._give_up(key, made, str(refused), error.hint)
        self._unsettled.add(call.whole, call.kept)
        self._flattened.note((*call.args, *call.kwargs.values()))
        return out

    def _unfit(self, call: Call, error: Exception) -> Any:
        """Let the function raise by itself what its program has found: all that it does until then is as written."""
        out = self.fn(*call.args, **call.kwargs)
        warn(f"{self._name}: its program raised {type(error).__name__}, and the function does not: {error}")
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

    def wait(self) -> None:
        """Wait until nothing of the function is being compiled in the background."""
        self._building.wait()
        self._lazy.wait()

    def warmup(self, *args: Any, **kwargs: Any) -> None:
        """Record and compile for such arguments without a lasting effect, so that the first call with such replays.

        The function runs once; tensors, gradients, random states and the Python state that guards see are put back
        afterwards. What it sets up once, at its first call, it still sets up then, and is compiled after that.

        Args:
            *args: Arguments as for a call.
            **kwargs: Keyword arguments as for a call.

        Raises:
            RecordError: it cannot be recorded as the options ask.
        """
        if STATE.recorder is not None:
            return
        call = self._call(args, kwargs)
        key, numbers = self._watch.key(call.whole)
        wait_to_record(f"warmup of {self._name}")
        try:
            served = any(s.takes(call, numbers, undone=True) is not None for s in self._known.get(key, ()))
            if not served and not self._runs_eagerly(key):
                self._record(call, lasting=False)
                if not self._known.get(key):
                    warn(f"{self._name}: sets up Python state when it is called first, and is compiled after that")
        finally:
            RECORDING_LOCK.release()
        self.wait()

    def _runs_eagerly(self, key: Hashable) -> bool:
        known = self._known.get(key)
        return bool(known) and known[-1].eager is not None  # type: ignore[index]

    def lower(self, *args: Any, target: str | None = None, arch: str = DEFAULT_ARCH, **kwargs: Any) -> Lowered:
        """Every stage of the way for these arguments, without a lasting effect on any tensor.

        Args:
            *args: Arguments as for a call.
            target: ``cpu`` or ``cuda``; no GPU is needed for source and cubin.
            arch: GPU architecture for ``cuda``, as ``sm_90``.
            **kwargs: Keyword arguments as for a call.

        Returns:
            The lowered function: ``stages``, ``kernels``, ``memory`` and ``run``.

        Raises:
            ArgumentError: the target or the architecture is unknown.
        """
        target = target or self._options.target or "cpu"
        check_names(target, arch)
        call = self._call(args, kwargs)
        surroundings = Environment(self.fn, dict(named(self.fn, args, kwargs)), None, self._flattened.layouts)
        wait_to_record(f"lower of {self._name}")
        try:
            recorded = record(
                CallToRecord(self.fn, args, kwargs, call.tensors, surroundings, keep=False, unfolding=self._unfolding)
            )
        finally:
            RECORDING_LOCK.release()
        program = build_program(recorded, target, arch, self._builder.disabled())
        run = like_lowered(program, call, self._call, self._options)
        return Lowered(program.forward, target, arch, run, arrays_like(program, call))

    def explain(self) -> Explanation:
        """The specialisations, what each depends on, and why calls were recorded: text, and its attributes."""
        told = *self._sizes.describe(), *self._unfolding.describe(), *self._lazy.describe(), *describe_choices()
        return self._history.explain(repr(self), self._known, told)
