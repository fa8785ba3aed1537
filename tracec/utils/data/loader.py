"""The DataLoader: batches of a data set, made on the spot or ahead by threads."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from tracec.errors import ArgumentError
from tracec.functions import from_numpy
from tracec.utils.data.collate import default_collate, default_convert
from tracec.utils.data.dataset import Dataset, IterableDataset, Subset, TensorDataset
from tracec.utils.data.randomness import draw_seed
from tracec.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler
from tracec.utils.data.worker import END, Worker, WorkerInfo, in_order

Fetch = Callable[[Any], Any]


class DataLoader:
    """Batches of a data set, a pass for each ``iter``.

    Args:
        dataset: A `Dataset`, or anything with ``__getitem__`` and ``__len__``.
        batch_size: Samples in a batch; None for samples as they are, not put together.
        shuffle: Whether each pass has a random order of its own.
        sampler: Gives the numbers of the samples, instead of ``shuffle``.
        batch_sampler: Gives lists of numbers, instead of ``batch_size``, ``shuffle``, ``sampler`` and ``drop_last``.
        num_workers: How many threads make batches ahead; 0 for none. Batches come in the same order in any case.
        collate_fn: Makes a batch out of a list of samples; `default_collate` if None.
        pin_memory: Taken as in PyTorch, with no effect.
        drop_last: Whether a smaller batch at the end is left out.
        timeout: Seconds to wait for a worker's batch; 0 for no limit.
        worker_init_fn: Called in each worker with its number before its first batch of a pass. The worker's default
            generator then starts from a seed of its own, which `get_worker_info` names.
        multiprocessing_context: Taken as in PyTorch, with no effect.
        generator: Where the seed of each pass is drawn from; the default generator, which ``manual_seed`` sets,
            if None.
        prefetch_factor: How many batches each worker is ahead; 2 if None.
        persistent_workers: Taken as in PyTorch, with no effect: threads start in no time.
        pin_memory_device: Taken as in PyTorch, with no effect.
        in_order: Taken as in PyTorch, with no effect: batches come in order in any case.

    Raises:
        ArgumentError: options exclude each other, or are out of range.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], Any] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_workers(num_workers, timeout, prefetch_factor)
        iterable = isinstance(dataset, IterableDataset)
        _check_exclusive(iterable, batch_size, shuffle, sampler, batch_sampler, drop_last)
        if batch_sampler is not None:
            batch_size = None
        elif not iterable:
            if sampler is None:
                sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
            if batch_size is not None:
                batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.dataset = dataset
        self.batch_size = batch_size
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.num_workers = num_workers
        self.drop_last = drop_last
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.generator = generator
        self.prefetch_factor = 2 if prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.persistent_workers = persistent_workers
        self.multiprocessing_context = multiprocessing_context
        self.pin_memory_device = pin_memory_device
        self.in_order = in_order
        self._batched = batch_sampler is not None or (iterable and batch_size is not None)
        self.collate_fn = collate_fn or (default_collate if self._batched else default_convert)

    def __len__(self) -> int:
        """Batches in a pass."""
        if isinstance(self.dataset, IterableDataset):
            size = len(self.dataset)  # type: ignore[arg-type]
            if self.batch_size is None:
                return size
            return size // self.batch_size if self.drop_last else -(-size // self.batch_size)
        return len(self.batch_sampler if self.batch_sampler is not None else self.sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        iterable = isinstance(self.dataset, IterableDataset)
        make = self._streaming if iterable else self._numbered
        source: Iterable[Any] = itertools.repeat(None)
        if not iterable:
            numbers = self.batch_sampler if self.batch_sampler is not None else self.sampler
            assert numbers is not None
            source = numbers
        if self.num_workers:
            return self._ahead(make, source)
        return self._now(make, source)

    def _now(self, make: Callable[[], Fetch], source: Iterable[Any]) -> Iterator[Any]:
        fetch = make()
        for request in source:
            batch = fetch(request)
            if batch is END:
                return
            yield batch

    def _ahead(self, make: Callable[[], Fetch], source: Iterable[Any]) -> Iterator[Any]:
        n = self.num_workers
        # The order first: it is then the same as without workers.
        source = iter(source)
        first = list(itertools.islice(source, 1))
        seed = draw_seed(self.generator)
        workers = [Worker(WorkerInfo(k, n, seed + k, self.dataset), self.worker_init_fn, make) for k in range(n)]
        return in_order(workers, itertools.chain(first, source), n * self.prefetch_factor, self.timeout)

    def _numbered(self) -> Fetch:
        """How to make a batch of numbered samples."""
        dataset = self.dataset
        collate: Callable[[Any], Any] = self.collate_fn
        if not self._batched:
            return lambda index: collate(dataset[index])
        if collate is default_collate and _row_tensors(dataset):
            return lambda indices: _rows(dataset, indices)
        many = getattr(dataset, "__getitems__", None)
        if callable(many):
            return lambda indices: collate(many(indices))
        return lambda indices: collate([dataset[i] for i in indices])

    def _streaming(self) -> Fetch:
        """How to make a batch of the samples that come next."""
        samples, size = iter(self.dataset), self.batch_size
        collate: Callable[[Any], Any] = self.collate_fn

        def fetch(_: Any) -> Any:
            if size is None:
                sample = next(samples, END)
                return END if sample is END else collate(sample)
            batch = list(itertools.islice(samples, size))
            return END if not batch or (self.drop_last and len(batch) < size) else collate(batch)

        return fetch


def _row_tensors(dataset: Any) -> bool:
    """Whether samples are rows of tensors, which can be taken all at once."""
    while type(dataset) is Subset:
        dataset = dataset.dataset
    return type(dataset) is TensorDataset


def _rows(dataset: Dataset[Any], indices: list[int]) -> list[Any]:
    while isinstance(dataset, Subset):
        indices = [dataset.indices[i] for i in indices]
        dataset = dataset.dataset
    assert isinstance(dataset, TensorDataset)
    chosen = from_numpy(np.asarray(indices, np.int64))
    return [t[chosen] for t in dataset.tensors]


def _check_workers(num_workers: int, timeout: float, prefetch_factor: int | None) -> None:
    if num_workers < 0:
        raise ArgumentError(f"DataLoader: num_workers is {num_workers}", hint="0 for none")
    if timeout < 0:
        raise ArgumentError(f"DataLoader: timeout is {timeout}", hint="0 for no limit")
    if prefetch_factor is not None and prefetch_factor < 1:
        raise ArgumentError(f"DataLoader: prefetch_factor is {prefetch_factor}", hint="it is 1 or more")
    if prefetch_factor is not None and not num_workers:
        raise ArgumentError("DataLoader: prefetch_factor is for workers", hint="set num_workers > 0")


def _check_exclusive(
    iterable: bool, batch_size: int | None, shuffle: bool | None, sampler: Any, batch_sampler: Any, drop_last: bool
) -> None:
    if iterable and (shuffle or sampler is not None or batch_sampler is not None):
        raise ArgumentError(
            "DataLoader: an IterableDataset has an order of its own, which shuffle and samplers cannot change",
            hint="shuffle in the dataset's __iter__",
        )
    if sampler is not None and shuffle:
        raise ArgumentError("DataLoader: sampler option is mutually exclusive with shuffle", hint="give one of them")
    if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
        raise ArgumentError(
            "DataLoader: batch_sampler option is mutually exclusive with batch_size, shuffle, sampler and drop_last",
            hint="leave those out",
        )
    if batch_size is None and drop_last:
        raise ArgumentError("DataLoader: batch_size=None is mutually exclusive with drop_last", hint="leave it out")
    if batch_size is not None and batch_size <= 0:
        raise ArgumentError(f"DataLoader: batch_size is {batch_size}", hint="it is a positive integer, or None")
