"""One of two bodies, and a body as long as a condition holds.

Their results are packed into one array; see `tracec.ops.packing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir.body import TRANSFORMS, Body, cached
from tracec.ir.graph import Graph
from tracec.ir.lower import Structured
from tracec.ir.node import Node, constant, input_node, made_from
from tracec.ir.operator import OPERATORS, Arg, Operator, Sample, not_differentiable
from tracec.ir.types import TensorType
from tracec.ops.arrays import ready
from tracec.ops.base import primitive
from tracec.ops.core import expand, full, zeros_like
from tracec.ops.loops import applied, body_of, f64
from tracec.ops.packing import Layout, encoded, layout, put, take, write
from tracec.ops.view import concatenate, reshape, slice

# One of two ------------------------------------------------------------------------------------------------


def _cond_type(pred: TensorType, *types: TensorType, then: Body, other: Body) -> TensorType:
    if pred.dtype is not dt.bool_ or pred.shape != ():
        raise DTypeError(f"the condition is {pred}", hint="give a bool of no dimensions")
    for name, body in (("then", then), ("other", other)):
        if body.inputs != types:
            given = ", ".join(map(str, types))
            raise ShapeError(
                f"{name} takes ({', '.join(map(str, body.inputs))}), ({given}) given", hint="make it for its operands"
            )
    if then.outputs != other.outputs or not then.outputs:
        raise ShapeError(
            f"then gives ({', '.join(map(str, then.outputs))}), other ({', '.join(map(str, other.outputs))})",
            hint="both give results of the same types, one at least",
        )
    return layout(then.outputs).type


def _cond_eager(xp: Any, pred: Any, *arrays: Any, then: Body, other: Body) -> Any:
    return packed(xp, (then if bool(pred) else other).run(xp, arrays, ready), layout(then.outputs))


def packed(xp: Any, values: Sequence[Any], results: Layout) -> Any:
    """Arrays as one."""
    out = xp.empty(results.type.shape, results.type.dtype.numpy)
    for value, part in zip(values, results.parts, strict=True):
        write(xp, out[part.start : part.stop].reshape(part.shape), value, part)
    return out


def _cond_vjp(ct: Any, out: Any, pred: Any, *inputs: Any, then: Body, other: Body) -> tuple[Any, ...]:
    parts = [p for p in layout(then.outputs).parts if p.type.dtype.is_differentiable]
    floating = [x for x in inputs if x.dtype.is_differentiable]
    if not floating or not parts:
        return (None,) * (1 + len(inputs))
    back = cond(pred, *(take(ct, p) for p in parts), *inputs, then=_pulled(then), other=_pulled(other))
    found = iter(layout(tuple(x.type for x in floating)).parts)
    return (None, *(take(back, next(found)) if x.dtype.is_differentiable else None for x in inputs))


@cached
def _pulled(body: Body) -> Body:
    """From cotangents of the floating results and the operands to the gradients of the floating operands."""
    results = [o for o in body.graph.outputs if o.dtype.is_differentiable]
    cotangents = [input_node(o.type) for o in results]
    by = [i for i in body.graph.inputs if i.dtype.is_differentiable]
    found = TRANSFORMS.transposed(results, cotangents, by)
    with made_from(None, "vjp of cond"):
        grads = tuple(zeros_like(i) if g is None else g for i, g in zip(by, found, strict=True))
    return Body(Graph((*cotangents, *body.graph.inputs), grads))


def _cond_jvp(tangents: Sequence[Any], out: Any, pred: Any, *inputs: Any, then: Body, other: Body) -> Any:
    moves = tuple(t is not None for t in tangents[1:])
    given = [t for t in tangents[1:] if t is not None]
    if not given:
        return None
    moved = cond(pred, *inputs, *given, then=_pushed(then, moves), other=_pushed(other, moves))
    return repacked(moved, layout(then.outputs))


@cached
def _pushed(body: Body, moves: tuple[bool, ...]) -> Body:
    """From the operands and tangents of those that move to the tangents of the floating results."""
    moving = [i for i, move in zip(body.graph.inputs, moves, strict=True) if move]
    directions = [input_node(i.type) for i in moving]
    results = [o for o in body.graph.outputs if o.dtype.is_differentiable]
    found = TRANSFORMS.tangents(results, moving, directions)
    with made_from(None, "jvp of cond"):
        outputs = tuple(zeros_like(o) if t is None else t for o, t in zip(results, found, strict=True))
    return Body(Graph((*body.graph.inputs, *directions), outputs))


def repacked(moved: Node, results: Layout) -> Node:
    """Tangents of the floating results, packed by themselves, where the results lie; zeros for the others."""
    parts = iter(layout(tuple(p.type for p in results.parts if p.type.dtype.is_differentiable)).parts)
    found = [
        put(take(moved, next(parts)), p)
        if p.type.dtype.is_differentiable
        else full(0, (p.size,), p.dtype, moved.device)
        for p in results.parts
    ]
    return found[0] if len(found) == 1 else concatenate(*found, axis=0)  # type: ignore[no-any-return]


def _cond_batch(inputs: Sequence[Any], batched: Sequence[bool], size: int, *, then: Body, other: Body) -> Any:
    which = tuple(batched[1:])
    pred, operands, results = inputs[0], inputs[1:], layout(then.outputs)
    bodies = [_batched(b, which, size) for b in (then, other)]
    if not batched[0]:
        many = cond(pred, *operands, then=bodies[0], other=bodies[1])
        return by_example(many, results, layout(bodies[0].outputs), size)
    yes, no = (b.applied(operands) for b in bodies)
    flat = [
        reshape(encoded(select(pred, a, b), p), shape=(size, p.size))
        for a, b, p in zip(yes, no, results.parts, strict=True)
    ]
    return flat[0] if len(flat) == 1 else concatenate(*flat, axis=1)


def select(pred: Any, a: Any, b: Any) -> Any:
    """Elements of a where the condition of their example holds, else of b."""
    shaped = reshape(pred, shape=(*pred.shape, *(1,) * (a.ndim - pred.ndim)))
    return OPERATORS["where"](expand(shaped, shape=a.shape), a, b)


@cached
def _batched(body: Body, which: tuple[bool, ...], size: int) -> Body:
    return Body(TRANSFORMS.vmap(body.graph, which, size))


def by_example(many: Any, own: Layout, all_: Layout, size: int) -> Any:
    """Results that each have the examples along axis 0, packed for each example."""
    found = []
    for part, whole in zip(own.parts, all_.parts, strict=True):
        flat = slice(many, starts=(whole.start,), stops=(whole.stop,), steps=(1,))
        found.append(reshape(flat, shape=(size, part.size)))
    return found[0] if len(found) == 1 else concatenate(*found, axis=1)


def both(pred: Node, *inputs: Node, then: Body, other: Body) -> Node:
    """Both bodies, and the results of one."""
    results = layout(then.outputs)
    pairs = zip(then.applied(inputs), other.applied(inputs), results.parts, strict=True)
    found = [put(select(pred, a, b), p) for a, b, p in pairs]
    return found[0] if len(found) == 1 else concatenate(*found, axis=0)  # type: ignore[no-any-return]


_THEN = body_of(lambda x, y: (applied("sin", x) * y, applied("sum", x, axes=(0,), keepdims=False)), f64(3), f64(3))
_OTHER = body_of(lambda x, y: (x + 0.0 * y, constant(2.0, dt.float64)), f64(3), f64(3))
_COUNT = body_of(lambda x, n: (x, n + 3), f64(2), TensorType(dt.int64, (2,)))
_DOUBLE = body_of(lambda x, n: (x * x, n * 1000003), f64(2), TensorType(dt.int64, (2,)))

cond: Operator = primitive(
    "cond",
    family="structured",
    type_rule=_cond_type,
    eager=_cond_eager,
    vjp=_cond_vjp,
    jvp=_cond_jvp,
    batch=_cond_batch,
    lower=Structured(),
    arity=None,
    promotion="none",
    doc="What one of two bodies gives, packed: the first where a condition holds.",
    samples=(
        Sample((Arg((), dt.bool_), Arg((3,), dt.float64), Arg((3,), dt.float64)), {"then": _THEN, "other": _OTHER}),
        Sample((Arg((), dt.bool_), Arg((3,), dt.float64), Arg((3,), dt.float64)), {"then": _OTHER, "other": _THEN}),
        Sample(
            (Arg((), dt.bool_), Arg((2,), dt.float64), Arg((2,), dt.int64, -99, 99)),
            {"then": _COUNT, "other": _DOUBLE},
        ),
    ),
)

# As long as a condition holds ------------------------------------------------------------------------------


class WhileParams(NamedTuple):
    """The parameters of a while_loop.

    Attributes:
        condition: From what is carried, and the operands behind it that it reads, to a bool of no dimensions.
        body: From what is carried, and the other operands, to what is carried on.
        carries: How many values are carried: the first operands.
        read: How many operands behind those the condition reads.
    """

    condition: Body
    body: Body
    carries: int
    read: int = 0

    @property
    def results(self) -> Layout:
        """Where the results lie."""
        return layout(self.body.outputs)


def _while_type(*types: TensorType, condition: Body, body: Body, carries: int, read: int = 0) -> TensorType:
    carried, rest = types[:carries], types[carries:]
    for name, taken, given in (
        ("condition", condition.inputs, (*carried, *rest[:read])), ("body", body.inputs, (*carried, *rest[read:])),
    ):  # fmt: skip
        if taken != given:
            raise ShapeError(
                f"the {name} takes ({', '.join(map(str, taken))}), ({', '.join(map(str, given))}) given",
                hint="make it for its operands",
            )
    if len(condition.outputs) != 1 or condition.outputs[0].dtype is not dt.bool_ or condition.outputs[0].shape != ():
        raise DTypeError(
            f"the condition gives ({', '.join(map(str, condition.outputs))})", hint="it gives a bool of no dimensions"
        )
    if not carried:
        raise ArgumentError("nothing is carried", hint="carry what the condition depends on")
    if body.outputs != carried:
        raise ShapeError(
            f"the body gives ({', '.join(map(str, body.outputs))}) and takes ({', '.join(map(str, carried))})",
            hint="it carries on what it takes",
        )
    return layout(body.outputs).type


def _while_eager(xp: Any, *arrays: Any, **params: Any) -> Any:
    loop = WhileParams(**params)
    n = loop.carries
    carried, read, others = list(arrays[:n]), arrays[n : n + loop.read], arrays[n + loop.read :]
    while bool(loop.condition.run(xp, [*carried, *read], ready)[0]):
        carried = loop.body.run(xp, [*carried, *others], ready)
    return packed(xp, carried, loop.results)


def _while_jvp(tangents: Sequence[Any], out: Any, *inputs: Any, **params: Any) -> Any:
    loop = WhileParams(**params)
    n, m = loop.carries, loop.carries + loop.read
    moves = tuple(
        t is not None or (k < n and x.dtype.is_differentiable)
        for k, (t, x) in enumerate(zip(tangents, inputs, strict=True))
    )
    if all(t is None for k, t in enumerate(tangents) if not n <= k < m):
        return None
    moving = _while_moving(loop, moves)
    known = [zeros_like(x) if t is None else t for t, x in zip(tangents, inputs, strict=True)]
    carried = [known[k] for k in range(n) if moves[k]]
    others = [known[k] for k in range(m, len(inputs)) if moves[k]]
    found = while_loop(*inputs[:n], *carried, *inputs[n:], *others, **moving._asdict())
    parts = iter(moving.results.parts[n:])
    flat = [
        put(take(found, next(parts)), p) if p.type.dtype.is_differentiable else full(0, (p.size,), p.dtype, out.device)
        for p in loop.results.parts
    ]
    return flat[0] if len(flat) == 1 else concatenate(*flat, axis=0)


@cached
def _while_moving(loop: WhileParams, moves: tuple[bool, ...]) -> WhileParams:
    """The loop that also computes how what it carries moves."""
    n = loop.carries
    graph, test = loop.body.graph, loop.condition.graph
    moved = [*moves[:n], *moves[n + loop.read :]]
    directions = {x: input_node(x.type) for x, move in zip(graph.inputs, moved, strict=True) if move}
    floating = [o for o in graph.outputs if o.dtype.is_differentiable]
    found = TRANSFORMS.tangents(floating, list(directions), list(directions.values()))
    with made_from(None, "jvp of while_loop"):
        after = [zeros_like(o) if t is None else t for t, o in zip(found, floating, strict=True)]
    first = [directions[i] for i in graph.inputs[:n] if i in directions]
    rest = [directions[i] for i in graph.inputs[n:] if i in directions]
    body = Body(Graph((*graph.inputs[:n], *first, *graph.inputs[n:], *rest), (*graph.outputs, *after)))
    unread = [input_node(d.type) for d in first]
    condition = Body(Graph((*test.inputs[:n], *unread, *test.inputs[n:]), test.outputs))
    return WhileParams(condition, body, n + len(first), loop.read)


def _while_batch(inputs: Sequence[Any], batched: Sequence[bool], size: int, **params: Any) -> Any:
    loop = WhileParams(**params)
    n, m = loop.carries, loop.carries + loop.read
    many = _while_batched(loop, tuple(batched), size)
    first = [x if b else expand(x, shape=(size, *x.shape)) for x, b in zip(inputs[:n], batched, strict=False)]
    found = while_loop(*first, *inputs[n:m], *inputs[n:m], *inputs[m:], **many._asdict())
    return by_example(found, loop.results, many.results, size)


@cached
def _while_batched(loop: WhileParams, batched: tuple[bool, ...], size: int) -> WhileParams:
    """The loop for many examples: it goes on as long as one does, and those that are done stay as they are."""
    n, m = loop.carries, loop.carries + loop.read
    test = TRANSFORMS.vmap(loop.condition.graph, (*(True,) * n, *batched[n:m]), size)
    step = TRANSFORMS.vmap(loop.body.graph, (*(True,) * n, *batched[m:]), size)
    with made_from(None, "vmap of while_loop"):
        going = Body(test).applied((*step.inputs[:n], *(read := [input_node(i.type) for i in test.inputs[n:]])))[0]
        after = [select(going, new, old) for new, old in zip(step.outputs, step.inputs[:n], strict=True)]
        any_ = OPERATORS["max"](test.outputs[0], axes=(0,), keepdims=False)
    body = Body(Graph((*step.inputs[:n], *read, *step.inputs[n:]), tuple(after)))
    return WhileParams(Body(test.with_outputs((any_,))), body, n, loop.read)


_LESS = body_of(
    lambda n, x, most: (applied("lt", n, most),), TensorType(dt.int64, ()), f64(2), TensorType(dt.int64, ())
)
_GROW = body_of(lambda n, x, y: (n + 2, applied("sin", x) * y), TensorType(dt.int64, ()), f64(2), f64(2))
_BELOW = body_of(
    lambda x: (applied("lt", applied("sum", x, axes=(0,), keepdims=False), constant(20.0, dt.float64)),), f64(2)
)
_TWICE = body_of(lambda x: (x * 2.0 + 1.0,), f64(2))

while_loop: Operator = primitive(
    "while_loop",
    family="structured",
    type_rule=_while_type,
    eager=_while_eager,
    vjp=not_differentiable(
        "how often a loop runs is not known before it does, so that nothing can be kept for the way back; use "
        "tracec.func.scan with a largest number of runs, and tracec.where"
    ),
    jvp=_while_jvp,
    batch=_while_batch,
    lower=Structured(),
    arity=None,
    promotion="none",
    doc="Runs a body on what it carries as long as a condition holds; gives what is carried in the end, packed.",
    samples=(
        Sample(
            (Arg((), dt.int64, 0, 3), Arg((2,), dt.float64), Arg((), dt.int64, 3, 12), Arg((2,), dt.float64)),
            {"condition": _LESS, "body": _GROW, "carries": 2, "read": 1},
        ),
        Sample((Arg((2,), dt.float64, 0, 1),), {"condition": _BELOW, "body": _TWICE, "carries": 1}),
        Sample((Arg((2,), dt.float64, 11, 12),), {"condition": _BELOW, "body": _TWICE, "carries": 1}),
    ),
)
