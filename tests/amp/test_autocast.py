"""Which functions compute in which type while autocast is on."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tracec import nn
from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.ir import dtype as dt
from tracec.nn import functional as F
from tracec.transform.autocast import autocast as of_graph

x, w, b = tracec.randn(4, 6), tracec.randn(6, 6), tracec.randn(6)
image, kernel = tracec.randn(2, 3, 8, 8), tracec.randn(5, 3, 3, 3)

NARROW = {
    "matmul": lambda m: x @ w,
    "mm": lambda m: tracec.mm(x, w),
    "linear": lambda m: F.linear(x, w, b),
    "addmm": lambda m: tracec.addmm(b, x, w),
    "conv2d": lambda m: F.conv2d(image, kernel),
    "attention": lambda m: F.scaled_dot_product_attention(x[None], x[None], x[None]),
    "module": lambda m: nn.Linear(6, 3)(x),
    "of_halves": lambda m: (x @ w) @ w,
}
WIDE = {
    "exp": lambda m: tracec.exp(x @ w),
    "softmax": lambda m: F.softmax(x @ w, dim=-1),
    "sum": lambda m: (x @ w).sum(),
    "mse": lambda m: F.mse_loss(x @ w, x @ w),
    "cross_entropy": lambda m: F.cross_entropy(x @ w, tracec.zeros(4, dtype=tracec.int64)),
    "layer_norm": lambda m: F.layer_norm(x @ w, (6,)),
    "untouched": lambda m: x + 1,
    "cat": lambda m: tracec.cat([x @ w, x]),
}


@pytest.mark.parametrize("name", NARROW)
def test_products_compute_in_sixteen_bits(name):
    for dtype in (tracec.bfloat16, tracec.float16):
        with tracec.autocast("cpu", dtype=dtype):
            assert NARROW[name](None).dtype is dtype
    assert NARROW[name](None).dtype is tracec.float32


@pytest.mark.parametrize("name", WIDE)
def test_delicate_functions_compute_in_float32(name):
    with tracec.autocast("cpu"):
        assert WIDE[name](None).dtype is tracec.float32


def test_what_passes_types_on():
    with tracec.autocast("cpu"):
        assert F.relu(x @ w).dtype is tracec.bfloat16
        assert (x.double() @ w.double()).dtype is tracec.float64
        assert (tracec.ones(2, 2, dtype=tracec.int64) @ tracec.ones(2, 2, dtype=tracec.int64)).dtype is tracec.int64


def test_it_nests_and_ends_and_is_for_one_kind_of_device():
    with tracec.autocast("cpu", dtype=tracec.float16):
        with tracec.autocast("cpu", enabled=False):
            assert (x @ w).dtype is tracec.float32
        with tracec.autocast("cuda"):
            assert (x @ w).dtype is tracec.float16
        assert tracec.is_autocast_enabled("cpu") and not tracec.is_autocast_enabled("cuda")
        assert tracec.is_autocast_cpu_enabled() and tracec.get_autocast_cpu_dtype() is tracec.float16
        tracec.clear_autocast_cache()
    assert not tracec.is_autocast_cpu_enabled() and tracec.get_autocast_cpu_dtype() is tracec.bfloat16
    assert tracec.get_autocast_gpu_dtype() is tracec.float16 and tracec.is_autocast_cache_enabled()
    with tracec.autocast("cuda"):
        assert (x @ w).dtype is tracec.float32
    with pytest.raises(KeyError), tracec.autocast("cpu"):
        raise KeyError
    assert not tracec.is_autocast_enabled("cpu")

    @tracec.autocast("cpu")
    def f(a):
        return a @ w

    assert f(x).dtype is tracec.bfloat16


def test_gradients_have_the_types_of_the_parameters():
    layer = nn.Linear(6, 3)
    with tracec.autocast("cpu"):
        loss = layer(x).square().sum()
    loss.backward()
    assert layer.weight.grad.dtype is tracec.float32
    exact = nn.Linear(6, 3)
    exact.load_state_dict(layer.state_dict())
    exact(x).square().sum().backward()
    # Operands, results and their gradients are rounded to bfloat16, which has 8 bits, term by term.
    sizes = np.abs(x.numpy()) @ np.abs(exact.weight.detach().numpy()).T + np.abs(exact.bias.detach().numpy())
    terms = 2 * sizes.T @ np.abs(x.numpy())
    apart = np.abs(layer.weight.grad.numpy() - exact.weight.grad.numpy())
    assert (apart <= 2.0**-6 * terms).all() and apart.max() > 0


def test_compiled_functions_hang_on_it():
    f = tracec.compile(lambda a: F.softmax(a @ w, dim=-1) @ w)
    for _ in range(3):
        assert f(x).dtype is tracec.float32
        with tracec.autocast("cpu"):
            found = f(x)
            assert found.dtype is tracec.bfloat16
            expected = f.fn(x)
        np.testing.assert_allclose(found.float().numpy(), expected.float().numpy(), rtol=0.02, atol=0.02)
    assert "2 specialisations" in repr(f)


def test_inside_of_a_compiled_step():
    def make():
        tracec.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6))
        optimizer = tracec.optim.AdamW(model.parameters(), lr=1e-2)

        def step(a):
            optimizer.zero_grad()
            with tracec.autocast("cpu"):
                loss = F.mse_loss(model(a), a)
            loss.backward()
            optimizer.step()
            return loss

        return step

    eager, compiled = make(), tracec.compile(make())
    for _ in range(5):
        assert float(compiled(x)) == pytest.approx(float(eager(x)), rel=0.02)
    assert "1 specialisation" in repr(compiled)


def test_of_a_graph():
    graph = tracec.trace(lambda a: F.softmax(a @ w, dim=-1), x)
    narrow = of_graph(graph)
    (dot,) = [n for n in narrow.nodes if n.op.name == "dot"]
    assert dot.dtype is dt.bfloat16 and narrow.outputs[0].type == graph.outputs[0].type
    assert of_graph(narrow) is narrow
    with pytest.raises(ArgumentError, match="float16 or bfloat16"):
        of_graph(graph, dt.float32)


def test_errors():
    with pytest.raises(ArgumentError, match="unsupported autocast device_type"):
        tracec.autocast("tpu")
    with pytest.raises(ArgumentTypeError, match="type `str`"):
        tracec.autocast(0)
    with pytest.raises(ArgumentTypeError, match="float16 or bfloat16"):
        tracec.autocast("cpu", dtype=tracec.float32)


TORCH = [
    ("linear", lambda m, a, c: m.nn.functional.linear(a, c)),
    ("matmul", lambda m, a, c: a @ c),
    ("add", lambda m, a, c: a + c),
    ("relu", lambda m, a, c: m.relu(a)),
    ("stack", lambda m, a, c: m.stack([a, c])),
    ("bmm", lambda m, a, c: m.bmm(a[None], c[None])),
    ("mse", lambda m, a, c: m.nn.functional.mse_loss(a, c)),
    ("tanh", lambda m, a, c: m.tanh(a @ c)),
]


@pytest.mark.parametrize("name, function", TORCH, ids=[n for n, _ in TORCH])
def test_types_are_pytorchs(name, function):
    torch = pytest.importorskip("torch")
    a = np.ones((4, 4), np.float32)
    found = []
    for module in (tracec, torch):
        with module.autocast("cpu", dtype=module.bfloat16):
            found.append(str(function(module, module.from_numpy(a), module.from_numpy(a)).dtype).rpartition(".")[2])
    assert found[0] == found[1]


def test_functions_of_ones_own():
    class Double(tracec.autograd.Function):
        @staticmethod
        @tracec.amp.custom_fwd(device_type="cpu", cast_inputs=tracec.float32)
        def forward(ctx, a):
            assert a.dtype is tracec.float32 and not tracec.is_autocast_enabled("cpu")
            return a * 2

        @staticmethod
        @tracec.amp.custom_bwd(device_type="cpu")
        def backward(ctx, grad):
            return grad * 2

    a = tracec.randn(3, requires_grad=True)
    with tracec.autocast("cpu"):
        Double.apply(a).sum().backward()
    assert a.grad.tolist() == [2, 2, 2]
