"""Data sets and ways to split and join them."""

import numpy as np
import pytest

import tracec
from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.utils.data import (
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)


class Squares(Dataset):
    def __init__(self, n):
        self.n = n

    def __getitem__(self, i):
        if not 0 <= i < self.n:
            raise IndexError(i)
        return i * i

    def __len__(self):
        return self.n


def test_tensor_dataset():
    data = TensorDataset(tracec.arange(6).reshape(3, 2), tracec.tensor([7, 8, 9]))
    assert len(data) == 3
    x, y = data[1]
    assert x.tolist() == [2, 3] and y.item() == 8
    with pytest.raises(
        ArgumentError, match=r"TensorDataset: size mismatch between tensors, their lengths are \[3, 2\]"
    ):
        TensorDataset(tracec.zeros(3), tracec.zeros(2))


def test_subset_and_concat():
    data = Squares(3) + Subset(Squares(10), [9, 5])
    assert isinstance(data, ConcatDataset)
    assert [data[i] for i in range(len(data))] == [0, 1, 4, 81, 25]
    assert data[-1] == 25
    with pytest.raises(IndexError, match="index 5 is out of range for 5 samples"):
        data[5]
    assert Subset(Squares(10), [9, 5]).__getitems__([1, 0]) == [25, 81]
    with pytest.raises(ArgumentError, match="IterableDataset has no numbered samples"):
        ConcatDataset([IterableDataset()])


def test_random_split_covers_all_and_follows_the_seed():
    tracec.manual_seed(3)
    parts = random_split(Squares(10), [0.5, 0.25, 0.25])
    assert [len(p) for p in parts] == [6, 2, 2]
    assert sorted(i for p in parts for i in p.indices) == list(range(10))
    tracec.manual_seed(3)
    assert [p.indices for p in random_split(Squares(10), [6, 2, 2])] == [p.indices for p in parts]


def test_random_split_errors():
    with pytest.raises(ArgumentError, match=r"the lengths \[3, 3\] add up to 6, the dataset has 10 samples"):
        random_split(Squares(10), [3, 3])
    with pytest.raises(ArgumentError, match=r"fraction 1.5 at index 0 is not between 0 and 1"):
        random_split(Squares(10), [1.5, -0.5])
    with pytest.warns(UserWarning, match="the part at index 1 has no samples"):
        random_split(Squares(1), [0.5, 0.5])


def test_numpy_indices():
    assert Subset(Squares(4), np.array([3, 1]))[0] == 9


class Count(IterableDataset):
    def __init__(self, *numbers):
        self.numbers = numbers

    def __iter__(self):
        return iter(self.numbers)

    def __len__(self):
        return len(self.numbers)


def test_iterables_are_chained():
    data = Count(3, 1) + Count(2)
    assert isinstance(data, ChainDataset) and list(data) == [3, 1, 2] and len(data) == 3
    assert [b.tolist() for b in DataLoader(data, batch_size=2)] == [[3, 1], [2]]
    mixed = ChainDataset([Count(1), Squares(2)])
    with pytest.raises(ArgumentTypeError, match="ChainDataset: only supports IterableDataset, Squares given at posi"):
        list(mixed)


class Many(Squares):
    """Gives several samples at once, and tells how many."""

    def __getitems__(self, indices):
        return [self[i] for i in indices if i < 3]


def test_data_sets_side_by_side():
    pairs = StackDataset(Squares(4), TensorDataset(tracec.arange(4)))
    assert len(pairs) == 4 and pairs[2] == (4, (tracec.tensor(2),))
    named = StackDataset(a=Many(4), b=Squares(4))
    assert named[3] == {"a": 9, "b": 9} and named.__getitems__([2, 1]) == [{"a": 4, "b": 4}, {"a": 1, "b": 1}]
    (batch,) = DataLoader(StackDataset(a=Squares(4), b=Squares(4)), batch_size=4)
    assert batch["a"].tolist() == batch["b"].tolist() == [0, 1, 4, 9]
    with pytest.raises(ArgumentError, match="StackDataset: nested dataset's output size mismatch: expected 2, got 1"):
        named.__getitems__([3, 0])
    with pytest.raises(
        ArgumentError, match=r"StackDataset: size mismatch between datasets, their lengths are \[2, 3\]"
    ):
        StackDataset(Squares(2), Squares(3))
    for given, names in (((), {}), ((Squares(2),), {"a": Squares(2)})):
        with pytest.raises(ArgumentError, match="StackDataset: at least one dataset should be passed"):
            StackDataset(*given, **names)
