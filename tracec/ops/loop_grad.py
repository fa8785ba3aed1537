"""The way back through a loop: a loop in the other direction, over what the runs left.

A run leaves the values that its derivative reads; `widened` adds them to what a body gives. On the way back cotangents
of carried values are carried. Where the body multiplies by an operand that is the same in all runs, the cotangents are
stacked, and that operand's gradient is one product over all runs; other gradients of such operands are summed run by
run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tracec.ir import dtype as dt
from tracec.ir.body import TRANSFORMS, Body, cached
from tracec.ir.extent import plain
from tracec.ir.graph import Graph, substitute, topological
from tracec.ir.lower import Decompose
from tracec.ir.node import Node, input_node, is_constant, is_input, made_from
from tracec.ir.operator import OPERATORS, Arg, Operator, Sample
from tracec.ir.types import TensorType
from tracec.ops.base import primitive
from tracec.ops.core import full, zeros_like
from tracec.ops.loops import COUNTING, RECURRENT, ScanParams, body_of, recurrent, scan
from tracec.ops.packing import Layout, Part, decoded, layout, put, take
from tracec.ops.view import concatenate, pad, reshape, slice, transpose

#: Views that commute with stacking.
_TURNS = frozenset({"reshape", "transpose"})


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


# What runs leave --------------------------------------------------------------------------------------


@cached
def widened(loop: ScanParams, every: bool = False) -> ScanParams:
    """The loop whose runs leave what the way back reads; the same loop where they do.

    Args:
        loop: The loop.
        every: Whether gradients come back from what is kept too.
    """
    if _way_back(loop, _asked(loop, every)) is not None:
        return loop
    graph = loop.body.graph
    found, _ = _pulled(loop, _asked(loop, every))
    forward = set(topological(graph.outputs)).union(graph.inputs)
    kept: dict[Node, None] = {}
    conditions: dict[Node, None] = {}
    for node in topological([g for g in found.values() if g is not None]):
        for i in (node, *node.inputs):
            if i in forward and (node not in forward or i is node):
                sources = list(_sources(i, loop))
                kept.update((s, None) for s in sources if s.dtype is not dt.bool_)
                conditions.update((s, None) for s in sources if s.dtype is dt.bool_)
    for node in conditions:  # computed again where what they compare is there
        compared = [s for i in node.inputs for s in _sources(i, loop)]
        if not compared or not all(s in kept for s in compared):
            kept[node] = None
    more = [n for n in kept if n not in graph.outputs[len(graph.outputs) - loop.kept :]]
    body = Body(Graph(graph.inputs, (*graph.outputs, *more), graph.name))
    return loop._replace(body=body, kept=loop.kept + len(more))


def _asked(loop: ScanParams, every: bool) -> tuple[bool, ...]:
    """From which results gradients come back."""
    last = len(loop.body.outputs) - (0 if every else loop.kept)
    return tuple(k < last for k in range(len(loop.body.outputs)))


def _sources(node: Node, loop: ScanParams) -> Iterator[Node]:
    """What must be kept for a value to be there on the way back: views and casts are computed again."""
    again = node.op.family == "view" or node.op.name == "cast"
    if is_constant(node):
        return
    if is_input(node):
        if node in loop.body.graph.inputs[: loop.carries]:
            yield node
    elif again and node.inputs:
        for i in node.inputs:
            yield from _sources(i, loop)
    else:
        yield node


def _pulled(loop: ScanParams, asked: tuple[bool, ...]) -> tuple[dict[int, Node | None], dict[int, Node]]:
    """One run's gradients by the positions of its inputs, and its cotangents by those of its outputs."""
    graph = loop.body.graph
    seeds = {
        k: input_node(o.type) for k, o in enumerate(graph.outputs)
        if o.dtype.is_differentiable and (asked[k] or k < loop.carries)
    }  # fmt: skip
    floating = [k for k, i in enumerate(graph.inputs) if i.dtype.is_differentiable]
    found = TRANSFORMS.transposed(
        [graph.outputs[k] for k in seeds], list(seeds.values()), [graph.inputs[k] for k in floating]
    )
    return dict(zip(floating, found, strict=True)), seeds


