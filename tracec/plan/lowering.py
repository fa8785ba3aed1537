"""Lowering: a group of nodes becomes a kernel, a loop nest of named scalars and stores."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence

from tracec.ir import index as ix
from tracec.ir.extent import distinct
from tracec.ir.kernel import (
    Acc,
    Call,
    Const,
    Contraction,
    Expr,
    Kernel,
    Load,
    Ref,
    Scratch,
    Stmt,
    Store,
    Update,
    Var,
    identity,
    nested,
)  # fmt: skip
from tracec.ir.lower import ContractionSpec, Index, Reduction, Scan, Scatter, input_types
from tracec.ir.node import Node, is_constant
from tracec.ir.source import Source
from tracec.ir.types import Shape, numel
from tracec.plan.access import literal
from tracec.plan.emitter import Emitter
from tracec.plan.group import Group
from tracec.plan.keep import kept_on_chip, needed, reduces_rows, reduction_shape
from tracec.plan.side_by_side import place_of, points, side_by_side
from tracec.plan.space import FULL, ROW, Space, of_shape, reduced_shape, reduction_index
from tracec.plan.stripes import COLUMN, STRIPE, column_index, stripe_var, sum_index


def lower_group(group: Group, inlined: dict[Node, int], stored: set[Node], row_bytes: int) -> tuple[Kernel, list[Node]]:
    """The kernel of a group, and for each of its buffers the node that it holds.

    Args:
        group: What to lower; not a library routine.
        inlined: Nodes that readers compute anew.
        stored: Members that others read, or that are outputs.
        row_bytes: Of values that several loops over a row read, loads included, so many bytes are kept in scratch, and
            divisions of a row are made cheaper where they may be; 0 for values that are costly alone, and divisions
            as they are.
    """
    e = Emitter(group, inlined, stored, row_bytes)
    write: dict[str, Callable[[Emitter], Kernel]] = {
        "map": _map, "reduce": _reduce, STRIPE: _stripe, "contraction": _contraction, "scan": _scan,
        "scatter": _scatter,
    }  # fmt: skip
    kernel = write[group.kind](e)
    return kernel, list(e.buffers)


def sources_of(group: Group) -> tuple[Source, ...]:
    """The user's lines that a group's members come from."""
    return tuple(dict.fromkeys(n.source for n in group.nodes if n.source is not None))


def _kernel(e: Emitter, shape: str, body: tuple[Stmt, ...], contraction: Contraction | None = None) -> Kernel:
    ops = tuple(n.op.name for n in e.group.nodes)
    return Kernel("kernel", shape, tuple(e.buffers.values()), body, contraction, sources_of(e.group), ops)


def _space(group: Group) -> Space:
    """The group's loops, split so that members index by whole loops."""
    if group.kind in ("reduce", STRIPE):
        full = distinct(n.shape for n in group.nodes if group.level[n] == FULL)
        operands = distinct(reduced_shape(n)[0] for n in group.nodes if reduces_rows(n, group))
        rows = distinct(n.shape for n in group.nodes if group.level[n] == ROW)
        return group.loops([*operands, *full], rows)
    shapes = sorted(distinct(map(points, group.nodes)), key=lambda s: (-len(s), s))
    return of_shape(shapes[0]).refine(shapes[1:])


def _map(e: Emitter) -> Kernel:
    space = _space(e.group)
    for node in e.group.nodes:
        index = ix.unflatten(space.flat, points(node))
        if side_by_side(node):
            for k, part in enumerate(node.inputs):
                e.outer.append(e.store(node, place_of(node, k, index), e.bind(e.read(part, index))))
            continue
        e.full_value[node] = e.bind(e.guard(_point(e, node, index)))
        if node in e.stored:
            e.outer.append(e.store(node, index, e.full_value[node]))
    return _kernel(e, "map", nested(space.vars, tuple(e.outer), "parallel"))


