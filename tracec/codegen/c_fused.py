"""Launches in the entry: plain calls, and one kernel run over many buffers at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tracec.codegen.c_cost import MIN_PARALLEL_NS, NS_PER_UNIT, nest_units
from tracec.codegen.c_dialect import C
from tracec.codegen.c_loops import LoopWriter, chain
from tracec.codegen.c_source import Function, comments, parameters, value
from tracec.codegen.render import render_template
from tracec.codegen.tree import loop
from tracec.ir.kernel import Kernel, Loop
from tracec.ir.plan import Launch, Plan

#: Elements that one piece of a run computes; a run is cut so that threads get equal work.
PIECE = 8192


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of one run: which, from where to where."""

    run: int
    start: int
    stop: int


def direct_call(plan: Plan, kernel: int, args: tuple[int, ...]) -> str:
    """A call of a kernel with its buffers."""
    return f"{plan.kernels[kernel].name}({', '.join(value(plan, a) for a in args)});"


def render_sized(kernel: Kernel, *, restrict: bool) -> Function:
    """A kernel whose outermost extent is given at each run, as a function of its pointers and a range."""
    (outer,) = (s for s in kernel.body if isinstance(s, Loop))
    writer = LoopWriter(kernel, serial=True)
    _, body = chain(outer)
    name = writer.text.name(outer.var.name)
    nest = loop(C.index, name, "stop", writer.body(outer.body), start="start", pragmas=(writer.simd(body),))
    params = ("void *const *args", "long start", "long stop")
    pointers = [f"{p} = args[{n}];" for n, p in enumerate(parameters(kernel, restrict=restrict))]
    shown = Function(kernel.name, params, "", comments(kernel))
    source = render_template("c/sized.j2", k=shown, pointers=pointers, body=(nest,))
    return Function(kernel.name, params, source)


def call(plan: Plan, step: Launch) -> str:
    """All runs of a sized kernel: a table of pointers, a table of pieces, one loop over them."""
    kernel = plan.kernels[step.kernel]
    pieces = [
        Piece(run, start, min(start + PIECE, size))
        for run, size in enumerate(step.sizes)
        for start in range(0, size, PIECE)
    ]
    (outer,) = (s for s in kernel.body if isinstance(s, Loop))
    cost = nest_units((replace(outer, var=replace(outer.var, extent=1)),)) * sum(step.sizes)
    return render_template(
        "c/runs.j2",
        name=kernel.name,
        arity=len(kernel.buffers),
        rows=[", ".join(value(plan, a) for a in args) for args in step.args],
        pieces=pieces,
        shared=cost * NS_PER_UNIT >= MIN_PARALLEL_NS,
    ).rstrip()
