"""Gradients that others see too: those that are returned, kept, handed on, or views of memory from elsewhere."""

from __future__ import annotations

import copy
import types

import tracec
import tracec.nn.functional as F
from tests.footguns.harness import footgun, whole
from tracec import nn


@footgun
def gradient_that_is_returned(wrap):
    w = whole(3, g=True)

    def f(x):
        w.grad = None
        (w * x).sum().backward()
        return w.grad

    f, found = wrap(f), []
    for k in range(4):
        g = f(whole(3, seed=k))
        g.add_(1)
        found += [g is w.grad, w.grad.clone()]
    return found


@footgun
def gradient_that_is_returned_as_a_view(wrap):
    w = whole(4, g=True)

    def f(x):
        (w * x).sum().backward()
        return w.grad.view(2, 2), w.grad[1:], w.grad.detach(), w.grad

    f, found = wrap(f), []
    for k in range(6):
        a, b, c, d = f(whole(4, seed=k))
        a.add_(1)
        found += [b, c, d is w.grad, w.grad.clone()]
        if k == 2:
            w.grad = whole(4, seed=9)
        if k == 4:
            w.grad = None
    return found


@footgun
def gradients_that_are_kept(wrap):
    w, box = whole(3, g=True), types.SimpleNamespace(g=None)

    def f(x):
        w.grad = None
        (w * x).sum().backward()
        before, box.g = box.g, w.grad
        return x if before is None else before

    f, found = wrap(f), []
    for k in range(5):
        found.append(f(whole(3, seed=k)))
        box.g.add_(1)
        found += [w.grad is box.g, w.grad.clone()]
    return found


@footgun
def gradient_of_the_call_before(wrap):
    w = whole(3, g=True)

    def f(x):
        before = w.grad
        w.grad = None
        (w * x).sum().backward()
        return before

    f, found = wrap(f), []
    for k in range(4):
        found.append(f(whole(3, seed=k)))
        w.grad.add_(1)
    return found


@footgun
def gradient_that_is_an_argument(wrap):
    w = whole(3, g=True)

    def f(x):
        w.grad = x

    f, found = wrap(f), []
    for k in range(4):
        x = whole(3, seed=k)
        f(x)
        x.add_(1)
        found += [w.grad is x, w.grad.clone()]
    return found


@footgun
def gradient_that_is_a_view_of_the_result(wrap):
    w = whole(3, 2, g=True)

    def f(x):
        y = x * 2
        w.grad = y.t()
        return y

    f, found = wrap(f), []
    for k in range(4):
        y = f(whole(2, 3, seed=k))
        y.add_(1)
        found += [w.grad.clone(), w.grad, y]
    return found


@footgun
def one_gradient_of_two_tensors(wrap):
    w, v = whole(3, g=True), whole(3, g=True)

    def f(x):
        w.grad = v.grad = x * 2

    f, found = wrap(f), []
    for k in range(4):
        f(whole(3, seed=k))
        w.grad.add_(1)
        found += [w.grad is v.grad, v.grad.clone()]
    return found


@footgun
def gradients_that_change_places(wrap):
    w, v = whole(3, g=True), whole(3, g=True)

    def f(x):
        w.grad, v.grad = v.grad, w.grad
        return x * 2

    f, found = wrap(f), []
    w.grad, v.grad = whole(3, seed=3), whole(3, seed=4)
    for k in range(4):
        before = w.grad
        found += [f(whole(3)), v.grad is before, w.grad.clone()]
        w.grad.add_(k)
    return found


@footgun
def gradients_that_are_parts_of_one_buffer(wrap):
    parameters, flat = [whole(3, g=True), whole(2, g=True)], tracec.zeros(5)

    def f(x):
        flat.zero_()
        parameters[0].grad, parameters[1].grad = flat[:3], flat[3:]
        ((parameters[0] * x[:3]).sum() + (parameters[1] * x[3:]).sum()).backward()
        return flat.sum()

    f, found = wrap(f), []
    for k in range(4):
        found.append(f(whole(5, seed=k)))
        flat.mul_(2)
        found += [p.grad.clone() for p in parameters]
    return [*found, flat]


@footgun
def gradient_that_comes_to_be_a_view(wrap):
    w, flat = whole(3, g=True), tracec.ones(6)

    def f(x):
        (w * x).sum().backward()

    f, found = wrap(f), []
    for grad in (whole(3), flat[1:4], flat[::2], whole(3)):
        w.grad = grad
        for k in range(3):
            f(whole(3, seed=k))
            found += [w.grad.clone(), flat.clone()]
    return found


