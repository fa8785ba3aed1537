"""The way back through a loop: a loop in the other direction, over what the runs left.

A run leaves the values that its derivative reads; `widened` (`tracec.ops.loop_back`, with what one run does on its way
back) adds them to what a body gives. On the way back cotangents of carried values are carried. Where the body
multiplies by an operand that is the same in all runs, the cotangents are stacked, and that operand's gradient is one
product over all runs; other gradients of such operands are summed run by run.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

from tracec.ir import dtype as dt
from tracec.ir.body import TRANSFORMS, Body, cached
from tracec.ir.graph import Graph, substitute
from tracec.ir.lower import Decompose
from tracec.ir.node import Node, input_node, is_constant, made_from
from tracec.ir.operator import OPERATORS, Arg, Operator, Sample
from tracec.ir.types import TensorType
from tracec.ops.arrays import ready
from tracec.ops.base import primitive
from tracec.ops.core import full, zeros_like
from tracec.ops.loop_back import TURNS, WayBack, asked_of, way_back, widened
from tracec.ops.loops import COUNTING, RECURRENT, ScanParams, body_of, recurrent, scan
from tracec.ops.packing import Layout, Part, decoded, layout, put, take
from tracec.ops.view import concatenate, pad, reshape, slice, transpose


def pulled_back(loop: ScanParams, ct: Node, out: Node, inputs: Sequence[Node]) -> tuple[Node | None, ...]:
    """The gradients of a loop's operands; None for those that have none."""
    wide = widened(loop)
    if wide != loop:  # what the runs leave is not there: they run once more
        out = scan(*inputs, **wide._asdict())
        ct = _repacked(ct, loop.results, wide.results)
    packed = scan_grad(ct, out, *inputs, **wide._asdict())
    parts = iter(_gradients(tuple(i.type for i in inputs)).parts)
    return tuple(take(packed, next(parts)) if i.dtype.is_differentiable else None for i in inputs)


def _repacked(x: Node, old: Layout, new: Layout) -> Node:
    """The same results, with zeros behind."""
    if old.type.dtype is new.type.dtype:
        return pad(x, low=(0,), high=(new.type.shape[0] - x.shape[0],), value=0)  # type: ignore[no-any-return]
    zeros = [full(0, (p.size,), p.dtype, x.device) for p in new.parts[len(old.parts) :]]
    return concatenate(*(put(take(x, a), b) for a, b in zip(old.parts, new.parts, strict=False)), *zeros, axis=0)  # type: ignore[no-any-return]


@cached
def _gradients(types: tuple[TensorType, ...]) -> Layout:
    """Where the gradients of operands of these types lie."""
    return layout(tuple(t for t in types if t.dtype.is_differentiable))


# All runs' way back -----------------------------------------------------------------------------------


def written_out(loop: ScanParams, ct: Node, out: Node, inputs: Sequence[Node], every: bool) -> Node:
    """The gradients of all floating operands, packed, by loops and products.

    Args:
        loop: The loop.
        ct: Cotangent of its packed results.
        out: Its packed results.
        inputs: Its operands.
        every: Whether what is kept has a cotangent.
    """
    wide = widened(loop, every)
    if wide != loop:
        out = scan(*inputs, **wide._asdict())
    pieces = [_piece(ct, p) if a else None for p, a in zip(loop.results.parts, asked_of(loop, every), strict=True)]
    pieces += [None] * (len(wide.body.outputs) - len(pieces))
    way = way_back(wide, tuple(p is not None for p in pieces))
    assert way is not None
    known = _read_back(way, inputs, out, wide.results.parts, pieces)
    carried = [k for k in range(loop.carries) if inputs[k].dtype.is_differentiable]
    operands = [zeros_like(inputs[k]) if (p := pieces[k]) is None else p for k in carried]
    operands += [zeros_like(inputs[k]) for k in way.sums]
    scanned = way.body.graph.inputs[len(operands) :][: len(way.slices)]
    operands += [known[base] for base in scanned]
    operands += [inputs[k] for k in way.others]
    back = ScanParams(way.body, len(carried) + len(way.sums), len(way.slices), loop.length, not loop.reverse)
    given: list[Node] = []
    if way.body.outputs:
        packed = scan(*operands, **back._asdict())
        given = [take(packed, part) for part in back.results.parts]
    known |= {node: given[back.carries + k] for node, k in way.stacked.items()}
    ends = dict(zip((*carried, *way.sums), given, strict=False))
    found = [_gradient(loop, way, k, x, known, ends) for k, x in enumerate(inputs) if x.dtype.is_differentiable]
    packing = _gradients(tuple(i.type for i in inputs)).parts
    flat = [put(g, part) for g, part in zip(found, packing, strict=True)]
    return flat[0] if len(flat) == 1 else concatenate(*flat, axis=0)  # type: ignore[no-any-return]


