"""Random numbers are the same bits eagerly, as generated C and as CUDA's kernels: by seed, draw and element."""

from __future__ import annotations

import ctypes
import re
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest

import tracec
from tests.codegen.kernels import read_kernel
from tests.codegen.plans import plan_of
from tracec import build, nn
from tracec.codegen.c import render
from tracec.ir import exact
from tracec.runtime.compiler import find_compiler
from tracec.runtime.cpu import _host
from tracec.runtime.executable import Executable

F, D = nn.functional, tracec.distributions
WEIGHTS = tracec.arange(1.0, 18.0)
X = tracec.tensor(np.random.default_rng(0).standard_normal(100).astype(np.float32))


def bits(x):
    """Draws that are made of random words by exact steps."""
    return (
        tracec.rand(37), tracec.rand(2, 3, dtype=tracec.float64), tracec.rand(5, dtype=tracec.float16),
        tracec.randint(-5, 1000, (101,)), tracec.randperm(53), tracec.multinomial(WEIGHTS, 5),
        tracec.multinomial(x.abs().reshape(2, 50), 99, replacement=True), tracec.multinomial(x.abs(), 90),
        tracec.poisson(x.abs()), tracec.binomial(tracec.full((100,), 9.0), x.abs().clamp(max=1.0)),
        tracec.bernoulli(tracec.full((101,), 0.3)), x.abs().clamp(max=1.0).bernoulli(),
        F.dropout(x, 0.3), F.dropout2d(x.reshape(1, 4, 5, 5), 0.5), F.alpha_dropout(x, 0.3), tracec.rand_like(x),
        x.clone().bernoulli_(0.7), x.clone().geometric_(0.3), x.clone().random_(0, 100), tracec.rand(0),
        tracec.rand(()), tracec.distributions.Categorical(logits=WEIGHTS).sample((20,)),
    )  # fmt: skip


def real(x):
    """Draws of real numbers, by formulas whose every step is exact to the bit."""
    return (
        tracec.randn(1001), tracec.randn(3, 5, 7), tracec.randn(0), tracec.randn(()), tracec.randn(1),
        tracec.randn_like(x), tracec.normal(x, x.abs()), tracec.normal(0.3, x.abs()), tracec.normal(1.0, 2.0, (9,)),
        x.clone().normal_(1.1, 2.3), x.clone().uniform_(-2.1, 3.3), x.clone().exponential_(),
        x.clone().exponential_(0.3), F.rrelu(x, training=True),
        nn.init.trunc_normal_(x.clone(), 0.1, 1.3), nn.init.kaiming_normal_(x.reshape(10, 10).clone()),
        x.clone().cauchy_(0.1, 1.3), F.gumbel_softmax(x.reshape(10, 10), 0.7, hard=True).detach().round(),
        D.Normal(x, 0.7).rsample((3,)), D.Uniform(x, x + 1.3).rsample(), D.Exponential(x.abs() + 0.1).rsample(),
        D.Gumbel(x, 1.3).rsample(), D.Cauchy(x, 1.3).sample((2,)), D.Poisson(x.abs()).sample(),
        nn.init.xavier_uniform_(x.reshape(10, 10).clone()), nn.init.sparse_(x.reshape(10, 10).clone(), 0.3),
    )  # fmt: skip


def typed(x):
    """The same in other dtypes."""
    found = []
    for dtype in (tracec.float64, tracec.float16, tracec.bfloat16, tracec.complex64):
        y = x.to(dtype)
        found += [tracec.randn(1001, dtype=dtype), tracec.randn(5, dtype=dtype), tracec.normal(y, 1.3)]
        found += [y.clone().normal_(1.1, 2.3), tracec.rand(77, dtype=dtype), y.clone().uniform_(-2.1, 3.3)]
        if not dtype.is_complex:
            found += [
                y.clone().exponential_(0.7),
                y.clone().cauchy_(),
                y.clone().geometric_(0.2),
                nn.init.trunc_normal_(y.clone()),
            ]
    return [f.view(tracec.int16) if f.dtype is tracec.bfloat16 else f for f in found]


def rounded(x):
    """Draws through functions that libraries round each in their own way."""
    return F.gumbel_softmax(x), x.clone().log_normal_(), D.StudentT(x.abs() + 1.0).rsample(), D.Laplace(x, 2.0).sample()


