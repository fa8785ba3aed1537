"""Each footgun, compiled, does what it does eagerly, and runs compiled code."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from tests.footguns.harness import FOOTGUNS, check

_NO_TABLES = ("__init__", "harness")
for path in sorted(Path(__file__).parent.glob("*.py")):
    if path.stem not in _NO_TABLES and not path.stem.startswith("test_"):
        import_module(f"tests.footguns.{path.stem}")


@pytest.mark.parametrize("one", FOOTGUNS, ids=lambda f: f.name)
def test_compiled_is_as_eager(one):
    check(one)


def test_there_are_many_and_their_names_tell_them_apart():
    assert len(FOOTGUNS) >= 186
    assert len({f.name for f in FOOTGUNS}) == len(FOOTGUNS)
