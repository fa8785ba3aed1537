"""Random graphs and kernels for property tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tracec import ops
from tracec.ir import Graph, Kernel, Node, TensorType, constant, input_node, made_from
from tracec.ir import dtype as dt
from tracec.ir import index as ix
from tracec.ir.kernel import COMBINES, Acc, Buffer, Call, Const, Expr, Let, Load, Loop, Ref, Store, Update, Var
from tracec.ir.source import Source

# Failing examples are shown as text.
for _type in (Graph, Kernel):
    _type._repr_pretty_ = lambda self, printer, cycle: printer.text(str(self))  # type: ignore[attr-defined]

SIZES = st.integers(1, 4)
SHAPES = st.lists(SIZES, min_size=1, max_size=3).map(tuple)

_UNARY = {"f": ("neg", "abs", "exp", "sin", "tanh", "sigmoid", "floor", "sqrt", "sign"), "i": ("neg", "abs", "sign")}
_BINARY = {
    "f": ("add", "sub", "mul", "maximum", "minimum", "div"),
    "i": ("add", "sub", "mul", "maximum", "bitwise_and", "bitwise_xor"),
}
_SCALARS = {
    "f": st.sampled_from((0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -0.5, 3.0, -2.5, float("inf"), float("nan"))),
    "i": st.integers(-3, 3),
}
_SOURCES = st.one_of(st.none(), st.builds(Source, st.sampled_from(("model.py", "my train.py")), st.integers(1, 99)))
_ORIGINS = st.sampled_from(("", "vjp of sin", "rule double_negation", "vjp of f(x), rule g"))


@st.composite
def graphs(draw: Any, dtype: dt.DType = dt.float32, most: int = 12) -> Graph:
    """A graph of elementwise operators, views and reductions over a few small inputs."""
    inputs = [input_node(TensorType(dtype, draw(SHAPES)), name) for name in draw(st.sampled_from((("",), ("x", "w"))))]
    nodes: list[Node] = list(inputs)
    if draw(st.booleans()):
        nodes.append(draw(_known(dtype, nodes[0].shape)))
    for _ in range(draw(st.integers(1, most))):
        with made_from(draw(_SOURCES), draw(_ORIGINS)):
            nodes.append(draw(_steps(nodes)))
    outputs = draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=3))
    return Graph(tuple(inputs), (*outputs, nodes[-1]))


@st.composite
def _known(draw: Any, dtype: dt.DType, shape: tuple[int, ...]) -> Node:
    """A node that constant folding knows."""
    with made_from(Source("model.py", 1)):
        if draw(st.booleans()):
            return ops.full(draw(_SCALARS["f" if dtype.kind == "f" else "i"]), shape, dtype)
        return ops.cast(ops.iota(shape=shape, axis=draw(st.integers(0, len(shape) - 1)), dtype=dt.int64), dtype=dtype)


@st.composite
def _steps(draw: Any, nodes: list[Node]) -> Node:
    """One more node."""
    x = draw(st.sampled_from((nodes[-1], nodes[-1], *nodes)))
    kind = draw(
        st.sampled_from(("unary", "binary", "binary", "scalar", "scalar", "view", "view", "reduce", "where", "cast"))
    )
    family = "f" if x.dtype.kind == "f" else "i"
    if kind == "unary":
        return getattr(ops, draw(st.sampled_from(_UNARY[family])))(x)
    if kind == "binary":
        y = draw(st.sampled_from([n for n in nodes if n.shape == x.shape and n.dtype is x.dtype]))
        return getattr(ops, draw(st.sampled_from(_BINARY[family])))(x, y)
    if kind == "scalar":
        name, c = draw(st.sampled_from((*_BINARY[family], "pow"))), constant(draw(_SCALARS[family]), x.type)
        if name == "pow":
            return ops.pow(x, c) if family == "f" else ops.pow(x, constant(draw(st.integers(0, 3)), x.type))
        return getattr(ops, name)(*draw(st.permutations((x, c))))
    if kind == "reduce":
        axes = tuple(sorted(draw(st.sets(st.integers(0, x.ndim - 1))))) if x.ndim else ()
        return getattr(ops, draw(st.sampled_from(("sum", "max"))))(x, axes=axes, keepdims=draw(st.booleans()))
    if kind == "where":
        return ops.where(ops.lt(x, constant(1, x.type)), x, draw(st.sampled_from((x, constant(0, x.type)))))
    if kind == "cast":
        wide = draw(st.sampled_from((dt.float64, dt.float32) if family == "f" else (dt.int64, dt.int32, dt.float64)))
        return ops.cast(ops.cast(x, dtype=wide), dtype=x.dtype)
    return draw(_views(x))


@st.composite
def _views(draw: Any, x: Node) -> Node:
    axes = range(x.ndim)
    match draw(st.sampled_from(("reshape", "transpose", "expand", "slice", "pad", "flip", "cat"))):
        case "reshape":
            return ops.reshape(x, shape=draw(st.sampled_from(((x.type.size,), (1, *x.shape), x.shape, x.shape[::-1]))))
        case "transpose":
            return ops.transpose(x, perm=tuple(draw(st.permutations(axes))))
        case "expand":
            grown = tuple(draw(st.sampled_from((s, 3))) if s == 1 else s for s in x.shape)
            return ops.expand(x, shape=(draw(st.sampled_from(((), (2,)))) + grown))
        case "slice":
            starts = tuple(draw(st.integers(0, s - 1)) for s in x.shape)
            stops = tuple(draw(st.integers(a + 1, s)) for a, s in zip(starts, x.shape, strict=True))
            return ops.slice(x, starts=starts, stops=stops, steps=tuple(draw(st.integers(1, 2)) for _ in axes))
        case "pad":
            low, high = (tuple(draw(st.integers(0, 1)) for _ in axes) for _ in range(2))
            return ops.pad(x, low=low, high=high, value=draw(st.sampled_from((0, 1))))
        case "flip":
            return ops.flip(x, axes=tuple(sorted(draw(st.sets(st.sampled_from(axes))))) if x.ndim else ())
        case _:
            return ops.concatenate(x, x, axis=draw(st.sampled_from(axes))) if x.ndim else x


def arrays_for(graph: Graph, seed: int = 0) -> list[np.ndarray[Any, Any]]:
    """Inputs for a graph, with a few special values among them."""
    rng = np.random.default_rng(seed)
    result = []
    for node in graph.inputs:
        x = rng.normal(scale=1 if node.dtype.kind == "f" else 4, size=node.shape)
        x[rng.random(node.shape) < 0.2] = 0.0
        result.append(np.asarray(x, node.dtype.numpy))
    return result


@st.composite
def kernels(draw: Any) -> Kernel:
    """A kernel that is well formed as text; it need not compute anything sensible."""
    dtypes = st.sampled_from((dt.float32, dt.int64, dt.bool_, dt.bfloat16, dt.uint32))
    buffers = tuple(
        Buffer(f"b{i}", draw(dtypes), draw(SHAPES), draw(st.sampled_from(("in", "out", "inout"))))
        for i in range(draw(st.integers(1, 3)))
    )
    i, j = Var("i", draw(st.sampled_from((-1, 4, 8)))), Var("j", draw(SIZES))
    inner = draw(_bodies(buffers, (i, j)))
    kind = draw(st.sampled_from(("parallel", "reduce", "each", "serial")))
    body = (Loop(i, (Loop(j, inner, kind), *draw(_bodies(buffers, (i,)))), "parallel"),)
    sources = tuple(draw(st.lists(st.builds(Source, st.just("my model.py"), st.integers(1, 9)), max_size=2)))
    return Kernel("k_1", "map", buffers, body, None, sources, draw(st.sampled_from(((), ("sin", "add")))))


@st.composite
def _bodies(draw: Any, buffers: tuple[Buffer, ...], loops: tuple[Var, ...]) -> tuple[Any, ...]:
    names: list[Expr] = []
    body: list[Any] = []
    for n in range(draw(st.integers(1, 3))):
        value = draw(_expressions(buffers, loops, names))
        match draw(st.sampled_from(("let", "acc", "store", "add"))):
            case "let":
                body.append(Let(f"t{n}", value))
                names.append(Ref(f"t{n}", value.dtype))
            case "acc":
                combines = [c for c in COMBINES if c != "logaddexp" or value.dtype.kind == "f"]
                body += [Acc(f"s{n}", draw(st.sampled_from(combines)), value.dtype), Update(f"s{n}", value)]
                names.append(Ref(f"s{n}", value.dtype))
            case kind:
                b = draw(st.sampled_from(buffers))
                body.append(Store(b.name, draw(_indices(loops)), value, kind == "add"))
    return tuple(body)


@st.composite
def _indices(draw: Any, loops: tuple[Var, ...]) -> Expr:
    index: Expr = Const(draw(st.integers(-3, 3)))
    for var in loops:
        term: Expr = var
        if draw(st.booleans()):
            term = draw(st.sampled_from((ix.div, ix.mod)))(ix.add(ix.mul(var, 3), 1), draw(st.integers(2, 5)))
        index = ix.add(index, ix.mul(term, draw(st.integers(-4, 4))))
    return index


@st.composite
def _expressions(draw: Any, buffers: tuple[Buffer, ...], loops: tuple[Var, ...], names: list[Expr]) -> Expr:
    b = draw(st.sampled_from(buffers))
    leaf: Expr = Load(b.name, draw(_indices(loops)), b.dtype)
    if names and draw(st.booleans()):
        leaf = draw(st.sampled_from(names))
    match draw(st.sampled_from(("leaf", "const", "call", "cast", "select", "index"))):
        case "const":
            value = draw(st.sampled_from((0.0, -0.0, float("inf"), float("nan"), 1e-30, -2.5)))
            return Const(value, draw(st.sampled_from((dt.float32, dt.float64))))
        case "call":
            return Call(
                draw(st.sampled_from(("add", "mul", "lt"))), (leaf, leaf), draw(st.sampled_from((leaf.dtype, dt.bool_)))
            )
        case "cast":
            return Call("cast", (leaf,), draw(st.sampled_from((dt.float32, dt.float16))))
        case "select":
            return Call("select", (Call("lt", (loops[0], Const(2)), dt.bool_), leaf, leaf), leaf.dtype)
        case "index":
            return draw(_indices(loops))
        case _:
            return leaf
