"""What is joined of many parts: each block computes elements of one part, which it finds by its number.

A concatenation's element is a selection among all of its parts. As one loop over elements all parts are computed for
each, and all but one thrown away. Here blocks are dealt out part by part; a block goes down a tree of comparisons with
its number, alike for all of its threads, to where its part lies. Parts that are alike but for that are one function,
so that neither the text nor what a compiler takes for it grows with what is computed of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tracec.codegen.cuda_access import Packs, extent, peel
from tracec.codegen.cuda_alike import Kind, Part, Statements, changed, few_loops, loads_of, part_of, varies, with_names
from tracec.codegen.cuda_entry import (
    PARAMETER_BYTES,
    Call,
    Entry,
    Function,
    Head,
    Routine,
    View,
    ceil_div,
)  # fmt: skip
from tracec.codegen.cuda_map import THREADS, Span, chunks_each, map_view
from tracec.codegen.cuda_writer import Parameter, Writer, is_wide
from tracec.codegen.joined import LEAST, MOST, Joined, starts_of
from tracec.codegen.put_in import Values
from tracec.ir import index as ix
from tracec.ir.extent import is_varying, like, plain
from tracec.ir.kernel import (
    Buffer,
    Const,
    Kernel,
    Let,
    Loop,
    Ref,
    Stmt,
    Store,
    Var,
    expressions,
    subexpressions,
)  # fmt: skip

#: Bytes of a part that lie together, on the average: shorter runs share what memory gives at once.
LEAST_RUN = 32
#: Kinds of parts of which readers are told how they map to threads.
MOST_TOLD = 4
#: Buffers that the parameters of one launch have room for.
MOST_BUFFERS = PARAMETER_BYTES // 8


@dataclass(frozen=True, slots=True)
class PartsView(View):
    """What ``parts.j2`` needs.

    Attributes:
        functions: Definitions of what is done for each kind of parts.
        body: How a block finds its part, and calls one of them.
    """

    functions: tuple[str, ...]
    body: tuple[str, ...]


def parts_routine(kernel: Kernel, name: str) -> Routine | None:
    """Functions whose blocks each compute elements of one part; None where not many parts are joined.

    There are several where one has no room for pointers to all parts.

    Args:
        kernel: The kernel, of shape ``map``.
        name: The function's name.
    """
    found = _parts(kernel)
    if found is None or is_wide(kernel):
        return None
    shares = list(_shares(found))
    names = [f"{name}_{n}" for n in range(1, len(shares))]
    entries, calls = [], []
    for n, (share, own) in enumerate(zip(shares, (*names, name), strict=True)):
        every = {p.buffer for part in share for p in part.places}
        args = [a for a, b in enumerate(kernel.buffers) if b.name in every or len(shares) == 1]
        entries.append(_entry(kernel, own, share, [kernel.buffers[a] for a in args]))
        calls.append(Call(n, tuple(args)))
    return Routine(tuple(entries), tuple(calls))


# -- which ---------------------------------------------------------------------------------------------------


def _parts(kernel: Kernel) -> list[Part] | None:
    """The parts, in order of their kinds."""
    variables, inner = peel(kernel.body)
    stored = {s.buffer for s in inner if isinstance(s, Store)}
    own = all(isinstance(s, Let) or (isinstance(s, Store) and not s.add) for s in inner)
    if not own or plain(extent(variables)) <= THREADS or any(x.buffer in stored for s in inner for x in loads_of(s)):
        return None
    body: Statements = tuple(s for s in inner if isinstance(s, (Let, Store)))
    every = [starts_of(v, body) for v in variables]
    n = next((n for n, starts in enumerate(every) if LEAST <= len(starts) <= MOST), None)
    if n is None or not _lies_together(kernel, variables, n, len(every[n])):
        return None
    buffers = {b.name: b.dtype for b in kernel.buffers}
    found: list[Part] = []
    joined, computed = Joined(body), 0
    for start, stop in zip(every[n], (*every[n][1:], variables[n].extent), strict=True):
        along = replace(variables[n], extent=stop - start)
        values: Values = {along.name: ix.add(along, start)}
        loops, inside = few_loops((*variables[:n], along, *variables[n + 1 :]), joined.of_part(values))
        if any(is_varying(v.extent) for v in loops[1:]) or any(map(varies, inside)):
            return None
        found.append(part_of(loops, inside, buffers))
        computed += plain(found[-1].points) * _terms(inside)
    # Images between zeros are the same in the middle as everywhere, but for tests.
    if 2 * computed > plain(extent(variables)) * _terms(body) or not _has_room(kernel, found):
        return None
    order = {kind: n for n, kind in enumerate(dict.fromkeys(p.kind for p in found))}
    return sorted(found, key=lambda p: order[p.kind])


def _has_room(kernel: Kernel, parts: Sequence[Part]) -> bool:
    """Whether numbers of parts that vary have room among the parameters of one launch."""
    numbers = 2 * sum(is_varying(p.outermost) for p in parts)
    return not numbers or len(kernel.buffers) + numbers <= MOST_BUFFERS


def _terms(body: Sequence[Stmt]) -> int:
    """Loads and operations."""
    every = {e for s in body for root in expressions(s) for e in subexpressions(root)}
    return sum(not isinstance(e, (Const, Var, Ref)) for e in every)


def _lies_together(kernel: Kernel, variables: Sequence[Var], n: int, parts: int) -> bool:
    """Whether what blocks write apart are not single elements between those of others."""
    width = min(b.dtype.itemsize for b in kernel.buffers if b.role != "in")
    return like(extent(variables[:n]), 1) or bool(plain(extent(variables[n:])) * width >= LEAST_RUN * parts)


# -- as functions --------------------------------------------------------------------------------------------


def _shares(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Parts whose buffers are among the parameters of one function."""
    share: list[Part] = []
    taken: set[str] = set()
    for part in parts:
        own = {p.buffer for p in part.places}
        if share and len(taken | own) > MOST_BUFFERS:
            yield share
            share, taken = [], set()
        share.append(part)
        taken |= own
    yield share


