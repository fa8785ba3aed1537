"""Files that PyTorch wrote are read, with what they share."""

from __future__ import annotations

import io
from collections import OrderedDict

import numpy as np
import pytest

import tracec
from tracec import nn

torch = pytest.importorskip("torch")


def through(value, **options):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return tracec.load(file, **options)


DTYPES = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype):
    x = (torch.rand(3, 5) * 4).to(getattr(torch, dtype))
    found = through(x)
    assert found.dtype is getattr(tracec, dtype) and found.tolist() == x.tolist()


def test_state_dicts_load_into_modules():
    theirs = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    ours = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    ours.load_state_dict(through(theirs.state_dict()))
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


def test_views_share_memory_and_keep_their_order():
    x = torch.arange(24.0).reshape(4, 6)
    a, b, c = through([x, x.t()[2], x[1:3, ::2]])
    assert b.tolist() == x.t()[2].tolist() and c.tolist() == x[1:3, ::2].tolist()
    a[1, 2] = 100.0
    assert b[1] == 100 and c[0, 1] == 100


def test_everything_else_that_is_plain():
    value = {
        "epoch": 3, "loss": 0.5, "name": "x", "none": None, "sizes": [1, (2, 3)], "ordered": OrderedDict(a=1),
        "set": {1}, "size": torch.Size([2, 3]), "dtype": torch.float16, "device": torch.device("cpu"), "bytes": b"\xff",
        "parameter": torch.nn.Parameter(torch.ones(2)), "grad": torch.ones(2, requires_grad=True), "complex": 1 + 2j,
        "array": np.arange(3), "scalar": np.float64(2.5), "empty": torch.zeros(0, 3), "number": torch.tensor(4),
    }  # fmt: skip
    found = through(value)
    assert list(found) == list(value)
    for key in ("epoch", "loss", "name", "none", "sizes", "ordered", "set", "bytes", "complex", "scalar"):
        assert found[key] == value[key] and type(found[key]) is type(value[key])
    assert found["size"] == (2, 3) and found["dtype"] is tracec.float16 and found["device"] == tracec.device("cpu")
    assert isinstance(found["parameter"], nn.Parameter) and found["grad"].requires_grad
    assert found["array"].tolist() == [0, 1, 2] and found["empty"].shape == (0, 3) and found["number"].item() == 4


def test_optimizers_go_on():
    p = torch.ones(3, requires_grad=True)
    q = tracec.ones(3, requires_grad=True)
    theirs, ours = torch.optim.Adam([p], lr=0.1), tracec.optim.Adam([q], lr=0.3)
    p.grad = torch.ones(3)
    theirs.step()
    ours.load_state_dict(through(theirs.state_dict()))
    q.data.copy_(tracec.from_numpy(p.detach().numpy()))
    p.grad, q.grad = torch.full((3,), 2.0), tracec.full((3,), 2.0)
    theirs.step()
    ours.step()
    np.testing.assert_allclose(q.detach().numpy(), p.detach().numpy(), rtol=1e-6)


def test_places():
    assert through([torch.ones(2)], map_location="cpu")[0].tolist() == [1, 1]


def test_whole_modules_are_refused():
    with pytest.raises(tracec.errors.ArgumentError, match=r"names torch.nn.modules.linear.Linear"):
        through(torch.nn.Linear(1, 1))
