"""One thread's share of a loop nest: a chunk of neighbouring elements, read and written in packs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from tracec.codegen.cuda_access import Packs, alignment, stride
from tracec.codegen.cuda_dialect import memory_type
from tracec.codegen.cuda_writer import Element, Writer
from tracec.codegen.tree import Block, Line, Tree
from tracec.ir.kernel import Call, Expr, Let, Load, Ref, Stmt, Store, Var, expressions, subexpressions


def write_chunk(
    writer: Writer, variables: Sequence[Var], body: Sequence[Stmt], packs: Packs, slot: str = ""
) -> tuple[Tree, ...]:
    """What a thread does for the chunk that the counter ``chunk`` numbers.

    Args:
        writer: Writes the kernel.
        variables: The loops around the body, outermost first.
        body: Statements of one iteration.
        packs: Accesses by pack; a chunk is one pack wide along the innermost loop.
        slot: Counter of the thread's chunks, for subscripts of scratch arrays.
    """
    if packs.width == 1:
        inner = writer.derive({})
        inner.arrays |= dict.fromkeys(writer.arrays, slot)
        if writer.far is not None:
            inner.far_arrays |= dict.fromkeys(writer.arrays, writer.far[1])
        return (*writer.unflatten("chunk", variables), *inner.statements(body))
    return (
        *first_of_pack(writer, "chunk", variables, packs.width),
        *write_pack(writer, variables[-1], body, packs, slot),
    )


def first_of_pack(writer: Writer, flat: str, variables: Sequence[Var], width: int) -> tuple[Tree, ...]:
    """Loop variables from a counter of packs; the innermost one under the name of the pack's first iteration."""
    last = variables[-1]
    chunks = replace(last, extent=last.extent // width)
    named = writer.derive({last.name: f"{writer.name(last.name)}_first"})
    return named.unflatten(flat, (*variables[:-1], chunks), width)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One thread's statements for one pack.

    Attributes:
        declared: Packs that are loaded, where they are arrays.
        loads: What loads them.
        rest: What is computed and stored.
    """

    declared: tuple[Tree, ...]
    loads: tuple[Tree, ...]
    rest: tuple[Tree, ...]


def write_pack(writer: Writer, last: Var, body: Sequence[Stmt], packs: Packs, slot: str = "") -> tuple[Tree, ...]:
    """The iterations of one pack along ``last``, whose first one `first_of_pack` names."""
    chunk = pack_chunk(writer, last, body, packs, slot)
    return (*chunk.loads, *chunk.rest)


def pack_chunk(writer: Writer, last: Var, body: Sequence[Stmt], packs: Packs, slot: str = "", arrays: int = 0) -> Chunk:
    """The iterations of one pack along ``last``, whose first one `first_of_pack` names.

    What is the same for all of them comes before, and so do random words, which are made four at a time.

    Args:
        writer: Writes the kernel.
        last: The innermost loop.
        body: Statements of one iteration.
        packs: Accesses by pack.
        slot: Counter of the thread's chunks, for subscripts of scratch arrays.
        arrays: The thread's chunks, which ``part`` counts, where all are loaded before the first is used.
    """
    width = packs.width
    at_first = writer.derive({last.name: f"{writer.name(last.name)}_first"})
    same, body = steady_first(writer, body, last)
    picks = needed_lets([index for _, index in packs.loads], same)
    inner = writer.derive({})
    inner.pack = last, frozenset(s.name for s in body if isinstance(s, Let)) | writer.each
    inner.arrays |= dict.fromkeys(writer.arrays, f"{slot} * {width} + e")
    if writer.far is not None:
        inner.far_arrays |= dict.fromkeys(writer.arrays, f"({writer.far[1]}) * {width} + e")
    declared: list[Tree] = []
    loads: list[Tree] = list(writer.statements(picks))
    before: list[Tree] = []
    after: list[Tree] = []
    for number, (buffer, index) in enumerate(dict.fromkeys((*packs.loads, *packs.stores))):
        name = f"{writer.name(buffer)}_pack{number}"
        kind = f"Pack<{memory_type(writer.buffers[buffer])}, {width}>"
        where = f"{writer.name(buffer)} + {at_first.write(index)}"
        loaded, stored = (buffer, index) in packs.loads, (buffer, index) in packs.stores
        at = f"{name}[part]" if loaded and arrays else name
        held = writer.held.get((buffer, index)) if loaded else None
        if held and not stored:
            inner.packs[buffer, index] = Element(held)
            continue
        if held:
            loads.append(Line(f"{kind} {name} = {held};"))
        elif loaded and arrays:
            declared.append(Line(f"{kind} {name}[{arrays}];"))
            loads.append(Line(f"{at} = load_pack<{width}>({where});"))
        elif loaded:
            loads.append(Line(f"{'' if stored else 'const '}{kind} {name} = load_pack<{width}>({where});"))
        else:
            before.append(Line(f"{kind} {name};"))
        if stored:
            text = f"store_pack({where}, {at});"
            after.append(Line(f"if ({writer.store_guard}) {text}" if writer.store_guard else text))
        inner.packs[buffer, index] = Element(at)
    if not arrays:  # loads are in the same scope
        same = tuple(s for s in same if s not in picks)
    before += [*writer.statements(same), *_random_words(inner, at_first, body, last, width)]
    rest = (*before, _each(inner, last, width, body), *after)
    return Chunk(tuple(declared), tuple(loads), rest)


def _each(writer: Writer, last: Var, width: int, body: Sequence[Stmt]) -> Block:
    """A loop over the elements of a pack."""
    name = writer.name(last.name)
    statements = writer.statements(body)
    if mentions(statements, name):
        statements = (Line(f"const {writer.index} {name} = {name}_first + e;"), *statements)
    return Block(f"for (int e = 0; e < {width}; ++e)", statements, ("unroll",))


def steady_first(writer: Writer, body: Sequence[Stmt], last: Var) -> tuple[tuple[Let, ...], tuple[Stmt, ...]]:
    """The names that are the same for all elements of a pack along ``last``, and the other statements."""
    written = {s.buffer for s in body if isinstance(s, Store)} | writer.arrays.keys()
    moving = {s.name for s in body if isinstance(s, Let)} | writer.each
    same: list[Let] = []
    rest: list[Stmt] = []
    for stmt in body:
        if isinstance(stmt, Let) and _is_steady(stmt.value, last, moving, written):
            same.append(stmt)
            moving.discard(stmt.name)
        else:
            rest.append(stmt)
    return tuple(same), tuple(rest)


def needed_lets(roots: Sequence[Expr], lets: Sequence[Let]) -> tuple[Let, ...]:
    """The names that expressions take, in order."""
    names = {e.name for root in roots for e in subexpressions(root) if isinstance(e, Ref)}
    found: list[Let] = []
    for let in reversed(lets):
        if let.name in names:
            found.append(let)
            names |= {e.name for e in subexpressions(let.value) if isinstance(e, Ref)}
    return tuple(reversed(found))


def _is_steady(expr: Expr, last: Var, moving: Collection[str], written: Collection[str]) -> bool:
    return not any(
        part == last or (isinstance(part, Ref) and part.name in moving)
        or (isinstance(part, Load) and part.buffer in written)
        for part in subexpressions(expr)
    )  # fmt: skip


def _random_words(inner: Writer, at_first: Writer, body: Sequence[Stmt], last: Var, width: int) -> Iterator[Tree]:
    """Makes the random words of neighbouring elements that start at a multiple of four, and notes their names."""
    moving = {s.name for s in body if isinstance(s, Let)} | inner.each
    parts = (p for s in body for e in expressions(s) for p in subexpressions(e))
    for call in dict.fromkeys(p for p in parts if isinstance(p, Call) and p.op == "philox" and width % 4 == 0):
        *key, element = call.args
        aligned = stride(element, last) == 1 and alignment(element, last) % 4 == 0
        if not aligned or not all(_is_steady(k, last, moving, ()) for k in key):
            continue
        words = f"words{len(inner.random)}"
        seed, draw, first = (at_first.write(a) for a in call.args)
        yield Line(f"unsigned {words}[{width}];")
        for start in range(0, width, 4):
            more = f" + {start}" if start else ""
            yield Line(f"philox_block({seed}, {draw}, (long long)({first}){more}, {words}{more});")
        inner.random[call] = f"{words}[e]"


def mentions(statements: Sequence[Tree], name: str) -> bool:
    """Whether an identifier occurs in statements."""
    pattern = re.compile(rf"\b{re.escape(name)}\b")
    stack = list(statements)
    while stack:
        tree = stack.pop()
        if isinstance(tree, Block):
            stack.extend(tree.body)
            if pattern.search(tree.head):
                return True
        elif pattern.search(tree.text):
            return True
    return False
