"""Programs for several processes, run as one; processes of PyTorch's names; marks for its older compiler."""

from __future__ import annotations

import os

import numpy as np
import pytest

import tracec
import tracec.distributed as dist
from tests.failures import check_form
from tracec import jit, multiprocessing, nn
from tracec.errors import ArgumentError, StateError, UnsupportedError
from tracec.nn.parallel import DistributedDataParallel


@pytest.fixture
def world(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    dist.init_process_group("gloo", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_there_is_one_process(world):
    assert dist.is_available() and dist.is_initialized()
    assert (dist.get_rank(), dist.get_world_size(), dist.get_backend()) == (0, 1, "gloo")
    dist.destroy_process_group()
    assert not dist.is_initialized()


@pytest.mark.usefixtures("world")
def test_collectives_of_one_change_nothing():
    x = tracec.tensor([1.0, 2.0])
    for call in (dist.all_reduce, dist.reduce, dist.broadcast):
        assert call(x) is None
    assert dist.all_reduce(x, op=dist.ReduceOp.MAX, async_op=True).wait()
    assert x.tolist() == [1, 2]
    into, whole, part = [tracec.zeros(2)], tracec.zeros(1, 2), tracec.zeros(2)
    dist.all_gather(into, x)
    dist.all_gather_into_tensor(whole, x)
    dist.scatter(part, [x])
    assert into[0].tolist() == whole[0].tolist() == part.tolist() == [1, 2]
    objects = [None]
    dist.all_gather_object(objects, {"rank": 0})
    assert objects == [{"rank": 0}]
    dist.barrier()


@pytest.mark.usefixtures("world")
def test_more_collectives_of_one():
    x, y = tracec.tensor([1.0, 2.0]), tracec.zeros(2)
    dist.reduce_scatter(y, [x])
    assert y.tolist() == [1, 2]
    got = [tracec.zeros(2)]
    dist.all_to_all(got, [x])
    assert got[0].tolist() == [1, 2]
    objects, parts = [None], [None]
    dist.gather_object("a", objects)
    dist.scatter_object_list(parts, ["b"])
    assert (objects, parts) == (["a"], ["b"])
    dist.monitored_barrier()
    assert dist.get_process_group_ranks() == [0]
    assert dist.get_backend() == dist.Backend("GLOO") == dist.Backend.GLOO != dist.Backend.NCCL


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    "collective",
    [
        lambda nn, x: nn.all_reduce(x),
        lambda nn, x: nn.all_gather(x)[0],
        lambda nn, x: nn.functional.broadcast(x, 0),
        lambda nn, x: nn.gather(x)[0],
        lambda nn, x: nn.reduce(x, 0),
        lambda nn, x: nn.scatter([x]),
        lambda nn, x: nn.reduce_scatter(tracec.zeros(2), [x]),
        lambda nn, x: nn.all_to_all([tracec.zeros(2)], [x])[0],
    ],
)
def test_gradients_go_through_collectives(collective):
    """As contrastive losses gather the rows of all processes."""
    from tracec.distributed import nn as collectives

    def step(x):
        found = collective(collectives, x)
        (found * tracec.tensor([3.0, 4.0])).sum().backward()
        return found.add_(1).detach()  # a tensor of its own

    for run in (step, tracec.compile(step)):
        x = tracec.tensor([1.0, 2.0], requires_grad=True)
        assert run(x).tolist() == [2, 3]
        assert x.grad.tolist() == [3, 4] and x.tolist() == [1, 2]


def test_collectives_with_gradients_need_a_group_of_one():
    from tracec.distributed import nn as collectives

    with pytest.raises(StateError, match="has not been initialized"):
        collectives.all_reduce(tracec.ones(1))
    dist.init_process_group("gloo", rank=0, world_size=1)
    try:
        with pytest.raises(ArgumentError, match="process 1 is not there"):
            collectives.broadcast(tracec.ones(1), 1)
        with pytest.raises(ArgumentError, match="one tensor for each process, 2 given"):
            collectives.scatter([tracec.ones(1)] * 2)
    finally:
        dist.destroy_process_group()


def test_what_needs_a_group_says_so():
    for call in (dist.get_rank, dist.barrier, lambda: dist.all_reduce(tracec.ones(1))):
        with pytest.raises(StateError, match="has not been initialized") as caught:
            call()
        check_form(caught.value)


def test_more_processes_are_refused(monkeypatch):
    with pytest.raises(UnsupportedError, match="process 1 of 2 asked for"):
        dist.init_process_group("nccl", rank=1, world_size=2)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UnsupportedError, match="process 0 of 4"):
        dist.init_process_group("nccl")
    monkeypatch.setenv("WORLD_SIZE", "four")
    with pytest.raises(ArgumentError, match="WORLD_SIZE='four'"):
        dist.init_process_group("nccl")
    assert not dist.is_initialized()