def _read_back(
    way: WayBack, inputs: Sequence[Node], out: Node, parts: Sequence[Part], pieces: Sequence[Node | None]
) -> dict[Node, Node]:
    """What the loop back scans, by inputs of its body: slices, what runs left, and cotangents, unless plainly zero."""
    known: dict[Node, Node] = {}
    for base, (kind, k) in way.bases.items():
        if kind == "x":
            known[base] = inputs[k]
        elif kind == "kept":
            known[base] = take(out, parts[k])
        elif (piece := pieces[k]) is not None:
            known[base] = piece
    return known


def _gradient(
    loop: ScanParams, way: WayBack, k: int, x: Node, known: dict[Node, Node], carried: dict[int, Node]
) -> Node:
    """The gradient of one operand.

    Args:
        loop: The loop.
        way: Its way back.
        k: The operand's position.
        x: The operand.
        known: What is stacked, and what the loop back scans, by nodes of its body.
        carried: What the loop back carried to its end, by the operand's position.
    """
    g = way.gradients.get(k)
    if k < loop.carries:
        return carried[k]
    if g is None:
        return zeros_like(x)  # type: ignore[no-any-return]
    if k < loop.carries + loop.scanned:
        return known[g]
    terms = [_over_all(term, known, loop.length) for term in way.products[k]]
    if k in way.sums:
        terms.append(carried[k])
    return reduce(OPERATORS["add"], terms)


def _piece(ct: Node, part: Part) -> Node | None:
    """The cotangent of one result; None where it is plainly zero."""
    flat = _within(ct, part.start, part.stop)
    return None if flat is None else decoded(reshape(flat, shape=part.shape), part)


def _within(x: Node, start: int, stop: int) -> Node | None:
    """Some elements of an array of one dimension; None where they are plainly zero."""
    if x.op.name == "pad" and x.param("value") == 0:
        low = x.param("low")[0]
        high = low + x.inputs[0].shape[0]
        if stop <= low or high <= start:
            return None
        if low <= start and stop <= high:
            return _within(x.inputs[0], start - low, stop - low)
    elif x.op.name == "add" and all(i.shape == x.shape for i in x.inputs):
        a, b = (_within(i, start, stop) for i in x.inputs)
        return a if b is None else b if a is None else OPERATORS["add"](a, b)
    elif x.op.name == "expand" and is_constant(x.inputs[0]) and x.inputs[0].param("value") == 0:
        return None
    if (start, stop) == (0, x.shape[0]):
        return x
    return slice(x, starts=(start,), stops=(stop,), steps=(1,))  # type: ignore[no-any-return]


def _over_all(term: Node, known: dict[Node, Node], length: int) -> Node:
    """A term summed over all runs."""
    views = []
    while term.op.name in TURNS:
        views.append(term)
        term = term.inputs[0]
    operands = [_of_all(i, known, length) for i in term.inputs]
    if term.op.name == "sum":
        axes = (0, *(a + 1 for a in term.param("axes")))
        total = OPERATORS["sum"](operands[0], axes=axes, keepdims=term.param("keepdims"))
        total = reshape(total, shape=term.shape)
    else:
        total = _product_over_all(*operands)
    for view in reversed(views):
        total = view.op(total, **dict(view.params))
    return total  # type: ignore[no-any-return]


def _product_over_all(a: Node, b: Node) -> Node:
    """The sum of the products of the matrices of two stacks, as one product."""
    batch = tuple(range(1, a.ndim - 2))
    a = transpose(a, perm=(*batch, a.ndim - 2, 0, a.ndim - 1))
    b = transpose(b, perm=(*batch, 0, b.ndim - 2, b.ndim - 1))
    a = reshape(a, shape=(*a.shape[:-2], a.shape[-2] * a.shape[-1]))
    b = reshape(b, shape=(*b.shape[:-3], b.shape[-3] * b.shape[-2], b.shape[-1]))
    product: Node = OPERATORS["dot"](a, b)
    return product


def _of_all(node: Node, known: dict[Node, Node], length: int) -> Node:
    """A value of one run, or a view of it, for all runs."""
    views = []
    while node.op.name in TURNS and node not in known:
        views.append(node)
        node = node.inputs[0]
    found = known[node]
    for view in reversed(views):
        if view.op.name == "reshape":
            found = reshape(found, shape=(length, *view.shape))
        else:
            found = transpose(found, perm=(0, *(a + 1 for a in view.param("perm"))))
    return found


# The operator -----------------------------------------------------------------------------------------


@cached
def _expansion(loop: ScanParams, types: tuple[TensorType, ...], every: bool) -> Body:
    """What `scan_grad` of operands of these types is, over inputs of its own."""
    ct, out, *inputs = (input_node(t) for t in types)
    with made_from(None, "vjp of scan"):
        return Body(Graph((ct, out, *inputs), (written_out(loop, ct, out, inputs, every),)))


