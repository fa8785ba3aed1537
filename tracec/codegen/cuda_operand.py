"""An operand of a contraction: which thread loads what of a tile, and what of it can be computed once.

A thread's elements of a tile lie at one place along k, in parts along the other axis. So what its positions
owe to the other axis is known before the loop over k, for each part, and what they owe to k is the same for
all parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tracec.codegen.cuda_access import Packs, alignment, certain_loads, extent, stride
from tracec.codegen.cuda_dialect import memory_type
from tracec.codegen.cuda_entry import lines
from tracec.codegen.cuda_tiles import Tile
from tracec.codegen.cuda_writer import Element, Writer
from tracec.ir.dtype import DType
from tracec.ir.extent import divides, like, plain
from tracec.ir.kernel import Call, Const, Div, Expr, Let, Linear, Load, Mod, Var, parts, subexpressions

#: Bytes of the widest access.
WIDEST = 16


@dataclass(frozen=True, slots=True)
class OperandView:
    """One operand, as ``operand.j2`` writes it.

    Attributes:
        name: ``a`` or ``b``.
        axis: ``m`` or ``n``.
        size: Elements of a tile along that axis.
        along_k: Whether a pack's elements, and neighbouring threads, follow each other along k.
        width: Elements of a pack.
        lanes: Packs that threads next to each other take before the other axis moves on.
        parts: Packs of each thread,
        step: and how far apart they are along the axis.
        held: Arrays of what each part knows before the loop.
        hold: Statements that fill them for one part.
        moving: Statements for one place along k.
        guard: Condition under which a part's pack lies in the matrix; empty for always.
        packs: Statements that load packs.
        value: Element ``e`` of the part.
    """

    name: str
    axis: str
    size: int
    along_k: bool
    width: int
    lanes: int
    parts: int
    step: int
    held: tuple[str, ...]
    hold: tuple[str, ...]
    moving: tuple[str, ...]
    guard: str
    packs: tuple[str, ...]
    value: str


@dataclass(frozen=True, slots=True)
class Factor:
    """A factor of the products, its loops merged where its elements are neighbours across them.

    Attributes:
        value: The factor.
        along: The loops of its own axis.
        k: The loops of the products.
    """

    value: Expr
    along: tuple[Var, ...]
    k: tuple[Var, ...]

    @property
    def along_k(self) -> bool:
        """Whether neighbours in memory follow each other along k rather than along the factor's own axis."""
        return bool(plain(self.run(self.k)) > plain(self.run(self.along)))

    def run(self, variables: Sequence[Var]) -> int:
        """How many neighbouring elements the innermost of these loops walks."""
        if not variables:
            return 0
        last = variables[-1]
        loads = (e for e in subexpressions(self.value) if isinstance(e, Load))
        return last.extent if any(stride(e.index, last) == 1 for e in loads) else 0


def factor(value: Expr, along: Sequence[Var], k: Sequence[Var]) -> Factor:
    """A factor with adjacent loops merged wherever all of its indices treat two as one."""
    merged: list[tuple[Var, ...]] = []
    for variables in (along, k):
        kept = list(variables)
        for place in reversed(range(len(kept) - 1)):
            outer, inner = kept[place : place + 2]
            if all(like(f.get(outer, 0), inner.extent * f.get(inner, 0)) for f in forms(value)):
                whole = Var(f"{outer.name}_{inner.name}", outer.extent * inner.extent)
                value = with_whole(value, outer, inner, whole)
                kept[place : place + 2] = [whole]
        merged.append(tuple(kept))
    return Factor(value, *merged)


def forms(expr: Expr) -> Iterator[dict[Expr, int]]:
    """The linear forms in an expression: coefficients of loop variables in each index or part of one."""
    stack = [expr]
    while stack:
        e = stack.pop()
        if isinstance(e, Var):
            yield {e: 1}
        elif isinstance(e, Linear):
            yield {t: c for t, c in e.terms if isinstance(t, Var)}
            stack.extend(t for t, _ in e.terms if not isinstance(t, Var))
        else:
            stack.extend(parts(e))


def with_whole(expr: Expr, outer: Var, inner: Var, whole: Var) -> Expr:
    """The expression over one loop in place of two that it treats as one."""
    if isinstance(expr, Linear):
        terms = dict(expr.terms)
        terms.pop(outer, None)
        coefficient = terms.pop(inner, 0)
        kept = [(with_whole(t, outer, inner, whole), c) for t, c in terms.items()]
        if not coefficient:
            return replace(expr, terms=tuple(kept))
        if not kept and coefficient == 1 and not expr.offset:
            return whole
        return replace(expr, terms=(*kept, (whole, coefficient)))
    return rebuilt(expr, tuple(with_whole(p, outer, inner, whole) for p in parts(expr)))


def rebuilt(expr: Expr, operands: tuple[Expr, ...]) -> Expr:
    """The expression over other operands."""
    match expr:
        case Linear(terms, offset):
            return Linear(tuple((o, c) for o, (_, c) in zip(operands, terms, strict=True)), offset)
        case Div() | Mod():
            return replace(expr, value=operands[0])
        case Load():
            return replace(expr, index=operands[0])
        case Call():
            return replace(expr, args=operands)
        case _:
            return expr


# -- what is computed when -------------------------------------------------------------------------------------


