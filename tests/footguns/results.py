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
