"""Tensors as text: the same as PyTorch's, character for character."""

from __future__ import annotations

import numpy as np
import pytest

import tracec

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

NAN, INF = float("nan"), float("inf")
RNG = np.random.default_rng(0)

#: Name → elements.
ARRAYS = {
    "scalar": np.float32(1.5),
    "whole scalar": np.float32(3),
    "nan scalar": np.float32(NAN),
    "integer": np.int64(7),
    "flag": np.bool_(True),
    "vector": np.array([1.0, -2.5, 3.25], np.float32),
    "whole": np.array([1.0, -20.0, 300.0], np.float32),
    "zeros": np.zeros((2, 3), np.float32),
    "zeros and one": np.array([0, 0, 0.5], np.float32),
    "nan and inf": np.array([NAN, 1.5, INF, -INF], np.float32),
    "whole with nan": np.array([NAN, 1, INF, -INF], np.float32),
    "only nan": np.array([NAN, INF, -INF], np.float32),
    "small": np.array([1e-5, 1.0], np.float32),
    "small alone": np.array([2e-5, 3e-5], np.float32),
    "large": np.array([1e9, 1.0], np.float32),
    "large whole": np.array([123456789.0, 5.0], np.float64),
    "wide": np.array([0.01, 123.456], np.float32),
    "negative zero": np.array([-0.0, 1.0], np.float32),
    "integers": np.array([[1, -200], [30000, 4]], np.int64),
    "bools": np.array([[True, False], [False, True]]),
    "bytes": np.arange(5, dtype=np.uint8),
    "half": np.array([1.5, 6e4], np.float16),
    "double": np.array([1.5, 0.1], np.float64),
    "empty": np.zeros((0,), np.float32),
    "empty matrix": np.zeros((0, 3), np.float32),
    "empty integers": np.zeros((0,), np.int64),
    "empty cube": np.zeros((2, 0, 3), np.int32),
    "matrix": RNG.normal(size=(5, 7)).astype(np.float32),
    "long row": RNG.normal(size=(100,)).astype(np.float32),
    "long integers": np.arange(200),
    "cube": RNG.normal(size=(2, 3, 4)).astype(np.float32),
    "four axes": np.arange(2 * 2 * 3 * 2).reshape(2, 2, 3, 2),
    "summary": RNG.normal(size=(2000,)).astype(np.float32),
    "summary of a matrix": RNG.normal(size=(40, 50)).astype(np.float32),
    "summary of a cube": np.arange(20 * 30 * 2).reshape(20, 30, 2),
    "summary of a flat cube": RNG.normal(size=(3, 500, 1)).astype(np.float64),
    "summary with odd edges": np.pad(np.full((50, 50), 1e6, np.float32), 1),
    "summary of doubles": np.arange(5000.0),
    "summary of bytes": np.zeros((99, 99), np.uint8),
    "last line just full": np.arange(1, 10, dtype=np.float64).repeat(2),
    "complex": np.array([1 + 2j, 3.5 - 1j], np.complex64),
    "complex scalar": np.complex64(1 - 2j),
    "complex with nan": np.array([1e10 + 1j, 0, complex(NAN, INF)], np.complex64),
    "complex zeros": np.zeros((2, 2), np.complex128),
    "complex matrix": (RNG.normal(size=(3, 4)) + 1j * RNG.normal(size=(3, 4))).astype(np.complex64),
    "summary of complex": (RNG.normal(size=(60, 20)) + 1e6j).astype(np.complex128),
}

OPTIONS = [
    {},
    {"precision": 2},
    {"precision": 8, "linewidth": 60},
    {"threshold": 5, "edgeitems": 1},
    {"profile": "short"},
    {"profile": "full", "linewidth": 200},
    {"sci_mode": True},
    {"sci_mode": False, "precision": 1},
    {"edgeitems": 0},
    {"threshold": 10, "edgeitems": 2, "linewidth": 40},
]


@pytest.fixture(autouse=True)
def _options():
    yield
    tracec.set_printoptions(profile="default")
    if torch is not None:
        torch.set_printoptions(profile="default")


def theirs(x):
    return repr(x).replace("torch.", "tracec.")


@pytest.mark.skipif(torch is None, reason="needs torch")
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_same_as_torch(options):
    tracec.set_printoptions(**options)
    torch.set_printoptions(**options)
    for name, values in ARRAYS.items():
        array = np.asarray(values)
        assert repr(tracec.tensor(array)) == theirs(torch.tensor(array)), name


@pytest.mark.skipif(torch is None, reason="needs torch")
def test_notes_the_same_as_torch():
    def texts(t):
        x = t.ones(3, requires_grad=True)
        half = t.ones(2, 3, dtype=t.bfloat16, requires_grad=True)
        many = t.ones(10, dtype=t.float64, requires_grad=True) / 3
        return [x, x * 2, half, many, x.detach(), t.zeros(0, requires_grad=True), x.sum(), x[0].detach()]

    for a, b in zip(texts(tracec), texts(torch), strict=True):
        assert repr(a) == theirs(b)


@pytest.mark.skipif(torch is None, reason="needs torch")
def test_the_default_type_is_not_told():
    for t in (tracec, torch):
        t.set_default_dtype(t.float64)
    try:
        assert repr(tracec.ones(2)) == "tensor([1., 1.])" == repr(torch.ones(2))
        assert repr(tracec.ones(2).float()) == theirs(torch.ones(2).float())
    finally:
        for t in (tracec, torch):
            t.set_default_dtype(t.float32)


def test_by_hand():
    assert repr(tracec.tensor([1.0, 2.5])) == "tensor([1.0000, 2.5000])"
    assert repr(tracec.tensor([[1, 2], [3, 4]])) == "tensor([[1, 2],\n        [3, 4]])"
    assert repr(tracec.tensor([1e-9, 1.0])) == "tensor([1.0000e-09, 1.0000e+00])"
    assert repr(tracec.zeros(1001)) == "tensor([0., 0., 0.,  ..., 0., 0., 0.])"
    assert repr(tracec.zeros(0, 3, dtype=tracec.int8)) == "tensor([], size=(0, 3), dtype=tracec.int8)"
    tracec.set_printoptions(precision=1, sci_mode=True)
    assert repr(tracec.tensor([0.25])) == "tensor([2.5e-01])"
    tracec.set_printoptions(profile="default")
    assert repr(tracec.tensor([0.25])) == "tensor([0.2500])"
    with pytest.raises(ValueError, match="set_printoptions: profile='long' is not known"):
        tracec.set_printoptions(profile="long")


def test_in_strings():
    x = tracec.tensor(1.25)
    assert f"{x}" == "1.25" and f"{x:.1f}" == "1.2" and f"{tracec.tensor([1])}" == "tensor([1])"
    with pytest.raises(TypeError, match="unsupported format string"):
        f"{tracec.ones(2):.1f}"


def test_a_class_of_the_users_prints_its_name():
    class Image(tracec.Tensor):
        pass

    assert repr(Image([1.0, 2.0])) == "Image([1., 2.])"
