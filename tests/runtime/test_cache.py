"""The disk cache: whole entries or none, whatever happens to the folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from tracec.runtime.cache import DiskCache, default_cache, default_folder, key


def test_an_entry_is_found_again(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "deep" / "folder")
    assert cache.fetch("a", "so") is None
    path = cache.store("a", "so", b"code")
    assert cache.fetch("a", "so") == path
    assert cache.read("a", "so") == b"code"
    assert cache.read("a", "cubin") is None
    assert [p.name for p in path.parent.iterdir()] == ["a.so"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_a_damaged_entry_is_deleted_and_never_given(tmp_path: Path, damage: str) -> None:
    cache = DiskCache(tmp_path)
    path = cache.store("a", "so", b"x" * 1000)
    content = path.read_bytes()
    path.write_bytes({"cut": content[:-1], "flipped": b"y" + content[1:], "empty": b"", "foreign": b"z" * 2000}[damage])
    assert cache.fetch("a", "so") is None
    assert not path.exists()
    assert cache.read("a", "so") is None
    cache.store("a", "so", b"again")
    assert cache.read("a", "so") == b"again"


def test_parts_of_a_key_are_kept_apart() -> None:
    assert key("ab", "c") != key("a", "bc")
    assert key("a", b"b") == key(b"a", "b")


def test_a_folder_that_cannot_be_written_warns_once_and_is_replaced(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    cache = DiskCache(blocked / "cache")
    with pytest.warns(RuntimeWarning, match="TRACEC_CACHE_DIR"):
        path = cache.store("a", "so", b"code")
    assert path.exists() and cache.fetch("a", "so") == path
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.store("b", "so", b"code")
    assert cache.read("b", "so") == b"code"


def test_the_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine"
    assert default_cache() is default_cache()
    monkeypatch.delenv("TRACEC_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_folder() == tmp_path / "xdg" / "tracec"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_folder() == Path.home() / ".cache" / "tracec"


_PROGRAM = """
import sys
from tests.codegen import kernels
from tests.codegen.plans import plan_of
from tracec.codegen.c import render
from tracec.runtime.cpu import load
import numpy as np
plan = plan_of([kernels.chain(1000)])
x = np.ones(1000, np.float32)
(y,) = load(plan, render(plan))([x, x])
assert (y == 4).all()
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_two_processes_compile_the_same_at_once(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    env = {**os.environ, "TRACEC_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(root)}
    running = [
        subprocess.Popen([sys.executable, "-c", _PROGRAM], env=env, cwd=root, stderr=subprocess.PIPE) for _ in range(3)
    ]
    for process in running:
        _, log = process.communicate(timeout=120)
        assert process.returncode == 0, log.decode()
    assert len(list(tmp_path.glob("*.so"))) == 2
    assert not list(tmp_path.glob(".*"))
