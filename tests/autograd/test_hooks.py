"""Hooks on tensors and operations: when they run, what they change, and what they may not."""

from __future__ import annotations

import numpy as np
import pytest

import tracec as T
from tracec.autograd import graph

RNG = np.random.default_rng(0)


def random(*shape):
    return T.tensor(RNG.normal(size=shape))


@pytest.mark.parametrize("create_graph", [False, True])
def test_hooks_of_operations(create_graph):
    x = T.tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    seen = []
    y.grad_fn.register_prehook(lambda gs: (gs[0] * 10,))
    handle = y.grad_fn.register_hook(lambda inputs, outputs: seen.append((len(inputs), outputs[0].tolist())))
    y.grad_fn.register_hook(lambda inputs, outputs: (inputs[0], None))
    y.sum().backward(create_graph=create_graph, retain_graph=True)
    assert seen == [(2, [10.0, 10.0])] and x.grad.tolist() == [10.0, 20.0]
    handle.remove()
    y.sum().backward()
    assert len(seen) == 1


def test_hooks_of_leaves():
    w = T.ones(3, requires_grad=True)
    steps = []

    def step(p):
        steps.append(p.grad.clone())
        with T.no_grad():
            p.sub_(p.grad)
        p.grad = None

    handle = w.register_post_accumulate_grad_hook(step)
    (w * 2).sum().backward()
    assert w.grad is None and steps[0].tolist() == [2.0] * 3 and w.tolist() == [-1.0] * 3
    handle.remove()
    (w * 2).sum().backward()
    assert w.grad is not None
    for x in (w * 2, w.detach()):
        with pytest.raises(RuntimeError, match="register_post_accumulate_grad_hook"):
            x.register_post_accumulate_grad_hook(step)


def test_post_accumulate_hooks_compiled():
    w = T.ones(3, requires_grad=True)

    def step(p):
        with T.no_grad():
            p.sub_(p.grad * 0.5)
        p.grad = None

    w.register_post_accumulate_grad_hook(step)

    @T.compile
    def train(x):
        loss = (w * x).sum()
        loss.backward()
        return loss

    for k in range(3):
        assert train(T.ones(3)).item() == 3 - 1.5 * k


def test_multi_grad_hooks():
    x, y = T.ones(2, requires_grad=True), T.ones(2, requires_grad=True)
    seen = []
    graph.register_multi_grad_hook((x, y), lambda gs: seen.append([g.tolist() for g in gs]))
    handle = graph.register_multi_grad_hook((x, y), lambda g: seen.append("any"), mode="any")
    (x * 2 + y * 3).sum().backward()
    assert sorted(map(str, seen)) == sorted(map(str, ["any", [[2.0, 2.0], [3.0, 3.0]]]))
    handle.remove()
    edge = graph.get_gradient_edge(x * 2)
    assert edge.node.name() == "MulBackward0" and graph.get_gradient_edge(x).node.variable is x
    with pytest.raises(ValueError, match="mode"):
        graph.register_multi_grad_hook((x,), print, mode="some")