def _point(e: Emitter, node: Node, index: Index) -> Expr:
    """A node's element; a reduction over single elements is that element."""
    lower = node.op.lower
    if isinstance(lower, Reduction):
        zeros = tuple(Const(0) for _ in lower.extents(input_types(node), **dict(node.params)))
        return e.reduced_element(node, index, zeros)
    return e.element(node, index)


# -- reductions ---------------------------------------------------------------------------------------------


def _stages(group: Group) -> dict[Node, int]:
    """Member → how many loops over the row must have ended before its element can be computed."""
    stage: dict[Node, int] = {}
    for node in group.nodes:
        needed = max((stage[r] for r in group.reads[node] if r in stage), default=0)
        stage[node] = needed + 1 if reduces_rows(node, group) else needed
    return stage


def _reduce(e: Emitter) -> Kernel:
    space = _space(e.group)
    body = _row(e, space, {}, e.row_bytes)
    return _kernel(e, reduction_shape(space), nested(space.kept_vars, body, "parallel"))


def _stripe(e: Emitter) -> Kernel:
    """Rows one after another, and sums of their columns, which are kept as the rows go by."""
    space, group = _space(e.group), e.group
    stripe = stripe_var(group.stripes)
    sums = {n: f"c{k}" for k, n in enumerate(n for n in group.nodes if group.level[n] == COLUMN)}
    kept = tuple(Scratch(name, n.dtype.compute, space.row) for n, name in sums.items())
    rows = nested(space.kept_vars, _row(e, space, sums, 0), "share")  # what is read stays in registers either way
    zeros, stores = [], []
    for node, name in sums.items():
        wide = node.dtype.compute
        zeros.append(Store(name, space.within_flat, Const(identity("add", wide), wide)))
        at = sum_index(node, space, stripe, group.stripes)
        total = Load(name, space.within_flat, wide)
        stores.append(Store(e.buffer(node, "out").name, ix.flatten(at, node.shape), total))
    first, last = (nested(space.reduced_vars, tuple(s), "each") for s in (zeros, stores))
    return _kernel(e, "stripe", nested([stripe], (*kept, *first, *rows, *last), "parallel"))


def _row(e: Emitter, space: Space, sums: dict[Node, str], row_bytes: int) -> tuple[Stmt, ...]:
    """What is computed of a row.

    Args:
        e: Writes the kernel.
        space: Its loops.
        sums: Sums of columns, to which the row adds, by the scratch arrays that they are in.
        row_bytes: Bytes of values that are kept, loads included; 0 for what is costly alone.
    """
    group = e.group
    stage = _stages(group)
    last = max((stage[n] for n in group.nodes if reduces_rows(n, group)), default=0)
    full = [n for n in group.nodes if group.level[n] == FULL]
    kept = kept_on_chip(group, space, stage, full, e.stored, row_bytes)
    scratch: dict[Node, str] = {}
    written: set[Node] = set()
    _row_values(e, space, stage, 0)
    for k in range(1, last + 2):
        reductions = [n for n in group.nodes if reduces_rows(n, group) and stage[n] == k]
        stores = [n for n in full if n in e.stored and n not in written and stage[n] < k]
        added = [n for n in sums if n not in written and stage[n] < k]
        if not reductions and not stores and not added:
            continue
        held = _accumulators(e, reductions, k)
        e.open_loop(space.reduced_vars)
        _elements(e, space, needed(group, [*reductions, *stores, *added], full, scratch), kept, scratch)
        _results(e, space, stores, {n: sums[n] for n in added}, held)
        written.update(stores, added)
        e.close_loop(space.reduced_vars, "reduce" if reductions else "each")
        e.row_value.update(held)
        _row_values(e, space, stage, k)
    for node in group.nodes:
        if group.level[node] == ROW and node in e.stored:
            e.outer.append(e.store(node, ix.unflatten(space.row_flat, node.shape), e.row_value[node]))
    declared = tuple(Scratch(name, n.dtype.compute, space.row) for n, name in scratch.items())
    return (*declared, *e.outer)


