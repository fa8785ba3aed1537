"""Names that PyTorch's programs use, and arguments that they give by name, are there: `promised.txt` lists them."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import tracec

LINES = Path(__file__).with_name("promised.txt").read_text().splitlines()
#: NumPy's names of arguments, which functions take that have PyTorch's.
ALIASES = {"axis": "dim", "keepdims": "keepdim"}


def sections() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in LINES:
        if line[:1] == " ":
            found[place].extend(line.split())  # noqa: F821 (set by the line before)
        elif line and not line.startswith("#") and "(" not in line:
            place = line
            found[place] = []
    return found


CALLS = [line for line in LINES if "(" in line and not line.startswith("#")]


def resolve(path: str) -> Any:
    """What a dotted name of PyTorch's is here, by attributes or by import."""
    parts = path.split(".")[1:]
    found: Any = tracec
    for k, part in enumerate(parts):
        try:
            found = getattr(found, part)
        except AttributeError:
            found = importlib.import_module(".".join(["tracec", *parts[: k + 1]]))
    return found


def test_the_list_is_read():
    assert len(sections()) > 30 and len(CALLS) > 100 and len(sections()["torch.Tensor."]) > 190


@pytest.mark.parametrize("place", sections())
def test_names(place):
    holder = resolve(place.rstrip("."))
    missing = []
    for name in sections()[place]:
        if not hasattr(holder, name):
            try:
                resolve(f"{place}.{name}")
            except ImportError:
                missing.append(name)
    assert missing == []


def test_arguments_by_name():
    missing = []
    for line in CALLS:
        path, given = re.fullmatch(r"([\w.]+)\(([\w ]+)\)", line).groups()
        parameters = inspect.signature(resolve(path)).parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            continue
        missing += [f"{path}({n})" for n in given.split() if n not in parameters and ALIASES.get(n) not in parameters]
    assert missing == []


def test_numpys_names_are_taken():
    x = tracec.arange(6.0).reshape(2, 3)
    assert tracec.sum(x, axis=0, keepdims=True).tolist() == x.sum(0, keepdim=True).tolist()
    assert x.mean(axis=1).tolist() == x.mean(1).tolist()
    assert tracec.cat([x, x], axis=1).shape == tracec.stack([x, x], axis=0).reshape(2, 6).shape
