"""Memory of outputs: aligned, reused when the last view is gone, bounded."""

from __future__ import annotations

import errno
import gc
import mmap
import threading

import numpy as np
import pytest

from tracec.errors import OutOfMemoryError
from tracec.runtime.pool import MIN_POOLED, Pool, _size_class

FLOAT = np.dtype(np.float32)


def take(pool: Pool, n: int) -> np.ndarray:
    return pool.empty((n,), FLOAT, 4 * n)


def test_memory_comes_back_when_the_array_dies() -> None:
    pool = Pool(1 << 30)
    x = take(pool, 100_000)
    address = x.ctypes.data
    assert address % 64 == 0 and x.flags.c_contiguous and x.flags.writeable
    del x
    assert pool.unused_bytes == _size_class(400_000)
    assert take(pool, 100_000).ctypes.data == address


def test_a_view_keeps_the_memory() -> None:
    pool = Pool(1 << 30)
    x = take(pool, 100_000)
    x[:] = 1
    view = x[10:20].reshape(2, 5)
    del x
    gc.collect()
    assert pool.unused_bytes == 0
    assert take(pool, 100_000).ctypes.data != view.ctypes.data - 40
    assert (view == 1).all()
    del view
    assert pool.unused_bytes == 2 * _size_class(400_000)


def test_small_arrays_do_not_use_it() -> None:
    pool = Pool(1 << 30)
    x = take(pool, MIN_POOLED // 4 - 1)
    assert x.base is None
    assert take(pool, 0).size == 0


def test_what_is_over_the_capacity_goes_back_to_the_system() -> None:
    pool = Pool(500_000)
    arrays = [take(pool, 100_000) for _ in range(3)]
    del arrays
    assert pool.unused_bytes == _size_class(400_000)
    assert len(pool._memory) == 1
    pool.clear()
    assert pool.unused_bytes == 0 and not pool._memory


@pytest.mark.parametrize("nbytes", [MIN_POOLED, 100_000, 12_345_678, 1 << 30, (1 << 30) + 1])
def test_little_is_wasted(nbytes: int) -> None:
    assert nbytes <= _size_class(nbytes) <= nbytes * 1.125 + 4096


def test_threads_may_share_it() -> None:
    pool = Pool(1 << 30)
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(200):
            x = take(pool, 10_000)
            x[:] = number
            if not (x == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_unused_blocks_are_given_back_where_there_is_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, made = Pool(1 << 30), Pool._block
    kept = pool.empty((1 << 20,), np.dtype(np.uint8), 1 << 20)
    pool.empty((1 << 21,), np.dtype(np.uint8), 1 << 21)
    assert pool.unused_bytes >= 1 << 21
    full = [True]

    def block(size: int) -> mmap.mmap:
        if full[0] and pool.unused_bytes:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return made(size)

    monkeypatch.setattr(pool, "_block", block)
    kept[:] = 7
    assert pool.empty((1 << 22,), np.dtype(np.uint8), 1 << 22).size == 1 << 22
    assert (kept == 7).all()


def test_a_lack_of_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(1 << 30)

    def block(size: int) -> mmap.mmap:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(pool, "_block", block)
    with pytest.raises(OutOfMemoryError, match="compile: no memory for 1048576 bytes of results or intermediate"):
        pool.empty((1 << 20,), np.dtype(np.uint8), 1 << 20)
