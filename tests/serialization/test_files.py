"""What is saved comes back, from tracec's files, from PyTorch's and from safetensors'; and no file is ever run."""

from __future__ import annotations

import argparse
import io
import json
import pickle
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import tracec
from tracec import nn, optim
from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.serialization import tensors

DTYPES = [
    "bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
    "float64", "complex64", "complex128",
]  # fmt: skip


def again(value):
    file = io.BytesIO()
    tracec.save(value, file)
    file.seek(0)
    return tracec.load(file)


def same(a, b) -> bool:
    if isinstance(a, tracec.Tensor):
        return type(a) is type(b) and a.dtype is b.dtype and a.requires_grad == b.requires_grad and tracec.equal(a, b)
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, dict):
        return type(a) is type(b) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or a != a)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (3, 5, 2)])
def test_tensors_of_every_dtype(dtype, shape):
    x = (tracec.rand(shape) * 3).to(getattr(tracec, dtype))
    assert same(again(x), x)
    assert same(again({"a": x, "b": [x]}), {"a": x, "b": [x]})


@pytest.mark.parametrize(
    "value",
    [
        None, True, 7, -(2**70), 1.5, float("nan"), float("inf"), 2 + 3j, "text", b"\x00\xff", [], (), {}, set(),
        [1, [2, (3,)]],
        {"a": {1: "one", (2, 3): None, None: 4.5}}, OrderedDict(b=1, a=2), Counter("abca"), {1, 2}, frozenset({3}),
        tracec.float16, tracec.Size([2, 3]), Path("a/b"), argparse.Namespace(lr=0.1, sizes=[1, 2]),
        np.arange(6).reshape(2, 3), np.float32(2.5), {"tuple": [1]}, {"tensor": {"name": "x"}},
    ],
    ids=repr,
)  # fmt: skip
def test_values(value):
    assert same(again(value), value)


def test_a_device():
    assert again(tracec.device("cuda:1")) == tracec.device("cuda:1")


def test_views_and_layouts():
    base = tracec.arange(24.0).reshape(4, 6)
    for x in (base.t(), base[1:3, ::2], base[0], base.expand(2, 4, 6)):
        assert same(again(x), x)


def test_what_is_shared_is_shared_again_and_written_once():
    weight = nn.Parameter(tracec.rand(100, 100))
    file = io.BytesIO()
    tracec.save({"encoder": weight, "decoder": weight}, file)
    assert len(file.getvalue()) < 1.5 * 4 * 100 * 100
    file.seek(0)
    found = tracec.load(file)
    found["encoder"].data[0, 0] = 5.0
    assert found["decoder"][0, 0] == 5.0


