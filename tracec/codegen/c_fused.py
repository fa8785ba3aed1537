"""Launches in the entry: plain calls, and one kernel run over many buffers at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tracec.codegen.c_cost import MIN_PARALLEL_NS, NS_PER_UNIT, nest_units
from tracec.codegen.c_dialect import C
from tracec.codegen.c_loops import LoopWriter, chain
from tracec.codegen.c_source import Function, Head, Parameter, Statement, comments, parameters, plain_call, value
from tracec.codegen.render import render_template
from tracec.codegen.tree import loop
from tracec.ir.kernel import Kernel, Loop
from tracec.ir.plan import Launch, Plan

#: Elements that one piece of a run computes; a run is cut so that threads get equal work.
PIECE = 8192


@dataclass(frozen=True, slots=True)
class Range:
    """A part of one run: which, from where to where."""

    run: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class AllRuns:
    """All runs of a kernel.

    Attributes:
        name: Its function.
        arity: Its buffers.
        rows: The buffers of each run.
        pieces: The parts of all runs.
        shared: Whether threads share them.
    """

    name: str
    arity: int
    rows: tuple[str, ...]
    pieces: tuple[Range, ...]
    shared: bool


def direct_call(plan: Plan, kernel: int, args: tuple[int, ...]) -> Statement:
    """A call of a kernel with its buffers."""
    return plain_call(plan.kernels[kernel].name, *(value(plan, a) for a in args))


def render_sized(kernel: Kernel, *, restrict: bool) -> Function:
    """A kernel whose outermost extent is given at each run, as a function of its pointers and a range."""
    (outer,) = (s for s in kernel.body if isinstance(s, Loop))
    writer = LoopWriter(kernel, serial=True)
    _, body = chain(outer)
    name = writer.text.name(outer.var.name)
    nest = loop(C.index, name, "stop", writer.body(outer.body), start="start", pragmas=(writer.simd(body),))
    params = (Parameter("void *const *", "args"), Parameter("long ", "start"), Parameter("long ", "stop"))
    pointers = [f"{p} = args[{n}];" for n, p in enumerate(parameters(kernel, restrict=restrict))]
    text = render_template("c/sized.j2", pointers=pointers, body=(nest,))
    return Function(Head(kernel.name, params, comments(kernel)), text)


def call(plan: Plan, step: Launch) -> Statement:
    """All runs of a sized kernel: a table of pointers, a table of pieces, one loop over them."""
    kernel = plan.kernels[step.kernel]
    pieces = tuple(
        Range(run, start, min(start + PIECE, size))
        for run, size in enumerate(step.sizes)
        for start in range(0, size, PIECE)
    )
    (outer,) = (s for s in kernel.body if isinstance(s, Loop))
    cost = nest_units((replace(outer, var=replace(outer.var, extent=1)),)) * sum(step.sizes)
    rows = tuple(", ".join(value(plan, a) for a in args) for args in step.args)
    runs = AllRuns(kernel.name, len(kernel.buffers), rows, pieces, cost * NS_PER_UNIT >= MIN_PARALLEL_NS)
    return Statement("c/runs.j2", runs, (kernel.name,))
