"""Every operator on the device, eagerly (CuPy) and compiled (generated CUDA), against its eager rule in float64.

All samples of an operator are one function, so that there is one compilation for each operator: its first call
computes eagerly and records, its second one runs the kernels. With the samples goes the first of them in every
element type that the operator takes.
"""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.gpu.place import DEVICE, compiled, epsilon, fetch, on_gpu, put, runs_compiled
from tests.ops.test_table import NAMED, draw, graph_of, in_float64, is_smooth, like
from tracec.errors import GradientError, TracecError
from tracec.ir import dtype as dt
from tracec.ir.body import Body
from tracec.ir.lower import HostCall
from tracec.record.promote import Operand, promote

pytestmark = on_gpu

#: Single precision → double precision.
WIDE = {np.dtype(np.float32): np.float64, np.dtype(np.complex64): np.complex128}
#: Kind → the widest NumPy type.
WIDEST = {"f": np.float64, "c": np.complex128}
PRECISE = {"f": dt.float64, "c": dt.complex128}

#: A first call whose libraries set something up, as they load parts of their own, is recorded once more.
WAYS = ("eager", "compiled, or recorded once more", "compiled")

#: Those that run bodies have them made for tensors of the CPU in their samples; test_loops.py makes others.
OPERATORS = [
    op for op in NAMED
    if op.name != "constant" and not any(isinstance(v, Body) for s in op.samples for v in dict(s.params).values())
]  # fmt: skip


def eigen(packed, shape):
    """Eigenvalues and the matrix that they make with their vectors, whose signs are anyone's choice."""
    n = shape[-1]
    w, v = packed[..., :n], packed[..., n:].reshape(shape)
    return np.concatenate([w.ravel(), ((v * w[..., None, :]) @ np.swapaxes(v.conj(), -1, -2)).ravel()])


def singular(packed, shape):
    """Singular values, the matrix that they make with their vectors, and that these are orthonormal."""
    m, n = shape[-2:]
    k, lead = min(m, n), shape[:-2]
    sizes = [m * m, k, n * n] if packed.shape[-1] == m * m + k + n * n else [m * k, k, k * n]
    u, s, vh = np.split(packed, np.cumsum(sizes)[:-1], axis=-1)
    u, vh = u.reshape(*lead, m, sizes[0] // max(m, 1)), vh.reshape(*lead, sizes[2] // max(n, 1), n)
    made = (u[..., :k] * s[..., None, :]) @ vh[..., :k, :]
    own = [np.swapaxes(u.conj(), -1, -2) @ u, vh @ np.swapaxes(vh.conj(), -1, -2)]
    return np.concatenate([x.ravel() for x in (s, made, *own)])


#: What is compared of vectors that are only right up to their signs.
VECTORS = {"eigh": eigen, "svd": singular}


class Case:
    """One application of an operator: operands, parameters and the result in float64, rounded."""

    def __init__(self, op, sample, dtypes=None):
        self.op, self.params = op, dict(sample.params)
        if "device" in dict(op.defaults):
            self.params["device"] = DEVICE if DEVICE == "cpu" else f"{DEVICE}:0"
        self.arrays = draw(sample, op.name, dtypes)
        # Tensors of narrow integers are summed as int64, where nodes are taken as they are.
        op, dtypes = promote(op, [Operand(dt.of_numpy(a.dtype), a.ndim) for a in self.arrays])
        self.type = graph_of(op, sample, dtypes).outputs[0].type
        wide = [a.astype(WIDEST.get(d.kind, d.numpy)) for a, d in zip(self.arrays, dtypes, strict=True)]
        if op.name == "view_bits":  # whose bits are those of the type
            wide = self.arrays
        params = {k: PRECISE.get(v.kind, v) if isinstance(v, dt.DType) else v for k, v in sample.params.items()}
        exact = np.asarray(op.eager(np, *wide, **dict(op.bind(params))))
        self.expected = exact.astype(self.type.dtype.numpy)

    def __call__(self, operands):
        found = self.op(*operands, **self.params)
        # A view computes nothing: ask for its elements.
        return found.clone() if self.op.family == "view" else found

    def check(self, tensor, way):
        found, expected = fetch(tensor), self.expected
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype), way
        eps = epsilon(self.type.dtype)
        if self.type.dtype.kind in WIDEST:
            found, expected = (x.astype(WIDEST[self.type.dtype.kind]) for x in (found, expected))
        if self.op.name in VECTORS:
            found, expected = (VECTORS[self.op.name](x, self.arrays[0].shape) for x in (found, expected))
        # What the device's libraries and LAPACK each round, where float64 is compared with no wider type.
        eps *= 16 if isinstance(self.op.lower, HostCall) and self.type.dtype in (dt.float64, dt.complex128) else 1
        scale = max(1.0, float(np.abs(expected).max(initial=0, where=np.isfinite(expected)))) if eps else 0.0
        message = f"{way}: {self.op.name} of {[a.dtype.name for a in self.arrays]}, {self.params}"
        np.testing.assert_allclose(found, expected, rtol=16 * eps, atol=8 * eps * scale, err_msg=message)


