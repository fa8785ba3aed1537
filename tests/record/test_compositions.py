"""Compositions that run at once: the same values, gradients and errors as operator by operator."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracec
import tracec.nn.functional as F
from tracec import ops
from tracec.ir.operator import OPERATORS
from tracec.ops.arrays import SILENT
from tracec.record import steps
from tracec.record.compositions import FusedUpdate

loss = importlib.import_module("tracec.functions.loss")


def numbers(*shape: int, seed: int = 0, dtype: Any = np.float32) -> Any:
    return tracec.tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on nothing runs at once."""
    monkeypatch.setattr("tracec.record.compositions._nobody_asks", lambda: False)


def python_calls(run: Callable[[], Any]) -> int:
    made = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal made
        made += event == "call"

    sys.setprofile(count)
    try:
        run()
    finally:
        sys.setprofile(None)
    return made


SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45, 3e38], np.float32)
CLASSES = tracec.tensor([1, 0, 3, -100, 2])
CASES = {
    "relu": lambda x, w, b: F.relu(x),
    "leaky relu": lambda x, w, b: F.leaky_relu(x),
    "clamp": lambda x, w, b: x.clamp(-0.5, 1),
    "hard swish": lambda x, w, b: F.hardswish(x),
    "log_softmax": lambda x, w, b: F.log_softmax(x, 1),
    "softmax over rows": lambda x, w, b: F.log_softmax(x, dim=0),
    "gelu": lambda x, w, b: F.gelu(x),
    "gelu by tanh": lambda x, w, b: F.gelu(x, approximate="tanh"),
    "silu": lambda x, w, b: F.silu(x),
    "cross entropy": lambda x, w, b: F.cross_entropy(x, CLASSES),
    "of a sum": lambda x, w, b: F.cross_entropy(x, CLASSES, reduction="sum"),
    "of each": lambda x, w, b: F.cross_entropy(x, CLASSES, reduction="none"),
    "smoothed": lambda x, w, b: F.cross_entropy(x, CLASSES, label_smoothing=0.2),
    "weighted": lambda x, w, b: F.cross_entropy(x, CLASSES, weight=b[:4] ** 2),
    "another ignored": lambda x, w, b: F.nll_loss(x, tracec.tensor([1, 0, 3, 3, 2]), ignore_index=3),
    "linear": lambda x, w, b: F.linear(x, w, b),
    "linear without bias": lambda x, w, b: F.linear(x, w),
    "linear of one bias": lambda x, w, b: F.linear(x, w, b[:1]),
    "linear of rows of rows": lambda x, w, b: F.linear(x.reshape(1, 5, 4), w, b),
    "linear of one row": lambda x, w, b: F.linear(x[0], w, b),
    "layer norm": lambda x, w, b: F.layer_norm(x, (4,)),
    "layer norm, scaled": lambda x, w, b: F.layer_norm(x, (4,), weight=w[0]),
    "layer norm, moved": lambda x, w, b: F.layer_norm(x, (5, 4), bias=w[:5]),
    "layer norm, scaled and moved": lambda x, w, b: F.layer_norm(x.reshape(5, 1, 4), (1, 4), w[:1], w[1:2]),
    "batch norm": lambda x, w, b: F.batch_norm(x, None, None, w[0], w[1], training=True),
}


def results(run: Any, dtype: Any) -> tuple[Any, list[Any]]:
    leaves = [numbers(*shape, seed=k, dtype=dtype).requires_grad_() for k, shape in enumerate([(5, 4), (6, 4), (6,)])]
    out = run(*leaves)
    out.backward(numbers(*out.shape, seed=9, dtype=dtype))
    return out, [x.grad for x in leaves]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name: str, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found, gradients = results(CASES[name], dtype)
    one_by_one(monkeypatch)
    expected, wanted = results(CASES[name], dtype)
    assert found.numpy(force=True).tobytes() == expected.numpy(force=True).tobytes()
    assert (found.dtype, found.stride(), found.is_leaf) == (expected.dtype, expected.stride(), expected.is_leaf)
    tolerance = {np.float16: 1e-2, np.float32: 1e-5, np.float64: 1e-12}[dtype]
    for g, want in zip(gradients, wanted, strict=True):
        assert (g is None) == (want is None)
        if g is not None:
            np.testing.assert_allclose(g.numpy(), want.numpy(), rtol=tolerance, atol=tolerance)
            assert g.stride() == want.stride()


