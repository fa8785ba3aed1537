"""CUDA sources compiled for the host, unchanged, and launched there.

The headers of ``templates/cuda/emulator`` stand in for CUDA's. With checks, g++ calls a function of ours before
every access to memory (its instrumentation for data races, with our runtime in place of its own).
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tracec.errors import CompileError, CompilerMissing
from tracec.ir.forks import unforked
from tracec.runtime.cache import LEADING_COMMENTS, default_cache, key
from tracec.runtime.compiler import program_identity
from tracec.runtime.elf import thread_locals
from tracec.runtime.folders import temporary_folder
from tracec.runtime.processes import run_all

#: Processes that compile at the same time.
UNITS = 2
#: What the largest GPUs give a block.
MOST_SHARED, MOST_THREADS = 232448, 1024

_COMMON = ("-std=c++17", "-fPIC", "-fwrapv", "-ffp-contract=off", "-fno-exceptions", "-fno-rtti", "-w")
_KERNEL = (*_COMMON, "-fno-extern-tls-init", "-fvisibility=hidden", "-fmax-errors=5")
_PLAIN = (*_KERNEL, "-O2")
#: No access may be made that the source does not make, nor a wide one in pieces.
_CHECKED = (
    *_KERNEL, "-O1", "-g1", "-gdwarf-4", "-fno-tree-sra", "-fno-tree-loop-im", "-fno-tree-cselim", "-fsanitize=thread",
    "-fsanitize=bounds,alignment", "--param=tsan-distinguish-volatile=1",
)  # fmt: skip
#: Registers that nothing has set hold what shows: of GCC 12 and later.
_POISONED = "-ftrivial-auto-var-init=pattern"
_RUNTIME = (*_COMMON, "-O2", "-shared")

_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*<[^>]+>", re.MULTILINE)
_DYNAMIC = re.compile(r"\bextern\s+__shared__\s[^;]*?\b(\w+)\s*\[\s*\]\s*;")
_PLAIN_ELEMENT = re.compile(r"\b(char|short|int|long|float|double)\s+\w+\s*\[")
_LOCAL = re.compile(r"\A_ZZ.*E(\d+)(\w+)\Z")


@dataclass(frozen=True, slots=True)
class Source:
    """CUDA C++ that compiles by itself.

    Attributes:
        text: The source.
        entries: Names of its ``extern "C" __global__`` functions.
    """

    text: str
    entries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A C++ compiler.

    Attributes:
        command: The program and arguments of its own.
        identity: Changes when the program does.
    """

    command: tuple[str, ...]
    identity: str

    def run(self, jobs: Sequence[Sequence[str]]) -> None:
        """Run the compiler on each list of arguments, at the same time.

        Raises:
            CompileError: the compiler's words.
        """
        for done in run_all([[*self.command, *arguments] for arguments in jobs]):
            if done.status:
                report = "this is a bug in tracec unless you wrote the source; please report it"
                raise CompileError(
                    f"emulator: {Path(self.command[0]).name} rejects the source\n  "
                    + done.log.strip()[:4000].replace("\n", "\n  "),
                    hint=report if self.knows("-fno-tree-sra") else "the emulator needs g++; let TRACEC_CXX name one",
                )

    def knows(self, flag: str) -> bool:
        """Whether the compiler has that option."""
        (done,) = run_all([[*self.command, flag, "-E", "-x", "c++", os.devnull, "-o", os.devnull]])
        return not done.status


def find_toolchain() -> Toolchain:
    """The C++ compiler that ``TRACEC_CXX`` names, else g++.

    Raises:
        CompilerMissing: there is none, or the machine is one that the emulator does not know.
    """
    return _find(os.environ.get("TRACEC_CXX"), os.environ.get("PATH", ""), platform.system(), platform.machine())


