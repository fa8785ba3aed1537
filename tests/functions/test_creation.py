"""Functions that make tensors: values, element types, options, memory, and what they refuse."""

from __future__ import annotations

import array

import numpy as np
import pytest

import tracec
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError, GradientError

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

#: Calls that mean the same with either library, as (name, arguments, keywords); element types by name.
CALLS = [
    ("arange", (5,), {}),
    ("arange", (2, -7, -3), {}),
    ("arange", (0, 1, 0.3), {}),
    ("arange", (1.5,), {}),
    ("arange", (0.0, -8.000001, -4.0), {"dtype": "int64"}),
    ("arange", (0.0, -8.000001, -4.0), {"dtype": "int32"}),
    ("arange", (3, 3), {}),
    ("arange", (2**24, 2**24 + 5), {"dtype": "float32"}),
    ("arange", (0, 3), {"dtype": "bfloat16"}),
    ("linspace", (0, 1, 7), {}),
    ("linspace", (4.3, 1, 50), {"dtype": "int64"}),
    ("linspace", (-1, 1, 1), {}),
    ("linspace", (-1, 1, 0), {}),
    ("linspace", (3, -2, 5), {"dtype": "float64"}),
    ("logspace", (0, 1.2, 2), {"dtype": "int64"}),
    ("logspace", (-1, 2, 4), {"base": 2.0}),
    ("eye", (3,), {}),
    ("eye", (2, 5), {"dtype": "int32"}),
    ("eye", (0,), {}),
    ("full", ((2, 3), 7), {}),
    ("full", ((2,), True), {}),
    ("full", ((), 1.5), {}),
    ("full", ((2,), 3), {"dtype": "float16"}),
    ("zeros", (2, 0, 3), {}),
    ("ones", ((2, 3),), {"dtype": "bool"}),
    ("zeros", (), {"size": (2, 3)}),
    ("scalar_tensor", (3,), {}),
    ("tril_indices", (4, 3, 1), {}),
    ("triu_indices", (3, 5, -1), {"dtype": "int32"}),
    ("tril_indices", (0, 0), {}),
]


def named(module, keywords):
    return {k: getattr(module, v) if k == "dtype" else v for k, v in keywords.items()}


@pytest.mark.skipif(torch is None, reason="needs torch")
@pytest.mark.parametrize("name, args, keywords", CALLS)
def test_the_same_as_torch(name, args, keywords):
    ours = getattr(tracec, name)(*args, **named(tracec, keywords))
    theirs = getattr(torch, name)(*args, **named(torch, keywords))
    assert repr(ours.dtype).split(".")[1] == repr(theirs.dtype).split(".")[1]
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(ours.double().numpy(), theirs.double().numpy(), rtol=1e-6, atol=1e-7)


def test_ranges_by_hand():
    assert tracec.arange(2, 11, 3).tolist() == [2, 5, 8] and tracec.arange(3).dtype is tracec.int64
    assert tracec.arange(0, 1, 0.25).dtype is tracec.float32
    assert tracec.arange(tracec.tensor(2), tracec.tensor(4)).tolist() == [2, 3]
    assert tracec.linspace(0, 1, 5).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert tracec.linspace(0, tracec.tensor(10), 3, dtype=tracec.int64).tolist() == [0, 5, 10]
    with pytest.warns(UserWarning, match="range: deprecated"):
        assert tracec.range(0, 3).tolist() == [0, 1, 2, 3]


def test_steps_of_a_range_are_multiples_not_sums():
    x = tracec.arange(0, 1000, 0.1, dtype=tracec.float64).numpy()
    np.testing.assert_array_equal(x, np.arange(10000) * 0.1)


@pytest.mark.parametrize("make", [tracec.zeros_like, tracec.ones_like, tracec.empty_like, tracec.rand_like])
def test_like(make):
    x = tracec.ones(2, 3, dtype=tracec.float64)
    assert make(x).dtype is tracec.float64 and tuple(make(x).shape) == (2, 3)
    y = make(x, dtype=tracec.float16, requires_grad=True, layout=tracec.strided, device="cpu")
    assert y.dtype is tracec.float16 and y.requires_grad and y.is_leaf


