"""Functions that are launched one after another to do a kernel's work, and the arrays that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracec.codegen.cuda_entry import Call, Entry, Routine
from tracec.codegen.cuda_writer import Parameter, Writer
from tracec.ir.kernel import Kernel


class Steps:
    """Functions that are launched one after another, and the arrays that they share.

    Attributes:
        kernel: Whose work they do.
        writer: Writes it.
        buffers: The kernel's buffers, as arguments.
    """

    def __init__(self, kernel: Kernel, writer: Writer) -> None:
        self.kernel, self.writer = kernel, writer
        self.buffers = tuple(range(len(kernel.buffers)))
        self._found = Routine((), ())

    @property
    def arguments(self) -> int:
        """How many there are to choose from."""
        return len(self.buffers) + len(self._found.workspace)

    def array(self, name: str, kind: str, nbytes: int) -> Shared:
        """An array of the workspace."""
        self.add(Routine((), (), (nbytes,)))
        return Shared(name, kind, self.arguments - 1)

    def add(self, more: Routine) -> None:
        """Functions and arrays behind those so far; arguments are numbered as if they were there."""
        entries, calls, workspace = self._found.entries, self._found.calls, self._found.workspace
        calls += tuple(Call(c.entry + len(entries), c.args) for c in more.calls)
        self._found = Routine(entries + more.entries, calls, workspace + more.workspace)

    def one(self, entry: Entry, shared: Sequence[Shared] = ()) -> None:
        """A function of the kernel's buffers and some arrays."""
        self.add(Routine((entry,), (Call(0, (*self.buffers, *(a.number for a in shared))),)))

    def parameters(self, read: Sequence[Shared], written: Sequence[Shared] = ()) -> tuple[Parameter, ...]:
        """What such a function takes."""
        kernels = self.writer.parameters()
        return (*kernels, *(a.read for a in read), *(a.written for a in written))

    def routine(self) -> Routine:
        """All of it."""
        return self._found


@dataclass(frozen=True, slots=True)
class Shared:
    """An array of the workspace, and its number among a function's arguments."""

    name: str
    type: str
    number: int

    @property
    def read(self) -> Parameter:
        """As a parameter that is only read."""
        return Parameter(f"const {self.type}", self.name)

    @property
    def written(self) -> Parameter:
        """As a parameter that is written to."""
        return Parameter(self.type, self.name)
