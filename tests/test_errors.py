"""Bad input: every mistake is a tracec error of PyTorch's type, in words under test, and leaves no trace.

A table of mistakes is run eagerly, compiled and in PyTorch. The words are in tests/golden/test_errors.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracec
from tests.failures import caught, check_form
from tracec.errors import (
    ArgumentError,
    ArgumentTypeError,
    AxisError,
    CompileError,
    DeviceError,
    DTypeError,
    GradientError,
    KeyMissingError,
    NameMissingError,
    RecordError,
    ShapeError,
    TracecError,
)
from tracec.record.state import STATE

Make = Callable[[Any], Any]


def f(*shape: int) -> Make:
    return lambda T: T.ones(shape)


def d(*shape: int) -> Make:
    return lambda T: T.ones(shape, dtype=T.float64)


def i(*shape: int) -> Make:
    return lambda T: T.zeros(shape, dtype=T.int64)


def b(*shape: int) -> Make:
    return lambda T: T.ones(shape, dtype=T.bool)


def leaf(*shape: int) -> Make:
    return lambda T: T.ones(shape, requires_grad=True)


def without_grad(T: Any, function: Callable[[], Any]) -> Any:
    with T.no_grad():
        return function()


def augmented(x: Any, y: Any) -> None:
    x += y


def hook_of(x: Any, hook: Callable[..., Any]) -> None:
    y = x * 2
    y.register_hook(hook)
    y.sum().backward()


def hook_of_node(x: Any, hook: Callable[..., Any]) -> None:
    y = x * 2
    y.grad_fn.register_prehook(hook)
    y.sum().backward()


#: What was done wrong → a function of the library and its tensors, and what makes these.
SHAPES: dict[str, tuple[Any, ...]] = {
    "add": (lambda T, x, y: x + y, f(4), f(3)),
    "add of matrices": (lambda T, x, y: T.add(x, y), f(2, 4), f(3, 4)),
    "maximum": (lambda T, x, y: T.maximum(x, y), f(2), f(3)),
    "where": (lambda T, c, x, y: T.where(c, x, y), b(2), f(3), f(3)),
    "a part of another function": (lambda T, x, y: x.lerp(y, 0.5), f(2), f(3)),
    "matmul": (lambda T, x, y: x @ y, f(2, 3), f(4, 5)),
    "matmul of a scalar": (lambda T, x, y: x @ y, f(2, 3), f()),
    "matmul of stacks": (lambda T, x, y: x @ y, f(2, 3, 4), f(3, 4, 5)),
    "mm": (lambda T, x, y: T.mm(x, y), f(2, 3), f(3)),
    "bmm": (lambda T, x, y: T.bmm(x, y), f(2, 1, 1), f(3, 1, 1)),
    "dot": (lambda T, x, y: T.dot(x, y), f(3), f(4)),
    "dot of a matrix": (lambda T, x, y: T.dot(x, y), f(3, 1), f(3)),
    "addmm": (lambda T, x, y, z: T.addmm(x, y, z), f(5), f(2, 3), f(3, 4)),
    "tensordot": (lambda T, x, y: T.tensordot(x, y, 4), f(3, 2), f(4)),
    "einsum": (lambda T, x, y: T.einsum("ij,jk->ik", x, y), f(2, 3), f(4, 5)),
    "einsum of another rank": (lambda T, x: T.einsum("ijk->k", x), f(2, 3)),
    "cat": (lambda T, x, y: T.cat([x, y]), f(2, 3), f(2, 4)),
    "cat of nothing": (lambda T: T.cat([]),),
    "stack": (lambda T, x, y: T.stack([x, y]), f(2, 3), f(3)),
    "reshape": (lambda T, x: x.reshape(4, 2), f(6)),
    "reshape with two unknowns": (lambda T, x: x.reshape(-1, -1), f(6)),
    "view": (lambda T, x: x.view(-1, 4), f(6)),
    "unflatten": (lambda T, x: x.unflatten(1, (2, 2)), f(2, 3)),
    "expand": (lambda T, x: x.expand(3, 3), f(2, 3)),
    "repeat": (lambda T, x: x.repeat(2), f(2, 3)),
    "split": (lambda T, x: x.split([1, 1], 1), f(2, 3)),
    "masked_fill": (lambda T, x, m: x.masked_fill(m, 1.0), f(2, 3), b(4)),
    "masked_select": (lambda T, x, m: x.masked_select(m), f(2, 3), b(4)),
    "gather": (lambda T, x, at: x.gather(1, at), f(2, 3), i(2)),
    "index_add": (lambda T, x, at, y: x.index_add(0, at, y), f(2, 3), i(2), f(2, 4)),
    "setitem": (lambda T, x, y: x.__setitem__(0, y), f(3, 3), f(2)),
    "copy_": (lambda T, x, y: x.copy_(y), f(3), f(4)),
    "fill_": (lambda T, x, y: x.fill_(y), f(3), f(3)),
    "add_": (lambda T, x, y: x.add_(y), f(3), f(2, 3)),
    "+=": (lambda T, x, y: augmented(x, y), f(3), f(2, 3)),
}  # fmt: skip

LAYERS: dict[str, tuple[Any, ...]] = {
    "linear": (lambda T, x, w: T.nn.functional.linear(x, w), f(2, 3), f(4, 5)),
    "linear with bias": (lambda T, x, w, y: T.nn.functional.linear(x, w, y), f(2, 3), f(4, 3), f(5)),
    "linear of two dtypes": (lambda T, x, w: T.nn.functional.linear(x, w), f(2, 3), d(4, 3)),
    "module": (lambda T, x: T.nn.Linear(3, 4)(x), f(2, 5)),
    "conv2d channels": (lambda T, x, w: T.nn.functional.conv2d(x, w), f(1, 2, 4, 4), f(1, 3, 3, 3)),
    "conv2d rank": (lambda T, x, w: T.nn.functional.conv2d(x, w), f(2, 3), f(1, 3, 3, 3)),
    "conv2d window": (lambda T, x, w: T.nn.functional.conv2d(x, w), f(1, 3, 2, 2), f(1, 3, 3, 3)),
    "conv2d bias": (lambda T, x, w, y: T.nn.functional.conv2d(x, w, y), f(1, 3, 4, 4), f(1, 3, 3, 3), f(2)),
    "conv2d groups": (lambda T, x, w: T.nn.functional.conv2d(x, w, groups=2), f(1, 3, 4, 4), f(2, 1, 3, 3)),
    "conv2d stride": (lambda T, x, w: T.nn.functional.conv2d(x, w, stride=0), f(1, 3, 4, 4), f(2, 3, 3, 3)),
    "conv2d padding": (lambda T, x, w: T.nn.functional.conv2d(x, w, padding="no"), f(1, 3, 4, 4), f(2, 3, 3, 3)),
    "conv2d of two dtypes": (lambda T, x, w: T.nn.functional.conv2d(x, w), f(1, 3, 4, 4), d(1, 3, 3, 3)),
    "conv2d without weight": (lambda T, x: T.nn.functional.conv2d(x, None), f(1, 3, 4, 4)),
    "max_pool2d rank": (lambda T, x: T.nn.functional.max_pool2d(x, 2), f(2, 3)),
    "max_pool2d window": (lambda T, x: T.nn.functional.max_pool2d(x, 5), f(1, 1, 3, 3)),
    "max_pool2d padding": (lambda T, x: T.nn.functional.max_pool2d(x, 2, padding=2), f(1, 1, 4, 4)),
    "avg_pool2d stride": (lambda T, x: T.nn.functional.avg_pool2d(x, 2, stride=0), f(1, 1, 4, 4)),
    "layer_norm": (lambda T, x: T.nn.functional.layer_norm(x, (2,)), f(2, 3)),
    "batch_norm": (lambda T, x, m, v: T.nn.functional.batch_norm(x, m, v), f(2, 3), f(4), f(4)),
    "batch_norm of one": (lambda T, x: T.nn.functional.batch_norm(x, None, None, training=True), f(1, 3)),
    "group_norm": (lambda T, x: T.nn.functional.group_norm(x, 2), f(2, 3)),
    "dropout": (lambda T, x: T.nn.functional.dropout(x, 1.5), f(3)),
    "glu": (lambda T, x: T.nn.functional.glu(x), f(2, 3)),
    "gelu": (lambda T, x: T.nn.functional.gelu(x, approximate="no"), f(3)),
    "embedding": (lambda T, x, w: T.nn.functional.embedding(x + 9, w), i(2), f(3, 4)),
    "embedding by floats": (lambda T, x, w: T.nn.functional.embedding(x, w), f(2), f(3, 4)),
    "attention": (
        lambda T, q, k: T.nn.functional.scaled_dot_product_attention(q, k, q), f(1, 2, 3, 4), f(1, 2, 3, 5),
    ),
    "cross_entropy": (lambda T, x, y: T.nn.functional.cross_entropy(x, y), f(2, 3), i(3)),
    "cross_entropy with floats": (lambda T, x, y: T.nn.functional.cross_entropy(x, y), f(2, 3), f(2)),
    "cross_entropy class": (lambda T, x, y: T.nn.functional.cross_entropy(x, y + 7), f(2, 3), i(2)),
    "cross_entropy of integers": (lambda T, x, y: T.nn.functional.cross_entropy(x, y), i(2, 3), i(2)),
    "cross_entropy weight": (lambda T, x, y, w: T.nn.functional.cross_entropy(x, y, w), f(2, 3), i(2), f(4)),
    "cross_entropy reduction": (lambda T, x, y: T.nn.functional.cross_entropy(x, y, reduction="x"), f(2, 3), i(2)),
    "nll_loss": (lambda T, x, y: T.nn.functional.nll_loss(x, y), f(2, 3), f(2)),
    "binary cross entropy": (
        lambda T, x, y: T.nn.functional.binary_cross_entropy_with_logits(x, y), f(2, 3), f(2),
    ),
    "one_hot": (lambda T, x: T.nn.functional.one_hot(x + 5, 3), i(2)),
    "pad": (lambda T, x: T.nn.functional.pad(x, (1,)), f(2, 3)),
    "pad that takes away": (lambda T, x: T.nn.functional.pad(x, (-5, 0)), f(2, 3)),
}  # fmt: skip

DTYPES: dict[str, tuple[Any, ...]] = {
    "softmax of bools": (lambda T, x: x.softmax(0), b(3)),
    "softmax of integers": (lambda T, x: T.softmax(x, 0), i(3)),
    "mean of integers": (lambda T, x: x.mean(), i(3)),
    "matmul of two dtypes": (lambda T, x, y: x @ y, f(2, 3), d(3, 2)),
    "and of floats": (lambda T, x, y: x & y, f(3), f(3)),
    "not of floats": (lambda T, x: ~x, f(3)),
    "or with a float": (lambda T, x: x | 1.5, i(3)),
    "difference of bools": (lambda T, x, y: x - y, b(3), b(3)),
    "index by floats": (lambda T, x, at: x[at], f(3), f(2)),
    "gather by floats": (lambda T, x: x.gather(1, x), f(2, 3)),
    "where by floats": (lambda T, c: T.where(c, c, c), f(3)),
    "masked_fill by floats": (lambda T, x: x.masked_fill(x, 1.0), f(2, 3)),
    "scatter of two dtypes": (lambda T, x, at, y: x.scatter(1, at, y), f(2, 3), i(2, 3), d(2, 3)),
    "add_ of floats to integers": (lambda T, x, y: x.add_(y), i(3), f(3)),
    "sqrt_ of integers": (lambda T, x: x.sqrt_(), i(3)),
    "dtype by name": (lambda T: T.zeros(2, dtype="float32"),),
    "dtype of a sum by name": (lambda T, x: x.sum(dtype="float32"), f(2)),
    "array of words": (lambda T: T.from_numpy(np.array(["a"])),),
    "default dtype": (lambda T: T.set_default_dtype(T.int64),),
}  # fmt: skip

AXES: dict[str, tuple[Any, ...]] = {
    "sum": (lambda T, x: x.sum(dim=5), f(2, 3)),
    "sum from the end": (lambda T, x: x.sum(-3), f(2, 3)),
    "sum twice": (lambda T, x: x.sum((0, 0)), f(2, 3)),
    "sum over a float": (lambda T, x: x.sum(1.0), f(2, 3)),
    "softmax": (lambda T, x: x.softmax(2), f(2, 3)),
    "cat": (lambda T, x: T.cat([x, x], dim=2), f(2, 3)),
    "stack": (lambda T, x: T.stack([x, x], dim=4), f(3)),
    "transpose": (lambda T, x: x.transpose(0, 5), f(2, 3)),
    "permute": (lambda T, x: x.permute(0, 0), f(2, 3)),
    "squeeze": (lambda T, x: x.squeeze(4), f(2, 3)),
    "unsqueeze": (lambda T, x: x.unsqueeze(4), f(2, 3)),
    "flatten": (lambda T, x: x.flatten(3), f(2, 3)),
    "flatten backwards": (lambda T, x: x.flatten(1, 0), f(2, 3)),
    "argmax": (lambda T, x: x.argmax(4), f(2, 3)),
    "argmax of nothing": (lambda T, x: x.argmax(), f(0)),
    "max": (lambda T, x: x.max(4), f(2, 3)),
    "cumsum": (lambda T, x: x.cumsum(4), f(2, 3)),
    "sort": (lambda T, x: x.sort(4), f(2, 3)),
    "topk": (lambda T, x: x.topk(4), f(2, 3)),
    "flip": (lambda T, x: x.flip(4), f(2, 3)),
    "diagonal": (lambda T, x: x.diagonal(0, 5), f(2, 3)),
    "tensordot": (lambda T, x, y: T.tensordot(x, y, ([5], [0])), f(3, 2), f(4)),
    "index": (lambda T, x: x[5], f(3)),
    "index from the end": (lambda T, x: x[-4], f(3)),
    "index by a tensor": (lambda T, x, at: x[at + 9], f(3), i(2)),
    "too many indices": (lambda T, x: x[0, 0], f(3)),
    "index by a float": (lambda T, x: x[1.5], f(3)),
    "slice backwards": (lambda T, x: x[::-1], f(3)),
    "mask": (lambda T, x, m: x[m], f(3), b(4)),
    "indices that do not broadcast": (lambda T, x, p, q: x[p, q], f(3, 3), i(2), i(3)),
    "setitem": (lambda T, x: x.__setitem__(7, 1.0), f(3, 3)),
    "gather": (lambda T, x, at: x.gather(1, at + 9), f(2, 3), i(2, 1)),
    "index_select": (lambda T, x, at: x.index_select(0, at + 9), f(2, 3), i(2)),
    "narrow": (lambda T, x: x.narrow(1, 2, 5), f(2, 3)),
    "select": (lambda T, x: x.select(1, 5), f(2, 3)),
}  # fmt: skip

SIZES: dict[str, tuple[Any, ...]] = {
    "zeros": (lambda T: T.zeros(-1),),
    "ones": (lambda T: T.ones(2, -3),),
    "empty": (lambda T: T.empty(-3),),
    "full": (lambda T: T.full((-3,), 1.0),),
    "randn": (lambda T: T.randn(-3),),
    "eye": (lambda T: T.eye(-2),),
    "randint": (lambda T: T.randint(5, 5, (2,)),),
    "linspace": (lambda T: T.linspace(0, 1, -2),),
    "arange": (lambda T: T.arange(0, 3, -1),),
    "more than memory": (lambda T: T.zeros(2**60),),
    "more than addresses": (lambda T: T.ones(2**31, 2**31),),
    "integer that does not fit": (lambda T, x: x.fill_(300), lambda T: T.zeros(3, dtype=T.int8)),
    "infinity in integers": (lambda T, x: x.fill_(float("inf")), i(3)),
    "arange without step": (lambda T: T.arange(0, 3, 0),),
    "zeros of a float": (lambda T: T.zeros(1.5),),
    "uneven lists": (lambda T: T.tensor([[1], [1, 2]]),),
    "words": (lambda T: T.tensor("text"),),
    "nothing": (lambda T: T.tensor(None),),
    "item": (lambda T, x: x.item(), f(3)),
    "item of nothing": (lambda T, x: x.item(), f(0)),
    "bool": (lambda T, x: 1 if x > 0 else 2, f(3)),
    "float": (lambda T, x: float(x), f(3)),
    "len": (lambda T, x: len(x), f()),
    "iter": (lambda T, x: list(x), f()),
    "position in a list": (lambda T, x: [1, 2][x], f(1)),
}  # fmt: skip

GRADIENTS: dict[str, tuple[Any, ...]] = {
    "not a scalar": (lambda T, x: (x * 2).backward(), leaf(3)),
    "no path": (lambda T, x: x.sum().backward(), f(3)),
    "no path from no_grad": (lambda T, x: without_grad(T, lambda: x.sum()).backward(), leaf(3)),
    "no path from detach": (lambda T, x: x.sum().detach().backward(), leaf(3)),
    "no path from argmax": (lambda T, x: x.argmax().backward(), leaf(3)),
    "gradient of another shape": (lambda T, x: (x * 2).backward(T.ones(2)), leaf(3)),
    "gradient in a list": (lambda T, x: (x * 2).backward([1.0, 1.0, 1.0]), leaf(3)),
    "integers": (lambda T: T.ones(3, dtype=T.int64, requires_grad=True),),
    "integers later": (lambda T, x: x.requires_grad_(), i(3)),
    "flag of a result": (lambda T, x: (x * 2).requires_grad_(False), leaf(3)),
    "grad without requires_grad": (lambda T, x: T.autograd.grad(x.sum(), x), f(3)),
    "grad of what is not used": (lambda T, x, y: T.autograd.grad(x.sum(), y), leaf(3), leaf(3)),
    "numpy": (lambda T, x: x.numpy(), leaf(3)),
    "assigned shape": (lambda T, x, y: setattr(x, "grad", y), leaf(3), f(4)),
    "assigned dtype": (lambda T, x, y: setattr(x, "grad", y), leaf(3), d(3)),
    "assigned list": (lambda T, x: setattr(x, "grad", [1.0]), leaf(3)),
    "leaf in place": (lambda T, x: x.add_(1), leaf(3)),
    "leaf +=": (lambda T, x: augmented(x, 1), leaf(3)),
    "item of a leaf": (lambda T, x: x.__setitem__(0, 1), leaf(3)),
    "view of a leaf in place": (lambda T, x: x[0].zero_(), leaf(3)),
    "expanded in place": (lambda T, x: x.expand(3).add_(1), f(1)),
    "optimiser without parameters": (lambda T: T.optim.SGD([], lr=0.1),),
    "optimiser of one tensor": (lambda T, x: T.optim.SGD(x, lr=0.1), leaf(3)),
    "optimiser of a result": (lambda T, x: T.optim.SGD([x * 2], lr=0.1), leaf(3)),
    "optimiser with a negative rate": (lambda T, x: T.optim.SGD([x], lr=-1.0), leaf(3)),
}  # fmt: skip

TYPES: dict[str, tuple[Any, ...]] = {
    "add of a list": (lambda T, x: x + [1.0, 2.0, 3.0], f(3)),
    "add to a list": (lambda T, x: [1.0, 2.0, 3.0] + x, f(3)),
    "add of a word": (lambda T, x: x + "a", f(3)),
    "add of nothing": (lambda T, x: x + None, f(3)),
    "comparison with a list": (lambda T, x: x < [1.0], f(3)),
    "matmul with a list": (lambda T, x: x @ [1.0], f(1)),
    "+= of a list": (lambda T, x: augmented(x, [1.0]), f(3)),
    "add of a list by name": (lambda T, x: T.add(x, [1.0]), f(3)),
    "sin of a list": (lambda T: T.sin([1.0]),),
    "sin of nothing": (lambda T: T.sin(None),),
    "relu of nothing": (lambda T: T.relu(None),),
    "sum of nothing": (lambda T: T.sum(None),),
    "cat of a tensor": (lambda T, x: T.cat(x), f(2, 3)),
    "cat of nothing": (lambda T, x: T.cat([x, None]), f(2)),
    "reshape by a word": (lambda T, x: x.reshape("a"), f(6)),
    "axis by a word": (lambda T, x: x.softmax("a"), f(6)),
    "add of a set by name": (lambda T, x: T.add(x, {1}), f(3)),
    "setitem of uneven lists": (lambda T, x: x.__setitem__(0, [[1.0], [1.0, 2.0]]), f(3, 3)),
    "setitem of nothing": (lambda T, x: x.__setitem__(0, None), f(3)),
    "setitem of a word": (lambda T, x: x.__setitem__(0, "a"), f(3)),
    "fill_ by a word": (lambda T, x: x.fill_("a"), f(3)),
    "copy_ of a word": (lambda T, x: x.copy_("a"), f(3)),
    "word in a tensor": (lambda T, x: "a" in x, f(3)),
    "Tensor of a word": (lambda T: T.Tensor("a"),),
    "linspace of a word": (lambda T: T.linspace("a", 1, 3),),
    "full of a word": (lambda T: T.full((2,), "a"),),
    "einsum of a number": (lambda T, x: T.einsum(3, x), f(2, 3)),
    "from_numpy of a list": (lambda T: T.from_numpy([1]),),
    "unknown argument": (lambda T, x: x.to(unknown=3), f(3)),
    "optimiser of numbers": (lambda T: T.optim.SGD([1.0], lr=0.1),),
}  # fmt: skip

PARTS: dict[str, tuple[Any, ...]] = {
    "module without forward": (lambda T: type("Net", (T.nn.Module,), {})()(1),),
    "call of a list of modules": (lambda T: T.nn.ModuleList([T.nn.Identity()])(1),),
    "parameter of a list": (lambda T: T.nn.Parameter([1.0]),),
    "optimiser of a group without parameters": (lambda T: T.optim.SGD([{"lr": 0.1}]),),
    "optimiser loads something else": (lambda T, x: T.optim.Adam([x]).load_state_dict({"model": 1}), leaf(3)),
    "optimiser loads nothing": (lambda T, x: T.optim.Adam([x]).load_state_dict(None), leaf(3)),
    "optimiser with a rate that is a word": (lambda T, x: T.optim.SGD([x], lr="a"), leaf(3)),
    "batch of several keys": (lambda T: list(T.utils.data.DataLoader([{"a": 1}, {"b": 1}], batch_size=2)),),
    "hook that returns another shape": (lambda T, x: hook_of(x, lambda g: g[:1]), leaf(3)),
    "hook that returns another dtype": (lambda T, x: hook_of(x, lambda g: g.double()), leaf(3)),
    "hook that returns a number": (lambda T, x: hook_of(x, lambda g: 2.0), leaf(3)),
    "hook of an operation that returns another shape": (lambda T, x: hook_of_node(x, lambda g: (g[0][:1],)), leaf(3)),
    "hook of an operation that returns a tensor": (lambda T, x: hook_of_node(x, lambda g: g[0]), leaf(3)),
    "hook of an operation that returns less": (lambda T, x: hook_of_node(x, lambda g: ()), leaf(3)),
    "order of no samples": (lambda T: T.utils.data.DataLoader([], shuffle=True),),
    "order of samples without a length": (lambda T: T.utils.data.RandomSampler(iter([1])),),
    "data set without items": (lambda T: T.utils.data.Dataset()[0],),
    "bags that begin later": (lambda T, x: T.nn.EmbeddingBag(3, 2)(T.tensor([0, 1]), T.tensor([1])), f(3)),
    "folder that does not exist": (lambda T: T.save([1.0], "missing/folder/x.pt"),),
}  # fmt: skip

GROUPS = {
    "parts": PARTS,
    "shapes": SHAPES,
    "layers": LAYERS,
    "dtypes": DTYPES,
    "axes": AXES,
    "sizes": SIZES,
    "gradients": GRADIENTS,
    "types": TYPES,
}
EVERY = [pytest.param(case, id=f"{group}-{name}") for group, cases in GROUPS.items() for name, case in cases.items()]


def state(tensors: list[Any]) -> list[Any]:
    return [(x.detach().numpy().tolist(), x.dtype, x.requires_grad, x.grad) for x in tensors]


@pytest.mark.parametrize("case", EVERY)
def test_mistakes_are_errors_and_leave_no_trace(case):
    function, *makes = case
    arguments = [make(tracec) for make in makes]
    before = state(arguments)
    eager = check_form(caught(tracec, function, arguments))
    assert state(arguments) == before
    compiled = tracec.compile(lambda *xs: function(tracec, *xs))
    for _ in range(2):
        again = check_form(caught(tracec, lambda _, *xs: compiled(*xs), arguments))
        assert (type(again), str(again)) == (type(eager), str(eager))
        assert state(arguments) == before
    assert STATE.recorder is None


@pytest.mark.parametrize("group", GROUPS)
def test_wording(group, golden):
    """The words of a group's errors, in the order of its table."""
    found = []
    for name, (function, *makes) in GROUPS[group].items():
        error = caught(tracec, function, [make(tracec) for make in makes])
        found.append(f"# {name}\n{type(error).__name__}: {error}")
    assert "\n\n".join(found) == golden


