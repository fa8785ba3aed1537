"""The disk cache of compiled code: what is in it, and how much room it may take.

It lies in ``TRACEC_CACHE_DIR``, else in the user's cache folder, and is shared by all processes of the user. Where
entries would take more than ``TRACEC_CACHE_SIZE`` (such as ``500M`` or ``2G``; 4 GiB otherwise), those that were not
used for longest are deleted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.runtime import cache as _disk

_KINDS = {
    "so": "programs for the CPU and the emulator", "cubin": "programs for GPUs", "plan": "plans",
    "template": "templates", "json": "measurements and notes",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """What the disk cache holds.

    Attributes:
        folder: Where it lies.
        entries: Number of files.
        nbytes: Room that they take.
        limit: Room that they may take.
        kinds: What they are → (number, bytes).
    """

    folder: Path
    entries: int
    nbytes: int
    limit: int
    kinds: dict[str, tuple[int, int]]

    def __str__(self) -> str:
        lines = [f"{self.folder}: {self.entries} entries, {_size(self.nbytes)} of {_size(self.limit)}"]
        lines += [f"  {kind}: {count}, {_size(nbytes)}" for kind, (count, nbytes) in self.kinds.items()]
        return "\n".join(lines)


def info() -> CacheInfo:
    """What the disk cache holds at present."""
    cache = _disk.default_cache()
    entries = cache.entries()
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for entry in entries:
        kind = _KINDS.get(entry.path.suffix.removeprefix("."), "other files")
        counts[kind] += 1
        sizes[kind] += entry.nbytes
    kinds = {kind: (counts[kind], sizes[kind]) for kind in sorted(counts)}
    return CacheInfo(cache.folder, len(entries), sum(sizes.values()), _disk.room_for_entries(), kinds)


def clear() -> None:
    """Delete all of it. Programs that are loaded go on; others are compiled anew when they are asked for."""
    _disk.default_cache().clear()


def set_limit(nbytes: int | None) -> None:
    """Let entries of this process's cache take so many bytes, and delete what is more at once.

    Args:
        nbytes: Most bytes; None goes by ``TRACEC_CACHE_SIZE`` again.

    Raises:
        ArgumentTypeError: it is no integer.
        ArgumentError: it is negative.
    """
    if nbytes is not None and (isinstance(nbytes, bool) or not isinstance(nbytes, int)):
        raise ArgumentTypeError(
            f"set_limit: takes a number of bytes, {type(nbytes).__name__} given", hint="e.g. 2 << 30"
        )
    if nbytes is not None and nbytes < 0:
        raise ArgumentError(f"set_limit: {nbytes} bytes given", hint="give 0 or more")
    _disk.Limit.nbytes = nbytes
    _disk.default_cache().trim()


def _size(nbytes: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if nbytes < 1024 or unit == "GiB":
            break
        nbytes /= 1024
    return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.1f} {unit}"


__all__ = ["CacheInfo", "clear", "info", "set_limit"]
