"""Templates: found beside the package or inside it, filled with finished values."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from tracec.ir.forks import unforked

_kept: jinja2.BytecodeCache | None = None


def keep_templates(where: jinja2.BytecodeCache) -> None:
    """Keep templates, compiled, for other processes; to be called before any is filled in."""
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
        auto_reload=False,
        bytecode_cache=_kept,
    )


def render_template(path: str, **values: Any) -> str:
    """The text of ``templates/<path>`` with these values filled in; a missing value is an error."""
    with unforked():  # Jinja holds locks, and imports
        return _environment().get_template(path).render(**values)
