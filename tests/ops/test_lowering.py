"""Every operator's lowering record against its eager rule, element by element.

The record's expressions are evaluated over all output positions at once. A load is checked to stay in
its operand wherever a ``select`` around it does not keep it from being evaluated.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import tracec.ops  # noqa: F401 (enters every operator in the table)
from tracec.ir import dtype as dt
from tracec.ir import index as ix
from tracec.ir.kernel import Call, Const, Div, Linear, Load, Mod, Var, identity, subexpressions
from tracec.ir.lower import ContractionSpec, Pull, Reduction, Scatter
from tracec.ir.operator import OPERATORS
from tracec.ir.types import TensorType
from tracec.plan.lowering import output_loops

CASES = [
    pytest.param(op, sample, id=f"{op.name}-{i}")
    for op in OPERATORS.values()
    if isinstance(op.lower, Pull | Reduction | ContractionSpec | Scatter)
    for i, sample in enumerate(op.samples)
]


def draw(sample, seed=0):
    rng = np.random.default_rng(seed)
    arrays = []
    for arg in sample.args:
        if arg.dtype.kind == "f":
            arrays.append(rng.uniform(arg.low, arg.high, arg.shape).astype(arg.dtype.numpy))
        elif arg.dtype.kind == "b":
            arrays.append(rng.random(arg.shape) < 0.5)
        else:
            arrays.append(rng.integers(int(arg.low), int(arg.high), arg.shape).astype(arg.dtype.numpy))
    return arrays


def evaluate(e, env, buffers, mask):
    match e:
        case Const(value, dtype):
            return np.asarray(value, dtype.numpy)
        case Var(name, _):
            return env[name]
        case Linear(terms, offset):
            return sum((evaluate(t, env, buffers, mask) * c for t, c in terms), np.int64(offset))
        case Div(value, by):
            return evaluate(value, env, buffers, mask) // by
        case Mod(value, by):
            return evaluate(value, env, buffers, mask) % by
        case Load(buffer, index, _):
            flat, at = buffers[buffer].reshape(-1), evaluate(index, env, buffers, mask)
            used = np.broadcast_to(at, mask.shape)[mask]
            assert ((used >= 0) & (used < flat.size)).all(), f"{buffer} is read outside of its {flat.size} elements"
            return flat[np.clip(at, 0, max(flat.size - 1, 0))] if flat.size else np.zeros(np.shape(at), flat.dtype)
        case Call("select", (condition, then, other), dtype):
            c = np.broadcast_to(evaluate(condition, env, buffers, mask), mask.shape)
            yes, no = (evaluate(side, env, buffers, mask & on) for side, on in ((then, c), (other, ~c)))
            return np.where(c, yes, no).astype(dtype.numpy)
        case Call("cast", (value,), dtype):
            return np.asarray(evaluate(value, env, buffers, mask)).astype(dtype.numpy)
        case Call("philox", (seed, draw, element), _):
            seed, draw, element = (evaluate(a, env, buffers, mask) for a in (seed, draw, element))
            words = np.array([philox_word(int(seed), int(draw), int(i)) for i in np.ravel(element)], np.uint32)
            return words.reshape(np.shape(element))
        case Call(name, args, dtype):
            values = [np.asarray(evaluate(a, env, buffers, mask)) for a in args]
            with np.errstate(all="ignore"):
                return np.asarray(OPERATORS[name].eager(np, *values)).astype(dtype.numpy)
    raise AssertionError(e)


def philox_word(seed, draw, element):
    """The definition in tracec.ops.random, in plain integers."""
    low = 0xFFFFFFFF
    c = [element // 4 & low, element // 4 >> 32, draw & low, draw >> 32 & low]
    k = [seed & low, seed >> 32 & low]
    for _ in range(10):
        p0, p1 = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [p1 >> 32 ^ c[1] ^ k[0], p1 & low, p0 >> 32 ^ c[3] ^ k[1], p0 & low]
        k = [k[0] + 0x9E3779B9 & low, k[1] + 0xBB67AE85 & low]
    return c[element % 4]


class Setting:
    """Operands of one sample, and variables over the output's and the reduced positions."""

    def __init__(self, op, sample):
        self.arrays = draw(sample)
        self.types = tuple(TensorType(a.dtype, a.shape) for a in sample.args)
        params = op.bind(sample.params)
        self.params = dict(params)
        self.out = op.infer(self.types, params)
        self.buffers = {f"x{i}": a for i, a in enumerate(self.arrays)}
        self.expected = np.asarray(op.eager(np, *self.arrays, **self.params))

    def load(self, k, index):
        type_ = self.types[k]
        assert len(index) == type_.ndim
        element = Load(f"x{k}", ix.flatten(index, type_.shape), type_.dtype)
        compute = type_.dtype.compute
        return element if compute is type_.dtype else Call("cast", (element,), compute)

    def run(self, expr, *groups):
        """The expression over all values of the variables, an array with an axis for each of them."""
        variables = [v for group in groups for v in group]
        shape = tuple(v.extent for v in variables)
        grid = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij") if shape else []
        env = {v.name: g for v, g in zip(variables, grid, strict=True)}
        return np.broadcast_to(evaluate(expr, env, self.buffers, np.ones(shape, bool)), shape)


