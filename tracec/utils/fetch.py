"""Files from the network: checked, and there as a whole or not at all."""

from __future__ import annotations

import hashlib
import os
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from tracec.errors import DownloadError

_BLOCK = 1 << 16


def md5_of(path: Path) -> str:
    """The MD5 sum of a file, in hexadecimal digits."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def written(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Write a file that is there as a whole or not at all, whoever reads it meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def download(urls: Sequence[str], path: Path, md5: str) -> None:
    """Fetch a file that is not there yet, with its MD5 sum.

    Args:
        urls: Where it is; the next one is asked where one does not answer, or has another file.
        path: Where it is to be.
        md5: Its MD5 sum.

    Raises:
        DownloadError: none has it; what each said is told.
    """
    if path.is_file() and md5_of(path) == md5:
        return
    said = []
    for url in urls:
        try:
            fetched(url, path, md5=md5)
            return
        except DownloadError as error:
            said.append(error.message)
    raise DownloadError(
        f"download: {path.name} cannot be had\n  " + "\n  ".join(said),
        hint=f"put the file with the MD5 sum {md5} at {path}",
    )


def fetched(url: str, path: Path, *, md5: str = "", sha256: str = "", progress: bool = True) -> None:
    """Fetch a file, whatever is at the path.

    Args:
        url: Where it is.
        path: Where it is to be.
        md5: Its MD5 sum, if that is known.
        sha256: What its SHA-256 sum begins with, if that is known.
        progress: Whether to show how far it is.

    Raises:
        DownloadError: it cannot be had, or is another file.
    """
    try:
        written(path, lambda file: _copied(url, file, md5, sha256, progress))
    except (urllib.error.URLError, OSError, ValueError, _OtherFile) as error:
        raise DownloadError(f"{url}: {error}", hint=f"put the file at {path}") from None


class _OtherFile(Exception):
    """A file came with another sum."""


def _copied(url: str, file: IO[bytes], md5: str, sha256: str, progress: bool) -> None:
    sums = (hashlib.md5(usedforsecurity=False), hashlib.sha256())
    done = 0
    request = urllib.request.Request(url, headers={"User-Agent": "tracec"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        total = int(answer.headers.get("Content-Length") or 0)
        while block := answer.read(_BLOCK):
            file.write(block)
            for digest in sums:
                digest.update(block)
            before, done = done, done + len(block)
            if progress:
                _show(url, before, done, total)
    if total and done != total:
        raise _OtherFile(f"{done} of {total} bytes came")
    for name, wanted, digest in zip(("MD5", "SHA-256"), (md5, sha256), sums, strict=True):
        if not digest.hexdigest().startswith(wanted):
            raise _OtherFile(f"its {name} sum is {digest.hexdigest()}, not {wanted}")


def _show(url: str, before: int, done: int, total: int) -> None:
    """A line of progress, on a terminal; elsewhere one line at the end."""
    name = url.rsplit("/", 1)[-1]
    if sys.stderr.isatty():
        if done == total or before * 100 // max(total, 1) != done * 100 // max(total, 1):
            share = f"{done / total:4.0%} of {total / 1e6:.1f} MB" if total else f"{done / 1e6:.1f} MB"
            print(f"\r{name}: {share}", end="\n" if done == total else "", file=sys.stderr, flush=True)
    elif total and done == total:
        print(f"{name}: {total / 1e6:.1f} MB", file=sys.stderr)


def unpacked(archive: Path, folder: Path, names: Iterable[str]) -> None:
    """Take files out of an archive: those that are named alone, and nothing but plain files.

    Args:
        archive: A tar file, compressed or not.
        folder: Where they are to be.
        names: Their names in the archive, which are those below the folder.

    Raises:
        DownloadError: one is not in it.
    """
    with tarfile.open(archive) as tar:
        for name in names:
            try:
                member: Any = tar.extractfile(name)
            except KeyError:
                member = None
            if member is None:
                raise DownloadError(f"download: {archive.name} has no file {name!r}", hint=f"delete {archive}")
            with member:
                written(folder / name, lambda file, member=member: file.write(member.read()))  # type: ignore[misc]