def _accumulators(e: Emitter, reductions: Sequence[Node], k: int) -> dict[Node, Ref]:
    """Declare what the k-th loop over a row gathers: where the result of each reduction will be."""
    held: dict[Node, Ref] = {}
    for node in reductions:
        lower = node.op.lower
        assert isinstance(lower, Reduction)
        found = Ref(f"a{len(e.row_value) + len(held)}_{k}", node.dtype.compute)
        e.outer.append(Acc(found.name, lower.combine, node.dtype.compute))
        held[node] = found
    return held


def _elements(e: Emitter, space: Space, nodes: Iterable[Node], kept: Container[Node], scratch: dict[Node, str]) -> None:
    """Compute a point's element of each node, or load it where a loop before has put it.

    Args:
        e: Writes the kernel.
        space: Its loops.
        nodes: The nodes, operands first.
        kept: Those that later loops load.
        scratch: Nodes that a loop before has kept, and the arrays that they are in; those of this loop are entered.
    """
    for node in nodes:
        if node in scratch:
            e.full_value[node] = e.bind(Load(scratch[node], space.within_flat, node.dtype.compute))
            continue
        index = ix.unflatten(space.flat, node.shape)
        e.full_value[node] = e.bind(e.guard(e.element(node, index)))
        if node in kept:
            scratch[node] = f"s{len(scratch)}"
            assert e.inner is not None
            e.inner.append(Store(scratch[node], space.within_flat, e.full_value[node]))
            e.keep(scratch[node], space.row)


def _results(
    e: Emitter, space: Space, stores: Sequence[Node], sums: Mapping[Node, str], held: Mapping[Node, Ref]
) -> None:  # fmt: skip
    """Store a point's elements, and add them to sums of columns and to reductions of the row."""
    assert e.inner is not None
    for node in stores:
        e.inner.append(e.store(node, ix.unflatten(space.flat, node.shape), e.full_value[node]))
    for node, scratch in sums.items():
        value = e.bind(e.guard(e.reduced_element(node, *column_index(node, space, e.group.stripes))))
        e.inner.append(Store(scratch, space.within_flat, value, add=True))
    for node, found in held.items():
        index, reduced = reduction_index(node, space)
        e.inner.append(Update(found.name, e.bind(e.guard(e.reduced_element(node, index, reduced)))))


def _row_values(e: Emitter, space: Space, stage: dict[Node, int], k: int) -> None:
    """Name the row-level values that are known once k loops over the row have ended."""
    for node in e.group.nodes:
        if e.group.level[node] == ROW and stage[node] == k and not reduces_rows(node, e.group):
            e.row_value[node] = e.bind(e.guard(e.element(node, ix.unflatten(space.row_flat, node.shape))))


# -- the others ---------------------------------------------------------------------------------------------


def _contraction(e: Emitter) -> Kernel:
    node = next(n for n in e.group.nodes if isinstance(n.op.lower, ContractionSpec))
    lower = node.op.lower
    assert isinstance(lower, ContractionSpec)
    types, params = input_types(node), dict(node.params)
    blocks = lower.blocks(types, node.type, **params)
    outer, index = output_loops(node.shape, blocks)
    extents = lower.extents(types, **params)
    inner = [Var(f"r{k}", s) for k, s in enumerate(extents)]
    e.naming = False
    a, b = e.factors(node, index, tuple(Const(0) if v.extent == 1 else v for v in inner))
    e.naming = True
    wide = node.dtype.compute
    acc = Ref("acc", wide)
    summed = nested([v for v in inner if v.extent != 1], (Update("acc", Call("mul", (a, b), wide)),), "reduce")
    e.outer += [Acc("acc", "add", wide), *summed]
    e.full_value[node] = acc
    flat = ix.flatten(index, node.shape)
    for member in e.group.nodes:
        at = ix.unflatten(flat, member.shape)
        if member is not node:
            e.full_value[member] = e.bind(e.guard(_point(e, member, at)))
        if member in e.stored:
            e.outer.append(e.store(member, at, e.full_value[member]))
    groups = lower.groups(types, node.type, **params)
    loops = [v for v in outer if v.extent != 1]
    batch, m, n = (tuple(v.name for v in loops if v.name in {f"i{k}" for k in axes}) for axes in groups)
    batch += tuple(v.name for v in loops if v.name in {f"b{k}" for k in blocks})
    k = tuple(v.name for v in inner if v.extent != 1)
    mark = Contraction(batch, m, n, k, a, b, "acc", node.op.name)
    return _kernel(e, "contraction", nested(loops, tuple(e.outer), "parallel"), mark)