def test_new():
    x = tracec.ones(2, dtype=tracec.int32)
    assert x.new_zeros(2, 3).dtype is tracec.int32 and tuple(x.new_ones((4,)).shape) == (4,)
    assert x.new_full((2,), 1.7).tolist() == [1, 1] and tuple(x.new_empty(size=(3, 1)).shape) == (3, 1)
    assert x.new_tensor([1.5, 2.5]).tolist() == [1, 2]
    assert x.new_tensor([1.5], dtype=tracec.float32).tolist() == [1.5]
    assert x.new_empty_strided((2, 3), (1, 2)).stride() == (1, 2)
    assert x.float().new_zeros(1, requires_grad=True).requires_grad


def test_strides_are_as_asked():
    x = tracec.empty_strided((2, 3), (1, 4))
    assert x.stride() == (1, 4) and tuple(x.shape) == (2, 3)
    x.copy_(tracec.arange(6).reshape(2, 3))
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ArgumentError, match="empty_strided: stride"):
        tracec.empty_strided((2, 3), (1,))


def test_memory_formats():
    x = tracec.arange(24.0).reshape(1, 2, 3, 4)
    y = x.to(memory_format=tracec.channels_last)
    assert y.stride() == (24, 1, 8, 2) and y.equal(x)
    assert y.is_contiguous(memory_format=tracec.channels_last) and not y.is_contiguous()
    assert y.contiguous().stride() == x.stride() and x.contiguous() is x
    assert x.contiguous(memory_format=tracec.channels_last).stride() == y.stride()
    assert tracec.zeros_like(x, memory_format=tracec.channels_last).stride() == y.stride()
    assert x.double(memory_format=tracec.channels_last).stride() == y.stride()
    with pytest.raises(RuntimeError, match="required rank 4 tensor to use channels_last"):
        x[0].to(memory_format=tracec.channels_last)
    w = x.requires_grad_()
    (w.to(memory_format=tracec.channels_last) * x.detach()).sum().backward()
    assert w.grad.equal(x.detach())


def test_memory_is_shared_where_it_can_be():
    a = np.arange(4.0)
    x = tracec.from_numpy(a)
    a[0] = 9
    assert x[0].item() == 9
    assert tracec.asarray(a).data_ptr() == x.data_ptr() != tracec.asarray(a, copy=True).data_ptr()
    assert tracec.as_tensor(x) is x and tracec.tensor(a).data_ptr() != x.data_ptr()
    with pytest.raises(ArgumentError, match="asarray: a list cannot be shared"):
        tracec.asarray([1.0], copy=False)


def test_buffers():
    buffer = array.array("i", [1, 2, 3])
    x = tracec.frombuffer(buffer, dtype=tracec.int32)
    buffer[0] = 7
    assert x.tolist() == [7, 2, 3]
    assert tracec.frombuffer(b"abcd", dtype=tracec.uint8, count=2, offset=1).tolist() == [98, 99]
    for bad in (b"", b"abc"):
        with pytest.raises(ValueError, match="frombuffer"):
            tracec.frombuffer(bad, dtype=tracec.int16)
    with pytest.raises(ArgumentError, match="frombuffer: list is no buffer"):
        tracec.frombuffer([1], dtype=tracec.int16)


def test_python_types_are_element_types():
    assert tracec.zeros(1, dtype=float).dtype is tracec.float64
    assert tracec.tensor([1.5], dtype=int).tolist() == [1]
    assert tracec.ones(1).to(bool).dtype is tracec.bool


def test_negative_numbers_wrap_around_in_unsigned_types():
    assert tracec.tensor(-1, dtype=tracec.uint8).item() == tracec.tensor([-1], dtype=tracec.uint8).item() == 255
    assert tracec.full((1,), -255, dtype=tracec.uint8).item() == 1


def test_sizes_add_up():
    size = tracec.Size([2, 3])
    assert isinstance(size + (4,), tracec.Size) and isinstance((1,) + size, tracec.Size) and size * 2 == (2, 3, 2, 3)
    assert repr(size[1:]) == "tracec.Size([3])" and size.numel() == 6 and hash(size) == hash((2, 3))


def test_out():
    into = tracec.empty(3)
    assert tracec.zeros(3, out=into) is into
    assert tracec.arange(3, out=into).tolist() == [0, 1, 2]
    with pytest.warns(UserWarning, match="was resized"):
        tracec.ones(2, 2, out=into)
    assert into.tolist() == [[1, 1], [1, 1]]
    with pytest.raises(GradientError, match="out="):
        tracec.zeros(2, out=tracec.ones(2, requires_grad=True))