def test_a_training_state(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    optimizer = optim.AdamW(model.parameters(), lr=0.1)
    scheduler = optim.lr_scheduler.MultiStepLR(optimizer, [1, 2])

    def step(m, o):
        o.zero_grad()
        m(tracec.ones(5, 3)).square().sum().backward()
        o.step()

    step(model, optimizer)
    scheduler.step()
    state = {"epoch": 3, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "lr": scheduler.state_dict()}
    tracec.save(state, tmp_path / "state.pt")
    loaded = tracec.load(tmp_path / "state.pt")
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    resumed = optim.AdamW(other.parameters(), lr=0.5)
    rates = optim.lr_scheduler.MultiStepLR(resumed, [1, 2])
    other.load_state_dict(loaded["model"])
    resumed.load_state_dict(loaded["optimizer"])
    rates.load_state_dict(loaded["lr"])
    step(model, optimizer)
    step(other, resumed)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert tracec.equal(p, q)
    assert rates.get_last_lr() == scheduler.get_last_lr()


def test_a_state_dict_is_a_safetensors_file_under_its_own_names(tmp_path):
    model = nn.Linear(3, 2)
    tracec.save(model.state_dict(), tmp_path / "model.pt")
    found = safetensors.numpy.load_file(tmp_path / "model.pt")
    assert found.keys() == {"weight", "bias"}
    np.testing.assert_array_equal(found["weight"], model.weight.detach().numpy())


def test_safetensors_files_both_ways(tmp_path):
    given = {"w": tracec.rand(3, 4), "half": tracec.rand(2).bfloat16()}
    tensors.save_file(given, tmp_path / "x.safetensors", {"note": "mine"})
    for found in (tensors.load_file(tmp_path / "x.safetensors"), tensors.load(tensors.save(given))):
        assert found.keys() == given.keys() and all(same(found[k], given[k]) for k in given)
    safetensors.numpy.save_file({"a": np.arange(3.0)}, tmp_path / "theirs.safetensors")
    assert tracec.load(tmp_path / "theirs.safetensors")["a"].tolist() == [0, 1, 2]
    with pytest.raises(ArgumentTypeError, match="w is of type int"):
        tensors.save({"w": 3})


def test_where_tensors_go():
    file = io.BytesIO()
    tracec.save([tracec.ones(2)], file)
    seen = []
    places = [
        "cpu",
        tracec.device("cpu"),
        {"cuda:0": "cpu"},
        lambda storage, location: seen.append(location) or storage,
    ]
    for place in places:
        file.seek(0)
        assert tracec.load(file, map_location=place)[0].tolist() == [1, 1]
    assert seen == ["cpu"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.pt"
    tracec.save([1], path)
    with pytest.raises(ArgumentTypeError):
        tracec.save([object()], path)
    assert tracec.load(path) == [1]
    tracec.save([2], path)
    assert tracec.load(path) == [2] and [p.name for p in tmp_path.iterdir()] == ["x.pt"]


class Sneaky:
    def __reduce__(self):
        return exec, ("raise SystemExit('it was run')",)


def pytorch_file(value) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(value, protocol=2))
        archive.writestr("archive/version", "3")
    file.seek(0)
    return file


@pytest.mark.parametrize(
    "value", [Sneaky(), [Sneaky()], {"a": print}, nn.Linear], ids=["object", "list", "builtin", "class"]
)
def test_nothing_in_a_file_is_run(value):
    with pytest.raises(ArgumentError, match="not a plain value"):
        tracec.load(pytorch_file(value))


DAMAGED = [
    (b"", "neither"),
    (b"hello world", "neither"),
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "damaged"),
    (b"\x80\x02]q\x00.", "neither"),
    (b"PK\x03\x04 and no more", "damaged"),
    ((10**6).to_bytes(8, "little") + b"{}", "damaged"),
]


@pytest.mark.parametrize("data, message", DAMAGED, ids=[m for _, m in DAMAGED])
def test_damaged_files(data, message):
    with pytest.raises(ArgumentError, match=message):
        tracec.load(io.BytesIO(data))


def test_a_damaged_structure():
    arrays = {"a": np.ones(2, np.float32)}
    for value in ({"tensor": {"name": "b"}}, {"call": "exec"}, {"a": 1, "b": 2}):
        text = json.dumps({"value": value, "complex": []})
        with pytest.raises(ArgumentError, match="load: the"):
            tracec.load(io.BytesIO(tensors.to_bytes(arrays, {"tracec": text})))


def test_errors_of_saving(tmp_path):
    loop = []
    loop.append(loop)
    with pytest.raises(ArgumentError, match="holds itself"):
        tracec.save(loop, tmp_path / "x")
    for value, message in ((nn.Linear(1, 1), "state_dict"), ({"f": lambda: 0}, "f of type function")):
        with pytest.raises(ArgumentTypeError, match=message):
            tracec.save(value, tmp_path / "x")
    with pytest.raises(ArgumentTypeError, match="array of <U1"):
        tracec.save(np.array(["a"]), tmp_path / "x")
    with pytest.raises(ArgumentTypeError, match="neither a path nor a file"):
        tracec.save([1], 3)
    with pytest.raises(FileNotFoundError):
        tracec.load(tmp_path / "missing")
    with pytest.raises(ArgumentTypeError, match="reading text"):
        tracec.load(io.StringIO("x"))
    assert not list(tmp_path.iterdir())
