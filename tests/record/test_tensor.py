"""What tensors say of themselves, and how they become other things."""

import copy
import pickle

import numpy as np
import pytest

import tracec
from tracec.errors import ArgumentTypeError, NameMissingError, ShapeError

torch = pytest.importorskip("torch")

PRINTED = [
    lambda lib: lib.tensor([1.0, 2.0, 3.0]),
    lambda lib: lib.tensor([1.5, -2.25, 3.125]),
    lambda lib: lib.tensor([[1, -20], [300, 4]]),
    lambda lib: lib.tensor([True, False]),
    lambda lib: lib.tensor(3.14159),
    lambda lib: lib.tensor(7),
    lambda lib: lib.tensor([1e-8, 1.0, 1e8]),
    lambda lib: lib.tensor([1e10, 2e10]),
    lambda lib: lib.tensor([0.00001]),
    lambda lib: lib.tensor([float("nan"), float("inf"), 1.0]),
    lambda lib: lib.tensor([0.0, -0.0]),
    lambda lib: lib.zeros(0),
    lambda lib: lib.zeros(0, 3),
    lambda lib: lib.zeros(2, 2, 2),
    lambda lib: lib.arange(5, dtype=lib.int32),
    lambda lib: lib.ones(2, dtype=lib.float64),
    lambda lib: lib.ones(2, dtype=lib.float16),
    lambda lib: lib.ones(2, dtype=lib.bfloat16),
    lambda lib: lib.arange(30),
    lambda lib: lib.arange(2000),
    lambda lib: lib.arange(3000).reshape(100, 30),
    lambda lib: lib.arange(1200, dtype=lib.float32).reshape(2, 20, 30) / 7,
    lambda lib: lib.ones(2, requires_grad=True),
    lambda lib: lib.ones(40, dtype=lib.float64) / 3,
]


@pytest.mark.parametrize("make", PRINTED)
def test_printing(make):
    assert repr(make(tracec)).replace("tracec.", "torch.") == repr(make(torch))


def test_printing_of_history():
    x = tracec.ones(2, requires_grad=True)
    assert repr(x * 2) == "tensor([2., 2.], grad_fn=<MulBackward0>)"
    assert f"{tracec.tensor(1.5):.3f}" == "1.500"
    assert f"{tracec.tensor([1.0])}" == "tensor([1.])"


def test_what_a_tensor_is():
    x = tracec.zeros(2, 3, dtype=tracec.float64)
    assert x.shape == (2, 3)
    assert repr(x.shape) == "tracec.Size([2, 3])"
    assert x.shape.numel() == 6
    assert x.size() == x.shape
    assert x.size(-1) == 3
    assert x.ndim == x.dim() == 2
    assert x.numel() == x.nelement() == 6
    assert x.dtype is tracec.float64
    assert x.device == "cpu"
    assert x.device == tracec.device("cpu")
    assert x.device.type == "cpu"
    assert x.itemsize == x.element_size() == 8
    assert x.nbytes == 48
    assert x.stride() == (3, 1)
    assert x.T.stride(0) == 1
    assert x.is_contiguous()
    assert not x.T.is_contiguous()
    assert x.T.data_ptr() == x.data_ptr()
    assert x.is_floating_point()
    assert not x.is_cuda
    assert len(x) == 2


def test_numbers():
    x = tracec.tensor([[2.5]])
    assert x.item() == 2.5
    assert float(x) == 2.5
    assert int(x) == 2
    assert bool(x)
    assert [10, 20, 30][tracec.tensor(1)] == 20
    assert tracec.tensor(True).item() is True
    assert type(tracec.ones((), dtype=tracec.bfloat16).item()) is float
    assert tracec.ones(2, dtype=tracec.bfloat16).tolist() == [1.0, 1.0]
    assert tracec.tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert [v.item() for v in tracec.arange(3)] == [0, 1, 2]
    assert 2 in tracec.arange(3)
    assert 5 not in tracec.arange(3)


def test_errors(golden):
    with pytest.raises(ShapeError) as error:
        tracec.ones(2).item()
    assert str(error.value) == golden("item")
    with pytest.raises(ShapeError) as error:
        bool(tracec.ones(2))
    assert str(error.value) == golden("bool")
    with pytest.raises(TypeError) as error:
        [0, 1][tracec.tensor(1.0)]
    assert str(error.value) == golden("index")
    with pytest.raises(TypeError) as error:
        len(tracec.tensor(1.0))
    assert str(error.value) == golden("len")
    with pytest.raises(ShapeError) as error:
        tracec.ones(4) + tracec.ones(3)
    assert str(error.value) == golden("broadcast")
    with pytest.raises(ArgumentTypeError) as error:
        tracec.ones(4) * tracec.sum(object())
    assert str(error.value) == golden("operand")
    with pytest.raises(AttributeError) as error:
        tracec.ones(4).frobnicate()
    assert str(error.value) == golden("name")
    assert isinstance(error.value, NameMissingError)


