"""Register spills are avoided by trial: a CUDA kernel that spills is rendered in another way and compiled again.

The code generator has several ways to write a kernel of each shape, an ordered list of them (the ladder of
`tracec.codegen.cuda_ladder`). Every kernel is compiled as the first rung writes it; where none spills, that is all. One
that spills is written by the next rung, and the next, until one does not, or else the rung that spills least is taken.
A kernel that was joined with others is tried on these rungs too, and launched apart where none fits. The rungs that
were chosen are kept in the disk cache, where the next process finds them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress

from tracec.codegen.cuda import CudaProgram, Rungs
from tracec.codegen.cuda_ladder import LADDERS, ladder
from tracec.progress import stage
from tracec.runtime import nvrtc
from tracec.runtime.cache import default_cache, key


def without_spills(program: CudaProgram, written: Callable[[Rungs], CudaProgram]) -> CudaProgram:
    """A program with its kernels on the first rungs on which they do not spill, or else spill least.

    Args:
        program: All kernels on their first rungs.
        written: Gives the program with some kernels on others.

    Raises:
        CompileError: NVRTC is missing or rejects the source.
    """
    place = _name(program)
    rungs, found = _read(place, program, written)
    if found is not None:
        return found
    found = written(rungs) if rungs else program
    single = {one.name for k in program.kernels for one in (k.ir, *k.riders)}
    tried: dict[str, dict[int, int]] = {}
    while True:
        wanted = {name: n for name, n in rungs.items() if name not in single}  # what was joined stays apart
        for kernel, spilled in zip(found.kernels, _spilled(found), strict=True):
            tried.setdefault(kernel.name, {})[rungs.get(kernel.ir.name, 0)] = spilled
            count = len(ladder(kernel.ir.shape))
            chosen = _next(tried[kernel.name], count + bool(kernel.riders))
            name = kernel.ir.name if chosen < count else kernel.name
            if chosen:
                wanted[name] = max(chosen, wanted.get(name, 0))
        if wanted == rungs:
            break
        stage("writing source with fewer registers")
        rungs, found = wanted, written(wanted)
    with suppress(OSError):  # a full disk: it is tried again
        default_cache().store(place, "json", json.dumps([rungs, _name(found)]).encode())
    return found


def _name(program: CudaProgram) -> str:
    """What stands for the sources of a program, and for all that they can be written as."""
    return key("rungs", repr(LADDERS), *(nvrtc.source_key(k.source, program.arch) for k in program.kernels))


def _read(
    place: str, program: CudaProgram, written: Callable[[Rungs], CudaProgram]
) -> tuple[dict[str, int], CudaProgram | None]:
    """The rungs that are kept, and the program on them; None where they were kept for another one."""
    kept = default_cache().read(place, "json")
    if kept is None:
        return {}, None
    rungs, name = json.loads(kept)
    found = written(rungs) if rungs else program
    return rungs, found if _name(found) == name else None


def _spilled(program: CudaProgram) -> list[int]:
    """Bytes that each kernel spills."""
    cubins = nvrtc.compile_sources([k.source for k in program.kernels], program.arch)
    return [c.resources.spill_bytes for c in cubins]


def _next(tried: Mapping[int, int], count: int) -> int:
    """The rung that does not spill, or else one that was not tried, or else the one that spills least.

    Args:
        tried: Rung → bytes spilled.
        count: How many there are.
    """
    least = min(tried, key=lambda n: (tried[n], n))
    following = max(tried) + 1
    return least if not tried[least] or following >= count else following