def in_other_dtypes(op):
    """The first sample in each element type that is taken; conditions and positions keep theirs."""
    sample = op.samples[0]
    if not sample.args or op.name == "random_bits":
        return
    changes = [a.dtype is sample.args[0].dtype or a.dtype.kind in "fc" for a in sample.args]
    if op.name == "where":
        changes[0] = False
    for dtype in dt.ALL:
        dtypes = [dtype if c else a.dtype for c, a in zip(changes, sample.args, strict=True)]
        try:
            graph_of(op, sample, dtypes)
        except TracecError:
            continue  # refused, which the table test looks at
        yield Case(op, sample, dtypes)


@pytest.mark.filterwarnings("ignore::RuntimeWarning:numpy")
@pytest.mark.parametrize("op", OPERATORS, ids=str)
def test_operator(op):
    cases = [*(Case(op, sample) for sample in op.samples), *in_other_dtypes(op)]

    def function(*operands):
        rest = iter(operands)
        return [case([next(rest) for _ in case.arrays]) for case in cases]

    run = compiled(function)
    operands = [put(a) for case in cases for a in case.arrays]
    for way in WAYS:
        for case, tensor in zip(cases, run(*operands), strict=True):
            case.check(tensor, way)
    assert runs_compiled(run), run.explain()


class GradientCase:
    """The gradients of one application of an operator, and what they are in float64 on the CPU."""

    def __init__(self, op, sample):
        self.op, self.params = op, dict(sample.params)
        self.arrays = draw(sample, op.name)
        out = graph_of(op, sample).outputs[0]
        self.arrays.append(like(np.random.default_rng(1), out, 0.5, 1.5).astype(out.dtype.numpy))
        wide = [tracec.tensor(a.astype(WIDE.get(a.dtype, a.dtype))) for a in self.arrays]
        found = {}
        for i, a in enumerate(self.arrays[:-1]):
            if a.dtype in WIDE:
                self.wrt = [i]
                try:
                    found[i] = self(wide)
                except GradientError as error:
                    if "only that by its" not in str(error):  # that by another operand is known
                        raise
        self.wrt = list(found)
        self.expected = [fetch(g) for each in found.values() for g in each]

    def __call__(self, given):
        *operands, ct = given
        leaves = [x.clone().requires_grad_() if i in self.wrt else x for i, x in enumerate(operands)]
        out = self.op(*leaves, **self.params)
        found = tracec.autograd.grad(out, [leaves[i] for i in self.wrt], ct, allow_unused=True)
        return [g for g in found if g is not None]

    def check(self, found, way):
        for f, e in zip(map(fetch, found), self.expected, strict=True):
            scale = max(1.0, float(np.abs(e).max(initial=0)))
            message = f"{way}: {self.op.name}, {self.params}"
            np.testing.assert_allclose(f, e, rtol=2e-5, atol=2e-6 * scale, err_msg=message)


def smooth(op):
    """The samples in single precision alone that have gradients."""
    single = (dt.float32, dt.complex64)
    plain = [s for s in op.samples if all(a.dtype in single or not a.dtype.is_differentiable for a in s.args)]
    return [s for s in plain if is_smooth(op, in_float64(s)) and graph_of(op, s).outputs[0].dtype in single]


SMOOTH = [op for op in OPERATORS if smooth(op)]


def test_most_operators_have_gradients():
    assert len(SMOOTH) > 40


@pytest.mark.parametrize("op", SMOOTH, ids=str)
def test_gradients(op):
    cases = [GradientCase(op, sample) for sample in smooth(op)]

    def function(*operands):
        rest = iter(operands)
        return [case([next(rest) for _ in case.arrays]) for case in cases]

    run = compiled(function)
    operands = [put(a) for case in cases for a in case.arrays]
    for way in WAYS:
        for case, found in zip(cases, run(*operands), strict=True):
            case.check(found, way)
    assert runs_compiled(run), run.explain()
