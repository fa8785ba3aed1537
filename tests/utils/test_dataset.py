"""Data sets and ways to split and join them."""

import numpy as np
import pytest

import tracec
from tracec.errors import ArgumentError
from tracec.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset, random_split


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
