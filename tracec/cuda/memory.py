"""Memory of CUDA devices: CuPy's pool, asked and limited under the names of ``torch.cuda.memory``.

Loops that run on the CPU, too, print what is allocated and empty the cache without asking for a device: where there is
none, nothing is allocated and nothing is kept.
"""

from __future__ import annotations

from tracec.cuda.places import Place, cupy_on, index_of
from tracec.errors import ArgumentError
from tracec.record import backend
from tracec.record.backend import forget_numbers, is_available
from tracec.record.deferred import settle_all
from tracec.runtime.arena import release_arenas
from tracec.runtime.peaks import Peaks

_MIB = 1 << 20
_peaks: list[Peaks] = []


def _started(place: Place) -> Peaks:
    if not _peaks:
        _peaks.append(Peaks(cupy_on(place)))
    return _peaks[0]


def _pool(place: Place, count: str) -> int:
    index = index_of(place)
    if not is_available():
        return 0
    settle_all()
    with backend.on(f"cuda:{index}"):
        return int(getattr(cupy_on(place).get_default_memory_pool(), count)())


def mem_get_info(device: Place = None) -> tuple[int, int]:
    """Free and total bytes of a device, as the driver tells them."""
    with backend.on(f"cuda:{index_of(device)}"):
        free, total = cupy_on(device).cuda.runtime.memGetInfo()
    return int(free), int(total)


def memory_allocated(device: Place = None) -> int:
    """Bytes that arrays have from CuPy's pool now, rounded up to the pool's blocks of 512."""
    return _pool(device, "used_bytes")


def memory_reserved(device: Place = None) -> int:
    """Bytes that CuPy's pool has from the driver, in use or kept for later."""
    return _pool(device, "total_bytes")


def max_memory_allocated(device: Place = None) -> int:
    """The most bytes in use at a time.

    CuPy's pool keeps no such number. It is counted by a hook on the pool from the first call of this function, of
    `max_memory_reserved` or of `reset_peak_memory_stats` on, which is also when a program starts to pay for the
    counting; before that nothing is known. Allocations of other threads than the one of that first call count when a
    number is asked for.
    """
    index = index_of(device)
    return _started(device).used(index) if is_available() else 0


def max_memory_reserved(device: Place = None) -> int:
    """The most bytes that CuPy's pool had from the driver at a time, counted as those of `max_memory_allocated`."""
    index = index_of(device)
    return _started(device).reserved(index) if is_available() else 0


def reset_peak_memory_stats(device: Place = None) -> None:
    """Start to count `max_memory_allocated` and `max_memory_reserved` from what is so now."""
    settle_all()
    _started(device).reset(index_of(device))


#: PyTorch's old names.
reset_max_memory_allocated = reset_max_memory_cached = reset_peak_memory_stats
memory_cached, max_memory_cached = memory_reserved, max_memory_reserved


def memory_stats(device: Place = None) -> dict[str, int]:
    """Bytes in use and bytes reserved, and the most of each (see `max_memory_allocated`), under PyTorch's names."""
    return {
        "allocated_bytes.all.current": memory_allocated(device),
        "allocated_bytes.all.peak": max_memory_allocated(device),
        "reserved_bytes.all.current": memory_reserved(device),
        "reserved_bytes.all.peak": max_memory_reserved(device),
    }


def memory_summary(device: Place = None, abbreviated: bool = False) -> str:
    """The same as a table, beside what the driver says of the device, in MiB.

    Args:
        device: The device.
        abbreviated: PyTorch's argument; the table is short.
    """
    stats, (free, total) = memory_stats(device), mem_get_info(device)
    rows = [
        ("memory of arrays", stats["allocated_bytes.all.current"], stats["allocated_bytes.all.peak"]),
        ("memory of the pool", stats["reserved_bytes.all.current"], stats["reserved_bytes.all.peak"]),
    ]
    lines = [f"device {index_of(device)}: {total / _MIB:,.1f} MiB, {free / _MIB:,.1f} free"]
    lines.append(f"{'':20}{'MiB now':>14}{'at most':>14}")
    return "\n".join(lines + [f"{name:20}{now / _MIB:14,.1f}{most / _MIB:14,.1f}" for name, now, most in rows])


def empty_cache() -> None:
    """Give memory that no array uses back to the driver, what tracec keeps for its own use included."""
    if not is_available():
        return
    release_arenas()
    forget_numbers()
    cupy_on().get_default_memory_pool().free_all_blocks()
    for peaks in _peaks:
        peaks.look(index_of(None))


def set_per_process_memory_fraction(fraction: float, device: Place = None) -> None:
    """Take no more than this part of a device's memory; what needs more raises OutOfMemoryError.

    Raises:
        ArgumentError: the fraction is none.
    """
    if not 0 < fraction <= 1:
        raise ArgumentError(f"set_per_process_memory_fraction: fraction={fraction}", hint="give a number from 0 to 1")
    with backend.on(f"cuda:{index_of(device)}"):
        cupy_on(device).get_default_memory_pool().set_limit(fraction=fraction)