@cache
def _find(chosen: str | None, path: str, system: str, machine: str) -> Toolchain:
    if system != "Linux" or machine not in ("x86_64", "aarch64"):
        raise CompilerMissing(
            f"emulator: switches stacks on Linux on x86_64 and aarch64, this is {system} on {machine}",
            hint="run with target='cpu', or on a GPU",
        )
    program, *arguments = (chosen or "g++").split()
    found = shutil.which(program, path=path)
    if found is None:
        what = f"TRACEC_CXX={chosen} is not there" if chosen else "no C++ compiler (g++) is on the path"
        raise CompilerMissing(f"emulator: {what}", hint="install g++, or set TRACEC_CXX to it")
    return Toolchain((found, *arguments), program_identity((found, *arguments)))


@cache
def folder() -> Path:
    """Where the emulator's headers lie."""
    package = Path(__file__).resolve().parent.parent
    roots = (package / "templates", package.parent / "templates")
    return next(p for p in (r / "cuda" / "emulator" for r in roots) if p.exists())


@cache
def _headers() -> str:
    return "".join(p.read_text(encoding="utf-8") for p in sorted(folder().glob("*.*")))


@cache
def _runtime(toolchain: Toolchain) -> tuple[Path, Any]:
    """The runtime, which every library of kernels refers to by its name."""
    name = key("emulator runtime", toolchain.identity, " ".join(_RUNTIME), _headers())

    def build() -> bytes:
        with temporary_folder() as place:
            output = place / "runtime.so"
            sources = [str(p) for p in sorted(folder().glob("*.cpp"))]
            toolchain.run([[*_RUNTIME, *sources, f"-Wl,-soname,tracec-emulator-{name}.so", "-o", str(output)]])
            return output.read_bytes()

    path = default_cache().made(name, "so", build)
    with unforked():
        library = ctypes.CDLL(str(path))
    return path, library.emulator_launch


class Library:
    """Compiled sources.

    Args:
        sources: What to compile; names of entries differ.
        checks: Whether accesses are checked, which makes a launch some ten times as slow.

    Raises:
        CompilerMissing: there is no C++ compiler.
        CompileError: a source does not compile.
    """

    def __init__(self, sources: Sequence[Source], checks: bool) -> None:
        toolchain = find_toolchain()
        self.sources = tuple(sources)
        self.checks = checks
        runtime, self.start = _runtime(toolchain)
        flags = _CHECKED if checks else _PLAIN
        texts = [LEADING_COMMENTS.sub(lambda m: "\n" * m[0].count("\n"), s.text) for s in sources]
        wished = (_POISONED,) if checks else ()
        name = key("emulator 2", toolchain.identity, " ".join((*flags, *wished)), _headers(), *texts)
        self.path = default_cache().made(name, "so", lambda: _build(toolchain, flags, wished, self.sources, runtime))
        with unforked():
            self._library = ctypes.CDLL(str(self.path))
        self.shared_size, self._symbols = thread_locals(self.path.read_bytes())
        self._probe = next(s.offset for s in self._symbols if s.name == "emulator_probe")
        places = self._places()
        self.image = places[1], places[2]

    def _places(self) -> tuple[int, int, int]:
        places = (ctypes.c_void_p * 3)()
        self._library.emulator_places(places)
        return places[0] or 0, places[1] or 0, places[2] or 0

    def shared(self) -> int:
        """Where shared memory starts for the thread of the host that asks."""
        return self._places()[0] - self._probe

    def function(self, entry: str) -> int:
        """Where an entry's code lies."""
        return ctypes.cast(getattr(self._library, f"emulate_{entry}"), ctypes.c_void_p).value or 0

    def bound(self, entry: str) -> int:
        """The most threads of a block, as the function declares them."""
        found = re.search(rf"__launch_bounds__\((\d+)[^)]*\)\s*(?:void\s+)?{entry}\s*\(", self.source_of(entry).text)
        return min(int(found[1]), MOST_THREADS) if found else MOST_THREADS

    def cluster(self, entry: str) -> int:
        """Blocks of a cluster, as the function declares them: along x."""
        marks = rf"__cluster_dims__\((\d+)(?:, 1, 1)?\)\s*(?:__\w+__\([^)]*\)\s*)*(?:void\s+)?{entry}\s*\("
        found = re.search(marks, self.source_of(entry).text)
        return int(found[1]) if found else 1

    def dynamic(self, entry: str) -> frozenset[str]:
        """Names of the arrays that dynamic shared memory is seen as."""
        return frozenset(_DYNAMIC.findall(self.source_of(entry).text))

    def source_of(self, entry: str) -> Source:
        """The source that an entry is in."""
        return next(s for s in self.sources if entry in s.entries)

    def arrays(self, entry: str, dynamic: int, shared: int) -> list[tuple[str, int, int]]:
        """Name, address and size of each array in shared memory that an entry can use.

        Args:
            entry: The function.
            dynamic: Bytes of dynamic shared memory.
            shared: Where shared memory starts.
        """
        source = self.source_of(entry)
        names = self.dynamic(entry) if dynamic else frozenset()
        # Those of the function itself, and of others that it may call, which are in the source's namespace.
        space = f"source{self.sources.index(source)}"
        own = f"_ZZ{len(entry)}{entry}E", f"_ZZN{len(space)}{space}"
        found = []
        for s in self._symbols:
            local = _LOCAL.match(s.name)
            if s.name in names:
                found.append((s.name, shared + s.offset, dynamic))
            elif local is not None and s.name.startswith(own):
                found.append((local[2][: int(local[1])], shared + s.offset, s.size))
        return found

    def guards(self, shared: int) -> list[tuple[int, int]]:
        """Address and size of what the compiler keeps beside arrays of types with constructors."""
        return [(shared + s.offset, s.size) for s in self._symbols if s.name.startswith("_ZGV")]


