"""Training: optimisers, learning rates, gradients that gather and are cleared."""

from __future__ import annotations

import copy

import tracec
from tests.footguns.harness import footgun, tensor
from tracec import nn, optim


@footgun(rounded=1e-6)
def lr_change(wrap):
    p = tensor(3, g=True)
    o = optim.SGD([p], lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)

    def step(x):
        o.zero_grad()
        items = (p * x).sum()
        items.backward()
        o.step()
        return items

    step = wrap(step)
    found = []
    for lr in (0.1, 0.1, 0.01, 0.02, 0.1):
        o.param_groups[0]["lr"] = lr
        found.append(step(tensor(3, seed=1)))
        found.append(p.detach().clone())
    return found


@footgun(rounded=1e-6)
def lr_tensor(wrap):
    p = tensor(3, g=True)
    lr = tracec.tensor(0.1)
    o = optim.AdamW([p], lr=lr)

    def step(x):
        o.zero_grad()
        items = (p * x).sum()
        items.backward()
        o.step()
        return items

    step = wrap(step)
    found = []
    for v in (0.1, 0.1, 0.01, 0.02, 0.1):
        lr.fill_(v)
        found.append(step(tensor(3, seed=1)))
        found.append(p.detach().clone())
    return found


@footgun(rounded=1e-6)
def rmsprop(wrap):
    p = tensor(3, g=True)
    o = optim.RMSprop([p], lr=0.1, momentum=0.9, centered=True)

    def step(x):
        o.zero_grad()
        items = (p * x).sum()
        items.backward()
        o.step()
        return items

    step = wrap(step)
    found = []
    for _i in range(4):
        found.append(step(tensor(3, seed=1)))
        found.append(p.detach().clone())
    return found


@footgun(rounded=1e-6)
def grad_accum(wrap):
    w = tensor(3, g=True)

    def f(x):
        items = (w * x).sum()
        items.backward()
        return items

    f = wrap(f)
    found = []
    for i in range(5):
        found.append(f(tensor(3, seed=i)))
        found.append(w.grad.clone())
    w.grad = None
    for i in range(3):
        found.append(f(tensor(3, seed=i)))
        found.append(w.grad.clone())
    w.grad.zero_()
    found.append(f(tensor(3)))
    found.append(w.grad.clone())
    w.grad = tensor(3, seed=9)
    found.append(f(tensor(3)))
    found.append(w.grad.clone())
    return found


@footgun
def grad_kept_across(wrap):
    w = tensor(3, g=True)

    def f(x):
        w.grad = None
        items = (w * x).sum()
        items.backward()
        return items

    f = wrap(f)
    kept = []
    for i in range(4):
        f(tensor(3, seed=i))
        kept.append(w.grad)
    return kept


@footgun
def grad_identity_zero(wrap):
    w = tensor(3, g=True)

    def f(x):
        if w.grad is not None:
            w.grad.zero_()
        items = (w * x).sum()
        items.backward()
        return items

    f = wrap(f)
    found = []
    for i in range(4):
        f(tensor(3, seed=i))
        g = w.grad
        found.append(g.clone())
        f(tensor(3, seed=i + 5))
        found.append(g is w.grad)
        found.append(g.clone())
    return found


@footgun(rounded=1e-6)
def optimizer_swapped(wrap):
    p = tensor(3, g=True)

    class S:
        pass

    s = S()
    s.o = optim.SGD([p], lr=0.1)

    def step(x):
        s.o.zero_grad()
        (p * x).sum().backward()
        s.o.step()

    f = wrap(step)
    found = []
    for i in range(6):
        if i == 3:
            s.o = optim.Adam([p], lr=0.1)
        f(tensor(3, seed=i))
        found.append(p.detach().clone())
    return found


@footgun(rounded=1e-6)
def add_param_group(wrap):
    p, q = (tensor(3, g=True), tensor(3, g=True, seed=1))
    o = optim.SGD([p], lr=0.1, momentum=0.9)

    def step(x):
        o.zero_grad()
        (p * x * q).sum().backward()
        o.step()

    f = wrap(step)
    found = []
    for i in range(6):
        if i == 3:
            o.add_param_group({"params": [q], "lr": 0.5})
        f(tensor(3, seed=i))
        found += [p.detach().clone(), q.detach().clone()]
    return found


@footgun(rounded=1e-6)
def opt_load_state(wrap):
    p = tensor(3, g=True)
    o = optim.Adam([p], lr=0.1)

    def step(x):
        o.zero_grad()
        (p * x).sum().backward()
        o.step()

    f = wrap(step)
    found = []
    f(tensor(3))
    sd = copy.deepcopy(o.state_dict())
    for i in range(6):
        if i == 3:
            o.load_state_dict(sd)
        f(tensor(3, seed=i))
        found += [p.detach().clone()]
    return found


@footgun(rounded=1e-6)
def grad_clip(wrap):
    p = tensor(3, g=True)
    o = optim.SGD([p], lr=0.1)

    def step(x):
        o.zero_grad()
        (p * x).sum().backward()
        nn.utils.clip_grad_norm_([p], 0.5)
        o.step()
        return p.grad

    f = wrap(step)
    found = []
    for i in range(4):
        found.append(f(tensor(3, seed=i)))
        found.append(p.grad.clone())
    return found


@footgun
def zero_grad_outside(wrap):
    p = tensor(3, g=True)
    o = optim.SGD([p], lr=0.1)
    f = wrap(lambda x: (p * x).sum().sin())
    found = []
    for i in range(4):
        o.zero_grad(set_to_none=i % 2 == 0)
        f(tensor(3, seed=i)).backward()
        o.step()
        found.append(p.detach().clone())
    return found


@footgun(rounded=1e-6)
def some_param_unused(wrap):
    p, q = (tensor(3, g=True), tensor(3, g=True, seed=1))
    o = optim.Adam([p, q], lr=0.1)

    def step(x, use):
        o.zero_grad()
        items = (p * x).sum() + ((q * x).sum() if use else 0)
        items.backward()
        o.step()
        return items

    f = wrap(step)
    found = []
    for i, u in enumerate((True, False, True, False, False, True)):
        f(tensor(3, seed=i), u)
        found += [p.detach().clone(), q.detach().clone(), q.grad is None]
    return found


@footgun
def arg_grad_values(wrap):

    def f(x):
        with tracec.no_grad():
            x.sub_(x.grad)
        return x

    f = wrap(f)
    found = []
    for i in range(3):
        a = tensor(3, g=True)
        a.grad = tensor(3, seed=i + 1)
        found.append(f(a).detach().clone())
    return found


@footgun
def gradients_equal_but_apart(wrap):
    p, q = (tensor(3, g=True), tensor(3, g=True, seed=1))

    def f(x):
        p.grad = q.grad = None
        ((p + q) * x).sum().backward()

    f = wrap(f)
    found = []
    for i in range(3):
        f(tensor(3, seed=i))
        p.grad.mul_(2)
        found += [p.grad.clone(), q.grad.clone()]
    return found