def _entry(kernel: Kernel, name: str, parts: Sequence[Part], buffers: Sequence[Buffer]) -> Entry:
    """The function of some parts."""
    writer = Writer(replace(kernel, buffers=tuple(buffers)))
    members: dict[Kind, list[Part]] = {}
    for p in parts:
        members.setdefault(p.kind, []).append(p)
    functions: list[_Function] = []
    for n, own in enumerate(members.values()):
        named = f"{name}_part{n}" if len(members) > 1 else f"{name}_part"
        functions.append(_Function(kernel, named, own, functions[-1].end if functions else 0))
    body = tuple(_among(functions, writer))
    kinds = [f.schedule for f in functions[:MOST_TOLD]] + ["..."] * (len(functions) > MOST_TOLD)
    head = Head(name, writer.parameters(), THREADS, writer.flat)
    needed = {b.name: b.dtype.itemsize for b in buffers}
    sizes = dict(needed)
    for part in parts:
        packed = {buffer for buffer, _ in (*part.kind.packs.loads, *part.kind.packs.stores)}
        for number, place in enumerate(part.places):
            if f"at{number}" in packed:
                needed[place.buffer] = max(needed[place.buffer], part.kind.packs.width * sizes[place.buffer])
    return Entry(
        Function("parts", PartsView(head, tuple(str(f.definition) for f in functions), body)),
        (functions[-1].end, 1, 1), (THREADS, 1, 1), 0, tuple(needed.values()),
        schedule=f"{len(parts)} parts, each by blocks of its own: {'; '.join(kinds)}",
    )  # fmt: skip


def _among(functions: Sequence[_Function], writer: Writer) -> Iterator[str]:
    """Statements that call one of some functions for the block's part, by halves."""
    if len(functions) == 1:
        yield from functions[0].choice(writer)
        return
    half = len(functions) // 2
    yield f"if (blockIdx.x < {writer.count(functions[half].first)}) {{"
    yield from _inset(_among(functions[:half], writer))
    yield "} else {"
    yield from _inset(_among(functions[half:], writer))
    yield "}"