def output_loops(shape: Shape, blocks: dict[int, int]) -> tuple[list[Var], Index]:
    """Loops over an output, two along an axis of blocks, and the multi-index that they are at."""
    loops: list[Var] = []
    index: list[Expr] = []
    for k, size in enumerate(shape):
        count = blocks.get(k, 1)
        within = Var(f"i{k}", size // count)
        at: Expr = Const(0) if within.extent == 1 else within
        if count > 1:
            block = Var(f"b{k}", count)
            loops.append(block)
            at = ix.add(ix.mul(block, within.extent), at)
        loops.append(within)
        index.append(at)
    return loops, tuple(index)


def _scan(e: Emitter) -> Kernel:
    (node,) = e.group.nodes
    lower = node.op.lower
    assert isinstance(lower, Scan)
    axis = node.param("axis")
    outer = [Var(f"i{k}", s) for k, s in enumerate(node.shape)]
    along = Var("r0", node.shape[axis] if node.shape else 1)
    position: Expr = along
    if dict(node.params).get("reverse"):
        position = ix.sub(Const(along.extent - 1), along)
    index = tuple(position if k == axis else Const(0) if v.extent == 1 else v for k, v in enumerate(outer))
    wide = node.dtype.compute
    e.outer.append(Acc("acc", lower.combine, wide))
    e.open_loop([along])
    operand = node.inputs[0]
    value = literal(operand) if is_constant(operand) else e.bind(e.guard(e.read(operand, index)))
    assert e.inner is not None
    e.inner += [Update("acc", value), e.store(node, index, Ref("acc", wide))]
    e.close_loop([along], "serial")
    kept = [v for k, v in enumerate(outer) if k != axis and v.extent != 1]
    return _kernel(e, "scan", nested(kept, tuple(e.outer), "parallel"))


def _scatter(e: Emitter) -> Kernel:
    (node,) = e.group.nodes
    lower = node.op.lower
    assert isinstance(lower, Scatter)
    base, value = node.inputs[0], node.inputs[1]
    flat = Var("i0", numel(node.shape))
    start = literal(base) if is_constant(base) else e.guard(e.read(base, ix.unflatten(flat, node.shape)))
    e.outer.append(e.store(node, ix.unflatten(flat, node.shape), start))
    copy = nested([flat], tuple(e.outer), "parallel")
    e.outer = []
    e._outer_memo.clear()
    e._inlined_memo.clear()
    free = len(node.shape) - len(node.param("axes"))
    index = tuple(Const(0) if s == 1 else Var(f"j{k}", s) for k, s in enumerate(value.shape))
    serial = [i for i in index[: len(index) - free] if isinstance(i, Var)]
    parallel = [i for i in index[len(index) - free :] if isinstance(i, Var)]
    types = input_types(node)

    def load(k: int, at: Index) -> Expr:
        operand = node.inputs[k]
        return literal(operand) if is_constant(operand) else e.bind(e.guard(e.read(operand, at)))

    params = dict(node.params)
    position = lower.position(load, index, types, **params)
    written = load(1, index)
    buffer = e.buffer(node, "out")
    e.outer.append(Store(buffer.name, ix.flatten(position, node.shape), written, lower.add(**params)))
    loops = nested(parallel, nested(serial, tuple(e.outer), "serial"), "parallel")
    return _kernel(e, "scatter", (*copy, *loops))
