"""Every workload gives the reference's numbers when tracec runs it."""

import math

import numpy as np
import pytest

from benchmarks import report
from benchmarks.engines import ENGINES, reference, relative_error
from benchmarks.measurement import Measurement
from benchmarks.workload import few
from benchmarks.workloads import WORKLOADS, by_name


def test_errors_are_relative_to_the_largest_value_and_nan_is_infinite():
    want = [[np.array([1.0, 100.0])]]
    assert relative_error([[np.array([2.0, 100.0])]], want) == 0.01
    assert math.isinf(relative_error([[np.array([np.nan, 100.0])]], want))


def test_an_unknown_workload_lists_the_known_ones():
    with pytest.raises(SystemExit, match=r"no workload 'nothing'; there are: tiny, gelu"):
        by_name("nothing")


def test_a_peer_that_does_not_start_is_left_out(monkeypatch, capsys):
    class Peer:
        def start(self):
            assert False, "no backend"  # noqa: B011, PT015 (as a jax without CUDA does)

    monkeypatch.setitem(ENGINES, "jax", lambda device: Peer())
    run = Measurement(["tracec", "jax"], "cpu", 1, 1, startup=False)
    assert [e.name for e in run.engines] == ["tracec"] and "jax is left out: AssertionError" in capsys.readouterr().err


def test_a_workload_that_fails_does_not_lose_the_others(monkeypatch, capsys):
    def broken(workload, *rest):
        if workload.name == "tiny":
            raise MemoryError("no room for it")
        return {"title": workload.title, "kind": "forward", "engines": {"tracec": {"correct": True, "error": 0.0}}}

    run = Measurement(["tracec"], "cpu", 1, 1, startup=False)
    monkeypatch.setattr(run, "workload", broken)
    kept = []
    run.keep = lambda result: kept.append(list(result["workloads"]))
    found = run.measure(["tiny", "gelu"])
    assert kept[0] == ["tiny"] and kept[-1] == ["tiny", "gelu"]
    assert report.wrong(found) == ["tiny"]
    assert "failed" in report.time_table(found)


def test_a_torch_without_cuda_gives_the_reference_of_train_steps_too():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("it has CUDA")
    mlp = by_name("mlp")
    (found,), (want,) = reference(mlp, 1, "cuda"), reference(mlp, 1)
    np.testing.assert_array_equal(found, want)


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


def test_a_rehearsal_has_a_few_rows():
    for name in ("tiny", "gpt", "lstm"):
        inputs = by_name(name).on("emulator").inputs()
        assert all(0 not in x.shape for x in inputs) and inputs[0].size <= 1 << 14
    many, few_, row = few((np.zeros((99, 8)), np.zeros((99, 2)), np.zeros(8)))
    assert (many.shape, few_.shape, row.shape) == ((4, 8), (4, 2), (8,))
