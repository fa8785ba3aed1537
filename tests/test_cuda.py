"""``tracec.cuda`` where there is no GPU; tests/gpu/test_cuda_module.py has it on one."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tracec
from tracec import cuda
from tracec.errors import ArgumentError, ArgumentTypeError, DeviceError, OutOfMemoryError
from tracec.record import backend


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    def refuse(device):
        raise DeviceError(f"device {device}: no CUDA device can be reached", hint="the CPU is device 'cpu'")

    monkeypatch.setattr(backend, "_find", refuse)
    monkeypatch.setattr(backend, "_REACHED", {})


def test_nothing_there_is_no_error():
    assert cuda.is_available() is False
    assert cuda.device_count() == 0
    assert cuda.is_initialized() is False


def test_what_may_be_asked_without_a_device():
    assert cuda.get_arch_list() == []
    assert cuda.is_current_stream_capturing() is False
    assert cuda.default_generators == ()
    assert cuda.memory.memory_allocated is cuda.memory_allocated and cuda.StreamContext is cuda.stream


MEMORY = [
    "memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved", "memory_cached",
    "max_memory_cached",
]  # fmt: skip


@pytest.mark.parametrize("name", MEMORY)
def test_nothing_is_allocated_without_a_device(name):
    assert getattr(cuda, name)() == getattr(cuda, name)("cuda:0") == 0
    with pytest.raises(DeviceError, match="'cpu' is no CUDA device"):
        getattr(cuda, name)("cpu")


def test_a_loop_for_the_cpu_too_empties_the_cache_and_tells_of_memory():
    assert cuda.empty_cache() is None
    assert set(cuda.memory_stats().values()) == {0}


def test_seeding_without_a_device_does_nothing():
    cuda.manual_seed(3)
    cuda.manual_seed_all(3)
    tracec.manual_seed(1)
    first = tracec.rand(3)
    tracec.manual_seed(1)
    cuda.manual_seed(3)
    assert tracec.rand(3).equal(first)


NEEDS_A_DEVICE = {
    "current_device": cuda.current_device,
    "set_device": lambda: cuda.set_device(0),
    "device": lambda: cuda.device(0).__enter__(),
    "synchronize": cuda.synchronize,
    "get_device_name": cuda.get_device_name,
    "get_device_capability": lambda: cuda.get_device_capability("cuda:0"),
    "get_device_properties": cuda.get_device_properties,
    "mem_get_info": cuda.mem_get_info,
    "reset_peak_memory_stats": cuda.reset_peak_memory_stats,
    "set_per_process_memory_fraction": lambda: cuda.set_per_process_memory_fraction(0.5),
    "Stream": cuda.Stream,
    "current_stream": cuda.current_stream,
    "default_stream": cuda.default_stream,
    "Event": cuda.Event,
    "get_rng_state": cuda.get_rng_state,
    "set_rng_state": lambda: cuda.set_rng_state(tracec.get_rng_state()),
    "initial_seed": cuda.initial_seed,
    "init": cuda.init,
    "reset_max_memory_allocated": cuda.reset_max_memory_allocated,
    "memory_summary": cuda.memory_summary,
    "reset_max_memory_cached": cuda.reset_max_memory_cached,
    "can_device_access_peer": lambda: cuda.can_device_access_peer(0, 1),
    "ExternalStream": lambda: cuda.ExternalStream(0),
}


@pytest.mark.parametrize("name", NEEDS_A_DEVICE)
def test_what_needs_a_device_says_so(name):
    with pytest.raises(DeviceError, match="no CUDA device can be reached"):
        NEEDS_A_DEVICE[name]()


def test_every_name_is_tried_here_or_needs_no_device():
    others = {"DeviceProperties", "OutOfMemoryError", "device_count", "is_available", "is_initialized"}
    others |= {"manual_seed", "manual_seed_all", "stream", "seed", "seed_all", "is_bf16_supported"}
    others |= {"get_rng_state_all", "set_rng_state_all", "StreamContext", "set_stream"}
    others |= {"get_arch_list", "is_current_stream_capturing", "empty_cache", "memory_stats", *MEMORY}
    assert {*NEEDS_A_DEVICE, *others} == set(cuda.__all__)


@pytest.mark.parametrize(
    "given, error, text",
    [
        ("cpu", DeviceError, "'cpu' is no CUDA device"),
        (-1, DeviceError, "there is no CUDA device -1"),
        ("gpu", DeviceError, "there is no device 'gpu'"),
        (1.5, ArgumentTypeError, "takes a name or a number, float given"),
    ],
)
def test_names_that_are_no_cuda_device(given, error, text):
    with pytest.raises(error, match=text):
        cuda.set_device(given)
    assert backend.current_index() == 0


def test_a_fraction_that_is_none():
    with pytest.raises(ArgumentError, match="fraction=0"):
        cuda.set_per_process_memory_fraction(0)


def test_no_stream_to_change_to_is_no_change():
    with cuda.stream(None):
        pass


def test_the_error_for_lack_of_memory_is_pythons_too():
    assert cuda.OutOfMemoryError is OutOfMemoryError
    assert issubclass(OutOfMemoryError, MemoryError) and issubclass(OutOfMemoryError, RuntimeError)


def test_looking_at_the_module_imports_no_cupy():
    code = "import sys, tracec; tracec.cuda.Event; print('cupy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
