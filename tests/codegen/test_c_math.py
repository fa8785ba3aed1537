"""Mathematical functions in C: a few units in the last place, and right at the edges, with any library."""

from __future__ import annotations

import ctypes
import math
import shutil
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tests.codegen import kernels as k
from tests.codegen.plans import Array, plan_of
from tracec.codegen.c import render
from tracec.codegen.c_dialect import UNARY_MATH
from tracec.ir.kernel import Kernel
from tracec.runtime.compiler import find_compiler
from tracec.runtime.cpu import _host
from tracec.runtime.executable import Executable

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

SIZE = 4096
NAMES = f"{UNARY_MATH} sigmoid".split()


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


REFERENCE = {
    **{n: getattr(np, n) for n in ["exp", "expm1", "log", "log1p", "sin", "cos", "tan", "sinh", "cosh", "tanh"]},
    **{n: getattr(np, n) for n in ["exp2", "log2", "log10"]},
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sigmoid": _sigmoid, "erf": np.vectorize(math.erf),
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
}  # fmt: skip


def _unary(op: str, dtype: str) -> Kernel:
    return k.read_kernel(f"""kernel {op}(x: in {dtype}[{SIZE}], y: out {dtype}[{SIZE}]) map {{
      for i in {SIZE} parallel {{
        store y[i] = {op}(x[i])
      }}
    }}""")


@cache
def _compiled(dtype: str, level: int) -> Executable:
    """Every function in one plan, with the C library's vector functions of this level."""
    compiler = find_compiler()
    flags = tuple(f"-DTRACEC_VECTOR_MATH={level}" if "VECTOR_MATH" in f else f for f in compiler.flags)
    plan = plan_of([_unary(n, dtype) for n in NAMES])
    program = render(plan)
    library = ctypes.CDLL(str(replace(compiler, flags=flags).shared_object(program.units)))
    return Executable(plan, library, program.parts, _host(compiler))


def _level() -> int:
    return int(next(f for f in find_compiler().flags if "VECTOR_MATH" in f)[-1])


def _arguments(name: str, dtype: type) -> Array:
    rng = np.random.default_rng(0)
    if name in ("asin", "acos", "atanh"):
        x = rng.uniform(-1, 1, SIZE)
    elif name in ("log", "log1p", "log2", "log10"):
        x = np.exp(rng.uniform(-80, 80, SIZE))
    elif name == "acosh":
        x = 1 + np.exp(rng.uniform(-12, 80, SIZE))
    elif name in ("sin", "cos", "tan"):
        x = rng.uniform(-30, 30, SIZE)
    else:
        x = rng.uniform(-1, 1, SIZE) * np.exp(rng.uniform(-8, 4.4, SIZE))
    return x.astype(dtype)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_accuracy(dtype: str, level: int) -> None:
    if level > _level():
        pytest.skip("the C library has no such vector functions")
    numpy = np.float32 if dtype == "f32" else np.float64
    inputs = [_arguments(n, numpy) for n in NAMES]
    outputs = _compiled(dtype, level)(inputs)
    for name, x, y in zip(NAMES, inputs, outputs, strict=True):
        with np.errstate(all="ignore"):
            wide = REFERENCE[name](x.astype(np.longdouble if dtype == "f64" and name != "erf" else np.float64))
            expected = wide.astype(numpy)
        finite = np.isfinite(expected)
        np.testing.assert_array_equal(y[~finite], expected[~finite], err_msg=name)
        spacing = np.maximum(np.spacing(np.abs(expected[finite])), np.finfo(numpy).tiny).astype(np.longdouble)
        off = np.abs(y[finite].astype(np.longdouble) - wide[finite]) / spacing
        assert off.max(initial=0) <= 5, f"{name}: {off.max()} units in the last place at {x[finite][off.argmax()]!r}"


EDGES = np.array(
    [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-45, -1e-45, 1e-39, 100.0, -100.0, 88.7, -103.5, 2.0]
)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_edges(level: int) -> None:
    if level > _level():
        pytest.skip("the C library has no such vector functions")
    x = np.resize(EDGES, SIZE).astype(np.float32)
    outputs = _compiled("f32", level)([x] * len(NAMES))
    for name, y in zip(NAMES, outputs, strict=True):
        with np.errstate(all="ignore"):
            expected = REFERENCE[name](x.astype(float)).astype(np.float32)
        np.testing.assert_array_equal(np.isnan(y), np.isnan(expected), err_msg=name)
        whole = ~np.isnan(expected)
        np.testing.assert_allclose(y[whole], expected[whole], rtol=2e-6, atol=1e-44, err_msg=name)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("dtype, low, least", [("f32", -103.972, 1.5e-45), ("f64", -745.133, 5e-324)])
def test_exponentials_go_down_to_the_smallest_number_and_are_zero_below(
    dtype: str, low: float, least: float, level: int
) -> None:
    if level > _level():
        pytest.skip("the C library has no such vector functions")
    x = np.linspace(low - 5, low + 45, SIZE)
    x[::7] = -np.inf
    x[3::7] = -1e30
    x = x.astype(np.float32 if dtype == "f32" else np.float64)
    outputs = _compiled(dtype, level)([x] * len(NAMES))
    y = outputs[NAMES.index("exp")].astype(np.longdouble)
    expected = np.exp(x.astype(np.longdouble))
    np.testing.assert_array_equal(y[x < low - 0.1], 0)
    assert np.abs(y - expected).max(initial=0, where=x < low + 15) <= 1.1 * least
    np.testing.assert_allclose(y[x > low + 18].astype(float), expected[x > low + 18].astype(float), rtol=2e-6)
