"""Templates: found beside the package or inside it, filled with finished values."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
from jinja2.bccache import Bucket

from tracec.ir.forks import unforked


class Kept(jinja2.BytecodeCache):
    """Templates as Python's code, which takes longer to make than to fill in, kept for other processes.

    Args:
        read: Gives what is kept under a name that parts determine; None where nothing is.
        store: Keeps something under such a name.
    """

    def __init__(self, read: Callable[..., bytes | None], store: Callable[..., object]) -> None:
        self._read, self._store = read, store

    def load_bytecode(self, bucket: Bucket) -> None:
        data = self._read(*_parts(bucket))
        if data is not None:
            bucket.bytecode_from_string(data)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._store(bucket.bytecode_to_string(), *_parts(bucket))


def _parts(bucket: Bucket) -> tuple[str, ...]:
    return sys.version, version("jinja2"), bucket.key, bucket.checksum


_kept: Kept | None = None


def keep_templates(where: Kept) -> None:
    """Keep compiled templates; to be called before any is filled in."""
    global _kept
    _kept = where


@cache
def _environment() -> jinja2.Environment:
    package = Path(__file__).resolve().parent.parent
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([package / "templates", package.parent / "templates"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=lambda name: name is not None and name.startswith("report/"),  # the others are no HTML
        auto_reload=False,
        bytecode_cache=_kept,
    )


def render_template(path: str, **values: Any) -> str:
    """The text of ``templates/<path>`` with these values filled in; a missing value is an error."""
    with unforked():  # Jinja holds locks, and imports
        return _environment().get_template(path).render(**values)
