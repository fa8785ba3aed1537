"""The DataLoader: order, workers, errors."""

import os
import signal
import threading
import time
import traceback

import numpy as np
import pytest

import tracec
from tracec.errors import ArgumentError
from tracec.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    get_worker_info,
)


class Numbers(Dataset):
    """Later samples are ready sooner."""

    def __init__(self, n, slow=False):
        self.n, self.slow = n, slow

    def __getitem__(self, i):
        if self.slow:
            time.sleep(0.002 * (self.n - i) / self.n)
        return i

    def __len__(self):
        return self.n


class Stream(IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        info = get_worker_info()
        start, step = (0, 1) if info is None else (info.id, info.num_workers)
        return iter(range(start, self.n, step))


def batches(loader):
    return [b.tolist() for b in loader]


def test_order_without_shuffle_and_length():
    loader = DataLoader(Numbers(7), batch_size=3)
    assert batches(loader) == [[0, 1, 2], [3, 4, 5], [6]] and len(loader) == 3
    loader = DataLoader(Numbers(7), batch_size=3, drop_last=True)
    assert batches(loader) == [[0, 1, 2], [3, 4, 5]] and len(loader) == 2


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_shuffled_order_follows_the_seed_whatever_the_workers(workers):
    tracec.manual_seed(5)
    expected = batches(DataLoader(Numbers(20), batch_size=4, shuffle=True))
    assert expected != batches(DataLoader(Numbers(20), batch_size=4))
    tracec.manual_seed(5)
    loader = DataLoader(Numbers(20, slow=True), batch_size=4, shuffle=True, num_workers=workers)
    assert batches(loader) == expected
    assert batches(loader) != expected


def test_rows_of_tensors_are_taken_at_once_with_the_same_result():
    x, y = tracec.arange(12).reshape(6, 2), tracec.arange(6)
    data = Subset(TensorDataset(x, y), [4, 1, 5])
    fast = list(DataLoader(data, batch_size=2))
    plain = list(
        DataLoader(data, batch_size=2, collate_fn=lambda b: [tracec.stack(list(c)) for c in zip(*b, strict=True)])
    )
    assert [[t.tolist() for t in b] for b in fast] == [[t.tolist() for t in b] for b in plain]
    assert fast[0][0].tolist() == [[8, 9], [2, 3]] and fast[1][1].tolist() == [5]


def test_no_batches():
    samples = list(DataLoader([np.ones(2), 3, {"a": np.zeros(1)}], batch_size=None))
    assert samples[0].tolist() == [1.0, 1.0] and samples[1] == 3 and samples[2]["a"].tolist() == [0.0]


def test_samplers():
    assert batches(DataLoader(Numbers(9), batch_size=2, sampler=[8, 1, 3])) == [[8, 1], [3]]
    assert batches(DataLoader(Numbers(9), batch_sampler=[[8], [1, 3]])) == [[8], [1, 3]]


@pytest.mark.parametrize("workers", [0, 2])
def test_iterable(workers):
    loader = DataLoader(Stream(7), batch_size=2, num_workers=workers)
    expected = {0: [[0, 1], [2, 3], [4, 5], [6]], 2: [[0, 2], [1, 3], [4, 6], [5]]}[workers]
    assert batches(loader) == expected
    assert len(batches(DataLoader(Stream(7), batch_size=2, num_workers=workers, drop_last=True))) == 3
    assert sorted(DataLoader(Stream(5), batch_size=None, num_workers=workers)) == [0, 1, 2, 3, 4]


def test_workers_run_at_the_same_time_and_know_their_number():
    seen = set()
    together = threading.Barrier(2, timeout=10)

    class Meeting(Numbers):
        def __getitem__(self, i):
            together.wait()
            info = get_worker_info()
            seen.add((info.id, info.num_workers, info.dataset is self))
            return i

    assert batches(DataLoader(Meeting(4), num_workers=2)) == [[0], [1], [2], [3]]
    assert seen == {(0, 2, True), (1, 2, True)}
    assert get_worker_info() is None


def test_worker_init_fn_is_called_once_in_each():
    called = []
    list(DataLoader(Numbers(8), num_workers=2, worker_init_fn=called.append))
    assert sorted(called) == [0, 1]


def test_error_in_a_worker_comes_with_its_traceback():
    class Broken(Numbers):
        def __getitem__(self, i):
            if i == 2:
                raise KeyError("sample two")
            return i

    loader = iter(DataLoader(Broken(4), num_workers=2))
    assert next(loader).tolist() == [0] and next(loader).tolist() == [1]
    with pytest.raises(KeyError, match="sample two") as caught:
        next(loader)
    assert "__getitem__" in [f.name for f in traceback.extract_tb(caught.tb)]


def test_threads_end_when_the_loop_is_left():
    for _ in DataLoader(Numbers(50), num_workers=2):
        break
    deadline = time.monotonic() + 5
    while any(t.name.startswith("tracec-loader") for t in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_no_more_than_asked_for_is_made_ahead():
    made = []

    class Counting(Numbers):
        def __getitem__(self, i):
            made.append(i)
            return i

    loader = iter(DataLoader(Counting(50), num_workers=2, prefetch_factor=2))
    next(loader)
    time.sleep(0.1)
    assert len(made) <= 5
    loader.close()


def test_timeout():
    class Stuck(Numbers):
        def __getitem__(self, i):
            time.sleep(0.3)
            return i

    with pytest.raises(RuntimeError, match=r"timed out after 0\.05 seconds"):
        list(DataLoader(Stuck(1), num_workers=1, timeout=0.05))


@pytest.mark.parametrize(
    "options, text",
    [
        ({"shuffle": True, "sampler": [0]}, "sampler option is mutually exclusive with shuffle"),
        ({"batch_sampler": [[0]], "drop_last": True}, "batch_sampler option is mutually exclusive"),
        ({"batch_size": None, "drop_last": True}, "batch_size=None is mutually exclusive with drop_last"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"num_workers": -1}, "num_workers is -1"),
        ({"prefetch_factor": 2}, "prefetch_factor is for workers"),
    ],
)
def test_errors(options, text):
    with pytest.raises(ArgumentError, match=text):
        DataLoader(Numbers(3), **options)
    with pytest.raises(ArgumentError, match="IterableDataset has an order of its own"):
        DataLoader(Stream(3), shuffle=True)


class Drawn(Numbers):
    """Samples that draw from the default generator, by way of a function."""

    def __init__(self, n, draw=lambda: tracec.rand(3)):
        super().__init__(n)
        self.draw = draw

    def __getitem__(self, i):
        return self.draw()


def drawn(seed=7, workers=3, **options):
    tracec.manual_seed(seed)
    return batches(DataLoader(Drawn(12, **options), batch_size=2, num_workers=workers))


def test_each_worker_draws_a_stream_of_its_own():
    first = drawn()
    assert drawn() == first  # however the threads take turns
    numbers = [x for batch in first for row in batch for x in row]
    assert len(set(numbers)) == len(numbers) == 36
    assert drawn(seed=8) != first
    seeds = [int(b[0]) for b in drawn(draw=lambda: tracec.initial_seed() - get_worker_info().seed)]
    assert seeds == [0] * 6
    # A worker's stream is that of its seed.
    found = drawn(draw=lambda: tracec.tensor([get_worker_info().seed]))
    tracec.manual_seed(found[1][0][0])
    assert [tracec.rand(3).tolist() for _ in range(2)] == first[1]


def test_what_workers_draw_leaves_the_others_alone():
    tracec.manual_seed(7)
    loader = DataLoader(Drawn(8), num_workers=2, worker_init_fn=lambda k: tracec.manual_seed(100 + k))
    found = batches(loader)
    after = tracec.rand(4).tolist()
    tracec.manual_seed(7)
    batches(DataLoader(Numbers(8), num_workers=2))
    assert tracec.rand(4).tolist() == after and tracec.initial_seed() == 7
    tracec.manual_seed(101)
    assert [[tracec.rand(3).tolist()] for _ in range(4)] == found[1::2]


def all_have_ended():
    """Workers of any loader, so that they have left their generators to others."""
    for thread in threading.enumerate():
        if thread.name.startswith("tracec-loader"):
            thread.join(10)


def test_compiled_functions_draw_from_the_stream_of_the_worker():
    expected = drawn()
    all_have_ended()
    compiled = tracec.compile(lambda: tracec.rand(3))
    tracec.manual_seed(7)
    mine = [tracec.rand(3).tolist() for _ in range(4)]
    for _ in range(3):
        assert drawn(draw=compiled) == expected
        all_have_ended()
        tracec.manual_seed(7)
        assert [compiled().tolist() for _ in range(4)] == mine
    # Threads that have ended leave their generators to those that follow: no more recordings than threads at once.
    assert len(compiled.explain().specialisations) <= 4


def test_the_state_of_a_worker_can_be_kept_and_set():
    def draw():
        state = tracec.get_rng_state()
        first = tracec.rand(3)
        with tracec.random.fork_rng():
            tracec.rand(9)
        tracec.set_rng_state(state)
        return first - tracec.rand(3)

    assert drawn(draw=draw) == [[[0.0] * 3] * 2] * 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_pass_that_was_begun_before_a_fork_says_that_its_workers_are_not_there():
    """A child waited for ever for batches of its parent's threads."""
    loader = DataLoader(Numbers(64), batch_size=4, num_workers=2)
    begun = iter(loader)
    next(begun)
    child = os.fork()
    if not child:
        signal.alarm(20)
        try:
            list(begun)
        except RuntimeError as error:
            if "begun before the process was forked" in str(error) and len(list(loader)) == 16:
                os._exit(0)
        os._exit(1)
    assert len(list(begun)) == 15
    assert os.waitpid(child, 0)[1] == 0
