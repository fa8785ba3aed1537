"""Arguments of all kinds: structures, numbers, types, flags, layouts, sizes."""

from __future__ import annotations

import dataclasses
import enum

import numpy as np

import tracec
from tests.footguns.harness import footgun, tensor
from tracec import nn


@footgun
def dataclass_arg_mutated(wrap):

    @dataclasses.dataclass
    class Cfg:
        k: float = 2.0

    cfg = Cfg()
    f = wrap(lambda x, cfg: x * cfg.k)
    found = [f(tensor(3), cfg), f(tensor(3), cfg)]
    cfg.k = 3.0
    found.append(f(tensor(3), cfg))
    found.append(f(tensor(3), Cfg(7.0)))
    return found


@footgun
def dataclass_with_tensor_arg(wrap):

    @dataclasses.dataclass
    class B:
        x: object

    b = B(tensor(3))
    f = wrap(lambda b: b.x * 2)
    found = [f(b), f(b)]
    b.x = tensor(3, seed=1)
    found.append(f(b))
    found.append(f(B(tensor(3, seed=4))))
    return found


@footgun(rounded=1e-6)
def strided_arg(wrap):
    f = wrap(lambda x: x * 2 + x.sum())
    found = []
    for i in range(2):
        a = tensor(6, 4, seed=i)
        found += [f(a[::2, ::2]), f(a[:3, :2]), f(a.T[:3, :2]), f(a[:3, :1].expand(3, 2))]
    return found


@footgun
def zero_size(wrap):
    f = wrap(lambda x: (x * 2, x.sum(), x.sum(0), tracec.cat([x, x])))
    found = []
    for _i in range(3):
        found += list(f(tensor(0, 3)))
    return found


@footgun
def zero_dim(wrap):
    f = wrap(lambda x: (x * 2, x.sum(), x.reshape(1)))
    found = []
    for i in range(3):
        found += list(f(tracec.tensor(float(i))))
    return found


@footgun
def scalar_kinds(wrap):
    f = wrap(lambda x, s: x * s)
    found = []
    for s in (
        1,
        True,
        1.0,
        2,
        np.float32(2),
        np.float64(2.5),
        np.int64(3),
        np.float32(4),
        0.0,
        -0.0,
        float("nan"),
        float("nan"),
        float("inf"),
    ):
        for x in (tensor(3), tracec.tensor([1, 2, 3])):
            y = f(x, s)
            found.append(y)
            found.append(str(y.dtype))
    return found


