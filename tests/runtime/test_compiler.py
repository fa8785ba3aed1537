"""Finding the compiler, and what happens when there is none or it refuses."""

from __future__ import annotations

import re
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import tracec
from tests.codegen import kernels
from tests.codegen.plans import plan_of
from tracec.codegen.c import render
from tracec.errors import CompileError, CompilerMissing
from tracec.runtime import processes
from tracec.runtime.cache import DiskCache
from tracec.runtime.compiler import Compiler, find_compiler
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
def test_a_compiler_that_fails_at_a_part_of_the_processor_is_not_given_that_part(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    failing = tmp_path / "cc"
    failing.write_text(
        "#!/bin/sh\nfor a; do case $a in -march=native|-mcpu=native) echo internal error >&2; exit 1;; esac; done\n"
        'for a; do shift; [ $a = -mcpu=native+nosve ] || set -- "$@" "$a"; done\nexec gcc "$@"\n'
    )
    failing.chmod(0o755)
    monkeypatch.setenv("TRACEC_CC", str(failing))
    assert "-mcpu=native+nosve" in find_compiler().flags


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


@needs_gcc
def test_a_flag_that_the_compiler_does_not_know_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    strict = tmp_path / "cc"
    strict.write_text('#!/bin/sh\ncase "$*" in *unroll-and-jam*) echo unknown >&2; exit 1;; esac\nexec gcc "$@"\n')
    strict.chmod(0o755)
    monkeypatch.setenv("TRACEC_CC", str(strict))
    flags = find_compiler().flags
    assert "-fno-loop-unroll-and-jam" not in flags and "-fopenmp" in flags
    monkeypatch.setenv("TRACEC_CC", "gcc")
    assert "-fno-loop-unroll-and-jam" in find_compiler().flags


@needs_gcc
def test_an_interrupt_ends_the_compiler_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pids, temporary = tmp_path / "pids", tmp_path / "temporary"
    temporary.mkdir()
    slow = tmp_path / "cc"
    slow.write_text(f"#!/bin/sh\nsleep 60 &\necho $$ $! >> {pids}\nwait\n")
    slow.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    compiler = Compiler((str(slow),), (), "slow")
    cache = DiskCache(tmp_path / "cache")

    def interrupt() -> None:
        while not pids.exists() or len(pids.read_text().split()) < 4:
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    # Shells start what is in the background with interrupts ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            compiler.shared_object(["int a;", "int b;"], cache)
    finally:
        signal.signal(signal.SIGINT, before)
    for pid in pids.read_text().split():
        for _ in range(200):  # who is not our child is waited for by others
            if not _is_running(int(pid)):
                break
            time.sleep(0.01)
        assert not _is_running(int(pid))
    assert list(temporary.iterdir()) == [] and list((tmp_path / "cache").iterdir()) == []


def _is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


@needs_gcc
def test_equal_kernels_of_two_functions_are_compiled_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    built: list[int] = []
    build = Compiler._build
    monkeypatch.setattr(Compiler, "_build", lambda self, units: built.append(len(units)) or build(self, units))

    def first(x: tracec.Tensor) -> tracec.Tensor:
        return tracec.sin(x) * 3.5 + 0.25

    def second(y: tracec.Tensor) -> tracec.Tensor:
        z = tracec.sin(y)

        return z * 3.5 + 0.25

    x = tracec.ones(5)
    tracec.compile(lambda x: x + 17.5)(x)  # brings the helper that calls entries
    count = len(built)
    for f in (first, second):
        compiled = tracec.compile(f)
        compiled(x)
        assert compiled(x).tolist() == pytest.approx(f(x).tolist())
    assert len(built) == count + 1


def test_a_compiler_that_takes_long_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processes, "LONG", 0.1)
    with pytest.warns(RuntimeWarning) as said:
        done = processes.run_all([["sh", "-c", "sleep 0.5"], ["sh", "-c", "exit 3"]])
    assert [d.status for d in done] == [0, 3]
    assert re.fullmatch(
        r"compile: process \d+ has not ended after 0 s, and is waited for: sh -c sleep 0.5", str(said[0].message)
    )


def test_compilers_run_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert [d.status for d in processes.run_all([["sh", "-c", "exit 3"]])] == [3]


@needs_gcc
def test_a_program_that_takes_the_status_of_every_child(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        compiler = Compiler(("gcc",), (), "taken")
        cache = DiskCache(tmp_path)
        assert compiler.shared_object(["int a;"], cache).exists()
        with pytest.raises(CompileError, match="rejects generated C"):
            compiler.shared_object(["int a"], cache)
    finally:
        signal.signal(signal.SIGCHLD, before)


@needs_gcc
def test_a_cache_that_programs_cannot_be_loaded_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As where its file system is mounted with noexec."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(folder))
    compiler = Compiler(("gcc",), (), "loaded")

    def load(path: str) -> str:
        if Path(path).parent == folder:
            raise OSError(f"{path}: failed to map segment from shared object")
        return path

    with pytest.warns(RuntimeWarning, match="failed to map segment.*compiled anew in each process.*TRACEC_CACHE_DIR"):
        assert Path(compiler.loaded(["int a;"], load)).exists()


@needs_gcc
def test_what_went_from_the_cache_before_it_was_loaded_is_made_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    tries: list[str] = []

    def load(path: str) -> bool:
        tries.append(path)
        if len(tries) == 1:
            Path(path).unlink()
            raise OSError(f"{path}: cannot open shared object file")
        return Path(path).parent == tmp_path

    assert Compiler(("gcc",), (), "gone").loaded(["int a;"], load)


@needs_gcc
def test_programs_that_cannot_be_loaded_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))

    def load(path: str) -> None:
        raise OSError("no")

    with (
        pytest.warns(RuntimeWarning, match="TRACEC_CACHE_DIR"),
        pytest.raises(CompileError, match="what gcc makes of generated C cannot be loaded: no"),
    ):
        Compiler(("gcc",), (), "never").loaded(["int a;"], load)


def test_a_compiler_that_is_killed(tmp_path: Path) -> None:
    killed = tmp_path / "cc"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    with pytest.raises(CompileError, match=r"cc was ended by signal 9; the source is in") as error:
        Compiler((str(killed),), (), "killed").shared_object(["int a;"], DiskCache(tmp_path))
    assert error.value.hint == "there may be too little memory; TRACEC_CC chooses another compiler"
