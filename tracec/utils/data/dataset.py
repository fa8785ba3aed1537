"""Data sets: something with a length and numbered samples, or something to iterate over."""

from __future__ import annotations

import bisect
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from tracec.errors import ArgumentError, ArgumentTypeError, AxisError, RuleMissingError
from tracec.record.tensor import Tensor
from tracec.utils.data.randomness import numbers_from

T = TypeVar("T", covariant=True)


class Dataset(Generic[T]):
    """Numbered samples. A subclass gives ``__getitem__``, and ``__len__`` for the samplers.

    A subclass may give ``__getitems__`` too, which takes a list of numbers and gives a list of samples at once.
    """

    def __getitem__(self, index: Any) -> T:
        raise RuleMissingError(f"{type(self).__name__} needs __getitem__", hint="define __getitem__(self, index)")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T]):
    """Samples one after the other. A subclass gives ``__iter__``, and ``__len__`` where it is known.

    With several workers each iterates over the whole, unless ``__iter__`` asks `get_worker_info` for its share.
    """

    def __iter__(self) -> Iterator[T]:
        raise RuleMissingError(f"{type(self).__name__} needs __iter__", hint="define __iter__(self)")

    def __add__(self, other: Dataset[Any]) -> ChainDataset:  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Tensors whose elements along the first axis belong together.

    Args:
        *tensors: Tensors of one length.

    Raises:
        ArgumentError: there is none, or the lengths differ.
    """

    def __init__(self, *tensors: Tensor) -> None:
        if not tensors:
            raise ArgumentError("TensorDataset: no tensor is given", hint="give at least one")
        sizes = [len(t) for t in tensors]
        if any(size != sizes[0] for size in sizes):
            raise ArgumentError(
                f"TensorDataset: size mismatch between tensors, their lengths are {sizes}",
                hint="all tensors have the same number of samples along their first axis",
            )
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])


class Subset(Dataset[T]):
    """Some samples of a data set.

    Args:
        dataset: The data set.
        indices: Numbers of the samples in it.
    """

    def __init__(self, dataset: Dataset[T], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> T:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> list[T]:
        return _items(self.dataset, [self.indices[i] for i in indices])

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset[Any]):
    """Several data sets, one after the other.

    Args:
        datasets: Data sets with lengths.

    Raises:
        ArgumentError: there is none, or one is iterable only.
    """

    def __init__(self, datasets: Iterable[Dataset[Any]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ArgumentError("ConcatDataset: datasets should not be empty", hint="give at least one")
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise ArgumentError(
                "ConcatDataset: an IterableDataset has no numbered samples", hint="chain iterables with ChainDataset"
            )
        self.cumulative_sizes = list(itertools.accumulate(len(d) for d in self.datasets))  # type: ignore[arg-type]

    def __getitem__(self, index: Any) -> Any:
        size = len(self)
        if not -size <= index < size:
            raise AxisError(f"ConcatDataset: index {index} is out of range for {size} samples")
        index += size if index < 0 else 0
        which = bisect.bisect_right(self.cumulative_sizes, index)
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


class ChainDataset(IterableDataset[Any]):
    """Several iterable data sets, one after the other.

    Args:
        datasets: Iterable data sets; they are looked at when they are iterated over.

    Raises:
        ArgumentTypeError: one is not iterable, found when its turn comes.
    """

    def __init__(self, datasets: Iterable[Dataset[Any]]) -> None:
        self.datasets = datasets

    def _each(self) -> Iterator[IterableDataset[Any]]:
        for k, dataset in enumerate(self.datasets):
            if not isinstance(dataset, IterableDataset):
                raise ArgumentTypeError(
                    f"ChainDataset: only supports IterableDataset, {type(dataset).__name__} given at position {k}",
                    hint="put data sets with numbered samples together with ConcatDataset",
                )
            yield dataset

    def __iter__(self) -> Iterator[Any]:
        for dataset in self._each():
            yield from dataset

    def __len__(self) -> int:
        sizes: list[int] = [len(dataset) for dataset in self._each()]  # type: ignore[arg-type]
        return sum(sizes)


class StackDataset(Dataset[Any]):
    """Several data sets side by side: a sample has one sample of each.

    Args:
        *args: Data sets of one length, whose samples come as a tuple.
        **kwargs: The same, whose samples come as a dictionary.

    Raises:
        ArgumentError: there is none, or some have names and others have none, or the lengths differ.
    """

    datasets: tuple[Dataset[Any], ...] | dict[str, Dataset[Any]]

    def __init__(self, *args: Dataset[Any], **kwargs: Dataset[Any]) -> None:
        if bool(args) == bool(kwargs):
            raise ArgumentError(
                "StackDataset: at least one dataset should be passed, all with names or all without",
                hint="StackDataset(images, texts), or StackDataset(image=images, text=texts)",
            )
        self.datasets = args or kwargs
        sizes = [len(d) for d in (*args, *kwargs.values())]  # type: ignore[arg-type]
        if any(size != sizes[0] for size in sizes):
            raise ArgumentError(
                f"StackDataset: size mismatch between datasets, their lengths are {sizes}",
                hint="give data sets of one length",
            )
        self._length = sizes[0]

    def _put_together(self, items: Iterable[Any]) -> Any:
        return dict(zip(self.datasets, items, strict=True)) if isinstance(self.datasets, dict) else tuple(items)

    def _columns(self) -> Iterable[Dataset[Any]]:
        return self.datasets.values() if isinstance(self.datasets, dict) else self.datasets

    def __getitem__(self, index: Any) -> Any:
        return self._put_together(dataset[index] for dataset in self._columns())

    def __getitems__(self, indices: list[int]) -> list[Any]:
        columns = [_items(dataset, indices) for dataset in self._columns()]
        for items in columns:
            if len(items) != len(indices):
                raise ArgumentError(
                    f"StackDataset: nested dataset's output size mismatch: expected {len(indices)}, got {len(items)}",
                    hint="__getitems__ gives a sample for each number",
                )
        return [self._put_together(row) for row in zip(*columns, strict=True)]

    def __len__(self) -> int:
        return self._length


def _items(dataset: Any, indices: list[int]) -> list[Any]:
    """Samples of a data set, at once where it gives several."""
    many = getattr(dataset, "__getitems__", None)
    return list(many(indices)) if callable(many) else [dataset[i] for i in indices]


def random_split(dataset: Dataset[Any], lengths: Sequence[int | float], generator: Any = None) -> list[Subset[Any]]:
    """Split a data set at random into parts that do not overlap.

    Args:
        dataset: A data set with a length.
        lengths: Sizes of the parts, or fractions that add up to 1. What rounding down leaves over goes to the
            first parts, one sample each in turn.
        generator: Where the seed is drawn from; the default generator if None.

    Raises:
        ArgumentError: the sizes do not add up to the length, or a fraction is not from 0 to 1.
    """
    size = len(dataset)  # type: ignore[arg-type]
    total = sum(lengths)
    if math.isclose(total, 1) and total <= 1:
        lengths = _sizes(lengths, size)
    if sum(lengths) != size:
        raise ArgumentError(
            f"random_split: the lengths {list(lengths)} add up to {sum(lengths)}, the dataset has {size} samples",
            hint="give sizes that add up to its length, or fractions that add up to 1",
        )
    order = numbers_from(generator).permutation(size).tolist()
    ends = itertools.accumulate(int(n) for n in lengths)
    return [Subset(dataset, order[end - int(n) : end]) for end, n in zip(ends, lengths, strict=True)]


def _sizes(fractions: Sequence[float], size: int) -> list[int]:
    for k, fraction in enumerate(fractions):
        if not 0 <= fraction <= 1:
            raise ArgumentError(
                f"random_split: fraction {fraction} at index {k} is not between 0 and 1", hint="fractions add up to 1"
            )
    sizes = [math.floor(size * fraction) for fraction in fractions]
    for k in range(size - sum(sizes)):
        sizes[k % len(sizes)] += 1
    for k, n in enumerate(sizes):
        if n == 0:
            warnings.warn(f"random_split: the part at index {k} has no samples", stacklevel=3)
    return sizes
