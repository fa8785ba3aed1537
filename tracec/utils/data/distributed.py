"""The share of a data set that one of several processes reads."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import numpy as np

from tracec.errors import ArgumentError
from tracec.utils.data.sampler import Sampler


class DistributedSampler(Sampler[int]):
    """Every ``num_replicas``-th sample from the ``rank``-th on, of an order that all processes share.

    All processes get the same number: samples are repeated from the beginning, or the last ones left out.

    Args:
        dataset: A data set with a length.
        num_replicas: Number of processes.
        rank: Number of this process, from 0.
        shuffle: Whether the order is random, another one for each epoch that `set_epoch` names.
        seed: Where the random order comes from, the same in all processes.
        drop_last: Whether to leave samples out rather than repeat some.

    Raises:
        ArgumentError: there is no process of that number. There are no process groups that would tell it, so both
            must be given.
    """

    def __init__(
        self, dataset: Sized, num_replicas: int | None = None, rank: int | None = None, shuffle: bool = True,
        seed: int = 0, drop_last: bool = False,
    ) -> None:  # fmt: skip
        if num_replicas is None or rank is None:
            raise ArgumentError(
                "DistributedSampler: requires num_replicas and rank, since there are no process groups",
                hint="give the number of processes and that of this one",
            )
        if not 0 <= rank < num_replicas:
            raise ArgumentError(
                f"DistributedSampler: invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]"
            )
        self.dataset, self.num_replicas, self.rank = dataset, num_replicas, rank
        self.shuffle, self.seed, self.drop_last, self.epoch = shuffle, seed, drop_last, 0

    @property
    def num_samples(self) -> int:
        """How many samples each process gets."""
        size = len(self.dataset)
        return size // self.num_replicas if self.drop_last else -(-size // self.num_replicas)

    @property
    def total_size(self) -> int:
        """How many samples all processes get together."""
        return self.num_samples * self.num_replicas

    def set_epoch(self, epoch: int) -> None:
        """Choose the random order of an epoch; every process must choose the same."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = np.arange(len(self.dataset))
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(order)
        return iter(np.resize(order, self.total_size)[self.rank :: self.num_replicas].tolist())

    def __len__(self) -> int:
        return self.num_samples
