"""What shares memory with what, and what a write is seen by, is PyTorch's and NumPy's."""

import numpy as np
import pytest

import tracec
from tracec.errors import ArgumentError, DTypeError, ShapeError

torch = pytest.importorskip("torch")

VIEWS = {
    "itself": lambda x: x[...],
    "row": lambda x: x[1],
    "column": lambda x: x[:, 2],
    "block": lambda x: x[1:, 1:3],
    "strided": lambda x: x[::2, 1::2],
    "last": lambda x: x[-1:, -2],
    "T": lambda x: x.T,
    "mT": lambda x: x.mT,
    "transpose": lambda x: x.transpose(0, 1),
    "permute": lambda x: x.permute(1, 0),
    "flat": lambda x: x.view(-1),
    "reshape": lambda x: x.reshape(2, 2, 3),
    "flatten": lambda x: x.flatten(),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "squeeze": lambda x: x.unsqueeze(0).squeeze(0),
    "none": lambda x: x[:, None],
    "element": lambda x: x[2, 3],
    "detach": lambda x: x.detach(),
    "deep": lambda x: x.T[1:3].reshape(2, 3)[:, ::2].T,
    "expand one": lambda x: x[:1].expand(1, 4),
}
WRITES = {
    "fill_": lambda v: v.fill_(7),
    "zero_": lambda v: v.zero_(),
    "add_": lambda v: v.add_(100),
    "+=": lambda v: v.__iadd__(1.5),
    "*=": lambda v: v.__imul__(v),
    "mul_ self": lambda v: v.mul_(v + 1),
    "copy_": lambda v: v.copy_(v * 2 + 1),
    "sub_": lambda v: v.sub_(1),
    "div_": lambda v: v.div_(4),
    "exp_": lambda v: v.mul_(0.1).exp_(),
    "clamp_": lambda v: v.clamp_(2, 5),
}


def start(lib):
    return lib.arange(12, dtype=lib.float32).reshape(3, 4).clone()


def same(a, b):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("view", VIEWS)
def test_base_and_views_see_a_write(view, write):
    found = []
    for lib in (tracec, torch):
        x = start(lib)
        others = [make(x) for make in VIEWS.values()]
        WRITES[write](VIEWS[view](x))
        found.append([x, *others])
    for ours, theirs in zip(*found, strict=True):
        same(ours, theirs)


@pytest.mark.parametrize("view", VIEWS)
def test_views_see_a_write_to_the_base(view):
    found = []
    for lib in (tracec, torch):
        x = start(lib)
        v = VIEWS[view](x)
        x += 10
        x[1, 2] = -5
        found.append(v)
    same(*found)


COPIES = [
    lambda x: x + 0,
    lambda x: x.clone(),
    lambda x: x[[0, 2]],
    lambda x: x[x > 3],
    lambda x: x.T.reshape(12),
    lambda x: x.T.contiguous(),
    lambda x: x.to(tracec.float64),
]


@pytest.mark.parametrize("make", COPIES)
def test_copies_do_not_share(make):
    x = start(tracec)
    y = make(x)
    before = y.numpy().copy()
    x.zero_()
    assert (y.numpy() == before).all()


def test_conversions_that_change_nothing_give_the_tensor_itself():
    x = start(tracec)
    assert x.to(tracec.float32) is x
    assert x.float() is x
    assert x.cpu() is x
    assert x.contiguous() is x
    assert x.to("cpu") is x


def test_numpy_shares_memory_both_ways():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = tracec.from_numpy(array)
    x[0] = 9
    assert (array[0] == 9).all()
    array[1, 1] = -1
    assert x[1, 1].item() == -1
    back = x.numpy()
    back[1, 2] = 5
    assert x.T[2, 1].item() == 5
    assert np.shares_memory(x.T.numpy(), array)
    assert np.shares_memory(np.asarray(x), array)


def test_tensor_copies_its_data():
    array = np.zeros(3, np.float32)
    x = tracec.tensor(array)
    x += 1
    assert not array.any()


def test_overlapping_write():
    found = []
    for lib in (tracec, torch):
        x = lib.arange(6, dtype=lib.float32)
        x[1:] = x[:-1].clone()
        found.append(x)
    same(*found)
    x = tracec.arange(6)
    x[1:] = x[:-1]
    assert x.tolist() == [0, 0, 1, 2, 3, 4]


def test_data_looks_at_the_memory():
    x = tracec.ones(3, requires_grad=True)
    x.data.mul_(3)
    assert x.tolist() == [3, 3, 3]
    x.data = tracec.zeros(2)
    assert x.tolist() == [0, 0]
    assert x.requires_grad


def test_data_that_is_written_and_assigned_stays_where_it_is():
    x = tracec.ones(3, requires_grad=True)
    before, part = x.data, x[1:]
    x.data -= 0.5
    part.data *= 4
    assert x.tolist() == before.tolist() == [0.5, 2, 2]
    part.sum().backward()
    assert x.grad.tolist() == [0, 1, 1]


def test_in_place_keeps_the_dtype():
    x = tracec.arange(3, dtype=tracec.float64)
    x += tracec.ones(3, dtype=tracec.float32)
    assert x.dtype is tracec.float64
    y = tracec.ones(3, dtype=tracec.float16)
    y.add_(tracec.ones(3, dtype=tracec.float64))
    assert y.dtype is tracec.float16
    assert y.tolist() == [2, 2, 2]


def test_in_place_results_that_do_not_fit(golden):
    with pytest.raises(DTypeError) as error:
        tracec.arange(3).add_(1.5)
    assert str(error.value) == golden("dtype")
    with pytest.raises(ShapeError) as error:
        tracec.ones(3).add_(tracec.ones(2, 3))
    assert str(error.value) == golden("shape")
    with pytest.raises(ShapeError) as error:
        tracec.ones(3).copy_(tracec.ones(2))
    assert str(error.value) == golden("copy")
    with pytest.raises(ArgumentError) as error:
        tracec.ones(3).expand(2, 3).add_(1)
    assert str(error.value) == golden("expanded")


def test_versions_count_writes():
    x = tracec.ones(3)
    before = x._version
    x[0] = 2
    x.T.add_(1)
    assert x._version == before + 2
