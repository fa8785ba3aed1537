"""Sobol' sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracec
from tracec.errors import ArgumentError, DTypeError

pytest.importorskip("scipy")


def drawn(library: Any, dimension: int, dtype: str) -> list[Any]:
    engine, dtype = library.quasirandom.SobolEngine(dimension), getattr(library, dtype)
    found = [engine.draw(n, dtype=dtype) for n in (1, 3, 5)]
    engine.fast_forward(7)
    found.append(engine.draw(2, dtype=dtype))
    engine.reset()
    found += [engine.draw_base2(3, dtype=dtype), engine.draw_base2(3, dtype=dtype)]
    engine.reset().fast_forward(4)
    return [*found, engine.draw(dtype=dtype), library.tensor(engine.num_generated)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dimension", [1, 2, 17, 1000])
def test_points_are_pytorchs(dimension: int, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    for found, wanted in zip(drawn(tracec, dimension, dtype), drawn(torch, dimension, dtype), strict=True):
        assert tuple(found.shape) == tuple(wanted.shape) and str(found.dtype)[7:] == str(wanted.dtype)[6:]
        assert np.array_equal(found.numpy(), wanted.numpy())


def test_texts_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for given in ((3,), (2, True), (2, True, 5), (4, False, 1)):
        ours, theirs = (lib.quasirandom.SobolEngine(*given) for lib in (tracec, torch))
        assert repr(ours) == repr(theirs)


def test_scrambled_points_are_even_and_come_again() -> None:
    engine = tracec.quasirandom.SobolEngine(5, scramble=True, seed=3)
    points = engine.draw(64)
    assert tracec.equal(points, engine.reset().draw(64))
    assert tracec.equal(points, tracec.quasirandom.SobolEngine(5, scramble=True, seed=3).draw(64))
    assert not tracec.equal(points, tracec.quasirandom.SobolEngine(5, scramble=True, seed=4).draw(64))
    cells = (points * 64).long()
    assert all(sorted(cells[:, k].tolist()) == list(range(64)) for k in range(5))


def test_the_default_generator_scrambles() -> None:
    def points() -> Any:
        return tracec.quasirandom.SobolEngine(3, scramble=True).draw(4)

    tracec.manual_seed(1)
    first, second = points(), points()
    tracec.manual_seed(1)
    assert tracec.equal(first, points()) and not tracec.equal(first, second)


def test_out_is_written() -> None:
    out = tracec.empty(0)
    assert tracec.quasirandom.SobolEngine(2).draw(3, out=out) is out
    assert out.tolist() == [[0.0, 0.0], [0.5, 0.5], [0.75, 0.25]]
    with pytest.raises(DTypeError, match="result type float32"):
        tracec.quasirandom.SobolEngine(2).draw(3, out=tracec.zeros(3, 2, dtype=tracec.int64))


def test_mistakes_are_refused() -> None:
    engine = tracec.quasirandom.SobolEngine(2)
    for dimension in (0, 21202):
        with pytest.raises(ArgumentError, match="Supported range of dimensionality"):
            tracec.quasirandom.SobolEngine(dimension)
    engine.draw(3)
    with pytest.raises(ArgumentError, match="require n to be a power of 2"):
        engine.draw_base2(2)
    with pytest.raises(ArgumentError, match="n=-1 is negative"):
        engine.draw(-1)
    with pytest.raises(ArgumentError, match="n=-1 is negative"):
        engine.fast_forward(-1)
    with pytest.raises(ArgumentError, match="has 1073741821 left"):
        engine.fast_forward(1 << 30)
    assert engine.num_generated == 3


def test_compiled_functions_draw_anew() -> None:
    engine, plain = (tracec.quasirandom.SobolEngine(2) for _ in range(2))
    run = tracec.compile(lambda x: x + engine.draw(2))
    x = tracec.zeros(2, 2)
    with pytest.warns(RuntimeWarning, match="cannot draw points"):
        found = [run(x).tolist() for _ in range(4)]
    assert found == [plain.draw(2).tolist() for _ in range(4)]
