"""One test for all operators: every rule of every operator, on every sample, against another way to the same values.

    type rule       against what the eager rule gives
    vjp             against central differences, in float64
    jvp             against vjp: the product of the Jacobian with a vector on either side
    jvp of vjp      against central differences of the gradient
    batching rule   against a loop over the batch, for every choice of operands that carry one
    every dtype     taken and computed as well as float64 rounded, or refused with advice
    lowering        there, and what RUNNERS make of it against eager

An operator with no sample fails.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import product
from zlib import crc32

import numpy as np
import pytest

import tracec.ops  # noqa: F401 (enters every operator in the table)
from tracec.errors import GradientError, TracecError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.evaluate import evaluate
from tracec.ir.graph import Graph
from tracec.ir.kernel import SCALAR_OPS
from tracec.ir.lower import Elementwise
from tracec.ir.node import input_node, made_from
from tracec.ir.operator import OPERATORS, NotDifferentiable, Sample
from tracec.ir.types import TensorType
from tracec.plan.prepare import decompose
from tracec.transform import jvp, vjp, vmap

#: Ways of running a graph that have to agree with the eager rules: name → (graph, arrays) -> arrays.
#: A target joins them here: compiled against eager, for every operator.
RUNNERS = {
    "decomposed": lambda graph, arrays: evaluate(decompose(graph), arrays),
}

NAMED = [op for op in OPERATORS.values() if op.name != "input"]
CASES = [pytest.param(op, sample, id=f"{op.name}-{i}") for op in NAMED for i, sample in enumerate(op.samples)]


PRECISE = (dt.float64, dt.complex128)


def in_float64(sample):
    """The same sample with every floating or complex dtype widened, so that slopes can be told from rounding."""

    def wide(dtype):
        return {"f": dt.float64, "c": dt.complex128}.get(dtype.kind, dtype) if isinstance(dtype, DType) else dtype

    args = tuple(replace(a, dtype=wide(a.dtype)) for a in sample.args)
    return Sample(args, {name: wide(value) for name, value in sample.params.items()})


#: Their derivatives hold the probability of smaller numbers, not the random words: tests/ops/test_variates.py.
IMPLICIT = {"standard_gamma"}


def is_smooth(op, sample):
    """Whether there is a derivative to check."""
    if op.name in IMPLICIT or isinstance(op.vjp, NotDifferentiable) or not any(a.dtype in PRECISE for a in sample.args):
        return False
    return graph_of(op, sample).outputs[0].dtype in PRECISE


def differentiable(op, sample):
    """The floating operands that the operator has a derivative by."""
    graph, found = graph_of(op, sample), []
    for i, a in enumerate(sample.args):
        if a.dtype in PRECISE:
            with suppress(GradientError):
                vjp(graph, [i])
                found.append(i)
    return found


# Samples ----------------------------------------------------------------------------------------------


def uniform(rng, low, high, shape, is_complex=False):
    """Numbers, of complex ones both parts, between two limits."""
    values = rng.uniform(low, high, shape)
    return values + 1j * rng.uniform(low, high, shape) if is_complex else values


def like(rng, node, low=-1.0, high=1.0):
    """Random numbers in the shape of a node; complex where it is."""
    return uniform(rng, low, high, node.shape, node.dtype.is_complex)


def paired(gradient, move):
    """How much a step does to what the gradient is of."""
    return float(np.real(np.conj(gradient) * move).sum())


def draw(sample, name, dtypes=None, which=0):
    """The operands of a sample; the same ones for the same name and number."""
    rng = np.random.default_rng([crc32(name.encode()), which])
    arrays = []
    for arg, dtype in zip(sample.args, dtypes or [a.dtype for a in sample.args], strict=True):
        if arg.distinct:
            count = int(np.prod(arg.shape))
            values = rng.permutation(np.linspace(arg.low, arg.high, count)).reshape(arg.shape)
        elif arg.dtype.kind in "fc":
            values = uniform(rng, arg.low, arg.high, arg.shape, dtype.is_complex)
        elif arg.dtype.kind == "b":
            values = rng.random(arg.shape) < 0.5
        else:
            values = rng.integers(int(arg.low), int(arg.high), arg.shape)
        if arg.diagonal:
            values = values + arg.diagonal * np.eye(arg.shape[-1])
        arrays.append(along(arg, np.asarray(values)).astype(dtype.numpy))
    return arrays


def along(arg, values):
    """The nearest values that the operand may have, or the nearest direction that it may go."""
    return (values + np.conj(np.swapaxes(values, -2, -1))) / 2 if arg.symmetric else values


def graph_of(op, sample, dtypes=None):
    dtypes = dtypes or [a.dtype for a in sample.args]
    inputs = tuple(input_node(TensorType(d, a.shape)) for a, d in zip(sample.args, dtypes, strict=True))
    with made_from(None):
        return Graph(inputs, (op(*inputs, **sample.params),))


def eager(op, sample, arrays):
    return np.asarray(op.eager(np, *arrays, **dict(op.bind(sample.params))))


def type_of(array):
    return TensorType(dt.of_numpy(array.dtype), array.shape)


def close(found, expected, rtol=0.0, atol=0.0):
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    kind = dt.of_numpy(found.dtype).kind
    if kind in "fc":
        wide = np.float64 if kind == "f" else np.complex128
        found, expected = found.astype(wide), expected.astype(wide)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


def epsilon(dtype: DType) -> float:
    """The distance of 1 to the next larger number."""
    sizes = {dt.float16: 2.0**-10, dt.bfloat16: 2.0**-7, dt.float32: 2.0**-23, dt.float64: 2.0**-52}
    return sizes.get(dtype.to_real(), 0.0)


# The table --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", NAMED, ids=str)
def test_has_samples_and_a_lowering(op):
    assert op.samples, f"{op.name} has no sample to test it with"
    assert op.doc, f"{op.name} does not say what it does"
    assert op.lower is not None or op.name == "constant"
    assert (
        op.arity == 0
        or isinstance(op.vjp, NotDifferentiable)
        or op.name in IMPLICIT
        or any(is_smooth(op, in_float64(s)) for s in op.samples)
    )
    if isinstance(op.lower, Elementwise):
        assert SCALAR_OPS[op.lower.scalar] == op.arity


@pytest.mark.parametrize("op, sample", CASES)
def test_type_rule_tells_what_eager_gives(op, sample):
    found = eager(op, sample, draw(sample, op.name))
    assert type_of(found) == graph_of(op, sample).outputs[0].type


SMOOTH = [
    pytest.param(op, wide, id=f"{op.name}-{i}")
    for op in NAMED
    for i, wide in enumerate(map(in_float64, op.samples))
    if is_smooth(op, wide)
]
STEP = 1e-6


def central_difference(f, arrays, i, direction):
    """How much the arrays that f gives change for a step of an operand, per unit of it."""
    up, down = (f([a + sign * STEP * direction if k == i else a for k, a in enumerate(arrays)]) for sign in (1, -1))
    return [np.where(np.isfinite(u), (u - d) / (2 * STEP), 0.0) if u.size else u for u, d in zip(up, down, strict=True)]


def directions(like, rng, most=60):
    """Every unit vector, of complex ones also times i; for large shapes some random vectors."""
    for unit in (1.0, 1.0j) if like.dtype.kind == "c" else (1.0,):
        if like.size <= most:
            yield from unit * np.eye(like.size).reshape(like.size, *like.shape)
        else:
            yield from unit * rng.uniform(-1, 1, (10, *like.shape))


@pytest.mark.filterwarnings("ignore:invalid value encountered in subtract")
@pytest.mark.parametrize("op, sample", SMOOTH)
def test_vjp_is_the_slope(op, sample):
    arrays, graph, rng = draw(sample, op.name), graph_of(op, sample), np.random.default_rng(1)
    ct = like(rng, graph.outputs[0], 0.5, 1.5)
    wrt = differentiable(op, sample)
    out, *grads = evaluate(vjp(graph, wrt), [*arrays, ct])
    close(out, eager(op, sample, arrays), 1e-12, 1e-12)
    for i, grad in zip(wrt, grads, strict=True):
        assert (grad.shape, grad.dtype) == (arrays[i].shape, arrays[i].dtype)
        for direction in directions(arrays[i], rng):
            direction = along(sample.args[i], direction)
            (slope,) = central_difference(lambda xs: [eager(op, sample, xs)], arrays, i, direction)
            np.testing.assert_allclose(paired(grad, direction), paired(ct, slope), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("op, sample", SMOOTH)
def test_jvp_is_the_transpose_of_vjp(op, sample):
    arrays, graph, rng = draw(sample, op.name), graph_of(op, sample), np.random.default_rng(2)
    out = graph.outputs[0]
    ct = like(rng, out, 0.5, 1.5)
    floating = differentiable(op, sample)
    gradients = evaluate(vjp(graph, floating), [*arrays, ct])[1:]
    # Each operand moves alone, then all together.
    for wrt in [[i] for i in floating] + [floating]:
        moves = [along(sample.args[i], like(rng, graph.inputs[i])) for i in wrt]
        moved = evaluate(jvp(graph, wrt), [*arrays, *moves])[1]
        assert type_of(moved) == out.type
        forward = paired(ct, moved)
        reverse = sum(paired(gradients[floating.index(i)], move) for i, move in zip(wrt, moves, strict=True))
        np.testing.assert_allclose(forward, reverse, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("op, sample", SMOOTH)
def test_the_gradient_has_a_gradient(op, sample):
    arrays, graph, rng = draw(sample, op.name), graph_of(op, sample), np.random.default_rng(3)
    out = graph.outputs[0]
    wrt = differentiable(op, sample)
    gradient = vjp(graph, wrt)
    gradient = Graph(gradient.inputs, gradient.outputs[1:])
    given = [*arrays, like(rng, out, 0.5, 1.5)]
    for i in wrt:
        direction = along(sample.args[i], like(rng, graph.inputs[i]))
        moved = evaluate(jvp(gradient, [i]), [*given, direction])[len(wrt) :]
        slopes = central_difference(lambda xs: evaluate(gradient, xs), given, i, direction)
        for found, expected in zip(moved, slopes, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("op, sample", [case for case in CASES if case.values[1].args])
def test_batching_is_a_loop(op, sample):
    graph, size = graph_of(op, sample), 3
    many = [draw(sample, op.name, which=which) for which in range(size)]
    tolerance = 4 * epsilon(graph.outputs[0].dtype)
    n = len(sample.args)
    choices = product((False, True), repeat=n) if n <= 3 else [(True,) * n, *(tuple(np.eye(n, dtype=bool)[0]),)]
    for batched in (tuple(map(bool, c)) for c in choices if any(c)):
        given = [np.stack([m[i] for m in many]) if b else many[0][i] for i, b in enumerate(batched)]
        (found,) = evaluate(vmap(graph, batched, size), given)
        ones = [[m[i] if b else many[0][i] for i, b in enumerate(batched)] for m in many]
        close(found, np.stack([eager(op, sample, one) for one in ones]), tolerance, tolerance)


@pytest.mark.parametrize("dtype", dt.ALL, ids=str)
@pytest.mark.parametrize("op", [op for op in NAMED if op.arity != 0 and op.name != "random_bits"], ids=str)
def test_every_dtype_is_computed_or_refused(op, dtype):
    """The first sample in another dtype; conditions and positions keep theirs. Floats against float64, rounded."""
    sample = op.samples[0]
    changes = [a.dtype is sample.args[0].dtype or a.dtype.kind in "fc" for a in sample.args]
    if op.name == "where":
        changes[0] = False
    dtypes = [dtype if c else a.dtype for c, a in zip(changes, sample.args, strict=True)]
    arrays = draw(sample, op.name, dtypes)
    try:
        graph = graph_of(op, sample, dtypes)
    except TracecError as error:
        refused = error
    else:
        refused = None
    if refused:
        assert refused.message.startswith(f"{op.name}: ") and refused.hint
        return
    found = eager(op, sample, arrays)
    assert type_of(found) == graph.outputs[0].type
    if dtype.kind in "fc" and op.name != "view_bits":  # bits of other numbers are others
        widest = np.float64 if dtype.kind == "f" else np.complex128
        wide = [a.astype(widest) if c else a for a, c in zip(arrays, changes, strict=True)]
        expected = eager(op, sample, wide)
        rounded = expected.astype(found.dtype)
        scale = float(np.abs(expected).astype(np.float64).max(initial=0.0))
        close(found, rounded, rtol=4 * epsilon(dtype), atol=2 * epsilon(dtype) * min(scale, 1e3))


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("op, sample", CASES)
def test_lowered_is_eager(op, sample, runner):
    arrays, graph = draw(sample, op.name), graph_of(op, sample)
    (found,) = RUNNERS[runner](graph, arrays)
    tolerance = 4 * epsilon(graph.outputs[0].dtype)
    close(np.asarray(found), eager(op, sample, arrays), tolerance, tolerance)
