"""Functions of 16-bit floats, complex numbers, booleans and of nothing, as PyTorch has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracec
from tracec.errors import DTypeError

torch = pytest.importorskip("torch")
from tests.conformance.bridge import to_numpy  # noqa: E402 - which imports torch


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("towards", [float("inf"), -float("inf"), 0.0, -0.0, 1.0, float("nan")])
def test_nextafter_of_every_16_bit_float(dtype: str, towards: float) -> None:
    bits = np.arange(1 << 16, dtype=np.uint16).view(np.int16)

    def next_(library: Any) -> Any:
        x = library.from_numpy(bits.copy()).view(getattr(library, dtype))
        return library.nextafter(x, library.tensor(towards, dtype=x.dtype)), x

    (found, x), (wanted, _) = next_(tracec), next_(torch)
    holes = wanted.isnan().numpy()
    assert np.array_equal(found.isnan().numpy(), holes)
    assert np.array_equal(found.view(tracec.int16).numpy()[~holes], wanted.view(torch.int16).numpy()[~holes])
    compiled = tracec.compile(tracec.nextafter)
    for _ in range(2):
        again = compiled(x, tracec.tensor(towards, dtype=x.dtype))
    assert np.array_equal(again.view(tracec.int16).numpy()[~holes], found.view(tracec.int16).numpy()[~holes])


def test_nextafter_of_16_bit_floats_has_the_gradient_of_wider_ones() -> None:
    x = tracec.tensor([1.0, 2.0, -3.0, 0.0], dtype=tracec.float16, requires_grad=True)
    y = tracec.tensor([5.0, 2.0, -9.0, 1.0], dtype=tracec.float16)
    tracec.nextafter(x, y).sum().backward()
    wide = x.detach().float().requires_grad_()
    tracec.nextafter(wide, y.float()).sum().backward()
    assert x.grad.tolist()[:3] == wide.grad.tolist()[:3]  # type: ignore[union-attr]


def test_nextafter_takes_floats_alone() -> None:
    with pytest.raises(DTypeError, match="nextafter: takes floats, int64 given"):
        tracec.nextafter(tracec.tensor([1]), tracec.tensor([2]))


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_rms_norm_of_complex_numbers(dtype: str) -> None:
    rng = np.random.default_rng(0)
    values, weights, directions = (rng.normal(size=(*s, 2)) @ np.array([1, 1j]) for s in ((4, 3), (3,), (4, 3)))

    def run(library: Any) -> list[Any]:
        x, w = (library.tensor(v, dtype=getattr(library, dtype)).requires_grad_() for v in (values, weights))
        y = library.nn.functional.rms_norm(x, (3,), w)
        (y * library.tensor(directions, dtype=y.dtype)).real.sum().backward()
        return [to_numpy(t) for t in (y, x.grad, w.grad)]

    for found, wanted in zip(run(tracec), run(torch), strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=1e-4 if dtype == "complex64" else 1e-10)


@pytest.mark.parametrize(("beta", "alpha"), [(1, 1), (3, 2), (0, 1), (True, False)])
def test_addr_of_booleans(beta: int, alpha: int) -> None:
    def run(library: Any) -> Any:
        x = library.tensor([[True, False], [False, False]])
        a, b = library.tensor([True, False]), library.tensor([False, True])
        return library.addr(x, a, b, beta=beta, alpha=alpha)

    assert run(tracec).dtype is tracec.bool and run(tracec).tolist() == run(torch).tolist()


def test_of_nothing() -> None:
    def run(library: Any) -> list[Any]:
        F = library.nn.functional
        nothing, widthless = library.zeros(0, 3), library.ones(2, 4, 0)
        return [
            F.cross_entropy(nothing, library.zeros(0, 3)),
            F.cross_entropy(nothing, library.zeros(0, 3), reduction="sum"),
            library.var(nothing, correction=-5),
            library.std(library.ones(2), correction=-5),
            F.scaled_dot_product_attention(widthless, widthless, library.ones(2, 4, 3)),
            library.view_as_complex(library.zeros(0, 2)).sum(),
        ]

    for found, wanted in zip(run(tracec), run(torch), strict=True):
        np.testing.assert_allclose(to_numpy(found), to_numpy(wanted), rtol=1e-6)


def test_normalize_writes_into_what_it_is_given() -> None:
    x = tracec.tensor([[3.0, 4.0]])
    empty, strided = tracec.empty(0), tracec.zeros(1, 4)[:, ::2]
    for out in (empty, strided):
        assert tracec.nn.functional.normalize(x, out=out) is out
        assert out.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]
    with pytest.raises(DTypeError, match="can't be cast"):
        tracec.nn.functional.normalize(x, out=tracec.zeros(1, 2, dtype=tracec.int64))
