"""Batches keep the structure of their samples."""

from typing import NamedTuple

import numpy as np
import pytest

import tracec
from tracec.errors import ArgumentTypeError, ShapeError
from tracec.utils.data import dataloader, default_collate, default_convert
from tracec.utils.data._utils import collate


class Point(NamedTuple):
    x: float
    name: str


def test_structures():
    batch = default_collate([{"a": (1, 2.0), "b": "u"}, {"a": (3, 4.0), "b": "v"}])
    assert batch["b"] == ["u", "v"]
    a, b = batch["a"]
    assert isinstance(batch["a"], list)
    assert a.tolist() == [1, 3] and a.dtype is tracec.int64
    assert b.tolist() == [2.0, 4.0] and b.dtype is tracec.float64
    points = default_collate([Point(1.0, "p"), Point(2.0, "q")])
    assert isinstance(points, Point) and points.x.tolist() == [1.0, 2.0] and list(points.name) == ["p", "q"]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int64", "bool", "uint8"])
def test_tensors_keep_their_dtype(dtype):
    samples = [tracec.zeros(2, dtype=getattr(tracec, dtype)), tracec.ones(2, dtype=getattr(tracec, dtype))]
    batch = default_collate(samples)
    assert batch.dtype is getattr(tracec, dtype) and batch.shape == (2, 2)


def test_arrays_and_numbers():
    assert default_collate([np.float32(1), np.float32(2)]).dtype is tracec.float32
    assert default_collate([np.zeros(3), np.ones(3)]).shape == (2, 3)
    assert default_collate([True, False]).dtype is tracec.bool
    assert default_collate([b"x", b"y"]) == [b"x", b"y"]


def test_batch_owns_its_memory_and_carries_gradients():
    x = tracec.zeros(2)
    batch = default_collate([x])
    x.fill_(1.0)
    assert batch.tolist() == [[0.0, 0.0]]
    leaf = tracec.ones(2, requires_grad=True)
    default_collate([leaf, leaf]).sum().backward()
    assert leaf.grad.tolist() == [2.0, 2.0]


def test_same_as_torch():
    torch_data = pytest.importorskip("torch.utils.data")
    samples = [(np.float32(k), {"y": np.arange(k, k + 2)}, [k, float(k)], "s") for k in range(3)]
    ours, theirs = default_collate(samples), torch_data.default_collate(samples)
    assert np.array_equal(ours[0].numpy(), theirs[0].numpy())
    assert np.array_equal(ours[1]["y"].numpy(), theirs[1]["y"].numpy())
    for a, b in zip(ours[2], theirs[2], strict=True):
        assert a.dtype.name == str(b.dtype).removeprefix("torch.") and a.tolist() == b.tolist()
    assert list(ours[3]) == list(theirs[3])


def test_errors():
    with pytest.raises(ShapeError, match=r"samples have shapes \(2,\) and \(3,\)"):
        default_collate([tracec.zeros(2), tracec.zeros(3)])
    with pytest.raises(ShapeError, match="each element in list of batch should be of equal size"):
        default_collate([(1, 2), (1,)])
    with pytest.raises(ArgumentTypeError, match="samples must contain tensors"):
        default_collate([object()])


def test_converting_one_sample_keeps_its_structure():
    given = {"a": (np.float32(1), 2.0), "b": [np.arange(2), "s"], "c": Point(np.float64(3), "p"), "d": np.array(["x"])}
    made = default_convert(given)
    assert isinstance(made["a"], list) and made["a"][0].dtype is tracec.float32 and made["a"][1] == 2.0
    assert made["b"][0].tolist() == [0, 1] and made["b"][1] == "s"
    assert made["c"].x.dtype is tracec.float64 and made["c"].name == "p" and made["d"] is given["d"]
    assert default_convert(range(2)) == [0, 1]
    x = tracec.ones(2)
    assert default_convert(x) is x


def test_names_where_pytorch_has_them():
    theirs = pytest.importorskip("torch.utils.data.dataloader")
    assert dataloader.default_collate is default_collate
    assert dataloader.DataLoader([1, 2], batch_size=2).collate_fn is default_collate
    assert all(hasattr(theirs, name) for name in dataloader.__all__)


def test_names_that_functions_of_programs_take():
    theirs = pytest.importorskip("torch.utils.data._utils.collate")
    assert collate.default_collate is default_collate and collate.default_convert is default_convert
    assert all(hasattr(theirs, name) for name in collate.__all__)
    for kind in ("S1", "U1", "O", "V2", "f4", "i8", "?"):
        of_text = (c.np_str_obj_array_pattern.search(np.dtype(kind).str) is not None for c in (collate, theirs))
        assert len(set(of_text)) == 1
    assert "found 3" in collate.default_collate_err_msg_format.format(3)
