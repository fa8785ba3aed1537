"""Every operator on every target: all samples of one in a graph, against its eager rule.

interpreted     planned for a target, its kernels run by the NumPy interpreter
cpu             generated C, compiled and run; skipped where there is no C compiler
emulated        generated CUDA run by the emulator, in every thread order; skipped where there is no C++ compiler
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops.test_table import NAMED, close, draw, eager, epsilon, graph_of
from tracec.codegen import c as c_codegen
from tracec.codegen import cuda as cuda_codegen
from tracec.ir import dtype as dt
from tracec.ir.graph import Graph
from tracec.ir.verify_plan import verify_plan
from tracec.plan import TARGETS, make_plan
from tracec.runtime import cpu, emulator
from tracec.runtime.compiler import CompilerMissing
from tracec.runtime.emulator_launch import ORDERS
from tracec.runtime.interpreter import run_plan

OPERATORS = [op for op in NAMED if op.name != "constant"]


def table(op):
    """All samples of an operator as one graph, with operands and expected results."""
    inputs, outputs, arrays, expected = [], [], [], []
    for sample in op.samples:
        graph = graph_of(op, sample)
        operands = draw(sample, op.name)
        inputs += graph.inputs
        outputs += graph.outputs
        arrays += operands
        expected.append(eager(op, sample, operands))
    return Graph(tuple(inputs), tuple(outputs), op.name), arrays, expected


def compare(found, expected):
    for f, e in zip(found, expected, strict=True):
        # Vector mathematics is good to a few units in the last place; sums of products add up more.
        size = np.abs(e).astype(np.float64)
        scale = max(1.0, float(size.max(initial=0, where=np.isfinite(size))))
        eps = epsilon(dt.of_numpy(e.dtype))
        close(np.asarray(f), e, rtol=16 * eps, atol=8 * eps * scale)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("op", OPERATORS, ids=str)
def test_interpreted_is_eager(op, target):
    graph, arrays, expected = table(op)
    plan = make_plan(graph, TARGETS[target])
    verify_plan(plan)
    compare(run_plan(plan, arrays), expected)


@pytest.mark.parametrize("op", OPERATORS, ids=str)
def test_compiled_is_eager(op):
    graph, arrays, expected = table(op)
    plan = make_plan(graph, TARGETS["cpu"])
    try:
        program = cpu.load(plan, c_codegen.render(plan))
    except CompilerMissing as missing:
        pytest.skip(str(missing))
    compare(program(arrays), expected)


@pytest.mark.parametrize("op", OPERATORS, ids=str)
def test_emulated_is_eager(op):
    graph, arrays, expected = table(op)
    plan = make_plan(graph, TARGETS["cuda"])
    program = cuda_codegen.render(plan, "sm_90")
    try:
        runs = [emulator.load(plan, program, order) for order in ORDERS]
    except CompilerMissing as missing:
        pytest.skip(str(missing))
    for run in runs:
        compare(run([a.copy() for a in arrays]), expected)
