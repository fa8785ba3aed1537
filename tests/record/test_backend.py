"""Devices, and what is said where CUDA is not there."""

import builtins
import importlib
import sys

import pytest

import tracec
from tracec.errors import DeviceError
from tracec.record import backend


def test_device_names():
    assert tracec.device("cuda") == "cuda:0"
    assert tracec.device("cuda:0") == "cuda"
    assert tracec.device("cuda", 1) == "cuda:1"
    assert tracec.device("cuda:1") != "cuda"
    assert tracec.device("cuda:1").index == 1
    assert tracec.device("cpu").index is None and tracec.device("cuda").index is None
    assert tracec.device("cuda").type == "cuda"
    assert repr(tracec.device("cuda:1")) == "device(type='cuda', index=1)"
    assert repr(tracec.device("cpu")) == "device(type='cpu')" and repr(tracec.device("cuda")) == "device(type='cuda')"
    assert len({tracec.device("cuda"), tracec.device("cuda:0"), "cuda:0"}) == 1


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "", "cuda:-1"])
def test_unknown_devices(name, golden):
    with pytest.raises(DeviceError) as error:
        tracec.device(name)
    assert str(error.value) == golden


def test_missing_cupy(monkeypatch, golden):
    real = importlib.import_module

    def refuse(name, *rest):
        if name == "cupy":
            raise ImportError("No module named 'cupy'")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", refuse)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)  # another test may have imported it
    monkeypatch.setattr(backend, "_REACHED", {})
    with pytest.raises(DeviceError) as error:
        tracec.zeros(2, device="cuda")
    assert str(error.value).split("\n")[0] == golden("zeros")
    with pytest.raises(DeviceError) as error:
        tracec.zeros(2).cuda()
    assert str(error.value) == golden("to")
    assert not backend.is_available()


def test_no_gpu():
    pytest.importorskip("cupy")
    if backend.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(DeviceError, match="no CUDA device can be reached"):
        tracec.zeros(2).to("cuda")


def test_importing_tracec_imports_nothing_heavy(tmp_path):
    import subprocess

    code = (
        "import sys, tracec; "
        "print([m for m in ('cupy', 'scipy', 'networkx', 'jinja2', 'torch', 'sklearn') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_compile_stays_the_function():
    import tracec.compile as module

    assert callable(tracec.compile)
    assert builtins.callable(module)


@pytest.mark.gpu
def test_cuda():
    if not backend.is_available():
        pytest.skip("no GPU")
    x = tracec.ones(3, device="cuda", requires_grad=True)
    y = (x.cpu() * 2 + x.to("cpu")).to("cuda") * tracec.tensor(3.0)
    y.sum().backward()
    assert x.grad.device == "cuda"
    assert x.grad.cpu().tolist() == [9, 9, 9]
    with pytest.raises(DeviceError, match="same device"):
        x + tracec.ones(3)
    x.data[1] = 5
    assert x[x > 2].tolist() == [5]
