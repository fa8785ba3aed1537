"""C functions: how one begins and what it does, the statements that call it, and the values that these name."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

from tracec.codegen.c_dialect import IN_MEMORY, C
from tracec.codegen.render import render_template
from tracec.codegen.sizes import Name, names_in
from tracec.ir.kernel import Kernel
from tracec.ir.plan import Plan


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a function.

    Attributes:
        type: What stands before its name, the space or the star in front of that included.
        name: Its name.
    """

    type: str
    name: str

    def __str__(self) -> str:
        return f"{self.type}{self.name}"


#: The tables of numbers that vary from call to call, of functions that are given them.
TABLES = (Parameter("const long *restrict ", "sizes"), Parameter("const double *restrict ", "reals"))


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of a function: ``macros.j2`` writes it.

    Attributes:
        name: The function's name.
        own: Its parameters, but for the tables.
        comments: Lines for readers, above it.
        is_one: Whether compilers may make no copies of it, each for some of its arguments.
        has_tables: Whether it is given the tables of numbers that vary.
        numbers: Those of their numbers that it names.
    """

    name: str
    own: tuple[Parameter, ...]
    comments: tuple[str, ...] = ()
    is_one: bool = False
    has_tables: bool = False
    numbers: tuple[Name, ...] = ()

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters."""
        return (*self.own, *TABLES) if self.has_tables else self.own


@dataclass(frozen=True, slots=True)
class Given:
    """A list that a function's statements read, of which others that are alike have other ones.

    Attributes:
        type: Of its elements, up to the name.
        name: Its name.
        values: Its elements, as C.
        is_static: Whether they are the same at each call.
    """

    type: str
    name: str
    values: str
    is_static: bool = False

    @property
    def parameter(self) -> Parameter:
        """What takes its place in a function that is given it."""
        return Parameter(f"{self.type}*", self.name)

    def __str__(self) -> str:
        return f"{'static ' if self.is_static else ''}{self.type}{self.name}[] = {{{self.values}}};"


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
class Around:
    """The statements of a function around its pieces, which are written when it is known what these are.

    Attributes:
        template: What writes them.
        view: What that is filled with.
        pieces: The pieces, in the order in which the template has them.
    """

    template: str
    view: Any
    pieces: tuple[Piece, ...]

    def written(self, pieces: tuple[str, ...]) -> str:
        """The statements around calls of functions."""
        return render_template(self.template, k=self.view, pieces=pieces)


@dataclass(frozen=True, slots=True)
class Function:
    """A C function that the entry calls, or that such functions do.

    Attributes:
        head: How it begins.
        body: Its statements.
        given: Lists that they read, which stand above them.
        around: What writes them, where it has pieces.
        before: Definitions that are for it alone.
        calls: Other such functions that it calls.
        within: Whether functions call it, and not the entry.
        asks: Whether it, or what it calls, asks for memory: there may be none, and `short_of_memory` is set.
    """

    head: Head
    body: str = ""
    given: tuple[Given, ...] = ()
    around: Around | None = None
    before: str = ""
    calls: tuple[str, ...] = ()
    within: bool = False
    asks: bool = False

    @property
    def name(self) -> str:
        """Its name."""
        return self.head.name

    @property
    def declaration(self) -> str:
        """What others need to call it, without a semicolon."""
        return f"HIDDEN void {self.name}({', '.join(map(str, self.head.parameters))})"

    def with_tables(self) -> Function:
        """The function with the tables among its parameters, where it names any of their numbers."""
        names = names_in(self.body)
        return replace(self, head=replace(self.head, has_tables=True, numbers=names)) if names else self

    @property
    def source(self) -> str:
        """Its definition."""
        return render_template("c/function.j2", f=self)


@dataclass(frozen=True, slots=True)
class Statement:
    """What an entry or a body does in one step: it calls functions.

    Attributes:
        template: What writes it.
        view: What that is filled with.
        callees: The functions.
        blas: Whether they call BLAS.
    """

    template: str
    view: Any
    callees: tuple[str, ...]
    blas: bool = False

    def written(self, with_tables: Set[str], asking: Set[str], leave: str) -> str:
        """The statement.

        Args:
            with_tables: Functions that are given the tables of numbers that vary.
            asking: Functions that ask for memory.
            leave: The way out where there was none: ``return``.
        """
        tables = () if with_tables.isdisjoint(self.callees) else TABLES
        more = "".join(f", {p.name}" for p in tables)
        way_out = "" if asking.isdisjoint(self.callees) else f"if (short_of_memory) {leave};"
        return render_template(self.template, s=self.view, more=more, way_out=way_out).rstrip()


@dataclass(frozen=True, slots=True)
class Call:
    """A plain call, as a statement.

    Attributes:
        name: The function's.
        args: What it is given.
    """

    name: str
    args: tuple[str, ...]


def plain_call(name: str, *args: str, blas: bool = False) -> Statement:
    """The statement that calls a function with these arguments."""
    return Statement("c/call.j2", Call(name, args), (name,), blas)


def parameters(kernel: Kernel, *, restrict: bool, names: Mapping[str, str] | None = None) -> tuple[Parameter, ...]:
    """The kernel's buffers as C parameters.

    Args:
        kernel: The kernel.
        restrict: Whether no two of them overlap of which one is written.
        names: Those that are other ones in C.
    """
    star, named = "*restrict " if restrict else "*", names or {}
    return tuple(
        Parameter(
            f"{'const ' if b.role == 'in' else ''}{IN_MEMORY[b.dtype]} {star}",
            named.get(b.name) or C.identifier(b.name),
        )
        for b in kernel.buffers
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
