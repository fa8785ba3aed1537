"""Every workload gives the reference's numbers when tracec runs it."""

import math

import numpy as np
import pytest

from benchmarks.engines import ENGINES, reference, relative_error
from benchmarks.workloads import WORKLOADS, by_name


def test_errors_are_relative_to_the_largest_value_and_nan_is_infinite():
    want = [[np.array([1.0, 100.0])]]
    assert relative_error([[np.array([2.0, 100.0])]], want) == 0.01
    assert math.isinf(relative_error([[np.array([np.nan, 100.0])]], want))


def test_an_unknown_workload_lists_the_known_ones():
    with pytest.raises(SystemExit, match=r"no workload 'nothing'; there are: tiny, gelu"):
        by_name("nothing")


@pytest.mark.slow
def test_on_a_gpu_workloads_differ_in_size_alone():
    larger = 0
    for workload in WORKLOADS:
        assert workload.on("cpu") is workload
        there = workload.on("cuda")
        assert (there.name, there.build, there.array, there.jax) == (
            workload.name, workload.build, workload.array, workload.jax,
        )  # fmt: skip
        if there is workload:
            continue
        larger += 1
        for here, large in zip(workload.inputs(), there.inputs(), strict=True):
            assert (here.ndim, here.dtype) == (large.ndim, large.dtype) and here.size <= large.size
        assert there.title != workload.title
    assert larger >= 8


@pytest.mark.slow
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
@pytest.mark.parametrize("engine", ["tracec", "tracec.eager"])
def test_results_are_within_tolerance(engine, workload):
    if workload.array is None:
        pytest.importorskip("torch")  # the reference of train steps
    engine = ENGINES[engine]("cpu")
    engine.start()
    call, want = engine.load(workload), reference(workload, 1 if workload.kind == "forward" else 3)
    assert relative_error([engine.arrays(call()) for _ in want], want) <= workload.tolerance
