"""Memory shared with other libraries through DLPack, on the CPU; tests/gpu has the same on the device."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tracec.errors import ArgumentTypeError, DeviceError, GradientError


def test_numpy_and_tracec_look_at_one_memory():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = tracec.from_dlpack(array)
    x[0, 0] = 9.0
    assert array[0, 0] == 9
    again = np.from_dlpack(x.T)
    assert again.shape == (3, 2) and np.shares_memory(again, array)


def test_torch_and_tracec_look_at_one_memory():
    torch = pytest.importorskip("torch")
    t = torch.arange(4)
    x = tracec.from_dlpack(t)
    x.add_(1)
    assert t.tolist() == [1, 2, 3, 4] and x.dtype is tracec.int64
    torch.from_dlpack(x).mul_(2)
    assert x.tolist() == [2, 4, 6, 8]


def test_memory_that_may_not_be_written_is_copied():
    array = np.arange(3.0)
    array.flags.writeable = False
    x = tracec.from_dlpack(array)
    x.add_(1)
    assert array.tolist() == [0, 1, 2] and x.tolist() == [1, 2, 3]


def test_a_tensor_comes_back_over_the_same_memory():
    x = tracec.tensor([1.0], requires_grad=True)
    y = tracec.from_dlpack(x)
    assert y._storage is x._storage and not y.requires_grad


def test_only_tensors_on_a_gpu_have_cudas_array_interface():
    assert not hasattr(tracec.ones(2), "__cuda_array_interface__")
    assert tracec.ones(2).__dlpack_device__() == (1, 0)


class Elsewhere:
    def __dlpack__(self, **options):
        raise AssertionError("nobody can read this")

    def __dlpack_device__(self):
        return 8, 0


@pytest.mark.parametrize(
    "given, error, text",
    [
        ([1], ArgumentTypeError, "from_dlpack: list offers no DLPack"),
        (Elsewhere(), DeviceError, "memory of DLPack device type 8 cannot be looked at"),
    ],
)
def test_what_cannot_become_a_tensor(given, error, text):
    with pytest.raises(error, match=text):
        tracec.from_dlpack(given)


def test_a_tensor_that_requires_grad_is_not_given_away():
    x = tracec.tensor([1.0], requires_grad=True)
    with pytest.raises(GradientError, match=r"use tensor\.detach"):
        np.from_dlpack(x)
    assert np.from_dlpack(x.detach()).tolist() == [1]


def test_a_compiled_function_that_gives_memory_away_runs_eagerly():
    run = tracec.compile(lambda x: float(np.from_dlpack(x * 2).sum()))
    with pytest.warns(RuntimeWarning, match="__dlpack__"):
        assert run(tracec.ones(3)) == 6
    assert run(tracec.full((3,), 2.0)) == 12
