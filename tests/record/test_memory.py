"""Strides, addresses, storages, sizes that change, the kinds of tensors, and the types of before element types."""

from __future__ import annotations

import os

import numpy as np
import pytest

import tracec
from tracec.errors import ArgumentError, ArgumentTypeError, DeviceError, GradientError

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]


def test_storages_are_what_views_share():
    x = tracec.arange(6.0).reshape(2, 3)
    y = x[1, 1:]
    assert y.storage_offset() == 4 and x.storage_offset() == 0
    assert y.storage().data_ptr() == x.storage().data_ptr() == x.data_ptr() != y.data_ptr()
    assert y.untyped_storage() == x.untyped_storage() != x.clone().untyped_storage()
    assert len(y.storage()) == 6 and y.storage().tolist() == [0, 1, 2, 3, 4, 5] and y.storage()[4] == 4
    assert x.untyped_storage().nbytes() == x.untyped_storage().size() == 24 and x.storage().dtype is tracec.float32
    assert tracec.is_storage(x.storage()) and not tracec.is_storage(x)
    assert repr(tracec.ones(1).storage()) == " 1.0\n[tracec.TypedStorage(device=cpu) of size 1]"
    assert tracec.empty_strided((2, 2), (1, 4)).storage().size() == 6


def test_tensors_set_to_one_memory():
    x, y = tracec.ones(3), tracec.zeros(2)
    assert y.set_(x) is y and y.is_set_to(x) and not y[1:].is_set_to(x)
    y[0] = 5
    assert x[0].item() == 5 and y.set_().numel() == 0


def test_sizes_change():
    x = tracec.arange(4.0)
    assert x.resize_(2, 3) is x and x.tolist() == [[0, 1, 2], [3, 0, 0]]
    assert x.resize_((1, 2)).tolist() == [[0, 1]] and x.resize_as_(tracec.ones(1)).tolist() == [0]
    assert tracec.tensor([True]).resize_(2).tolist() == [True, False]
    with pytest.raises(GradientError, match="resize_: cannot resize variables that require grad"):
        tracec.ones(2, requires_grad=True).resize_(3)


def test_sizes_change_inside_of_compiled_functions():
    @tracec.compile
    def inside(x):
        return tracec.ones(0).resize_(3) + x

    @tracec.compile
    def outside(x):
        return x.resize_(5)

    assert [inside(tracec.ones(3)).tolist() for _ in range(2)] == [[1, 1, 1]] * 2
    with pytest.warns(RuntimeWarning, match="resize_: cannot change the shape of a tensor from outside"):
        assert [outside(tracec.ones(3)).shape for _ in range(3)] == [(5,)] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_memory_is_shared_with_forked_processes():
    x = tracec.ones(3)
    assert not x.is_shared() and x.share_memory_() is x and x.is_shared() and x.share_memory_() is x
    child = os.fork()
    if not child:
        x._array[...] = 7  # by hand: a process that was forked from one with threads does little else
        os._exit(0)
    os.waitpid(child, 0)
    assert x.tolist() == [7, 7, 7]


def test_pinned_memory_needs_a_gpu():
    x = tracec.ones(3)
    assert not x.is_pinned()
    if not tracec.cuda.is_available():
        for f in (x.pin_memory, lambda: tracec.zeros(3, pin_memory=True), lambda: tracec.tensor([1], pin_memory=True)):
            with pytest.raises(DeviceError):
                f()


def test_kinds():
    x = tracec.ones(2, dtype=tracec.int8)
    assert x.is_cpu and not x.is_cuda and x.get_device() == -1 and x.layout is tracec.strided
    assert not (x.is_sparse or x.is_quantized or x.is_meta or x.is_mps or x.is_nested or x.is_inference())
    assert x.is_signed() and not x.byte().is_signed() and x.ndimension() == 1 and x.to_dense() is x
    assert x.is_same_size(tracec.zeros(2)) and not x.is_same_size(tracec.zeros(1, 2))
    assert tracec.tensor([3]).is_nonzero() and not tracec.tensor(0.0).is_nonzero()
    with pytest.raises(RuntimeError, match=r"is_nonzero: .* ambiguous"):
        x.is_nonzero()


