"""Windows of a plane that is put between zeros first: depthwise convolutions and their gradients, and small ones.

A window at the plane's edge reaches into padding. With the plane copied to where zeros are around it, every window is
read alike: the loops are one short text, where parts for each edge and corner (`tracec.codegen.c_parts`) are nine,
and rows of a few elements are whole vectors. What is done to the plane's elements first is done once for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, product
from math import prod

from tracec.codegen.c_loops import chain
from tracec.codegen.c_parts import straight
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
    Linear,
    Load,
    Loop,
    Mod,
    Scratch,
    Stmt,
    Store,
    Update,
    Var,
    nested,
    subexpressions,
)  # fmt: skip
from tracec.ir.types import contiguous_strides

#: Elements of a window, at most: they are written out.
MOST_TAPS = 25
#: The same for windows that reach over several planes, as those of few channels do.
MOST_TAPS_OF_PLANES = 64
#: Bytes of a plane with its zeros, at most: half of a core's first cache, where every window is read from it once. A
#: gradient of weights reads it as often, but is far slower in any other way.
MOST_BYTES, MOST_BYTES_OF_WEIGHTS = 16 << 10, 64 << 10


@dataclass(frozen=True, slots=True)
class _Axis:
    """An axis of the padded plane.

    Attributes:
        terms: The position along it, as coefficients of two loop variables,
        offset: what is added,
        by: and what that is divided by: only multiples of it are elements.
        low: The least position.
        size: Positions.
        start: The first that is no padding, counted from the least.
        stop: Where padding begins again.
    """

    terms: Mapping[Expr, int]
    offset: int
    by: int
    low: int
    size: int
    start: int
    stop: int

    def place(self, values: Values) -> Expr | None:
        """The position, counted from the least, for values of the two loop variables; None between two elements."""
        terms, offset = ix.terms_of(put_in(Linear(tuple(self.terms.items()), self.offset), values))
        if offset % self.by or any(c % self.by for c in terms.values()):
            return None
        return _sum(((t, c // self.by) for t, c in terms.items()), offset // self.by - self.low)


def pad_windows(kernel: Kernel) -> Kernel:
    """The kernel with the plane whose windows it reads between zeros; the same kernel where it is of another kind."""
    found = _Windows.of(kernel)
    if found is None:
        return kernel
    body = found.sums() if found.reduced else found.elements()
    return replace(kernel, body=nested(found.outer, body, "parallel"), shape="row")  # loops are written as they are


@dataclass(frozen=True)
class _Windows:
    """A contraction of windows.

    Attributes:
        outer: Loops over planes.
        reduced: Of a gradient of weights, loops over the planes that are summed up.
        channels: Of others, loops over the planes that a window reaches over.
        axes: Axes of the plane.
        at: Loops over positions of windows.
        taps: Loops over elements of a window.
        inside: An element of the plane, where it is not padding.
        other: What it is multiplied by.
        first: Whether it is the first factor.
        acc: The accumulator.
        epilogue: What becomes of a sum.
    """

    outer: tuple[Var, ...]
    reduced: tuple[Var, ...]
    channels: tuple[Var, ...]
    axes: tuple[_Axis, ...]
    at: tuple[Var, ...]
    taps: tuple[Var, ...]
    inside: Expr
    other: Expr
    first: bool
    acc: Acc
    epilogue: tuple[Stmt, ...]

    @staticmethod
    def of(kernel: Kernel) -> _Windows | None:
        if kernel.contraction is None or len(kernel.body) != 1 or not isinstance(kernel.body[0], Loop):
            return None
        loops, body = chain(kernel.body[0])
        parallel = [s.var for s in loops]
        if len(body) < 2 or not isinstance(body[0], Acc) or body[0].combine != "add" or not isinstance(body[1], Loop):
            return None
        reduced: list[Var] = []
        inner: Stmt = body[1]
        while isinstance(inner, Loop) and len(inner.body) == 1:
            reduced.append(inner.var)
            inner = inner.body[0]
        epilogue = body[2:]
        if not isinstance(inner, Update) or not all(isinstance(s, (Let, Store)) for s in epilogue):
            return None
        split = _factors(inner.value)
        axes = _axes(split[0]) if split else None
        if split is None or axes is None:
            return None
        selected, other, first = split
        of_weights = kernel.contraction.op == "conv_weight_grad"
        shape = _loops(axes, parallel, reduced, weights=of_weights)
        if shape is None:
            return None
        outer, planes, at, taps = shape
        inside = _at_position(selected.args[1], axes, {*outer, *planes})
        summed, channels = (planes, ()) if of_weights else ((), planes)
        if inside is None or not _fits(body[0], inside, axes, at, taps, planes, weights=of_weights):
            return None
        if _overlap(inside, outer, channels):
            return None
        if summed and not {*taps}.isdisjoint(x for x in subexpressions(other) if isinstance(x, Var)):
            return None
        return _Windows(outer, summed, channels, axes, at, taps, inside, other, first, body[0], epilogue)

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the axes of the planes: channels, if there are any, come first."""
        return contiguous_strides((*(v.extent for v in self.channels), *(a.size for a in self.axes)))

    def elements(self) -> tuple[Stmt, ...]:
        """An element for each window."""
        steps = tuple(
            Var(f"step{k}", v.extent // a.by) for k, (v, a) in enumerate(zip(self.at, self.axes, strict=True))
        )
        numbers, made = count(), list[Stmt]()
        for phase in product(*(range(a.by) for a in self.axes)):
            places = (ix.add(ix.mul(s, a.by), f) for s, a, f in zip(steps, self.axes, phase, strict=True))
            values = {v.name: place for v, place in zip(self.at, places, strict=True)}
            added = (self._product({**values, **taps}) for taps in self._each_tap())
            updates = (Update(self.acc.name, value) for value in added if value is not None)
            made += straight((self.acc, *updates, *self.epilogue), [values], numbers)
        return (*self._zeros(), *self._copied(), *nested(steps, tuple(made), "parallel"))

    def sums(self) -> tuple[Stmt, ...]:
        """Sums over all windows for each of their elements: one for each place of a row, and those added up."""
        taps = list(self._each_tap())
        lane = self.at[-1]
        zeros = _filled("sums", len(taps) * lane.extent, self._zero)
        stores = tuple(
            Store("sums", ix.add(lane, k * lane.extent), value, add=True)
            for k, value in enumerate(map(self._product, taps))
            if value is not None
        )
        rows = nested(self.at[:-1], nested((lane,), stores, "parallel"), "serial")
        planes = nested(self.reduced, (*self._copied(), *rows), "serial")
        strides = contiguous_strides(tuple(v.extent for v in self.taps))
        first = _sum((v, s * lane.extent) for v, s in zip(self.taps, strides, strict=True))
        sums = Loop(lane, (Update(self.acc.name, Load("sums", ix.add(first, lane), self.acc.dtype)),), "reduce")
        results = nested(self.taps, (self.acc, sums, *self.epilogue), "parallel")
        return (
            *self._zeros(), Scratch("sums", self.acc.dtype, len(taps) * lane.extent), zeros, *planes, *results
        )  # fmt: skip

    @property
    def _zero(self) -> Const:
        return Const(0.0, self.acc.dtype)

    def _each_tap(self) -> Iterable[dict[str, Expr]]:
        loops = (*self.channels, *self.taps)
        for place in product(*(range(v.extent) for v in loops)):
            yield {v.name: Const(p) for v, p in zip(loops, place, strict=True)}

    def _product(self, values: Values) -> Expr | None:
        """What is added up for an element of a window, if it lies on an element of the plane."""
        places = [*(values[v.name] for v in self.channels), *(a.place(values) for a in self.axes)]
        if any(place is None for place in places):
            return None
        place = _sum((p, s) for p, s in zip(places, self.strides, strict=True) if p is not None)
        element: Expr = Load("window", place, self.acc.dtype)
        other = put_in(self.other, values)
        return Call("mul", (element, other) if self.first else (other, element), self.acc.dtype)

    def _zeros(self) -> tuple[Stmt, ...]:
        size = prod(v.extent for v in self.channels) * prod(a.size for a in self.axes)
        return Scratch("window", self.acc.dtype, size), _filled("window", size, self._zero)

    def _copied(self) -> tuple[Stmt, ...]:
        """The planes, put in the middle of the zeros."""
        variables = tuple(Var(f"at{k}", a.stop - a.start) for k, a in enumerate(self.axes))
        moved = (*self.channels, *(ix.add(v, a.start) for v, a in zip(variables, self.axes, strict=True)))
        place = _sum(zip(moved, self.strides, strict=True))
        where = {f"at{k}": ix.add(v, a.start) for k, (v, a) in enumerate(zip(variables, self.axes, strict=True))}
        stores = (Store("window", place, put_in(self.inside, where)),)
        return nested((*self.channels, *variables), stores, "parallel")


def _filled(name: str, size: int, value: Const) -> Loop:
    place = Var("place", size)
    return Loop(place, (Store(name, place, value),), "parallel")


def _sum(terms: Iterable[tuple[Expr, int]], offset: int = 0) -> Expr:
    total: Expr = Const(offset)
    for e, c in terms:
        total = ix.add(total, ix.mul(e, c))
    return total


def _factors(value: Expr) -> tuple[Call, Expr, bool] | None:
    """A product's factor that is zero in padding, the other factor, and whether the first is the first of them."""
    if not isinstance(value, Call) or value.op != "mul":
        return None
    chosen = [isinstance(a, Call) and a.op == "select" and a.args[2] == Const(0.0, a.dtype) for a in value.args]
    if sum(chosen) != 1:
        return None
    selected, other = value.args[chosen.index(True)], value.args[chosen.index(False)]
    assert isinstance(selected, Call)
    return selected, other, chosen[0]


def _axes(selected: Call) -> tuple[_Axis, ...] | None:
    """The axes of the plane, by the tests that tell padding; None where those are others."""
    found: dict[tuple[tuple[Expr, int], ...], _Tests] = {}
    for test in _tests(selected.args[0]):
        if not isinstance(test, Call) or test.op not in ("ge", "lt", "eq") or not isinstance(test.args[1], Const):
            return None
        rest = test.args[0] if test.op == "eq" else None
        if rest is not None and not (isinstance(rest, Mod) and test.args[1].value == 0):
            return None
        terms, offset = ix.terms_of(rest.value if isinstance(rest, Mod) else test.args[0])
        key = tuple(sorted(terms.items(), key=lambda t: getattr(t[0], "name", "")))
        numbers = (
            offset,
            test.args[1].value,
            rest.by if isinstance(rest, Mod) else 1,
            *((t.extent, c) for t, c in key if isinstance(t, Var)),
        )
        if len(terms) != 2 or not all(isinstance(t, Var) for t in terms) or is_varying(numbers):
            return None
        tests = found.setdefault(key, _Tests())
        if isinstance(rest, Mod):
            tests.offset, tests.by = offset, rest.by
        else:
            (tests.least if test.op == "ge" else tests.end).append(int(test.args[1].value) - offset)
    return tuple(tests.axis(key) for key, tests in found.items())


@dataclass
class _Tests:
    """What is asked of the position along an axis, before anything is added or divided.

    Attributes:
        least: Positions from which on it is no padding.
        end: Positions from which on it is padding again.
        offset: What is added to be divided,
        by: by this, with no remainder.
    """

    least: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    offset: int = 0
    by: int = 1

    def axis(self, terms: tuple[tuple[Expr, int], ...]) -> _Axis:
        """The axis of positions that are so many times loop variables."""
        low, high = ix.bounds(Linear(terms, self.offset)) or (0, 0)
        first, last = -(-low // self.by), high // self.by
        start, stop = ([-(-(n + self.offset) // self.by) - first for n in tests] for tests in (self.least, self.end))
        size = last - first + 1
        return _Axis(dict(terms), self.offset, self.by, first, size, max([0, *start]), min([size, *stop]))


def _tests(condition: Expr) -> Iterable[Expr]:
    if isinstance(condition, Call) and condition.op == "bitwise_and":
        for a in condition.args:
            yield from _tests(a)
    else:
        yield condition


def _loops(
    axes: Sequence[_Axis], parallel: Sequence[Var], reduced: Sequence[Var], *, weights: bool
) -> tuple[tuple[Var, ...], tuple[Var, ...], tuple[Var, ...], tuple[Var, ...]] | None:
    """Loops over planes, over planes that are summed up, over windows, and over elements of windows in one plane."""
    n = len(axes)
    if not n or len(parallel) <= n or len(reduced) < n:
        return None
    ends = tuple(parallel[-n:]), tuple(reduced[-n:])
    if any({p, r} != set(a.terms) for a, p, r in zip(axes, *ends, strict=True)):
        return None
    outer, summed = tuple(parallel[:-n]), tuple(reduced[:-n])
    at, taps = reversed(ends) if weights else ends
    size = prod(v.extent for v in taps)
    if size > MOST_TAPS or (weights and not summed):
        return None
    planes = tuple(v.extent for v in summed)
    if planes and not weights and (is_varying(planes) or size * prod(planes) > MOST_TAPS_OF_PLANES):
        return None
    return outer, summed, at, taps


def _fits(
    acc: Acc, inside: Expr, axes: Sequence[_Axis], at: Sequence[Var], taps: Sequence[Var], planes: Sequence[Var], *,
    weights: bool,
) -> bool:  # fmt: skip
    most = MOST_BYTES_OF_WEIGHTS if weights else MOST_BYTES
    lanes = prod(v.extent for v in taps) * at[-1].extent if weights else 0
    count = 1 if weights else prod(v.extent for v in planes)
    size = (count * prod(a.size for a in axes) + lanes) * acc.dtype.itemsize
    whole = all(a.start < a.stop for a in axes) and all(
        a.by == 1 or (a.terms[v] == 1 and v.extent % a.by == 0 and not weights) for a, v in zip(axes, at, strict=True)
    )
    return acc.dtype in (dt.float32, dt.float64) and inside.dtype is acc.dtype and whole and size <= most


def _overlap(inside: Expr, outer: Sequence[Var], channels: Sequence[Var]) -> bool:
    """Whether planes of windows are also those of other ones, as rows are of windows that no padding is above."""
    every = (ix.terms_of(e.index)[0] for e in subexpressions(inside) if isinstance(e, Load))
    return any(0 < terms.get(v, 0) < c.extent * terms.get(c, 0) for terms in every for v in outer for c in channels)


def _at_position(e: Expr, axes: Sequence[_Axis], outer: set[Var]) -> Expr | None:
    """An element of the plane by its position ``at0``, ``at1`` and so on, counted from the least; None where it hangs
    on more than that."""
    if isinstance(e, Load):
        terms, offset = ix.terms_of(e.index)
        moved: Expr = Const(offset)
        for k, axis in enumerate(axes):
            step = _step(terms, axis)
            if step is None:
                return None
            moved = ix.add(moved, ix.add(ix.mul(Var(f"at{k}", axis.size), step), step * axis.low))
        if not outer.issuperset(terms):
            return None
        return replace(e, index=ix.add(moved, _sum(terms.items())))
    if isinstance(e, Call):
        found = [arg for a in e.args if (arg := _at_position(a, axes, outer)) is not None]
        return replace(e, args=tuple(found)) if len(found) == len(e.args) else None
    return e if isinstance(e, Const) else None


def _step(terms: dict[Expr, int], axis: _Axis) -> int | None:
    """How far apart elements along an axis are in memory, by the terms of an index, which are taken out of these."""
    position = dict(axis.terms)
    if axis.by > 1:
        divided = (t for t in terms if isinstance(t, Div) and t.by == axis.by)
        found = next((t for t in divided if ix.terms_of(t.value) == (position, axis.offset)), None)
        return terms.pop(found) if found is not None else None
    (first, by), *_ = position.items()
    step, rest = divmod(terms.get(first, 0), by)
    return None if rest or any(terms.pop(v, 0) != step * c for v, c in position.items()) else step