class _Split:
    """Parts positions into what is known before the loop over k, and what moves with k.

    Attributes:
        held: Array → what each part computes before the loop.
        moving: Name → what is computed once for each place along k.
    """

    def __init__(self, name: str, own: Factor) -> None:
        self.name = name
        self.k = frozenset(own.k)
        self.held: dict[str, Expr] = {}
        self.moving: dict[str, Expr] = {}

    def position(self, expr: Linear) -> Expr:
        """A position over the names of its two sums; terms over both axes at once stay."""
        fixed = [(t, c) for t, c in expr.terms if _is_arithmetic(t) and not self._moves(t)]
        moves = [(t, c) for t, c in expr.terms if _is_arithmetic(t) and self._only_moves(t)]
        mixed = [(t, c) for t, c in expr.terms if (t, c) not in fixed and (t, c) not in moves]
        if not fixed or not (moves or mixed):
            return expr
        terms: list[tuple[Expr, int]] = [
            (Var(self._named(self.held, f"{self.name}_held", Linear(tuple(fixed), 0)), 1), 1)
        ]
        if moves:
            terms.append((Var(self._named(self.moving, f"{self.name}_move", Linear(tuple(moves), expr.offset)), 1), 1))
        return Linear((*terms, *mixed), 0 if moves else expr.offset)

    def split(self, expr: Expr) -> Expr:
        """An expression with its positions split; what is divided stays whole, since its range is known."""
        if isinstance(expr, Linear):
            return self.position(expr)
        if isinstance(expr, (Div, Mod)):
            return expr
        return rebuilt(expr, tuple(self.split(p) for p in parts(expr)))

    def _moves(self, expr: Expr) -> bool:
        return any(e in self.k for e in subexpressions(expr))

    def _only_moves(self, expr: Expr) -> bool:
        return all(e in self.k for e in subexpressions(expr) if isinstance(e, Var))

    def _named(self, table: dict[str, Expr], prefix: str, value: Expr) -> str:
        for name, known in table.items():
            if known == value:
                return name
        name = f"{prefix}{len(table)}"
        table[name] = value
        return name


def _is_arithmetic(expr: Expr) -> bool:
    """Whether an index is computed from loop variables alone."""
    return all(isinstance(e, (Var, Const, Linear, Div, Mod)) for e in subexpressions(expr))


# -- the view --------------------------------------------------------------------------------------------------


def operand_view(
    writer: Writer, name: str, axis: str, own: Factor, size: int, tile: Tile, dtype: DType
) -> tuple[OperandView, Packs]:
    """How a block loads an operand's tile.

    Args:
        writer: Writes the kernel.
        name: ``a`` or ``b``.
        axis: ``m`` or ``n``.
        own: The factor.
        size: Elements of a tile along the axis.
        tile: The tile.
        dtype: Of the sums.
    """
    along_k = own.along_k
    last = (own.k if along_k else own.along)[-1:]
    packs = _packs(writer, own.value, last[0], size, tile, WIDEST // dtype.itemsize, along_k) if last else Packs()
    width = packs.width
    lanes = tile.depth // width if along_k else tile.threads // tile.depth
    step = tile.threads // lanes if along_k else lanes * width
    split = _Split(name, own)
    loads: list[str] = []
    element = writer.derive({})
    indices = {index: split.split(index) for _, index in packs.loads}
    value = own.value if packs.loads else split.split(own.value)
    array = {v.name: f"{name}_{writer.name(v.name)}[part]" for v in own.along}
    texts = {**array, **{held: f"{held}[part]" for held in split.held}}
    at_first = writer.derive(texts)
    for number, (buffer, index) in enumerate(packs.loads):
        kind = f"Pack<{memory_type(writer.buffers[buffer])}, {width}>"
        where = f"{writer.name(buffer)} + {at_first.write(indices[index])}"
        loads.append(f"const {kind} pack{number} = load_pack<{width}>({where});")
        element.packs[buffer, index] = Element(f"pack{number}")
    if width > 1:
        text = last[0].name
        texts[text] = f"({array.get(text, writer.name(text))} + e)"
    element.names.update(texts)
    written = element.write(value)
    used = [v for v in own.along if array[v.name] in " ".join((written, *loads))]
    held = (*(f"{name}_{writer.name(v.name)}" for v in used), *split.held)
    hold = (
        *lines(writer.unflatten(axis, own.along)),
        *(f"{name}_{writer.name(v.name)}[part] = {writer.name(v.name)};" for v in used),
        *(f"{h}[part] = {writer.write(e)};" for h, e in split.held.items()),
    )
    moving = (
        *lines(writer.unflatten("k", own.k)),
        *(f"const {writer.index} {m} = {writer.write(e)};" for m, e in split.moving.items()),
    )
    view = OperandView(
        name, axis, size, along_k, width, lanes, size // step, step, held, hold, moving,
        _guard(writer, name, own, size, tile), tuple(loads), written,
    )  # fmt: skip
    return view, packs


def _guard(writer: Writer, name: str, own: Factor, size: int, tile: Tile) -> str:
    tests = []
    if not divides(size, extent(own.along)):
        tests.append(f"{name}_place < {writer.count(extent(own.along))}")
    if not divides(tile.depth, extent(own.k)):
        tests.append(f"k < {writer.count(extent(own.k))}")
    return " && ".join(tests)


def _packs(writer: Writer, value: Expr, last: Var, size: int, tile: Tile, most: int, along_k: bool) -> Packs:
    """The widest packs along a loop that still leave something for every thread."""
    loads = {(x.buffer, x.index): None for x in certain_loads((Let("value", value),))}
    across = tile.depth if along_k else size
    width = most
    while width > 1:
        fit = [
            (buffer, index)
            for buffer, index in loads
            if stride(index, last) == 1 and alignment(index, last) % width == 0
            and width * writer.buffers[buffer].itemsize <= WIDEST
        ]  # fmt: skip
        if fit and divides(width, last.extent) and across % width == 0 and size * tile.depth >= width * tile.threads:
            return Packs(width, tuple(fit))
        width //= 2
    return Packs()