#: What PyTorch says by accident, not by type: ``'list' object has no attribute …``.
ACCIDENTS = {
    "types-copy_ of a word",
    "types-setitem of uneven lists",
    "parts-parameter of a list",
    "parts-optimiser loads nothing",
}
FAMILIES = (IndexError, KeyError, TypeError, ValueError, NotImplementedError, RuntimeError)


@pytest.mark.parametrize("case", EVERY)
def test_types_are_pytorchs(case, request):
    torch = pytest.importorskip("torch")
    function, *makes = case
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = caught(torch, function, [make(torch) for make in makes])
    ours = caught(tracec, function, [make(tracec) for make in makes])
    assert theirs is not None, "PyTorch takes this"
    if request.node.callspec.id not in ACCIDENTS:
        assert isinstance(ours, next(k for k in FAMILIES if isinstance(theirs, k))), repr(theirs)


def test_every_class_is_caught_as_pytorchs():
    same = {
        ShapeError: (RuntimeError, ValueError),
        DTypeError: (RuntimeError, NotImplementedError, TypeError),
        DeviceError: (RuntimeError,),
        AxisError: (IndexError, RuntimeError),
        ArgumentError: (ValueError, RuntimeError),
        ArgumentTypeError: (TypeError,),
        GradientError: (RuntimeError,),
        RecordError: (RuntimeError,),
        CompileError: (RuntimeError,),
        NameMissingError: (AttributeError,),
        KeyMissingError: (KeyError,),
    }
    for error, kinds in same.items():
        assert issubclass(error, (TracecError,))
        assert all(issubclass(error, kind) for kind in kinds)


