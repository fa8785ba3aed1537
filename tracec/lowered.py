"""What ``f.lower(...)`` gives: every stage as text, the kernels, the memory, and a way to run it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracec.build import Built, Stages, settled
from tracec.errors import ArgumentError, CompileError, RecordError
from tracec.ir.forks import imported
from tracec.ir.graph import Graph
from tracec.ir.kernel import Kernel
from tracec.ir.plan import Memory, Plan
from tracec.options import Options, check_launcher
from tracec.program_builder import check_devices
from tracec.runtime import nvrtc
from tracec.specialisations.checks import on_device
from tracec.specialisations.device_checks import unseen
from tracec.specialisations.inputs import Arrays
from tracec.specialisations.paths import open_decisions
from tracec.specialisations.program import Program
from tracec.specialisations.recorded import asks
from tracec.specialisations.replay import Replay
from tracec.specialisations.specialisation import Call

if TYPE_CHECKING:
    from tracec.inspect.profile import Profile


@dataclass(frozen=True)
class LoweredKernel:
    """One generated kernel.

    Attributes:
        name: Its symbol in the source.
        source: The source that compiles it alone.
        ir: Its loops, independent of the target.
    """

    name: str
    source: str
    ir: Kernel
    _compile: Callable[[], nvrtc.Cubin] = field(repr=False)

    def cubin(self) -> bytes:
        """The GPU's machine code, made by NVRTC; needs no GPU.

        Raises:
            CompileError: the kernel is for the CPU, or NVRTC rejects the source.
        """
        return self._compile().image

    @property
    def resources(self) -> nvrtc.Resources:
        """Registers, spilled bytes and shared memory, as the assembler reports them."""
        return self._compile().resources

    def __str__(self) -> str:
        return self.source


@dataclass(frozen=True)
class Lowered:
    """A function's whole way for one set of arguments.

    Attributes:
        built: Graph, plan and source.
        target: ``cpu`` or ``cuda``.
        arch: GPU architecture.
        runner: Does what a call would have done.
        arrays: Gives the values of the program's inputs, for the arguments that it was lowered for.
    """

    built: Built
    target: str
    arch: str
    runner: Callable[..., Any] = field(repr=False)
    arrays: Callable[[], list[Any]] = field(repr=False)

    @cached_property
    def settled(self) -> Built:
        """Graph, plan and source as a GPU runs them (`tracec.spills`); where there is no NVRTC, as written first."""
        try:
            return settled(self.built)
        except CompileError:
            return self.built

    @property
    def stages(self) -> Stages:
        """Name → text of each stage, in order: record, each pass, plan, kernels, source."""
        return self.built.stages.but("source", lambda: str(self.settled.program))

    @property
    def graph(self) -> Graph:
        """The optimised graph."""
        return self.built.graph

    @property
    def plan(self) -> Plan:
        """Kernels in order and where every value lives."""
        return self.built.plan

    @property
    def memory(self) -> Memory:
        """Bytes for intermediate values: planned, unplanned, and the least that any plan needs."""
        return self.built.plan.memory

    @cached_property
    def kernels(self) -> list[LoweredKernel]:
        """The generated kernels, in the order of their first launch."""
        program = self.settled.program
        if self.target == "cpu":
            found = [(k.name, program.kernels[k.name], k) for k in self.plan.every_kernel]
        else:
            found = [(k.name, k.source, k.ir) for k in program.kernels]
        return [
            LoweredKernel(name, source, ir, partial(self._cubin, number))
            for number, (name, source, ir) in enumerate(found)
        ]

    @cached_property
    def _cubins(self) -> tuple[nvrtc.Cubin, ...]:
        # All at once: one program of many kernels compiles in a fraction of the time of many programs.
        return nvrtc.compile_sources([k.source for k in self.kernels], self.arch)

    def _cubin(self, number: int) -> nvrtc.Cubin:
        if self.target != "cuda":
            raise CompileError(
                f"cubin: kernel {self.kernels[number].name} is C for the CPU",
                hint="lower with target='cuda' for a cubin",
            )
        return self._cubins[number]

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Do what the call would have done, updates of parameters and other state included.

        Args:
            *args: Arguments as for a call.
            **kwargs: Keyword arguments as for a call; ``launcher`` is how kernels for ``cuda`` are run, ``gpu`` or
                ``emulator``.

        Raises:
            ArgumentError: the arguments are of other types than those that were lowered.
        """
        return self.runner(*args, **kwargs)

    def profile(self, rounds: int = 50, most: float = 2.0) -> Profile:
        """Time the program, step by step, on the arguments that it was lowered for; no tensor is changed.

        Each step is timed by itself: generated C through an entry of its own, launches on a GPU by events.

        Args:
            rounds: How often to run it; the times are medians.
            most: Seconds after which no further round is begun; three are run in any case.

        Returns:
            Times, bytes and operations of each step, with the user's lines; it prints as a table.

        Raises:
            ArgumentError: ``rounds`` is less than 1.
            CompilerMissing: there is no C compiler.
            DeviceError: it was lowered for a GPU, and none can be reached, or its tensors are not there.
        """
        # Imported here, as the page is: a program that is just run needs neither.
        found: Profile = imported("tracec.inspect.profile").profile(self.settled, self.arrays(), rounds, most)
        return found

    def report(self, path: str | os.PathLike[str], profile: Profile | None = None) -> Path:
        """Write a page that shows all of the way: the user's lines, passes, kernels, memory, sources.

        Args:
            path: The file to write, HTML that needs nothing else.
            profile: What `profile` gave; without it, the page has no times.

        Returns:
            The file's path.

        Raises:
            OSError: it cannot be written.
        """
        place = Path(path)
        page = imported("tracec.inspect.report").report(self.settled, self.arch, profile)
        place.write_text(page, encoding="utf-8")
        return place


