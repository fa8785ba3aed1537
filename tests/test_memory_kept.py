"""What a compiled function keeps in memory from call to call: what it compiled, and no values of its recording."""

import gc
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

import tracec
from tests.doubles import cupy as double
from tracec import nn
from tracec.record.recorder import Recorder

MIB = 1 << 20


@pytest.fixture
def traced() -> Iterator[None]:
    """Allocations are counted, and no garbage is collected: large arrays do not make Python look for any."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.enable()


def kept_by(run: Callable[[], object], calls: int) -> float:
    """MiB that are in use after some calls beyond what was before."""
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(calls):
        run()
    return (tracemalloc.get_traced_memory()[0] - before) / MIB


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("calls", [1, 3])
def test_what_was_in_written_memory_before(calls: int) -> None:
    x = tracec.ones(4 * MIB)  # 16 MiB

    def halve() -> None:
        x.mul_(0.5)

    assert kept_by(tracec.compile(halve), calls) < 6
    assert x[0].item() == 0.5**calls


@pytest.mark.usefixtures("traced")
def test_a_train_step_keeps_gradients_and_what_the_optimiser_keeps() -> None:
    model = nn.Linear(1 << 10, 2 << 10)  # 8 MiB
    optimizer = tracec.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x = tracec.ones(4, 1 << 10)

    @tracec.compile
    def step() -> tracec.Tensor:
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    assert kept_by(lambda: step().item(), 4) < 2 * 8 + 0.5  # gradients, momentum


@pytest.mark.parametrize("lasting", [True, False])
def test_no_recorder_stays(lasting: bool) -> None:
    x = tracec.ones(3)
    doubled = tracec.compile(lambda: x.mul_(2.0).sum())
    others = [found for found in gc.get_objects() if issubclass(type(found), Recorder)]  # of other tests
    doubled() if lasting else doubled.warmup()
    gc.collect()
    assert not [r for r in gc.get_objects() if issubclass(type(r), Recorder) and not any(r is o for o in others)]
    assert x.tolist() == ([2.0] * 3 if lasting else [1.0] * 3)


@pytest.mark.parametrize("room", [True, False])
def test_memory_before_a_write_is_kept_on_the_host_where_a_gpu_has_no_room(
    monkeypatch: pytest.MonkeyPatch, room: bool
) -> None:
    on_host: list[int] = []
    with double.installed():
        x = tracec.tensor([0.0, 1.0, 2.0, 3.0]).to("cuda").sqrt().square()

        def refuse(array: double.ndarray) -> None:
            on_host.append(array.size)
            raise MemoryError

        def double_it(x: tracec.Tensor) -> None:
            x.mul_(2.0)

        if not room:
            monkeypatch.setattr(double.ndarray, "copy", refuse, raising=False)
        graph = tracec.trace(double_it, x)
        monkeypatch.undo()
        assert x.tolist() == pytest.approx([0.0, 1.0, 2.0, 3.0])
        assert len(graph.outputs) == 1 and on_host == ([] if room else [4])


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("what", ["values", "gradients"])
def test_arguments_results_and_gradients_of_the_recorded_call(what: str) -> None:
    weight = nn.Parameter(tracec.ones(4 * MIB))  # 16 MiB

    def values(x: tracec.Tensor) -> tracec.Tensor:
        return (x * 2).sum()

    def gradients(x: tracec.Tensor) -> tracec.Tensor:
        return x * weight

    compiled = tracec.compile(values if what == "values" else gradients)

    def run() -> None:
        compiled(tracec.ones(4 * MIB))
        gc.collect()  # what hangs together in a ring

    assert kept_by(run, 4) < 6