@pytest.mark.usefixtures("world")
def test_processes_that_are_not_there_are_refused():
    with pytest.raises(ArgumentError, match="process 1 is not there"):
        dist.broadcast(tracec.ones(1), src=1)
    with pytest.raises(StateError, match="there is a group"):
        dist.init_process_group()
    with pytest.raises(UnsupportedError, match=r"ranks=\[0, 1\]"):
        dist.new_group([0, 1])
    with pytest.raises(ArgumentError, match="one tensor for each process, 2 given"):
        dist.all_gather([tracec.ones(1)] * 2, tracec.ones(1))


@pytest.mark.usefixtures("world")
def test_a_step_of_a_program_for_several_trains():
    def losses(wrap):
        tracec.manual_seed(0)
        model = wrap(nn.Linear(3, 1))
        optimizer = tracec.optim.SGD(model.parameters(), lr=0.1)

        @tracec.compile
        def step(x):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        x = tracec.arange(12.0).reshape(4, 3) / 12
        return [float(step(x)) for _ in range(4)], sorted(model.state_dict())

    found, names = losses(lambda m: DistributedDataParallel(m, device_ids=[0], find_unused_parameters=True))
    wanted, _ = losses(lambda m: m)
    np.testing.assert_array_equal(found, wanted)
    assert names == ["module.bias", "module.weight"]
    with DistributedDataParallel(nn.Linear(1, 1)).no_sync():
        pass


# Processes -------------------------------------------------------------------------------------------------


def _write(number, folder):
    with open(os.path.join(folder, str(number)), "w") as file:
        file.write(str(float(tracec.ones(3).sum()) + number))


def _fail(number):
    if number == 1:
        raise ValueError("no such thing")


def _end(number):
    os._exit(7)


def test_an_optimiser_that_shares_out_its_state_has_all_of_it():
    from tracec.distributed.optim import ZeroRedundancyOptimizer

    w = tracec.ones(2, requires_grad=True)
    optimizer = ZeroRedundancyOptimizer([{"params": [w], "lr": 0.5}], optimizer_class=tracec.optim.SGD, momentum=0.9)
    assert isinstance(optimizer, tracec.optim.SGD) and optimizer.param_groups[0]["lr"] == 0.5
    (w * w).sum().backward()
    optimizer.step()
    optimizer.consolidate_state_dict()
    assert w.tolist() == [0.0, 0.0] and optimizer.state_dict()["param_groups"][0]["momentum"] == 0.9


def test_processes_are_started_with_their_numbers(tmp_path):
    multiprocessing.spawn(_write, args=(str(tmp_path),), nprocs=2, start_method="fork")
    assert [(tmp_path / str(n)).read_text() for n in range(2)] == ["3.0", "4.0"]


def test_what_a_process_raises_is_told():
    with pytest.raises(multiprocessing.ProcessRaisedException, match="ValueError: no such thing") as caught:
        multiprocessing.spawn(_fail, nprocs=2, start_method="fork")
    assert caught.value.error_index == 1
    with pytest.raises(multiprocessing.ProcessExitedException, match="ended with 7"):
        multiprocessing.spawn(_end, start_method="fork")
    with pytest.raises(ArgumentError, match="nprocs=-1"):
        multiprocessing.spawn(_end, nprocs=-1)


def test_pythons_names_are_there():
    assert multiprocessing.Process and multiprocessing.Queue and multiprocessing.cpu_count() >= 1
    multiprocessing.set_sharing_strategy("file_system")
    with pytest.raises(ArgumentError, match="'nothing' is unknown"):
        multiprocessing.set_sharing_strategy("nothing")


# Marks -----------------------------------------------------------------------------------------------------


def test_types_for_scripts_are_pythons():
    from tracec.jit.annotations import List, Optional

    assert List[int] == list[int] or List[int].__origin__ is list
    assert Optional[int] == int | None


def test_scripts_are_python():
    @jit.script
    def swish(x):
        return x * tracec.sigmoid(x)

    class Net(nn.Module):
        scale: jit.Final[int] = 2

        @jit.export
        def twice(self, x):
            return self.scale * x

        @jit.ignore
        def forward(self, x):
            return swish(self.twice(x)) if not jit.is_scripting() else x

    net = Net()
    x = tracec.tensor([0.0, 1.0])
    assert jit.script(net) is net and jit.trace(net, x) is net
    np.testing.assert_allclose(tracec.compile(net)(x), net(x))
    assert jit.annotate(list, [1]) == [1] and jit.isinstance([1], list) and not jit.is_tracing()
    assert jit.ignore(drop=True)(swish) is swish
    for call in (lambda: jit.save(net, "x.pt"), lambda: jit.load("x.pt")):
        with pytest.raises(UnsupportedError) as caught:
            call()
        check_form(caught.value)
