"""What a function reads that no guard can tell of is said once, and read again at each call."""

from __future__ import annotations

import cProfile
import datetime
import os
import random
import socket
import subprocess
import sys
import threading
import time
import types
import uuid
import warnings
from datetime import date
from os import environ
from secrets import token_bytes
from time import perf_counter

import numpy as np
import pytest

import tracec

X = tracec.tensor([1.0, 2.0])
settings = types.ModuleType("settings_of_a_test")
settings.scale, settings.calls, settings.inner = 2.0, 0, types.ModuleType("settings_of_a_test.inner")
settings.inner.shift = 1.0


def read(path):
    with open(path) as file:
        return file.read()


#: What `Path.exists` asks; by another way from Python 3.14 on.
_EXISTS = "the process, os.stat" if sys.version_info < (3, 14) else "the file system, posixpath.exists"

READS = {
    "time": (lambda path: time.time() * 0, "the clock, time.time"),
    "sleep": (lambda path: time.sleep(0) or 0, "the clock, time.sleep"),
    "perf_counter": (lambda path: perf_counter() * 0, "the clock, time.perf_counter"),
    "now": (lambda path: datetime.datetime.now().year * 0, "the clock, datetime.now"),
    "today": (lambda path: date.today().year * 0, "the clock, datetime.today"),
    "open": (lambda path: float(read(path)), "a file, "),
    "read_text": (lambda path: float(path.read_text()), "a file, "),
    "python": (lambda path: float(path.with_suffix(".py").read_text()), "a file, "),
    "numpy": (lambda path: float(np.loadtxt(path)), ""),
    "load": (lambda path: tracec.load(path.with_suffix(".pt")), "a file, "),
    "exists": (lambda path: float(path.exists()), _EXISTS),
    "path": (lambda path: float(os.path.exists(path)), "the file system, posixpath.exists"),
    "listdir": (lambda path: len(os.listdir(path.parent)) * 0, "the process, os.listdir"),
    "iterdir": (lambda path: len(list(path.parent.iterdir())) * 0, "the process, os."),  # listdir or scandir
    "urandom": (lambda path: os.urandom(1)[0] * 0, "the process, os.urandom"),
    "uuid": (lambda path: uuid.uuid4().int * 0, "random bytes of the system, uuid.uuid4"),
    "secrets": (lambda path: token_bytes(1)[0] * 0, "random bytes of the system, secrets.token_bytes"),
    "system": (lambda path: random.SystemRandom().random() * 0, "random bytes of the system, random._urandom"),
    "default_rng": (lambda path: np.random.default_rng().random() * 0, "random bytes of the system, np.random"),
    "process": (lambda path: len(subprocess.run(["true"], check=True).args), "another process, subprocess.run"),
    "socket": (lambda path: socket.socket().close() or 0, "the network, socket.__new__"),
    "threads": (lambda path: threading.active_count() * 0, "the thread, threading.active_count"),
    "exec": (lambda path: exec("") or 0, "what exec names"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", READS)
def test_it_is_said_once_and_read_at_each_call(name, tmp_path):
    read, what = READS[name]
    path = tmp_path / "number.txt"

    def function(x):
        return x + read(path)

    compiled = tracec.compile(function)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        for k in range(4):
            path.write_text(str(k))
            path.with_suffix(".py").write_text(str(k))
            tracec.save(tracec.tensor(float(k)), path.with_suffix(".pt"))
            assert compiled(X).tolist() == function(X).tolist()
    said = [str(w.message) for w in caught if w.category is RuntimeWarning]
    assert len(said) == 1 and f"reads {what}" in said[0] and "is recorded again at each call" in said[0]
    assert f"no program: it reads {what}" in str(compiled.explain())


def test_names_are_what_they_were():
    def function(x):
        return x * (time.time() > 0) * ("PATH" in os.environ)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tracec.compile(function)(X)
    assert time is sys.modules["time"] and os is sys.modules["os"]
    assert type(perf_counter) is types.BuiltinFunctionType and environ is os.environ


def test_names_in_closures_and_imports_count():
    import time as clock

    def closed(x):
        return x + clock.time() * 0

    def imported(x):
        from time import monotonic

        return x + monotonic() * 0

    for function in (closed, imported):
        compiled = tracec.compile(function)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            for _ in range(3):
                compiled(X)
        assert "no program: it reads the clock" in str(compiled.explain())
    assert time.time.__module__ == "time" and type(time.time) is types.BuiltinFunctionType


def test_what_the_interpreter_reads_does_not_count(tmp_path, monkeypatch):
    (tmp_path / "imported_in_a_test.py").write_text("k = 2.0")
    monkeypatch.syspath_prepend(tmp_path)

    def function(x):
        import imported_in_a_test

        warnings.warn("shows its line", stacklevel=1)
        return x * imported_in_a_test.k

    compiled = tracec.compile(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(3):
            assert compiled(X).tolist() == (X * 2).tolist()
    assert "no program:" not in str(compiled.explain())


def test_seeded_generators_are_no_reads():
    compiled = tracec.compile(lambda x: x * np.random.default_rng(3).random())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            assert compiled(X).tolist() == (X * np.random.default_rng(3).random()).tolist()


def test_seeds_by_name_are_no_reads():
    @tracec.compile
    def drawn(x):
        sequence = np.random.SeedSequence(entropy=7, pool_size=8)
        return x * float(np.random.default_rng(seed=sequence).random()) + float(np.random.default_rng(seed=3).random())

    expected = (
        X * np.random.default_rng(np.random.SeedSequence(7, pool_size=8)).random() + np.random.default_rng(3).random()
    )
    for _ in range(3):
        np.testing.assert_allclose(drawn(X).numpy(), expected.numpy(), rtol=1e-6)
    assert "no program" not in str(drawn.explain())


def test_seeds_by_name_that_are_missing_are_reads():
    @tracec.compile
    def drawn(x):
        return x * len(np.random.SeedSequence(entropy=None, pool_size=8).generate_state(2))

    with pytest.warns(RuntimeWarning, match="np.random without a seed"):
        assert [drawn(X).tolist() for _ in range(3)] == [[2.0, 4.0]] * 3


def test_variables_of_the_environment_are_guarded(monkeypatch):
    def function(x):
        return x * float(os.environ["TRACEC_OF_A_TEST"]) + float(environ.get("TRACEC_OF_A_TEST", "0"))

    compiled = tracec.compile(function)
    for value in ("1", "2", "2", "1"):
        monkeypatch.setenv("TRACEC_OF_A_TEST", value)
        assert compiled(X).tolist() == function(X).tolist()
    assert "no program:" not in str(compiled.explain())


def test_reads_that_are_not_made_do_not_count():
    def function(x, timed):
        start = time.perf_counter() if timed else 0.0
        return x * 2 + start * 0, os.path.join("a", "b")

    compiled = tracec.compile(function)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            compiled(X, False)
    assert "no program:" not in str(compiled.explain())


def test_attributes_of_modules_are_read_anew(monkeypatch):
    def function(x):
        settings.calls += 1
        return x * settings.scale + settings.inner.shift

    compiled = tracec.compile(function)
    for k in range(1, 7):
        monkeypatch.setattr(settings, "scale", k * 0.5)
        monkeypatch.setattr(settings.inner, "shift", k * 2.0)
        np.testing.assert_allclose(compiled(X).numpy(), X.numpy() * k * 0.5 + k * 2.0)
        assert settings.calls == k
    assert len(compiled.explain().recordings) <= 3


def test_a_program_may_be_profiled_while_functions_are_recorded():
    """Up to Python 3.11 what `sys.getprofile` gives of cProfile cannot be set again."""
    held = perf_counter

    @tracec.compile
    def scaled(x, timed=False):
        return x * (held() if timed else 2.0)

    def after():
        return 1

    def watched():
        results = [scaled(X).tolist() for _ in range(3)]
        with tracec.autograd.profiler.profile() as watch:
            scaled(X)
        assert watch.key_averages() is not None
        return [*results, after()]

    profile = cProfile.Profile()
    assert profile.runcall(watched) == [[2.0, 4.0]] * 3 + [1]
    seen = {getattr(entry.code, "co_name", None) for entry in profile.getstats()}
    assert {"watched", "after"} <= seen
    assert sys.getprofile() is None