@pytest.mark.parametrize("shape", [(7, 4), (3, 4, 5), (4,)])
@pytest.mark.parametrize("weighted", [False, True])
def test_classes_of_many_elements_are_read_alone(shape: Any, weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracec.functions.loss._MANY", 1)
    places = shape[:1] + shape[2:] if len(shape) > 1 else ()
    classes = tracec.tensor(np.random.default_rng(0).integers(0, 4, places))
    if places:
        classes[-1] = -100
    options = {"weight": numbers(4) ** 2 if weighted else None, "label_smoothing": 0.1}

    def found(reduction: str) -> Any:
        x = numbers(*shape).requires_grad_()
        y = F.nll_loss(-(x**2), classes, options["weight"], reduction=reduction)
        z = F.cross_entropy(x, classes, **options, reduction=reduction)
        (y.sum() + z.sum()).backward()
        return y.numpy(force=True).tobytes(), z.numpy(force=True).tobytes(), x.grad.numpy()

    loss._of_classes._calls.clear()
    for reduction in ("mean", "sum", "none"):
        at_once = found(reduction)
        with monkeypatch.context() as m:
            m.setattr("tracec.record.compositions._nobody_asks", lambda: False)
            expected = found(reduction)
        assert at_once[:2] == expected[:2]
        np.testing.assert_allclose(at_once[2], expected[2], rtol=1e-5, atol=1e-6)
    read = [
        n.op.name for call in loss._of_classes._calls.values() for p in call.pullbacks.values() for n in p.graph.nodes
    ]
    assert "index_put" in read
    loss._of_classes._calls.clear()


def test_special_values(monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> list[bytes]:
        x = tracec.tensor(SPECIAL).requires_grad_()
        y = F.relu(x)
        y.backward(tracec.tensor(SPECIAL[::-1].copy()))
        return [
            y.numpy(force=True).tobytes(),
            x.grad.numpy().tobytes(),
            F.log_softmax(x, 0).numpy(force=True).tobytes(),
        ]

    at_once = found()
    one_by_one(monkeypatch)
    assert at_once == found()


FUNCTIONS_OF_ARRAYS = {
    "relu": F.relu,
    "relu6": F.relu6,
    "hardtanh, the upper bound 0": lambda x: F.hardtanh(x, -1.0, 0.0),
    "hardtanh, the bounds -0": lambda x: F.hardtanh(x, -0.0, 0.0),
    "leaky_relu": F.leaky_relu,
    "leaky_relu, nothing left": lambda x: F.leaky_relu(x, 0.0),
    "leaky_relu, turned": lambda x: F.leaky_relu(x, -0.5),
    "leaky_relu, steeper": lambda x: F.leaky_relu(x, 1.5),
    "clamp": lambda x: x.clamp(-1, 1),
    "clamp below": lambda x: x.clamp(min=0.0),
    "clamp above": lambda x: x.clamp(max=-0.0),
    "clamp, the wrong way round": lambda x: x.clamp(2.0, -1.0),
}


@pytest.mark.parametrize("name", FUNCTIONS_OF_ARRAYS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_functions_of_arrays_give_the_bits_and_the_layout_of_operators(
    name: str, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with np.errstate(over="ignore"):
        every = np.resize(np.concatenate([SPECIAL, [-1e-45, 6.0, -3e38]]), (20, 30, 40)).astype(dtype)
    layouts = [every, every.transpose(2, 0, 1), every[::2], every[:, 3:, ::3], every[0, 0, 1], every[:0], every[0, 0]]

    def found() -> list[Any]:
        results = []
        for given in layouts:
            x = tracec.from_numpy(np.array(given, order="K")).requires_grad_()
            y = FUNCTIONS_OF_ARRAYS[name](x)
            y.backward(tracec.from_numpy(np.resize(every[0, 0, ::-1], y.shape)))
            results += [(a.tobytes(), a.strides) for a in (y.numpy(force=True), x.grad.numpy())]
        return results

    at_once = found()
    one_by_one(monkeypatch)
    assert at_once == found()


def test_bounds_beyond_the_type_are_infinite_and_nothing_is_said() -> None:
    x = tracec.tensor(SPECIAL).requires_grad_()
    y = x.clamp(-1e300, 1e300)
    y.sum().backward()
    assert y.numpy(force=True).tobytes() == SPECIAL.tobytes() and x.grad.tolist() == [1.0] * SPECIAL.size


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_statistics_that_batches_move(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> list[bytes]:
        kept = [numbers(3, seed=k, dtype=dtype) for k in range(2)]
        for k in range(3):
            F.batch_norm(numbers(4, 3, 2, seed=k, dtype=dtype), *kept, training=True, momentum=0.3)
        return [*(x.numpy().tobytes() for x in kept), *(x._version for x in kept)]

    at_once = found()
    one_by_one(monkeypatch)
    assert at_once == found()


@pytest.mark.parametrize(
    "run",
    [
        lambda x, eps: F.layer_norm(x, (4,), eps=eps),
        lambda x, eps: F.batch_norm(x, None, None, None, None, True, 0.1, eps),
        lambda x, smoothing: F.cross_entropy(x, CLASSES, label_smoothing=smoothing),
    ],
)
def test_numbers_in_tensors_that_are_written(run: Any) -> None:
    x, number = numbers(5, 4), tracec.tensor(1e-5)
    run(x, number)
    number.fill_(0.5)
    np.testing.assert_allclose(run(x, number).numpy(), run(x, 0.5).numpy(), rtol=1e-6)


def test_it_is_one_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    x = numbers(5, 4).requires_grad_()
    assert [F.relu(x).grad_fn.name(), F.log_softmax(x, 1).grad_fn.name()] == ["ReluBackward0", "LogSoftmaxBackward0"]
    assert F.layer_norm(x, (4,)).grad_fn.name() == "NativeLayerNormBackward0"
    assert F.linear(x.reshape(5, 1, 4), x).grad_fn.name() == "ViewBackward0"  # as PyTorch, which folds rows together
    assert F.linear(x, x, x[:, 0]).grad_fn.name() == "AddmmBackward0"
    loss = F.cross_entropy(x, CLASSES)
    assert loss.grad_fn.next_functions[0][0].name() == "LogSoftmaxBackward0"
    assert "test_compositions.py" in str(loss.grad_fn.metadata["source"])

    def calls() -> list[int]:
        for _ in range(2):
            found = [python_calls(lambda: F.cross_entropy(x, CLASSES)), python_calls(lambda: F.relu(x))]
        return found

    at_once = calls()
    one_by_one(monkeypatch)
    losses, rectified = calls()
    assert at_once[0] < 0.5 * losses and at_once[1] < rectified


def test_names_are_those_of_compiled_functions_too() -> None:
    x = numbers(5, 4).requires_grad_()
    for fn in (F.relu, lambda x: F.linear(x, x), lambda x: F.log_softmax(x, 1), lambda x: F.cross_entropy(x, CLASSES)):
        compiled = tracec.compile(fn)
        names = [compiled(x).grad_fn.name() for _ in range(3)]
        assert names == [fn(x).grad_fn.name()] * 3
    with tracec.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x):
        assert F.linear(x, x).grad_fn.name() == "MmBackward0"


def test_gradients_of_gradients() -> None:
    def second(x: Any) -> Any:
        (g,) = tracec.autograd.grad(
            F.cross_entropy(F.relu(F.linear(x, x[:4] * 2, x[0])), CLASSES), x, create_graph=True
        )
        return (g * g).sum()

    x = numbers(5, 4, dtype=np.float64).requires_grad_()
    (found,) = tracec.autograd.grad(second(x), x)
    for k in ((0, 0), (3, 2)):
        step = np.zeros((5, 4))
        step[k] = 1e-5
        up, down = (second(tracec.tensor(x.numpy(force=True) + s).requires_grad_()).item() for s in (step, -step))
        assert abs(found[k].item() - (up - down) / 2e-5) < 1e-6
    assert tracec.autograd.gradcheck(lambda x: F.cross_entropy(x, CLASSES), (x,))


def test_what_gradients_need_is_kept_from_writes() -> None:
    x, w = numbers(5, 4).requires_grad_(), numbers(6, 4, seed=1).requires_grad_()
    y = F.linear(x, w)
    before = w.detach().clone()
    with tracec.no_grad():
        w.mul_(3.0)
    y.sum().backward()
    assert np.allclose(x.grad.numpy(), np.broadcast_to(before.numpy().sum(0), (5, 4)), rtol=1e-5)
    z = numbers(4).requires_grad_()
    y = F.relu(z)
    with tracec.no_grad():
        y.zero_()
    y.sum().backward()
    assert (z.grad.numpy() == (z.numpy(force=True) > 0)).all()


def test_transforms_and_compiled_functions_see_the_operators() -> None:
    x, w = numbers(5, 4), numbers(6, 4, seed=1)

    def loss(w: Any) -> Any:
        return F.cross_entropy(F.relu(F.linear(x, w)), CLASSES % 6)

    value, tangent = tracec.func.jvp(loss, (w,), (w,))
    slope = (tracec.func.grad(loss)(w) * w).sum()
    assert np.allclose(tangent.item(), slope.item(), rtol=1e-4) and np.allclose(value.item(), loss(w).item(), rtol=1e-6)
    many = tracec.stack([w, w * 2])
    assert np.allclose(tracec.vmap(loss)(many).numpy(), [loss(w).item(), loss(w * 2).item()], rtol=1e-5)
    compiled = tracec.compile(loss)
    for _ in range(3):
        assert np.allclose(compiled(w).item(), loss(w).item(), rtol=1e-5)


def test_errors_come_at_the_operation() -> None:
    with pytest.raises(tracec.errors.AxisError, match=r"class 9 is out of bounds for 4 classes"):
        F.cross_entropy(numbers(5, 4), tracec.tensor([0, 9, 0, 0, 0]))
    with pytest.raises(tracec.errors.DTypeError):
        F.linear(numbers(5, 4), numbers(6, 4, dtype=np.float64))
    assert F.relu(tracec.tensor([-1, 2])).tolist() == [0, 2]


def test_the_profiler_names_compositions() -> None:
    x = numbers(5, 4)
    with tracec.profiler.profile() as profile:
        F.relu(x)
    assert "tracec::relu" in [e.key for e in profile.key_averages()]


# Steps -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", steps.UFUNCS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_of_numpys_are_the_operators_rules(name: str, dtype: Any) -> None:
    x = np.concatenate([SPECIAL.astype(dtype), np.random.default_rng(0).standard_normal(200).astype(dtype)])
    operands = [x, x[::-1].copy()][: OPERATORS[name].arity]
    out = np.empty_like(x)
    SILENT.copy().run(getattr(np, steps.UFUNCS[name]), *operands, out)
    assert OPERATORS[name].eager(np, *operands).tobytes() == out.tobytes()


def test_new_values_of_several_tensors() -> None:
    rotate = FusedUpdate(
        lambda a, b, angle: (a * ops.cos(angle) - b * ops.sin(angle), a * ops.sin(angle) + b, b * 1.0 + a)
    )
    swap = FusedUpdate(lambda a, b: (b, a))
    with tracec.no_grad():
        a, b = numbers(7), numbers(7, seed=1)
        x, y = a.numpy().copy(), b.numpy().copy()
        found = rotate.values([a, b], [0.5])
        assert found is not None and np.allclose(found[0].numpy(), x * np.cos(0.5) - y * np.sin(0.5), rtol=1e-5)
        assert swap.write([((a, b), ())])
        assert (a.numpy() == y).all() and (b.numpy() == x).all() and a._version == 1


def test_what_cannot_run_at_once_is_left_alone() -> None:
    twice = FusedUpdate(lambda x, g: (x * 2.0 + g,))
    with tracec.no_grad():
        x, g = numbers(6), numbers(6, seed=1)
        memory = np.zeros(12, np.float32)
        a, b = tracec.from_numpy(memory[:8]), tracec.from_numpy(memory[4:])
        assert not twice.write([((x,), (x,))]) and not twice.write([((a,), (b,))])  # they share memory
        assert not twice.write([((x,), (g.double(),))])
        assert not twice.write([((x,), (numbers(3, 6),))])  # more than fits
        assert not twice.write([((numbers(1).expand(6),), (g,))])
        assert x._version == 0
        assert twice.write([((x,), (g,))])
    with tracec.enable_grad():
        assert not twice.write([((x,), (g,))])


def test_large_arrays_go_in_parts() -> None:
    fall = FusedUpdate(lambda x, m, g, rate: (x - (m * 0.9 + g) * rate, m * 0.9 + g))
    sizes = (steps.PART * 2 + 1, 7), (steps.PART * 3,), (3,)
    with tracec.no_grad():
        each = [(numbers(*s), numbers(*s, seed=1), numbers(*s, seed=2)) for s in sizes]
        wanted = [fall.compose(*one, 0.1) for one in each]
        assert fall.write([((x, m), (g,)) for x, m, g in each], [0.1])
        for (x, m, _), (new_x, new_m) in zip(each, wanted, strict=True):
            assert x.numpy().tobytes() == new_x.numpy().tobytes() and m.numpy().tobytes() == new_m.numpy().tobytes()


@pytest.mark.parametrize("shape", [(3, steps.PART), (7, 18_001)])
def test_functions_of_each_element_go_in_parts(shape: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, run = [], steps.Steps._in_parts
    monkeypatch.setattr(steps.Steps, "_in_parts", lambda *args: parts.append(1) or run(*args))
    activations = (lambda x: F.gelu(x, approximate="tanh"), F.silu, lambda x: F.gelu(x))

    def found() -> Any:
        x, ct = numbers(*shape), numbers(*shape, seed=1)
        leaf = x.clone().requires_grad_()
        for f in activations:
            f(leaf).backward(ct)
        turned = F.silu(x.T)  # not row by row
        return [f(x).numpy().tobytes() for f in activations] + [turned.numpy().tobytes(), leaf.grad.numpy()]

    *values, gradient = found()
    assert len(parts) >= 3 + 2 * 2  # three without gradients, and two with them, both ways
    one_by_one(monkeypatch)
    *expected, wanted = found()
    assert values == expected
    np.testing.assert_allclose(gradient, wanted, rtol=1e-5, atol=1e-6)


def test_what_takes_long_is_kept_for_gradients_of_few_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    def name(x: Any) -> Any:
        made = F.gelu(x).grad_fn
        return made.name(), made.call.op.name

    x = numbers(6, 5).requires_grad_()
    assert name(x) == ("GeluBackward0", "mul")
    monkeypatch.setattr(importlib.import_module("tracec.functions.activation")._gelu, "_again_from", 20)
    assert name(x) == ("GeluBackward0", "gelu")
