"""Plans compute what their graph says: kernels run by the interpreter against the operators run one by one."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tracec
from tracec import ops
from tracec.ir import dtype as dt
from tracec.ir.evaluate import evaluate
from tracec.ir.graph import Graph
from tracec.ir.node import Node, input_node, made_from
from tracec.ir.plan import Launch, LibraryCall
from tracec.ir.types import TensorType, numel
from tracec.ir.verify_kernel import verify_kernel
from tracec.ir.verify_plan import verify_plan
from tracec.nn import functional as F
from tracec.plan import TARGETS, make_plan
from tracec.plan.target import target_for
from tracec.runtime.interpreter import run_plan

OFF = [frozenset(), frozenset({"fuse"}), frozenset({"horizontal", "order", "memory"})]


def check(graph: Graph, *, donate: dict[int, int] | None = None, tolerance: float = 1e-9) -> None:
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(n.shape).astype(n.dtype.numpy) for n in graph.inputs]
    expected = [np.array(x) for x in evaluate(graph, inputs)]
    for target in TARGETS.values():
        for off in OFF:
            plan = make_plan(graph, target, donate, off)
            verify_plan(plan)
            for kernel in plan.kernels:
                verify_kernel(kernel)
            given_inputs = [x.copy() for x in inputs]
            found = run_plan(plan, given_inputs)
            for k, (f, e) in enumerate(zip(found, expected, strict=True)):
                np.testing.assert_allclose(f, e, rtol=tolerance, atol=tolerance, err_msg=f"{graph}\n{plan}\noutput {k}")
            for out, inp in (donate or {}).items():
                np.testing.assert_allclose(given_inputs[inp], expected[out], rtol=tolerance, atol=tolerance)


def inputs(*shapes: tuple[int, ...], dtype: dt.DType = dt.float64) -> list[Node]:
    return [input_node(TensorType(dtype, s)) for s in shapes]


def kernels(graph: Graph, target: str = "cpu") -> list[str]:
    plan = make_plan(graph, TARGETS[target])
    names = []
    for step in plan.steps:
        names.append(plan.kernels[step.kernel].shape if isinstance(step, Launch) else step.routine)
    return names


def softmax(x: Node, axis: int = -1) -> Node:
    axis %= x.ndim
    e = ops.exp(x - ops.max(x, axes=(axis,), keepdims=True))
    return e / ops.sum(e, axes=(axis,), keepdims=True)


def layer_norm(x: Node) -> Node:
    n = float(x.shape[-1])
    axes = (x.ndim - 1,)
    centred = x - ops.sum(x, axes=axes, keepdims=True) / n
    variance = ops.sum(centred * centred, axes=axes, keepdims=True) / n
    return centred * ops.rsqrt(variance + 1e-5)


@pytest.mark.parametrize("off", OFF, ids=["all", "no fusion", "no order"])
def test_zeros_of_two_signs_are_two_values(off: frozenset[str]) -> None:
    (x,) = inputs((5, 3))
    graph = Graph((x,), tuple(ops.max(x * zero, axes=(1,), keepdims=False) for zero in (0.0, -0.0)))
    for target in TARGETS.values():
        above, below = run_plan(make_plan(graph, target, None, off), [np.ones((5, 3))])
        assert not np.signbit(above).any() and np.signbit(below).all()


def test_an_elementwise_chain_is_one_kernel() -> None:
    x, y = inputs((5, 7), (7,))
    graph = Graph((x, y), (ops.sin(x) * 2.0 + y,))
    assert kernels(graph) == ["map"]
    check(graph)


@pytest.mark.parametrize("shape", [(4, 9), (3, 5, 33), (1, 8), (6, 1), (2, 100)])
def test_softmax_is_one_kernel(shape: tuple[int, ...]) -> None:
    (x,) = inputs(shape)
    graph = Graph((x,), (softmax(x),))
    if shape[-1] > 1:
        assert kernels(graph) in (["row"], ["column"], ["full"])
    check(graph)


def test_layer_norm_with_residual_is_one_kernel() -> None:
    x, r, w, b = inputs((4, 6, 40), (4, 6, 40), (40,), (40,))
    s = x + r
    graph = Graph((x, r, w, b), (layer_norm(s) * w + b, s))
    assert kernels(graph) == ["row"]
    check(graph)


def test_batch_norm_statistics_and_what_follows_are_one_kernel() -> None:
    (x,) = inputs((6, 5, 4, 3))
    n = float(numel(x.shape) // 5)
    mean = ops.sum(x, axes=(0, 2, 3), keepdims=True) / n
    centred = x - mean
    var = ops.sum(centred * centred, axes=(0, 2, 3), keepdims=True) / n
    out = ops.maximum(centred * ops.rsqrt(var + 1e-5), 0.0)
    graph = Graph((x,), (out, ops.reshape(mean, shape=(5,)), ops.reshape(var, shape=(5,))))
    assert kernels(graph) == ["row"]
    check(graph)


def test_what_rows_and_columns_read_in_float32_stays_in_memory_as_it_is() -> None:
    x, ct = inputs((40, 24), (40, 24), dtype=dt.float16)
    wide, change = ops.cast(x, dtype=dt.float32), ops.cast(ct, dtype=dt.float32)
    slope = change * (wide - ops.sum(wide * change, axes=(1,), keepdims=True))
    graph = Graph(
        (x, ct), (ops.cast(slope, dtype=dt.float16), ops.sum(change * wide, axes=(0,)), ops.sum(change, axes=(0,)))
    )
    for target in TARGETS.values():
        kept = [v.type for v in make_plan(graph, target).values if v.place == "arena"]
        assert not [t for t in kept if t.shape == (40, 24)], kept
    check(graph, tolerance=1e-2)


@pytest.mark.parametrize(
    ("size", "kept", "arch"),
    [
        (1000, 3, "sm_90"), (5461, 3, "sm_90"), (5462, 1, "sm_90"), (16384, 1, "sm_90"), (16385, 0, "sm_80"),
        (16385, 3, "sm_90"), (43690, 3, "sm_90"), (43691, 1, "sm_90"), (131072, 1, "sm_90"), (131073, 0, "sm_90"),
    ],
)  # fmt: skip
def test_values_of_a_row_are_kept_as_far_as_a_block_or_a_cluster_has_room(size: int, kept: int, arch: str) -> None:
    x, w, ct = inputs((4, size), (size,), (4, size))
    slope = ct * w
    centred = x - ops.sum(x, axes=(1,), keepdims=True) / float(size)
    scale = ops.rsqrt(ops.sum(centred * centred, axes=(1,), keepdims=True))
    change = slope * scale - centred * ops.sum(slope * centred, axes=(1,), keepdims=True)
    graph = Graph((x, w, ct), (change - ops.sum(change, axes=(1,), keepdims=True) / float(size),))
    plan = make_plan(graph, target_for("cuda", arch))
    kernel = plan.kernels[0]
    scratch = re.findall(r"scratch .*?\[(\d+)\]|scratch", str(kernel))
    assert len(scratch) == kept, str(kernel)
    check(graph, tolerance=1e-7)


def test_pooling_windows_reduce_without_being_stored() -> None:
    (x,) = inputs((2, 3, 8, 6))
    w = ops.windows(ops.maximum(x, 0.0), size=(2, 2), stride=(2, 2), dilation=(1, 1))
    graph = Graph((x,), (ops.max(w, axes=(4, 5), keepdims=False),))
    assert kernels(graph) == ["column"]
    check(graph)


def test_products_read_transposed_operands_in_place() -> None:
    a, b = inputs((2, 16, 24), (2, 20, 24))
    graph = Graph((a, b), (ops.dot(a, ops.transpose(b, perm=(0, 2, 1))),))
    assert kernels(graph) == ["gemm"]
    check(graph)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("aside", [lambda x: ops.erf(x * 0.5) + 1.0, lambda x: ops.gt(x, 0.25)])
def test_what_follows_a_product_takes_along_what_is_made_of_other_values(target: str, aside: Any) -> None:
    a, b, x = inputs((40, 3), (3, 24), (40, 24))
    found = ops.where(aside(x), ops.dot(a, b), x) if aside(x).dtype.kind == "b" else ops.dot(a, b) * aside(x)
    graph = Graph((a, b, x), (found,))
    assert kernels(graph, target) == ["contraction"]
    check(graph)


def test_what_follows_a_product_is_left_to_the_kernel_that_reads_it_where_that_moves_less() -> None:
    a, b, p, s = inputs((8, 40, 3), (8, 3, 48), (8, 40, 48), (8, 40, 1))
    g = ops.dot(a, b) / s
    graph = Graph((a, b, p, s), ((g - ops.sum(g * p, axes=(2,), keepdims=True)) * p,))
    plan = make_plan(graph, TARGETS["cuda"])
    product, row = plan.kernels
    assert (product.shape, row.shape) == ("contraction", "row")
    assert [len([b for b in k.buffers if b.role != "in"]) for k in plan.kernels] == [1, 1]
    check(graph)


def test_products_for_sums_are_left_to_them_on_a_gpu() -> None:
    # As in the gradient of a batch norm in front of a relu and pooling.
    g, x, w = inputs((16, 8, 3, 3, 2, 2), (16, 8, 6, 6), (1, 8, 1, 1))
    masked = ops.where(ops.le(x * w, 0.0), 0.0, ops.fold(g, shape=(6, 6), stride=(2, 2), dilation=(1, 1)))
    graph = Graph((g, x, w), tuple(ops.sum(y, axes=(0, 2, 3), keepdims=False) for y in (masked, masked * x)))
    first, *_ = make_plan(graph, TARGETS["cuda"]).kernels
    assert (first.shape, sum(b.role == "out" for b in first.buffers)) == ("map", 1)
    check(graph)


def test_a_product_stays_with_what_follows_where_nothing_is_gained() -> None:
    a, b, p = inputs((8, 40, 3), (8, 3, 48), (8, 40, 48))
    g = ops.dot(a, b) * p
    graph = Graph((a, b, p), (g / ops.sum(g, axes=(2,), keepdims=True),))
    assert [k.ops for k in make_plan(graph, TARGETS["cuda"]).kernels] == [("dot", "mul"), ("sum", "div")]
    check(graph)


def test_attention_keeps_its_weights_alone_for_its_gradient() -> None:
    def step(q: Any, k: Any, v: Any, ct: Any) -> Any:
        return tracec.autograd.grad(F.scaled_dot_product_attention(q, k, v, is_causal=True), (q, k, v), ct)

    q, k, v, ct = (tracec.randn(2, 3, 64, 8) for _ in range(4))
    args = q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), ct
    plan = tracec.compile(step).lower(*args, target="cuda").plan
    rows = [k for k in plan.kernels if k.shape == "row"]
    assert [k.ops.count("exp") for k in rows] == [1, 0]
    assert [sum(b.role != "in" and b.size == 2 * 3 * 64 * 64 for b in k.buffers) for k in rows] == [1, 1]


def test_what_a_product_reads_is_no_part_of_its_kernel() -> None:
    x, b = inputs((24, 24), (24, 24))
    y = ops.exp(x)
    graph = Graph((x, b), (ops.dot(y, b) * y,))
    assert kernels(graph, "cuda") == ["map", "contraction"]
    check(graph)


def test_heads_of_attention_are_read_in_place() -> None:
    (x,) = inputs((2, 16, 96))
    q, k, v = (
        ops.transpose(
            ops.reshape(ops.slice(x, starts=(0, 0, s), stops=(2, 16, s + 32), steps=(1, 1, 1)), shape=(2, 16, 4, 8)),
            perm=(0, 2, 1, 3),
        )
        for s in (0, 32, 64)
    )
    scores = softmax(ops.dot(q, ops.transpose(k, perm=(0, 1, 3, 2))) * 0.5)
    out = ops.reshape(ops.transpose(ops.dot(scores, v), perm=(0, 2, 1, 3)), shape=(2, 16, 32))
    graph = Graph((x,), (out,))
    assert kernels(graph)[:1] == ["gemm"]
    check(graph)


def test_an_update_is_written_in_place_after_the_old_value_is_read() -> None:
    p, x = inputs((16, 16), (16, 16))
    loss = ops.sum(ops.dot(x, p), axes=(0, 1), keepdims=False)
    new = p - 0.1 * ops.dot(ops.transpose(x, perm=(1, 0)), x)
    check(Graph((p, x), (loss, new)), donate={1: 0})


def test_an_update_that_moves_elements_is_copied() -> None:
    (p,) = inputs((4, 4))
    graph = Graph((p,), (ops.transpose(p, perm=(1, 0)),))
    check(graph, donate={0: 0})
    plan = make_plan(graph, TARGETS["cpu"], {0: 0})
    assert any(r.what == "in place" for r in plan.refused)


def test_two_inputs_can_change_places() -> None:
    a, b = inputs((5,), (5,))
    check(Graph((a, b), (b + 0.0, a + 0.0)), donate={0: 0, 1: 1})


def test_updates_of_all_parameters_are_one_launch() -> None:
    given = inputs(*[(3, 4), (4,), (7, 5)] * 2)
    new = tuple(p - 0.1 * g for p, g in zip(given[:3], given[3:], strict=True))
    graph = Graph(tuple(given), new)
    plan = make_plan(graph, TARGETS["cpu"], {0: 0, 1: 1, 2: 2})
    (step,) = plan.steps
    assert isinstance(step, Launch)
    assert step.sizes == (12, 4, 35)
    check(graph, donate={0: 0, 1: 1, 2: 2})


def test_refusals_say_why() -> None:
    (x,) = inputs((8, 16))
    rows = ops.sum(ops.exp(x), axes=(1,), keepdims=True)
    columns = ops.sum(ops.exp(x) * rows, axes=(0,), keepdims=False)
    plan = make_plan(Graph((x,), (columns,)), TARGETS["cpu"])
    assert any("axes" in r.reason for r in plan.refused), [str(r) for r in plan.refused]
    check(Graph((x,), (columns,)))


def test_a_large_full_reduction_is_split() -> None:
    (x,) = inputs((70001,))
    graph = Graph((x,), (ops.sum(x * x, axes=(0,), keepdims=False),))
    assert len(kernels(graph)) == 2
    check(graph, tolerance=1e-7)


def test_argmax_gather_scatter_scan_and_sort() -> None:
    (x,) = inputs((6, 9))
    best = ops.argmax(x, axis=1, keepdims=False)
    with made_from(None):
        row = ops.iota(shape=(6,), axis=0, dtype=dt.int64)
    picked = ops.index(x, row, best, axes=(0, 1))
    running = ops.cumsum(x * 2.0, axis=1, reverse=True)
    scattered = ops.index_put(x * 0.5, picked, row, best, axes=(0, 1), add=True)
    order = ops.argsort(ops.sin(x), axis=1, descending=False)
    graph = Graph((x,), (best, picked, running, scattered, order))
    plan = make_plan(graph, TARGETS["cpu"])
    assert any(isinstance(s, LibraryCall) and s.routine == "argsort" for s in plan.steps)
    check(graph)


@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_and_their_gradients(groups: int) -> None:
    x, w = inputs((2, 4, 7, 6), (6, 4 // groups, 3, 3))
    kind = {"stride": (2, 1), "padding": ((1, 1), (1, 0)), "dilation": (1, 1), "groups": groups}
    y = ops.conv(x, w, **kind)
    z = ops.maximum(y, 0.0) + 1.0
    dx = ops.conv_input_grad(z, w, shape=x.shape, **kind)
    dw = ops.conv_weight_grad(x, z, shape=w.shape, **kind)
    check(Graph((x, w), (z, dx, dw)), tolerance=1e-8)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (1,), (), (1, 1)])
def test_empty_and_single_elements(shape: tuple[int, ...]) -> None:
    (x,) = inputs(shape)
    total = ops.sum(ops.exp(x), axes=tuple(range(len(shape))), keepdims=False)
    check(Graph((x,), (x * 2.0, total)))


@st.composite
def programs(draw: st.DrawFn) -> Graph:
    """Random graphs of a few matrices, with views, reductions and broadcasts between."""
    rows, columns = draw(st.sampled_from([(3, 4), (8, 5), (2, 40), (33, 3)]))
    given_nodes = inputs((rows, columns), (rows, columns), (columns,))
    values = list(given_nodes)
    shape = (rows, columns)
    for _ in range(draw(st.integers(1, 14))):
        x, y = draw(st.sampled_from(values)), draw(st.sampled_from(values))
        kind = draw(st.integers(0, 11))
        full = x if x.shape == shape else ops.expand(x, shape=shape)
        if kind == 0:
            values.append(x + y)
        elif kind == 1:
            values.append(ops.tanh(x) * y)
        elif kind == 2:
            values.append(ops.sum(full, axes=(1,), keepdims=True) * 0.1)
        elif kind == 3:
            values.append(ops.sum(full, axes=(0,), keepdims=False) * 0.1)
        elif kind == 4:
            values.append(softmax(full, draw(st.sampled_from((0, 1)))))
        elif kind == 5:
            turned = ops.reshape(ops.transpose(full, perm=(1, 0)), shape=shape)
            values.append(ops.sin(turned))
        elif kind == 6:
            values.append(ops.flip(full, axes=(draw(st.sampled_from((0, 1))),)))
        elif kind == 7:
            part = ops.slice(full, starts=(0, 1), stops=shape, steps=(1, 1))
            values.append(ops.pad(part, low=(0, 1), high=(0, 0), value=0.5))
        elif kind == 8:
            half = ops.slice(full, starts=(0, 0), stops=(1, columns), steps=(1, 1))
            rest = ops.slice(full, starts=(1, 0), stops=shape, steps=(1, 1))
            values.append(ops.concatenate(rest, half, axis=0))
        elif kind == 9:
            values.append(ops.where(ops.lt(full, 0.0), full * 0.1, full))
        elif kind == 10:
            values.append(ops.max(full, axes=(0, 1), keepdims=True))
        else:
            values.append(ops.dot(ops.dot(full, ops.transpose(full, perm=(1, 0))), full) * 0.01)
    chosen = draw(st.lists(st.sampled_from(values[3:]), min_size=1, max_size=3))
    return Graph(tuple(given_nodes), (*chosen, values[-1]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_random_programs(graph: Graph) -> None:
    check(graph, tolerance=1e-7)


def test_elements_of_columns_are_not_overwritten_on_a_gpu() -> None:
    """Threads past the last column read it again until the barrier; what a column sums to is written behind that."""
    with made_from(None):
        (x,) = inputs((100, 10))
        elements = Graph((x,), (softmax(x, 0),))
        p, y = inputs((10,), (100, 10))
        results = Graph((p, y), (p - ops.sum(y, axes=(0,), keepdims=False) * 0.1,))
    for graph, target, copies in ((elements, "cuda", 1), (elements, "cpu", 0), (results, "cuda", 0)):
        plan = make_plan(graph, TARGETS[target], {0: 0})
        assert plan.kernels[0].shape == "column"
        assert sum("copy" in k.name for k in plan.kernels) == copies
    check(elements, donate={0: 0})
    check(results, donate={0: 0})


@pytest.mark.parametrize("how", [ops.sum, ops.max, ops.prod])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_few_elements_computed_on_the_way_are_not_stored_on_a_gpu(how: Any, place: int) -> None:
    """Distances of all pairs: the differences are 3 times the distances, and those all that is stored."""
    with made_from(None):
        (p,) = inputs((130, 3))
        shapes = [[1, 130], [130, 1]]
        for s in shapes:
            s.insert(place, 3)
        perm = (1, 0) if place == 0 else (0, 1)
        a, b = (ops.reshape(ops.transpose(p, perm=perm), shape=tuple(s)) for s in shapes)
        if place == 1:  # neither the first axis nor the last
            a, b = (ops.expand(ops.reshape(ops.transpose(p, perm=(1, 0)), shape=s), shape=(130, 3, 130))
                    for s in ((1, 3, 130), (1, 3, 130)))  # fmt: skip
            b = ops.transpose(b, perm=(2, 1, 0))
        r = a - b
        distance = ops.exp(how(r * r + 0.1, axes=(place,), keepdims=True) * -0.01)
        graph = Graph((p,), (ops.sum(r * distance, axes=(place - 1 if place else 2,), keepdims=False),))
    check(graph, tolerance=1e-8)
    stored = [v.type.size for v in make_plan(graph, TARGETS["cuda"]).values if v.place == "arena"]
    if place != 1:  # there an expansion lies behind a transposition
        assert max(stored, default=0) <= 130 * 130
