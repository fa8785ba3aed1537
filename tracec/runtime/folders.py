"""Folders for files of this process alone, which it removes."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tracec.ir.forks import unforked

#: Those in use.
_folders: set[Path] = set()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is removed afterwards, or when the process ends; by it alone, not by children of it."""
    folder = lasting_folder()
    try:
        yield folder
    finally:
        _remove(folder)


def lasting_folder() -> Path:
    """A folder that is removed when the process ends that made it."""
    with unforked():
        folder = Path(tempfile.mkdtemp(prefix="tracec-"))
        _folders.add(folder)
    return folder


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _folders.discard(folder)


def _remove_all() -> None:
    for folder in list(_folders):
        _remove(folder)


atexit.register(_remove_all)
# They are the parent's, which may be using them when a forked child ends.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_folders.clear)
