"""The order of samples."""

import numpy as np
import pytest

import tracec
from tracec.errors import ArgumentError
from tracec.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)


def twice(make):
    tracec.manual_seed(11)
    sampler = make()
    first, second = list(sampler), list(sampler)
    tracec.manual_seed(11)
    assert list(make()) == first
    assert len(sampler) == len(first)
    return first, second


def test_random_orders_follow_the_seed_and_differ_from_pass_to_pass():
    first, second = twice(lambda: RandomSampler(range(50)))
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second


def test_random_sampler_with_replacement_and_counts():
    first, _ = twice(lambda: RandomSampler(range(5), replacement=True, num_samples=40))
    assert set(first) <= set(range(5)) and len(first) == 40
    more, _ = twice(lambda: RandomSampler(range(5), num_samples=12))
    assert sorted(more[:5]) == sorted(more[5:10]) == list(range(5)) and len(more) == 12


def test_own_generator():
    a, b = tracec.Generator(), tracec.Generator()
    a.manual_seed(1)
    b.manual_seed(1)
    first = list(RandomSampler(range(20), generator=a))
    tracec.rand(3)  # another generator
    assert list(RandomSampler(range(20), generator=b)) == first


def test_subset_and_weighted():
    first, _ = twice(lambda: SubsetRandomSampler([3, 5, 8, 13]))
    assert sorted(first) == [3, 5, 8, 13]
    drawn, _ = twice(lambda: WeightedRandomSampler([0.0, 1.0, 3.0], 4000))
    assert 0 not in drawn
    assert np.mean(np.array(drawn) == 2) == pytest.approx(0.75, abs=0.03)
    assert sorted(WeightedRandomSampler([1.0, 2.0, 3.0], 3, replacement=False)) == [0, 1, 2]


def test_batches():
    assert list(BatchSampler(SequentialSampler(range(5)), 2, False)) == [[0, 1], [2, 3], [4]]
    assert list(BatchSampler(SequentialSampler(range(5)), 2, True)) == [[0, 1], [2, 3]]
    assert len(BatchSampler(SequentialSampler(range(5)), 2, False)) == 3


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: BatchSampler(range(3), 0, False), "BatchSampler: batch_size is 0"),
        (lambda: RandomSampler(range(3), num_samples=-1), "RandomSampler: num_samples is -1"),
        (lambda: WeightedRandomSampler([-1.0, 2.0], 1), "WeightedRandomSampler: weights are not finite"),
        (lambda: WeightedRandomSampler([0.0, 2.0], 2, False), "2 samples without replacement from 1 of positive"),
    ],
)
def test_errors(make, text):
    with pytest.raises(ArgumentError, match=text):
        make()


@pytest.mark.parametrize("size", [1, 7, 8, 9])
@pytest.mark.parametrize("drop_last", [False, True])
def test_processes_share_a_data_set(size, drop_last):
    samplers = [DistributedSampler(range(size), 4, rank, drop_last=drop_last) for rank in range(4)]
    parts = [list(s) for s in samplers]
    assert {len(p) for p in parts} == {len(samplers[0])} == {size // 4 if drop_last else -(-size // 4)}
    together = [k for p in parts for k in p]
    if drop_last:
        assert len(set(together)) == len(together)
    else:
        assert set(together) == set(range(size))


def test_orders_of_epochs():
    one, other = (DistributedSampler(range(40), 2, rank, seed=3) for rank in range(2))
    first = list(one)
    assert first == list(one)
    one.set_epoch(1)
    other.set_epoch(1)
    assert list(one) != first and not set(one) & set(other)
    assert list(DistributedSampler(range(5), 2, 1, shuffle=False)) == [1, 3, 0]
    batches = DataLoader(np.arange(40.0), batch_size=5, sampler=one)
    assert sum(len(b) for b in batches) == 20


@pytest.mark.parametrize("arguments", [(), (2,), (2, 2), (2, -1)])
def test_processes_that_there_are_not(arguments):
    with pytest.raises(ArgumentError, match="rank"):
        DistributedSampler(range(4), *arguments)
