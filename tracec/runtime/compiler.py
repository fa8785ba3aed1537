"""The host's C compiler: found, probed once for what it and the C library can do, run with care."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from tracec.errors import CompileError, CompilerMissing
from tracec.ir.forks import unforked
from tracec.runtime.cache import DiskCache, default_cache, key
from tracec.runtime.folders import temporary_folder
from tracec.runtime.processes import run_all

#: Contraction is allowed, reassociation is not; integers wrap around. Never -ffast-math: it breaks NaN tests,
#: and loading such an object flushes denormals in the whole process.
_SAFE_MATHS = ("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
BASE_FLAGS = ("-O3", "-std=gnu11", "-fPIC", *_SAFE_MATHS, "-fwrapv", "-w")
#: The third for gcc 12 on ARM's SVE, where it fails at what the end of the probe does, by a fault of its own.
_ARCHITECTURES = (("-march=native",), ("-mcpu=native",), ("-mcpu=native+nosve",), ())
_THREADS = (("-fopenmp",), ("-fopenmp-simd",), ())
#: gcc unrolls a loop around a reduction into one another, and has made 200 KB of one small kernel in 20 s.
_SPARING = (("-fno-loop-unroll-and-jam",), ())

_PROBE = """
#pragma omp declare simd notinbranch
extern float expf(float) __attribute__((const, nothrow));
#pragma omp declare simd notinbranch
extern float tanhf(float) __attribute__((const, nothrow));
void tracec_exp(const float *restrict x, float *restrict y, long n) {
#pragma omp simd
  for (long i = 0; i < n; i++) y[i] = expf(x[i]);
}
void tracec_tanh(const float *restrict x, float *restrict y, long n) {
#pragma omp simd
  for (long i = 0; i < n; i++) y[i] = tanhf(x[i]);
}
static inline float tracec_zero_if(float x, _Bool c) {
  union { float f; unsigned u; } w = {.f = x};
  w.u &= (unsigned)c - 1;
  return w.f;
}
void tracec_sigmoid(const float *restrict x, float *restrict y, long n) {
#pragma omp simd
  for (long i = 0; i < n; i++) {
    float a = -__builtin_fabsf(x[i]);
    _Bool zero = a < -104.0f;
    float e = tracec_zero_if(a + tracec_zero_if(a, zero), zero);
    y[i] = (x[i] < 0 ? e : 1) / (1 + e);
  }
}
"""


Library = TypeVar("Library")
_COMMENTS = re.compile(r"^[ \t]*//.*\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C compiler and the flags that suit it and this machine.

    Attributes:
        command: The program and arguments of its own, such as ``zig cc``.
        flags: What every compilation is given.
        identity: Changes when the compiler or the processor does.
    """

    command: tuple[str, ...]
    flags: tuple[str, ...]
    identity: str

    def shared_object(self, units: Sequence[str], cache: DiskCache | None = None) -> Path:
        """Compile and link translation units, or find the result in the cache.

        Raises:
            CompileError: the compiler rejects the source; its log and a copy of the source are named.
        """
        cache = cache or default_cache()
        # Comments name the user's lines, which the machine code does not depend on.
        name = key(self.identity, " ".join(self.flags), *(_COMMENTS.sub("", u) for u in units))
        return cache.made(name, "so", lambda: self._build(units))

    def loaded(self, units: Sequence[str], load: Callable[[str], Library]) -> Library:
        """Compile translation units, or find the result in the cache, and load it.

        Args:
            units: The sources.
            load: Loads a shared object.

        Raises:
            CompileError: the compiler rejects the source, or what it made cannot be loaded.
        """
        cache = default_cache()
        for _ in range(2):
            folder, path = cache.folder, self.shared_object(units, cache)
            try:
                with unforked():
                    return load(str(path))
            except OSError as error:
                why = error
                if path.exists():  # else another process has made room meanwhile
                    cache.give_up(folder, error)
        raise CompileError(
            f"what {self.command[0]} makes of generated C cannot be loaded: {why}",
            hint=f"set TMPDIR to a folder that programs can be loaded from; it is {tempfile.gettempdir()}",
        )

    def _build(self, units: Sequence[str]) -> bytes:
        with temporary_folder() as folder:
            sources = [folder / f"unit{n}.c" for n in range(len(units))]
            for path, text in zip(sources, units, strict=True):
                path.write_text(text)
            output = folder / "plan.so"
            if len(units) == 1:
                self._run([[*self.flags, "-shared", str(sources[0]), "-o", str(output), "-lm"]], sources)
            else:
                objects = [s.with_suffix(".o") for s in sources]
                jobs = [[*self.flags, "-c", str(s), "-o", str(o)] for s, o in zip(sources, objects, strict=True)]
                self._run(jobs, sources)
                self._run([[*self.flags, "-shared", *map(str, objects), "-o", str(output), "-lm"]], sources)
            return output.read_bytes()

    def _run(self, jobs: list[list[str]], sources: list[Path]) -> None:
        """Run the compiler on every list of arguments, at the same time."""
        finished = run_all([[*self.command, *arguments] for arguments in jobs])
        for done, arguments in zip(finished, jobs, strict=True):
            # Where the program takes the status of every child, it is lost, and what was made tells.
            if done.status or not os.path.exists(arguments[arguments.index("-o") + 1]):
                kept = Path(tempfile.mkdtemp(prefix="tracec-failed-"))
                for s in sources:
                    shutil.copy(s, kept)
                ended = done.status < 0
                what = (
                    f"was ended by signal {-done.status}" if ended else f"rejects generated C (exit code {done.status})"
                )
                hint = "there may be too little memory" if ended else "please report this with the source"
                raise CompileError(
                    f"{self.command[0]} {what}; the source is in {kept}",
                    where=" ".join([*self.command, *arguments]) + "\n" + done.log.strip()[:4000],
                    hint=f"{hint}; TRACEC_CC chooses another compiler",
                )


