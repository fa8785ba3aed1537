"""What operations are called that gradients go back through: PyTorch's names, compared with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracec


def _made(T: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)

    def leaf(*shape: int) -> Any:
        return T.tensor(rng.standard_normal(shape).astype(np.float32), requires_grad=True)

    F, x, y, w, v, img, k = (
        T.nn.functional,
        leaf(3, 4),
        leaf(3, 4),
        leaf(4, 4),
        leaf(4),
        leaf(2, 3, 8, 8),
        leaf(4, 3, 3, 3),
    )
    classes, rows = T.tensor([0, 1, 2]), T.zeros(3, 1, dtype=T.long)
    return {
        "operators": [x + y, 1 + x, x - y, x * y, x / y, -x, x**2, 2**x.sin(), x @ w, T.bmm(x[None], w[None])],
        "reductions": [x.sum(), x.mean(), x.var(), x.std(), x.prod(), x.max(1)[0], x.norm(), x.amax(1), x.cumsum(1)],
        "functions": [x.exp(), x.abs().sqrt(), x.tanh(), x.sigmoid(), x.relu(), F.relu(x), F.gelu(x), F.silu(x),
                      F.leaky_relu(x), F.softplus(x), F.softmax(x, 1), x.log_softmax(1), x.square(), x.reciprocal()],
        "shapes": [x.view(12), x.reshape(12), x.flatten(), x.transpose(0, 1), img.permute(1, 2, 3, 0), x.unsqueeze(0),
                   v.expand(3, 4), x[0], x[:2], x.clone(), T.cat([x, y]), T.stack([x, y]), x.double(), x.repeat(2, 1)],
        "places": [x[T.tensor([0, 1])], x.gather(1, rows), x.index_select(0, T.tensor([0])), T.where(x > 0, x, y),
                   x.masked_fill(x > 0, 0.0), F.pad(x, (1, 1)), w.tril(), x.topk(2)[0], x.sort()[0]],
        "layers": [F.linear(x, w, v), F.linear(x, w), F.linear(x[None], w, v), T.addmm(v, x, w), F.conv2d(img, k),
                   F.batch_norm(img, None, None, training=True), F.layer_norm(x, (4,)), F.max_pool2d(img, 2),
                   F.avg_pool2d(img, 2), F.embedding(T.tensor([0, 1]), w)],
        "losses": [F.mse_loss(x, y), F.l1_loss(x, y), F.smooth_l1_loss(x, y), F.cross_entropy(x, classes),
                   F.nll_loss(x, classes), F.binary_cross_entropy_with_logits(x, y.sigmoid().detach())],
        "in place": [(x * 1).add_(y), (x * 1).mul_(y), (x * 1).relu_()],
    }  # fmt: skip


@pytest.mark.parametrize("kind", list(_made(tracec)))
def test_names_are_pytorchs(kind):
    torch = pytest.importorskip("torch")
    found = [type(x.grad_fn).__name__.rstrip("0123456789") for x in _made(tracec)[kind]]
    assert found == [type(x.grad_fn).__name__.rstrip("0123456789") for x in _made(torch)[kind]]


def test_the_class_has_the_name():
    x = tracec.ones(3, requires_grad=True)
    y = (x * 2 + 1).relu().mean()
    fn = y.grad_fn
    assert fn is y.grad_fn and type(fn).__name__ == fn.name() == "MeanBackward0"
    assert type(fn) is type((x * 3).mean().grad_fn) and isinstance(fn, type(fn).__mro__[1])
    seen = []
    while fn is not None:
        seen.append(type(fn).__name__)
        fn = fn.next_functions[0][0] if fn.next_functions else None
    assert seen == ["MeanBackward0", "SumBackward0", "ReluBackward0", "AddBackward0", "MulBackward0", "AccumulateGrad"]
    y.backward()
    assert x.grad is not None


def test_what_is_handed_on_keeps_its_name():
    x = tracec.ones(3, requires_grad=True)
    y = x * 2
    assert y.contiguous() is y and y.to(tracec.float32) is y and tracec.nn.functional.dropout(y, training=False) is y
    assert y.grad_fn.name() == "MulBackward0"


def test_compiled_functions_tell_the_same():
    x = tracec.ones(3, 4, requires_grad=True)
    for fn in (lambda x: x[0], lambda x: x.mean(), lambda x: x @ x.t(), lambda x: x.clone(), lambda x: x**2):
        compiled = tracec.compile(fn)
        assert [type(compiled(x).grad_fn).__name__ for _ in range(3)] == [type(fn(x).grad_fn).__name__] * 3
