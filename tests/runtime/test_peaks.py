"""Counts of a pool's memory, over a pool that is pretended."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from tracec.runtime.peaks import Peaks


class Hook:
    """CuPy's class of hooks."""

    entered: Any = None

    def __enter__(self) -> None:
        Hook.entered = self


class Pool:
    """A pool that calls the hook as CuPy's does, and gives memory back to the driver without."""

    def __init__(self) -> None:
        self.used = self.total = 0

    def used_bytes(self) -> int:
        return self.used

    def total_bytes(self) -> int:
        return self.total

    def take(self, nbytes: int, pointer: int = 1, device: int = 0) -> None:
        if self.used + nbytes > self.total:
            grown = self.used + nbytes - self.total
            self.total += grown if pointer else 0
            Hook.entered.alloc_postprocess(device_id=device, mem_size=grown, mem_ptr=pointer)
        self.used += nbytes if pointer else 0
        Hook.entered.malloc_postprocess(device_id=device, mem_size=nbytes, mem_ptr=pointer, size=nbytes, pmem_id=1)

    def give(self, nbytes: int) -> None:
        self.used -= nbytes
        Hook.entered.free_postprocess(device_id=0, mem_size=nbytes, mem_ptr=1, pmem_id=1)


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
def peaks(pool: Pool) -> Peaks:
    cuda = SimpleNamespace(MemoryHook=Hook, Device=lambda index: nullcontext())
    return Peaks(SimpleNamespace(cuda=cuda, get_default_memory_pool=lambda: pool))


def test_the_most_between_two_questions(pool: Pool, peaks: Peaks) -> None:
    pool.take(100)
    pool.take(50)
    pool.give(120)
    assert (peaks.used(0), peaks.reserved(0)) == (150, 150)
    pool.take(60)
    assert (peaks.used(0), peaks.reserved(0)) == (150, 150)
    peaks.reset(0)
    assert (peaks.used(0), peaks.reserved(0)) == (90, 150)
    pool.total = 90  # what nobody uses goes back to the driver
    peaks.reset(0)
    assert (peaks.used(0), peaks.reserved(0)) == (90, 90)


def test_what_found_no_room_does_not_count(pool: Pool, peaks: Peaks) -> None:
    pool.take(10)
    pool.take(1 << 40, pointer=0)
    assert (peaks.used(0), peaks.reserved(0)) == (10, 10)


def test_what_other_threads_took_is_found_when_asked(pool: Pool, peaks: Peaks) -> None:
    pool.used, pool.total = 70, 100
    assert (peaks.used(0), peaks.reserved(0)) == (70, 100)
