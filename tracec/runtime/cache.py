"""The disk cache of compiled code: content-addressed, safe between processes, never trusted blindly.

An entry is one file, ``<folder>/<key>.<suffix>``: the data, then its SHA-256 and a mark. Object files and
cubins bear the extra bytes at their end, so an entry can be loaded where it lies. Files are written under
another name and moved into place; a file that fails its check is deleted and counts as missing. What is read is marked
as used now; where entries take more room than they may, those that were not used for longest go.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tracec.errors import ArgumentError
from tracec.ir.forks import free_in_children, unforked
from tracec.ir.source import warn
from tracec.runtime.file_lock import exclusive
from tracec.runtime.folders import lasting_folder

#: Held where a folder cannot be written and another one is taken.
_giving_up = threading.Lock()
free_in_children(_giving_up)
_MARK = b"tracec-1"
_TAIL = 32 + len(_MARK)


#: Comments that a source begins with: what they say changes no code.
LEADING_COMMENTS = re.compile(r"\A(?://[^\n]*\n)*")


def key(*parts: str | bytes) -> str:
    """A name for what these parts (source, flags, versions, …) determine."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:40]


#: Room for entries, unless ``TRACEC_CACHE_SIZE`` says otherwise.
ROOM = 4 << 30
#: After entries went, this part of the room is taken.
_KEPT = 0.8
#: Files that other processes write, or wait at; older ones were left behind by processes that were killed.
_YOUNG = 3600.0
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Entry(NamedTuple):
    """An entry as it lies on the disk.

    Attributes:
        path: Its file.
        nbytes: Its size.
        used: When it was stored or read last, in seconds since 1970.
    """

    path: Path
    nbytes: int
    used: float


