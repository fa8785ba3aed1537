"""The names around tensors: limits of types, switches, backends, seeds, constants."""

from __future__ import annotations

import math
import types

import numpy as np
import pytest

import tracec
from tests.codegen.emulated import needs_compiler
from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.record.state import PROCESS

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
def test_limits_of_floats(name):
    found = tracec.finfo(getattr(tracec, name))
    assert found.max == -found.min and found.tiny == found.smallest_normal and found.dtype == name
    if torch is not None:
        theirs = torch.finfo(getattr(torch, name))
        assert repr(found) == repr(theirs)
        for what in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype"):
            assert getattr(found, what) == getattr(theirs, what)


def test_limits():
    assert tracec.finfo().eps == tracec.finfo(tracec.float32).eps == 2.0**-23
    found = tracec.iinfo(tracec.int16)
    assert (found.bits, found.min, found.max, found.dtype) == (16, -(2**15), 2**15 - 1, "int16")
    assert repr(tracec.iinfo(tracec.uint8)) == "iinfo(min=0, max=255, dtype=uint8)"
    for wrong in (lambda: tracec.finfo(tracec.int64), lambda: tracec.iinfo(tracec.float32), lambda: tracec.iinfo(3)):
        with pytest.raises(ArgumentTypeError):
            wrong()


def test_types_meet():
    t = tracec
    assert t.promote_types(t.int64, t.float16) is t.float16 and t.promote_types(t.uint8, t.int8) is t.int16
    assert t.can_cast(t.int64, t.float16) and not t.can_cast(t.float16, t.int64) and not t.can_cast(t.int8, t.bool)
    assert t.result_type(t.ones(1, dtype=t.int8), 2.5) is t.float32
    with pytest.raises(ArgumentTypeError, match="promote_types: takes element types, int given"):
        t.promote_types(t.int8, 3)


def test_constants():
    assert (tracec.pi, tracec.e, tracec.inf) == (math.pi, math.e, math.inf) and math.isnan(tracec.nan)
    assert tracec.ones(3)[tracec.newaxis].shape == (1, 3) and repr(tracec.channels_last) == "tracec.channels_last"
    assert isinstance(tracec.strided, tracec.layout) and isinstance(tracec.preserve_format, tracec.memory_format)
    assert tracec.OutOfMemoryError is tracec.cuda.OutOfMemoryError and tracec.version.cuda is None


@pytest.fixture
def restored():
    """Sums are in a fixed order again afterwards, as they are where nothing was asked for."""
    yield
    tracec.use_deterministic_algorithms(False)
    PROCESS.any_order = False


def test_determinism(restored):
    assert not tracec.are_deterministic_algorithms_enabled()
    tracec.use_deterministic_algorithms(True, warn_only=True)
    assert tracec.are_deterministic_algorithms_enabled() and tracec.is_deterministic_algorithms_warn_only_enabled()
    tracec.set_deterministic_debug_mode("error")
    assert tracec.get_deterministic_debug_mode() == 2
    with pytest.raises(ArgumentError, match="set_deterministic_debug_mode: 'loud' is not known"):
        tracec.set_deterministic_debug_mode("loud")
    tracec.use_deterministic_algorithms(False)
    assert tracec.get_deterministic_debug_mode() == 0


def test_precision_of_products():
    tracec.set_float32_matmul_precision("high")
    assert tracec.get_float32_matmul_precision() == "high"
    tracec.set_float32_matmul_precision("highest")
    with pytest.raises(ArgumentError, match="set_float32_matmul_precision: 'low' is not known"):
        tracec.set_float32_matmul_precision("low")
    assert tracec.set_flush_denormal(True) is False


def test_threads():
    before = tracec.get_num_threads()
    from tracec.runtime.threads import Asked, ThreadChoice

    try:
        tracec.set_num_threads(3)
        assert tracec.get_num_threads() == 3
        choice = ThreadChoice(2)
        assert [choice.next() for _ in range(20)] == [3] * 20
        choice.note(3, 0.5)
        tracec.set_num_interop_threads(2)
        assert tracec.get_num_interop_threads() == 2
    finally:
        Asked.count = None
    assert tracec.get_num_threads() == before >= 1 and choice.next() == 2
    for wrong, error in ((0, ArgumentError), (1.5, ArgumentTypeError)):
        with pytest.raises(error, match="set_num_threads"):
            tracec.set_num_threads(wrong)


def test_backends():
    cudnn = tracec.backends.cudnn
    cudnn.benchmark = True
    with cudnn.flags(enabled=False, deterministic=True):
        assert cudnn.deterministic and not cudnn.enabled and not cudnn.benchmark
    assert cudnn.benchmark and cudnn.enabled and not cudnn.deterministic and cudnn.version() is None
    cudnn.benchmark = False
    assert not cudnn.is_available() and not tracec.backends.mps.is_available()
    tracec.backends.cuda.matmul.allow_tf32 = True
    tracec.backends.cuda.matmul.allow_tf32 = False
    with tracec.backends.cuda.sdp_kernel(enable_flash=False):
        assert not tracec.backends.cuda.flash_sdp_enabled()
    assert tracec.backends.cuda.flash_sdp_enabled()