def variables(prefix, shape):
    return tuple(Var(f"{prefix}{i}", n) for i, n in enumerate(shape))


def indices(variables):
    """Variables as kernels index by them: an axis of size 1 has no loop."""
    return tuple(Const(0) if v.extent == 1 else v for v in variables)


def names(expr):
    return {e.name for e in subexpressions(expr) if isinstance(e, Var)}


def check(setting, found):
    tolerance = {2: 2e-2, 4: 1e-4}.get(setting.out.dtype.itemsize, 1e-9) if setting.out.dtype.kind == "f" else 0
    found = found.astype(setting.out.dtype.numpy)
    wide = np.float64 if setting.out.dtype.kind == "f" else found.dtype
    np.testing.assert_allclose(found.astype(wide), setting.expected.astype(wide), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("op, sample", CASES)
def test_lowering_computes_what_eager_does(op, sample):
    s = Setting(op, sample)
    out = variables("i", s.out.shape)
    lower = op.lower
    match lower:
        case Pull():
            check(s, s.run(lower.element(s.load, indices(out), s.out, s.types, **s.params), out))
        case Reduction():
            reduced = variables("r", lower.extents(s.types, **s.params))
            terms = s.run(
                lower.element(s.load, indices(out), indices(reduced), s.out, s.types, **s.params), out, reduced
            )
            start = identity(lower.combine, s.out.dtype)
            combine = {"add": np.add, "mul": np.multiply, "maximum": np.maximum, "minimum": np.minimum}[lower.combine]
            axes = tuple(range(len(out), terms.ndim))
            check(s, combine.reduce(terms.astype(s.out.dtype.compute.numpy), axis=axes, initial=start))
        case ContractionSpec():
            reduced = variables("r", lower.extents(s.types, **s.params))
            a, b = lower.factors(s.load, indices(out), indices(reduced), s.out, s.types, **s.params)
            axes = tuple(range(len(out), len(out) + len(reduced)))
            check(s, (s.run(a, out, reduced) * s.run(b, out, reduced)).sum(axes))
            batch, m, n = lower.groups(s.types, s.out, **s.params)
            assert sorted((*batch, *m, *n)) == list(range(len(out)))
            _, index = output_loops(s.out.shape, lower.blocks(s.types, s.out, **s.params))
            a, b = lower.factors(s.load, index, indices(reduced), s.out, s.types, **s.params)
            assert not names(a) & {f"i{axis}" for axis in n}
            assert not names(b) & {f"i{axis}" for axis in m}
        case Scatter():
            check(s, scatter(s, lower))


def scatter(s, lower):
    values = variables("i", s.types[1].shape)
    position = lower.position(s.load, indices(values), s.types, **s.params)
    at = s.run(ix.flatten(position, s.types[0].shape), values)
    found = s.arrays[0].astype(s.out.dtype.compute.numpy).reshape(-1)
    for where in product(*map(range, s.types[1].shape)):
        value = s.arrays[1][where]
        found[at[where]] = found[at[where]] + value if lower.add(**s.params) else value
    return found.reshape(s.out.shape)


def test_index_arrays_of_every_integer_dtype_become_i64_positions():
    op = OPERATORS["index"]
    for dtype in (dt.int8, dt.uint8, dt.int16, dt.uint32, dt.int32):
        types = (TensorType(dt.float32, (5,)), TensorType(dtype, (3,)))
        load = lambda k, index, types=types: Load(f"x{k}", index[0], types[k].dtype)  # noqa: E731
        expr = op.lower.element(load, (Var("i", 3),), TensorType(dt.float32, (3,)), types, axes=(0,))
        assert expr == Load("x0", Call("cast", (Load("x1", Var("i", 3), dtype),), dt.int64), dt.float32)