def test_the_default_device():
    assert tracec.get_default_device() == "cpu"
    with tracec.device("cpu") as device:
        assert tracec.get_default_device() is device and tracec.zeros(1).device == "cpu"
    tracec.set_default_device("cuda:0")
    try:
        assert tracec.get_default_device().type == "cuda"
        with tracec.device("cpu"):
            assert tracec.ones(2).device == "cpu"
    finally:
        tracec.set_default_device(None)
    assert tracec.device(type="cuda", index=1) == tracec.device("cuda:1") == tracec.device(1)


@pytest.mark.parametrize(
    "f, error, message",
    [
        (lambda: tracec.zeros(2, shape=3), ArgumentTypeError, "zeros: got an unexpected keyword argument 'shape'"),
        (lambda: tracec.zeros(2, layout="sparse"), ArgumentError, "zeros: layout='sparse' is not known"),
        (lambda: tracec.zeros(2, size=(3,)), ArgumentTypeError, "zeros: got multiple values for argument 'size'"),
        (lambda: tracec.arange(3, dtype=tracec.bool), DTypeError, "arange: not implemented for bool"),
        (lambda: tracec.arange(0, float("inf")), ArgumentError, "arange: unsupported range"),
        (lambda: tracec.eye(-1), RuntimeError, "eye: size .* negative"),
        (lambda: tracec.linspace(0, 1, -1), RuntimeError, "linspace: number of steps must be non-negative"),
        (lambda: tracec.ones(2, dtype=tracec.int64, requires_grad=True), GradientError, "floating point"),
        (lambda: tracec.full(2, 1), ArgumentTypeError, "full: size must be a sequence"),
        (lambda: tracec.tensor([300], dtype=tracec.uint8), ArgumentError, "cannot be converted to type uint8"),
        (lambda: tracec.tensor([float("nan")], dtype=tracec.int64), ArgumentError, "cannot be converted to type int64"),
        (lambda: tracec.rand(2, generator=3), ArgumentTypeError, "rand: generator must be a Generator, int given"),
        (lambda: tracec.Size("a"), ArgumentTypeError, "Size: takes integers"),
        (lambda: tracec.ones(2).size(1), IndexError, "size: dim=1 is no axis"),
        (lambda: tracec.ones(()).stride(0), IndexError, "stride: dim=0 is no axis"),
        (lambda: tracec.full((2,), "a"), ArgumentTypeError, "full: fill_value must be a number"),
        (lambda: tracec.ones(2).contiguous(memory_format=3), ArgumentTypeError, "contiguous: memory_format"),
    ],
)
def test_what_is_refused(f, error, message):
    with pytest.raises(error, match=message):
        f()


def test_compiled():
    @tracec.compile
    def f(x):
        return x + tracec.arange(3) * x.new_full((3,), 2.0) + tracec.linspace(0, 1, 3) + tracec.eye(3)[0]

    for _ in range(2):
        assert f(tracec.ones(3)).tolist() == [2.0, 3.5, 6.0]


@pytest.mark.parametrize("look", [lambda a: a.T, lambda a: np.broadcast_to(a[0], a.shape), lambda a: a[:, ::2]])
def test_a_copy_of_an_array_lies_row_by_row(look):
    array = look(np.arange(6.0).reshape(2, 3))
    made = tracec.tensor(array)
    assert made.is_contiguous() and np.array_equal(made.numpy(), array)


def test_so_does_that_of_a_tensors_array_compiled():
    f = tracec.compile(lambda x: tracec.tensor(x.numpy()))
    x = tracec.arange(6.0).reshape(2, 3).T
    assert f(x).stride() == f(x).stride() == tracec.tensor(x.numpy()).stride() == (2, 1)


def test_what_cannot_be_in_a_tensor_is_named():
    for given, what in [([1, None], "NoneType"), ([2.0, "a"], "str"), ([None, 1], "NoneType")]:
        with pytest.raises(TypeError, match=f"with {what} in it"):
            tracec.tensor(given)


@pytest.mark.parametrize("number", [np.float64(1.5), np.float32(1.5), np.float16(1.5), np.complex128(2j), np.int8(3)])
def test_numbers_of_numpy_keep_their_type(number):
    made = tracec.tensor(number), tracec.as_tensor(number), tracec.compile(tracec.tensor)(number)
    assert [t.dtype.numpy for t in made] == [number.dtype] * 3
    assert made[0].item() == number and tracec.full((1,), number).dtype is not tracec.float64
    assert tracec.tensor(number, dtype=tracec.complex64).dtype is tracec.complex64
