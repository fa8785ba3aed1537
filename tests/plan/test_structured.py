"""Plans of operators that run bodies: a plan within a plan, what it reads where it lies, and written out for GPUs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tracec.codegen import c
from tracec.errors import VerifyError
from tracec.ir import evaluate, parse_graph
from tracec.ir.plan import Launch, LibraryCall, Repeat
from tracec.ir.verify_plan import verify_plan
from tracec.plan import TARGETS, make_plan, structured
from tracec.runtime.interpreter import run_plan

#: A layer and what reads it: a slice of one result is scanned by the second loop, where it lies.
TWO_LOOPS = """
    graph(%0: f32[4,8], %1: f32[6,4,8], %2: f32[8,8]) {
      %3: f32[416] = scan(%0, %1, %2, body=graph(%0: f32[4,8], %1: f32[4,8], %2: f32[8,8]) {
          %3: f32[4,8] = dot(%0, %2)
          %4: f32[4,8] = add(%1, %3)
          %5: f32[4,8] = tanh(%4)
          %6: f32[4,8] = mul(%5, f32(2.0))
          return %5, %5, %6
        }, carries=1, scanned=1, length=6, reverse=False, kept=0)
      %4: f32[192] = slice(%3, starts=(224,), stops=(416,), steps=(1,))
      %5: f32[6,4,8] = reshape(%4, shape=(6, 4, 8))
      %6: f32[32] = scan(%0, %5, body=graph(%0: f32[4,8], %1: f32[4,8]) {
          %2: f32[4,8] = add(%0, %1)
          return %2
        }, carries=1, scanned=1, length=6, reverse=True, kept=0)
      return %3, %6
    }"""


def draw(graph):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(i.shape).astype(i.dtype.numpy) for i in graph.inputs]


def planned(text, target="cpu"):
    graph = parse_graph(text)
    plan = make_plan(graph, TARGETS[target])
    verify_plan(plan)
    arrays = draw(graph)
    for found, expected in zip(run_plan(plan, arrays), evaluate(graph, arrays), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    return plan


def test_plan_text(golden):
    assert str(planned(TWO_LOOPS)) == golden


def test_source(golden):
    source = str(c.render(planned(TWO_LOOPS)))
    assert source[source.index("HIDDEN void body0(") :] == golden


def test_slices_are_read_where_they_lie():
    first, second = planned(TWO_LOOPS).steps
    assert isinstance(first, Repeat) and isinstance(second, Repeat)
    assert second.inputs[1] == first.output and second.offsets[1] == 224 * 4


@pytest.mark.parametrize("what", ["offsets", "places", "strides", "buffers"])
def test_what_lies_outside_is_found(what):
    plan = planned(TWO_LOOPS)
    step = plan.steps[0]
    far = {"offsets": (0, 8, 0), "places": (0, 128, 1024), "strides": (0, 128, 256), "buffers": ((0, 1 << 20),)}
    wrong = replace(plan, steps=(replace(step, **{what: far[what]}), *plan.steps[1:]))
    with pytest.raises(VerifyError, match="plan: step 0"):
        verify_plan(wrong)


def test_launches_of_all_runs_on_a_gpu():
    plan = planned(TWO_LOOPS, "cuda")
    assert all(isinstance(s, Launch) for s in plan.steps)
    kernels = {s.kernel for s in plan.steps}
    assert len(kernels) == len(plan.kernels) < len(plan.steps)
    assert [v.place for v in plan.values].count("part") > 12


def test_a_gpu_runs_what_cannot_be_listed_eagerly(monkeypatch):
    odd = TWO_LOOPS.replace("[4,8]", "[1,3]").replace("[6,4,8]", "[6,1,3]").replace("8,8", "3,3").replace("416", "39")
    odd = odd.replace("224,", "21,").replace("f32[192]", "f32[18]").replace("(6, 4, 8)", "(6, 1, 3)")
    odd = odd.replace("%6: f32[32]", "%6: f32[3]")
    assert any(isinstance(s, LibraryCall) and s.operator == "scan" for s in planned(odd, "cuda").steps)
    planned(odd)
    monkeypatch.setattr(structured, "MOST_LAUNCHES", 3)
    assert any(isinstance(s, LibraryCall) for s in planned(TWO_LOOPS, "cuda").steps)


def test_a_body_that_calls_python_runs_in_python():
    text = """
    graph(%0: f64[3,3], %1: f64[4,3,3]) {
      %2: f64[9] = scan(%0, %1, body=graph(%0: f64[3,3], %1: f64[3,3]) {
          %2: f64[3,3] = inv(%1)
          %3: f64[3,3] = dot(%0, %2)
          return %3
        }, carries=1, scanned=1, length=4, reverse=False, kept=0)
      return %2
    }"""
    (step,) = planned(text).steps
    assert isinstance(step, LibraryCall) and (step.routine, step.operator) == ("eager", "scan")
