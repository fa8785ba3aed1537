"""Sparse tensors against the dense ones that they stand for."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tracec
from tests.failures import caught, check_form
from tracec import nn
from tracec.errors import AxisError, DTypeError, GradientError

PLACES = [[0, 1, 1, 2, 0], [2, 0, 2, 3, 2]]


def matrix(values=(3.0, 4.0, 5.0, -1.0, 2.0), size=(3, 4), **options):
    """Five elements, two of them at one place."""
    return tracec.sparse_coo_tensor(PLACES, list(values), size, **options)


def close(found, expected, **tolerance):
    found = found.to_dense() if found.is_sparse or found.layout is tracec.sparse_csr else found
    np.testing.assert_allclose(found.detach().numpy(), np.asarray(expected), rtol=1e-5, atol=1e-6, **tolerance)


DENSE = np.array([[0, 0, 5, 0], [4, 0, 5, 0], [0, 0, 0, -1.0]], np.float32)


def test_what_is_stored():
    s = matrix()
    assert isinstance(s, tracec.Tensor) and tracec.is_tensor(s)
    assert s.is_sparse and s.layout is tracec.sparse_coo and s.shape == (3, 4) and s.size(-1) == 4
    assert (s.sparse_dim(), s.dense_dim(), s._nnz(), s.ndim, s.dim(), s.numel(), len(s)) == (2, 0, 5, 2, 2, 12, 3)
    assert s.dtype is tracec.float32 and s.device == "cpu" and not s.requires_grad
    assert not s.is_coalesced() and s.coalesce().is_coalesced() and s.coalesce()._nnz() == 4
    close(s, DENSE)
    c = s.coalesce()
    assert c.indices().tolist() == [[0, 1, 1, 2], [2, 0, 2, 3]] and c.values().tolist() == [5, 4, 5, -1]
    assert c.coalesce() is c and s._indices().tolist() == PLACES and s._values().tolist() == [3, 4, 5, -1, 2]
    for ask in (s.indices, s.values):
        with pytest.raises(RuntimeError, match="on an uncoalesced tensor"):
            ask()


def test_how_they_are_made():
    close(tracec.sparse_coo_tensor([[0, 1]], [1.0, 2.0]), [1, 2])
    close(tracec.sparse_coo_tensor((2, 3)), np.zeros((2, 3)))
    close(tracec.sparse_coo_tensor(size=(2, 3), dtype=tracec.float64), np.zeros((2, 3)))
    close(tracec.sparse_coo_tensor([[1, 1]], [[1.0, 2.0], [3.0, 4.0]], (3, 2)), [[0, 0], [4, 6], [0, 0]])
    close(
        tracec.sparse.FloatTensor(tracec.tensor(PLACES), tracec.ones(5), tracec.Size([3, 4])),
        (DENSE != 0) + DENSE * 0 + np.eye(3, 4, 2) * [[1], [0], [0]],
    )
    assert tracec.sparse_coo_tensor([[0]], [1], dtype=tracec.int32).dtype is tracec.int32
    x = tracec.tensor(DENSE)
    s = x.to_sparse()
    assert s.is_coalesced() and s._nnz() == 4
    close(s, DENSE)
    rows = x.to_sparse(1)
    assert (rows.sparse_dim(), rows.dense_dim(), rows._nnz()) == (1, 1, 3)
    close(rows, DENSE)
    close(tracec.zeros(2, 0).to_sparse(), np.zeros((2, 0)))
    close(tracec.tensor(3.0).to_sparse(), 3.0)
    close(tracec.tensor([True, False]).to_sparse(), [True, False])
    assert x.to_dense() is x and x.to_dense(tracec.float64).dtype is tracec.float64


ARITHMETIC = {
    "add": (lambda s, x: s + s * 2, lambda a, x: 3 * a),
    "add other places": (lambda s, x: s + s.t().t() + tracec.eye(3, 4).to_sparse(), lambda a, x: 2 * a + np.eye(3, 4)),
    "alpha": (lambda s, x: tracec.add(s, tracec.eye(3, 4).to_sparse(), alpha=3), lambda a, x: a + 3 * np.eye(3, 4)),
    "to dense": (lambda s, x: x + s, lambda a, x: x + a),
    "from dense": (lambda s, x: x - s, lambda a, x: x - a),
    "sub": (lambda s, x: s - tracec.ones(3, 4).to_sparse(), lambda a, x: a - 1),
    "number": (lambda s, x: 2 * s / 4, lambda a, x: a / 2),
    "floor": (lambda s, x: s.coalesce() // 1.7, lambda a, x: a // 1.7),
    "mul dense": (lambda s, x: s * x, lambda a, x: a * x),
    "dense mul": (lambda s, x: x * s, lambda a, x: a * x),
    "mul row": (lambda s, x: s * x[0], lambda a, x: a * x[0]),
    "mul sparse": (lambda s, x: s * tracec.eye(3, 4, dtype=s.dtype).to_sparse(), lambda a, x: a * np.eye(3, 4)),
    "mul none": (lambda s, x: s * tracec.zeros_like(s), lambda a, x: a * 0),
    "square": (lambda s, x: s**2, lambda a, x: a**2),
    "neg": (lambda s, x: -s, lambda a, x: -a),
    "relu": (lambda s, x: tracec.relu(s), lambda a, x: np.maximum(a, 0)),
    "sin": (lambda s, x: s.sin(), lambda a, x: np.sin(a)),
    "tanh": (lambda s, x: tracec.tanh(s), lambda a, x: np.tanh(a)),
    "sum": (lambda s, x: s.sum(), lambda a, x: a.sum()),
    "sum rows": (lambda s, x: tracec.sparse.sum(s, 0), lambda a, x: a.sum(0)),
    "sum kept": (lambda s, x: s.sum(-1, keepdim=True), lambda a, x: a.sum(-1, keepdims=True)),
    "sum both": (lambda s, x: tracec.sparse.sum(s, (0, 1)), lambda a, x: a.sum()),
    "norm": (lambda s, x: s.norm(), lambda a, x: np.linalg.norm(a)),
    "t": (lambda s, x: s.t(), lambda a, x: a.T),
    "T": (lambda s, x: s.T, lambda a, x: a.T),
    "permute": (lambda s, x: s.unsqueeze(0).permute(2, 0, 1), lambda a, x: a[None].transpose(2, 0, 1)),
    "cat": (lambda s, x: tracec.cat([s, s.to_dense().to_sparse()], 1), lambda a, x: np.concatenate([a, a], 1)),
    "stack": (lambda s, x: tracec.stack([s, s * 2], -1), lambda a, x: np.stack([a, 2 * a], -1)),
    "row": (lambda s, x: s[1], lambda a, x: a[1]),
    "column": (lambda s, x: s.select(1, -2), lambda a, x: a[:, -2]),
    "element": (lambda s, x: s[0, 2], lambda a, x: a[0, 2]),
    "rows": (lambda s, x: tracec.stack(list(s)), lambda a, x: a),
    "index_select": (lambda s, x: s.index_select(1, tracec.tensor([2, 0, 2])), lambda a, x: a[:, [2, 0, 2]]),
    "narrow_copy": (lambda s, x: s.narrow_copy(1, 1, 2), lambda a, x: a[:, 1:3]),
    "mask": (lambda s, x: x.sparse_mask(s.coalesce()), lambda a, x: x * (a != 0)),
    "mm": (lambda s, x: s @ x.t(), lambda a, x: a @ x.T),
    "mm left": (lambda s, x: x.t() @ s, lambda a, x: x.T @ a),
    "mm both": (lambda s, x: tracec.sparse.mm(s, s.t()), lambda a, x: a @ a.T),
    "mm none": (lambda s, x: tracec.mm(s, tracec.zeros_like(s).t()), lambda a, x: a @ a.T * 0),
    "mv": (lambda s, x: s @ x[0], lambda a, x: a @ x[0]),
    "vm": (lambda s, x: x[:, 0] @ s, lambda a, x: x[:, 0] @ a),
    "bmm": (
        lambda s, x: tracec.bmm(tracec.stack([s, s * 2]), tracec.stack([x.t(), -x.t()])),
        lambda a, x: np.stack([a @ x.T, -2 * a @ x.T]),
    ),
    "addmm": (
        lambda s, x: tracec.sparse.addmm(x[:, :3], s, x.t(), beta=0.5, alpha=2.0),
        lambda a, x: 0.5 * x[:, :3] + 2 * a @ x.T,
    ),
    "linear": (lambda s, x: nn.functional.linear(s, x, x[0, :3]), lambda a, x: a @ x.T + x[0, :3]),
    "csr": (lambda s, x: s.to_sparse_csr(), lambda a, x: a),
    "csr mm": (lambda s, x: s.to_sparse_csr() @ x.t(), lambda a, x: a @ x.T),
    "less": (lambda s, x: tracec.sub(s, s * 3, alpha=2), lambda a, x: -5 * a),
    "dense less sparse": (lambda s, x: x.sub(s, alpha=2), lambda a, x: x - 2 * a),
    "csr by name": (lambda s, x: tracec.mm(s.to_sparse_csr(), mat2=x.t()), lambda a, x: a @ x.T),
    "csr add": (lambda s, x: s.to_sparse_csr() + s.to_sparse_csr() * 2, lambda a, x: 3 * a),
    "csc": (lambda s, x: s.to_sparse_csr().t() @ x, lambda a, x: a.T @ x),
    "csc back": (lambda s, x: s.to_sparse_csc().to_sparse_csr().to_sparse_coo(), lambda a, x: a),
    "sampled": (
        lambda s, x: tracec.sparse.sampled_addmm(s.coalesce().to_sparse_csr(), x, x.t() @ x, beta=2.0),
        lambda a, x: np.where(a != 0, 2 * a + x @ x.T @ x, 0),
    ),
}  # fmt: skip

#: What asks for no value, so that one program is all of it.
WHOLE = frozenset(
    ["to dense", "from dense", "number", "mul dense", "dense mul", "mul row", "sum", "t", "T", "permute", "mm",
     "mm left", "mv", "vm", "bmm", "addmm", "linear"]
)  # fmt: skip
X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic(name):
    way, expected = ARITHMETIC[name]
    x = tracec.tensor(X, requires_grad=True)
    values = tracec.tensor([3.0, 4.0, 5.0, -1.0, 2.0], requires_grad=True)
    s = tracec.sparse_coo_tensor(PLACES, values, (3, 4))
    found = way(s, x).to_dense()
    close(found, expected(DENSE, X))
    if not found.requires_grad:
        return

    # Gradients are those of the elements at their places: differences of values say what they are.
    weight = tracec.tensor(np.cos(np.arange(found.numel())).reshape(tuple(found.shape)))
    (found.double() * weight).sum().backward()
    for given, grad in ((values, values.grad), (x, x.grad)):
        if grad is not None:
            check_differences(
                lambda v, x: (way(tracec.sparse_coo_tensor(PLACES, v, (3, 4)), x).to_dense() * weight).sum(),
                (values, x),
                given,
                grad,
            )


def check_differences(function, given, of, grad):
    wide = [t.detach().double() for t in given]
    at = next(k for k, t in enumerate(given) if t is of)
    numeric = np.zeros(of.numel())
    for k in range(of.numel()):
        ends = []
        for step in (1e-5, -1e-5):
            moved = [t.clone() for t in wide]
            moved[at].view(-1)[k] += step
            ends.append(function(*moved).item())
        numeric[k] = (ends[0] - ends[1]) / 2e-5
    np.testing.assert_allclose(grad.numpy().reshape(-1), numeric, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", ARITHMETIC)
def test_compiled(name):
    way, expected = ARITHMETIC[name]
    compiled = tracec.compile(lambda s, x: way(s, x), fullgraph=name in WHOLE)
    s, x = matrix(), tracec.tensor(X)
    for _ in range(3):
        close(compiled(s, x), expected(DENSE, X))


def test_softmax_counts_what_is_stored():
    s = matrix()
    shown = np.where(DENSE != 0, DENSE, -np.inf)
    e = np.exp(shown - shown.max(1, keepdims=True))
    close(tracec.sparse.softmax(s, 1), e / e.sum(1, keepdims=True))
    stored = tracec.sparse.log_softmax(s, 0).values().tolist()
    np.testing.assert_allclose(stored, [np.log(0.5), 0, np.log(0.5), 0], rtol=1e-6)
    rows = tracec.tensor(DENSE).to_sparse(1)
    close(tracec.sparse.softmax(rows, 1), np.exp(DENSE) / np.exp(DENSE).sum(1, keepdims=True))


def test_gradients_of_leaves_are_sparse():
    s = tracec.tensor(DENSE).to_sparse().requires_grad_()
    assert s.requires_grad and s.is_leaf and s.grad is None
    tracec.sparse.mm(s, tracec.ones(4, 2)).sum().backward()
    assert s.grad.is_sparse and s.grad.values().tolist() == [2.0] * 4
    s.grad = None
    assert s.grad is None and not s.detach().requires_grad and not (s * 2).is_leaf


def test_gradients_by_sparse_tensors():
    s = matrix(requires_grad=True)
    x = tracec.ones(4, 2, requires_grad=True)
    of_s, of_x = tracec.autograd.grad((s @ x).sum(), (s, x))
    assert of_s.is_sparse and of_s._values().tolist() == [2.0] * 5
    assert of_x.sum(1).tolist() == [8.0, 0.0, 20.0, -2.0]
    rows = tracec.vmap(lambda v: s.detach() @ v)(x.detach().t())
    close(rows, tracec.ones(2, 4).numpy() @ DENSE.T)


def test_gradients_reach_a_dense_tensor():
    x = tracec.tensor(DENSE, requires_grad=True)
    (x.to_sparse() * tracec.tensor(X)).sum().backward()
    close(x.grad, X * (DENSE != 0))


def test_rows():
    r = tracec.sparse_csr_tensor([0, 2, 3], [0, 2, 1], [1.0, 2.0, 3.0])
    assert r.layout is tracec.sparse_csr and r.is_sparse_csr and not r.is_sparse and r.shape == (2, 3)
    assert r.crow_indices().tolist() == [0, 2, 3] and r.col_indices().tolist() == [0, 2, 1] and r._nnz() == 3
    close(r.to_dense(), [[1, 0, 2], [0, 3, 0]])
    t = r.t()
    assert t.layout is tracec.sparse_csc and t.ccol_indices().tolist() == [0, 2, 3]
    assert t.t().layout is tracec.sparse_csr
    assert tracec.relu(-r).layout is tracec.sparse_csr and (r + r).values().tolist() == [2, 4, 6]
    c = tracec.sparse_csc_tensor([0, 1, 1, 2], [1, 0], [5.0, 6.0], (2, 3))
    close(c.to_dense(), [[0, 0, 6], [5, 0, 0]])
    assert r.sum().item() == 6 and r[0].to_dense().tolist() == [1, 0, 2]


def test_text(golden):
    with_dense = tracec.sparse_coo_tensor([[0, 2]], [[1.0, 2.0], [3.0, 4.0]], (3, 2), dtype=tracec.float64)
    shown = [
        matrix(), matrix(requires_grad=True), with_dense, tracec.sparse_coo_tensor(size=(2, 3)),
        matrix().to_sparse_csr(), matrix([1, 2, 3, 4, 5]).to_sparse_csc(),
    ]  # fmt: skip
    assert "\n\n".join(map(repr, shown)) == golden


def test_in_place():
    s = matrix()
    same = s
    s += matrix()
    s.mul_(2).neg_()
    assert s is same
    close(s, -4 * DENSE)
    x = tracec.zeros(3, 4)
    x.add_(matrix()).sub_(matrix() * 2)
    close(x, -DENSE)
    s.zero_()
    close(s, 0 * DENSE)
    close(s.copy_(matrix()), DENSE)
    for other in (matrix().double(), matrix().int()):
        assert s.add_(other).dtype is tracec.float32
    close(s, 3 * DENSE)
    with pytest.raises(DTypeError, match="result type float32 can't be cast"):
        s.int().mul_(0.5)


def test_leaves_in_place():
    s = matrix().coalesce().requires_grad_()
    for change in (s.zero_, lambda: s.mul_(2), lambda: s.copy_(matrix())):
        with pytest.raises(GradientError, match="a leaf Variable that requires grad"):
            change()
    tracec.sparse.sum(s * s).backward()
    with tracec.no_grad():
        s.mul_(2)
    assert s.is_leaf and s.requires_grad
    close(s.grad.coalesce(), 2 * DENSE)
    close(s.detach(), 2 * DENSE)


def test_elements_that_are_a_leaf_stay_one_and_the_tensor_is_none():
    values = tracec.tensor([3.0, 4.0, 5.0, -1.0, 2.0], requires_grad=True)
    s = tracec.sparse_coo_tensor(PLACES, values, (3, 4))
    assert s.requires_grad and not s.is_leaf and values.is_leaf


def test_axes_of_compressed_matrices():
    r = matrix().to_sparse_csr()
    assert r.transpose(0, 0) is r and r.transpose(-1, 1) is r and r.transpose(1, -2).layout is tracec.sparse_csc
    for axes in ((0, 2), (-3, 1)):
        with pytest.raises(AxisError, match=r"transpose: axis .* is out of range"):
            r.transpose(*axes)


def test_copies():
    s = matrix(requires_grad=True)
    for other in (copy.deepcopy(s), pickle.loads(pickle.dumps(s)), s.clone(), s.to("cpu"), s.double().float()):
        close(other, DENSE)
    assert copy.deepcopy(s).requires_grad and s.double().dtype is tracec.float64 and s.to("cpu") is s
    assert s.half().dtype is tracec.float16 and s.type(tracec.float64).dtype is tracec.float64


def test_a_graph_convolution_is_trained_compiled_as_it_is_eagerly():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("graph", tracec.sparse_coo_tensor(PLACES, tracec.ones(5) / 2, (4, 4)))
            self.inner, self.last = nn.Linear(5, 6), nn.Linear(6, 2)

        def forward(self, x):
            x = tracec.relu(tracec.spmm(self.graph, self.inner(x)))
            return tracec.log_softmax(tracec.sparse.mm(self.graph, self.last(x)), dim=1)

    losses = []
    for compiled in (False, True):
        tracec.manual_seed(0)
        net = Net().double().float().to("cpu")
        assert net.graph.is_sparse
        optimizer = tracec.optim.Adam(net.parameters(), lr=0.1)
        x, y = tracec.randn(4, 5), tracec.tensor([0, 1, 1, 0])

        def step(net=net, optimizer=optimizer, x=x, y=y):
            optimizer.zero_grad()
            loss = nn.functional.nll_loss(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        step = tracec.compile(step, fullgraph=True) if compiled else step
        losses.append([step().item() for _ in range(5)])
    assert losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_compiled_functions_see_other_elements_and_other_places():
    s = matrix()
    compiled = tracec.compile(lambda x: s @ x, fullgraph=True)
    x = tracec.tensor(X.T)
    for _ in range(2):
        close(compiled(x), DENSE @ X.T)
    s.mul_(2)
    for _ in range(2):
        close(compiled(x), 2 * DENSE @ X.T)
    with pytest.raises(RuntimeError, match="cannot be changed in place in a compiled function"):
        tracec.compile(lambda x: s.mul_(2) @ x, fullgraph=True)(x)


def test_mistakes(golden):
    s, x = matrix(), tracec.tensor(X)
    mistakes = {
        "no function": lambda T: T.exp(s),
        "no method": lambda T: s.reshape(4, 3),
        "no operator": lambda T: s > 0,
        "slices": lambda T: s[:1],
        "numpy": lambda T: s.numpy(),
        "sparse + dense": lambda T: s + x,
        "sparse + number": lambda T: s + 1,
        "division": lambda T: s / x,
        "shapes": lambda T: s + matrix(size=(4, 4)),
        "broadcast": lambda T: s * T.ones(2, 3, 4),
        "product": lambda T: s @ x,
        "dtypes": lambda T: s @ x.t().double(),
        "uncoalesced": lambda T: s.indices(),
        "dense": lambda T: x.indices(),
        "dense rows": lambda T: x.crow_indices(),
        "out of range": lambda T: T.sparse_coo_tensor([[0, 5]], [1.0, 2.0], (3,)),
        "counts": lambda T: T.sparse_coo_tensor([[0, 1]], [1.0, 2.0, 3.0], (3,)),
        "axes": lambda T: T.sparse_coo_tensor([[0, 1]], [1.0, 2.0], (3, 3)),
        "flat": lambda T: T.sparse_coo_tensor([0, 1], [1.0, 2.0]),
        "beginnings": lambda T: T.sparse_csr_tensor([0, 1], [0, 1], [1.0, 2.0]),
        "stacks": lambda T: T.sparse_csr_tensor([[0, 1]], [[0]], [[1.0]]),
        "place": lambda T: s[3],
        "layouts": lambda T: s.to_sparse_csr() + s,
        "three axes": lambda T: T.ones(2, 2, 2).to_sparse_csr(),
        "grad": lambda T: setattr(s, "grad", x),
        "zeroth power": lambda T: s**0,
    }
    assert "\n\n".join(f"# {n}\n{check_form(caught(tracec, m, []))}" for n, m in mistakes.items()) == golden
    for kind, mistake in {NotImplementedError: "no function", TypeError: "numpy", IndexError: "place"}.items():
        with pytest.raises(kind):
            mistakes[mistake](tracec)


def test_functions_that_are_methods():
    s = matrix()
    assert tracec.is_floating_point(s) and tracec.numel(s) == 12 and not tracec.is_complex(s)
    for other in (tracec.clone(s), tracec.detach(s)):
        close(other, DENSE)
    assert tracec.is_tensor(s) and not s.is_quantized and not s.is_nested and not s.is_meta


def test_assert_close():
    s, close_ = matrix(), tracec.testing.assert_close
    close_(s, s.coalesce())
    close_(s.to_sparse_csr(), s.to_sparse_csr() * (1 + 1e-7))
    for other, message in (
        (s * 2, "not close"), (s.t(), "shape"), (s.to_sparse_csr(), "layout"), (s.to_dense(), "layout"),
        (s.index_select(0, tracec.tensor([1, 0, 2])), "not"),
    ):  # fmt: skip
        with pytest.raises(AssertionError, match=message):
            close_(s, other)


def test_states_of_modules(tmp_path):
    def module():
        made = nn.Linear(2, 2)
        made.register_buffer("graph", matrix())
        return made

    first, second = module(), module()
    second.graph.mul_(2)
    assert first.state_dict()["graph"].is_sparse
    first.load_state_dict(second.state_dict())
    close(first.graph, 2 * DENSE)
    tracec.save(second.state_dict(), tmp_path / "x.pt")
    first.load_state_dict(tracec.load(tmp_path / "x.pt"))
    close(first.graph, 2 * DENSE)
