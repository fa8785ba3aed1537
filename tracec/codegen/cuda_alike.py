"""Parts of what is joined that are alike: but for where they are read and written, how long they are, and constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

from tracec.codegen.cuda_access import Packs, find_packs, stride
from tracec.codegen.cuda_operand import forms, rebuilt, with_whole
from tracec.codegen.put_in import Values, put_in
from tracec.ir import index as ix
from tracec.ir.dtype import DType
from tracec.ir.extent import is_varying, like
from tracec.ir.kernel import (
    Const,
    Div,
    Expr,
    Let,
    Linear,
    Load,
    Mod,
    Ref,
    Stmt,
    Store,
    Var,
    expressions,
    subexpressions,
)
from tracec.ir.kernel import parts as operands_of

Statements = tuple[Let | Store, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the elements of a part are read or written: a buffer, some elements into it."""

    buffer: str
    offset: int


@dataclass(frozen=True, slots=True)
class Kind:
    """What is computed of parts that are alike.

    Attributes:
        loops: Extents of its loops but the outermost, which may be of any.
        body: What is in them, over places and constants by their numbers.
        packs: What of it is accessed in packs.
    """

    loops: tuple[int, ...]
    body: Statements
    packs: Packs


@dataclass(frozen=True, slots=True)
class Part:
    """A part of what is joined.

    Attributes:
        kind: What is computed.
        outermost: The extent of its outermost loop.
        places: What its memory stands for in this part,
        constants: and its constants.
    """

    kind: Kind
    outermost: int
    places: tuple[Place, ...]
    constants: tuple[Const, ...]

    @property
    def points(self) -> int:
        """Elements."""
        return self.outermost * prod(self.kind.loops)

    @property
    def chunks(self) -> int:
        """Packs, and elements that fill none."""
        return sum(divmod(self.points, self.kind.packs.width))


def few_loops(variables: Sequence[Var], body: Statements) -> tuple[tuple[Var, ...], Statements]:
    """The loops and what is in them, two as one where every index treats them so."""
    kept = [v for v in variables if not like(v.extent, 1)] or [variables[-1]]
    single: Values = {v.name: Const(0) for v in variables if v not in kept}
    body = changed(body, lambda e: put_in(e, single)) if single else body
    for at in reversed(range(len(kept) - 1)):
        outer, inner = kept[at : at + 2]
        every = [f for s in body for root in expressions(s) for f in forms(root)]
        if all(like(f.get(outer, 0), inner.extent * f.get(inner, 0)) for f in every):
            whole = Var(outer.name, outer.extent * inner.extent)
            body = changed(body, lambda e, o=outer, i=inner, w=whole: with_whole(e, o, i, w))  # type: ignore[misc]
            kept[at : at + 2] = [whole]
    return tuple(kept), body


def changed(body: Statements, change: Callable[[Expr], Expr]) -> Statements:
    """Statements with other expressions."""
    return tuple(
        replace(s, value=change(s.value))
        if isinstance(s, Let)
        else replace(s, index=change(s.index), value=change(s.value))
        for s in body
    )


def loads_of(s: Stmt) -> list[Load]:
    """What a statement loads."""
    return [e for root in expressions(s) for e in subexpressions(root) if isinstance(e, Load)]


def varies(s: Stmt) -> bool:
    """Whether a statement has a number in it that varies from call to call."""
    for e in (e for root in expressions(s) for e in subexpressions(root)):
        match e:
            case Linear(terms, offset) if is_varying(offset) or any(is_varying(c) for _, c in terms):
                return True
            case Const(value) if is_varying(value):
                return True
            case Div(_, by) | Mod(_, by) if is_varying(by):
                return True
    return False


def part_of(variables: Sequence[Var], body: Statements, buffers: dict[str, DType]) -> Part:
    """A part as one of its kind.

    Args:
        variables: Its loops, outermost first.
        body: What is in them.
        buffers: Types of the kernel's buffers.
    """
    packs = _packs(variables, body, buffers)
    kind = _Kind(variables, body)
    return Part(
        Kind(
            tuple(v.extent for v in variables[1:]),
            tuple(map(kind.statement, body)),
            Packs(packs.width, tuple(map(kind.access, packs.loads)), tuple(map(kind.access, packs.stores))),
        ),
        variables[0].extent,
        tuple(kind.places),
        tuple(kind.constants),
    )


def _packs(variables: Sequence[Var], body: Statements, buffers: dict[str, DType]) -> Packs:
    """The widest packs of which all that is stored, and some that is loaded, begins at a multiple.

    Where there are none, neighbouring threads take neighbouring elements: a thread that took several one by one would
    ask for as much as all of its warp does then.
    """
    last, ragged = variables[-1], len(variables) == 1
    walking = {(x.buffer, x.index) for s in body for x in loads_of(s) if stride(x.index, last) == 1}
    stores = {(s.buffer, s.index) for s in body if isinstance(s, Store)}
    packs = find_packs(body, last, buffers, ragged=ragged)
    while packs.width > 1 and (stores != {*packs.stores} or (walking and not packs.loads)):
        packs = find_packs(body, last, buffers, packs.width // 2, ragged=ragged)
    return packs


class _Kind:
    """Writes statements of one part as those of its kind: places, constants and scalars by their numbers.

    Args:
        variables: The loops, outermost first.
        body: What is in them.
    """

    def __init__(self, variables: Sequence[Var], body: Statements) -> None:
        self.places: dict[Place, str] = {}
        self.constants: list[Const] = []
        # Of how many elements a part is, its kind does not say.
        self._variables = {v: Var(f"i{n}", v.extent if n else 0) for n, v in enumerate(variables)}
        self._names = {s.name: f"v{n}" for n, s in enumerate(body) if isinstance(s, Let)}

    def statement(self, s: Let | Store) -> Let | Store:
        """A statement as that of the kind."""
        if isinstance(s, Let):
            return Let(self._names[s.name], self._expression(s.value))
        value = self._expression(s.value)
        buffer, index = self.access((s.buffer, s.index))
        return replace(s, buffer=buffer, index=index, value=value)

    def access(self, at: tuple[str, Expr]) -> tuple[str, Expr]:
        """What stands for a place in a buffer: another buffer that begins some elements further on."""
        buffer, index = at
        _, offset = ix.terms_of(index) if not isinstance(index, Load) else ({}, 0)
        name = self.places.setdefault(Place(buffer, offset), f"at{len(self.places)}")
        return name, self._index(ix.sub(index, offset) if offset else index)

    def _index(self, e: Expr) -> Expr:
        return self._expression(e, constants=False)

    def _expression(self, e: Expr, constants: bool = True) -> Expr:
        match e:
            case Load(buffer, index, dtype):
                return Load(*self.access((buffer, index)), dtype)
            case Var():
                return self._variables.get(e, e)
            case Ref(name, dtype):
                return Ref(self._names[name], dtype)
            case Const(_, dtype) if constants and dtype.kind == "f":
                self.constants.append(e)
                return Ref(f"c{len(self.constants) - 1}", dtype)
            case Linear(terms, offset):
                return Linear(tuple((self._index(t), c) for t, c in terms), offset)
            case _:
                return rebuilt(e, tuple(self._expression(p, constants) for p in operands_of(e)))


def with_names(e: Expr, known: Values) -> Expr:
    """The expression with variables and scalars replaced, and nothing decided by that."""
    if isinstance(e, (Var, Ref)):
        return known.get(e.name, e)
    return rebuilt(e, tuple(with_names(p, known) for p in operands_of(e)))