class DiskCache:
    """Entries in one folder.

    Args:
        folder: Where entries lie; made when the first is stored. If it cannot be written, a warning says so and
            a temporary folder takes its place until the process ends.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ready = False
        self._taken: int | None = None

    def path(self, name: str, suffix: str) -> Path:
        """Where an entry lies, whether it is there or not."""
        return self.folder / f"{name}.{suffix}"

    def fetch(self, name: str, suffix: str) -> Path | None:
        """The file of an entry whose contents are whole; None where there is none."""
        return self.path(name, suffix) if self.read(name, suffix) is not None else None

    def read(self, name: str, suffix: str) -> bytes | None:
        """An entry's data; None where it is missing or damaged."""
        path = self.path(name, suffix)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        data, tail = content[:-_TAIL], content[-_TAIL:]
        if tail == hashlib.sha256(data).digest() + _MARK:
            try:
                os.utime(path)
            except OSError:  # another user's folder
                pass
            return data
        try:
            path.unlink()
        except OSError:
            pass
        return None

    def made(self, name: str, suffix: str, make: Callable[[], bytes]) -> Path:
        """The file of an entry, which is made where it is missing.

        Of several threads or processes that ask for it at once, one makes it and the others wait.
        """
        found = self.fetch(name, suffix)
        if found is not None:
            return found
        try:
            self.folder.mkdir(parents=True, exist_ok=True)  # where the lock lies
        except OSError:  # `store` says so
            pass
        with exclusive(self.folder / f".{name}.{suffix}.lock"):
            found = self.fetch(name, suffix)
            return found if found is not None else self.store(name, suffix, make())

    def store(self, name: str, suffix: str, data: bytes) -> Path:
        """Put an entry in place, at once for every process that looks."""
        folder = self.folder
        try:
            try:
                path = self._store(name, suffix, data)
            except FileNotFoundError:  # somebody has deleted the folder
                self._ready = False
                path = self._store(name, suffix, data)
        except OSError as error:
            self.give_up(folder, error)
            path = self._store(name, suffix, data)
        self._note(path, len(data) + _TAIL)
        return path

    def _store(self, name: str, suffix: str, data: bytes) -> Path:
        if not self._ready:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._ready = True
        path = self.path(name, suffix)
        handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data + hashlib.sha256(data).digest() + _MARK)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            try:
                os.unlink(temporary)
            except OSError:
                pass
            raise
        return path

    # Room -------------------------------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """All entries, those that were not used for longest first."""
        return sorted(self._files(hidden=False), key=lambda e: e.used)

    def clear(self) -> None:
        """Delete all entries; programs that are loaded stay so."""
        for entry in (*self.entries(), *self._left_behind()):
            _delete(entry.path)
        self._taken = 0

    def _files(self, hidden: bool) -> list[Entry]:
        return [Entry(Path(path), stat.st_size, stat.st_mtime) for path, stat in self._stats(hidden)]

    def _stats(self, hidden: bool) -> Iterator[tuple[str, os.stat_result]]:
        try:
            with os.scandir(self.folder) as files:
                for file in files:
                    if file.name.startswith(".") == hidden and file.is_file(follow_symlinks=False):
                        yield file.path, file.stat(follow_symlinks=False)
        except OSError:  # no folder yet, or an entry that another process deletes meanwhile
            pass

    def _left_behind(self) -> list[Entry]:
        return [e for e in self._files(hidden=True) if time.time() - e.used > _YOUNG]

    def _note(self, newest: Path, nbytes: int) -> None:
        """Take a new entry into account."""
        if self._taken is not None and self._taken + nbytes <= room_for_entries():
            self._taken += nbytes  # what other processes store is seen at the next count
        else:
            self.trim(newest)

    def trim(self, newest: Path | None = None) -> None:
        """Delete what was not used for longest, where entries take more room than they may.

        Args:
            newest: An entry that stays in any case.
        """
        room = room_for_entries()
        taken = sum(stat.st_size for _, stat in self._stats(hidden=False))
        if taken > room:
            for entry in (*self._left_behind(), *self.entries()):
                if taken <= _KEPT * room:
                    break
                if entry.path != newest and _delete(entry.path):
                    taken -= entry.nbytes
        self._taken = taken

    def give_up(self, folder: Path, error: OSError) -> None:
        """Take a temporary folder instead of one that is of no use, and say so.

        Args:
            folder: The one that was in use when that was found.
            error: What was found.
        """
        # In this order: what generates source holds off forks, and may come here.
        with unforked(), _giving_up:
            if self.folder != folder:  # another thread has found that out, too
                return
            self.folder = lasting_folder()
            self._ready = True
        warn(
            f"compiled code cannot be kept in {folder} ({error.strerror or error}); "
            "it is compiled anew in each process. Set TRACEC_CACHE_DIR to a folder that can be written, and that "
            "programs can be loaded from."
        )


def _delete(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


class Limit:
    """What `tracec.cache.set_limit` was given.

    Attributes:
        nbytes: Bytes that entries may take; None goes by the environment.
    """

    nbytes: int | None = None


def room_for_entries() -> int:
    """Bytes that entries may take: those of `Limit`, else of ``TRACEC_CACHE_SIZE`` (``500M``, ``2G``), else `ROOM`.

    Raises:
        ArgumentError: it is no size.
    """
    if Limit.nbytes is not None:
        return Limit.nbytes
    given = os.environ.get("TRACEC_CACHE_SIZE", "").strip().upper().removesuffix("B").removesuffix("I")
    if not given:
        return ROOM
    number, unit = (given[:-1], given[-1]) if given[-1] in _UNITS else (given, "")
    try:
        return int(float(number) * _UNITS[unit])
    except (ValueError, OverflowError):
        raise ArgumentError(
            f"TRACEC_CACHE_SIZE={os.environ['TRACEC_CACHE_SIZE']!r} is no size", hint="give bytes, or e.g. 500M or 2G"
        ) from None


_caches: dict[Path, DiskCache] = {}


def default_folder() -> Path:
    """``TRACEC_CACHE_DIR``, else ``tracec`` in the user's cache folder."""
    given = os.environ.get("TRACEC_CACHE_DIR")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tracec"


def default_cache() -> DiskCache:
    """The cache in the default folder."""
    folder = default_folder()
    return _caches.setdefault(folder, DiskCache(folder))
