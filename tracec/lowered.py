"""What ``f.lower(...)`` gives: every stage as text, the kernels, the memory, and a way to run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from tracec.build import Built, Stages
from tracec.errors import CompileError
from tracec.ir.graph import Graph
from tracec.ir.kernel import Kernel
from tracec.ir.plan import Memory, Plan
from tracec.runtime import nvrtc


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
    """

    built: Built
    target: str
    arch: str
    runner: Callable[..., Any] = field(repr=False)

    @property
    def stages(self) -> Stages:
        """Name → text of each stage, in order: record, each pass, plan, kernels, source."""
        return self.built.stages

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
        program = self.built.program
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
