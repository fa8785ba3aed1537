"""Arrays of CuPy, torch and jax as tensors and back, with no copy."""

from __future__ import annotations

import pytest

import tracec
from tests.gpu.place import compiled, fetch, needs_device, runs_compiled

pytestmark = needs_device


@pytest.fixture
def cupy():
    return pytest.importorskip("cupy")


def address(tensor):
    return tensor.__cuda_array_interface__["data"][0]


@pytest.mark.parametrize("how", [tracec.from_dlpack, tracec.as_tensor, tracec.asarray])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "uint8", "bool"])
def test_cupy_arrays_come_in_without_a_copy(cupy, how, dtype):
    array = cupy.arange(12).reshape(3, 4).astype(dtype)
    x = how(array)
    assert address(x) == array.data.ptr and x.device == "cuda" and x.dtype.name == dtype
    x[1, 2] = 0
    assert int(array[1, 2]) == 0


def test_a_tensor_of_a_cupy_array_is_a_copy(cupy):
    array = cupy.ones(3, "float32")
    x = tracec.tensor(array)
    x.zero_()
    assert x.device == "cuda" and float(array.sum()) == 3
    assert tracec.tensor(array, dtype=tracec.float64).dtype is tracec.float64
    assert tracec.tensor(array, device="cpu").tolist() == [1, 1, 1]


def test_tensors_go_out_without_a_copy(cupy):
    x = tracec.arange(6.0, device="cuda").reshape(2, 3)
    for array in (cupy.from_dlpack(x), cupy.asarray(x), cupy.from_dlpack(x.T).T):
        assert array.data.ptr == address(x) and array.shape == (2, 3)
    cupy.asarray(x)[0, 0] = 7
    assert x[0, 0].item() == 7
    assert x.__dlpack_device__() == (2, 0)


def test_results_of_compiled_functions_go_out_and_arrays_come_in(cupy):
    run = compiled(lambda x: (x * 2 + 1).cumsum(0))
    for call in range(3):
        array = cupy.arange(1000, dtype="float32") + call
        found = cupy.from_dlpack(run(tracec.from_dlpack(array)))
        cupy.testing.assert_allclose(found, cupy.cumsum(array * 2 + 1), rtol=1e-5)
    assert runs_compiled(run)


def test_an_operator_takes_a_cupy_array(cupy):
    assert (tracec.ones(3, device="cuda") + cupy.arange(3, dtype="float32")).tolist() == [1, 2, 3]


def test_torch(cupy):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("a torch without CUDA")
    t = torch.arange(8.0, device="cuda")
    x = tracec.from_dlpack(t)
    assert address(x) == t.data_ptr()
    x.add_(1)
    tracec.cuda.synchronize()
    assert t.tolist() == list(range(1, 9))
    back = torch.from_dlpack(x)
    assert back.data_ptr() == t.data_ptr() and back.device.type == "cuda"
    assert fetch(tracec.as_tensor(t)).tolist() == t.tolist()


def test_no_other_library_gets_what_requires_grad(cupy):
    x = tracec.ones(2, device="cuda", requires_grad=True)
    with pytest.raises(RuntimeError, match=r"use tensor\.detach"):
        cupy.from_dlpack(x)
