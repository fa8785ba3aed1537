"""Norms, pooling and losses that NumPy computes at once: values and gradients are those of operators."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

import tracec
import tracec.nn.functional as F
from tests.record.test_compositions import numbers, one_by_one

Run = Callable[..., Any]


def batch_norm(x: Any, w: Any, b: Any) -> Any:
    return F.batch_norm(x, None, None, w, b, training=True)


def fixed_norm(x: Any, w: Any, b: Any) -> Any:
    mean, variance = numbers(x.shape[1], seed=5).to(x.dtype), numbers(x.shape[1], seed=6).to(x.dtype) ** 2
    return F.batch_norm(x, mean, variance, w, b)


#: Name → shape of the input, of a weight and a bias, and the function.
NORMS: dict[str, tuple[tuple[int, ...], tuple[int, ...], Run]] = {
    "layer norm": ((7, 33), (33,), lambda x, w, b: F.layer_norm(x, (33,), w, b)),
    "layer norm of many rows": ((90, 3, 1024), (1024,), lambda x, w, b: F.layer_norm(x, (1024,), w, b)),
    "layer norm of long rows": ((3, 3, 70, 512), (3, 70, 512), lambda x, w, b: F.layer_norm(x, (3, 70, 512), w, b)),
    "group norm": ((3, 6, 5, 2), (6,), lambda x, w, b: F.group_norm(x, 2, w, b)),
    "group norm of many": ((5, 12, 40, 41), (12,), lambda x, w, b: F.group_norm(x, 4, w, b)),
    "group norm of channels": ((90, 640), (640,), lambda x, w, b: F.group_norm(x, 32, w, b)),
    "instance norm": ((5, 12, 64, 32), (12,), lambda x, w, b: F.instance_norm(x, weight=w, bias=b)),
    "batch norm of vectors": ((300, 200), (200,), batch_norm),
    "batch norm of short lines": ((40, 90, 5, 5), (90,), batch_norm),
    "batch norm of images": ((6, 9, 41, 33), (9,), batch_norm),
    "batch norm of few": ((2, 3, 2, 2), (3,), batch_norm),
    "fixed norm of vectors": ((300, 200), (200,), fixed_norm),
    "fixed norm of short lines": ((40, 90, 5, 5), (90,), fixed_norm),
    "fixed norm of images": ((6, 9, 41, 33), (9,), fixed_norm),
}


def gone_back(run: Run, operands: list[Any], wanted: Any) -> list[Any]:
    """The result and the gradients of those operands that want them, as arrays."""
    given = [None if x is None else x.clone().requires_grad_(w) for x, w in zip(operands, wanted, strict=True)]
    out = run(*given)
    out.backward(numbers(*out.shape, seed=9).to(out.dtype))
    return [out.numpy(force=True), *(None if x is None or x.grad is None else x.grad.numpy() for x in given)]


def assert_close(found: list[Any], expected: list[Any], tolerance: float) -> None:
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            scale = np.abs(b[np.isfinite(b)]).max(initial=1.0)
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale)


def operands_of(name: str, dtype: Any, weighted: bool, moved: bool) -> list[Any]:
    shape, scale, _ = NORMS[name]
    # Far from 0, where a mean of squares would have lost the variance.
    x = numbers(*shape).to(dtype) * 2 + 30
    return [x, *(numbers(*scale, seed=k).to(dtype) if there else None for k, there in ((1, weighted), (2, moved)))]


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize(("weighted", "moved"), [(True, True), (False, False), (True, False), (False, True)])
def test_norms(name: str, weighted: bool, moved: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    run, types = NORMS[name][-1], (tracec.float32, tracec.float64)
    found = [gone_back(run, operands_of(name, t, weighted, moved), [True] * 3) for t in types]
    one_by_one(monkeypatch)
    expected = gone_back(run, operands_of(name, tracec.float64, weighted, moved), [True] * 3)
    assert found[0][0].dtype == np.float32
    assert_close(found[0], expected, 2e-5)
    assert_close(found[1], expected, 1e-11)


@pytest.mark.parametrize("name", ["layer norm", "group norm", "batch norm of images", "fixed norm of images"])
def test_gradients_of_some_operands(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run, operands = NORMS[name][-1], operands_of(name, tracec.float64, True, True)
    for wanted in product([True, False], repeat=3):
        if any(wanted):
            found = gone_back(run, operands, wanted)
            with monkeypatch.context() as m:
                one_by_one(m)
                assert_close(found, gone_back(run, operands, wanted), 1e-11)


def test_gradients_of_what_a_norm_goes_by(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(x: Any, mean: Any, variance: Any) -> Any:
        return F.batch_norm(x, mean, variance**2)

    operands = [numbers(4, 3, 5).double(), numbers(3, seed=1).double(), numbers(3, seed=2).double()]
    found = gone_back(run, operands, [True] * 3)
    one_by_one(monkeypatch)
    assert_close(found, gone_back(run, operands, [True] * 3), 1e-11)


#: Size, stride, padding and whether windows may end outside.
WINDOWS = [(2, 2, 0, False), (3, 2, 1, False), (3, 2, 1, True), (3, 1, 1, False), ((3, 2), (1, 3), (1, 0), True)]
SPECIAL = {
    "numbers": lambda x: x,
    "equal ones": lambda x: np.round(x),
    "NaN": lambda x: np.where(np.arange(x.size).reshape(x.shape) % 7, x, np.nan),
    "infinities": lambda x: np.where(np.arange(x.size).reshape(x.shape) % 5, x, -np.inf) / (np.round(x) != 1),
    "the lowest": lambda x: np.full_like(x, -np.inf),
}


@pytest.mark.parametrize("values", SPECIAL)
@pytest.mark.parametrize("pool", [F.max_pool2d, F.avg_pool2d])
def test_pooling(pool: Run, values: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with np.errstate(divide="ignore", invalid="ignore"):
        array = SPECIAL[values](np.random.default_rng(0).standard_normal((2, 3, 11, 9)))
    x = tracec.from_numpy(array)
    cases = [lambda x, w=w: pool(x, w[0], w[1], w[2], ceil_mode=w[3]) for w in WINDOWS]
    found = [gone_back(run, [x], [True]) for run in cases]
    one_by_one(monkeypatch)
    for run, got in zip(cases, found, strict=True):
        assert_close(got, gone_back(run, [x], [True]), 1e-12)
        assert not np.signbit(got[1][got[1] == 0]).any()


def test_gradients_of_windows_that_are_infinite() -> None:
    x = tracec.arange(6.0).reshape(1, 1, 2, 3).requires_grad_()
    F.max_pool2d(x, (1, 3)).backward(tracec.tensor([[[[np.inf], [np.nan]]]]))
    np.testing.assert_array_equal(x.grad.numpy().reshape(-1), [0, 0, np.inf, 0, 0, np.nan])


def test_many_windows_are_gone_over_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x = numbers(2, 70, 64, 33)
    runs: list[Run] = [lambda x: F.max_pool2d(x, 2), lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)]
    found = [gone_back(run, [x], [True]) for run in runs]
    one_by_one(monkeypatch)
    for run, got in zip(runs, found, strict=True):
        assert_close(got, gone_back(run, [x], [True]), 1e-6)


LOSSES = list(product([(40, 7), (3, 5, 4), (2, 3, 4, 5), (6,)], ["mean", "sum", "none"], [0.0, 0.2], [True, False]))


@pytest.mark.parametrize(("shape", "reduction", "smoothing", "weighted"), LOSSES)
def test_losses(
    shape: Any, reduction: str, smoothing: float, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    classes = shape[0] if len(shape) == 1 else shape[1]
    targets = np.random.default_rng(0).integers(0, classes, shape[:1] * (len(shape) > 1) + shape[2:])
    some = targets.copy()
    some.reshape(-1)[::3] = -100
    x, w = numbers(*shape, dtype=np.float64), numbers(classes, seed=1, dtype=np.float64) ** 2 + 0.1
    options = {"reduction": reduction, "label_smoothing": smoothing, "weight": w if weighted else None}
    runs: list[Run] = [
        lambda x, t=t, ignored=ignored: F.cross_entropy(x, tracec.tensor(t), ignore_index=ignored, **options)
        for t, ignored in ((targets, -100), (targets, 2), (some, -100), (targets.astype(np.uint8), 0))
    ]
    found = [gone_back(run, [x], [True]) for run in runs]
    one_by_one(monkeypatch)
    for run, got in zip(runs, found, strict=True):
        assert_close(got, gone_back(run, [x], [True]), 1e-12)


def test_weights_of_classes_have_gradients() -> None:
    target = tracec.tensor([1, 0, 3, -100, 2])
    x, w = numbers(5, 4, dtype=np.float64), numbers(4, seed=1, dtype=np.float64) ** 2
    operands = (x.requires_grad_(), w.requires_grad_())
    assert tracec.autograd.gradcheck(lambda x, w: F.cross_entropy(x, target, w, label_smoothing=0.1), operands)


def test_nothing_counts() -> None:
    x = numbers(3, 4).requires_grad_()
    loss = F.cross_entropy(x, tracec.tensor([-100] * 3))
    loss.backward()
    assert np.isnan(loss.item()) and not x.grad.numpy().any()


RUNS: dict[str, Run] = {
    "layer norm": lambda x: F.layer_norm(x, (6,)),
    "group norm": lambda x: F.group_norm(x, 2),
    "batch norm": lambda x: batch_norm(x, None, None),
    "fixed norm": lambda x: fixed_norm(x, None, None),
    "max pool": lambda x: F.max_pool2d(x, 2),
    "avg pool": lambda x: F.avg_pool2d(x, 2),
    "cross entropy": lambda x: F.cross_entropy(
        x, tracec.zeros(len(x), *x.shape[2:], dtype=tracec.int64), reduction="none"
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_what_is_kept_lasts_as_long_as_saved_values(name: str) -> None:
    x = numbers(2, 4, 6, 6, dtype=np.float64).requires_grad_()
    out = RUNS[name](x)
    assert out.grad_fn.beside is not None, "it does not run at once"
    out.sum().backward(retain_graph=True)
    first = x.grad.clone()
    with tracec.no_grad():
        x.mul_(2.0)  # what gradients need is what there was
    x.grad = None
    out.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), first.numpy(), rtol=1e-12, atol=1e-12)
    assert out.grad_fn.beside is None


@pytest.mark.parametrize("name", RUNS)
def test_elements_that_lie_otherwise(name: str) -> None:
    x = numbers(2, 6, 6, 4, dtype=np.float64).permute(0, 3, 1, 2)
    assert_close(gone_back(RUNS[name], [x], [True]), gone_back(RUNS[name], [x.contiguous()], [True]), 1e-12)


@pytest.mark.parametrize("name", RUNS)
def test_gradients_of_gradients(name: str) -> None:
    x = (numbers(1, 2, 2, 6, dtype=np.float64) * 3).requires_grad_()
    assert tracec.autograd.gradgradcheck(RUNS[name], (x,), atol=1e-4)
