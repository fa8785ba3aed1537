"""The disk cache: whole entries or none, whatever happens to the folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

import tracec
from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.ir.forks import unforked
from tracec.runtime.cache import DiskCache, default_cache, default_folder, key, room_for_entries
from tracec.runtime.folders import lasting_folder


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


def test_what_was_not_used_for_longest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEC_CACHE_SIZE", "5K")
    cache = DiskCache(tmp_path)
    for number, name in enumerate("abcd"):
        path = cache.store(name, "so", bytes(1000))
        os.utime(path, (number, number))
    assert cache.read("a", "so") is not None  # used now
    cache.store("e", "so", bytes(1000))
    assert sorted(e.path.stem for e in cache.entries()) == ["a", "d", "e"]
    cache.store("f", "so", bytes(10_000))  # more than all may take, and needed now
    assert [e.path.stem for e in cache.entries()] == ["f"]


@pytest.mark.parametrize(
    ("text", "size"), [("", 4 << 30), ("100", 100), ("1.5k", 1536), ("2GiB", 2 << 30), ("3 M", 3 << 20)]
)
def test_sizes_in_the_environment(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEC_CACHE_SIZE", text)
    assert room_for_entries() == size


def test_a_size_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEC_CACHE_SIZE", "much")
    with pytest.raises(ArgumentError, match="TRACEC_CACHE_SIZE='much' is no size"):
        room_for_entries()


def test_the_public_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path / "mine"))
    assert tracec.cache.info().entries == 0
    default_cache().store("a", "so", bytes(100))
    default_cache().store("b", "json", bytes(100))
    info = tracec.cache.info()
    assert (info.folder, info.entries, info.limit) == (tmp_path / "mine", 2, 4 << 30)
    assert info.kinds["programs for the CPU and the emulator"][0] == 1 and "2 entries" in str(info)
    tracec.cache.set_limit(150)
    try:
        assert tracec.cache.info().entries == 0 and tracec.cache.info().limit == 150
    finally:
        tracec.cache.set_limit(None)
    default_cache().store("a", "so", bytes(100))
    tracec.cache.clear()
    assert tracec.cache.info().entries == 0
    with pytest.raises(ArgumentTypeError, match="set_limit"):
        tracec.cache.set_limit(1.5)  # type: ignore[arg-type]


def test_of_several_threads_one_makes_an_entry(tmp_path: Path) -> None:
    cache, made, ready = DiskCache(tmp_path), [], threading.Barrier(8)

    def make() -> bytes:
        made.append(threading.get_ident())
        time.sleep(0.05)
        return b"code"

    def ask(found: list[Path]) -> None:
        ready.wait()
        found.append(cache.made("a", "so", make))

    found: list[Path] = []
    threads = [threading.Thread(target=ask, args=(found,)) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(made) == 1 and set(found) == {tmp_path / "a.so"} and len(found) == 8
    assert [p.name for p in tmp_path.iterdir()] == ["a.so"]


_ASK = """
import sys, time
from pathlib import Path
from tracec.runtime.cache import DiskCache

def make():
    with open(sys.argv[2], "a") as log:
        log.write("made\\n")
    time.sleep(0.3)
    return b"code"

while not Path(sys.argv[3]).exists():
    time.sleep(0.005)
DiskCache(Path(sys.argv[1])).made("a", "so", make)
"""


def test_of_several_processes_one_makes_an_entry(tmp_path: Path) -> None:
    log, go = tmp_path / "log", tmp_path / "go"
    running = [
        subprocess.Popen([sys.executable, "-c", _ASK, str(tmp_path / "cache"), str(log), str(go)]) for _ in range(3)
    ]
    time.sleep(1.0)
    go.touch()
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert log.read_text() == "made\n"
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["a.so"]


def test_who_waits_goes_on_when_the_maker_fails_or_dies(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path)

    def fail() -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.made("a", "so", fail)
    assert list(tmp_path.iterdir()) == []
    go, log = tmp_path / "go", tmp_path / "log"
    go.touch()
    maker = subprocess.Popen([sys.executable, "-c", _ASK.replace("0.3", "60"), str(tmp_path), str(log), str(go)])
    while not log.exists():
        time.sleep(0.01)
    maker.kill()
    maker.wait()
    assert cache.made("a", "so", lambda: b"mine").read_bytes().startswith(b"mine")


def _maker(tmp_path: Path) -> subprocess.Popen[bytes]:
    """A process that takes a minute to make an entry."""
    go, log = tmp_path / "go", tmp_path / "log"
    go.touch()
    maker = subprocess.Popen([sys.executable, "-c", _ASK.replace("0.3", "60"), str(tmp_path), str(log), str(go)])
    while not log.exists():
        time.sleep(0.01)
    return maker


def test_a_process_that_is_stopped_is_not_waited_for(tmp_path: Path) -> None:
    maker = _maker(tmp_path)
    try:
        maker.send_signal(signal.SIGSTOP)
        assert DiskCache(tmp_path).made("a", "so", lambda: b"mine").read_bytes().startswith(b"mine")
    finally:
        maker.kill()
        maker.wait()


def test_a_process_that_takes_too_long_is_named_and_waited_for_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracec.runtime.file_lock.PATIENCE", 0.2)
    maker = _maker(tmp_path)
    try:
        with pytest.warns(RuntimeWarning, match=rf"process {maker.pid} has held \S+/\.a\.so\.lock for 0 s; what it"):
            path = DiskCache(tmp_path).made("a", "so", lambda: b"mine")
        assert path.read_bytes().startswith(b"mine")
    finally:
        maker.kill()
        maker.wait()


def test_a_thread_that_makes_an_entry_may_come_again(tmp_path: Path) -> None:
    """As from a signal's handler, which calls what is being compiled: it waited for itself."""
    cache = DiskCache(tmp_path)
    done = threading.Event()

    def work() -> None:
        cache.made("a", "so", lambda: cache.made("a", "so", lambda: b"inner").read_bytes()[:5])
        done.set()

    threading.Thread(target=work, daemon=True).start()
    assert done.wait(10)
    assert cache.read("a", "so") == b"inner"
    assert [p.name for p in tmp_path.iterdir()] == ["a.so"]


def test_threads_that_find_a_folder_cannot_be_written_take_the_same_other_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that held off forks, as where source is generated, and one that did not waited for each other."""
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    cache, inside, holds = DiskCache(blocked / "cache"), threading.Event(), threading.Event()
    make = lasting_folder

    def slow() -> Path:
        inside.set()
        holds.wait(0.5)
        return make()

    def render() -> None:
        assert inside.wait(10)
        with unforked():
            holds.set()
            cache.store("b", "template", b"code")

    def both() -> None:
        threads = [
            threading.Thread(target=run, daemon=True) for run in (lambda: cache.store("a", "so", b"code"), render)
        ]
        for t in threads:
            t.start()
        for t in threads:
            t.join(10)
        assert not any(t.is_alive() for t in threads)

    monkeypatch.setattr("tracec.runtime.cache.lasting_folder", slow)
    with pytest.warns(RuntimeWarning, match="TRACEC_CACHE_DIR") as said:
        both()
    assert len(said) == 1
    assert cache.read("a", "so") == cache.read("b", "template") == b"code"


def test_a_folder_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "cache")
    cache.store("a", "so", b"code")
    shutil.rmtree(tmp_path / "cache")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.store("b", "so", b"code") == tmp_path / "cache" / "b.so"
    assert cache.read("b", "so") == b"code"
