"""Compiled functions: what a call of one does, from the arguments to the program that serves it.

A call tries, in this order, and the first that serves it ends it:

1. fast paths: a small inline cache of programs, each behind one check in C (`specialisations.fast_path`);
2. the specialisations under the key of its arguments whose guards hold (`Specialisation.takes`);
3. eager or lazy execution, where it is known that no program can stand in for the function (`specialisations.lazy`);
4. the program of a recording with symbolic sizes, for these sizes (`specialisations.dynamic_shapes`);
5. recording: the function runs eagerly under a recorder, and a program is built for the calls after this one
   (`tracec.specialiser`).
"""

from __future__ import annotations

import functools
import sys
import types
import weakref
from collections.abc import Callable, Hashable
from typing import Any

from tracec.autotune import describe_choices
from tracec.background import resume
from tracec.inspect.arguments import named
from tracec.inspect.explanation import Explanation
from tracec.ir.forks import undo_rest
from tracec.ir.node import leave_contexts
from tracec.ir.number import WATCH
from tracec.ir.source import warn
from tracec.lowered import Lowered, arrays_like, check_names, like_lowered
from tracec.options import Options
from tracec.program_builder import DEFAULT_ARCH
from tracec.record.deferred import ACTIVE, settle_others
from tracec.record.state import STATE
from tracec.recording_lock import RECORDING_LOCK, give_back, wait_to_record
from tracec.specialisations.derivatives import bind
from tracec.specialisations.environment import Environment
from tracec.specialisations.fast_path import with_fast_path
from tracec.specialisations.program import build_program
from tracec.specialisations.recorded import CallToRecord, record
from tracec.specialisations.replay import Unfit
from tracec.specialisations.specialisation import BEING_COMPILED, Call, Specialisation, undo, undone
from tracec.specialisations.tree import UNSEEN
from tracec.specialiser import Specialiser

#: Functions that were compiled and are still there.
EVERY: weakref.WeakSet[Compiled] = weakref.WeakSet()


class Compiled(Specialiser):
    """A function that records itself and then runs compiled.

    Args:
        fn: A function, bound method, Module or other callable over tensors.
        options: How it is compiled.
    """

    def __init__(self, fn: Callable[..., Any], options: Options = Options()) -> None:  # noqa: B008 (it is frozen)
        super().__init__(fn, options)
        self._owner: tuple[int, int] | None = None
        functools.update_wrapper(self, fn, updated=())
        EVERY.add(self)

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
        return self._by_key(self._call(args, kwargs))

    def _by_key(self, call: Call) -> Any:
        """Serve a call by its key, or else record it."""
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
                return self._eagerly(known[-1], call.args, call.kwargs)
            self._known.drop(key, known[-1])
        if self._sizes.any and (out := self._resized(call, key, numbers)) is not UNSEEN:
            return out
        if self._known.count >= self._options.max_specializations or self._history.storms(self._known):
            self._history.full()
            return self._lazy(call.args, call.kwargs)
        return self._recorded_alone(call)

    def _recorded_alone(self, call: Call) -> Any:
        """Record a call, unless another thread records: then it runs eagerly, or by what that one has recorded."""
        before = STATE.__dict__.copy()
        try:
            # Waiting could last for ever: the function that another thread records may wait for this one.
            if not RECORDING_LOCK.acquire(blocking=False):
                return self.fn(*call.args, **call.kwargs)
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

    def _unfit(self, call: Call, error: Exception) -> Any:
        """Let the function raise by itself what its program has found: all that it does until then is as written."""
        out = self.fn(*call.args, **call.kwargs)
        warn(f"{self._name}: its program raised {type(error).__name__}, and the function does not: {error}")
        return out

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
