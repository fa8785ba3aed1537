"""What comes back: arguments, views, constants, structures, and memory that is kept."""

from __future__ import annotations

import collections
import dataclasses

import tracec
from tests.footguns.harness import footgun, tensor


@footgun
def return_args(wrap):
    P = collections.namedtuple("P", "a b")
    w = tensor(3, g=True)
    f = wrap(lambda x, y: (x, P(y, x[0]), None, {"w": w, "k": [1, x * 2, x]}, x.view(-1)))
    found = []
    for i in range(3):
        x, y = (tensor(3, seed=i), tensor(3, seed=i + 1))
        o = f(x, y)
        found.append((o[0] is x, o[1].a is y, o[3]["w"] is w, o[3]["k"][2] is x, type(o[1]).__name__))
        found.append(o[1].b)
        o[1].b.add_(1)
        found.append(x)
        o[4].mul_(2)
        found.append(x)
        o[3]["k"].append(3)
        found.append(len(o[3]["k"]))
    return found


@footgun
def return_same_twice(wrap):

    def f(x):
        y = x * 2
        return (y, y)

    f = wrap(f)
    found = []
    for _i in range(3):
        a, b = f(tensor(3))
        a.add_(1)
        found += [a, b, a is b]
    return found


@footgun
def return_view_of_result(wrap):

    def f(x):
        y = x * 2
        return (y, y[1:], y.view(3, 1))

    f = wrap(f)
    found = []
    for _i in range(3):
        a, b, d = f(tensor(3))
        a.add_(1)
        found += [a, b, d]
        b.add_(1)
        found += [a, b, d]
    return found


@footgun
def return_two_views(wrap):

    def f(x):
        y = x * 2
        return (y[:2], y[1:])

    f = wrap(f)
    found = []
    for _i in range(3):
        a, b = f(tensor(3))
        a.add_(1)
        found += [a, b]
    return found


@footgun
def chunk_return(wrap):
    f = wrap(lambda x: x.chunk(2))
    found = []
    for _i in range(3):
        x = tensor(4)
        a, b = f(x)
        a.add_(1)
        found += [a, b, x]
    return found


@footgun
def return_param_view(wrap):
    w = tensor(4)
    f = wrap(lambda x: (w[1:], x + w.sum()))
    found = []
    for _i in range(3):
        v, y = f(tensor(1))
        v.add_(1)
        found += [v, y, w.clone()]
    return found


@footgun
def return_detach(wrap):
    f = wrap(lambda x: (x * 2).detach())
    w = tensor(3, g=True)
    found = []
    for _i in range(3):
        y = f(w)
        found += [y, y.requires_grad]
    return found


@footgun
def return_detach_of_arg(wrap):
    f = wrap(lambda x: x.detach())
    w = tensor(3, g=True)
    found = []
    for _i in range(3):
        y = f(w)
        found += [y, y.requires_grad, y is w]
    return found


@footgun
def return_detached_and_attached(wrap):

    def f(x):
        y = x * 2
        return (y, y.detach())

    f = wrap(f)
    w = tensor(3, g=True)
    found = []
    for _i in range(3):
        y, z = f(w)
        found += [y.detach(), z, y.requires_grad, z.requires_grad]
        z.add_(1)
        found += [y.detach()]
    return found


@footgun
def return_dataclass(wrap):

    @dataclasses.dataclass
    class Result:
        a: object
        b: object

    f = wrap(lambda x: Result(x * 2, x))
    found = []
    for i in range(3):
        x = tensor(3, seed=i)
        o = f(x)
        found += [o.a, o.b, o.b is x]
    return found


@footgun
def return_object(wrap):

    class Result:
        pass

    def f(x):
        o = Result()
        o.y = x * 3
        return o

    f = wrap(f)
    found = []
    for i in range(3):
        found.append(f(tensor(3, seed=i)).y)
    return found


@footgun
def return_odict(wrap):
    f = wrap(lambda x: collections.OrderedDict(a=x * 2, b=x))
    found = []
    for i in range(3):
        o = f(tensor(3, seed=i))
        found += [type(o).__name__, o["a"]]
    return found


@footgun
def return_float_computed(wrap):
    f = wrap(lambda x: (x * 2, x.shape[0], 3.5, "s", x.dtype))
    found = []
    for i in range(3):
        found += list(map(str, f(tensor(3 + i % 2))[1:]))
    return found