def check_names(target: str, arch: str) -> None:
    """Refuse a target or a GPU architecture that is unknown.

    Raises:
        ArgumentError: it is.
    """
    if target not in ("cpu", "cuda"):
        raise ArgumentError(f"lower: target {target!r} is unknown", hint="use 'cpu' or 'cuda'")
    if not isinstance(arch, str) or re.fullmatch(r"sm_\d+[af]?", arch) is None:
        raise ArgumentError(f"lower: architecture {arch!r} is unknown", hint="use a name such as 'sm_90'")


def arrays_like(program: Program, call: Call) -> Callable[[], list[Any]]:
    """Finds the values of a program's inputs, for the call that it was lowered for."""
    here = {id(t): k for k, t in enumerate(program.recorded.arguments)}
    find = Arrays([program.recorded.recording.inputs[i] for i in program.inputs], here)

    def arrays() -> list[Any]:
        found = [a if a.flags.c_contiguous else a.copy() for a in find(call.tensors)]
        return [*found, unseen(program.late)] if on_device(program.late) else found

    return arrays


def like_lowered(program: Program, call: Call, call_of: Callable[..., Call], options: Options) -> Callable[..., Any]:
    """Runs a program for arguments like those that it was lowered for.

    Args:
        program: The program.
        call: The call that it was lowered for.
        call_of: Gives the call of arguments.
        options: How programs for a GPU are run, if the arguments do not say it.
    """
    loaded: dict[str, Replay] = {}

    def run(*arguments: Any, launcher: str | None = None, **keywords: Any) -> Any:
        launcher = launcher or options.launcher
        check_launcher("run", launcher)
        decisions = program.recorded.recording.decisions
        if open_decisions(decisions):
            raise RecordError(
                f"run: the function {asks(decisions[0])}, and was lowered for one value",
                hint="call the compiled function, which goes by the values",
            )
        now = call_of(arguments, keywords)
        if now.whole != call.whole:
            was, is_ = (", ".join(str(t._type) for t in c.tensors) or "no tensors" for c in (call, now))
            raise ArgumentError(
                f"run: lowered for {was}, {is_ if was != is_ else 'other values'} given",
                hint="lower for these arguments, or call the compiled function",
            )
        if program.forward.target == "cuda" and launcher == "gpu":
            check_devices("run", now.tensors)
        if launcher not in loaded:
            loaded[launcher] = program.load(launcher, options.cuda_graph)
        return loaded[launcher](now.tensors)

    return run