@footgun
def int_div(wrap):
    f = wrap(lambda x, s: (x / s, x // s, x % s))
    found = []
    for s in (2, 2.0, -2, 2, 2.0, -2):
        found += list(f(tracec.tensor([1, -2, 3]), s))
    return found


@footgun(eager="asks for the value of a tensor (array")
def numpy_arg(wrap):
    f = wrap(lambda x, a: x * tracec.tensor(a))
    found = []
    a = np.ones(3, np.float32)
    for i in range(3):
        a[:] = i
        found.append(f(tensor(3), a))
        found.append(f(tensor(3), np.full(3, i, np.float32)))
    return found


@footgun(eager="takes from an iterator")
def generator_arg(wrap):
    f = wrap(lambda x, it: x * sum(it))
    found = []
    for i in range(3):
        found.append(f(tensor(3), (k for k in range(i + 2))))
    few = wrap(lambda x, it: x * next(it))
    it = (k for k in range(9))
    return found + [few(tensor(3), it) for _ in range(3)]


@footgun
def dtype_mix(wrap):
    f = wrap(lambda x, y: (x + y, x * y, x > y))
    found = []
    ds = [tracec.float16, tracec.bfloat16, tracec.float32, tracec.float64, tracec.int64, tracec.int8, tracec.bool]
    for a in ds:
        for b in ds[::2]:
            x, y = (tensor(3).to(a), tensor(3, seed=1).to(b))
            for _ in range(2):
                o = f(x, y)
                found += [v.double() for v in o] + [str(v.dtype) for v in o]
    return found


@footgun(rounded=1e-6)
def kwargs_order(wrap):
    f = wrap(lambda x, a=1.0, b=2.0: x * a + b)
    found = [
        f(tensor(3), a=2.0, b=3.0),
        f(tensor(3), b=3.0, a=2.0),
        f(tensor(3), 2.0, 3.0),
        f(tensor(3)),
        f(tensor(3), b=tensor(3)),
        f(tensor(3), a=tensor(3)),
        f(tensor(3), b=3.0, a=2.0),
        f(tensor(3), a=2.0, b=3.0),
        f(tensor(3), a=tensor(3, seed=2)),
    ]
    return found


@footgun
def callable_arg(wrap):
    f = wrap(lambda x, g: g(x))
    found = []
    for k in range(4):
        found.append(f(tensor(3), (lambda k: lambda x: x * k)(k)))  # noqa: B023
    for g in (tracec.abs, tracec.neg, tracec.abs, tracec.neg):
        found.append(f(tensor(3), g))
    return found


@footgun
def callable_arg_mutated(wrap):
    k = [1.0]

    def g(x):
        return x * k[0]

    f = wrap(lambda x, g: g(x))
    found = []
    for v in (1.0, 1.0, 2.0):
        k[0] = v
        found.append(f(tensor(3), g))
    return found


@footgun
def module_arg(wrap):
    m1 = nn.Linear(3, 3)
    m2 = nn.Linear(3, 3)
    with tracec.no_grad():
        for i, p in enumerate([*m1.parameters(), *m2.parameters()]):
            p.copy_(tensor(*p.shape, seed=i))
    f = wrap(lambda m, x: m(x))
    return [f(m1, tensor(2, 3)), f(m2, tensor(2, 3)), f(m1, tensor(2, 3)), f(m2, tensor(2, 3))]


@footgun(rounded=1e-6)
def shapes_vary(wrap):
    f = wrap(lambda x: x.reshape(x.shape[0], -1).sum(1))
    return [f(tensor(n, 2, 3)) for n in (1, 2, 3, 2, 1)]


@footgun
def contiguous_check(wrap):
    f = wrap(lambda x: x.contiguous() if True else x)
    found = []
    for i in range(2):
        a = tensor(3, 3, seed=i)
        b = f(a)
        found.append(b is a)
        d = f(a.T)
        found.append(d)
        d.add_(1)
        found.append(a.clone())
    return found


@footgun
def is_contig_branch(wrap):
    f = wrap(lambda x: x * 2 if x.is_contiguous() else x * 3)
    found = []
    for _i in range(2):
        a = tensor(3, 3)
        found += [f(a), f(a.T)]
    return found


@footgun
def stride_read(wrap):
    f = wrap(lambda x: x * x.stride(0))
    found = []
    for _i in range(2):
        a = tensor(3, 3)
        found += [f(a), f(a.T)]
    return found


@footgun
def is_leaf_branch(wrap):
    f = wrap(lambda x: x * 2 if x.is_leaf else x * 3)
    found = []
    for _i in range(2):
        a = tensor(3, g=True)
        found += [f(a).detach(), f(a * 1).detach()]
    return found


@footgun
def identity_args(wrap):
    f = wrap(lambda x, y: x * 2 if x is y else x * 3)
    found = []
    for _i in range(2):
        a = tensor(3)
        found += [f(a, a), f(a, tensor(3)), f(a, a.view(3))]
    return found


@footgun
def isinstance_branch(wrap):
    f = wrap(lambda x: x * 2 if isinstance(x, nn.Parameter) else x * 3)
    found = []
    for _i in range(2):
        found += [f(nn.Parameter(tensor(3))).detach(), f(tensor(3, g=True)).detach()]
    return found


@footgun
def grad_none_branch(wrap):

    def f(x):
        return x * 2 if x.grad is None else x.grad * 3

    f = wrap(f)
    found = []
    for i in range(3):
        a = tensor(3, g=True)
        found.append(f(a).detach())
        a.grad = tensor(3, seed=i)
        found.append(f(a).detach())
        b = tensor(3, g=True)
        found.append(f(b).detach())
    return found


@footgun
def expand_arg(wrap):
    f = wrap(lambda x: x + 1)
    found = []
    for k in range(3):
        found.append(f(tensor(3, 1, seed=k).expand(3, 4)))
    return found


@footgun
def empty_args(wrap):
    w = tensor(3)
    f = wrap(lambda: w * 2)
    found = [f(), f()]
    w.add_(1)
    found.append(f())
    return found


@footgun
def none_and_str_args(wrap):
    f = wrap(lambda x, a=None, mode="sum": (x if a is None else x + a).sum() if mode == "sum" else x.mean())
    return [f(tensor(3)), f(tensor(3), tensor(3)), f(tensor(3), None, "mean"), f(tensor(3), mode="mean"), f(tensor(3))]


@footgun
def nested_args(wrap):
    f = wrap(lambda d: d["a"][0] * d["b"]["c"][1])
    return [f({"a": (tensor(3, seed=i),), "b": {"c": [1, tensor(3, seed=i + 1)]}}) for i in range(3)]


@footgun
def slice_arg(wrap):
    f = wrap(lambda x, s: x[s])
    return [f(tensor(6), slice(0, n)) for n in (1, 2, 3, 1, 2, 3)]


@footgun
def range_arg(wrap):
    f = wrap(lambda x, s: x * len(s))
    return [f(tensor(6), range(n)) for n in (1, 2, 3, 1, 2, 3)]


@footgun
def dtype_arg(wrap):
    f = wrap(lambda x, d: x.to(d))
    return [f(tensor(3), d).double() for d in (tracec.float16, tracec.int32, tracec.float16)]


@footgun
def enum_arg(wrap):

    class E(enum.Enum):
        A = 1
        B = 2

    f = wrap(lambda x, e: x * e.value)
    return [f(tensor(3), e) for e in (E.A, E.B, E.A)]


@footgun
def int_subclass(wrap):

    class Whole(int):
        pass

    f = wrap(lambda x, e: x * e)
    return [f(tensor(3), e) for e in (Whole(1), Whole(2), 1, Whole(1))]


@footgun
def numbers_that_do_not_fit_the_elements(wrap):
    functions = (lambda x: x + 300, lambda x: 1000 - x, lambda x: (x > 300, x == 44), lambda x, k: x * k)
    found = []
    for f in functions:
        compiled, more = wrap(f), f.__code__.co_argcount - 1
        for dtype in (np.int8, np.uint8, np.int8, np.uint8):
            found.append(compiled(tracec.tensor(np.array([100, 1, 7], dtype)), *(-300,) * more))
    return found
