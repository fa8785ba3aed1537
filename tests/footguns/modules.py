"""Modules: modes, hooks, replaced and shared parts, methods, copies, pickles."""

from __future__ import annotations

import copy
import pickle

import tracec
from tests.footguns.harness import as_it_is, footgun, tensor
from tracec import nn


@footgun
def training_flag(wrap):
    m = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    with tracec.no_grad():
        for i, p in enumerate(m.parameters()):
            p.copy_(tensor(*p.shape, seed=i))
    f = wrap(m)
    tracec.manual_seed(0)
    found = []
    for mode in (True, True, False, False, True):
        m.train(mode)
        found.append(f(tensor(4, 3)))
    return found


@footgun(rounded=1e-5)
def batchnorm(wrap):
    m = nn.BatchNorm1d(3) if hasattr(nn, "BatchNorm1d") else nn.BatchNorm2d(3)
    f = wrap(m)
    found = []
    for i, mode in enumerate((True, True, False, True, False)):
        m.train(mode)
        found.append(f(tensor(4, 3, seed=i)))
        found += [b.clone() for b in m.buffers()]
    return found


@footgun
def replaced_param(wrap):
    m = nn.Linear(3, 3)
    with tracec.no_grad():
        m.weight.copy_(tensor(3, 3))
        m.bias.zero_()
    f = wrap(m)
    found = [f(tensor(2, 3)), f(tensor(2, 3))]
    m.weight = nn.Parameter(tensor(3, 3, seed=5))
    found.append(f(tensor(2, 3)))
    m.weight.data = tensor(3, 3, seed=6)
    found.append(f(tensor(2, 3)))
    m.bias = None
    found.append(f(tensor(2, 3)))
    return found


@footgun
def replaced_module(wrap):
    m = nn.Sequential(nn.ReLU(), nn.ReLU())
    f = wrap(m)
    found = [f(tensor(3)), f(tensor(3))]
    m[0] = nn.Tanh()
    found.append(f(tensor(3)))
    m.append(nn.Sigmoid())
    found.append(f(tensor(3)))
    return found


@footgun
def monkeypatched(wrap):
    m = nn.ReLU()
    f = wrap(lambda x: m(x))
    found = [f(tensor(3)), f(tensor(3))]
    m.forward = lambda x: x * 5
    found.append(f(tensor(3)))
    return found


@footgun
def monkeypatch_class(wrap):

    class M(nn.Module):
        def forward(self, x):
            return x * 2

    m = M()
    f = wrap(m)
    found = [f(tensor(3)), f(tensor(3))]
    M.forward = lambda s, x: x * 5
    found.append(f(tensor(3)))
    return found


@footgun
def hooks_added(wrap):
    m = nn.Sequential(nn.ReLU())
    f = wrap(m)
    found = [f(tensor(3)), f(tensor(3))]
    h = m[0].register_forward_hook(lambda m, i, o: o * 5)
    found.append(f(tensor(3)))
    h.remove()
    found.append(f(tensor(3)))
    return found


@footgun
def freeze(wrap):
    m = nn.Linear(3, 1)
    with tracec.no_grad():
        m.weight.copy_(tensor(1, 3))
        m.bias.zero_()

    def step(x):
        m.zero_grad()
        items = m(x).sum()
        items.backward()
        return items

    s = wrap(step)
    found = []
    for fl in (True, True, False, False, True, True):
        m.weight.requires_grad_(fl)
        m.weight.grad = None
        found.append(s(tensor(2, 3)))
        found.append(None if m.weight.grad is None else m.weight.grad.clone())
    return found


@footgun
def freeze_direct(wrap):
    m = nn.Linear(3, 1)
    with tracec.no_grad():
        m.weight.copy_(tensor(1, 3))
        m.bias.zero_()
    f = wrap(m)
    found = []
    for fl in (True, True, False, False, True, True):
        m.weight.requires_grad = fl
        m.zero_grad()
        y = f(tensor(2, 3))
        y.sum().backward()
        found.append(None if m.weight.grad is None else m.weight.grad.clone())
        found.append(m.bias.grad.clone())
    return found


