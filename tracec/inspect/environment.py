"""What a machine has that matters to tracec."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np

from tracec import cache, cuda, version
from tracec.errors import TracecError
from tracec.runtime.blas import find_blas
from tracec.runtime.compiler import find_compiler
from tracec.runtime.emulator_library import find_toolchain
from tracec.runtime.threads import most

#: Where texts begin.
_COLUMN = 24


def environment() -> str:
    """A line for each: versions, compilers, GPUs, the disk cache, settings."""
    rows = [
        ("tracec", version.tracec),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("numpy", np.__version__),
        ("cpu", f"{_processor()}, {most()} threads"),
        (
            "blas",
            "NumPy's OpenBLAS" if find_blas().sgemm else "none that generated code can call: its own products run",
        ),
        ("c compiler", _told(lambda: " ".join((found := find_compiler()).command + found.flags))),
        ("emulator", _told(lambda: " ".join(find_toolchain().command))),
        ("cupy", _version("cupy-cuda13x", "cupy-cuda12x", "cupy")),
        ("nvrtc", _version("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12")),
        *_gpus(),
        ("cache", str(cache.info()).replace("\n", "\n" + " " * _COLUMN)),
        *sorted((name, value) for name, value in os.environ.items() if name.startswith("TRACEC_")),
    ]
    return "\n".join(f"{name:<{_COLUMN}}{text}" for name, text in rows)


def _told(find: Callable[[], str]) -> str:
    """What is found, or the error that says why nothing is and what to install."""
    try:
        return find()
    except TracecError as error:
        return f"none: {error.message}; {error.hint}"


def _version(*names: str) -> str:
    for name in names:
        try:
            return f"{metadata.version(name)} ({name})"
        except metadata.PackageNotFoundError:
            continue
    return "none"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _gpus() -> list[tuple[str, str]]:
    if not cuda.is_available():
        return [("gpu", _told(lambda: str(cuda.current_device())))]
    found = []
    for number in range(cuda.device_count()):
        p = cuda.get_device_properties(number)
        found.append((f"cuda:{number}", f"{p.name}, sm_{p.major}{p.minor}, {p.total_memory / 2**30:.1f} GiB"))
    return found
