"""Catching errors and warnings, and looking at their form."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracec.errors import TracecError


def caught(library: Any, function: Callable[..., Any], arguments: list[Any]) -> Exception | None:
    try:
        function(library, *arguments)
    except Exception as error:
        return error
    return None


def check_form(error: Exception | None) -> TracecError:
    """An error made for users: with their line and a hint, and with nothing from inside behind it."""
    assert isinstance(error, TracecError), repr(error)
    assert re.search(r"\bat test_\w+\.py:\d+", str(error)), str(error)
    assert "\n  hint: " in str(error), str(error)
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__, repr(error.__context__)
    return error


def said(error: BaseException) -> str:
    """What an error says, without the line that it points at."""
    assert isinstance(error, TracecError)
    return f"{error.message}\n  hint: {error.hint}" if error.hint else error.message


def warned(function: Callable[[], Any]) -> list[str]:
    """The warnings that a function gives, each with the place that it points to."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        function()
    return [f"{w.category.__name__}: {w.message}  # {Path(w.filename).name}" for w in found]
