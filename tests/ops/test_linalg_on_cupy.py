"""The eager rules of linear algebra where arrays are CuPy's, whose routines refuse less and tell less than NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from tests.doubles import cupy as double
from tests.ops.test_table import NAMED, close, draw, eager
from tracec.errors import LinAlgError

LINALG = [op for op in NAMED if op.family == "linalg"]
CASES = [pytest.param(op, sample, id=f"{op.name}-{i}") for op in LINALG for i, sample in enumerate(op.samples)]


def on_device(array):
    return double.wrapped(np.array(array))


@pytest.mark.parametrize("op, sample", CASES)
def test_as_on_numpy(op, sample):
    arrays = draw(sample, op.name)
    found = op.eager(double.module(), *map(on_device, arrays), **dict(op.bind(sample.params)))
    assert isinstance(found, double.ndarray)
    close(found.get(), eager(op, sample, arrays), 1e-12, 1e-12)


def silent_module():
    """CuPy as it is: singular matrices give infinities, and factors that end where they would not go on."""
    xp = double.module()

    def silent(routine, filler):
        def run(*arrays):
            try:
                return double.wrapped(routine(*map(double.unwrapped, arrays)))
            except np.linalg.LinAlgError:
                return double.wrapped(np.full_like(double.unwrapped(arrays[-1]), filler))

        return run

    xp.__dict__["linalg"] = type("linalg", (), {
        "inv": staticmethod(silent(np.linalg.inv, np.inf)),
        "solve": staticmethod(silent(np.linalg.solve, np.nan)),
        "cholesky": staticmethod(silent(np.linalg.cholesky, -1.0)),
        "det": staticmethod(xp.linalg.det),
    })  # fmt: skip
    return xp


@pytest.mark.parametrize("name", ["inv", "solve", "cholesky"])
def test_singular_matrices_are_found(name):
    (op,) = [op for op in LINALG if op.name == name]
    a = np.stack([np.eye(2), -np.eye(2) if name == "cholesky" else np.ones((2, 2))])
    arrays = [on_device(a)] * (2 if name == "solve" else 1)
    with pytest.raises(LinAlgError, match=f"linalg.{name}: "):
        op.eager(silent_module(), *arrays, checked_by=f"linalg.{name}")
    op.eager(silent_module(), *arrays, checked_by="")
    fine = [on_device(np.eye(2))] * len(arrays)
    np.testing.assert_array_equal(op.eager(silent_module(), *fine, checked_by=f"linalg.{name}").get(), np.eye(2))


def test_eigenvalues_where_cupy_has_no_routine():
    xp = double.module()
    xp.__dict__["linalg"] = type("linalg", (), {})
    a = np.random.default_rng(0).normal(size=(2, 3, 3))
    for name in ("eig", "eigvals"):
        (op,) = [op for op in LINALG if op.name == name]
        found = op.eager(xp, on_device(a))
        close(found.get(), op.eager(np, a), 1e-12, 1e-12)