def drawn(function, wrap):
    """Three calls from one seed, and the state that they leave."""
    run = wrap(function)
    tracec.manual_seed(3)
    calls = [[np.array(t.numpy()) for t in run(X)] for _ in range(3)]
    return calls, tracec.get_rng_state().tolist(), run


PLACES = {
    "cpu": tracec.compile,
    "emulator": lambda f: tracec.compile(f, target="cuda", launcher="emulator"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("function", [bits, real, typed, rounded])
def test_draws_are_as_eager(function, place):
    expected, state, _ = drawn(function, lambda f: f)
    found, left, compiled = drawn(function, PLACES[place])
    assert left == state
    for k, (a, b) in enumerate(zip(expected, found, strict=True)):
        for i, (e, f) in enumerate(zip(a, b, strict=True)):
            if function is not rounded:
                assert f.dtype == e.dtype and f.tobytes() == e.tobytes(), (k, i)
            else:
                np.testing.assert_allclose(f, e, rtol=3e-6, atol=1e-6)
    (specialisation,) = compiled.explain().specialisations
    assert specialisation.compiled and specialisation.hits == 2


@pytest.mark.parametrize("function", [bits, real, typed])
def test_draws_without_a_compiler(function, monkeypatch, tmp_path):
    expected, state, _ = drawn(function, lambda f: f)
    monkeypatch.setattr(build, "_warned_fallback", True)
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRACEC_CC", "/no/such/compiler")
    found, left, _ = drawn(function, tracec.compile)
    assert left == state
    assert [[f.tobytes() for f in a] for a in found] == [[e.tobytes() for e in a] for a in expected]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 63, 64, 65, 1027, 70_001])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sizes(size, dtype):
    """Strips, packs, their rests and several threads; more elements leave the first ones."""
    dtype = getattr(tracec, dtype)
    tracec.manual_seed(8)
    expected = [tracec.randn(size, dtype=dtype).numpy() for _ in range(2)]
    tracec.manual_seed(8)
    run = tracec.compile(lambda: tracec.randn(size, dtype=dtype))
    assert [run().numpy().tobytes() for _ in range(2)] == [e.tobytes() for e in expected]
    tracec.manual_seed(8)
    assert tracec.randn(70_005, dtype=dtype).numpy()[:size].tobytes() == expected[0].tobytes()


