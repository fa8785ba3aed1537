"""What a loop nest costs, roughly, and from that whether threads pay: a static decision, made as data."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tracec.ir.exact import VARIATES
from tracec.ir.extent import chosen, is_varying, plain
from tracec.ir.kernel import Call, Const, Div, Load, Loop, Mod, Stmt, Store, expressions, subexpressions, walk

#: Nanoseconds of one vectorised scalar operation, loads and stores included.
NS_PER_UNIT = 0.12
#: Starting threads and waiting for them costs a few microseconds; below this a nest stays serial.
MIN_PARALLEL_NS = 12_000
#: Loops are shared among threads from the outside in until there are this many pieces.
MIN_PIECES = 16

_COSTLY = {
    "exp log sigmoid tanh sin cos erf expm1 log1p div sqrt rsqrt": 8,
    "exp2 log2 log10": 8,
    "tan asin acos atan sinh cosh asinh acosh atanh pow atan2 hypot philox": 24,
    " ".join(VARIATES): 40,
    "floor_div remainder fmod nextafter logaddexp": 16,
}
_UNITS = {op: cost for ops, cost in _COSTLY.items() for op in ops.split()}


def units(stmt: Stmt) -> int:
    """Cost of one execution of a statement that is no loop."""
    cost = int(isinstance(stmt, Store))
    for root in expressions(stmt):
        for e in subexpressions(root):
            if isinstance(e, Call):
                cost += _UNITS.get(e.op, 1)
            elif isinstance(e, (Load, Div, Mod)):
                cost += 1 if isinstance(e, Load) else 4
            elif isinstance(e, Const):
                pass
    return cost


def cost_of(stmt: Loop) -> int:
    """Cost of a nest, with what it depends on where extents in it vary."""
    varies = any(isinstance(s, Loop) and is_varying(s.var.extent) for s in walk((stmt,)))
    return varying_units((stmt,)) if varies else nest_units((stmt,))


def varying_units(body: tuple[Stmt, ...]) -> int:
    """Cost of executing a body once, with what it depends on where sizes vary."""
    return sum(s.var.extent * varying_units(s.body) if isinstance(s, Loop) else units(s) for s in body)


def nest_units(body: tuple[Stmt, ...]) -> int:
    """Cost of executing a body once; a loop without an extent counts as one iteration."""
    return sum(
        max(plain(s.var.extent), 0 if plain(s.var.extent) == 0 else 1) * nest_units(s.body)
        if isinstance(s, Loop)
        else units(s)
        for s in body
    )


@dataclass(frozen=True, slots=True)
class Sharing:
    """How a nest's outer parallel loops are shared among threads.

    Attributes:
        skip: Outer loops that run one after another, because they have too few iterations.
        collapse: Loops shared as one; 0 keeps the nest serial.
        where: The condition under which they are, as words of the pragma, where sizes that vary decide it.
    """

    skip: int = 0
    collapse: int = 0
    where: str = ""

    @property
    def words(self) -> str:
        """The pragma's words behind those that name it."""
        return (f" collapse({self.collapse})" if self.collapse > 1 else "") + f"{self.where} schedule(static)"


def condition(cost: float, least: float) -> str:
    """The words that let threads share work where sizes make it large enough; none where it is known to be."""
    return f" if(parallel: {chosen('shared', lambda c: int(c >= least), cost)})" if is_varying(cost) else ""


def share(extents: tuple[int, ...], cost: float, *, inner_shared: bool) -> Sharing:
    """Choose the loops to share.

    Args:
        extents: The perfectly nested parallel loops, outermost first.
        cost: Units of the whole nest.
        inner_shared: Whether the last of them may be split among threads, too; it is then vectorised as well.
    """
    if is_varying(cost):
        large = tuple(max(plain(e), MIN_PIECES) if is_varying(e) else e for e in extents)
        shared = share(large, MIN_PARALLEL_NS / NS_PER_UNIT * large[-1], inner_shared=inner_shared)
        return replace(shared, where=condition(cost, MIN_PARALLEL_NS / NS_PER_UNIT))
    if cost * NS_PER_UNIT < MIN_PARALLEL_NS or not extents:
        return Sharing()
    usable = extents if inner_shared and len(extents) == 1 else extents[:-1] if inner_shared else extents
    pieces = 1
    for n, extent in enumerate(usable):
        pieces *= extent
        if pieces >= MIN_PIECES:
            return Sharing(0, n + 1)
    if inner_shared and extents[-1] >= MIN_PIECES and cost / max(pieces, 1) * NS_PER_UNIT >= MIN_PARALLEL_NS:
        return Sharing(len(extents) - 1, 1)
    return Sharing(0, len(usable)) if pieces > 1 else Sharing()
