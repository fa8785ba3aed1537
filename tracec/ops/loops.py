"""A body run again and again: over slices of operands, with values carried from one run to the next.

`scan` packs its results into one array (see `tracec.ops.packing`): the values carried out of the last run, then what
each run gives, stacked. What runs leave for the way back is stacked behind that and counts as a result like the
others; `tracec.ops.loop_grad` makes the way back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tracec.errors import ArgumentError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir.body import TRANSFORMS, Body, cached
from tracec.ir.graph import Graph
from tracec.ir.lower import Structured
from tracec.ir.node import Node, constant, input_node, made_from
from tracec.ir.operator import OPERATORS, Arg, Operator, Sample
from tracec.ir.types import TensorType
from tracec.ops.arrays import ready
from tracec.ops.base import primitive
from tracec.ops.core import expand, full, zeros_like
from tracec.ops.packing import Layout, encoded, layout, take, write
from tracec.ops.view import concatenate, reshape, slice, transpose


class ScanParams(NamedTuple):
    """The parameters of a scan.

    Attributes:
        body: From carried values, a slice of each scanned operand and the other operands, to carried values and to
            what is stacked.
        carries: How many values are carried; the first operands are those before the first run.
        scanned: How many operands behind them are cut along axis 0.
        length: How many runs there are.
        reverse: Whether they go from the last slice to the first.
        kept: How many of the stacked results, at the end, are for the way back alone.
    """

    body: Body
    carries: int
    scanned: int
    length: int
    reverse: bool = False
    kept: int = 0

    @property
    def results(self) -> Layout:
        """Where the results lie."""
        return _results(self)

    @property
    def stacked(self) -> int:
        """How many results are stacked."""
        return len(self.body.outputs) - self.carries


@cached
def _results(loop: ScanParams) -> Layout:
    given = loop.body.outputs
    stacked = (t.with_shape((loop.length, *t.shape)) for t in given[loop.carries :])
    return layout((*given[: loop.carries], *stacked))


def _scan_type(
    *types: TensorType, body: Body, carries: int, scanned: int, length: int, reverse: bool = False, kept: int = 0
) -> TensorType:
    loop = ScanParams(body, carries, scanned, length, reverse, kept)
    takes, gives = body.inputs, body.outputs
    if len(types) != len(takes) or not 0 <= carries + scanned <= len(takes):
        raise ArgumentError(
            f"{len(types)} operands for a body that takes {len(takes)}", hint="give one for each of the body's inputs"
        )
    if length < 1:
        raise ArgumentError(f"length={length}", hint="a loop that does not run is not made")
    if not gives or not 0 <= kept <= loop.stacked:
        raise ArgumentError(
            f"kept={kept} of {loop.stacked} stacked results", hint="the body gives the carried values first"
        )
    for k, (given, taken) in enumerate(zip(types, takes, strict=True)):
        wanted = taken.with_shape((length, *taken.shape)) if 0 <= k - carries < scanned else taken
        if given != wanted:
            raise ShapeError(f"operand {k} is {given}, the body wants {wanted}", hint="make the body for its operands")
    for k, (before, after) in enumerate(zip(takes[:carries], gives[:carries], strict=True)):
        if before != after:
            raise ShapeError(
                f"carried value {k} is {before} before a run and {after} after it",
                hint="a run gives carried values of the types that it takes",
            )
    return loop.results.type


def _scan_eager(xp: Any, *arrays: Any, **params: Any) -> Any:
    loop = ScanParams(**params)
    results = loop.results
    out = xp.empty(results.type.shape, results.type.dtype.numpy)
    places = [out[p.start : p.stop].reshape(p.shape) for p in results.parts]
    n = loop.carries
    carried, slices, others = list(arrays[:n]), arrays[n : n + loop.scanned], arrays[n + loop.scanned :]
    run = loop.body.run
    stacked = list(zip(places[n:], results.parts[n:], strict=True))
    for t in range(loop.length - 1, -1, -1) if loop.reverse else range(loop.length):
        given = run(xp, [*carried, *[x[t, ...] for x in slices], *others], ready)
        carried = given[:n]
        for (place, part), value in zip(stacked, given[n:], strict=True):
            write(xp, place[t, ...], value, part)
    for place, part, value in zip(places, results.parts, carried, strict=False):
        write(xp, place, value, part)
    return out


def _scan_vjp(ct: Any, out: Any, *inputs: Any, **params: Any) -> tuple[Any, ...]:
    from tracec.ops import loop_grad  # which makes loops of its own

    return loop_grad.pulled_back(ScanParams(**params), ct, out, inputs)


# Forward mode -----------------------------------------------------------------------------------------


def _scan_jvp(tangents: Sequence[Any], out: Any, *inputs: Any, **params: Any) -> Any:
    loop = ScanParams(**params)
    n, m = loop.carries, loop.carries + loop.scanned
    moves = tuple(t is not None or (k < n and inputs[k].dtype.is_differentiable) for k, t in enumerate(tangents))
    moving = _moving(loop, moves)
    known = [zeros_like(x) if t is None else t for t, x in zip(tangents, inputs, strict=True)]
    also = [[known[k] for k in range(*span) if moves[k]] for span in ((0, n), (n, m), (m, len(inputs)))]
    operands = (*inputs[:n], *also[0], *inputs[n:m], *also[1], *inputs[m:], *also[2])
    packed = scan(*operands, **moving._asdict())
    parts = iter(moving.results.parts[n:])
    found = []
    for part in loop.results.parts:
        value = full(0, part.shape, part.dtype, out.device)
        if part.type.dtype.is_differentiable:
            value = encoded(take(packed, next(parts)), part)
        found.append(reshape(value, shape=(part.size,)))
    return concatenate(*found, axis=0)


@cached
def _moving(loop: ScanParams, moves: tuple[bool, ...]) -> ScanParams:
    """The loop that also computes how its results move."""
    n, m = loop.carries, loop.carries + loop.scanned
    graph = loop.body.graph
    directions = {x: input_node(x.type) for x, move in zip(graph.inputs, moves, strict=True) if move}
    floating = [o for o in graph.outputs if o.dtype.is_differentiable]
    found = TRANSFORMS.tangents(floating, list(directions), list(directions.values()))
    with made_from(None, "jvp of scan"):
        moved = [zeros_like(o) if t is None else t for t, o in zip(found, floating, strict=True)]
    groups = graph.inputs[:n], graph.inputs[n:m], graph.inputs[m:]
    inputs = tuple(x for group in groups for x in (*group, *(directions[i] for i in group if i in directions)))
    body = Body(Graph(inputs, (*graph.outputs[:n], *moved)))
    count = [sum(i in directions for i in group) for group in groups]
    return ScanParams(body, n + count[0], loop.scanned + count[1], loop.length, loop.reverse)


# Batching ---------------------------------------------------------------------------------------------


def _scan_batch(inputs: Sequence[Any], batched: Sequence[bool], size: int, **params: Any) -> Any:
    loop = ScanParams(**params)
    n, m = loop.carries, loop.carries + loop.scanned
    which = tuple(many or k < n for k, many in enumerate(batched))
    many = _batched(loop, which, size)
    operands = []
    for k, (x, is_many) in enumerate(zip(inputs, batched, strict=True)):
        if k < n and not is_many:
            x = expand(x, shape=(size, *x.shape))
        elif n <= k < m and is_many:
            x = transpose(x, perm=(1, 0, *range(2, len(x.shape))))
        operands.append(x)
    packed = scan(*operands, **many._asdict())
    found = []
    for k, (own, part) in enumerate(zip(loop.results.parts, many.results.parts, strict=True)):
        flat = slice(packed, starts=(part.start,), stops=(part.stop,), steps=(1,))
        if k >= n:  # the runs lie before the examples
            shape = (loop.length, size, own.size // loop.length)
            flat = transpose(reshape(flat, shape=shape), perm=(1, 0, 2))
        found.append(reshape(flat, shape=(size, own.size)))
    return concatenate(*found, axis=1)


@cached
def _batched(loop: ScanParams, which: tuple[bool, ...], size: int) -> ScanParams:
    return loop._replace(body=Body(TRANSFORMS.vmap(loop.body.graph, which, size)))


# Samples ----------------------------------------------------------------------------------------------


def body_of(build: Any, *types: TensorType) -> Body:
    """The body that a function of nodes builds."""
    inputs = tuple(input_node(t) for t in types)
    with made_from(None):
        return Body(Graph(inputs, tuple(build(*inputs))))


def f64(*shape: int) -> TensorType:
    """The type of an operand of a body among the samples."""
    return TensorType(dt.float64, shape)


def applied(name: str, *operands: Any, **params: Any) -> Node:
    """A node of an operator by its name."""
    made: Node = OPERATORS[name](*operands, **params)
    return made


def recurrent(h: Node, x: Node, w: Node) -> tuple[Node, ...]:
    new = applied("tanh", x + applied("dot", h, w))
    return new, new * 2.0


def _counting(i: Node, s: Node, x: Node) -> tuple[Node, ...]:
    """With values of several types."""
    odd = applied("eq", applied("bitwise_and", i, 1), constant(1, i.type))
    return i + 70001, applied("where", odd, s * x, s + x), odd, i * i


RECURRENT = body_of(recurrent, f64(2, 3), f64(2, 3), f64(3, 3))
COUNTING = body_of(_counting, TensorType(dt.int64, ()), f64(2), f64(2))
_TALL = body_of(lambda s, x: (s + applied("sum", x, axes=(0,), keepdims=False),), f64(), f64(3))
_POWERS = body_of(lambda p, x: (p * x, p), f64(2), f64(2))
_INTEGERS = body_of(
    lambda i, flag, x: (i + x, applied("logical_not", flag), applied("where", flag, x, i)),
    TensorType(dt.int32, (2,)), TensorType(dt.bool_, ()), TensorType(dt.int32, (2,)),
)  # fmt: skip

scan: Operator = primitive(
    "scan",
    family="structured",
    type_rule=_scan_type,
    eager=_scan_eager,
    vjp=_scan_vjp,
    jvp=_scan_jvp,
    batch=_scan_batch,
    lower=Structured(),
    arity=None,
    promotion="none",
    doc="Runs a body over slices of operands, carrying values from run to run; gives those and what runs give, packed.",
    samples=(
        Sample(
            (Arg((2, 3), dt.float64), Arg((5, 2, 3), dt.float64), Arg((3, 3), dt.float64, -1, 1)),
            {"body": RECURRENT, "carries": 1, "scanned": 1, "length": 5},
        ),
        Sample(
            (Arg((2, 3), dt.float64), Arg((3, 2, 3), dt.float64), Arg((3, 3), dt.float64, -1, 1)),
            {"body": RECURRENT, "carries": 1, "scanned": 1, "length": 3, "reverse": True},
        ),
        Sample(
            (Arg((), dt.int64, -9, 9), Arg((2,), dt.float64), Arg((4, 2), dt.float64)),
            {"body": COUNTING, "carries": 2, "scanned": 1, "length": 4},
        ),
        Sample(
            (Arg((), dt.float64), Arg((1, 3), dt.float64)),
            {"body": _TALL, "carries": 1, "scanned": 1, "length": 1},
        ),
        Sample(
            (Arg((2,), dt.float64, 0.5, 1.5), Arg((2,), dt.float64)),
            {"body": _POWERS, "carries": 1, "scanned": 0, "length": 6},
        ),
        Sample(
            (Arg((2,), dt.int32, -9, 9), Arg((), dt.bool_), Arg((3, 2), dt.int32, -9, 9)),
            {"body": _INTEGERS, "carries": 2, "scanned": 1, "length": 3, "reverse": True},
        ),
    ),
)  # fmt: skip
