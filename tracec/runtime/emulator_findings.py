"""What the emulator finds, in words: what happened, and where in the generated source."""

from __future__ import annotations

import ctypes
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tracec.errors import EmulatorError
from tracec.runtime.emulator_library import Library
from tracec.runtime.processes import run_all


class Finding(ctypes.Structure):
    """Mirrors `Finding` of ``templates/cuda/emulator/launch.h``."""

    _fields_ = [
        ("kind", ctypes.c_int32), ("line", ctypes.c_int32), ("site", ctypes.c_uint64), ("address", ctypes.c_uint64),
        ("size", ctypes.c_uint32), ("access", ctypes.c_int32), ("block", ctypes.c_uint32 * 3),
        ("thread", ctypes.c_uint32 * 3), ("other_line", ctypes.c_int32), ("other_site", ctypes.c_uint64),
        ("other_access", ctypes.c_int32), ("other_block", ctypes.c_uint32 * 3), ("other_thread", ctypes.c_uint32 * 3),
        ("region", ctypes.c_int32), ("of_block", ctypes.c_uint32), ("value", ctypes.c_int64),
        ("text", ctypes.c_char * 64),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Buffer:
    """Memory that a launch may use.

    Attributes:
        name: For messages, ``x``.
        dtype: For messages, ``float32``.
        address: Where it starts.
        nbytes: Bytes.
        itemsize: Bytes of an element.
        writable: Whether the kernel may write it.
        owners: Address of 16 bits for each byte that say which value wrote it last; 0 where all may be read.
        owner: The value that this buffer stands for.
        value: For messages, what that is.
    """

    name: str
    dtype: str
    address: int
    nbytes: int
    itemsize: int
    writable: bool = True
    owners: int = 0
    owner: int = 0
    value: str = ""

    def __str__(self) -> str:
        value = f", {self.value}" if self.value else ""
        return f"buffer {self.name} ({self.dtype}[{self.nbytes // self.itemsize}]{value})"

    def element(self, address: int) -> int:
        """The number of the element at an address."""
        return (address - self.address) // self.itemsize


@dataclass(frozen=True, slots=True)
class Context:
    """What a finding's numbers refer to.

    Attributes:
        library: The code.
        entry: The function that ran.
        buffers: Memory that it was given, by address.
        arrays: Name, address and size of each array in shared memory.
        shared: Address and size of all shared memory.
        owners: What the numbers of owners stand for.
        lost: For an owner, since when its memory is no longer its own.
    """

    library: Library
    entry: str
    buffers: Sequence[Buffer]
    arrays: Sequence[tuple[str, int, int]]
    shared: tuple[int, int]
    owners: Mapping[int, str] = field(default_factory=dict)
    lost: Mapping[int, str] = field(default_factory=dict)


def error_of(finding: Finding, context: Context) -> EmulatorError:
    """The error that says what was found."""
    what = _WORDS[finding.kind](finding, context)
    line, text = _line(context, finding.line, finding.site)
    where = [f"in block {_index(finding.block)}, thread {_index(finding.thread)}, {_at(line, text)}"]
    if finding.kind in (_RACE, _ON_ITS_WAY, _CHANGED) or (
        finding.kind in (_BARRIER, _WARP, _CLUSTER) and finding.other_line
    ):
        line, text = _line(context, finding.other_line, finding.other_site)
        where.append(f"the other: {_at(line, text)}")
    return EmulatorError(f"emulator: {context.entry}: {what}", where="\n  ".join(where))


# -- what happened -----------------------------------------------------------------------------------------


def _access(f: Finding, access: int | None = None) -> str:
    access = f.access if access is None else access
    name = "write" if access & 2 else "read"
    return f"atomic {'update' if access & 3 == 3 else name}" if access & 4 else name


def _of(f: Finding) -> str:
    return f"{_access(f)} of {f.size} byte{'s' if f.size > 1 else ''}"


def _place(f: Finding, c: Context) -> str:
    """The element of a buffer, or the byte of a shared array."""
    if 0 <= f.address - c.shared[0] < c.shared[1]:
        name, start, _ = c.arrays[f.region]
        return f"byte {f.address - start} of shared array {name}{_owner(f)}"
    buffer = c.buffers[f.region]
    return f"element {buffer.element(f.address)} of {buffer}"


def _owner(f: Finding) -> str:
    return f" of block {f.of_block - 1} of the cluster" if f.of_block else ""


def _bounds(f: Finding, c: Context) -> str:
    before = [b for b in c.buffers if b.address <= f.address]
    after = [b for b in c.buffers if b.address > f.address]
    near = before[-1] if before else None
    if after and (near is None or f.address - near.address - near.nbytes > after[0].address - f.address):
        near = after[0]
    if near is None or abs(f.address - near.address) > near.nbytes + (1 << 24):
        return f"{_of(f)} at address {f.address:#x}, which is in no buffer"
    side = "before the start" if f.address < near.address else "past the end"
    return f"{_of(f)} {side} of {near} at element {near.element(f.address)}"


def _unwritten(f: Finding, c: Context) -> str:
    lost = c.lost.get(c.buffers[f.region].owner, "")
    return f"{_of(f)} at {_place(f, c)}, which nothing has written{lost and ' '}{lost}"


def _taken(f: Finding, c: Context) -> str:
    other = c.owners.get(f.value, "another value")
    return f"{_of(f)} at {_place(f, c)}, which has been overwritten by {other}"


def _pointer(f: Finding, c: Context) -> str:
    name = f.text.decode(errors="replace").strip("'")
    inside = [b for b in c.buffers if b.address <= f.address < b.address + b.nbytes]
    place = f" at element {inside[0].element(f.address)} of {inside[0]}" if inside else ""
    return f"misaligned {_access(f)} of {name}{place}: the address is no multiple of {f.value}"


def _shared_bounds(f: Finding, c: Context) -> str:
    before = [a for a in c.arrays if a[1] <= f.address]
    if not before:
        return f"{_of(f)} outside of every shared array"
    name, start, size = before[-1]
    return f"{_of(f)} past the end of shared array {name}{_owner(f)} ({size} bytes) at byte {f.address - start}"


def _race(f: Finding, c: Context) -> str:
    other = list(f.other_block) != list(f.block)
    who = _who(f)
    did = _did(f)
    shared = 0 <= f.address - c.shared[0] < c.shared[1]
    barrier = "with no fence and barrier of the cluster between" if shared else "in the same launch"
    between = barrier if other else "with no barrier between"
    if f.other_access & 16:  # which ended when its thread waited for it, whatever was between it and that
        did, between = "copied to", between.replace("between", "behind its wait")
    return f"race: {_of(f)} at {_place(f, c)}, which {who} {did} {between}"


def _did(f: Finding) -> str:
    return {"write": "wrote", "read": "read"}.get(_access(f, f.other_access), "updated atomically")


def _who(f: Finding) -> str:
    """The other thread, as this one sees it."""
    if list(f.other_block) != list(f.block):
        return f"block {_index(f.other_block)}, thread {_index(f.other_thread)}"
    same = list(f.other_thread) == list(f.thread)
    return "this thread" if same else f"thread {_index(f.other_thread)}"


def _left(f: Finding, c: Context) -> str:
    what = "which it has not waited for" if f.value else "which it has neither committed nor waited for"
    return f"ends with a copy of {f.size} bytes on its way to {_place(f, c)}, {what}"


def _barrier(f: Finding, c: Context) -> str:
    if f.other_access == -1:
        return f"divergent barrier: not reached by thread {_index(f.other_thread)}, which has ended"
    return f"divergent barrier: thread {_index(f.other_thread)} waits at another one"


def _warp(f: Finding, c: Context) -> str:
    name = _collective(f.access)
    if f.other_access == -2:
        return f"divergent {name}: thread {_index(f.other_thread)} of the warp waits at a barrier"
    kind = _collective(f.other_access)
    which = f"a {kind}" if kind != name else "another one" if f.other_line != f.line else "one with another mask"
    return f"divergent {name}: thread {_index(f.other_thread)} of the warp waits at {which}"


def _collective(kind: int) -> str:
    return ("warp barrier", "shuffle", "vote", "match")[kind]


def _cluster(f: Finding, c: Context) -> str:
    who = f"thread {_index(f.other_thread)} of block {_index(f.other_block)}"
    return f"divergent barrier of the cluster: {who} does not come to it"


_RACE, _BARRIER, _WARP, _CLUSTER, _ON_ITS_WAY, _CHANGED = 8, 9, 10, 16, 22, 23
_WORDS: dict[int, Callable[[Finding, Context], str]] = {
    1: _bounds,
    2: lambda f, c: f"{_of(f)} at {_place(f, c)}, which the kernel only reads",
    3: _unwritten,
    4: _taken,
    5: _shared_bounds,
    6: lambda f, c: f"{_of(f)} at {_place(f, c)}, which this block has not written",
    7: lambda f, c: f"misaligned {_of(f)} at {_place(f, c)}: the address is no multiple of {f.size}",
    _RACE: _race,
    _BARRIER: _barrier,
    _WARP: _warp,
    11: lambda f, c: f"a warp function's mask {f.value & 0xFFFFFFFF:#010x} leaves out the lane that calls it",
    12: lambda f, c: f"shuffle from lane {f.value}, which has ended or is not in the mask",
    13: lambda f, c: f"index {f.value} is outside of {f.text.decode(errors='replace').strip(chr(39))}",
    14: _pointer,
    15: lambda f, c: "waits in a loop for what no other thread does",
    _CLUSTER: _cluster,
    17: lambda f, c: "comes to the barrier of the cluster again, and has not waited for the others there",
    18: lambda f, c: "waits at the barrier of the cluster, and has not come to it",
    19: lambda f, c: f"place in block {f.value} of the cluster, which has no such block",
    20: lambda f, c: (
        f"{_of(f)} of shared memory{_owner(f)}, which may not have begun: no barrier of the cluster is before"
    ),
    21: lambda f, c: f"{_of(f)} of shared memory{_owner(f)}, which may have ended: no barrier of the cluster is behind",
    _ON_ITS_WAY: lambda f, c: (
        f"{_of(f)} at {_place(f, c)}, to which a copy is on its way that {_who(f)} has not waited for"
    ),
    _CHANGED: lambda f, c: (
        f"copy of {f.size} bytes from {_place(f, c)}, which {_who(f)} {_did(f)} before the copy was waited for"
    ),
    24: _left,
    25: lambda f, c: f"a copy of {f.value} bytes to shared memory, where 4, 8 or 16 can be",
    26: lambda f, c: f"a copy of {f.size} bytes to shared memory, of which the last {f.value} are zeros",
    27: lambda f, c: f"a copy of {f.size} bytes to what is not shared memory of the block",
    28: lambda f, c: f"a copy of {f.size} bytes to shared memory from what is not global memory",
}


# -- where -------------------------------------------------------------------------------------------------


def _index(index: Sequence[int]) -> str:
    return f"({', '.join(str(i) for i in index)})"


def _at(line: int, text: str) -> str:
    return f"line {line}: {text}" if line else "at an unknown line (addr2line, of binutils, tells which)"


def _line(context: Context, line: int, site: int) -> tuple[int, str]:
    """Number and text of a line of the source that holds the entry."""
    source = context.library.source_of(context.entry)
    if not line and site:
        line = _resolve(context.library, site)
    lines = source.text.splitlines()
    return line, lines[line - 1].strip() if 0 < line <= len(lines) else ""


def _resolve(library: Library, site: int) -> int:
    """The line of an address in the code; in the kernel itself where functions were inlined into it."""
    program = shutil.which("addr2line")
    if program is None:
        return 0
    command = [program, "-i", "-e", str(library.path), hex(site - library.image[0])]
    (done,) = run_all([command])
    found = re.findall(r"source\d+\.cu:(\d+)", done.log)
    return int(found[-1]) if found else 0
