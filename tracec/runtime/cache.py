"""The disk cache of compiled code: content-addressed, safe between processes, never trusted blindly.

An entry is one file, ``<folder>/<key>.<suffix>``: the data, then its SHA-256 and a mark. Object files and
cubins bear the extra bytes at their end, so an entry can be loaded where it lies. Files are written under
another name and moved into place; a file that fails its check is deleted and counts as missing.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
import threading
from pathlib import Path

from tracec.ir.source import warn

_MARK = b"tracec-1"
_TAIL = 32 + len(_MARK)


def key(*parts: str | bytes) -> str:
    """A name for what these parts (source, flags, versions, …) determine."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:40]


class DiskCache:
    """Entries in one folder.

    Args:
        folder: Where entries lie; made when the first is stored. If it cannot be written, a warning says so and
            a temporary folder takes its place until the process ends.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._ready = False

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
            return data
        try:
            path.unlink()
        except OSError:
            pass
        return None

    def store(self, name: str, suffix: str, data: bytes) -> Path:
        """Put an entry in place, at once for every process that looks."""
        try:
            return self._store(name, suffix, data)
        except OSError as error:
            with self._lock:
                self._give_up(error)
            return self._store(name, suffix, data)

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

    def _give_up(self, error: OSError) -> None:
        folder = Path(tempfile.mkdtemp(prefix="tracec-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        warn(
            f"compiled code cannot be kept in {self.folder} ({error.strerror or error}); "
            "it is compiled anew in each process. Set TRACEC_CACHE_DIR to a folder that can be written."
        )
        self.folder = folder
        self._ready = True


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
