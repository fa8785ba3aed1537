"""Finding the compiler, and what happens when there is none or it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.codegen import kernels
from tests.codegen.plans import plan_of
from tracec.codegen.c import render
from tracec.errors import CompileError, CompilerMissing
from tracec.runtime.cache import DiskCache
from tracec.runtime.compiler import find_compiler
from tracec.runtime.cpu import load

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def test_no_compiler_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TRACEC_CC", raising=False)
    with pytest.raises(CompilerMissing, match="no C compiler") as caught:
        find_compiler()
    assert "install gcc" in str(caught.value)


def test_the_chosen_compiler_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEC_CC", "no-such-compiler")
    plan = plan_of([kernels.chain(3)])
    with pytest.raises(CompilerMissing, match="TRACEC_CC=no-such-compiler is not there"):
        load(plan, render(plan))


def test_a_compiler_that_does_not_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho out of order >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("TRACEC_CC", str(broken))
    with pytest.raises(CompilerMissing, match="out of order"):
        find_compiler()


@needs_gcc
def test_rejected_source_names_the_file_and_shows_the_log(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="rejects generated C") as caught:
        find_compiler().shared_object(["int broken( {"], DiskCache(tmp_path))
    kept = Path(caught.value.message.split()[-1])
    assert (kept / "unit0.c").read_text() == "int broken( {"
    assert "error" in str(caught.value)
    shutil.rmtree(kept)


@needs_gcc
def test_a_damaged_object_is_compiled_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    plan = plan_of([kernels.chain(123)])
    program = render(plan)
    path = find_compiler().shared_object(program.units)
    path.write_bytes(path.read_bytes()[:5000])
    x = np.ones(123, np.float32)
    assert (load(plan, program)([x, x])[0] == 4).all()
    assert find_compiler().shared_object(program.units) == path


@needs_gcc
def test_flags_are_probed_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    compiler = find_compiler()
    assert compiler is find_compiler()
    assert "-ffast-math" not in compiler.flags
    assert any(f.startswith("-DTRACEC_VECTOR_MATH=") for f in compiler.flags)
