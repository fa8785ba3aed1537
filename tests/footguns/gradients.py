"""Gradients through compiled functions, and values that change before they are taken."""

from __future__ import annotations

import tracec
from tests.footguns.harness import footgun, tensor


@footgun
def nograd_vs_grad(wrap):
    w = tensor(3, g=True)
    f = wrap(lambda x: w * x)
    found = []
    for g in (True, False, True, False):
        with tracec.set_grad_enabled(g):
            y = f(tensor(3))
            found.append(y.requires_grad)
            found.append(y.detach())
    return found


@footgun
def return_viewed_arg_grad(wrap):
    f = wrap(lambda x: x.view(3, 1))
    found = []
    for _i in range(3):
        w = tensor(3, g=True)
        y = f(w)
        found.append(y.requires_grad)
        (y * 2).sum().backward()
        found.append(w.grad)
    return found


@footgun
def return_view_param_grad(wrap):
    w = tensor(3, g=True)
    f = wrap(lambda x: (w.view(3, 1), x * w))
    found = []
    for _i in range(3):
        w.grad = None
        y, z = f(tensor(3))
        found.append(y.requires_grad)
        ((y * 2).sum() + z.sum()).backward()
        found.append(w.grad.clone())
    return found


@footgun
def input_mutated_before_backward(wrap):
    w = tensor(3, g=True)
    f = wrap(lambda x: w * x)
    found = []
    for i in range(3):
        w.grad = None
        x = tensor(3, seed=i)
        y = f(x)
        x.mul_(5)
        y.sum().backward()
        found.append(w.grad.clone())
    return found


@footgun
def param_mutated_before_backward(wrap):
    w = tensor(3, g=True)
    f = wrap(lambda x: (w * x).sin())
    found = []
    for i in range(3):
        w.grad = None
        x = tensor(3, seed=i, g=True)
        y = f(x)
        with tracec.no_grad():
            w.mul_(5)
        y.sum().backward()
        found.append(w.grad.clone())
        found.append(x.grad)
    return found


@footgun(rounded=1e-6)
def result_mutated_before_backward(wrap):
    w = tensor(3, g=True)
    f = wrap(lambda x: (w * x).exp())
    found = []
    for i in range(3):
        w.grad = None
        y = f(tensor(3, seed=i))
        z = y * 2
        with tracec.no_grad():
            y.mul_(5)
        z.sum().backward()
        found.append(w.grad.clone())
    return found


@footgun(rounded=1e-6)
def result_inplace_then_backward(wrap):
    w = tensor(3, g=True)
    f = wrap(lambda x: (w * x).exp())
    found = []
    for i in range(3):
        w.grad = None
        y = f(tensor(3, seed=i))
        y.mul_(2)
        y[0].add_(1)
        y.sum().backward()
        found.append(w.grad.clone())
    return found


@footgun(rounded=1e-6)
def backward_arg_leaf(wrap):

    def f(x):
        items = (x * x).sum()
        items.backward()
        return items

    f = wrap(f)
    found = []
    for i in range(4):
        x = tensor(3, seed=i, g=True)
        found.append(f(x))
        found.append(x.grad)
        found.append(f(x))
        found.append(x.grad)
    return found


@footgun(rounded=1e-6)
def backward_outside_multi(wrap):
    w = tensor(3, g=True)
    f = wrap(lambda x: (w * x, (w + x).sin(), x * 2))
    found = []
    for i in range(3):
        w.grad = None
        a, b, d = f(tensor(3, seed=i))
        a.sum().backward(retain_graph=True)
        found.append(w.grad.clone())
        (a * b).sum().backward()
        found.append(w.grad.clone())
        found.append(d.requires_grad)
    return found


@footgun
def backward_nonleaf_inputs(wrap):
    f = wrap(lambda x, y: (x * y).sum())
    found = []
    for i in range(3):
        w = tensor(3, seed=i, g=True)
        f(w * 2, w.exp()).backward()
        found.append(w.grad)
        w.grad = None
        h = w * 3
        f(h, h).backward()
        found.append(w.grad)
        w.grad = None
        f(w, w).backward()
        found.append(w.grad)
    return found


@footgun
def backward_views_args(wrap):
    f = wrap(lambda x, y: (x * y).sum())
    found = []
    for i in range(3):
        w = tensor(6, seed=i, g=True)
        f(w[:3], w[3:]).backward()
        found.append(w.grad)
        w.grad = None
        f(w[1:4], w[2:5]).backward()
        found.append(w.grad)
    return found


@footgun
def backward_twice_err(wrap):
    w = tensor(3, g=True)
    f = wrap(lambda x: (w * x).exp().sum())
    found = []
    for _i in range(3):
        y = f(tensor(3))
        y.backward()
        try:
            y.backward()
            found.append("ok")
        except Exception as e:
            found.append(type(e).__name__)
    return found


@footgun
def backward_twice_linear(wrap):
    w = tensor(3, g=True)
    f = wrap(lambda x: (w + x).sum())
    found = []
    for _i in range(3):
        w.grad = None
        y = f(tensor(3))
        y.backward()
        try:
            y.backward()
            found.append(w.grad.clone())
        except Exception as e:
            found.append(type(e).__name__)
    return found


@footgun
def grad_mode_inside(wrap):
    w = tensor(3, g=True)

    def f(x):
        with tracec.no_grad():
            y = w * x
        return (y, w * y)

    f = wrap(f)
    found = []
    for _i in range(3):
        a, b = f(tensor(3))
        found += [a.requires_grad, b.requires_grad]
    return found


@footgun
def gradients_enabled_inside_of_a_call_without_them(wrap):
    w = tensor(3, g=True)

    def f(x):
        with tracec.enable_grad():
            y = (w * x).relu()
        return y, w * y

    f = wrap(f)
    found = []
    for i in range(3):
        x = tensor(3, g=True, seed=i)
        with tracec.no_grad():
            y, z = f(x)
        y.sum().backward()
        found += [z.requires_grad, x.grad, w.grad.clone()]
    return found


@footgun
def partial_grad_no_path(wrap):
    w = tensor(3, g=True)
    v = tensor(3, g=True, seed=1)
    f = wrap(lambda x: (w * x, v * x))
    found = []
    for _i in range(3):
        w.grad = v.grad = None
        a, _b = f(tensor(3))
        a.sum().backward()
        found.append(v.grad is None)
        found.append(w.grad.clone())
    return found


@footgun(rounded=1e-6)
def views_of_one_result_differentiated(wrap):
    w = tensor(3, 3, g=True)

    def f(x):
        y = x * w
        return (y[0], y.T)

    f = wrap(f)
    found = []
    for i in range(3):
        w.grad = None
        a, b = f(tensor(3, 3, seed=i))
        (a.sum() + (b * b).sum()).backward()
        found.append(w.grad.clone())
    return found
