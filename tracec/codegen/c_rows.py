"""Rows of what is joined of several parts: where a row lies is asked once, not by each of its elements.

A concatenation's element is a selection among the parts. Where it is one row that tells the part, as of channels that
are normalised, a pointer to the row takes the place of the selection. Parts, and where they end, are lists: how many
there are is a number, so that norms over ever more parts, as a dense block has them, are alike (`c_alike`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace

from tracec.codegen.c_dialect import IN_MEMORY
from tracec.codegen.c_loops import LoopWriter, chain, with_calls_replaced, written_names
from tracec.codegen.c_source import Given
from tracec.codegen.expressions import ExpressionWriter
from tracec.codegen.tree import Line
from tracec.ir import dtype as dt
from tracec.ir import index as ix
from tracec.ir.dtype import DType
from tracec.ir.extent import is_varying
from tracec.ir.kernel import Call, Const, Expr, Kernel, Let, Load, Loop, Stmt, Store, Update, Var, parts

#: Parts that lie one behind the other, at least, and others among them at most.
LEAST_PARTS, MOST_OTHERS = 2, 3


@dataclass(frozen=True, slots=True)
class Row:
    """Where a row of what is joined lies.

    Attributes:
        name: Of a pointer to it.
        dtype: Of its elements.
        parts: Arrays that it may lie in.
        stops: The position from which on it lies in the next one; of the last, where the positions end.
        begins: What the index of a part's element is less than that of the whole.
        position: What tells the part.
        index: Of its first element, in the whole.
    """

    name: str
    dtype: DType
    parts: tuple[str, ...]
    stops: tuple[int, ...]
    begins: tuple[int, ...]
    position: Expr
    index: Expr

    def given(self, text: ExpressionWriter) -> tuple[Given, ...]:
        """The lists that the function is given."""
        parts = ", ".join(map(text.name, self.parts))
        stops, begins = (", ".join(map(str, n)) for n in (self.stops, self.begins))
        return (
            Given(f"const {IN_MEMORY[self.dtype]} *const ", f"{self.name}_parts", parts),
            Given("const long ", f"{self.name}_stops", stops, is_static=True),
            Given("const long ", f"{self.name}_begins", begins, is_static=True),
        )

    def lines(self, text: ExpressionWriter) -> tuple[str, ...]:
        """The statements that find it."""
        n, part = self.name, f"{self.name}_part"
        index = text.write(self.index)
        return (
            f"long {part} = 0;",
            f"while ({text.write(self.position)} >= {n}_stops[{part}]) {part}++;",
            f"const {IN_MEMORY[self.dtype]} *{n} = {n}_parts[{part}] + ({index} - {n}_begins[{part}]);",
        )


def choose_rows(kernel: Kernel) -> tuple[Kernel, tuple[Row, ...]]:
    """A kernel of rows, reading those of what is joined by pointers that stand at the beginning of its outer loops."""
    if kernel.shape != "row" or len(kernel.body) != 1 or not isinstance(kernel.body[0], Loop):
        return kernel, ()
    loops, body = chain(kernel.body[0])
    if loops[0].kind != "parallel":
        return kernel, ()
    finder = RowFinder({s.var for s in loops}, written_names(kernel.body))
    found = tuple(replace(s, body=finder.body(s.body)) if isinstance(s, Loop) else s for s in body)
    if not finder.rows:
        return kernel, ()
    for outer in reversed(loops):
        found = (replace(outer, body=found),)
    return replace(kernel, body=found), finder.rows


class RowFinder:
    """Finds rows of what is joined.

    Args:
        outer: Variables that a row's place hangs on.
        written: Arrays that are no operands.
    """

    def __init__(self, outer: Set[Var], written: Set[str]) -> None:
        self._outer, self._written = outer, written
        self._rows: dict[tuple[object, ...], Row] = {}

    @property
    def rows(self) -> tuple[Row, ...]:
        """Those that were found."""
        return tuple(self._rows.values())

    def body(self, body: Iterable[Stmt]) -> tuple[Stmt, ...]:
        """Statements, with rows read by their pointers."""
        return tuple(self._statement(s) for s in body)

    def _statement(self, s: Stmt) -> Stmt:
        if isinstance(s, Loop):
            return replace(s, body=self.body(s.body))
        return with_calls_replaced(s, self._replacements(s.value)) if isinstance(s, (Let, Update, Store)) else s

    def _replacements(self, value: Expr) -> dict[Call, Expr]:
        """What takes the place of the selections in a value, as large as they are."""
        found: dict[Call, Expr] = {}
        stack = [value]
        while stack:
            e = stack.pop()
            chosen = self._chosen(e) if isinstance(e, Call) else None
            if isinstance(e, Call) and chosen is not None:
                found[e] = chosen
            else:
                stack += parts(e)
        return found

    def _chosen(self, e: Call) -> Expr | None:
        """What takes a selection's place; None where it stays."""
        position = self._asked(e)
        if position is None:
            return None
        end = _end(position)
        groups: list[list[tuple[int, Expr]]] = []
        for stop, leaf in _leaves(e, position, end):
            if groups and (key := self._key(leaf)) is not None and self._key(groups[-1][-1][1]) == key:
                groups[-1].append((stop, leaf))
            else:
                groups.append([(stop, leaf)])
        joined = [len(g) >= LEAST_PARTS for g in groups]
        if not any(joined) or len(groups) > MOST_OTHERS + 1:
            return None
        result: Expr | None = None
        for group, is_row in reversed(list(zip(groups, joined, strict=True))):
            read = self._row(group, position, end) if is_row else group[0][1]
            if result is None:
                result = read
            else:
                condition = Call("lt", (position, Const(group[-1][0])), dt.bool_)
                result = Call("select", (condition, read, result), e.dtype)
        return result

    def _asked(self, e: Expr) -> Expr | None:
        """The position that tells a selection's part; None where it is another kind of selection."""
        position = _compared(e)
        if position is None:
            return None
        terms, offset = ix.terms_of(position)
        one = len(terms) == 1 and next(iter(terms)) in self._outer and next(iter(terms.values())) == 1
        return position if one and not is_varying((offset, *(v.extent for v in terms if isinstance(v, Var)))) else None

    def _key(self, e: Expr) -> tuple[object, ...] | None:
        """What elements of two parts have in common that may lie in one row; None of what is no such element."""
        if not isinstance(e, Load) or e.buffer in self._written:
            return None
        terms, offset = ix.terms_of(e.index)
        if is_varying(offset) or not all(isinstance(t, Var) for t in terms):
            return None
        return e.dtype, tuple(terms.items())

    def _row(self, group: list[tuple[int, Expr]], position: Expr, end: int) -> Expr:
        loads = [e for _, e in group if isinstance(e, Load)]
        terms, _ = ix.terms_of(loads[0].index)
        row, inside = (
            _sum((t, c) for t, c in terms.items() if (t in self._outer) == of_row) for of_row in (True, False)
        )
        parts = tuple(e.buffer for e in loads)
        stops = (*(stop for stop, _ in group[:-1]), end)
        begins = tuple(-int(ix.terms_of(e.index)[1]) for e in loads)
        key = parts, stops, begins, position, row
        found = self._rows.get(key)
        if found is None:
            name = f"row{len(self._rows)}"
            found = self._rows[key] = Row(name, loads[0].dtype, parts, stops, begins, position, row)
        return Load(found.name, inside, found.dtype)


