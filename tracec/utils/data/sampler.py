"""Samplers: the order in which samples are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

import numpy as np

from tracec.errors import ArgumentError, ArgumentTypeError, RuleMissingError
from tracec.utils.data.randomness import numbers_from

T = TypeVar("T", covariant=True)


class Sampler(Generic[T]):
    """Gives numbers of samples, or lists of them. A subclass has ``__iter__``, and ``__len__`` where it is known."""

    def __iter__(self) -> Iterator[T]:
        raise RuleMissingError(f"{type(self).__name__} needs __iter__", hint="define __iter__(self)")


class SequentialSampler(Sampler[int]):
    """From the first sample to the last.

    Args:
        data_source: A data set with a length.
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """Samples in random order; each pass draws one seed.

    Args:
        data_source: A data set with a length.
        replacement: Whether a sample may come again before all others have come.
        num_samples: How many to give; as many as there are if None. Without replacement, more than there are
            take several orders.
        generator: Where the seed is drawn from; the default generator if None.

    Raises:
        ArgumentError: num_samples is not positive, or there are no samples.
        ArgumentTypeError: the data set has no length.
    """

    def __init__(
        self, data_source: Sized, replacement: bool = False, num_samples: int | None = None, generator: Any = None
    ) -> None:
        if not hasattr(data_source, "__len__"):
            raise ArgumentTypeError(
                f"RandomSampler: a data set of class {type(data_source).__name__} has no length",
                hint="define __len__, or read it in its own order as an IterableDataset",
            )
        count = len(data_source) if num_samples is None else num_samples
        _check_count("RandomSampler", "num_samples", count)
        self.data_source = data_source
        self.replacement = replacement
        self.generator = generator
        self._num_samples = num_samples

    @property
    def num_samples(self) -> int:
        """How many numbers a pass gives."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        size, wanted = len(self.data_source), self.num_samples
        numbers = numbers_from(self.generator)
        if not size:
            return
        if self.replacement:
            yield from numbers.integers(0, size, wanted).tolist()
            return
        for start in range(0, wanted, size):
            yield from numbers.permutation(size)[: wanted - start].tolist()

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """Given numbers in random order; each pass draws one seed.

    Args:
        indices: Numbers of samples.
        generator: Where the seed is drawn from; the default generator if None.
    """

    def __init__(self, indices: Sequence[int], generator: Any = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for k in numbers_from(self.generator).permutation(len(self.indices)).tolist():
            yield self.indices[k]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Samples drawn with given chances; each pass draws one seed.

    Args:
        weights: A non-negative weight for each sample; they need not add up to 1.
        num_samples: How many to give.
        replacement: Whether a sample may come again.
        generator: Where the seed is drawn from; the default generator if None.

    Raises:
        ArgumentError: num_samples is not positive, or the weights are not finite, not in a row or not positive
            anywhere, or fewer are positive than are drawn without replacement.
    """

    def __init__(
        self, weights: Sequence[float], num_samples: int, replacement: bool = True, generator: Any = None
    ) -> None:
        _check_count("WeightedRandomSampler", "num_samples", num_samples)
        self.weights = np.asarray(weights, np.float64)
        if self.weights.ndim != 1:
            raise ArgumentError(
                f"WeightedRandomSampler: weights have shape {self.weights.shape}", hint="give one weight a sample"
            )
        if not np.isfinite(self.weights).all() or (self.weights < 0).any() or not (self.weights > 0).any():
            raise ArgumentError(
                "WeightedRandomSampler: weights are not finite and non-negative, or are all zero",
                hint="give each sample a weight of 0 or more",
            )
        if not replacement and (positive := int((self.weights > 0).sum())) < num_samples:
            raise ArgumentError(
                f"WeightedRandomSampler: {num_samples} samples without replacement from {positive} of positive weight",
                hint="draw fewer, or with replacement=True",
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        chances = self.weights / self.weights.sum()
        numbers = numbers_from(self.generator)
        return iter(numbers.choice(len(chances), self.num_samples, self.replacement, chances).tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of numbers from another sampler.

    Args:
        sampler: Gives the numbers.
        batch_size: How many in a list.
        drop_last: Whether a shorter list at the end is left out.

    Raises:
        ArgumentError: batch_size is not positive.
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        _check_count("BatchSampler", "batch_size", batch_size)
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        size = len(self.sampler)  # type: ignore[arg-type]
        return size // self.batch_size if self.drop_last else -(-size // self.batch_size)


def _check_count(name: str, what: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ArgumentError(f"{name}: {what} is {value!r}", hint=f"{what} is a positive integer")
