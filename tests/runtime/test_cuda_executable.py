"""Launching on a GPU with no GPU: the double of CuPy queues launches, the emulator runs them."""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import tracec
from tests.codegen.emulated import needs_compiler
from tests.doubles.driver import Cublas, Driver, pretended, runs_of
from tracec import autotune, nn
from tracec.autotune import Choices
from tracec.errors import AxisError, CompileError, CompilerMissing, DeviceError, OutOfMemoryError
from tracec.nn import functional as F
from tracec.runtime import arena, cublas, launcher, measure

pytestmark = needs_compiler


@pytest.fixture
def driver() -> Iterator[Driver]:
    with pretended() as made:
        yield made


def trained(device: str, steps: int, compiled: bool) -> tuple[list[float], list[Any], Any]:
    """A small network after some steps: losses, parameters, the step."""
    tracec.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.LayerNorm(7), nn.Linear(7, 3)).to(device)
    optimizer = tracec.optim.AdamW(model.parameters(), lr=1e-2)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    run = tracec.compile(step) if compiled else step
    rng = np.random.default_rng(1)
    batches = [(rng.standard_normal((6, 5)).astype(np.float32), rng.integers(0, 3, 6)) for _ in range(steps)]
    given = [(tracec.from_numpy(x).to(device), tracec.from_numpy(y).to(device)) for x, y in batches]
    losses = [float(run(x, y)) for x, y in given]
    return losses, [p.detach().cpu().numpy() for p in model.parameters()], run


def test_training_steps_are_the_cpus(driver: Driver) -> None:
    losses, parameters, _ = trained("cuda", 12, compiled=True)
    expected, wanted, _ = trained("cpu", 12, compiled=False)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for found, want in zip(parameters, wanted, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-6)
    assert "graph" in driver.log


def test_launches_become_a_graph(driver: Driver) -> None:
    run = tracec.compile(lambda x: F.softmax(x, dim=-1).sum(0) @ x.t())
    x = tracec.randn(4, 33, device="cuda")
    seen = []
    for _ in range(5):
        driver.log.clear()
        result = run(x)
        seen.append(runs_of(driver.log))
    np.testing.assert_allclose(result.cpu().numpy(), run.fn(x).cpu().numpy(), rtol=1e-5)
    # The first call runs eagerly, the next ones meet each set of addresses for the first time.
    assert seen[0] == "" and seen[1].endswith("launches") and seen[-1] == "graph"


def test_sizes_are_arguments_of_kernels(driver: Driver) -> None:
    run = tracec.compile(lambda x: (x.softmax(1) * x.shape[0] + 0.5 ** (1 / x.shape[0]), x.sum(0)))
    given = {n: tracec.randn(n, 7, device="cuda") for n in (4, 9, 33, 65, 130)}
    for n in (4, 4, 9, 33, 65, 33, 33, 33, 33, 130):
        for found, want in zip(run(given[n]), run.fn(given[n]), strict=True):
            np.testing.assert_allclose(found.cpu().numpy(), want.cpu().numpy(), rtol=1e-5, atol=1e-6)
    assert len(run.explain().recordings) == 2
    assert "graph" in driver.log