def _build(
    toolchain: Toolchain, flags: Sequence[str], wished: Sequence[str], sources: Sequence[Source], runtime: Path
) -> bytes:
    """Compile sources as few units and link them; options that are only wished for are left out where unknown."""
    flags = [*flags, *filter(toolchain.knows, wished)]
    with temporary_folder() as place:
        units = _units(sources, place)
        objects = [u.with_suffix(".o") for u in units]
        jobs = [[*flags, f"-I{folder()}", "-c", str(u), "-o", str(o)] for u, o in zip(units, objects, strict=True)]
        toolchain.run(jobs)
        output = place / "kernels.so"
        toolchain.run([["-shared", "-o", str(output), *map(str, objects), str(runtime), "-lm"]])
        return output.read_bytes()


def _units(sources: Sequence[Source], place: Path) -> list[Path]:
    """Write each source, and units that include them."""
    parts: list[list[int]] = [[] for _ in range(min(UNITS, len(sources)))]
    sizes = [0] * len(parts)
    for number in sorted(range(len(sources)), key=lambda n: -len(sources[n].text)):
        least = sizes.index(min(sizes))
        parts[least].append(number)
        sizes[least] += len(sources[number].text)
    found = []
    for part in range(len(parts)):
        lines = ['#include "device.h"', '#include "call.h"']
        # Before the namespaces, so that what stands in a source includes nothing more.
        lines += dict.fromkeys(line for n in parts[part] for line in _INCLUDE.findall(sources[n].text))
        for n in parts[part]:
            (place / f"source{n}.cu").write_text(sources[n].text, encoding="utf-8")
            # In a function that a kernel calls, an array is the one of that name only where it was declared so before.
            known = dict.fromkeys(m[0] for m in _DYNAMIC.finditer(sources[n].text) if _PLAIN_ELEMENT.search(m[0]))
            lines += [f"namespace source{n} {{", *(f'extern "C" {{ {d} }}' for d in known), f'#include "source{n}.cu"']
            lines += [f"EMULATOR_ENTRY({e})" for e in sources[n].entries] + ["}"]
        if part == 0:
            lines.append("EMULATOR_PLACES")
        found.append(place / f"unit{part}.cpp")
        found[-1].write_text("\n".join(lines) + "\n", encoding="utf-8")
    names = {n for s in sources for n in _DYNAMIC.findall(s.text)}
    if names:  # a unit of their own, where the sources' declarations of other types are not seen
        found.append(place / "dynamic.cpp")
        found[-1].write_text(
            "".join(
                f'extern "C" {{ alignas(1024) thread_local unsigned char {n}[{MOST_SHARED}]; }}\n'
                for n in sorted(names)
            )
        )
    return found
