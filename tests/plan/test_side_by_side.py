"""Parts of a concatenation, or of a sum of parts with zeros around, are stored by the kernel that computes them."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.plan.test_planner import check, inputs, kernels
from tracec import ops
from tracec.ir import dtype as dt
from tracec.ir.graph import Graph
from tracec.ir.node import Node
from tracec.plan import TARGETS, make_plan
from tracec.plan.prepare import prepare
from tracec.runtime.interpreter import run_plan


def around(parts: list[Node], axis: int, order: tuple[int, ...] | None = None) -> Node:
    """The parts side by side, as a sum of parts with zeros around."""
    size = parts[0].shape[axis]
    low, high = [0] * parts[0].ndim, [0] * parts[0].ndim
    terms = []
    for k, part in enumerate(parts):
        low[axis], high[axis] = k * size, (len(parts) - 1 - k) * size
        terms.append(ops.pad(part, low=tuple(low), high=tuple(high), value=0.0))
    terms = [terms[k] for k in order or range(len(terms))]
    found = terms[0]
    for term in terms[1:]:
        found = ops.add(found, term)
    return found


def computed(x: Node, y: Node) -> list[Node]:
    z = ops.mul(x, y)
    return [ops.add(z, 1.0), ops.exp(x), ops.mul(z, z)]


@pytest.mark.parametrize(("shape", "axis"), [((3, 20), 1), ((5, 16), 0), ((2, 3, 4, 5), 1), ((2, 1, 17), 1)])
def test_computed_parts_are_one_kernel_with_what_computes_them(shape: tuple[int, ...], axis: int) -> None:
    x, y = inputs(shape, shape)
    parts = computed(x, y)
    joined = Graph((x, y), (ops.concatenate(*parts, axis=axis), parts[1]))
    for target in TARGETS:
        assert kernels(joined, target) == ["map"]
    check(joined)
    summed = Graph((x, y), (around(parts, axis, (1, 2, 0)), parts[1]))
    for target in TARGETS:
        assert kernels(summed, target) == ["map"]
    check(summed)


def test_a_product_reads_them_from_memory(golden: str) -> None:
    x, y, w = inputs((6, 32), (6, 32), (96, 5), dtype=dt.float32)
    graph = Graph((x, y, w), (ops.dot(around(computed(x, y), 1), w),))
    plan = make_plan(graph, TARGETS["cuda"])
    assert "\n\n".join(map(str, plan.kernels)) == golden
    check(graph, tolerance=1e-4)


def test_zeros_are_those_of_a_sum() -> None:
    """-0.0 + 0.0 is 0.0."""
    x, y = inputs((2, 16), (2, 16))
    found = prepare(Graph((x, y), (around([ops.mul(x, 2.0), ops.mul(y, 2.0)], 1),)))
    assert found.outputs[0].op.name == "concatenate"
    plan = make_plan(found, TARGETS["cpu"])
    (out,) = run_plan(plan, [np.full((2, 16), -0.0), np.ones((2, 16))])
    assert not np.signbit(out).any()


def padded(part: Node, low: tuple[int, int], high: tuple[int, int], value: float = 0.0) -> Node:
    return ops.pad(part, low=low, high=high, value=value)


OTHERS = {
    "a part twice": lambda a, b: ops.add(around([a, b], 1), padded(a, (0, 0), (0, 20))),
    "at one place": lambda a, b: ops.add(padded(a, (0, 20), (0, 0)), padded(b, (0, 20), (0, 0))),
    "no zeros": lambda a, b: ops.add(padded(a, (0, 0), (0, 20), 1.0), padded(b, (0, 20), (0, 0))),
    "a gap": lambda a, b: ops.add(padded(a, (0, 0), (0, 21)), padded(b, (0, 21), (0, 0))),
    "two axes": lambda a, b: ops.add(padded(a, (0, 0), (1, 20)), padded(b, (1, 20), (0, 0))),
    "short parts": lambda a, b: around([ops.slice(x, starts=(0, 0), stops=(3, 4), steps=(1, 1)) for x in (a, b)], 1),
}


@pytest.mark.parametrize("other", OTHERS)
def test_other_sums_stay_sums(other: str) -> None:
    x, y = inputs((3, 20), (3, 20))
    graph = Graph((x, y), (OTHERS[other](*computed(x, y)[:2]),))
    assert all(n.op.name != "concatenate" for n in prepare(graph).nodes)
    check(graph)


def test_a_sum_of_columns_takes_the_sum_as_it_is() -> None:
    x, y, w = inputs((6, 32), (6, 32), (96, 5))
    joined = around(computed(x, y), 1)
    graph = Graph((x, y, w), (ops.dot(joined, w), ops.sum(joined, axes=(0,), keepdims=False)))
    assert all(n.op.name != "concatenate" for n in prepare(graph).nodes)
    check(graph)


@pytest.mark.parametrize("first", [True, False])
def test_who_reads_a_part_of_the_whole_waits_for_all(first: bool) -> None:
    x, y = inputs((5, 16), (5, 16))
    whole = ops.concatenate(*computed(x, y), axis=0)
    start = 0 if first else 5
    part = ops.slice(whole, starts=(start, 0), stops=(start + 5, 16), steps=(1, 1))
    check(Graph((x, y), (whole, ops.mul(part, ops.exp(y)))))


@pytest.mark.parametrize("shape", [(4, 3), (4, 0), (1, 16), (33, 17)])
def test_compiled(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)

    def f(x, w):
        a, b, c = x.chunk(3, dim=1)
        y = tracec.cat([a.exp() * b, c + 1, b * c], dim=1)
        return (y @ w).tanh(), y

    def gradients(x, w):
        x = x.detach().requires_grad_()
        out, y = f(x, w)
        (out.sum() + (y * y).sum()).backward()
        return x.grad

    x = tracec.tensor(rng.standard_normal((shape[0], 3 * shape[1])))
    w = tracec.tensor(rng.standard_normal((3 * shape[1], 5)))
    for options in ({}, {"target": "cuda", "launcher": "emulator"}):
        run = tracec.compile(gradients, **options)
        for _ in range(3):
            np.testing.assert_allclose(run(x, w).numpy(), gradients(x, w).numpy(), rtol=1e-12, atol=1e-12)
