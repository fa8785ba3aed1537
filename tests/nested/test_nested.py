"""Nested tensors against the tensors that they hold, one by one."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tracec
import tracec.nn.functional as F
from tests.failures import caught, check_form
from tracec import nn
from tracec.errors import DTypeError

SIZES = (2, 3, 0, 5)


def tensors(*more, sizes=SIZES, seed=0, requires_grad=False):
    rng = np.random.default_rng(seed)
    more = more or (4,)
    return [tracec.tensor(rng.normal(size=(n, *more)).astype(np.float32)).requires_grad_(requires_grad) for n in sizes]


def nested(given, layout=tracec.jagged):
    return tracec.nested.as_nested_tensor(given, layout=layout)


def close(found, expected):
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_what_they_are():
    parts = tensors()
    x = nested(parts)
    assert isinstance(x, tracec.Tensor) and x.is_nested and x.layout is tracec.jagged and not x.is_sparse
    assert x.size(0) == len(x) == 4 and x.size(-1) == 4 and x.ndim == x.dim() == 3 and x.numel() == 40
    assert str(x.shape[1])[0] == "j" and x.shape[1] is (x * 2).shape[1] and x.shape[1] is not nested(parts).shape[1]
    assert x.offsets().tolist() == [0, 2, 5, 5, 10] and x.dtype is tracec.float32 and x.device == "cpu"
    close(x.values(), tracec.cat(parts))
    for found, part in zip(x.unbind(), parts, strict=True):
        close(found, part)
    close(x[1], parts[1])
    close(x[-1, 2:], parts[-1][2:])
    assert [p.shape[0] for p in x] == list(SIZES)
    assert not tracec.ones(2).is_nested and repr(tracec.jagged) == "tracec.jagged"


def test_how_they_are_made():
    values = tracec.arange(10.0).reshape(5, 2)
    x = tracec.nested.nested_tensor_from_jagged(values, tracec.tensor([0, 2, 5]))
    y = tracec.nested.nested_tensor_from_jagged(values, lengths=tracec.tensor([2, 3]))
    for found in (x, y):
        assert [t.tolist() for t in found.unbind()] == [[[0, 1], [2, 3]], [[4, 5], [6, 7], [8, 9]]]
    z = tracec.nested.nested_tensor([[1, 2], [3]], dtype=tracec.float64, requires_grad=True)
    assert z.layout is tracec.strided and z.requires_grad and z.dtype is tracec.float64 and z.is_leaf
    rows = tracec.nested.as_nested_tensor(tracec.ones(2, 3), layout=tracec.jagged)
    assert rows.offsets().tolist() == [0, 3, 6]
    picked = tracec.nested.masked_select(values, values % 3 == 0)
    assert [t.tolist() for t in picked.unbind()] == [[0], [3], [], [6], [9]]
    cut = tracec.nested.narrow(
        values.reshape(1, 5, 2).expand(2, 5, 2), 1, tracec.tensor([0, 3]), tracec.tensor([1, 2]), layout=tracec.jagged
    )
    assert [t.shape[0] for t in cut.unbind()] == [1, 2]
    last = tracec.nested.nested_tensor([tracec.ones(3, 2), tracec.ones(3, 4)])
    assert [t.shape for t in last.unbind()] == [(3, 2), (3, 4)]


def test_padding():
    parts = tensors()
    x = nested(parts)
    padded = x.to_padded_tensor(-1.0)
    assert padded.shape == (4, 5, 4)
    for row, part in zip(padded, parts, strict=True):
        close(row[: len(part)], part)
        assert (row[len(part) :] == -1).all()
    assert tracec.nested.to_padded_tensor(x, 0.0, (4, 6, 5)).shape == (4, 6, 5)
    with pytest.raises(RuntimeError, match="no axis may be smaller"):
        x.to_padded_tensor(0.0, (4, 4, 4))


#: Function of nested tensors → the same of one of the tensors.
EACH = {
    "number": (lambda x, y: 2 * x + 1, lambda x, y: 2 * x + 1),
    "two": (lambda x, y: x * x - x / 2, lambda x, y: x * x - x / 2),
    "reflected": (lambda x, y: 1 - x, lambda x, y: 1 - x),
    "power": (lambda x, y: x**2, lambda x, y: x**2),
    "row": (lambda x, y: x * y[0], lambda x, y: x * y[0]),
    "relu": (lambda x, y: tracec.relu(x), lambda x, y: tracec.relu(x)),
    "gelu": (lambda x, y: F.gelu(x), lambda x, y: F.gelu(x)),
    "exp": (lambda x, y: x.exp(), lambda x, y: x.exp()),
    "where": (lambda x, y: tracec.where(x > 0, x, 0.0), lambda x, y: tracec.where(x > 0, x, 0.0)),
    "masked_fill": (lambda x, y: x.masked_fill(x > 0, 0.5), lambda x, y: x.masked_fill(x > 0, 0.5)),
    "linear": (lambda x, y: F.linear(x, y, y[:, 0]), lambda x, y: F.linear(x, y, y[:, 0])),
    "matmul": (lambda x, y: x @ y.t(), lambda x, y: x @ y.t()),
    "layer_norm": (lambda x, y: F.layer_norm(x, (4,)), lambda x, y: F.layer_norm(x, (4,))),
    "normalize": (lambda x, y: F.normalize(x, dim=-1), lambda x, y: F.normalize(x, dim=-1)),
    "glu": (lambda x, y: F.glu(x), lambda x, y: F.glu(x)),
    "softmax": (lambda x, y: tracec.softmax(x, -1), lambda x, y: tracec.softmax(x, -1)),
    "log_softmax": (lambda x, y: x.log_softmax(2), lambda x, y: x.log_softmax(1)),
    "ragged softmax": (lambda x, y: tracec.softmax(x, 1), lambda x, y: tracec.softmax(x, 0)),
    "sum of rows": (lambda x, y: x.sum(-1), lambda x, y: x.sum(-1)),
    "mean of rows": (lambda x, y: x.mean(-1, keepdim=True), lambda x, y: x.mean(-1, keepdim=True)),
    "max of rows": (lambda x, y: x.max(-1).values, lambda x, y: x.max(-1).values),
    "unflatten": (lambda x, y: x.unflatten(-1, [2, 2]), lambda x, y: x.unflatten(-1, [2, 2])),
    "view": (lambda x, y: x.view(4, -1, 2, 2), lambda x, y: x.view(-1, 2, 2)),
    "heads": (
        lambda x, y: x.unflatten(-1, [2, 2]).transpose(1, 2) * 2,
        lambda x, y: x.unflatten(-1, [2, 2]).transpose(0, 1) * 2,
    ),
    "back": (
        lambda x, y: x.unflatten(-1, [2, 2]).transpose(1, 2).transpose(1, 2).flatten(-2),
        lambda x, y: x,
    ),
    "permute": (lambda x, y: x.unsqueeze(-1).permute(0, 3, 2, 1), lambda x, y: x.unsqueeze(-1).permute(2, 1, 0)),
    "squeeze": (lambda x, y: x.unsqueeze(1).squeeze(1), lambda x, y: x),
    "chunk": (lambda x, y: x.chunk(2, -1)[1], lambda x, y: x.chunk(2, -1)[1]),
    "split": (lambda x, y: x.split([1, 3], 2)[1], lambda x, y: x.split([1, 3], 1)[1]),
    "narrow": (lambda x, y: x.narrow(-1, 1, 2), lambda x, y: x.narrow(-1, 1, 2)),
    "select": (lambda x, y: x.select(-1, 0), lambda x, y: x.select(-1, 0)),
    "dots": (lambda x, y: x[..., 1:], lambda x, y: x[..., 1:]),
    "cat": (lambda x, y: tracec.cat([x, x * 2], -1), lambda x, y: tracec.cat([x, x * 2], -1)),
    "stack": (lambda x, y: tracec.stack([x, -x], 2), lambda x, y: tracec.stack([x, -x], 1)),
    "attention": (
        lambda x, y: F.scaled_dot_product_attention(*[x.unflatten(-1, [2, 2]).transpose(1, 2)] * 3, is_causal=True),
        lambda x, y: F.scaled_dot_product_attention(*[x.unflatten(-1, [2, 2]).transpose(0, 1)] * 3, is_causal=True),
    ),
}  # fmt: skip
#: Function of nested tensors that gives a dense one → the same of one of the tensors.
DENSE = {
    "sum": (lambda x: x.sum(1), lambda x: x.sum(0)),
    "sum kept": (lambda x: x.sum(1, keepdim=True), lambda x: x.sum(0, keepdim=True)),
    "sum of both": (lambda x: x.sum((1, 2)), lambda x: x.sum()),
    "mean": (lambda x: x.mean(dim=1), lambda x: x.mean(0)),
    "amax": (lambda x: x.amax(1), lambda x: x.amax(0)),
    "min": (lambda x: x.min(1).values, lambda x: x.min(0).values),
    "argmax": (lambda x: x.argmax(1), lambda x: x.argmax(0)),
    "prod": (lambda x: x.prod(1), lambda x: x.prod(0)),
    "any": (lambda x: (x > 1).any(1), lambda x: (x > 1).any(0)),
    "logsumexp": (lambda x: x.logsumexp(1), lambda x: x.logsumexp(0)),
    "contraction": (lambda x: x.transpose(1, 2) @ x, lambda x: x.t() @ x),
}
Y = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize("layout", [tracec.jagged, tracec.strided])
@pytest.mark.parametrize("name", EACH)
def test_functions_of_each(name, layout):
    way, one = EACH[name]
    found = []
    for together in (True, False):
        parts, y = tensors(requires_grad=True), tracec.tensor(Y, requires_grad=True)
        results = way(nested(parts, layout), y).unbind() if together else [one(p, y) for p in parts]
        weights = [tracec.cos(tracec.arange(r.numel())).reshape(r.shape) for r in results]
        sum((r * w).sum() for r, w in zip(results, weights, strict=True)).backward()
        found.append([*results, *(p.grad for p in parts if len(p)), *([] if y.grad is None else [y.grad])])
    for mine, expected in zip(*found, strict=True):
        assert mine.shape == expected.shape
        close(mine, expected)


@pytest.mark.parametrize("name", DENSE)
def test_reductions(name):
    way, one = DENSE[name]
    found = []
    for together in (True, False):
        parts = tensors(sizes=(2, 3, 1, 5), requires_grad=True)
        result = way(nested(parts)) if together else tracec.stack([one(p) for p in parts])
        found.append([result])
        if result.requires_grad:
            (result * tracec.cos(tracec.arange(result.numel())).reshape(result.shape)).sum().backward()
            found[-1] += [p.grad for p in parts]
    for mine, expected in zip(*found, strict=True):
        assert mine.shape == expected.shape
        close(mine, expected)


def test_reductions_of_all():
    parts = tensors()
    x = nested(parts)
    close(x.sum(), tracec.cat(parts).sum())
    close(x.mean(), tracec.cat(parts).mean())
    close(x.max(), tracec.cat(parts).max())
    assert x.mean(1)[2].isnan().all() and (x.sum(1)[2] == 0).all()
    close(x.sum((0, 1)), tracec.cat(parts).sum(0))


def test_dense_operands_broadcast():
    parts = tensors()
    x = nested(parts)
    one = tracec.randn(4, 1, 4)
    for found, part, row in zip((x + one).unbind(), parts, one, strict=True):
        close(found, part + row)
    padded = tracec.randn(4, 5, 4)
    for found, part, row in zip((padded * x).unbind(), parts, padded, strict=True):
        close(found, part * row[: len(part)])
    each = tracec.randn(4, 4, 2)
    for found, part, row in zip((x @ each).unbind(), parts, each, strict=True):
        close(found, part @ row)


def test_attention_to_others():
    wide = [t.unflatten(-1, [2, 2]) for t in (nested(tensors()), nested(tensors(sizes=(4, 1, 2, 3), seed=1)))]
    q, k = (t.transpose(1, 2) for t in wide)
    found = F.scaled_dot_product_attention(q, k, k)
    for mine, a, b in zip(found.unbind(), q.unbind(), k.unbind(), strict=True):
        close(mine, F.scaled_dot_product_attention(a, b, b))


def test_layers_of_each():
    layers = nn.Sequential(
        nn.Embedding(5, 8), nn.LayerNorm(8), nn.Linear(8, 6), nn.GELU(), nn.Dropout(0.0), nn.SiLU(), nn.Softmax(-1)
    )
    parts = [tracec.tensor(p) for p in ([1, 2], [3, 4, 0], [2])]
    found = layers(nested(parts))
    for mine, part in zip(found.unbind(), parts, strict=True):
        close(mine, layers(part))
    found.sum().backward()
    assert layers[0].weight.grad.shape == (5, 8)


class Attention(nn.Module):
    """Self-attention over nested tensors, as PyTorch's tutorial writes it."""

    def __init__(self, width=4, heads=2):
        super().__init__()
        self.heads, self.packed, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        query, key, value = (t.unflatten(-1, [self.heads, -1]).transpose(1, 2) for t in self.packed(x).chunk(3, dim=-1))
        found = F.scaled_dot_product_attention(query, key, value, dropout_p=0.0)
        return self.out(found.transpose(1, 2).flatten(-2))


