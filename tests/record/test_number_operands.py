"""Numbers among the operands of tensors: inputs of the graph, computed anew at other numbers, promoted as scalars."""

from __future__ import annotations

import numpy as np
import pytest

import tracec as T
from tracec.ir.evaluate import evaluate
from tracec.ir.expression import compile_numbers
from tracec.nn import functional as F
from tracec.record.numbers import array_of
from tracec.record.recorder import Recorder

VALUES = [[0.5, -1.5, 2.0], [3.0, 0.25, -0.75]]
INPUTS = {
    "float32": T.tensor(VALUES),
    "float64": T.tensor(VALUES, dtype=T.float64),
    "float16": T.tensor(VALUES, dtype=T.float16),
    "int64": T.tensor([[1, 2, -3], [4, 5, 6]]),
    "uint8": T.tensor([[1, 2, 3], [4, 5, 6]], dtype=T.uint8),
    "bool": T.tensor([[True, False, True]]),
    "complex64": T.tensor([[1 + 2j, 3.0, -1j]]),
}


def set_item(x, n):
    x = x.clone()
    x[0, 1] = n
    return x


FUNCTIONS = {
    "mul": lambda x, n: x * n, "rmul": lambda x, n: n * x, "add": lambda x, n: x + n, "rsub": lambda x, n: n - x,
    "div": lambda x, n: x / n, "rdiv": lambda x, n: n / x, "floor_div": lambda x, n: x // n,
    "mod": lambda x, n: x % n, "rmod": lambda x, n: n % x, "pow": lambda x, n: x**n, "rpow": lambda x, n: n**x,
    "lt": lambda x, n: x < n, "rgt": lambda x, n: n > x, "eq": lambda x, n: x == n,
    "add_alpha": lambda x, n: T.add(x, x, alpha=n), "sub_alpha": lambda x, n: x.sub(x, alpha=n),
    "addcmul": lambda x, n: T.addcmul(x, x, x, value=n), "full": lambda x, n: T.full((2, 3), n) + x,
    "full_like": lambda x, n: T.full_like(x, n), "tensor": lambda x, n: T.tensor(n) * x,
    "tensor64": lambda x, n: T.tensor(n, dtype=T.float64), "new_full": lambda x, n: x.new_full((3,), n),
    "where": lambda x, n: T.where(x == 2, n, x), "clamp": lambda x, n: T.clamp(x, max=n),
    "masked_fill": lambda x, n: x.masked_fill(x == 2, n), "fill_": lambda x, n: x.clone().fill_(n),
    "mul_": lambda x, n: x.clone().mul_(n), "add_": lambda x, n: x.clone().add_(x, alpha=n), "setitem": set_item,
    "index_fill": lambda x, n: x.index_fill(0, T.tensor([0]), n), "threshold": lambda x, n: F.threshold(x, n, n),
    "leaky_relu": lambda x, n: F.leaky_relu(x, n), "elu": lambda x, n: F.elu(x, n),
    "softmax": lambda x, n: F.softmax(x / n, dim=-1), "layer_norm": lambda x, n: F.layer_norm(x, (3,), eps=n),
    "addmm": lambda x, n: T.addmm(x[:, :2], x, x.T, beta=n, alpha=n), "expression": lambda x, n: x * (n / 2 + 1) ** 2,
    "several": lambda x, n: (x + n) * n - n / x, "sum": lambda x, n: (x * n).sum() / n,
    "vmap": lambda x, n: T.func.vmap(lambda r: r * n + T.full((), n))(x),
    "attention": lambda x, n: F.scaled_dot_product_attention(x[None], x[None], x[None], scale=n),
}  # fmt: skip


def attempt(function, x, n):
    try:
        return function(x, n)
    except (T.errors.TracecError, OverflowError, ZeroDivisionError) as error:
        return type(error)


def recorded(function, x, value):
    """What a function gives of a Number, its graph, and the function from another number to the graph's inputs."""
    recorder = Recorder((x,))
    with recorder:
        out = attempt(function, x, recorder.numbers.number(value, "n"))
    if isinstance(out, type):
        return out, None, None
    recording = recorder.finish(out)
    scalars = recorder.numbers.scalars
    compute = compile_numbers(recorder.numbers.all_conditions(), [s.expression for s in scalars])

    def inputs(other):
        values = compute([other])
        if values is None:
            return None
        made = {id(t._storage): array_of(v, s.type) for (s, t), v in zip(scalars.items(), values, strict=True)}
        return [made.get(id(i.storage), i.array) for i in recording.inputs]

    return out, recording.graph, inputs


@pytest.mark.parametrize("dtype", INPUTS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_operands_are_inputs(name, dtype):
    function, x = FUNCTIONS[name], INPUTS[dtype]
    with np.errstate(all="ignore"):
        replayed = 0
        for value, others in ((0.7, (0.9, -0.5, 0.0, 1e10)), (3, (5, -1, 2, 0, 2**40))):
            out, graph, inputs = recorded(function, x, value)
            expected = attempt(function, x, value)
            if isinstance(expected, type):
                assert out is expected
                continue
            assert out.dtype is expected.dtype
            np.testing.assert_array_equal(out.numpy(), expected.numpy())
            for other in (value, *others):
                arrays = inputs(other)
                if arrays is None:
                    assert other is not value
                    continue
                expected = attempt(function, x, other)
                replayed += other is not value
                assert not isinstance(expected, type)
                np.testing.assert_allclose(evaluate(graph, arrays)[0], expected.numpy(), rtol=1e-6)
    assert replayed or isinstance(attempt(function, x, 0.7), type) or dtype in ("bool", "uint8", "complex64")


def test_one_input_for_one_number_and_type():
    x, y = T.ones(3), T.ones(3, dtype=T.float64)
    _, graph, _ = recorded(lambda x, n: (x * n + x / n).double() + y * n, x, 0.1)
    assert sorted(str(i.type) for i in graph.inputs) == ["f32[3]", "f32[]", "f64[3]", "f64[]"]


def test_a_number_in_another_function_s_recording_is_plain():
    first = Recorder()
    n = first.numbers.number(2.0, "n")
    x = T.ones(3)
    second = Recorder((x,))
    with second:
        out = x * n
    assert len(second.finish(out).graph.inputs) == 1


def test_gradients_go_through_products_with_numbers():
    x = T.tensor([1.0, 2.0], requires_grad=True)

    def function(x, n):
        (x * n * x / n**2).sum().backward()
        grad, x.grad = x.grad, None
        return grad

    out, graph, inputs = recorded(function, x, 0.5)
    np.testing.assert_allclose(out.numpy(), [4.0, 8.0])
    np.testing.assert_allclose(evaluate(graph, inputs(0.25))[0], [8.0, 16.0])


def test_what_is_made_of_a_number_is_memory_of_its_own():
    def function(x, n):
        made = T.tensor(n)
        made.add_(1.0)
        full = T.full((2,), n)
        full[0] = 7.0
        return T.stack([made, T.tensor(n), *full])

    out, graph, inputs = recorded(function, T.ones(1), 0.5)
    assert out.tolist() == [1.5, 0.5, 7.0, 0.5]
    assert evaluate(graph, inputs(2.0))[0].tolist() == [3.0, 2.0, 7.0, 2.0]
