"""Fixtures for all tests."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

#: Where tests marked ``gpu`` run when they are rehearsed without a GPU: "cpu" or "emulator"; see tests/gpu/place.py.
REHEARSAL = os.environ.get("TRACEC_GPU_TESTS", "")

# Tests look at how plans are made, and at compilers that are made wrong: none is to be found on the disk.
os.environ["TRACEC_KEEP_PLANS"] = "0"

_TESTS = Path(__file__).parent
_LINE = re.compile(r"\b(test_\w+\.py):\d+")


def _settled(text: str) -> str:
    """The text without line numbers of tests, which move whenever a test is edited."""
    return _LINE.sub(r"\1:N", text)


# The same examples in every run: a failure in one place is a failure everywhere.
hypothesis.settings.register_profile("tracec", deadline=None, derandomize=True, max_examples=50, database=None)
hypothesis.settings.load_profile("tracec")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the files under tests/golden")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none; with nothing of the kind to run, CuPy is not imported."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not REHEARSAL and not _has_gpu():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))


def _has_gpu() -> bool:
    from tracec.record.backend import is_available

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy may miss a toolkit, which is no matter here
        return is_available()


#: Where settings of the whole process are kept: module, holder and attribute.
_SETTINGS = (
    ("tracec.record.promote", "", "DEFAULT_FLOAT"),
    ("tracec.record.state", "PROCESS", "any_order"),
    ("tracec.record.printing", "", "OPTIONS"),
    ("tracec.settings", "_Deterministic", "mode"),
    ("tracec.settings", "_Products", "precision"),
    ("tracec.runtime.threads", "Asked", "count"),
)


def _settings() -> dict[str, Any]:
    """What a test can change for those that run after it in the same process; of what is imported yet."""
    found: dict[str, Any] = {}
    for name, holder, attribute in _SETTINGS:
        if (module := sys.modules.get(name)) is not None:
            found[f"{name}.{attribute}"] = repr(getattr(getattr(module, holder, module), attribute))
    if (module := sys.modules.get("tracec.record.state")) is not None:
        found |= module.STATE.modes()
    return found


@pytest.fixture(autouse=True)
def _settings_kept() -> Iterator[None]:
    """A test that leaves settings otherwise than it found them fails: those after it would, or would not, by chance."""
    before = _settings()
    yield
    after = _settings()
    changed = [name for name, value in before.items() if after[name] != value]
    assert not changed, f"the test leaves otherwise than it found them: {', '.join(changed)}"


class Golden(str):
    """The text of a golden file. Comparing rewrites the file under ``--update-golden``.

    Calling it gives another file of the same test: ``golden("cuda")``.
    """

    path: Path
    update: bool

    def __new__(cls, path: Path, update: bool) -> Golden:
        text = path.read_text(encoding="utf-8").removesuffix("\n") if path.exists() else f"no file {path.name} yet"
        self = super().__new__(cls, text)
        self.path, self.update = path, update
        return self

    def __call__(self, suffix: str) -> Golden:
        return Golden(self.path.with_name(f"{self.path.stem}.{suffix}.txt"), self.update)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str):
            return False
        same = _settled(str(self)) == _settled(other)
        if self.update and not same:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(f"{_settled(other)}\n", encoding="utf-8")
            return True
        return same

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Any:
    """``assert str(x) == golden`` compares with tests/golden/<folder>/<module>/<test>.txt.

    ``pytest --update-golden`` rewrites the files; review the diff. Line numbers of tests are not compared.
    """
    folder = request.path.relative_to(_TESTS).with_suffix("")
    name = re.sub(r"[^\w.-]+", "-", request.node.name).strip("-")
    return Golden(_TESTS / "golden" / folder / f"{name}.txt", request.config.getoption("--update-golden"))
