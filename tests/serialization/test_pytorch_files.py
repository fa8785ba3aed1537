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


# Before PyTorch 1.6 ------------------------------------------------------------------------------------------


def old(value) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


@pytest.mark.parametrize("dtype", DTYPES)
def test_old_files_of_all_dtypes(dtype):
    x = (torch.rand(3, 5) * 4).to(getattr(torch, dtype))
    found = tracec.load(io.BytesIO(old({"x": x, "row": x[1], "n": 3})))
    assert found["x"].dtype is getattr(tracec, dtype) and found["x"].tolist() == x.tolist() and found["n"] == 3
    assert found["row"].tolist() == x[1].tolist()
    found["x"][1, 0] = 0
    assert found["row"][0] == 0  # one memory, as it was


def test_old_states_load_into_modules():
    theirs = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state = theirs.state_dict()
    del state["1.num_batches_tracked"]  # which the first ones did not have
    if hasattr(state, "_metadata"):
        del state._metadata
    ours = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    ours.load_state_dict(tracec.load(io.BytesIO(old(state))))
    np.testing.assert_array_equal(ours[0].weight.detach().numpy(), theirs[0].weight.detach().numpy())


def test_old_files_go_where_they_are_mapped():
    seen = []
    found = tracec.load(io.BytesIO(old([torch.ones(2)])), map_location=lambda x, place: (seen.append(place), x * 2)[1])
    assert found[0].tolist() == [2, 2] and seen == ["cpu"]


def test_old_files_that_are_cut_off_or_changed():
    whole = old({"a": torch.arange(6.0), "b": torch.ones(2, dtype=torch.int64)})
    for end in range(20, len(whole), 7):
        with pytest.raises(tracec.errors.ArgumentError):
            tracec.load(io.BytesIO(whole[:end]))
    start = whole.index(b"FloatStorage")
    for k in range(start, start + 200):
        changed = whole[:k] + bytes([whole[k] ^ 0x21]) + whole[k + 1 :]
        try:
            tracec.load(io.BytesIO(changed))  # a name or a number may be another
        except tracec.errors.TracecError:
            pass


class Runs:
    def __reduce__(self):
        return print, ("ran",)


def test_nothing_of_an_old_file_runs(capsys):
    data = old({"x": torch.ones(1), "y": Runs()})
    with pytest.raises(tracec.errors.ArgumentError, match=r"names (builtins|__builtin__)\.print"):
        tracec.load(io.BytesIO(data))
    assert capsys.readouterr().out == ""
    named = tracec.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data))
    assert [name.split(".")[-1] for name in named] == ["print"]
