"""Refuses what a recorded function does and no graph can have: it is undone, and the function runs eagerly."""

from __future__ import annotations

from typing import NoReturn

from tracec.errors import RecordError
from tracec.record.state import STATE


def refuse(message: str, hint: str | None = None, where: str | None = None) -> NoReturn:
    """Say that a function cannot be recorded; the recorder knows, whether or not the function catches the error.

    Raises:
        RecordError: always.
    """
    error = RecordError(message, hint=hint, where=where)
    if STATE.recorder is not None:
        STATE.recorder.refused = error
    raise error