@footgun
def gradients_that_come_to_be_one(wrap):
    w, v = whole(3, g=True), whole(3, g=True)

    def f(x):
        (w * x + 2 * v).sum().backward()

    f, found = wrap(f), []
    for together in (False, True, False):
        w.grad, v.grad = whole(3), whole(3, seed=1)
        if together:
            w.grad = v.grad
        for k in range(3):
            f(whole(3, seed=k))
            found += [w.grad.clone(), v.grad.clone()]
    return found


@footgun
def gradient_that_comes_to_be_an_argument(wrap):
    w = whole(3, g=True)
    w.grad = whole(3, seed=1)

    def f(g):
        w.grad.add_(1)
        return g * 2

    f = wrap(f)
    found = [f(whole(3)), f(whole(3)), f(w.grad), f(w.grad), f(whole(3)), f(w.grad), f(w.grad.view(3, 1))]
    return [*found, w.grad]


@footgun
def momentum_that_begins_as_the_gradient(wrap):
    w, box = whole(3, g=True), types.SimpleNamespace(m=None)

    def f(x, clear):
        if clear:
            w.grad = None
        (w * x).sum().backward()
        with tracec.no_grad():
            if box.m is None:
                box.m = w.grad
            else:
                box.m.mul_(0.5).add_(w.grad)
            w.sub_(box.m, alpha=0.5)

    f, found = wrap(f), []
    for k in range(9):
        f(whole(3, seed=k), k % 3 != 1)
        found += [w.detach().clone(), box.m.clone(), w.grad.clone()]
    return found


@footgun
def gradient_that_has_a_history(wrap):
    w = whole(3, g=True)

    def f(x):
        w.grad = None
        (w**2 * x).sum().backward(create_graph=True)

    f, found = wrap(f), []
    for k in range(4):
        f(whole(3, seed=k))
        found += [w.grad.requires_grad, *tracec.autograd.grad(w.grad.pow(2).sum(), w)]
    return found


@footgun
def gradients_lie_as_their_parameters(wrap):
    w, v = whole(4, 3, g=True), whole(3, 4).t().detach().requires_grad_()

    def f(x):
        w.grad = v.grad = None
        ((F.linear(x, w) + F.linear(x * 2, w)).pow(2).sum() + (v * 2).pow(2).sum()).backward()
        return w.grad.view(-1)

    f, found = wrap(f), []
    for k in range(4):
        found += [f(whole(2, 3, seed=k)), w.grad.stride(), v.grad.stride()]
    return [*found, w.grad, v.grad]


@footgun
def deep_copy_of_a_parameter_and_its_gradient(wrap):
    w = whole(3, g=True)
    w.grad = whole(3, seed=1)

    def f(x):
        v = copy.deepcopy(w)
        (v * x).sum().backward()
        return v.grad

    f = wrap(f)
    found = [f(whole(3, seed=k)) for k in range(3)]
    w.grad = None
    return [*found, *(f(whole(3, seed=k)) for k in range(3))]


@footgun
def gradients_gathered_by_name(wrap):
    model, kept = nn.Linear(3, 2), {}
    with tracec.no_grad():
        model.weight.copy_(whole(2, 3))
        model.bias.zero_()

    def f(x):
        model.zero_grad(set_to_none=False)
        model(x).sum().backward()
        kept.update((name, p.grad) for name, p in model.named_parameters())

    f, found = wrap(f), []
    for k in range(5):
        f(whole(2, 3, seed=k))
        model.bias.grad.add_(1)
        found += [kept["bias"] is model.bias.grad, kept["bias"].clone(), kept["weight"].clone()]
    return found


@footgun(eager="gives something as a key of a dictionary")
def gradient_that_is_a_key(wrap):
    w, kept = whole(3, g=True), {}

    def f(x):
        kept[w.grad] = x + w.grad
        return len(kept)

    f, found = wrap(f), []
    for k in range(9):
        if k in (0, 4, 6):
            w.grad = whole(3, seed=k)
        found.append(f(whole(3, seed=k)))
    return [*found, *kept.values(), *map(tracec.clone, kept)]


@footgun
def gradient_that_lies_otherwise(wrap):
    w = whole(3, 4).t().detach().requires_grad_()

    def f(x):
        (x @ w).sum().backward()
        return w.grad.stride()

    f, found = wrap(f), []
    for k in range(8):
        found.append(f(whole(2, 4, seed=k)))
        if k == 3:
            w.grad = w.grad.contiguous()
    return [*found, w.grad]