@footgun(rounded=1e-5)
def shared_weights(wrap):
    w = tensor(3, 3, g=True)
    f = wrap(lambda x: (x @ w).tanh() @ w.T)
    found = []
    for i in range(3):
        w.grad = None
        f(tensor(2, 3, seed=i)).sum().backward()
        found.append(w.grad.clone())
    return found


@footgun
def method_decorated(wrap):

    class A:
        def __init__(s, k):
            s.k = k

        @wrap
        def run(s, x):
            return x * s.k

    a, b = (A(1.0), A(2.0))
    found = []
    for _i in range(3):
        found += [a.run(tensor(3)), b.run(tensor(3))]
        a.k += 1
    return found


@footgun
def method_decorated_module(wrap):

    class A(nn.Module):
        def __init__(s, k):
            super().__init__()
            s.w = nn.Parameter(tensor(3, seed=k))
            s.l = nn.Linear(3, 3)

        @wrap
        def forward(s, x):
            return x * s.w * (2 if s.training else 1)

    a, b = (A(1), A(2))
    found = []
    for i in range(3):
        found += [a(tensor(3)), b(tensor(3))]
        a.train(i % 2 == 0)
    return found


@footgun
def deepcopy_method(wrap):

    class A(nn.Module):
        def __init__(s, k):
            super().__init__()
            s.w = nn.Parameter(tensor(3, seed=k))

        @wrap
        def forward(s, x):
            return x * s.w

    a = A(1)
    found = [a(tensor(3)), a(tensor(3))]
    b = copy.deepcopy(a)
    with tracec.no_grad():
        b.w.mul_(2)
    found += [a(tensor(3)), b(tensor(3)), b(tensor(3))]
    return found


class Scaled(nn.Module):
    def __init__(s, k):
        super().__init__()
        s.w = nn.Parameter(tensor(3, seed=k))

    def forward(s, x):
        return x * s.w


class ScaledCompiled(nn.Module):
    def __init__(s, k):
        super().__init__()
        s.w = nn.Parameter(tensor(3, seed=k))

    @tracec.compile
    def forward(s, x):
        return x * s.w


@footgun
def pickle_method(wrap):
    a = (ScaledCompiled if wrap is not as_it_is else Scaled)(1)
    found = [a(tensor(3)), a(tensor(3))]
    b = pickle.loads(pickle.dumps(a))
    found += [b(tensor(3)), b(tensor(3))]
    found.append(sorted(a.state_dict()))
    return found


@footgun
def deepcopy_compiled(wrap):
    m = nn.Linear(3, 3)
    with tracec.no_grad():
        m.weight.copy_(tensor(3, 3))
        m.bias.zero_()
    f = wrap(m)
    found = [f(tensor(2, 3)), f(tensor(2, 3))]
    g = copy.deepcopy(f)
    with tracec.no_grad():
        m.weight.mul_(2)
    found += [f(tensor(2, 3)), g(tensor(2, 3)), g(tensor(2, 3))]
    return found


@footgun
def compiled_module_api(wrap):
    m = nn.Linear(3, 3)
    with tracec.no_grad():
        m.weight.copy_(tensor(3, 3))
        m.bias.zero_()
    f = wrap(m)
    found = []
    found.append(len(list(f.parameters())))
    f.eval()
    found.append(m.training)
    found.append(sorted(f.state_dict()))
    f.train()
    found += [f(tensor(2, 3)), f(tensor(2, 3, seed=1))]
    return found


@footgun
def train_mode_toggle_in_step(wrap):
    m = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    with tracec.no_grad():
        for i, p in enumerate(m.parameters()):
            p.copy_(tensor(*p.shape, seed=i))

    def f(x):
        m.eval()
        y = m(x)
        m.train()
        return y

    f = wrap(f)
    found = []
    m.train()
    for _ in range(3):
        found.append(f(tensor(2, 3)))
        found.append(m.training)
    m.eval()
    found.append(f(tensor(2, 3)))
    found.append(m.training)
    return found