# The types of before element types -----------------------------------------------------------------------


def test_old_types():
    assert tracec.FloatTensor(2, 3).dtype is tracec.float32 and tracec.LongTensor([1, 2]).tolist() == [1, 2]
    x = tracec.DoubleTensor([[1, 2], [3, 4]])
    assert isinstance(x, tracec.DoubleTensor) and isinstance(x, tracec.Tensor) and not isinstance(x, tracec.FloatTensor)
    assert not isinstance(x, tracec.cuda.DoubleTensor) and not isinstance([1.0], tracec.FloatTensor)
    assert x.type() == "torch.DoubleTensor" == tracec.typename(x) and x.type(tracec.LongTensor).dtype is tracec.int64
    assert x.type("torch.FloatTensor").dtype is tracec.float32 and x.type(int).dtype is tracec.int64
    assert (x > 1).type(tracec.Tensor).dtype is tracec.float32 and x.type("torch.Tensor").dtype is tracec.float32
    assert x.type(tracec.bool).dtype is tracec.bool and tracec.typename([]) == "list"
    assert repr(tracec.cuda.FloatTensor) == "<class 'tracec.cuda.FloatTensor'>"
    assert tracec.BoolTensor([0, 2]).tolist() == [False, True] and tracec.ByteTensor([1, 2]).dtype is tracec.uint8
    for wrong in ("FloatTensor2", "torch.Tensor2", 3):
        with pytest.raises((ArgumentTypeError, ArgumentError), match=r"type: .* is no type of tensors"):
            x.type(wrong)


def test_the_default_type_of_tensors():
    tracec.set_default_tensor_type(tracec.DoubleTensor)
    try:
        assert tracec.ones(1).dtype is tracec.float64 and tracec.Tensor([1]).dtype is tracec.float64
        assert tracec.ones(1, dtype=tracec.bool).type(tracec.Tensor).dtype is tracec.float64
        tracec.set_default_tensor_type("torch.HalfTensor")
        assert tracec.get_default_dtype() is tracec.float16
    finally:
        tracec.set_default_tensor_type(tracec.FloatTensor)


MADE = [
    lambda t: t.Tensor(2, 3).zero_(),
    lambda t: t.Tensor([[1, 2], [3, 4]]),
    lambda t: t.Tensor((2, 3)),
    lambda t: t.Tensor(range(3)),
    lambda t: t.Tensor(t.Size([2, 1])).zero_(),
    lambda t: t.Tensor(np.arange(3)),
    lambda t: t.Tensor(np.int64(2)).zero_(),
    lambda t: t.Tensor([t.tensor(1.0), t.tensor(2.0)]),
    lambda t: t.Tensor(),
    lambda t: t.IntTensor([[1.7, -2.2]]),
    lambda t: t.ones(2).long().new([1, 2]),
    lambda t: t.ones(2).new(2, 1).zero_(),
    lambda t: t.ones(2).new(),
]


@pytest.mark.skipif(torch is None, reason="needs torch")
@pytest.mark.parametrize("f", MADE)
def test_old_ways_to_make_tensors_as_torch(f):
    ours, theirs = f(tracec), f(torch)
    assert ours.type() == theirs.type() and tuple(ours.shape) == tuple(theirs.shape)
    assert ours.tolist() == theirs.tolist()


def test_old_ways_that_are_none():
    for wrong in (5.0, True, "a", [[1], [2, 3]]):
        with pytest.raises(TypeError, match="Tensor: cannot make a tensor of this"):
            tracec.Tensor(wrong)
    x = tracec.ones(2)
    assert tracec.Tensor(x).data_ptr() == x.data_ptr() and tracec.Tensor([1.0], requires_grad=True).requires_grad