class _Function:
    """What a block does for a part of one kind, and how it finds which part that is.

    Args:
        kernel: The kernel.
        name: The function's name.
        parts: The parts of that kind.
        first: The first block of the first one.
    """

    def __init__(self, kernel: Kernel, name: str, parts: Sequence[Part], first: int) -> None:
        self._name, self._parts = name, parts
        one, self.kind = parts[0], parts[0].kind
        same = {n: c for n, c in enumerate(one.constants) if all(p.constants[n] == c for p in parts)}
        self._constants = [n for n in range(len(one.constants)) if n not in same]
        longest = Var("i0", max((p.outermost for p in parts), key=plain))
        known: Values = {"i0": longest, **{f"c{n}": c for n, c in same.items()}}
        body = changed(self.kind.body, lambda e: with_names(e, known))
        packs = self.kind.packs
        loads, stores = (tuple((b, with_names(i, known)) for b, i in x) for x in (packs.loads, packs.stores))
        self._packs = Packs(packs.width, loads, stores)
        self._variables = (longest, *(Var(f"i{n}", e) for n, e in enumerate(self.kind.loops, 1)))
        written = {s.buffer for s in body if isinstance(s, Store)}
        types = {b.name: b.dtype for b in kernel.buffers}
        shape = tuple(v.extent for v in self._variables)
        names = {f"at{n}": types[p.buffer] for n, p in enumerate(one.places)}
        buffers = tuple(Buffer(n, t, shape, "out" if n in written else "in") for n, t in names.items())
        nest: tuple[Stmt, ...] = body
        for v in reversed(self._variables):
            nest = (Loop(v, nest, "parallel"),)
        self._writer, self._body = Writer(replace(kernel, buffers=buffers, body=nest)), body
        chunks = sum(p.points // packs.width for p in parts)
        self._each = chunks_each(body, self._variables, self._writer, chunks)
        self._starts = [first]
        for p in parts:
            self._starts.append(self._starts[-1] + ceil_div(p.chunks, THREADS * self._each))

    @property
    def first(self) -> int:
        """Its first block."""
        return self._starts[0]

    @property
    def end(self) -> int:
        """The block behind the last one."""
        return self._starts[-1]

    @property
    def schedule(self) -> str:
        """How its parts map to threads, for readers."""
        width = self.kind.packs.width
        return f"{len(self._parts)} of {self._each} chunks a thread{f', packs of {width}' if width > 1 else ''}"

    @property
    def definition(self) -> Function:
        """The function, of the part's elements that a block computes."""
        writer, width = self._writer, self.kind.packs.width
        count = writer.count
        block = THREADS * self._each
        left = not all(like(p.points % width, 0) for p in self._parts)
        chunks = "size" if width == 1 else f"size / {count(width)}"
        span = Span(
            "block", count(block), f"size / {count(block * width)}", chunks,
            f"{chunks} + size % {count(width)}" if left else chunks,
            f"chunk - {chunks} + {chunks} * {count(width)}" if left else "", guarded=True,
        )  # fmt: skip
        types = writer.dialect.types
        constants = (f"{types[self._parts[0].constants[n].dtype]} c{n}" for n in self._constants)
        parameters: tuple[Parameter | str, ...] = (*writer.parameters(), *constants, "unsigned size", "unsigned block")
        top = Head(self._name, parameters, THREADS, writer.flat, is_called=True)
        return Function("map", map_view(top, writer, self._variables, self._body, self._packs, self._each, span))

    def choice(self, writer: Writer) -> Iterator[str]:
        """Statements that call the function for the block's part.

        Args:
            writer: Names the kernel's buffers.
        """
        every = [self._given(p, start, writer) for p, start in zip(self._parts, self._starts, strict=False)]
        same = {name: text for name, text in every[0].items() if all(e[name] == text for e in every)}
        for name, kind in self._types().items():
            if name not in same:
                yield f"{kind}{name};"
        if len(every) > 1:
            yield from self._tree([{k: v for k, v in e.items() if k not in same} for e in every])
        *args, first = (same.get(name, name) for name in self._types())
        yield f"{self._name}({', '.join(args)}, blockIdx.x{f' - {first}' if first != '0u' else ''});"

    def _types(self) -> dict[str, str]:
        """What differs from part to part, with the type in front of its name."""
        places = {str(p.name): f"{p.type} *" for p in self._writer.parameters()}
        types = self._writer.dialect.types
        constants = {f"c{n}": f"{types[self._parts[0].constants[n].dtype]} " for n in self._constants}
        return {**places, **constants, "size": "unsigned ", "first": "unsigned "}

    def _given(self, part: Part, first: int, writer: Writer) -> dict[str, str]:
        """What a part gives them."""
        names = (writer.name(p.buffer) for p in part.places)
        offsets = (f" {'-' if p.offset < 0 else '+'} {abs(p.offset)}" if p.offset else "" for p in part.places)
        places = {f"at{n}": f"{a}{b}" for n, (a, b) in enumerate(zip(names, offsets, strict=True))}
        literal = writer.dialect.literal
        constants = {f"c{n}": literal(c.value, c.dtype) for n, c in enumerate(part.constants) if n in self._constants}
        return {**places, **constants, "size": writer.count(part.points), "first": writer.count(first)}

    def _tree(self, every: Sequence[dict[str, str]], first: int = 0) -> Iterator[str]:
        """Statements that find a block's part among some, by halves."""
        if len(every) == 1:
            yield " ".join(f"{name} = {text};" for name, text in every[0].items())
            return
        half = len(every) // 2
        yield f"if (blockIdx.x < {self._writer.count(self._starts[first + half])}) {{"
        yield from _inset(self._tree(every[:half], first))
        yield "} else {"
        yield from _inset(self._tree(every[half:], first + half))
        yield "}"


def _inset(lines: Iterator[str] | tuple[str, ...]) -> Iterator[str]:
    return (f"  {line}" for line in lines)