def find_compiler() -> Compiler:
    """The C compiler that ``TRACEC_CC`` names, else the first of gcc, cc and clang on the path.

    Raises:
        CompilerMissing: there is none, or it cannot make shared objects.
    """
    return _find(os.environ.get("TRACEC_CC"), os.environ.get("PATH", ""))


@cache
def _find(chosen: str | None, path: str) -> Compiler:
    candidates = [chosen] if chosen else ["gcc", "cc", "clang"]
    for candidate in candidates:
        program, *arguments = candidate.split() or [""]
        found = shutil.which(program, path=path)
        if found:
            return _probe((found, *arguments))
    what = f"TRACEC_CC={chosen} is not there" if chosen else "no C compiler (gcc, cc, clang) is on the path"
    raise CompilerMissing(what, hint="install gcc, or set TRACEC_CC to a C compiler")


def _probe(command: tuple[str, ...]) -> Compiler:
    identity = f"{program_identity(command)} {_processor()}"
    cache, name = default_cache(), key("probe 3", identity, _PROBE, " ".join(BASE_FLAGS))
    known = cache.read(name, "json")
    if known is None:
        known = json.dumps(_best_flags(command)).encode()
        cache.store(name, "json", known)
    return Compiler(command, tuple(json.loads(known)), identity)


def program_identity(command: tuple[str, ...]) -> str:
    """Path, size and time of the program: asking it for its version would cost each start some milliseconds."""
    real = os.path.realpath(command[0])
    state = os.stat(real)
    return f"{real} {state.st_size} {state.st_mtime_ns} {' '.join(command[1:])}"


@cache
def _processor() -> str:
    """What -march=native depends on."""
    words = [platform.machine(), platform.libc_ver()[1]]
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if not line.strip():
                    break
                if line.split(":")[0].strip() in ("model name", "flags", "Features", "CPU part", "CPU implementer"):
                    words.append(line.split(":", 1)[1].strip())
    except OSError:
        words.append(platform.processor())
    return " ".join(words)


def _best_flags(command: tuple[str, ...]) -> list[str]:
    """The first combination that compiles and loads, and the level of vector maths that it reaches."""
    log = ""
    with temporary_folder() as folder:
        source, output = folder / "probe.c", folder / "probe.so"
        source.write_text(_PROBE)
        for threads, architecture, sparing in itertools.product(_THREADS, _ARCHITECTURES, _SPARING):
            flags = [*BASE_FLAGS, *architecture, *threads, *sparing]
            (done,) = run_all([[*command, *flags, "-shared", str(source), "-o", str(output), "-lm"]])
            why = done.log.strip() if done.status else _why_not(output)
            log = log or why
            if not done.status and not why:
                symbols = output.read_bytes()
                level = int(b"_ZGV" in symbols and b"_expf" in symbols)
                level += level and b"v_tanhf" in symbols
                return [*flags, f"-DTRACEC_VECTOR_MATH={level}"]
    raise CompilerMissing(
        f"{command[0]} cannot build a shared object: {log.strip()[:500]}",
        hint="install gcc and the C library's development files, set TRACEC_CC to another compiler, or TMPDIR to a "
        "folder with room that programs can be loaded from",
    )


def _why_not(path: Path) -> str:
    """Why a shared object cannot be loaded; empty where it can."""
    try:
        with unforked():
            ctypes.CDLL(str(path))
    except OSError as error:
        return str(error)
    return "" if sys.platform != "win32" else "Windows is not supported"