def test_errors_travel_between_processes():
    error = check_form(caught(tracec, lambda T: T.ones(2).lerp(T.ones(3), 0.5), []))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


# Going back ------------------------------------------------------------------------------------------------


def test_going_back_twice(golden):
    x = tracec.ones(3, requires_grad=True)
    loss = (x**2).sum()
    loss.backward()
    error = check_form(caught(tracec, lambda T: loss.backward(), []))
    assert isinstance(error, RuntimeError)
    assert str(error) == golden
    assert x.grad.tolist() == [2.0, 2.0, 2.0]
    kept = (x**2).sum()
    kept.backward(retain_graph=True)
    kept.backward()
    assert x.grad.tolist() == [6.0, 6.0, 6.0]


def test_going_back_twice_in_a_compiled_step():
    x = tracec.ones(3, requires_grad=True)

    @tracec.compile
    def step(times):
        loss = (x * x).sum()
        for _ in range(times):
            loss.backward()
        return loss

    assert step(1).item() == 3.0
    for _ in range(2):
        x.grad = None
        error = check_form(caught(tracec, lambda T: step(2), []))
        assert isinstance(error, GradientError) and "a second time" in str(error)
    x.grad = None
    assert step(1).item() == 3.0
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_a_compiled_function_is_of_use_after_an_error():
    @tracec.compile
    def function(x, y):
        return (tracec.sin(x) @ y).sum()

    good = tracec.ones(2, 3), tracec.ones(3, 2)
    first = function(*good)
    for _ in range(2):
        with pytest.raises(ShapeError):
            function(tracec.ones(2, 3), tracec.ones(2, 3))
    np.testing.assert_allclose(function(*good).item(), first.item(), rtol=1e-6)
    assert "compiled, 1 hits" in function.explain()


def test_an_error_of_the_users_own_comes_through():
    @tracec.compile
    def function(x):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        function(tracec.ones(3))
    assert STATE.recorder is None