@footgun
def output_kept(wrap):
    f = wrap(lambda x: (x * 2, x.sum(0)))
    o = [f(tensor(200, 200, seed=i)) for i in range(5)]
    return [a for p in o for a in p]


@footgun
def output_kept_big(wrap):
    w = tensor(64, 64)
    f = wrap(lambda x: tracec.tanh(x @ w) @ w)
    o = [f(tensor(300, 64, seed=i)) for i in range(5)]
    return o


@footgun
def return_constant(wrap):
    f = wrap(lambda x: (tracec.zeros(3), tracec.tensor([1.0, 2.0])))
    found = []
    for _i in range(3):
        a, b = f(tensor(3))
        found += [a.clone(), b.clone()]
        a.add_(1)
        b.add_(1)
    return found


@footgun
def views_of_one_result_written(wrap):

    def f(x):
        y = x * 2
        return (y[0], y.T, y[:, 1:])

    f = wrap(f)
    found = []
    for i in range(3):
        a, b, d = f(tensor(3, 3, seed=i))
        a.fill_(7)
        found += [a.clone(), b.clone(), d.clone()]
        d.zero_()
        found += [a, b, d]
    return found


@footgun(rounded=1e-6)
def views_of_what_it_computed(wrap):
    """A view tells what it is a view of; writes and gradients go there."""
    w = tensor(2, 6, g=True)
    functions = [
        lambda x: x.exp()[:, 1:], lambda x: x.exp()[1:][:, 2:].t(), lambda x: x.exp().view(3, 4), lambda x: x.exp().mT,
        lambda x: x.exp().chunk(2), lambda x: x.exp().sum().expand(3), lambda x: x.exp()[1:].detach()[:, 1:],
        lambda x: x.detach()[1:], lambda x: x.exp().detach()[1:], lambda x: x[1:][:, 2:],
    ]  # fmt: skip
    calls, found = [wrap(f) for f in functions], []
    for k in range(4):
        for f in calls:
            w.grad = None
            x = w if k % 2 else tensor(2, 6)
            given = f(x)
            for y in given if isinstance(given, tuple) else (given,):
                base = y._base
                found += [y, base, base is x, base is not None and base._base is None]
                if y.requires_grad:
                    (y * y).sum().backward(retain_graph=True)
                    found.append(w.grad.clone())
                if base is not None and base is not x and f is not calls[5]:
                    base.mul_(2)
                    y.add_(1)
                    found += [y, base]
    return found


@footgun
def results_that_were_written_to(wrap):
    memory = tensor(3)

    def f(x):
        y = x * 2
        y += 1
        y.relu_()
        memory.add_(1)
        memory.mul_(x)
        return y, y.view(3, 1), y.detach(), x * 3

    f, found = wrap(f), []
    for k in range(4):
        found += [f(tensor(3, seed=k)), memory]
    return found


@footgun(rounded=1e-6)
def views_that_are_kept(wrap):
    box = {}

    def f(x):
        y = x.exp()
        box["part"], box["last"] = y[1:], y
        return y[:1]

    f, found = wrap(f), []
    for k in range(4):
        part = f(tensor(3, seed=k))
        box["part"].add_(1)
        found += [part._base is box["last"], box["part"]._base is box["last"], part, box["last"]]
    return found


@footgun
def leaf_that_only_its_view_is_given_of(wrap):
    def f(x):
        return (x * 2).detach().requires_grad_()[1:]

    f, found = wrap(f), []
    for k in range(4):
        y = f(tensor(3, seed=k))
        (y * y).sum().backward()
        found += [y, y._base.grad]
    return found


@footgun(rounded=1e-6)
def gradients_of_gradients_of_views(wrap):
    w = tensor(4, g=True)
    f = wrap(lambda x: ((w * x).sin()[1:], (w * x).cos()))
    g = wrap(lambda x: (x, x * 2))
    found = []
    for k in range(3):
        y, z = f(tensor(4, seed=k))
        (first,) = tracec.autograd.grad((y * y).sum(), w, create_graph=True)
        found += tracec.autograd.grad(first.sum(), w)
        same, _ = g(z)
        (first,) = tracec.autograd.grad((same * same).sum(), w, create_graph=True)
        found += tracec.autograd.grad(first.sum(), w)
    return found


@footgun
def gradient_that_is_a_view(wrap):
    w = tensor(3, g=True)

    def f(x):
        w.grad = (x * 2)[1:]

    f, found = wrap(f), []
    for k in range(4):
        f(tensor(4, seed=k))
        found.append(w.grad)
    return found
