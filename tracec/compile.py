"""``@compile``: record a function once, then run what was built from the record.

    call ──> key of the arguments ──> specialisation whose guards hold ──> run
                     │ none
                     └─> record (the call itself runs eagerly) ──> optimise ──> plan ──> generate ──> load

The first call with a new key computes eagerly and is recorded; the program built from the record serves
the calls after it. What the function writes (parameters, gradients, optimiser state, buffers, random
state) is an output of the program, written in place where that is safe.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from tracec.build import check_names
from tracec.errors import ArgumentError, ArgumentTypeError, RecordError
from tracec.guards import Guard, environment, flatten
from tracec.ir.source import warn
from tracec.lowered import Lowered
from tracec.program import build_program, record
from tracec.record.recorder import Recorder
from tracec.record.recording import Recording
from tracec.record.tape import is_grad_enabled
from tracec.record.tensor import Tensor, get_default_dtype
from tracec.replay import Replay

DEFAULT_ARCH = "sm_90"


class Specialisation:
    """What one recording gave: the program, and when it may stand in for the function.

    Attributes:
        graph: What was recorded.
        guards: What the function read around it.
        runner: The loaded program; None where each call has to record again.
        hits: Calls that it served.
    """

    def __init__(self, recording: Recording, guards: list[Guard], replay: Replay | None, kept: list[Any]) -> None:
        self.graph = recording.graph  # not the recording, which holds the first call's tensors
        self.guards = guards
        self.replay = replay
        self.kept = kept
        self.hits = 0
        self._fast = [(g.holder, g.key, g.value, g) for g in guards]

    def fails(self) -> Guard | None:
        """The first guard that does not hold."""
        for holder, key, value, guard in self._fast:
            if type(holder) is dict and holder.get(key) is value:
                continue
            if not guard.holds():
                return guard
        return None


class Compiled:
    """A function that records itself and then runs compiled.

    Args:
        fn: A function, bound method, Module or other callable over tensors.
        target: ``cpu`` or ``cuda``; None goes by where the tensors are.
        disable: Names of optimisations to leave out.
    """

    def __init__(self, fn: Callable[..., Any], target: str | None = None, disable: frozenset[str] = frozenset()):
        check_names(disable)
        if target not in (None, "cpu", "cuda"):
            raise ArgumentError(f"compile: target {target!r} is unknown", hint="use 'cpu' or 'cuda'")
        self.fn = fn
        self.target = target
        self.disable = disable
        self._known: dict[Hashable, list[Specialisation]] = {}
        self._misses: list[str] = []
        self._lock = threading.RLock()
        functools.update_wrapper(self, fn, updated=())

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        name = f"_compiled_{id(self)}"
        bound = instance.__dict__.get(name)
        if bound is None:
            bound = Compiled(self.fn.__get__(instance, owner), self.target, self.disable)
            object.__setattr__(instance, name, bound) if hasattr(instance, "__dict__") else None
        return bound

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "fn":
            raise AttributeError(name)
        return getattr(self.fn, name)

    def __repr__(self) -> str:
        count = sum(map(len, self._known.values()))
        return f"<compiled {getattr(self.fn, '__qualname__', self.fn)!s}: {count} specialisations>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if Recorder.active() is not None:  # inside of another compiled function: become part of its graph
            return self.fn(*args, **kwargs)
        tensors: list[Tensor] = []
        kept: list[Any] = []
        key = self._key(args, kwargs, tensors, kept)
        for candidate in self._known.get(key, ()):
            guard = candidate.fails()
            if guard is None and candidate.replay is not None and candidate.replay.fits(tensors):
                candidate.hits += 1
                return candidate.replay(tensors)
            if guard is not None:
                self._misses.append(str(guard))
        with self._lock:
            return self._record(args, kwargs, key, tensors, kept)

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: list[Tensor], kept: list[Any]) -> Hashable:
        parts: list[Hashable] = [is_grad_enabled(), get_default_dtype(), len(args)]
        for value in args:
            flatten(value, tensors, parts, kept)
        for name, value in kwargs.items():
            parts.append(name)
            flatten(value, tensors, parts, kept)
        if len({id(t.storage) for t in tensors}) != len(tensors):  # arguments that share memory
            first: dict[int, int] = {}
            parts.append(tuple(first.setdefault(id(t.storage), k) for k, t in enumerate(tensors)))
        return tuple(parts)

    def _record(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], key: Hashable, tensors: list[Tensor], kept: list[Any]
    ) -> Any:
        if self.target == "cuda":
            raise _no_launch("compile")
        guards = environment(self.fn, (*args, *kwargs.values()))
        recorded = record(self.fn, args, kwargs, tensors, keep=True)
        recording = recorded.recording
        replay = None
        if recording.decisions:
            decision = recording.decisions[0]
            warn(
                f"{recording.graph.name}: asks for the value of a tensor ({decision.how}, made at "
                f"{decision.node.source}); such a function runs eagerly at every call"
            )
        else:
            target = self.target or _target_of(recording)
            if target == "cuda":
                raise _no_launch("compile")
            replay = build_program(recorded, target, DEFAULT_ARCH, self.disable).load()
        self._known.setdefault(key, []).append(Specialisation(recording, guards, replay, kept))
        return recorded.out

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
        target = target or self.target or "cpu"
        if target not in ("cpu", "cuda"):
            raise ArgumentError(f"lower: target {target!r} is unknown", hint="use 'cpu' or 'cuda'")
        if not isinstance(arch, str) or re.fullmatch(r"sm_\d+[af]?", arch) is None:
            raise ArgumentError(f"lower: architecture {arch!r} is unknown", hint="use a name such as 'sm_90'")
        tensors: list[Tensor] = []
        key = self._key(args, kwargs, tensors, [])
        program = build_program(record(self.fn, args, kwargs, tensors, keep=False), target, arch, self.disable)

        def run(*arguments: Any, **keywords: Any) -> Any:
            given: list[Tensor] = []
            if self._key(arguments, keywords, given, []) != key:
                was, is_ = (", ".join(str(t._type) for t in some) or "no tensors" for some in (tensors, given))
                raise ArgumentError(
                    f"run: lowered for {was}, {is_ if was != is_ else 'other values'} given",
                    hint="lower for these arguments, or call the compiled function",
                )
            if target == "cuda":
                raise _no_launch("run")
            return program.load()(given)

        return Lowered(program.forward, target, arch, run)

    def explain(self) -> str:
        """The specialisations, what each hangs on, and why calls recorded again."""
        lines = [repr(self)]
        for number, (key, candidates) in enumerate(self._known.items()):
            lines.append(f"key {number}: {key}")
            for c in candidates:
                how = "compiled" if c.replay is not None else "eager: it asks for the value of a tensor"
                lines.append(f"  {how}, {c.hits} hits, {len(c.guards)} guards, {len(c.graph.nodes)} nodes")
        lines += [f"recorded again: {reason}" for reason in self._misses]
        return "\n".join(lines)


def _no_launch(name: str) -> RecordError:
    return RecordError(f"{name}: launching on CUDA is not there yet", hint="use f.lower(..., target='cuda')")


def _target_of(recording: Recording) -> str:
    devices = {n.device for n in recording.graph.inputs} | {o.device for o in recording.graph.outputs}
    return "cuda" if any(d.startswith("cuda") for d in devices) else "cpu"


def compile(
    fn: Callable[..., Any] | None = None,
    *,
    target: str | None = None,
    disable: str | Sequence[str] = (),
    **_: Any,
) -> Any:
    """Make a function, method or Module record itself and run compiled.

    Args:
        fn: What to compile; without it, a decorator comes back.
        target: ``cpu`` or ``cuda``; None goes by where the tensors are.
        disable: Names of optimisations to leave out, for comparing and for finding faults.
        **_: PyTorch's other options (``mode``, ``fullgraph``, ``dynamic``, ``backend``) are taken and have no effect.

    Returns:
        A callable that gives what ``fn`` gives. ``lower``, ``explain`` and the attributes of ``fn`` hang on it.

    Raises:
        ArgumentError: a name in ``disable`` or the target is unknown.
        ArgumentTypeError: ``fn`` cannot be called.
    """
    if fn is None:
        return functools.partial(compile, target=target, disable=disable)
    if not callable(fn):
        raise ArgumentTypeError(
            f"compile: takes a callable, {type(fn).__name__} given", hint="compile the function itself, not its result"
        )
    return Compiled(fn, target, frozenset([disable] if isinstance(disable, str) else disable))
