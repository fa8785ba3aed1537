"""What ``f.lower(...)`` gives: every stage as text, the kernels, the memory, and a way to run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tracec.build import Built, Stages
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
        arch: GPU architecture; empty on the CPU.
    """

    name: str
    source: str
    ir: Kernel
    arch: str = ""

    @cached_property
    def _compiled(self) -> nvrtc.Cubin:
        return nvrtc.compile_cuda(self.source, self.arch)

    def cubin(self) -> bytes:
        """The GPU's machine code, made by NVRTC; needs no GPU."""
        return self._compiled.image

    @property
    def resources(self) -> nvrtc.Resources:
        """Registers, spilled bytes and shared memory, as the assembler reports them."""
        return self._compiled.resources

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
        arch = self.arch if self.target == "cuda" else ""
        sources = {k.name: k.source for k in self.built.program.kernels}
        return [LoweredKernel(k.name, sources[k.name], k, arch) for k in self.built.plan.kernels]

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Do what the call would have done, updates of parameters and other state included.

        Raises:
            ArgumentError: the arguments are of other types than those that were lowered.
        """
        return self.runner(*args, **kwargs)
