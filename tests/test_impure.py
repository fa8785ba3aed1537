"""What a function reads that no guard can tell of is said once, and read again at each call."""

from __future__ import annotations

import os
import sys
import time
import types
import warnings
from os import environ
from time import perf_counter

import numpy as np
import pytest

import tracec

X = tracec.tensor([1.0, 2.0])
settings = types.ModuleType("settings_of_a_test")
settings.scale, settings.calls, settings.inner = 2.0, 0, types.ModuleType("settings_of_a_test.inner")
settings.inner.shift = 1.0

READS = {
    "time": (lambda path: time.time() * 0, "the clock, time.time"),
    "perf_counter": (lambda path: perf_counter() * 0, "the clock, time.perf_counter"),
    "open": (lambda path: float(path.open().read()), "a file, "),
    "read_text": (lambda path: float(path.read_text()), "a file, "),
    "numpy": (lambda path: float(np.loadtxt(path)), "a file, "),
    "listdir": (lambda path: len(os.listdir(path.parent)) * 0, "the process, os.listdir"),
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
            assert compiled(X).tolist() == function(X).tolist()
    said = [str(w.message) for w in caught if w.category is RuntimeWarning]
    assert len(said) == 1 and f"reads {what}" in said[0] and "runs eagerly at every call" in said[0]
    assert f"eager: it reads {what}" in str(compiled.explain())


def test_names_are_what_they_were():
    def function(x):
        return x * (time.time() > 0) * ("PATH" in os.environ)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tracec.compile(function)(X)
    assert time is sys.modules["time"] and os is sys.modules["os"]
    assert type(perf_counter) is types.BuiltinFunctionType and environ is os.environ


def test_variables_of_the_environment_are_guarded(monkeypatch):
    def function(x):
        return x * float(os.environ["TRACEC_OF_A_TEST"]) + float(environ.get("TRACEC_OF_A_TEST", "0"))

    compiled = tracec.compile(function)
    for value in ("1", "2", "2", "1"):
        monkeypatch.setenv("TRACEC_OF_A_TEST", value)
        assert compiled(X).tolist() == function(X).tolist()
    assert "eager:" not in str(compiled.explain())


def test_reads_that_are_not_made_do_not_count():
    def function(x, timed):
        start = time.perf_counter() if timed else 0.0
        return x * 2 + start * 0, os.path.join("a", "b")

    compiled = tracec.compile(function)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            compiled(X, False)
    assert "eager:" not in str(compiled.explain())


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