def _grad_type(
    ct: TensorType, out: TensorType, *types: TensorType, body: Body, carries: int, scanned: int, length: int,
    reverse: bool = False, kept: int = 0,
) -> TensorType:  # fmt: skip
    params = {"body": body, "carries": carries, "scanned": scanned, "length": length, "reverse": reverse, "kept": kept}
    packed = scan.type_rule(*types, **params)
    for x in (ct, out):
        if x != packed:
            scan.type_rule(x, *types, **params)  # says what does not fit
    return _gradients(types).type


def _grad_eager(xp: Any, ct: Any, out: Any, *arrays: Any, **params: Any) -> Any:
    loop = ScanParams(**params)
    kept = loop.results.parts[len(loop.body.outputs) - loop.kept :]
    every = bool(kept) and bool(ct[kept[0].start :].any())
    given = (ct, out, *arrays)
    there = (loop.results.type.device,) * 2 + tuple(i.type.device for i in loop.body.graph.inputs)
    types = tuple(TensorType(dt.of_numpy(x.dtype), x.shape, place) for x, place in zip(given, there, strict=True))
    return _expansion(loop, types, every).run(xp, given, ready)[0]


def _grad_vjp(ct: Any, result: Any, *operands: Any, **params: Any) -> tuple[Any, ...]:
    body = _expansion(ScanParams(**params), tuple(x.type for x in operands), True)
    seed = input_node(ct.type)
    floating = [i for i in body.graph.inputs if i.dtype.is_differentiable]
    found = dict(zip(floating, TRANSFORMS.transposed(body.graph.outputs, [seed], floating), strict=True))
    wanted = [i for i in floating if found[i] is not None]
    real = dict(zip(body.graph.inputs, operands, strict=True)) | {seed: ct}
    made = dict(zip(wanted, substitute([g for i in wanted if (g := found[i]) is not None], real), strict=True))
    return tuple(made.get(i) for i in body.graph.inputs)


def _grad_jvp(tangents: Sequence[Any], result: Any, *operands: Any, **params: Any) -> Any:
    body = _expansion(ScanParams(**params), tuple(x.type for x in operands), True)
    pairs = list(zip(body.graph.inputs, operands, tangents, strict=True))
    directions = {i: input_node(i.type) for i, _, t in pairs if t is not None}
    found = TRANSFORMS.tangents(body.graph.outputs, list(directions), list(directions.values()))[0]
    if found is None:
        return None
    real = {i: x for i, x, _ in pairs} | {directions[i]: t for i, _, t in pairs if t is not None}
    return substitute([found], real)[0]


def _grad_batch(inputs: Sequence[Any], batched: Sequence[bool], size: int, **params: Any) -> Any:
    types = tuple(x.type.with_shape(x.shape[1:]) if many else x.type for x, many in zip(inputs, batched, strict=True))
    graph = TRANSFORMS.vmap(_expansion(ScanParams(**params), types, True).graph, tuple(batched), size)
    return substitute(graph.outputs, dict(zip(graph.inputs, inputs, strict=True)))[0]


def _sample(loop: ScanParams, *args: Arg) -> Sample:
    packed = Arg(loop.results.type.shape, loop.results.type.dtype)
    return Sample((packed, packed, *args), loop._asdict())


def _build(ct: Node, out: Node, *inputs: Node, **params: Any) -> Node:
    loop = ScanParams(**params)
    return written_out(loop, ct, out, inputs, _has_kept(loop, ct))


def _has_kept(loop: ScanParams, ct: Node) -> bool:
    """Whether gradients come back from what the runs left."""
    parts = loop.results.parts
    return loop.kept > 0 and _within(ct, parts[len(parts) - loop.kept].start, parts[-1].stop) is not None


_LEAVING = body_of(lambda h, x, w: (*(found := recurrent(h, x, w)), h, found[0]), *RECURRENT.inputs)


def _samples() -> tuple[Sample, ...]:
    first = ScanParams(RECURRENT, 1, 1, 3)
    args = Arg((2, 3), dt.float64), Arg((3, 2, 3), dt.float64), Arg((3, 3), dt.float64, -1, 1)
    second = ScanParams(COUNTING, 2, 1, 4, True)
    return (
        _sample(first, *args),
        _sample(first._replace(body=_LEAVING, kept=2), *args),
        _sample(second, Arg((), dt.int64, -9, 9), Arg((2,), dt.float64), Arg((4, 2), dt.float64)),
    )


scan_grad: Operator = primitive(
    "scan_grad",
    family="structured",
    type_rule=_grad_type,
    eager=_grad_eager,
    vjp=_grad_vjp,
    jvp=_grad_jvp,
    batch=_grad_batch,
    lower=Decompose(_build),
    arity=None,
    promotion="none",
    doc="The gradients of a scan's floating operands, packed, from its packed results and their cotangent.",
    samples=_samples(),
)