class RowWriter(LoopWriter):
    """Writes a kernel that reads rows of what is joined.

    Args:
        kernel: The kernel.
        rows: Those rows.
        past_cache: As of `LoopWriter`.
    """

    def __init__(self, kernel: Kernel, rows: Sequence[Row], past_cache: Collection[str]) -> None:
        super().__init__(kernel, past_cache=past_cache)
        parts = list(dict.fromkeys(p for r in rows for p in r.parts))
        others = [b.name for b in kernel.buffers if b.role == "in" and b.name not in parts]
        # Names that do not tell how many parts there are.
        self.text.names |= {name: f"p{n}" for n, name in enumerate(parts)}
        self.text.names |= {name: f"x{n}" for n, name in enumerate(others)}
        self.beginning = tuple(Line(line) for r in rows for line in r.lines(self.text))


def _compared(e: Expr) -> Expr | None:
    match e:
        case Call("select", (Call("lt", (position, Const(bound))), _, _)) if position.dtype is dt.int64:
            return None if is_varying(bound) else position
    return None


def _end(position: Expr) -> int:
    """Where positions end; they are a loop variable's, moved."""
    terms, offset = ix.terms_of(position)
    return int(offset) + sum(int(v.extent) for v in terms if isinstance(v, Var))


def _leaves(e: Expr, position: Expr, end: int) -> Iterator[tuple[int, Expr]]:
    """What is selected by a position, and where the next one is."""
    stack = [(e, end)]
    while stack:
        e, stop = stack.pop()
        match e:
            case Call("select", (Call("lt", (asked, Const(bound))), then, other)) if asked == position:
                stack += [(other, stop), (then, min(int(bound), stop))]
            case _:
                yield stop, e


def _sum(terms: Iterable[tuple[Expr, int]]) -> Expr:
    total: Expr = Const(0)
    for e, c in terms:
        total = ix.add(total, ix.mul(e, c))
    return total