@pytest.fixture
def queue(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Launches by one call of C, which calls the driver's double; what it says of the launches to come, then 0."""
    said: list[int] = []

    def called(function: int, gx: int, gy: int, gz: int, bx: int, by: int, bz: int, shared: int, stream: int,
               parameters: int, extra: int) -> int:  # fmt: skip
        driver._launch(function, gx, gy, gz, bx, by, bz, shared, stream or 0, parameters, 0)
        return said.pop(0) if said else 0

    sizes, pointer = (ctypes.c_uint,) * 7, ctypes.c_void_p
    kept = ctypes.CFUNCTYPE(ctypes.c_int, pointer, *sizes, pointer, pointer, pointer)(called)
    address = ctypes.cast(kept, pointer).value
    monkeypatch.setattr(launcher, "driver_address", lambda kept=kept: address)
    return said


@pytest.mark.parametrize("graph", [False, True])
def test_launches_by_one_call(driver: Driver, queue: list[int], graph: bool) -> None:
    run = tracec.compile(lambda x: (x - x.mean(), F.softmax(x, dim=-1).sum(0) @ x.t()), cuda_graph=graph)
    inputs = [tracec.randn(4, 33, device="cuda") for _ in range(2)]
    for k in (0, 1, 0, 0, 1, 1, 0, 0, 0):
        for found, want in zip(run(inputs[k]), run.fn(inputs[k]), strict=True):
            np.testing.assert_allclose(found.cpu().numpy(), want.cpu().numpy(), rtol=1e-4, atol=1e-6)
    assert ("graph" in driver.log) is graph


@pytest.mark.parametrize("graph", [False, True])
def test_the_last_block_is_told_by_a_counter_of_the_stream(
    driver: Driver, graph: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is 0 where memory is new, and again behind each launch: in graphs, and beside programs of other sizes."""
    run = tracec.compile(lambda x: x.sum() * 2, cuda_graph=graph)
    other = tracec.compile(lambda x: (x.cumsum(0).sum() + 1, x.flip(0).cumsum(0).max()), cuda_graph=graph)
    x = tracec.arange(70001, device="cuda", dtype=tracec.float64)

    def check() -> None:
        for _ in range(4):
            assert float(run(x)) == 70000 * 70001
            assert float(other(x)[1]) == 70000 * 70001 / 2

    run(x), run(x)
    driver.log.clear()
    assert float(run(x)) == 70000 * 70001
    assert graph or driver.log == ["k0_row_sum_then_k1_full_sum_mul"]
    check()
    arena.release_arenas()
    check()
    monkeypatch.setattr(importlib.import_module("cupy").cuda.get_current_stream(), "ptr", 7)
    check()


def test_a_graph_that_a_caller_captures_keeps_the_memory_that_it_writes(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others that need more take other memory, and so do calls behind a release: no value of theirs may lie there."""
    monkeypatch.setattr(importlib.import_module("cupy").cuda.get_current_stream(), "ptr", 11)
    run = tracec.compile(lambda x: F.softmax(x, dim=-1).sum(0) @ x.t())
    x, large = tracec.randn(4, 33, device="cuda"), tracec.randn(99, 333, device="cuda")
    run(x), run(x)
    of = arena.arena_of(0, 11)
    assert of.memory is not None and not of.captured
    driver._captured[11] = []
    result, first = run(x), of.memory
    queued = driver._captured.pop(11)
    run(large), run(large)
    assert of.captured == [first] and of.memory is not first
    arena.release_arenas()
    for work in queued:
        work()
    np.testing.assert_allclose(result.cpu().numpy(), run.fn(x).cpu().numpy(), rtol=1e-5)
    assert of.captured == [first]


def test_default_streams_that_threads_have_for_themselves_share_no_memory(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have one handle, and run at the same time."""
    monkeypatch.setattr(importlib.import_module("cupy").cuda.get_current_stream(), "ptr", arena.PER_THREAD)
    run = tracec.compile(lambda x: F.softmax(x, dim=-1).sum(0) @ x.t())
    inputs = [tracec.randn(4, 33, device="cuda") for _ in range(10)]
    before = set(arena._arenas)
    with ThreadPoolExecutor(1) as pool:
        for x in inputs:
            for found in (run(x), pool.submit(run, x).result()):
                np.testing.assert_allclose(found.cpu().numpy(), run.fn(x).cpu().numpy(), rtol=1e-5)
    assert len(set(arena._arenas) - before) == 2


def test_launches_from_a_thread_that_has_not_used_the_device(driver: Driver) -> None:
    run = tracec.compile(lambda x: F.softmax(x, dim=-1).sum(0) @ x.t(), cuda_graph=False)
    x = tracec.randn(4, 33, device="cuda")
    run(x)
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(run, x).result()
    np.testing.assert_allclose(found.cpu().numpy(), run.fn(x).cpu().numpy(), rtol=1e-5)


def test_what_a_call_costs_python_hangs_on_no_number_of_launches(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is launched, from Python there is one crossing."""
    nothing = ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value  # gives 0, and takes no notice
    monkeypatch.setattr(launcher, "driver_address", lambda: nothing)
    monkeypatch.setattr(driver.cupy.cuda.driver, "launchKernel", raising(AssertionError()))

    def calls(launches: int) -> int:
        def chain(x: Any) -> Any:
            for _ in range(launches):
                x = x * 0.999
            return x

        run = tracec.compile(chain, cuda_graph=False, disable=("fuse", "horizontal", "join"))
        x = tracec.randn(8, device="cuda")
        for _ in range(4):
            run(x)
        assert f"{launches} launches a call, queued one by one" in run.explain()
        counted = 0

        def count(frame: Any, event: str, argument: Any) -> None:
            nonlocal counted
            counted += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            run(x)
        finally:
            sys.setprofile(None)
        return counted

    assert calls(1) <= calls(2) == calls(60)  # one launch leaves nothing in the arena, which is not asked for


def test_training_by_one_call(driver: Driver, queue: list[int]) -> None:
    """Tables of parameters are written again when a batch moves, and only then."""
    losses, parameters, _ = trained("cuda", 6, compiled=True)
    expected, wanted, _ = trained("cpu", 6, compiled=False)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for found, want in zip(parameters, wanted, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-6)


def test_a_launch_that_the_driver_refuses(driver: Driver, queue: list[int]) -> None:
    run = tracec.compile(lambda x: F.softmax(x, dim=-1).sum(0) @ x.t(), cuda_graph=False)
    x = tracec.randn(4, 33, device="cuda")
    run(x)
    queue += [0, 700]
    driver.log.clear()
    with pytest.raises(CompileError, match=r"launch: (\w+) .* on cuda:0: 700") as error:
        run(x)
    assert len(driver.log) == 2 and driver.log[1] in str(error.value)
    np.testing.assert_allclose(run(x).cpu().numpy(), run.fn(x).cpu().numpy(), rtol=1e-5)


def test_without_a_compiler_launches_go_one_by_one(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "driver_address", lambda: 1)
    monkeypatch.setattr(launcher, "find_compiler", raising(CompilerMissing("there is none")))
    launcher._compiled.cache_clear()
    assert launcher.queue_function() is None
    run = tracec.compile(lambda x: x.softmax(0).sum(1), cuda_graph=False)
    x = tracec.randn(4, 33, device="cuda")
    for _ in range(2):
        np.testing.assert_allclose(run(x).cpu().numpy(), run.fn(x).cpu().numpy(), rtol=1e-5)
    launcher._compiled.cache_clear()


def raising(error: Exception) -> Any:
    def refuse() -> None:
        raise error

    return refuse


def test_inputs_that_move_are_copied_into_place(driver: Driver) -> None:
    run = tracec.compile(lambda x: F.softmax(x, dim=-1).sum(0) @ x.t())
    inputs = [tracec.randn(4, 33, device="cuda") for _ in range(10)]
    for x in inputs:
        driver.log.clear()
        np.testing.assert_allclose(run(x).cpu().numpy(), run.fn(x).cpu().numpy(), rtol=1e-5)
    assert runs_of(driver.log) == "copy, graph"


def test_what_is_copied_into_place_belongs_to_one_stream(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tracec.compile(lambda x: F.softmax(x, dim=-1).sum(0) @ x.t())
    inputs = [tracec.randn(4, 33, device="cuda") for _ in range(10)]
    for x in inputs:
        run(x)
    monkeypatch.setattr(importlib.import_module("cupy").cuda.get_current_stream(), "ptr", 7)
    driver.log.clear()
    np.testing.assert_allclose(run(inputs[0]).cpu().numpy(), run.fn(inputs[0]).cpu().numpy(), rtol=1e-5)
    assert "copy" not in driver.log and runs_of(driver.log).endswith("launches")


def test_results_that_are_kept_are_not_written_again(driver: Driver) -> None:
    run = tracec.compile(lambda x: (x * 2, x.sum(0)))
    inputs = [tracec.full((3, 5), float(k), device="cuda") for k in range(8)]
    kept = [run(x) for x in inputs]
    for k, (double_, total) in enumerate(kept):
        assert (double_.cpu().numpy() == 2 * k).all() and (total.cpu().numpy() == 3 * k).all()


def test_without_graphs(driver: Driver) -> None:
    run = tracec.compile(lambda x: F.softmax(x, dim=-1).sum(0) @ x.t(), cuda_graph=False)
    x = tracec.randn(4, 33, device="cuda")
    for _ in range(4):
        run(x)
    assert "graph" not in driver.log


def test_views_that_packs_cannot_read_are_moved(driver: Driver) -> None:
    run = tracec.compile(lambda x: x * 2 + 1)
    whole = tracec.arange(68, dtype=tracec.float32, device="cuda")
    for start in range(4):
        x = whole[start : start + 64]
        for _ in range(2):
            np.testing.assert_array_equal(run(x).cpu().numpy(), np.arange(start, start + 64) * 2.0 + 1)


def test_indices_out_of_range_are_told_after_the_call(driver: Driver) -> None:
    run = tracec.compile(lambda table, i: table[i] * 2)
    table = tracec.randn(5, 3, device="cuda")
    for _ in range(2):
        run(table, tracec.tensor([0, 4], device="cuda"))
    with pytest.raises(AxisError, match=r"index 5 is out of bounds for dimension 0 with size 5") as error:
        run(table, tracec.tensor([0, 5], device="cuda")).cpu()
    assert "found on the GPU after the call" in str(error.value)
    assert run(table, tracec.tensor([0, 1], device="cuda")).shape == (2, 3)


def test_indices_are_checked_where_gradients_are_taken_outside(driver: Driver) -> None:
    def loss_of(table: Any, weight: Any, index: Any, target: Any) -> Any:
        return F.cross_entropy(tracec.tanh(F.embedding(index, table)) @ weight, target)

    def gradients(device: str, compiled: bool) -> list[Any]:
        rng = np.random.default_rng(0)
        table, weight = (tracec.tensor(rng.standard_normal(s)).to(device).requires_grad_() for s in ((7, 5), (5, 3)))
        index, target = (tracec.from_numpy(rng.integers(0, n, 6)).to(device) for n in (7, 3))
        run = tracec.compile(loss_of) if compiled else loss_of
        for _ in range(3):
            table.grad = weight.grad = None
            loss = run(table, weight, index, target)
            loss.backward()
        return [t.detach().cpu().numpy() for t in (loss, table.grad, weight.grad)]

    for found, expected in zip(gradients("cuda", True), gradients("cpu", False), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_no_memory(driver: Driver) -> None:
    run = tracec.compile(lambda x: F.softmax(x, dim=-1).sum(0) @ x.t())
    x = tracec.randn(4, 33, device="cuda")
    run(x)
    driver.memory_left = 0
    with pytest.raises(OutOfMemoryError, match=r"no memory on cuda:0 for \d+ bytes of results") as error:
        run(x)
    assert "largest values" in str(error.value) and "test_cuda_executable.py" in str(error.value)
    driver.memory_left = 1 << 40
    run(x)


def test_tensors_of_the_cpu(driver: Driver) -> None:
    with pytest.raises(DeviceError, match="the tensors given are on the CPU"):
        tracec.compile(lambda x: x * 2, target="cuda")(tracec.ones(3))


@pytest.fixture
def library(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> Choices:
    """cuBLAS is there, and faster than any kernel."""
    found = Cublas(driver)
    monkeypatch.setattr(cublas, "available", lambda: True)
    monkeypatch.setattr(cublas, "_library", lambda: found)
    monkeypatch.setattr(cublas, "_handles", {})
    monkeypatch.setattr(cublas, "takes", cublas.takes.__wrapped__)
    choices = Choices(0)
    monkeypatch.setattr(autotune, "LEAST", 1)
    monkeypatch.setattr(autotune, "_choices", {0: choices})
    monkeypatch.setattr(autotune, "compile_sources", lambda sources, arch: None)
    monkeypatch.setattr(autotune, "device_name", lambda device: "pretended")
    monkeypatch.setattr(autotune.cuda_runtime, "arch_of", lambda device: "sm_90")
    monkeypatch.setattr(autotune, "product_times", lambda plan, program, params, device: (9.0, 2.0, 1.0))
    return choices


PRODUCTS = {
    "plain": (lambda a, b: a @ b, (7, 5), (5, 9)),
    "transposed": (lambda a, b: a.t() @ b.t(), (5, 7), (9, 5)),
    "batched": (lambda a, b: a @ b, (3, 7, 5), (3, 5, 9)),
    "one matrix for all": (lambda a, b: a @ b, (3, 2, 7, 5), (5, 9)),
    "heads": (lambda a, b: a.transpose(1, 2) @ b.transpose(1, 2).transpose(2, 3), (2, 7, 4, 5), (2, 9, 4, 5)),
    "part of another": (lambda a, b: a[2:6] @ b[:, 3:8], (7, 5), (5, 9)),
    "computed": (lambda a, b: (a * 2).exp() @ b.sin() + 1, (7, 5), (5, 9)),
}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_products_go_to_cublas(name: str, dtype: str, driver: Driver, library: Choices, tmp_path: Any,
                               monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    function, *shapes = PRODUCTS[name]
    rng = np.random.default_rng(0)
    arrays = [(0.5 * rng.standard_normal(s)).astype(dtype) for s in shapes]
    given = [tracec.from_numpy(a).to("cuda") for a in arrays]
    run = tracec.compile(function)
    expected = function(*(tracec.from_numpy(a.astype(np.float64)) for a in arrays)).numpy()
    for _ in range(6):
        found = run(*given).cpu().numpy()
        np.testing.assert_allclose(found, expected, rtol=2e-2 if dtype == "float16" else 1e-5, atol=1e-3)
    if dtype != "float16":  # those are chosen by size
        assert "gemm" in driver.log and library.times


class Missing:
    """A part of CuPy whose library is not there."""

    def __getattr__(self, name: str) -> Any:
        raise ImportError('Failure finding "libcurand.so.10"\n  listdir(...)')


def test_products_are_timed_with_no_other_library(
    driver: Driver, library: Choices, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(autotune, "product_times", measure.product_times)
    monkeypatch.setattr(driver.cupy, "random", Missing(), raising=False)
    monkeypatch.setattr(driver.cupy.cuda.runtime, "memsetAsync", lambda *_: None, raising=False)
    a, b = tracec.randn(7, 5, device="cuda"), tracec.randn(5, 9, device="cuda")
    found = tracec.compile(lambda a, b: a @ b)(a, b)
    np.testing.assert_allclose(found.cpu().numpy(), (a @ b).cpu().numpy(), rtol=1e-5, atol=1e-6)
    assert all(t.kernel > 0 for t in library.times.values()) and library.times


def test_a_library_that_an_operator_needs_is_not_there(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver.cupy, "fft", Missing(), raising=False)
    x = tracec.randn(8, device="cuda")
    with pytest.raises(DeviceError, match=r"CuPy cannot load what computes it on cuda:0 \(.*curand.*\)") as error:
        tracec.fft.rfft(x)
    assert "tracec[cuda12]" in str(error.value) and "test_cuda_executable.py" in str(error.value)


def test_no_memory_to_measure_with(
    driver: Driver, library: Choices, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def times(*given: Any) -> Any:
        raise MemoryError("no memory for operands")

    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(autotune, "product_times", times)
    run = tracec.compile(lambda a, b: a @ b)
    a, b = tracec.randn(7, 5, device="cuda"), tracec.randn(5, 9, device="cuda")
    with pytest.warns(RuntimeWarning, match="products are computed by generated kernels"):
        run(a, b)
    driver.log.clear()
    np.testing.assert_allclose(run(a, b).cpu().numpy(), (a @ b).cpu().numpy(), rtol=1e-5, atol=1e-6)
    assert "gemm" not in driver.log and "\nproduct" not in run.explain()


def test_a_library_without_memory_of_its_own_changes_nothing(
    driver: Driver, library: Choices, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    count, matrix = tracec.zeros(3, device="cuda"), tracec.randn(5, 5, device="cuda")

    @tracec.compile
    def run(x: Any) -> Any:
        count.add_(1)
        return x.exp() @ (x @ x).sin()

    run(matrix)
    run(matrix)
    cublas._handles.clear()
    driver.memory_left = 1 << 20  # enough for what the program itself takes
    for _ in range(2):
        with pytest.raises(OutOfMemoryError, match="no memory on cuda:0"):
            run(matrix)
    assert count.tolist() == [2.0] * 3
    driver.memory_left = 1 << 40
    run(matrix)
    assert count.tolist() == [3.0] * 3


@pytest.mark.parametrize("known", [True, False])
def test_products_of_a_type_that_the_library_does_not_know(
    known: bool, driver: Driver, library: Choices, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuBLAS may not multiply bfloat16 on GPUs before sm_80."""
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    if not known:
        monkeypatch.setattr(Cublas, "cublasGemmEx", lambda *_: 15)
    a, b = (tracec.randn(64, 64).to(tracec.float16).to("cuda") for _ in range(2))
    run = tracec.compile(lambda a, b: a @ b)
    for _ in range(2):
        found = run(a, b).cpu().double().numpy()
    np.testing.assert_allclose(found, (a.cpu().double() @ b.cpu().double()).numpy(), rtol=1e-2, atol=1e-2)
    assert ("gemm" in driver.log) is known


def test_a_library_that_cannot_be_captured_is_called(
    driver: Driver, library: Choices, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(Cublas, "captured", False)
    run = tracec.compile(lambda a, b: (a @ b).softmax(dim=-1) @ b)
    a, b = tracec.randn(4, 4, device="cuda"), tracec.randn(4, 4, device="cuda")
    for _ in range(6):
        driver.log.clear()
        np.testing.assert_allclose(run(a, b).cpu().numpy(), run.fn(a, b).cpu().numpy(), rtol=1e-4)
    assert driver.log.count("gemm") == 2 and "graph" not in driver.log
    assert "2 library calls a call, queued one by one: gemm: cuBLAS: gemm failed with status 15" in run.explain()


def test_explain_tells_how_calls_run(
    driver: Driver, library: Choices, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    run = tracec.compile(lambda a, b: (a @ b).softmax(dim=-1))
    a, b = tracec.randn(4, 4, device="cuda"), tracec.randn(4, 4, device="cuda")
    for _ in range(5):
        run(a, b)
    text = run.explain()
    assert "on cuda:0: 1 launches and 1 library calls a call; CUDA graphs: 1 captured" in text
    assert "product f32 1 x 4x4x4 an bn on cuda:0: kernel 9.0 µs, cuBLAS 2.0 µs and a pass 1.0 µs: cuBLAS" in text
