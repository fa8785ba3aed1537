"""Hooks, parametrisations, pruning and tables by their definitions, without PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tracec import nn
from tracec.errors import ArgumentError, NameTakenError, RecordError
from tracec.nn.utils import parametrizations, parametrize, prune


def test_backward_hooks_see_and_change_gradients():
    linear, seen = nn.Linear(2, 1, bias=False), []
    linear.register_full_backward_pre_hook(lambda m, out: (out[0] * 2,))
    linear.register_full_backward_hook(lambda m, into, out: seen.append((into[0].tolist(), out[0].tolist())))
    linear.register_full_backward_hook(lambda m, into, out: (into[0] + 1,))
    x = tracec.ones(1, 2, requires_grad=True)
    linear(x).sum().backward()
    w = linear.weight.detach()
    assert seen == [((w * 2).tolist(), [[2.0]])]
    np.testing.assert_allclose(x.grad.numpy(), (w * 2 + 1).numpy())
    np.testing.assert_allclose(linear.weight.grad.numpy(), [[2.0, 2.0]])


def test_hooks_that_are_always_called():
    calls = []

    class Broken(nn.Module):
        def forward(self, x):
            raise ValueError("no")

    net = Broken()
    net.register_forward_hook(lambda m, args, out: calls.append(out), always_call=True)
    net.register_forward_hook(lambda m, args, out: calls.append("never"))
    with pytest.raises(ValueError, match="no"):
        net(1)
    assert calls == [None]


def test_hooks_of_states():
    net, other = nn.Linear(2, 1), nn.Linear(2, 1)
    net.register_state_dict_post_hook(lambda m, state, prefix, meta: state.update(extra=3))
    state = net.state_dict()
    assert state["extra"] == 3 and state._metadata == {"": {"version": 1}}
    other.register_load_state_dict_pre_hook(lambda m, state, *_: state.pop("extra"))
    seen = []
    other.register_load_state_dict_post_hook(lambda m, keys: seen.append(m.weight.equal(net.weight)))
    assert str(other.load_state_dict(state)) == "<All keys matched successfully>"
    assert seen == [True] and "extra" in state


def test_modules_without_hooks_have_no_tables():
    net = nn.Linear(2, 1)
    net(tracec.ones(2))
    net.load_state_dict(net.state_dict())
    assert not [name for name in net.__dict__ if name.endswith("_hooks")]


def test_names_that_are_taken():
    with pytest.raises(NameTakenError, match="attribute 'forward' already exists in Linear"):
        nn.Linear(1, 1).register_buffer("forward", tracec.ones(1))
    with pytest.raises(KeyError):
        nn.Linear(1, 1).add_module("a.b", nn.ReLU())


class Symmetric(nn.Module):
    def forward(self, X):
        return X.triu() + X.triu(1).mT

    def right_inverse(self, A):
        return A.triu()


def test_parametrised_tensors():
    net = nn.Linear(3, 3)
    optimizer = tracec.optim.SGD(net.parameters(), lr=0.1)
    parametrize.register_parametrization(net, "weight", Symmetric())
    assert net.weight.equal(net.weight.mT) and type(net).__name__ == "ParametrizedLinear"
    before = net.weight.detach().clone()
    net(tracec.ones(1, 3)).sum().backward()
    optimizer.step()  # it holds what the tensor is computed from
    assert net.weight.equal(net.weight.mT) and not net.weight.equal(before)
    net.weight = tracec.eye(3)
    assert net.parametrizations.weight.original.equal(tracec.eye(3))
    with pytest.raises(RecordError, match="Scale does not implement right_inverse"):
        _set_without_inverse(net)
    parametrize.remove_parametrizations(net, "weight")
    parametrize.remove_parametrizations(net, "bias")
    assert isinstance(net.weight, nn.Parameter) and type(net) is nn.Linear
    with pytest.raises(ArgumentError, match="the parametrisation gives float32 of shape"):
        parametrize.register_parametrization(net, "weight", nn.Linear(3, 2))


def _set_without_inverse(net):
    class Scale(nn.Module):
        def forward(self, x):
            return x * 2

    parametrize.register_parametrization(net, "bias", Scale())
    net.bias = tracec.ones(3)


def test_norms_of_weights():
    tracec.manual_seed(0)
    net = parametrizations.weight_norm(nn.Linear(3, 4).double())
    with tracec.no_grad():
        net.parametrizations.weight.original0.copy_(tracec.tensor([[1.0], [2.0], [3.0], [4.0]]))
    np.testing.assert_allclose(np.linalg.norm(net.weight.detach().numpy(), axis=1), [1, 2, 3, 4])
    net = parametrizations.spectral_norm(nn.Linear(3, 4).double(), n_power_iterations=1000)
    np.testing.assert_allclose(np.linalg.norm(net.weight.detach().numpy(), 2), 1, rtol=1e-9)
    net = nn.utils.spectral_norm(nn.Conv2d(2, 3, 3).double(), n_power_iterations=1000)
    net(tracec.ones(1, 2, 3, 3, dtype=tracec.float64))
    np.testing.assert_allclose(np.linalg.norm(net.weight.detach().numpy().reshape(3, -1), 2), 1, rtol=1e-6)


@pytest.mark.parametrize("by", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2)])
def test_orthogonal_weights(by, shape):
    net = parametrizations.orthogonal(nn.Linear(*shape[::-1]).double(), orthogonal_map=by)
    net(tracec.ones(1, shape[1], dtype=tracec.float64)).pow(2).sum().backward()
    with tracec.no_grad():
        original = net.parametrizations.weight.original
        original -= 0.3 * original.grad
    W = net.weight.detach().numpy()
    product = W @ W.T if shape[0] <= shape[1] else W.T @ W
    np.testing.assert_allclose(product, np.eye(min(shape)), atol=1e-12)


def test_pruning():
    tracec.manual_seed(0)
    net = nn.Linear(4, 3)
    kept = net.weight.detach().clone()
    prune.l1_unstructured(net, "weight", 0.5)
    prune.ln_structured(net, "weight", 1, 2, 0)
    mask = net.weight_mask.numpy()
    assert 6 <= (mask == 0).sum() <= 10 and (mask == 0).all(1).sum() >= 1
    assert net.weight.equal(net.weight_mask * kept) and prune.is_pruned(net)
    net(tracec.ones(1, 4)).sum().backward()
    assert net.weight_orig.grad.equal(net.weight_mask)
    prune.remove(net, "weight")
    assert [n for n, _ in net.named_parameters()] == ["bias", "weight"] and not prune.is_pruned(net)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_are_their_rows(mode):
    bags, rows = nn.EmbeddingBag(6, 3, mode=mode, padding_idx=5), np.array([0, 1, 5, 2, 2, 5, 4])
    offsets = np.array([0, 3, 3, 5, 6])
    found = bags(tracec.from_numpy(rows), tracec.from_numpy(offsets)).detach().numpy()
    table = bags.weight.detach().numpy()
    for k, part in enumerate(np.split(rows, offsets[1:])):
        own = table[part[part != 5]]
        wanted = getattr(own, mode)(0) if len(own) else np.zeros(3)
        np.testing.assert_allclose(found[k], wanted, rtol=1e-6, atol=1e-7)


def test_adaptive_softmax_is_a_distribution():
    net = nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 7], div_value=2.0).double()
    x, target = tracec.randn(5, 8, dtype=tracec.float64), tracec.tensor([0, 2, 3, 7, 11])
    logp = net.log_prob(x)
    np.testing.assert_allclose(logp.exp().sum(1).detach().numpy(), np.ones(5))
    out, loss = net(x, target)
    np.testing.assert_allclose(out.detach().numpy(), logp.detach().numpy()[np.arange(5), target.numpy()])
    assert loss.item() == pytest.approx(-out.mean().item())
    assert net.predict(x).equal(logp.argmax(1))


@pytest.mark.parametrize("compiled", [False, True])
def test_what_has_backward_hooks_lies_where_it_lay(compiled):
    """Programs know a module's result again as the next one's argument by where it lies."""
    first, second, places = nn.Linear(3, 4), nn.Tanh(), []
    first.register_forward_hook(lambda module, args, result: places.append(result.data_ptr()) if not compiled else None)
    second.register_forward_hook(lambda module, args, _: places.append(args[0].data_ptr()) if not compiled else None)
    for module in (first, second):
        module.register_full_backward_hook(lambda module, grads, outputs: None)
    weight = first.weight.detach().clone()

    def step(x):
        first.zero_grad()
        second(first(x)).sum().backward()
        return first.weight.grad

    run = tracec.compile(step) if compiled else step
    x = tracec.arange(6.0).reshape(2, 3) / 10
    found = [run(x).clone() for _ in range(2)]
    reference = weight.clone().requires_grad_()
    tracec.tanh(x @ reference.T + first.bias.detach()).sum().backward()
    assert all(tracec.allclose(g, reference.grad) for g in found)
    assert places[::2] == places[1::2]