def test_a_module_is_trained_compiled_as_it_is_eagerly():
    losses = []
    for compiled in (False, True):
        tracec.manual_seed(0)
        module = Attention()
        optimizer = tracec.optim.SGD(module.parameters(), lr=0.1)

        def step(x, module=module, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (module(x).mean(1) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

        step = tracec.compile(step, fullgraph=True) if compiled else step
        x = nested(tensors(sizes=(2, 3, 1, 5)))
        losses.append([step(x).item() for _ in range(4)])
    assert losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


@pytest.mark.parametrize("name", EACH)
def test_compiled(name):
    way, one = EACH[name]
    compiled = tracec.compile(lambda x, y: way(x, y), fullgraph=True)
    y = tracec.tensor(Y)
    for sizes in (SIZES, SIZES, SIZES, (1, 2, 3, 4), (1, 2, 3, 4)):
        parts = tensors(sizes=sizes)
        x = nested(parts)
        found = compiled(x, y)
        assert type(found) is type(x)
        for mine, part in zip(found.unbind(), parts, strict=True):
            close(mine, one(part, y))


def test_sizes_that_are_read_off_offsets_are_compiled():
    compiled = tracec.compile(lambda v, o: tracec.nested.nested_tensor_from_jagged(v, o).to_padded_tensor(0.0))
    for ends in ([0, 2, 5], [0, 1, 5], [0, 2, 5], [0, 1, 5]):
        values = tracec.randn(5, 2)
        found = compiled(values, tracec.tensor(ends))
        close(found, tracec.nested.nested_tensor_from_jagged(values, tracec.tensor(ends)).to_padded_tensor(0.0))


def test_results_of_compiled_functions_are_cut_alike():
    compiled = tracec.compile(lambda x: (x * 2, x + 1))
    for _ in range(3):
        x = nested(tensors())
        a, b = compiled(x)
        close((a + b + x).values(), x.values() * 4 + 1)


def test_copies_and_gradients():
    x = tracec.nested.nested_tensor(tensors(), layout=tracec.jagged, requires_grad=True)
    (x * x).sum().backward()
    close(x.grad.values(), 2 * x.values())
    assert x.grad.is_nested and x.is_leaf and not x.detach().requires_grad
    for other in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.clone(), x.double().float(), x.to("cpu")):
        close(other.values(), x.values())
        assert other.offsets().tolist() == x.offsets().tolist()
    y = x.detach()
    y.mul_(2).add_(1)
    close(y.values(), 2 * tracec.cat(tensors()) + 1)
    assert y.add_(y.double()).dtype is tracec.float32
    with pytest.raises(DTypeError, match="mul_: result type float32 can't be cast to the desired output type int32"):
        y.int().mul_(0.5)
    assert tracec.zeros_like(x).values().sum() == 0 and tracec.randn_like(x).is_nested


def test_text(golden):
    parts = [tracec.arange(4.0).reshape(2, 2), tracec.arange(2.0).reshape(1, 2)]
    listed = tracec.nested.nested_tensor(parts)
    cut = nested(parts)
    text = "\n\n".join([repr(listed), repr(cut), repr(cut.transpose(1, 2)), repr(tuple(cut.shape))])
    assert text.replace(repr(cut.shape[1]), "j1") == golden


def test_mistakes(golden):
    parts = tensors()
    x, other = nested(parts), nested(parts)
    listed = tracec.nested.nested_tensor(parts)
    mistakes = {
        "empty": lambda T: T.nested.nested_tensor([]),
        "numbers": lambda T: T.nested.nested_tensor([1.0, 2.0]),
        "two ragged axes": lambda T: T.nested.nested_tensor([T.ones(2, 3), T.ones(3, 4)]),
        "dimensions": lambda T: T.nested.nested_tensor([T.ones(2, 3), T.ones(3)]),
        "offsets": lambda T: T.nested.nested_tensor_from_jagged(T.ones(3), T.tensor([0, 2])),
        "neither": lambda T: T.nested.nested_tensor_from_jagged(T.ones(3)),
        "cut otherwise": lambda T: x + T.nested.nested_tensor(parts[::-1], layout=T.jagged),
        "other cut": lambda T: x + other,
        "broadcast": lambda T: x + T.ones(4, 3, 4),
        "function": lambda T: T.cumsum(x, 1),
        "numpy": lambda T: x.numpy(),
        "dense": lambda T: x.to_dense(),
        "batch": lambda T: x.sum(0),
        "transpose": lambda T: x.transpose(0, 1),
        "view": lambda T: x.view(2, 2, -1, 4),
        "index": lambda T: x[:, 0],
        "size": lambda T: listed.size(1),
        "number of the size": lambda T: T.ones(x.size(1)),
        "product": lambda T: x @ x.transpose(1, 2),
        "norm": lambda T: F.layer_norm(x.transpose(1, 2), (5,)),
        "mask": lambda T: F.scaled_dot_product_attention(*[x.unsqueeze(1)] * 3, T.ones(1)),
        "no nested tensor": lambda T: T.nested.to_padded_tensor(T.ones(2), 0.0),
    }
    text = "\n\n".join(f"# {n}\n{check_form(caught(tracec, m, []))}" for n, m in mistakes.items())
    for k, t in enumerate((x, other, listed)):
        text = text.replace(repr(t._ragged), f"j{k}")
    import re

    assert re.sub(r"j\d{2,}", "j9", text) == golden


def test_offsets_that_a_program_computes_must_rise() -> None:
    values = tracec.arange(6.0).reshape(6, 1)
    f = tracec.compile(lambda v, o: tracec.nested.nested_tensor_from_jagged(v, (o * 1.0).long()).values().sum())
    for ends in ([0.0, 2.0, 6.0], [0.0, 3.0, 6.0]):
        assert f(values, tracec.tensor(ends)).item() == 15.0
    for ends in ([0.0, 6.0, 2.0, 6.0], [1.0, 2.0, 6.0], [0.0, 2.0, 5.0]):
        with pytest.raises(RuntimeError, match=r"nested_tensor_from_jagged: offsets .*for 6 places"):
            f(values, tracec.tensor(ends))
