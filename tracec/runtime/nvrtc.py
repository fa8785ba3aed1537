"""CUDA C++ to machine code with NVRTC, which needs neither a GPU nor a driver.

Several sources are compiled as few programs, since starting the compiler costs more than a kernel; what
comes out is kept on disk by source, and a source that is known is never compiled again.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tracec.errors import CompileError
from tracec.ir.room import capability
from tracec.runtime.cache import LEADING_COMMENTS, default_cache, key

#: IEEE arithmetic: subnormals are kept, division and square root are rounded correctly. Fused multiply-adds
#: round once instead of twice.
OPTIONS = (
    "--std=c++17",
    "--ftz=false",
    "--prec-div=true",
    "--prec-sqrt=true",
    "--fmad=true",
    "--ptxas-options=-v",
)
#: Programs that a batch is compiled as at most, each on a thread of its own: two on a small machine.
PROGRAMS = max(2, min(8, (os.cpu_count() or 2) // 2))
#: How often to compile what no report is given on.
_TRIES = 5
#: Kernels of a program at least: starting the compiler takes as long as some of them.
KERNELS = 4

#: The first architecture that kernels run on: threads of a warp that wait for others go on by themselves from it on.
OLDEST = 70
#: Architectures of systems on a chip, whose code other GPUs of their generation do not run.
_ON_CHIP = frozenset((72, 87, 101, 110))

_INSTALL = (
    'pip install "tracec[cuda]" (cupy-cuda13x, nvidia-cuda-nvrtc, nvidia-cuda-runtime), '
    'or "tracec[cuda12]" where CuPy is cupy-cuda12x'
)
_ENTRY = re.compile(r"__global__\s+void\s+(?:__\w+__\([^)]*\)\s*)*(\w+)\s*\(")


@dataclass(frozen=True, slots=True)
class Resources:
    """What a function takes, as the assembler reports it.

    Attributes:
        registers: Of each thread.
        spill_bytes: Registers written to memory for want of room, stores and loads together, each thread.
        shared_bytes: Static shared memory of each block.
        stack_bytes: Local memory of each thread: arrays that are indexed at run time, and spills.
    """

    registers: int
    spill_bytes: int
    shared_bytes: int
    stack_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Cubin:
    """Machine code of one source.

    Attributes:
        image: An ELF file; sources that were compiled together share it.
        functions: Resources of each of the source's ``__global__`` functions.
        log: What the compiler said; empty where the code came from the cache.
    """

    image: bytes = field(repr=False)
    functions: Mapping[str, Resources]
    log: str = field(default="", repr=False)

    @property
    def resources(self) -> Resources:
        """The most that any of the functions takes."""
        every = [asdict(r) for r in self.functions.values()]
        return Resources(**{name: max(r[name] for r in every) for name in every[0]})


def compile_cuda(source: str, arch: str) -> Cubin:
    """Compile one source.

    Args:
        source: CUDA C++ with at least one ``extern "C" __global__`` function.
        arch: GPU architecture, ``sm_90``.

    Raises:
        CompileError: the source is wrong, the architecture is unknown, or CuPy or NVRTC is missing.
    """
    (cubin,) = compile_sources([source], arch)
    return cubin


def compile_sources(sources: Sequence[str], arch: str) -> tuple[Cubin, ...]:
    """Compile sources whose functions have different names, together.

    Args:
        sources: CUDA C++, each complete by itself.
        arch: GPU architecture, ``sm_90``.

    Raises:
        CompileError: a source is wrong, the architecture is unknown, or CuPy or NVRTC is missing.
    """
    keys = [source_key(s, arch) for s in sources]
    found: dict[str, Cubin] = {}
    images: dict[str, bytes | None] = {}
    for k in dict.fromkeys(keys):
        kept = _read(k, images)
        if kept is not None:
            found[k] = kept
    missing = {k: s for k, s in zip(keys, sources, strict=True) if k not in found}
    if missing:
        check_arch(arch)
        count = max(min(PROGRAMS, len(missing) // KERNELS), min(len(missing), 2))
        groups = [list(missing.items())[i::count] for i in range(count)]
        if len(groups) == 1:
            found |= _compile_group(groups[0], arch)
        else:
            with ThreadPoolExecutor(count, "tracec-nvrtc") as pool:
                for made in pool.map(_compile_group, groups, [arch] * len(groups)):
                    found |= made
        found |= _again([(k, s) for k, s in missing.items() if k not in found], arch)
    return tuple(found[k] for k in keys)


def check_arch(arch: str) -> None:
    """Refuse an architecture that this NVRTC cannot compile for, or that kernels do not run on.

    Raises:
        CompileError: lists those that it can.
    """
    every = _nvrtc().getSupportedArchs()
    known = [n for n in every if n >= OLDEST]
    match = re.fullmatch(r"sm_(\d+)[af]?", arch)
    number = int(match[1]) if match is not None else 0
    if number in known:
        return
    hint = f"use one of {', '.join(f'sm_{n}' for n in known)}"
    if OLDEST <= number < min(known):
        hint += '; "tracec[cuda12]" brings an NVRTC that compiles for older GPUs'
    if number > max(known):
        hint += "; a newer NVRTC may compile for it"
    if number in every:
        raise CompileError(f"nvrtc: kernels run on sm_{OLDEST} and later, not on {arch}", hint=hint)
    raise CompileError(f"nvrtc: architecture {arch!r} is unknown to NVRTC {'.'.join(map(str, _version()))}", hint=hint)


def nearest_arch(arch: str) -> str:
    """What to compile for, for a GPU of an architecture.

    Its own where NVRTC knows it, or else the latest before it of the same generation, whose code the GPU runs as well.
    Without either, and without NVRTC, its own.

    Args:
        arch: The GPU's, ``sm_90``.
    """
    own = capability(arch)
    try:
        known = _nvrtc().getSupportedArchs()
    except CompileError:  # whoever compiles meets it, too
        return arch
    if own in known:
        return arch
    near = [n for n in known if own // 10 == n // 10 and n < own and n not in _ON_CHIP]
    return f"sm_{max(near)}" if near else arch


def merge(sources: Sequence[str]) -> str:
    """One program of several: headers first, then each source in a namespace of its own."""
    if len(sources) == 1:
        return sources[0]
    headers: dict[str, None] = {}
    parts: list[str] = []
    for number, source in enumerate(sources):
        lines = source.splitlines()
        headers.update(dict.fromkeys(line for line in lines if line.startswith("#include")))
        rest = "\n".join(line for line in lines if not line.startswith("#include"))
        parts.append(f"namespace source{number} {{\n{rest}\n}}")
    return "\n".join((*headers, *parts)) + "\n"


def entry_names(source: str) -> tuple[str, ...]:
    """The ``__global__`` functions of a source."""
    return tuple(_ENTRY.findall(source))


def parse_log(log: str) -> dict[str, Resources]:
    """Function → resources, from what ``--ptxas-options=-v`` prints."""
    found: dict[str, Resources] = {}
    name, spill, stack = "", 0, 0
    for line in log.splitlines():
        if match := re.search(r"Compiling entry function '(\w+)'", line):
            name, spill, stack = match[1], 0, 0
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            # Functions that were not inlined follow under the entry's name.
            stack, spill = max(stack, int(match[1])), spill + int(match[2]) + int(match[3])
        elif match := re.search(r"Used (\d+) registers", line):
            shared = re.search(r"(\d+) bytes smem", line)
            found[name] = Resources(int(match[1]), spill, int(shared[1]) if shared else 0, stack)
    return found


# -- the compiler ------------------------------------------------------------------------------------------


@cache
def _nvrtc() -> Any:
    """CuPy's module for NVRTC, once it is known to work."""
    try:
        from cupy.cuda import nvrtc
    except ImportError as error:
        raise CompileError(f"nvrtc: CuPy cannot be imported ({error})", hint=_INSTALL) from None
    try:
        nvrtc.getVersion()
    except Exception as error:  # CuPy raises what the loader raised
        raise CompileError(f"nvrtc: NVRTC cannot be loaded ({error})", hint=_INSTALL) from None
    return nvrtc


