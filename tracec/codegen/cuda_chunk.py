"""One thread's share of a loop nest: a chunk of neighbouring elements, read and written in packs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from tracec.codegen.cuda_access import Packs
from tracec.codegen.cuda_dialect import memory_type
from tracec.codegen.cuda_writer import Writer
from tracec.codegen.tree import Block, Line, Tree
from tracec.ir.kernel import Stmt, Var


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
    lines = list(named.unflatten(flat, (*variables[:-1], chunks)))
    lines[-1] = Line(_scaled(lines[-1], width))
    return tuple(lines)


def write_pack(writer: Writer, last: Var, body: Sequence[Stmt], packs: Packs, slot: str = "") -> tuple[Tree, ...]:
    """The iterations of one pack along ``last``, whose first one `first_of_pack` names."""
    width, first = packs.width, f"{writer.name(last.name)}_first"
    at_first = writer.derive({last.name: first})
    lines: list[Tree] = []
    inner = writer.derive({})
    inner.arrays |= dict.fromkeys(writer.arrays, f"{slot} * {width} + e")
    after: list[Tree] = []
    for number, (buffer, index) in enumerate(dict.fromkeys((*packs.loads, *packs.stores))):
        name = f"{writer.name(buffer)}_pack{number}"
        kind = f"Pack<{memory_type(writer.buffers[buffer])}, {width}>"
        where = f"{writer.name(buffer)} + {at_first.write(index)}"
        loaded = f" = load_pack<{width}>({where})" if (buffer, index) in packs.loads else ""
        lines.append(Line(f"{'' if (buffer, index) in packs.stores else 'const '}{kind} {name}{loaded};"))
        if (buffer, index) in packs.stores:
            stored = f"store_pack({where}, {name});"
            after.append(Line(f"if ({writer.store_guard}) {stored}" if writer.store_guard else stored))
        inner.packs[buffer, index] = f"{name}.at[e]"
    statements = inner.statements(body)
    if mentions(statements, writer.name(last.name)):
        statements = (Line(f"const {writer.index} {writer.name(last.name)} = {first} + e;"), *statements)
    return (*lines, Block(f"for (int e = 0; e < {width}; ++e)", statements, ("unroll",)), *after)


def _scaled(line: Tree, width: int) -> str:
    assert isinstance(line, Line)
    return f"{line.text.removesuffix(';')} * {width};"


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