# One run's way back -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class WayBack:
    """The loop back.

    Attributes:
        body: What it runs: from cotangents of carried values, sums, slices and operands to the first two and to what
            is stacked.
        sums: Positions of the operands whose gradients are summed run by run.
        slices: What it scans: (``x``, ``kept`` or ``ct``, the position of the operand or result).
        others: Positions of the operands that it reads in every run.
        stacked: Nodes of the body that are stacked, by number.
        gradients: The node of each operand's gradient in one run, by the operand's position.
        products: For operands that are the same in all runs, the terms of that which are computed over all at once.
        bases: For slices, the body's input.
    """

    body: Body
    sums: tuple[int, ...]
    slices: tuple[tuple[str, int], ...]
    others: tuple[int, ...]
    stacked: dict[Node, int]
    gradients: dict[int, Node | None]
    products: dict[int, tuple[Node, ...]]
    bases: dict[Node, tuple[str, int]]


@cached
def _way_back(loop: ScanParams, asked: tuple[bool, ...]) -> WayBack | None:
    """The way back from these results; None where a run would have to know what none has left."""
    graph, n, m = loop.body.graph, loop.carries, loop.carries + loop.scanned
    found, seeds = _pulled(loop, asked)
    bases: dict[Node, tuple[str, int]] = {x: ("x", n + k) for k, x in enumerate(graph.inputs[n:m])}
    bases |= {node: ("ct", k) for k, node in seeds.items() if k >= n}
    left: dict[Node, Node] = {}
    for k in range(len(graph.outputs) - loop.kept, len(graph.outputs)):
        node = graph.outputs[k]
        if node not in left and node not in bases and not is_constant(node) and node not in graph.inputs[m:]:
            left[node] = input_node(node.type)
            bases[left[node]] = ("kept", k)
    positions = [k for k, g in found.items() if g is not None]
    again = substitute([g for k in positions if (g := found[k]) is not None], dict(left))
    gradients = dict(found) | dict(zip(positions, again, strict=True))
    with made_from(None, "vjp of scan"):
        return _assembled(loop, gradients, seeds, bases)


def _assembled(
    loop: ScanParams, gradients: dict[int, Node | None], seeds: dict[int, Node], bases: dict[Node, tuple[str, int]]
) -> WayBack | None:
    inputs, n, m = loop.body.graph.inputs, loop.carries, loop.carries + loop.scanned
    stacked: dict[Node, int] = {}
    for k in range(n, m):
        if (g := gradients.get(k)) is not None:
            stacked.setdefault(g, len(stacked))
    products: dict[int, tuple[Node, ...]] = {}
    sums: dict[int, Node] = {}
    for k in range(m, len(inputs)):
        if (g := gradients.get(k)) is None:
            continue
        at_once = []
        for term in _terms(g):
            wanted = _stackable(term, inputs[m:])
            if wanted is not None and _is_worth(term, [w for w in wanted if w not in stacked and w not in bases]):
                at_once.append(term)
                for w in wanted:
                    if w not in bases:
                        stacked.setdefault(w, len(stacked))
            else:
                sums[k] = term if k not in sums else OPERATORS["add"](sums[k], term)
        products[k] = tuple(at_once)
    so_far = {k: input_node(inputs[k].type) for k in sums}
    carried = [k for k in range(n) if inputs[k].dtype.is_differentiable]
    new = [gradients.get(k) or zeros_like(inputs[k]) for k in carried]
    outputs = (*new, *(OPERATORS["add"](so_far[k], term) for k, term in sums.items()), *stacked)
    read = [x for x in topological(outputs) if is_input(x)]
    slices = [x for x in bases if x in read]
    others = [k for k in range(m, len(inputs)) if inputs[k] in read]
    takes = (*(seeds[k] for k in carried), *so_far.values(), *slices, *(inputs[k] for k in others))
    if not set(read) <= set(takes):
        return None
    body = Body(Graph(takes, outputs))
    where = tuple(bases[x] for x in slices)
    return WayBack(body, tuple(sums), where, tuple(others), stacked, gradients, products, bases)