@cache
def _version() -> tuple[int, ...]:
    return tuple(_nvrtc().getVersion())


@cache
def include_folders() -> tuple[str, ...]:
    """Where cuda_fp16.h and its like lie: in NVIDIA's wheels, else in a toolkit."""
    spec = importlib.util.find_spec("nvidia")
    roots = [Path(p) for p in spec.submodule_search_locations or ()] if spec else []
    folders = [f for root in roots for f in sorted(root.glob("*/include"))]
    folders += [Path(os.environ[name], "include") for name in ("CUDA_PATH", "CUDA_HOME") if name in os.environ]
    return tuple(str(f) for f in folders if (f / "cuda_fp16.h").exists())[:1]


def _again(unreported: Sequence[tuple[str, str]], arch: str) -> dict[str, Cubin]:
    """Compile, one by one, what the assembler did not report on: with several at work, reports go astray.

    Raises:
        CompileError: there is no report even so.
    """
    found: dict[str, Cubin] = {}
    for one in unreported:
        for _ in range(_TRIES):
            found |= _compile_group([one], arch)
            if one[0] in found:
                break
        else:
            names = ", ".join(entry_names(one[1]))
            raise CompileError(f"nvrtc: no report on what {names} takes", hint="please report this")
    return found


def _compile_group(group: Sequence[tuple[str, str]], arch: str) -> dict[str, Cubin]:
    """Compile sources as one program and keep the results; where that fails, say which source it was.

    Those that the assembler does not report on are left out.
    """
    sources = [s for _, s in group]
    try:
        image, log = _compile(merge(sources), arch)
    except CompileError:
        if len(group) == 1:
            raise
        return {k: c for one in group for k, c in _compile_group([one], arch).items()}
    resources = parse_log(log)
    module = key(*(k for k, _ in group))
    default_cache().store(module, "cubin", image)
    found: dict[str, Cubin] = {}
    for k, source in group:
        names = entry_names(source)
        if not resources.keys() >= set(names):
            continue
        functions = {name: resources[name] for name in names}
        described = {"module": module, "functions": {n: asdict(r) for n, r in functions.items()}}
        default_cache().store(k, "json", json.dumps(described).encode())
        found[k] = Cubin(image, functions, log)
    return found