def test_operands_that_are_no_tensors():
    x = tracec.ones(2)
    with pytest.raises(TypeError):
        x + "a"
    with pytest.raises(TypeError):
        [1] * x
    assert (x + np.float32(2)).tolist() == [3, 3]
    assert (np.ones(2) + x).dtype is tracec.float64
    assert isinstance(np.ones(2) * x, tracec.Tensor)
    assert (np.float64(2) * x).dtype is tracec.float32


def test_tensors_are_keys_by_identity():
    x, y = tracec.ones(2), tracec.ones(2)
    assert {x: 1, y: 2}[x] == 1
    assert len({x, y, x}) == 2


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "bool", "int64"])
def test_pickling(dtype):
    x = tracec.ones(2, 3, dtype=getattr(tracec, dtype)).T
    y = pickle.loads(pickle.dumps(x))
    assert y.dtype is x.dtype
    assert (y == x).all()


def test_pickling_keeps_requires_grad_and_devices():
    x = pickle.loads(pickle.dumps(tracec.ones(2, requires_grad=True)))
    assert x.requires_grad
    assert pickle.loads(pickle.dumps(tracec.device("cpu"))) == "cpu"
    assert pickle.loads(pickle.dumps(tracec.float32)) is tracec.float32


def test_deep_copies():
    x = tracec.ones(2, requires_grad=True)
    (x * 2).sum().backward()
    y, z = copy.deepcopy([x, x])
    assert y is z
    assert y.grad.tolist() == [2, 2]
    with tracec.no_grad():
        y += 1
    assert x.tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(x * 2)


def test_subclasses():
    class Named(tracec.Tensor):
        pass

    x = tracec.Tensor._make_subclass(Named, tracec.ones(2), True)
    x.name = "w"
    assert type(x) is Named
    assert x.is_leaf and x.requires_grad
    assert type(x * 2) is Named
    y = copy.deepcopy(x)
    assert type(y) is Named
    assert y.name == "w"
    assert type(pickle.loads(pickle.dumps(tracec.Tensor._make_subclass(tracec.Tensor, x)))) is tracec.Tensor


def test_to():
    x = tracec.ones(2)
    assert x.to(tracec.float64).dtype is tracec.float64
    assert x.to("cpu", tracec.int32).dtype is tracec.int32
    assert x.to(tracec.ones(1, dtype=tracec.float16)).dtype is tracec.float16
    assert x.to(dtype=tracec.bool).dtype is tracec.bool
    assert x.to(tracec.float32, copy=True) is not x
    for name, dtype in {
        "double": "float64",
        "half": "float16",
        "long": "int64",
        "int": "int32",
        "bool": "bool",
    }.items():
        assert getattr(x, name)().dtype is getattr(tracec, dtype)
    assert x.bfloat16().dtype is tracec.bfloat16
    assert x.type_as(x.double()).dtype is tracec.float64
    assert tracec.tensor([0.5, 2.0]).bool().tolist() == [True, True]
    with pytest.raises(TypeError, match="neither a dtype nor a device"):
        x.to(3.5)


def test_methods_come_from_functions():
    x = tracec.tensor([4.0, 9.0])
    assert x.sqrt().tolist() == [2, 3]
    assert x.sqrt_() is x
    assert x.tolist() == [2, 3]
    assert tracec.Tensor.sqrt_.__doc__
    x.clamp_(max=2.5)
    assert x.tolist() == [2, 2.5]
    assert not hasattr(tracec.Tensor, "sum_")


def test_numpy_warnings_do_not_leak():
    x = tracec.tensor([0.0, -1.0, 1e38])
    (x / 0).sqrt().log()
    (x * x).to(tracec.int32)
    tracec.tensor([300.0]).to(tracec.uint8)
    x.half()


@pytest.mark.parametrize(
    "make",
    [
        lambda: tracec.tensor(1.0), lambda: tracec.zeros(()), lambda: tracec.full((), 2.0), lambda: tracec.empty(()),
        lambda: tracec.as_tensor(3.0), lambda: tracec.ones_like(tracec.rand(())), lambda: tracec.rand(3).new_zeros(()),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "look",
    [lambda x: x.view(1), lambda x: x.expand(3), lambda x: x.t(), lambda x: x[None], lambda x: x.transpose(0, -1)],
)
def test_looks_at_tensors_of_no_dimensions(make, look):
    x = make()
    seen = look(x)
    x.fill_(7.0)
    assert seen.reshape(-1).tolist() == [7.0] * seen.numel()