def test_threads_with_generators_of_their_own():
    run = tracec.compile(lambda g: tracec.randn(501, generator=g) + F.dropout(X, 0.5).sum() * 0)
    found = {}

    def draw(seed):
        generator = tracec.Generator().manual_seed(seed)
        found[seed] = [run(generator).numpy().tobytes() for _ in range(20)]

    draw(99), draw(98)
    threads = [threading.Thread(target=draw, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for seed, calls in found.items():
        generator = tracec.Generator().manual_seed(seed)
        assert calls == [(tracec.randn(501, generator=generator) + 0.0).numpy().tobytes() for _ in range(20)], seed


def test_a_draw_hangs_on_seed_number_and_element_alone():
    compiled = tracec.compile(lambda x: x + tracec.rand(5))
    zero = tracec.zeros(5)
    tracec.manual_seed(11)
    alone = [compiled(zero).tolist() for _ in range(3)]
    tracec.manual_seed(11)
    mixed = [(compiled(zero) if k % 2 else tracec.rand(5)).tolist() for k in range(3)]
    assert mixed == alone
    tracec.manual_seed(11)
    assert tracec.rand(9).tolist()[:5] == alone[0]  # more elements leave the first ones
    other = tracec.Generator().manual_seed(11)
    assert tracec.rand(5, generator=other).tolist() == alone[0]


def test_the_state_can_be_kept_and_set_between_calls():
    compiled = tracec.compile(lambda x: F.dropout(x, 0.5))
    compiled(X), compiled(X)
    state = tracec.get_rng_state()
    first = [compiled(X).tolist() for _ in range(3)]
    tracec.set_rng_state(state)
    assert [compiled(X).tolist() for _ in range(3)] == first
    with tracec.random.fork_rng():
        compiled(X)
    tracec.set_rng_state(state)
    with tracec.random.fork_rng():
        assert compiled(X).tolist() == first[0]
    assert compiled(X).tolist() == first[0]


def test_draws_in_a_batch_of_calls_are_apart():
    tracec.manual_seed(5)
    draws = tracec.rand(1000)
    assert len(set(draws.tolist())) > 990
    tracec.manual_seed(5)
    compiled = tracec.compile(lambda: tracec.rand(1000))
    assert compiled().tolist() == draws.tolist()
    assert not set(compiled().tolist()) & set(draws.tolist()[:50])


# What the comparisons above find ----------------------------------------------------------------------


def normal_bits(wrap):
    tracec.manual_seed(3)
    run = wrap(lambda: tracec.randn(1001))
    return [run().numpy().tobytes() for _ in range(3)]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("table, position", [("above", 0), ("above", 3), ("below", 1), ("below", 3), ("atanh", 0)])
def test_a_coefficient_that_differs_is_found(place, table, position, monkeypatch):
    compiled = normal_bits(PLACES[place])
    assert compiled == normal_bits(lambda f: f)
    numbers = list(getattr(exact._SINGLE, table))
    numbers[position] *= 1.0001
    monkeypatch.setattr(exact, "_SINGLE", replace(exact._SINGLE, **{table: tuple(numbers)}))
    assert compiled != normal_bits(lambda f: f)


VARIATES = """kernel variates(x: in {word}[4096], y: out {real}[4096], z: out {real}[4096], w: out {real}[4096]) map {{
  for i in 4096 parallel {{
    store y[i] = normal_variate(x[i], {real})
    store z[i] = exponential_variate(x[i], {real})
    store w[i] = add(rounded_mul(normal_variate(x[i], {real}), {real}(1.3)), {real}(0.7))
  }}
}}"""


def from_source(change, word="u32", real="f32"):
    """What a kernel of variates gives once its C has been changed."""
    plan = plan_of([read_kernel(VARIATES.format(word=word, real=real))])
    program, compiler = render(plan), find_compiler()
    units = [change(u) for u in program.units]
    library = ctypes.CDLL(str(compiler.shared_object(units)))
    chosen = np.random.default_rng(0).integers(0, 1 << int(word[1:]), 4096, f"u{int(word[1:]) // 8}")
    found = Executable(plan, library, program.parts, _host(compiler))([chosen])
    normal = exact.normal(np, chosen)
    number = normal.dtype.type
    expected = [normal, exact.exponential(np, chosen), normal * number(1.3) + number(0.7)]
    return [f.tobytes() == e.tobytes() for f, e in zip(found, expected, strict=True)]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize("word, real", [("u32", "f32"), ("u64", "f64")])
def test_products_are_not_fused_with_sums_in_c(word, real):
    assert from_source(lambda text: text, word, real) == [True] * 3
    fused = from_source(lambda text: re.sub(r"return a \* b \+ no_change_f..;", "return a * b;", text), word, real)
    with open("/proc/cpuinfo") as file:
        can_fuse = "fma" in file.read()
    assert fused == [not can_fuse] * 3


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_integers_of_64_bits_that_are_converted_by_halves():
    test = "#if __x86_64__ && !__AVX512DQ__"
    texts = []

    def change(text):
        texts.append(text)
        return text.replace(test, "#if 1" if len(texts) % 2 else "#if 0")

    for _ in range(2):
        assert from_source(change, "u64", "f64") == [True] * 3
    assert all(test in text for text in texts)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_are_not_fused_with_sums_in_cuda(dtype):
    """Divisions and roots are sequences of the assembler's, which come later."""
    nvrtc = pytest.importorskip("cupy.cuda").nvrtc
    lowered = tracec.compile(lambda: tracec.randn(1000, dtype=getattr(tracec, dtype))).lower(
        target="cuda", arch="sm_90"
    )
    text = str(lowered.kernels[0])

    def fused(source):
        program = nvrtc.createProgram(source, "k.cu", [], [])
        nvrtc.compileProgram(program, ("--std=c++17", "--fmad=true", "--gpu-architecture=compute_90"))
        return nvrtc.getPTX(program).count(b"fma.rn.f")

    assert fused(text) == 0
    assert fused(text.replace("__fmul_rn(", "times(").replace("__dmul_rn(", "times(").replace(
        "// N neighbouring", "template <typename T> __device__ T times(T a, T b) { return a * b; }\n// N neighbouring"
    )) > 20  # fmt: skip


def test_registers_of_the_kernel_for_a_gpu():
    pytest.importorskip("cupy.cuda")
    # The count of draws rides on so small a launch, and takes registers that are of no matter there.
    alone = tracec.compile(lambda: tracec.randn(1000), disable=["join"])
    kernel = alone.lower(target="cuda", arch="sm_90").kernels[0]
    assert kernel.resources.registers <= 40 and kernel.resources.stack_bytes == 0
    assert "double" not in str(kernel)