def _compile(source: str, arch: str) -> tuple[bytes, str]:
    nvrtc = _nvrtc()
    options = [f"--gpu-architecture={arch}", *OPTIONS, *(f"--include-path={f}" for f in include_folders())]
    if _version() >= (13, 0):
        # With a driver NVRTC keeps what it compiled, and then the assembler has nothing to report.
        options.append("--no-cache")
    program = nvrtc.createProgram(source, "kernel.cu", [], [])
    try:
        try:
            nvrtc.compileProgram(program, options)
        except nvrtc.NVRTCError as error:
            log = nvrtc.getProgramLog(program).strip("\0\n ")
            raise _failure(source, arch, log or str(error)) from None
        image = bytes(nvrtc.getCUBIN(program))
        # CuPy drops the last byte, without which disassemblers refuse the image.
        return image + b"\0", nvrtc.getProgramLog(program).strip("\0\n ")
    finally:
        nvrtc.destroyProgram(program)


def _failure(source: str, arch: str, log: str) -> CompileError:
    """The compiler's words, and the numbered lines of the source around the first error."""
    name = (*entry_names(source), "kernel")[0]
    match = re.search(r"kernel\.cu\((\d+)\): (?:catastrophic )?error", log)
    where = None
    if match:
        at = int(match[1])
        lines = source.splitlines()
        first = max(at - 4, 1)
        where = "\n  ".join(
            f"{'>' if number == at else ' '} {number:4} | {line}"
            for number, line in enumerate(lines[first - 1 : at + 3], first)
        )
    return CompileError(
        f"nvrtc: {name} does not compile for {arch}\n  " + log.replace("\n", "\n  "),
        where=where,
        hint="this is a bug in tracec unless you wrote the source; please report it with the lines above",
    )


# -- the cache ---------------------------------------------------------------------------------------------


def source_key(source: str, arch: str) -> str:
    """What the machine code depends on; not the comments above it, which name the user's lines.

    Args:
        source: CUDA C++.
        arch: GPU architecture, ``sm_90``.

    Raises:
        CompileError: CuPy or NVRTC is missing.
    """
    return key("cuda", ".".join(map(str, _version())), arch, " ".join(OPTIONS), LEADING_COMMENTS.sub("", source))


def _read(name: str, images: dict[str, bytes | None]) -> Cubin | None:
    """What is kept under a name. Files are read once: sources that were compiled together share one."""
    cache = default_cache()
    described = cache.read(name, "json")
    if described is None:
        return None
    values = json.loads(described)
    module = values["module"]
    if module not in images:
        images[module] = cache.read(module, "cubin")
    image = images[module]
    if image is None:
        return None
    return Cubin(image, {n: Resources(**r) for n, r in values["functions"].items()})
