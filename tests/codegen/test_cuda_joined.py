"""Launches of one block that ride on the one before them: which do, their source, their values in every order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tracec
from tests.codegen.emulated import needs_compiler
from tests.plan.test_planner import inputs
from tracec import ops
from tracec.codegen.cuda import CudaProgram, at_sizes, render
from tracec.codegen.cuda_joined import ROOM
from tracec.errors import EmulatorError
from tracec.ir import dtype as dt
from tracec.ir.conditions import noting
from tracec.ir.extent import symbolic
from tracec.ir.formula import Symbol
from tracec.ir.graph import Graph
from tracec.ir.launch import CudaLaunch, Tickets
from tracec.ir.node import made_from
from tracec.ir.plan import Plan
from tracec.plan import TARGETS, make_plan
from tracec.runtime.emulator import EmulatedPlan, compile_kernels
from tracec.runtime.emulator_launch import ORDERS
from tracec.runtime.nvrtc import compile_sources
from tracec.specialisations.sizes import Plainly

#: Longer than what one block reduces, and divided by nothing.
LONG = 70001


def total(x: Any) -> Any:
    """A reduction in two steps: a warp adds up what the blocks have found."""
    return x.sum() * 2


def totals(x: Any, y: Any) -> Any:
    """Two such, one after the other, which share the counter of tickets."""
    return (y * x.sum()).max()


def shares(x: Any) -> Any:
    """Columns, then all threads of the last block reduce what there is of them, then a map."""
    y = x.sum(0)
    return tracec.stack([y.sum(), y.amax(), y.amin()])


def apart(x: Any, y: Any) -> Any:
    """Launches of one block each, with nothing to wait for but barriers."""
    return tracec.stack([x.sum(), x.amax(), y.amax()])


def columns(x: Any) -> Any:
    """A short reduction of columns as a map, by a block of few threads."""
    y = x.sum(0)
    return (y.reshape(5, 120) * y.sum()).sum(0)


def long_rows(x: Any) -> Any:
    """A number of each row, which a cluster shares, and their sum."""
    return (x - x.amax(-1, keepdim=True)).amin(-1).sum()


CASES = {
    "total": (total, ((LONG,),), "row full"),
    "totals": (totals, ((LONG,), (LONG + 4,)), "row full | row full"),
    "shares": (shares, ((40, 600),), "column full map"),
    "apart": (apart, ((700,), (33,)), "full full map"),
    "columns": (columns, ((70, 600),), "column full column"),
    "long rows": (long_rows, ((5, 70000),), "row full"),
}


def planned(function: Any, shapes: Any) -> tuple[Plan, CudaProgram]:
    graph = tracec.trace(function, *(tracec.ones(s) for s in shapes))
    plan = make_plan(graph, TARGETS["cuda"])
    return plan, render(plan, "sm_90")


def given(shapes: Any) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(-8, 9, s).astype(np.float32) for s in shapes]  # sums of any order have no rounding


def shapes_of(program: CudaProgram) -> str:
    """The shapes of kernels, launch by launch."""
    steps = [program.kernels[s.kernel] for s in program.steps if isinstance(s, CudaLaunch)]
    return " | ".join(" ".join(k.shape for k in (s.ir, *s.riders)) for s in steps)


@pytest.mark.parametrize("name", CASES)
def test_launches_of_one_block_ride(name: str) -> None:
    function, shapes, expected = CASES[name]
    plan, program = planned(function, shapes)
    assert shapes_of(program) == expected
    assert [n for s in program.steps for n in s.steps] == list(range(len(plan.steps)))  # type: ignore[union-attr]
    for kernel in program.kernels:
        several = Tickets() in next(s for s in program.steps if s.kernel == 0).args[0]  # type: ignore[union-attr]
        assert ("is_last_block(tickets" in kernel.source) is several
        assert all(rider.name in kernel.name and f"then {rider.name}:" in kernel.source for rider in kernel.riders)


def test_source(golden: Any) -> None:
    assert planned(*CASES["total"][:2])[1].kernels[0].source == golden


def test_what_others_have_written_is_read_afresh() -> None:
    """What is behind a pointer that is declared ``const`` and ``__restrict__`` may come from a cache of its own."""
    (kernel,) = planned(*CASES["total"][:2])[1].kernels
    declaration = kernel.source[kernel.source.index(f"\n{kernel.entries[0].name}(") :].split("\n")[1]
    assert declaration.count("__restrict__") == 2 and ", float *x1, float *__restrict__ x2" in declaration


@needs_compiler
def test_values() -> None:
    plans = {name: planned(function, shapes) for name, (function, shapes, _) in CASES.items()}
    for name, (plan, program) in plans.items():
        function, shapes, _ = CASES[name]
        library = compile_kernels(program.kernels)
        arrays = given(shapes)
        expected = function(*map(tracec.from_numpy, arrays))
        for order in ORDERS:
            run = EmulatedPlan(plan, program, library, order)
            for _ in range(2):
                found = run([a.copy() for a in arrays])
                for want, have in zip(expected if isinstance(expected, tuple) else (expected,), found, strict=True):
                    np.testing.assert_array_equal(have, want.numpy())


#: Mistakes: a case, what stands in its sources, and what in its place.
MISTAKES = {
    "fence": ("shares", "    __threadfence();\n    last", "    last"),
    "fence behind the ticket": ("shares", "    if (last) __threadfence();\n", ""),
    "barrier before the ticket": ("shares", "bool last;\n  __syncthreads();", "bool last;"),
    "barrier behind the ticket": ("shares", "  }\n  __syncthreads();\n  return last;", "  }\n  return last;"),
    "test for the last block": ("total", "if (!is_last_block(tickets, 34u)) return;", "is_last_block(tickets, 34u);"),
    "a ticket too few": ("total", "is_last_block(tickets, 34u)", "is_last_block(tickets, 33u)"),
    "a ticket too many": ("total", "is_last_block(tickets, 34u)", "is_last_block(tickets, 35u)"),
    "start of the next launch's tickets": ("totals", "atomicInc(tickets, blocks - 1)", "atomicAdd(tickets, 1)"),
    "barrier between riders": ("shares", "  __syncthreads();\n  k2", "  k2"),
    "barrier of one block": ("apart", "  __syncthreads();\n  k2", "  k2"),
}


@needs_compiler
def test_every_mistake_is_found() -> None:
    made: dict[str, tuple[Plan, CudaProgram, str]] = {}
    for number, (what, (case, old, new)) in enumerate(MISTAKES.items()):
        plan, program = planned(*CASES[case][:2])
        kernels = []
        for kernel in program.kernels:
            assert old in kernel.source
            (entry,) = kernel.entries
            name = f"{entry.name}_{number}"
            source = kernel.source.replace(old, new).replace(f"\n{entry.name}(", f"\n{name}(")
            entry = replace(entry, function=entry.function.beginning(name=name))
            kernels.append(replace(kernel, source=source, entries=(entry,)))
        made[what] = plan, replace(program, kernels=tuple(kernels)), case
    library = compile_kernels([k for _, program, _ in made.values() for k in program.kernels])
    assert not [what for what, one in made.items() if not wrong(*one, library)]


def wrong(plan: Plan, program: CudaProgram, case: str, library: Any) -> str:
    """What shows that a program is wrong; nothing where all is well."""
    function, shapes, _ = CASES[case]
    arrays = given(shapes)
    expected = function(*map(tracec.from_numpy, arrays))
    for order in ORDERS:
        try:
            found = EmulatedPlan(plan, program, library, order)([a.copy() for a in arrays])
            for want, have in zip(expected if isinstance(expected, tuple) else (expected,), found, strict=True):
                np.testing.assert_array_equal(have, want.numpy())
        except (EmulatorError, AssertionError) as error:
            return str(error)
    return ""


def test_joining_can_be_left_out() -> None:
    x = tracec.ones(LONG)
    for off, launches in ((), 1), (("join",), 2):
        program = tracec.compile(total, disable=off).lower(x, target="cuda").built.program
        assert len(program.steps) == launches


# -- what stays a launch ------------------------------------------------------------------------------------


def test_behind_many_blocks() -> None:
    """They would wait for their tickets while others wait for their places."""
    assert shapes_of(planned(lambda x: x.sum(1).sum(), ((40000, 33),))[1]) == "row | full"


def test_behind_rows_that_end_early() -> None:
    """Lanes that are through would wait for tickets, and the others for them."""
    _, program = planned(lambda x: x.sum(1).sum(), ((999, 33),))
    assert shapes_of(program) == "row | full" and "return;" in program.kernels[0].source
    assert shapes_of(planned(lambda x: x.sum(1).sum(), ((1000, 33),))[1]) == "row full"


def test_more_values_than_parameters() -> None:
    """Pointers to 512 buffers are all that a launch has room for, one of them for its tickets."""
    shapes = [(2 + k % 20, 1 + k // 20) for k in range(260)]
    _, program = planned(lambda *xs: tuple((x * 2).sum() for x in xs), shapes)
    parameters = [len(e.function.head.parameters) for kernel in program.kernels for e in kernel.entries]
    assert max(parameters) <= 512 < sum(parameters) and len(program.steps) == 2


def test_where_values_share_memory() -> None:
    """What a block of its own would write over what other blocks still read."""
    plan, program = planned(*CASES["total"][:2])
    (k,) = (k for k, v in enumerate(plan.values) if v.place == "arena")
    (y,) = plan.outputs
    output = replace(plan.values[y], place="arena", offset=plan.values[k].offset, first=1, last=1)
    shared = replace(plan, values=tuple(output if n == y else v for n, v in enumerate(plan.values)))
    assert shapes_of(render(shared, "sm_90")) == "row | full"
    assert shapes_of(program) == "row full"


def test_a_result_lies_apart_from_what_dies_in_the_launch_that_it_rides_on() -> None:
    plan, program = planned(lambda x: x * x.cumsum(1).sum(1).sum(), ((1000, 33),))
    assert shapes_of(program) == "scan | row full | map"
    dies, _, result = (v for v in plan.values if v.place == "arena")
    assert dies.last + 1 == result.first and result.offset >= dies.offset + dies.type.nbytes


def test_sizes_that_vary() -> None:
    symbol = Symbol("n", LONG)
    (x,) = inputs((symbolic(symbol),), dtype=dt.float32)
    with noting([].append, named=True), made_from(None):
        plan = make_plan(Graph((x,), (ops.sum(x, axes=(0,), keepdims=False),)), TARGETS["cuda"])
        program = render(plan, "sm_90")
    new = Plainly({symbol: LONG + 9})
    assert shapes_of(program) == shapes_of(at_sizes(program, new.plan(plan), new)) == "row | full"


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
def test_resources(arch: str) -> None:
    pytest.importorskip("cupy")
    cases = [c for name, c in CASES.items() if name != "long rows" or arch != "sm_80"]  # which has no clusters
    kernels = [k for function, shapes, _ in cases for k in planned(function, shapes)[1].kernels]
    for kernel, cubin in zip(kernels, compile_sources([k.source for k in kernels], arch), strict=True):
        used = cubin.resources
        assert not used.spill_bytes and used.registers <= 65536 // max(kernel.entries[0].threads, 256)
        assert used.shared_bytes <= 36 * 1024 + ROOM


@needs_compiler
@pytest.mark.parametrize("make", [tracec.nn.LSTM, tracec.nn.GRU, tracec.nn.RNN])
def test_a_value_behind_two_buffers_of_a_launch(make: Any) -> None:
    """The zeros that a recurrent layer begins with are several states at once."""
    tracec.manual_seed(0)
    layer, x = make(3, 4), tracec.randn(5, 2, 3)

    def gradients(x: Any) -> Any:
        x = x.detach().requires_grad_()
        y = layer(x)[0]
        return y, *tracec.autograd.grad(y.square().sum(), [x, *layer.parameters()])

    f = tracec.compile(gradients, target="cuda", launcher="emulator")
    f(x)
    for found, expected in zip(f(x), gradients(x), strict=True):
        tracec.testing.assert_close(found, expected)