def _terms(g: Node) -> list[Node]:
    """What is added up to a gradient."""
    found, waiting = [], [g]
    while waiting:
        node = waiting.pop()
        if node.op.name == "add" and all(i.shape == node.shape for i in node.inputs):
            waiting += reversed(node.inputs)
        else:
            found.append(node)
    return found


def _turned(node: Node) -> Node:
    """What a value is a reshaped or transposed view of."""
    while node.op.name in _TURNS:
        node = node.inputs[0]
    return node


def _stackable(term: Node, same: Sequence[Node]) -> list[Node] | None:
    """What must be stacked for a term to be summed over all runs at once; None where that cannot be."""
    root = _turned(term)
    if root.op.name not in ("dot", "sum"):
        return None
    found = [_turned(i) for i in root.inputs]
    return None if any(is_constant(f) or f in same for f in found) else found


def _is_worth(term: Node, new: Sequence[Node]) -> bool:
    """Whether stacking takes no more than adding to the sum in each run; both ways are right for all sizes."""
    stacked: int = sum(plain(n.type.nbytes) for n in dict.fromkeys(new))
    return stacked <= int(plain(term.type.nbytes))


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
    parts = loop.results.parts
    pieces = [_piece(ct, p) if a else None for p, a in zip(parts, _asked(loop, every), strict=True)]
    pieces += [None] * (len(wide.body.outputs) - len(parts))
    asked = tuple(p is not None for p in pieces)
    way = _way_back(wide, asked)
    assert way is not None
    n, m = loop.carries, loop.carries + loop.scanned
    known: dict[Node, Node] = {}
    for base, (kind, k) in way.bases.items():
        if kind == "x":
            known[base] = inputs[k]
        elif kind == "kept":
            known[base] = take(out, wide.results.parts[k])
        elif (piece := pieces[k]) is not None:
            known[base] = piece
    carried = [k for k in range(n) if inputs[k].dtype.is_differentiable]
    operands = [zeros_like(inputs[k]) if (p := pieces[k]) is None else p for k in carried]
    operands += [zeros_like(inputs[k]) for k in way.sums]
    bodys = way.body.graph.inputs[len(operands) :]
    operands += [known[base] for base in bodys[: len(way.slices)]]
    operands += [inputs[k] for k in way.others]
    back = ScanParams(way.body, len(carried) + len(way.sums), len(way.slices), loop.length, not loop.reverse)
    packed = scan(*operands, **back._asdict()) if way.body.outputs else None
    places = back.results.parts
    for node, k in way.stacked.items():
        known[node] = take(packed, places[back.carries + k])
    found: list[Node] = []
    for k, x in enumerate(inputs):
        if not x.dtype.is_differentiable:
            continue
        g = way.gradients.get(k)
        if k < n:
            found.append(take(packed, places[carried.index(k)]))
        elif g is None:
            found.append(zeros_like(x))
        elif k < m:
            found.append(known[g])
        else:
            terms = [_over_all(term, known, loop.length) for term in way.products[k]]
            if k in way.sums:
                terms.append(take(packed, places[len(carried) + way.sums.index(k)]))
            total = terms[0]
            for term in terms[1:]:
                total = OPERATORS["add"](total, term)
            found.append(total)
    packing = _gradients(tuple(i.type for i in inputs)).parts
    flat = [put(g, part) for g, part in zip(found, packing, strict=True)]
    return flat[0] if len(flat) == 1 else concatenate(*flat, axis=0)  # type: ignore[no-any-return]


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
    while term.op.name in _TURNS:
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
    while node.op.name in _TURNS and node not in known:
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
    return _expansion(loop, types, every).run(xp, given)[0]


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
