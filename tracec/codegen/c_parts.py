"""Loops written out in parts, over which everything moves by one element and no position is tested.

Where ``i // 2`` and ``i % 2`` tell what an element is made of, neighbours have little in common; of the elements
``2 q``, or ``2 q + 1``, neighbours along q read neighbours. And whether a window meets padding is the same for all of a
row but its ends: these are parts of their own, in which what lies outside is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import prod

from tracec.codegen.c_loops import chain, names_in
from tracec.codegen.c_unroll import compute_once
from tracec.codegen.put_in import Values, put_in
from tracec.ir import dtype as dt
from tracec.ir import index as ix
from tracec.ir.extent import is_varying
from tracec.ir.kernel import (
    Acc,
    Call,
    Const,
    Div,
    Expr,
    Kernel,
    Let,
    Load,
    Loop,
    Mod,
    Ref,
    Scratch,
    Stmt,
    Store,
    Update,
    Var,
    expressions,
    identity,
    parts,
    subexpressions,
    walk,
)  # fmt: skip

#: Elements after which positions repeat, at most.
MOST_PHASES = 4
#: Steps from either end of a loop on which tests are undecided, at most: windows are no wider.
MOST_BORDER = 8
#: Statements that a kernel may grow to, and of which many are then found to do nothing.
MOST_STATEMENTS, MOST_COPIED = 640, 2000


@dataclass(frozen=True, slots=True)
class _Level:
    """How a loop is parted.

    Attributes:
        var: Its variable.
        phases: Elements that one step of a part makes.
        parts: Where each part begins and ends, in steps.
    """

    var: Var
    phases: int
    parts: tuple[tuple[int, int], ...]

    @property
    def copies(self) -> int:
        """How often what is in it is written out."""
        rest = self.var.extent % self.phases if self.phases > 1 else 0
        return self.phases * len(self.parts) + rest


def part_loops(kernel: Kernel, given: Kernel) -> Kernel:
    """The kernel, a nest of parallel loops over statements, with its loops in parts; the same where there are none.

    Args:
        kernel: The kernel, short loops in it written out.
        given: What it was before. Where no loop was written out, tests alone are not worth parts: rows are moved.
    """
    if len(kernel.body) != 1 or not isinstance(kernel.body[0], Loop) or kernel.body[0].kind != "parallel":
        return kernel
    loops, body = chain(kernel.body[0])
    if any(isinstance(s, (Loop, Scratch)) for s in body) or is_varying(loops[-1].var.extent):
        return kernel
    innermost = _parted(loops[-1].var, body)
    if innermost.phases == 1 and (kernel is given or len(innermost.parts) == 1):
        return kernel
    levels, best = [_whole(s.var) for s in loops], None
    for n in reversed(range(len(loops))):  # the innermost loop first, which is vectorised
        level = _parted(loops[n].var, body)
        if level == levels[n]:
            continue
        levels[n] = level
        if len(body) * prod(x.copies for x in levels) > MOST_COPIED:
            break
        found = tuple(_written(levels, body, [{}], count()))
        if sum(not isinstance(s, Loop) for s in walk(found)) > MOST_STATEMENTS:
            break
        best = found
    if best is None:
        return kernel
    best = _with_safe_loads(best, kernel)
    return replace(kernel, body=best, shape="row")  # whose loops are written as they are


# How ----------------------------------------------------------------------------------------------------------


def _whole(var: Var) -> _Level:
    return _Level(var, 1, ((0, var.extent),))


def _parted(var: Var, body: Sequence[Stmt]) -> _Level:
    """A loop in as many phases as its positions have, and parts in which the tests of its position are decided."""
    if is_varying(var.extent):
        return _whole(var)
    inside = [e for s in body for root in expressions(s) for e in subexpressions(root)]
    phases = _phases(var, body, inside)
    steps = var.extent // phases
    tests = dict.fromkeys(t for s in body for root in expressions(s) for t in _tests(root, var))
    runs = _parts(
        steps, lambda q: tuple(put_in(t, {var.name: Const(phases * q + f)}) for t in tests for f in range(phases))
    )
    return _Level(var, phases, runs)


def _phases(var: Var, body: Sequence[Stmt], inside: Iterable[Expr]) -> int:
    """After how many elements of a loop positions repeat; 1 where they do not, or it is too short."""
    parted = {e for e in inside if isinstance(e, (Div, Mod)) and var in _variables(e)}
    if not parted or any(ix.terms_of(s.index)[0].get(var) is None for s in body if isinstance(s, Store)):
        return 1
    for phases in range(2, MOST_PHASES + 1):
        step = Var(var.name, var.extent // phases)
        places = [{var.name: ix.add(ix.mul(step, phases), f)} for f in range(phases)]
        moved = (put_in(p, place) for p in parted for place in places)
        if not any(isinstance(e, (Div, Mod)) and step in _variables(e) for m in moved for e in subexpressions(m)):
            return phases if var.extent >= 2 * phases else 1
    return 1


def _variables(e: Expr) -> Iterator[Var]:
    return (x for x in subexpressions(e) if isinstance(x, Var))


def _tests(e: Expr, var: Var) -> Iterator[Expr]:
    """The conditions in an expression that depend on one variable alone, as large as they are."""
    stack = [e]
    while stack:
        e = stack.pop()
        if isinstance(e, Call) and _is_condition(e) and set(_variables(e)) == {var}:
            yield e
        else:
            stack.extend(parts(e))


def _is_condition(e: Call) -> bool:
    if e.op == "bitwise_and" and e.dtype is dt.bool_:
        return all(isinstance(a, Call) and _is_condition(a) for a in e.args)
    return e.op in ("ge", "lt") and all(a.dtype is dt.int64 for a in e.args)


def _parts(steps: int, decided: Callable[[int], object]) -> tuple[tuple[int, int], ...]:
    """Runs of steps for which tests are decided alike, where all but the first and the last few are."""
    middle = decided(steps // 2)
    first = next((q for q in range(min(MOST_BORDER, steps // 2) + 1) if decided(q) == middle), None)
    stop = next((q + 1 for q in range(steps - 1, max(steps - 2 - MOST_BORDER, 0), -1) if decided(q) == middle), None)
    if first is None or stop is None or stop <= first:
        return ((0, steps),)
    found = ((0, first), (first, stop), (stop, steps))
    return tuple((a, b) for a, b in found if a < b)


# Written out --------------------------------------------------------------------------------------------------


def _written(
    levels: Sequence[_Level], body: Sequence[Stmt], copies: Sequence[Values], numbers: Iterator[int]
) -> list[Stmt]:
    """The loops of these levels around a body, once for each of the copies' values of the variables outside."""
    if not levels:
        return list(straight(body, copies, numbers))
    level, result = levels[0], list[Stmt]()
    for start, stop in level.parts:
        step: Expr = Const(start) if stop == start + 1 else ix.add(Var(level.var.name, stop - start), start)
        places = [ix.add(ix.mul(step, level.phases), f) for f in range(level.phases)]
        inner = _written(levels[1:], body, [{**c, level.var.name: p} for c in copies for p in places], numbers)
        one = stop == start + 1
        result += inner if one else [Loop(Var(level.var.name, stop - start), tuple(inner), "parallel")]
    rest = range(level.var.extent // level.phases * level.phases, level.var.extent) if level.phases > 1 else ()
    if rest:
        result += _written(levels[1:], body, [{**c, level.var.name: Const(p)} for c in copies for p in rest], numbers)
    return result


def straight(body: Sequence[Stmt], copies: Sequence[Values], numbers: Iterator[int]) -> tuple[Stmt, ...]:
    """The statements once for each of the copies, with names of their own, and what is known computed."""
    result: list[Stmt] = []
    for copy in copies:
        values, suffix = dict(copy), f"_{next(numbers)}"
        for s in body:
            match s:
                case Let(name, value):
                    value = folded(put_in(value, values))
                    if isinstance(value, Const):
                        values[name] = value
                        continue
                    values[name] = Ref(name + suffix, value.dtype)
                    result.append(Let(name + suffix, value))
                case Acc(name, _, dtype):
                    values[name] = Ref(name + suffix, dtype)
                    result.append(replace(s, name=name + suffix))
                case Update(name, value):
                    result.append(Update(name + suffix, folded(put_in(value, values))))
                case Store(buffer, index, value, add):
                    result.append(Store(buffer, put_in(index, values), folded(put_in(value, values)), add))
    return _used(compute_once(_without_identities(result)))


def _without_identities(body: Sequence[Stmt]) -> tuple[Stmt, ...]:
    """Statements without updates that change nothing, as an accumulator starts from the same."""
    starts = {s.name: identity(s.combine, s.dtype) for s in body if isinstance(s, Acc)}
    return tuple(
        s for s in body
        if not (isinstance(s, Update) and isinstance(s.value, Const) and str(s.value.value) == str(starts.get(s.name)))
    )  # fmt: skip


def _used(body: Sequence[Stmt]) -> tuple[Stmt, ...]:
    """Statements without scalars that none reads."""
    read: set[str] = set()
    kept: list[Stmt] = []
    for s in reversed(body):
        if not isinstance(s, Let) or s.name in read:
            kept.append(s)
            read.update(names_in(s))
    return tuple(reversed(kept))


def _with_safe_loads(body: tuple[Stmt, ...], kernel: Kernel) -> tuple[Stmt, ...]:
    """Elements of rows that may lie outside as elements of some row that does not, chosen afterwards.

    A loop in which what is read depends on a condition is not vectorised, though it is the same for all of the loop.
    """
    sizes = {b.name: b.size for b in kernel.buffers}
    result: list[Stmt] = []
    for s in body:
        if not isinstance(s, Loop):
            result.append(s)
        elif any(isinstance(x, Loop) for x in s.body):
            result.append(replace(s, body=_with_safe_loads(s.body, kernel)))
        else:
            inside = [x for t in s.body for x in _safe(t, s.var, sizes)]
            result.append(replace(s, body=tuple(inside)))
    return tuple(result)


def _safe(s: Stmt, var: Var, sizes: Mapping[str, int]) -> Iterator[Stmt]:
    match s:
        case Let(name, Call("select", (condition, Load(buffer, index, loaded), Const() as other), dtype)):
            terms, _ = ix.terms_of(index)
            within = ix.mul(var, terms.pop(var, 0))
            _, high = ix.bounds(within) or (0, sizes[buffer])
            if (
                var not in _variables(condition)
                and not any(var in _variables(t) for t in terms)
                and high < sizes[buffer]
            ):
                row = Ref(f"{name}_row", dt.int64)
                yield Let(row.name, Call("select", (condition, ix.sub(index, within), Const(0)), dt.int64))
                yield Let(f"{name}_there", Load(buffer, ix.add(within, row), loaded))
                yield Let(name, Call("select", (condition, Ref(f"{name}_there", loaded), other), dtype))
                return
    yield s


#: Integers that each dtype has.
_SMALL = 1 << 7
_COMPUTED: dict[str, Callable[..., int | bool]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "neg": lambda a: -a, "abs": abs,
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "ge": lambda a, b: a >= b, "lt": lambda a, b: a < b,
    "isnan": lambda a: a != a, "cast": int,
}  # fmt: skip


def folded(e: Expr) -> Expr:
    """The expression with small integers and comparisons computed, and selections that they decide taken."""
    match e:
        case Load(buffer, index, dtype):
            return Load(buffer, folded(index), dtype)
        case Call("select", (condition, then, other), dtype):
            condition = folded(condition)
            if isinstance(condition, Const):
                return folded(then if condition.value else other)
            return Call("select", (condition, folded(then), folded(other)), dtype)
        case Call(op, args, dtype):
            return _computed(Call(op, tuple(map(folded, args)), dtype))
        case _:
            return e


def _computed(e: Call) -> Expr:
    if e.op in ("bitwise_and", "bitwise_or") and e.dtype is dt.bool_:
        known = next((a for a in e.args if isinstance(a, Const)), None)
        if known is not None:
            other = next((a for a in e.args if a is not known), known)
            return other if bool(known.value) == (e.op == "bitwise_and") else known
    if e.op not in _COMPUTED or not all(isinstance(a, Const) for a in e.args):
        return e
    values = [a.value for a in e.args if isinstance(a, Const)]
    if e.dtype is not dt.bool_ and not (e.dtype.kind in "iu" and all(isinstance(v, int) for v in values)):
        return e
    found = _COMPUTED[e.op](*values)
    if e.dtype is dt.bool_:
        return Const(bool(found), dt.bool_)
    return Const(int(found), e.dtype) if 0 <= found < _SMALL or (e.dtype.kind == "i" and -_SMALL <= found < 0) else e
