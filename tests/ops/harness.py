"""Small graphs of operators, run and differentiated node by node with the operators' own rules."""

from __future__ import annotations

import numpy as np

from tracec.ir import dtype as dt
from tracec.ir.evaluate import evaluate
from tracec.ir.graph import Graph, topological
from tracec.ir.node import input_node, made_from
from tracec.ir.types import TensorType


def typed(*shape, dtype=dt.float32):
    return TensorType(dtype, shape)


def inputs(*arrays):
    """A graph input for each array."""
    return [input_node(TensorType(dt.of_numpy(a.dtype), a.shape)) for a in arrays]


def run(nodes, given):
    """Values of nodes, given those of the inputs: a mapping from node to array."""
    return evaluate(Graph(tuple(given), tuple(nodes)), list(given.values()))


def build(op, *operands, **params):
    with made_from(None):
        return op(*operands, **params)


def gradients(output, cotangent, wrt):
    """Reverse mode through every operator's vjp rule."""
    found = {output: cotangent}
    with made_from(None):
        for node in reversed(topological([output])):
            if node not in found or not node.inputs:
                continue
            for operand, d in zip(
                node.inputs, node.op.vjp(found[node], node, *node.inputs, **dict(node.params)), strict=True
            ):
                if d is not None:
                    assert d.type == operand.type
                    found[operand] = found[operand] + d if operand in found else d
    return [found.get(w) for w in wrt]


def slope(node, given, x, direction):
    """The derivative of a node along a direction of one input; exact where it is linear in that input."""
    up, down = ({**given, x: given[x] + sign * direction} for sign in (1, -1))
    return (run([node], up)[0] - run([node], down)[0]) / 2


def check_second_derivatives(op, arrays, **params):
    """The gradients of an operator that is linear in each operand, differentiated in turn, against slopes."""
    rng = np.random.default_rng(5)
    given = dict(zip(inputs(*arrays), arrays, strict=True))
    out = build(op, *given, **params)
    ct = input_node(out.type)
    operands = [x for x in given if x.dtype.kind == "f"]
    given[ct] = rng.normal(size=out.shape)
    for first in gradients(out, ct, operands):
        seed = input_node(first.type)
        weight = rng.normal(size=first.shape)
        for x, second in zip([*operands, ct], gradients(first, seed, [*operands, ct]), strict=True):
            direction = rng.normal(size=x.shape)
            expected = (slope(first, given, x, direction) * weight).sum()
            found = 0.0 if second is None else (run([second], {**given, seed: weight})[0] * direction).sum()
            np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)
