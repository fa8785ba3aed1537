"""C functions, and how plans' values are written in the entry."""

from __future__ import annotations

from dataclasses import dataclass

from tracec.codegen.c_dialect import IN_MEMORY, C
from tracec.ir.kernel import Kernel
from tracec.ir.plan import Plan


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a function that may be one of other functions too (`tracec.codegen.c_pieces`).

    Attributes:
        kind: What it does, which its name says.
        body: The statements.
        args: Buffers of the function that it is given.
    """

    kind: str
    body: str
    args: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A C function that the entry calls, or that such functions do.

    Attributes:
        name: Its name.
        params: Parameters, each with its type.
        source: Its definition.
        comments: Lines for readers, above it.
        pieces: Parts of it, for which ``@0@`` and so on stand in its definition.
        within: Whether functions call it, and not the entry.
    """

    name: str
    params: tuple[str, ...]
    source: str = ""
    comments: tuple[str, ...] = ()
    pieces: tuple[Piece, ...] = ()
    within: bool = False

    @property
    def declaration(self) -> str:
        return f"HIDDEN void {self.name}({', '.join(self.params)})"


def parameters(kernel: Kernel, *, restrict: bool) -> tuple[str, ...]:
    """The kernel's buffers as C parameters."""
    star = "*restrict " if restrict else "*"
    return tuple(
        f"{'const ' if b.role == 'in' else ''}{IN_MEMORY[b.dtype]} {star}{C.identifier(b.name)}" for b in kernel.buffers
    )


def comments(kernel: Kernel) -> tuple[str, ...]:
    """What the kernel computes, and for which lines of the user's program."""
    lines = []
    if kernel.ops:
        lines.append(_shortened(", ".join(kernel.ops)))
    if kernel.sources:
        lines.append("from " + _shortened(", ".join(map(str, kernel.sources))))
    return tuple(lines)


def _shortened(text: str) -> str:
    return text if len(text) <= 110 else text[:107] + "..."


def value(plan: Plan, index: int, offset: int = 0) -> str:
    """The address of a plan's value, some bytes into it."""
    v = plan.values[index]
    match v.place:
        case "input":
            base = f"io[{v.index}]"
        case "output":
            base = f"io[{len(plan.inputs) + v.index}]"
        case _:
            return f"(void *)(arena + {v.offset + offset})"
    return f"(char *){base} + {offset}" if offset else base
