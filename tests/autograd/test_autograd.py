"""Gradients by name, modes, hooks, anomalies and functions of one's own, without torch."""

from __future__ import annotations

import gc
import warnings
import weakref

import numpy as np
import pytest

import tracec as T
from tests.autograd.programs import PLAIN, TRANSFORMED, functions
from tests.func.programs import f as smooth
from tracec.autograd import graph
from tracec.autograd.gradcheck import GradcheckError
from tracec.errors import ArgumentError, ArgumentTypeError, GradientError, RuleMissingError, ShapeError

RNG = np.random.default_rng(0)


def random(*shape):
    return T.tensor(RNG.normal(size=shape))


class Cube(T.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x**2


class Wrong(Cube):
    @staticmethod
    def backward(ctx, g):
        return g


# gradcheck -------------------------------------------------------------------------------------------------


def test_gradcheck():
    x, y = random(2, 3).requires_grad_(), random(3).requires_grad_()
    assert T.autograd.gradcheck(lambda a, b: (a * b).sin(), (x, y), check_forward_ad=True, check_batched_grad=True)
    assert T.autograd.gradcheck(Cube.apply, x) and T.autograd.gradcheck(Cube.apply, x, fast_mode=True)
    assert T.autograd.gradcheck(lambda a: (a.sum(), a.detach(), a * 2), x, check_batched_forward_grad=True)
    assert T.autograd.gradgradcheck(Cube.apply, x)
    assert T.autograd.gradgradcheck(lambda a, b: (a @ b).exp(), (x, y), check_fwd_over_rev=True, fast_mode=True)
    assert T.autograd.gradcheck(lambda a, k: a * k, (x, 3)) and T.autograd.gradcheck(lambda a: a.sign(), x)
    assert not T.autograd.gradcheck(lambda a: a.detach(), x, raise_exception=False)
    assert T.autograd.gradcheck(lambda a: a[:0], x) and T.autograd.gradcheck(
        lambda a: a * 2, random(0).requires_grad_()
    )


@pytest.mark.parametrize("fast_mode", [False, True])
def test_gradcheck_finds_what_is_wrong(fast_mode):
    x = random(2).requires_grad_()
    with pytest.raises(GradcheckError, match="Jacobian mismatch for output 0 with respect to input 0,\nnumerical:"):
        T.autograd.gradcheck(Wrong.apply, x, fast_mode=fast_mode)
    assert not T.autograd.gradcheck(Wrong.apply, x, raise_exception=False, fast_mode=fast_mode)
    with pytest.raises(GradcheckError):
        T.autograd.gradgradcheck(lambda a: Wrong.apply(a) * a**2, x, fast_mode=fast_mode)
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        T.autograd.gradcheck(Cube.apply, x.detach())
    with pytest.warns(UserWarning, match="is not a double precision"):
        T.autograd.gradcheck(lambda a: a * 2, x.detach().float().requires_grad_(), eps=1e-2, atol=1e-2)


def test_gradcheck_of_complex_numbers():
    z = T.tensor(RNG.normal(size=3) + 1j * RNG.normal(size=3)).requires_grad_()
    x = random(3).requires_grad_()
    assert T.autograd.gradcheck(lambda a, b: (a * b * a.conj(), a.abs(), a.real), (z, x), check_forward_ad=True)
    assert T.autograd.gradgradcheck(lambda a: a * a * a.conj(), z)


# Functions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*PLAIN, *TRANSFORMED])
def test_functions_compiled(name):
    program = {**PLAIN, **TRANSFORMED}[name]
    cases = functions(T)
    x, v = random(4, 3), random(3)
    expected = list(leaves(program(T, cases, x, v)))
    compiled = T.compile(lambda x, v: program(T, cases, x, v))
    for _ in range(2):
        for a, b in zip(leaves(compiled(x, v)), expected, strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12)


def leaves(tree):
    if isinstance(tree, T.Tensor):
        yield tree
    elif tree is not None:
        for t in tree:
            yield from leaves(t)


def test_the_operation_of_a_function():
    x = T.tensor([1.0, 2.0], requires_grad=True)
    out = functions(T).TwoOfThree.apply(x, 2.0, x * 2)
    fn = out[0].grad_fn
    assert fn is out[1].grad_fn and out[2].grad_fn is None and not out[2].requires_grad
    assert fn.name() == "TwoOfThreeBackward" and isinstance(fn, graph.Node)
    assert fn.next_functions[0][0].variable is x and fn.next_functions[2][0].name() == "MulBackward0"
    assert (out[1] * 2).grad_fn.next_functions[0] == (fn, 1)
    assert "grad_fn=<TwoOfThreeBackward>" in repr(out[0])


def test_saved_values_are_freed_and_kept_from_writes():
    x = T.tensor([1.0, 2.0], requires_grad=True)
    y = x * 1
    out = Cube.apply(y)
    with T.no_grad():
        y.zero_()
    out.sum().backward(retain_graph=True)
    np.testing.assert_allclose(x.grad.numpy(), [3.0, 12.0])
    out.sum().backward()
    with pytest.raises(GradientError, match="a second time"):
        out.sum().backward()


def test_a_function_does_not_keep_its_results_alive():
    x = random(3).requires_grad_()
    out = functions(T).Exp.apply(x)
    gone = weakref.ref(out)
    gc.disable()
    try:
        del out
        assert gone() is None
    finally:
        gc.enable()


def test_results_that_are_no_tensors():
    class Mixed(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return None, x * 2, 5, x.argmax()

        @staticmethod
        def backward(ctx, *grads):
            seen.append([None if g is None else (g.dtype, g.tolist()) for g in grads])
            return grads[1] * 2

    seen = []
    x = T.ones(2, requires_grad=True)
    out = Mixed.apply(x)
    assert out[0] is None and out[2] == 5 and not out[3].requires_grad
    out[1].sum().backward()
    assert seen == [[None, (T.float32, [1.0, 1.0]), None, (T.int64, 0)]] and x.grad.tolist() == [2.0, 2.0]


MISTAKES = {
    "number of gradients": (GradientError, lambda ctx, g: (g, g)),
    "shape": (ShapeError, lambda ctx, g: T.ones(5)),
    "type": (GradientError, lambda ctx, g: 3.0),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_backward(name):
    error, backward = MISTAKES[name]
    made = type("Mistaken", (Cube,), {"backward": staticmethod(backward)})
    with pytest.raises(error, match="Mistaken") as caught:
        made.apply(random(2).requires_grad_()).sum().backward()
    assert caught.value.hint


def test_mistakes_around_functions():
    x = random(2).requires_grad_()
    lazy = type("Lazy", (T.autograd.Function,), {"forward": staticmethod(lambda ctx, x: x * 2)})
    with pytest.raises(NotImplementedError, match="must implement the backward"):
        lazy.apply(x).sum().backward()
    with pytest.raises(RuleMissingError, match="jvp function"):
        T.func.jvp(lazy.apply, (x.detach(),), (x.detach(),))
    with pytest.raises(RuntimeError, match="Legacy autograd function"):
        Cube()
    with pytest.raises(TypeError, match="can only save variables"):
        type("A", (Cube,), {"forward": staticmethod(lambda ctx, x: ctx.save_for_backward(3))}).apply(x)
    with pytest.raises(ArgumentTypeError, match="no keyword arguments"):
        Cube.apply(x=x)
    with pytest.raises(GradientError, match="leaf Variable that requires grad"):
        functions(T).Doubled.apply(x)
    once = functions(T).Once.apply(x)
    (g,) = T.autograd.grad(once.sum(), x, T.tensor(2.0, dtype=T.float64).requires_grad_(), create_graph=True)
    with pytest.raises(GradientError, match="once_differentiable"):
        g.sum().backward()


# Modes -----------------------------------------------------------------------------------------------------


def test_modes_decorate_functions_and_generators():
    x = T.ones(2, requires_grad=True)

    @T.no_grad
    def bare():
        return (x * 2).requires_grad

    @T.no_grad()
    def called():
        return (x * 2).requires_grad

    @T.no_grad()
    def numbers():
        got = yield T.is_grad_enabled()
        try:
            yield got, T.is_grad_enabled()
        finally:
            seen.append(T.is_grad_enabled())

    seen = []
    assert not bare() and not called()
    generator = numbers()
    assert next(generator) is False and T.is_grad_enabled()
    assert generator.send(5) == (5, False) and T.is_grad_enabled()
    generator.close()
    assert seen == [False] and T.is_grad_enabled()
    with T.no_grad():

        @T.enable_grad()
        def on():
            return (x * 2).requires_grad

        assert on() and T.enable_grad(on)() and not (x * 2).requires_grad
    with T.set_grad_enabled(False):
        assert not T.is_grad_enabled()
        with T.set_grad_enabled(True):
            assert T.is_grad_enabled()
    switch = T.set_grad_enabled(False)
    assert not T.is_grad_enabled()
    T.set_grad_enabled(True)
    with switch:
        pass
    with T.autograd.set_multithreading_enabled(False):
        assert T.is_grad_enabled()


def test_generators_that_raise():
    @T.no_grad()
    def numbers():
        try:
            yield 1
        except ValueError:
            yield T.is_grad_enabled()
        return 7

    generator = numbers()
    next(generator)
    assert generator.throw(ValueError()) is False
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert end.value.value == 7 and T.is_grad_enabled()


def test_inference_mode():
    x = T.ones(2, requires_grad=True)
    with T.inference_mode():
        y = x * 2
        z = T.tensor([1.0, 2.0])
        assert T.is_inference_mode_enabled() and y[0].is_inference() and z.is_inference()
        y.add_(1)
        with T.inference_mode(False):
            assert (x * 2).requires_grad
    assert not y.requires_grad and y.is_inference() and T.is_inference(y) and not x.is_inference()
    assert y.detach().is_inference() and not y.clone().is_inference() and (x + y).requires_grad
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        x * y
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        y.add_(1)
    with pytest.raises(RuntimeError, match="Setting requires_grad=True on inference tensor"):
        y.requires_grad_()
    assert T.inference_mode()(lambda: (x * 2).requires_grad)() is False
    assert T.inference_mode(lambda: (x * 2).requires_grad)() is False
    with T.no_grad():
        assert not (x * y).requires_grad


# What is saved --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("create_graph", [False, True])
def test_saved_tensors_hooks(create_graph):
    x = random(3).requires_grad_()
    packed = []

    def pack(t):
        packed.append(t)
        return t.tolist()

    with graph.saved_tensors_hooks(pack, lambda kept: T.tensor(kept, dtype=T.float64)):
        out = (x.sin() * x).sum() + Cube.apply(x).sum()
    assert packed and not any(t.requires_grad for t in packed)
    (g,) = T.autograd.grad(out, x, create_graph=create_graph)
    expected = (x.cos() * x + x.sin() + 3 * x**2).detach().numpy()
    np.testing.assert_allclose(g.detach().numpy(), expected)
    if create_graph:
        (h,) = T.autograd.grad(g.sum(), x)
        np.testing.assert_allclose(h.numpy(), (2 * x.cos() - x.sin() * x + 6 * x).detach().numpy())


def test_more_of_saved_tensors_hooks():
    x = T.ones(3, requires_grad=True)
    with graph.save_on_cpu():
        y = x * 2
        out = (y * y).sum()
    with T.no_grad():
        y.zero_()
    out.backward()
    assert x.grad.tolist() == [8.0] * 3
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        z = x * 2
        out = (z * z).sum()
    with T.no_grad():
        z.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()
    with graph.saved_tensors_hooks(lambda t: t, lambda t: 3), pytest.raises(TypeError, match="not a tensor"):
        (x * x).sum().backward()
    hooks, refuse = graph.saved_tensors_hooks(lambda t: t, lambda t: t), graph.disable_saved_tensors_hooks("not here")
    with hooks, pytest.raises(RuntimeError, match="not here"):
        refuse.__enter__()


# Anomalies -------------------------------------------------------------------------------------------------


def test_anomalies(golden):
    x = T.tensor([0.0, 1.0], requires_grad=True)
    with pytest.warns(UserWarning, match="Anomaly Detection has been enabled"):
        mode = T.autograd.detect_anomaly()
    with mode:
        y = x.sqrt()
        out = (y * 0).sum()
        with pytest.raises(
            RuntimeError, match="Function 'SqrtBackward0' returned nan values in its 0th output"
        ) as caught:
            out.backward()
    assert str(caught.value) == golden
    (x.sqrt() * 0).sum().backward()
    assert bool(x.grad.isnan().any())


def test_errors_in_backward_tell_of_the_forward_line():
    class Broken(Cube):
        @staticmethod
        def backward(ctx, g):
            raise KeyError("lost")

    out = Broken.apply(T.ones(2, requires_grad=True)).sum()
    with T.autograd.set_detect_anomaly(True, check_nan=False), pytest.raises(KeyError) as caught:
        out.backward()
    assert "BrokenBackward" in caught.value.__notes__[0] and "test_autograd.py:" in caught.value.__notes__[0]


# Names -----------------------------------------------------------------------------------------------------


def test_variables():
    x = T.ones(2)
    v = T.autograd.Variable(x, requires_grad=True)
    assert isinstance(v, T.Tensor) and isinstance(x, T.autograd.Variable) and not isinstance(3, T.autograd.Variable)
    v.sum().backward()
    assert v.grad.tolist() == [1.0, 1.0] and not x.requires_grad
    x.add_(1)
    assert v.tolist() == [2.0, 2.0]
    with pytest.raises(TypeError, match="Variable data has to be a tensor"):
        T.autograd.Variable([1.0])


def test_dotted_imports():
    from tracec.autograd import Function, Variable, grad, gradcheck
    from tracec.autograd.function import Function as again
    from tracec.autograd.function import once_differentiable
    from tracec.autograd.functional import hessian, jacobian
    from tracec.autograd.gradcheck import gradcheck as checked
    from tracec.autograd.graph import save_on_cpu

    assert Function is again and gradcheck is checked and T.autograd.gradcheck is checked
    assert all(map(callable, (Variable, grad, once_differentiable, hessian, jacobian, save_on_cpu)))
    with pytest.raises(AttributeError, match="Functoin"):
        T.autograd.Functoin  # noqa: B018


def test_grad_of_many():
    x = random(3).requires_grad_()
    y = x.sin() * x.sum()
    (rows,) = T.autograd.grad(y, x, T.eye(3, dtype=T.float64), is_grads_batched=True, retain_graph=True)
    expected = T.autograd.functional.jacobian(lambda a: a.sin() * a.sum(), x.detach())
    np.testing.assert_allclose(rows.numpy(), expected.numpy(), rtol=1e-12)
    with pytest.raises(ShapeError, match="behind a first axis"):
        T.autograd.grad(y, x, T.ones(3, dtype=T.float64), is_grads_batched=True)
    with pytest.raises(ArgumentError, match="only_inputs"):
        T.autograd.grad(y, x, T.ones(3, dtype=T.float64), only_inputs=False)


INPUTS = {
    "generator": lambda ps: (p for p in ps.values()),
    "iterator": lambda ps: iter(list(ps.values())),
    "values": lambda ps: ps.values(),
    "list": lambda ps: list(ps.values()),
}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", INPUTS)
def test_gradients_for_what_parameters_are_handed_over_in(kind, compiled):
    """``grad(loss, model.parameters())``: an inner step of MAML."""
    given = {name: random(3).requires_grad_() for name in "ab"}

    def grads(a, b):
        return T.autograd.grad((a * a * b).sum(), INPUTS[kind]({"a": a, "b": b}))

    found = (T.compile(grads) if compiled else grads)(*given.values())
    assert isinstance(found, tuple) and len(found) == 2
    np.testing.assert_allclose(found[0], (2 * given["a"] * given["b"]).detach())
    np.testing.assert_allclose(found[1], (given["a"] ** 2).detach())


def test_gradients_for_a_dictionary_are_one():
    given = {name: random(3).requires_grad_() for name in "ab"}
    found = T.autograd.grad((given["a"] * given["b"]).sum(), given)
    assert list(found) == ["a", "b"] and found["a"].equal(given["b"].detach())


def test_gradients_for_no_inputs_are_a_mistake():
    x = random(3).requires_grad_()
    used = iter([x])
    list(used)
    with pytest.raises(ArgumentError, match=r"`inputs` argument to `grad\(\)` cannot be empty"):
        T.autograd.grad(x.sum(), used)
    with pytest.raises(ArgumentTypeError, match="inputs must be tensors, ndarray given"):
        T.autograd.grad(x.sum(), np.ones(3))


def test_functional_against_differences():
    x, t = random(3), random(3)
    f = T.autograd.functional
    slope = (smooth(T, x + 1e-6 * t) - smooth(T, x - 1e-6 * t)).item() / 2e-6
    assert abs(f.jvp(lambda a: smooth(T, a), x, t)[1].item() - slope) < 1e-7
    assert abs((f.jacobian(lambda a: smooth(T, a), x) @ t).item() - slope) < 1e-7
    grads = [f.jacobian(lambda a: smooth(T, a), x + s * t) for s in (1e-6, -1e-6)]
    bend = ((grads[0] - grads[1]) / 2e-6).numpy()
    for found in (f.hessian(lambda a: smooth(T, a), x) @ t, f.hvp(lambda a: smooth(T, a), x, t)[1]):
        np.testing.assert_allclose(found.numpy(), bend, atol=1e-7)


def test_functional_of_compiled_functions():
    compiled = T.compile(lambda a: (a.sin() * a).sum())
    f, x, t = T.autograd.functional, random(3), random(3)
    for _ in range(2):
        bend = np.diag((2 * x.cos() - x.sin() * x).numpy())
        np.testing.assert_allclose(f.hessian(compiled, x, vectorize=True).numpy(), bend, rtol=1e-10, atol=1e-12)
        slope = ((x.cos() * x + x.sin()) @ t).item()
        np.testing.assert_allclose(f.jvp(compiled, x, t)[1].item(), slope, rtol=1e-10)


def test_forward_ad():
    x, t = random(3), random(3)
    with T.autograd.forward_ad.dual_level():
        dual = T.autograd.forward_ad.make_dual(x, t)
        y = dual * dual.detach()
        primal, tangent = T.autograd.forward_ad.unpack_dual(y)
        assert "tangent" not in repr(primal)
    np.testing.assert_allclose(tangent.numpy(), (t * x).numpy())
    np.testing.assert_allclose((y + 1).numpy(), (x * x + 1).numpy())
    assert T.autograd.forward_ad.unpack_dual(y).tangent is None


def test_no_warnings_without_need():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        T.autograd.gradcheck(Cube.apply, random(2).requires_grad_())
