"""Leaves and histories: flags that change, leaves made inside, writes into what has a history."""

from __future__ import annotations

import tracec
from tests.footguns.harness import footgun, tensor


@footgun(eager="changes where gradients of a tensor from outside go")
def inplace_arg_requires_grad(wrap):

    def f(x):
        x.mul_(2)
        return x.sum()

    f = wrap(f)
    found = []
    for i in range(3):
        w = tensor(3, seed=i, g=True)
        h = w * 1
        f(h).backward()
        found.append(w.grad)
        found.append(h.detach())
    return found


@footgun(eager="changes where gradients of a tensor from outside go")
def inplace_arg_hist_after(wrap):

    def f(x):
        x.mul_(2)

    f = wrap(f)
    found = []
    for i in range(3):
        w = tensor(3, seed=i, g=True)
        h = w * 1
        f(h)
        (h * h).sum().backward()
        found.append(w.grad)
        found.append(h.detach())
    return found


@footgun(eager="changes where gradients of a tensor from outside go")
def inplace_arg_gets_history(wrap):
    w = tensor(3, g=True)

    def f(x):
        x.mul_(w)

    f = wrap(f)
    found = []
    for i in range(3):
        w.grad = None
        h = tensor(3, seed=i)
        f(h)
        found.append(h.requires_grad)
        found.append(h.detach())
        if h.requires_grad:
            h.sum().backward()
            found.append(w.grad.clone())
    return found


@footgun(eager="changes where gradients of a tensor from outside go")
def inplace_arg_view_history(wrap):
    w = tensor(2, g=True)

    def f(x):
        x[1:].copy_(w * w)
        return x.sum()

    f = wrap(f)
    found = []
    for i in range(3):
        w.grad = None
        h = tensor(3, seed=i)
        y = f(h)
        found.append((h.requires_grad, y.requires_grad))
        (y + (h * h).sum()).backward()
        found.append(w.grad.clone())
    return found


@footgun
def leaf_inplace_error(wrap):

    def f(x):
        x.add_(1)
        return x

    f = wrap(f)
    found = []
    for _i in range(3):
        try:
            f(tensor(3, g=True))
            found.append("ok")
        except Exception as e:
            found.append(type(e).__name__)
        with tracec.no_grad():
            found.append(f(tensor(3, g=True)).detach())
    return found


@footgun(eager="changes where gradients of a tensor from outside go")
def requires_grad_toggled_inside(wrap):
    w = tensor(3)

    def f(x):
        w.requires_grad_(True)
        (w * x).sum().backward()
        g = w.grad
        w.grad = None
        w.requires_grad_(False)
        return g

    f = wrap(f)
    found = []
    for i in range(3):
        found.append(f(tensor(3, seed=i)))
        found.append(w.requires_grad)
    return found


@footgun(eager="changes where gradients of a tensor from outside go")
def requires_grad_set_inside(wrap):

    def f(x):
        x.requires_grad_(True)
        y = (x * x).sum()
        y.backward()
        return y.detach()

    f = wrap(f)
    found = []
    for i in range(3):
        x = tensor(3, seed=i)
        found.append(f(x))
        found.append(x.requires_grad)
        found.append(x.grad)
    return found


@footgun
def leaf_made_inside(wrap):

    def f(x):
        w = tracec.zeros(3, requires_grad=True)
        y = (w + x) ** 2
        y.sum().backward()
        return w.grad

    f = wrap(f)
    return [f(tensor(3, seed=i)) for i in range(3)]


@footgun(eager="returns a tensor that it made and that gradients end at")
def leaf_returned(wrap):

    def f(x):
        w = tracec.zeros(3).requires_grad_()
        return (w, w * x)

    f = wrap(f)
    found = []
    for i in range(3):
        w, y = f(tensor(3, seed=i))
        found.append(w.requires_grad)
        y.sum().backward()
        found.append("none" if w.grad is None else w.grad)
    return found


@footgun
def autograd_grad_inside(wrap):

    def f(x):
        x = x.detach().requires_grad_()
        y = (x**3).sum()
        (g,) = tracec.autograd.grad(y, [x], create_graph=True)
        (h,) = tracec.autograd.grad(g.sum(), [x])
        return h

    f = wrap(f)
    return [f(tensor(3, seed=i)) for i in range(3)]


@footgun
def gradient_of_an_argument_read(wrap):

    def f(x):
        g = x.grad
        x.grad = None
        return g * 2

    f = wrap(f)
    found = []
    for i in range(3):
        x = tensor(3, g=True)
        x.grad = tensor(3, seed=i)
        found += [f(x), x.grad is None]
    return found
