"""Selections: what the whole order has at their ranks, eagerly and in C."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest

from tests.codegen.test_c_plans import library_plan
from tracec.codegen.c import render
from tracec.errors import ArgumentError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.types import TensorType
from tracec.ops import selection
from tracec.ops.cumulative import argsort
from tracec.ops.selection import ranked
from tracec.runtime.cpu import load

Array = np.ndarray[Any, Any]


def given(kind: str, dtype: DType, shape: tuple[int, ...]) -> Array:
    """Elements that are far apart, or of which many are equal, or all; special ones among floats."""
    random = np.random.default_rng(len(kind))
    x = random.standard_normal(shape) * 30
    if kind == "ties":
        x = random.integers(0, 3, shape).astype(float)
    elif kind == "equal":
        x = np.ones(shape)
    elif kind == "rising":
        x = np.broadcast_to(np.arange(shape[-1]), shape) / max(shape[-1], 1) * 120
    if dtype.kind == "f" and kind != "equal":
        some = random.choice([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0], shape)
        x = np.where(random.random(shape) < (0.7 if kind == "ties" else 0.01), some, x)
    elif dtype.kind == "u":
        x = np.abs(x)
    return np.asarray(x).astype(dtype.numpy)


def expected(x: Array, axis: int, start: int, count: int, descending: bool) -> Array:
    order = argsort.eager(np, x, axis=axis, descending=descending)
    return np.take(order, range(start, start + count), axis)


KINDS = ("apart", "ties", "equal", "rising")
#: Rows that are sorted, that are narrowed down, and of which some elements are looked at first.
SIZES = (1, 2, 63, 64, 65, 511, 513, 1031, 4095, 4097, 9973)


def ranks(size: int) -> list[tuple[int, int]]:
    """Ends, the middle, one, several and all."""
    some = {(0, 1), (0, min(5, size)), (size // 2, 1), (size - 1, 1), (size // 3, min(7, size - size // 3)), (0, size)}
    return [*some, (0, size // 3 + 1), (size // 2, 0)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [dt.float32, dt.float16, dt.int64, dt.bool_], ids=str)
def test_eager(kind: str, dtype: DType) -> None:
    for size in SIZES:
        x = given(kind, dtype, (2, size))
        for start, count in ranks(size):
            for descending in (False, True):
                found = ranked.eager(np, x, axis=1, start=start, count=count, descending=descending)
                np.testing.assert_array_equal(found, expected(x, 1, start, count, descending))


def test_eager_looks_at_few_where_few_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elements that could not be in the result are not put in order."""
    x = given("apart", dt.float32, (3, 20000))
    seen = []
    between = selection._between
    monkeypatch.setattr(selection, "_between", lambda rows, *a: seen.append(rows.shape) or between(rows, *a))
    ranked.eager(np, x, axis=1, start=0, count=50, descending=True)
    assert len(seen) == 3 and all(shape[1] < 1500 for shape in seen)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize("dtype", dt.IN_KERNELS, ids=str)
def test_in_c(dtype: DType) -> None:
    long = dtype in (dt.float32, dt.int64)
    for number, size in enumerate(SIZES if long else (65, 1031)):
        every = ranks(size) if long and size in (65, 4097) else ranks(size)[number % 4 :: 4]
        for start, count in every:
            descending = (number + start) % 2 == 0
            params: dict[str, Any] = {"axis": 1, "descending": descending, "start": start, "count": count}
            inner = 1 if number % 2 else 3
            xs = [np.moveaxis(given(kind, dtype, (2, inner, size)), 1, 2).copy() for kind in KINDS]
            plan = library_plan("ranked", [xs[0]], TensorType(dt.int64, (2, count, inner)), **params)
            run = load(plan, render(plan))
            for x in xs:
                (found,) = run([x])
                np.testing.assert_array_equal(found, expected(x, **params), err_msg=f"{size} {params}")


@pytest.mark.parametrize("start, count", [(0, 6), (5, 1), (-1, 2), (2, -1)])
def test_ranks_that_there_are_not(start: int, count: int) -> None:
    with pytest.raises(ArgumentError, match="do not fit axis 0 of size 5"):
        ranked.infer((TensorType(dt.float32, (5,)),), ranked.bind({"axis": 0, "start": start, "count": count}))