def test_the_accelerator():
    there = tracec.cuda.is_available()
    assert tracec.accelerator.is_available() is there
    assert tracec.accelerator.current_accelerator() == ("cuda" if there else None)
    assert tracec.accelerator.device_count() == tracec.cuda.device_count()


def test_random_state_is_forked():
    tracec.random.manual_seed(3)
    with tracec.random.fork_rng():
        a = tracec.rand(3)
        tracec.manual_seed(9)
    assert tracec.rand(3).equal(a) and tracec.random.initial_seed() == 3
    with tracec.random.fork_rng(enabled=False):
        b = tracec.rand(3)
    assert not tracec.rand(3).equal(b)


def test_functions_that_are_methods_first():
    x = tracec.tensor([4.0, 9.0])
    assert tracec.clone(x).equal(x) and tracec.sqrt_(x) is x and x.tolist() == [2, 3]
    assert tracec.fill(x, 1).tolist() == [1, 1] and x.tolist() == [2, 3] and tracec.zero_(x).tolist() == [0, 0]
    assert tracec.is_signed(x) and tracec.is_nonzero(tracec.tensor(1)) and not tracec.detach(x).requires_grad
    assert "sqrt_" in dir(tracec) and tracec.sqrt_.__name__ == "sqrt_"
    with pytest.raises(TypeError, match="sqrt_: input must be a tensor, list given"):
        tracec.sqrt_([1.0])


def test_what_a_function_asks_of_the_compiler():
    seen = []

    def f(x):
        seen.append(tracec.compiler.is_compiling())
        return x + 1

    tracec.compile(f)(tracec.ones(2))
    f(tracec.ones(2))
    assert seen == [True, False] and not tracec.compiler.is_exporting()
    tracec.compiler.cudagraph_mark_step_begin()


@pytest.mark.skipif(tracec.cuda.is_available(), reason="tells what is said where there is no GPU")
def test_random_state_of_devices_where_there_are_none():
    assert tracec.cuda.get_rng_state_all() == [] and not tracec.cuda.is_bf16_supported()
    tracec.cuda.set_rng_state_all([])
    tracec.cuda.seed()
    tracec.cuda.seed_all()


def summed(rows, index):
    return tracec.zeros(5, 3, dtype=rows.dtype).index_add(0, index, rows)


def gradient(weight, index):
    return tracec.autograd.grad(tracec.nn.functional.embedding(index, weight).square().sum(), (weight,))[0]


@needs_compiler
@pytest.mark.parametrize("function", [summed, gradient])
def test_sums_in_any_order_must_be_asked_for(restored, function):
    rows = tracec.rand(5 if function is gradient else 99, 3, requires_grad=function is gradient)
    index = tracec.randint(0, 5, (99,))
    expected = function(rows, index).numpy()
    compiled = tracec.compile(function, target="cuda", launcher="emulator")
    for mode in (None, False, True, False):
        if mode is not None:
            tracec.use_deterministic_algorithms(mode)
        for _ in range(2):
            np.testing.assert_allclose(compiled(rows, index).numpy(), expected, rtol=1e-5)
        stages = compiled.lower(rows, index, target="cuda").stages
        assert (") atomic {" in stages["kernels"]) is (mode is False)
        assert ("atomicAdd(&y" in stages["source"]) is (mode is False)  # what sorts counts by others
        assert "atomic" not in compiled.lower(rows, index, target="cpu").stages["kernels"]
    recordings = compiled.explain().recordings
    assert [str(c) for c in recordings[1].changes] == ["sums: in a fixed order -> in any order"] and len(
        recordings
    ) == 2


@needs_compiler
def test_one_function_may_add_in_any_order():
    compiled = tracec.compile(summed, target="cuda", launcher="emulator", disable={"deterministic"})
    rows, index = tracec.rand(99, 3), tracec.randint(0, 5, (99,))
    assert ") atomic {" in compiled.lower(rows, index, target="cuda").stages["kernels"]
    halves = compiled.lower(rows.bfloat16(), index, target="cuda").stages["kernels"]  # whose sums are float32
    assert ") scatter {" in halves and "atomic" not in halves


def test_functions_that_are_not_to_be_compiled_are_recorded_as_they_are_written():
    @tracec.compiler.disable
    def twice(x):
        return x * 2

    @tracec.compiler.disable(reason="it is short")
    @tracec.compile
    def once(x):
        return x + 1

    compiled = tracec.compile(lambda x: once(twice(x)))
    x = tracec.ones(2)
    assert [compiled(x).tolist() for _ in range(3)] == [[3.0, 3.0]] * 3
    assert isinstance(once, types.FunctionType)


def test_what_was_recorded_is_forgotten():
    class Model:
        @tracec.compile
        def method(self, x):
            return x + 1

    @tracec.compile
    def f(x):
        return x * 2

    model, x = Model(), tracec.ones(2)
    for call in (f, model.method):
        call(x), call(x)
        assert "1 specialisation" in repr(call)
    tracec.compiler.reset()
    for call in (f, model.method):
        assert "0 specialisations" in repr(call)
        assert call(x).tolist() == [2.0, 2.0] and call(x).tolist() == [2.0, 2.0]
        assert "1 specialisation" in repr(call)
    assert "inductor" in tracec.compiler.list_backends()
