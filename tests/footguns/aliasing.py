"""Tensors that share memory: arguments, views, transposed and strided ones, arrays."""

from __future__ import annotations

import numpy as np

import tracec
from tests.footguns.harness import footgun, tensor, whole


@footgun
def same_twice(wrap):

    def f(x, y):
        x.add_(1)
        return x * y

    f = wrap(f)
    found = []
    for _i in range(3):
        a, b = (tensor(3), tensor(3, seed=1))
        found.append(f(a, b))
        found.append(f(a, a))
        found += [a, b]
        found.append(f(a, b))
        found.append(a)
    return found


@footgun
def views_of_base(wrap):

    def f(x, y):
        x.add_(1)
        y.mul_(2)
        return x * y

    f = wrap(f)
    found = []
    for i in range(3):
        a = tensor(6, seed=i)
        found.append(f(a[:3], a[3:]))
        found.append(a.clone())
        found.append(f(a[1:4], a[2:5]))
        found.append(a.clone())
        found.append(f(a[2:5], a[1:4]))
        found.append(a.clone())
    return found


@footgun
def views_layout_changes(wrap):

    def f(x, y):
        x.add_(1)
        return x * y

    f = wrap(f)
    found = []
    for i, (p, q) in enumerate(
        [
            ((0, 3), (3, 6)),
            ((0, 3), (1, 4)),
            ((0, 3), (0, 3)),
            ((1, 4), (2, 5)),
            ((3, 6), (0, 3)),
            ((0, 3), (3, 6)),
            ((1, 4), (2, 5)),
        ]
    ):
        a = tensor(6, seed=i)
        found.append(f(a[p[0] : p[1]], a[q[0] : q[1]]))
        found.append(a)
    return found


@footgun
def base_and_view_offset(wrap):

    def f(base, v):
        v.add_(1)
        return base * 2

    f = wrap(f)
    found = []
    for i in range(10):
        a = tensor(6, seed=i)
        found.append(f(a, a[i % 5 : i % 5 + 2]))
        found.append(a)
    return found


@footgun
def arg_view_of_closure(wrap):
    w = tensor(6)

    def f(v):
        v.add_(1)
        return w * 2

    f = wrap(f)
    found = []
    for i in range(4):
        found.append(f(w[i : i + 2]))
        found.append(w.clone())
        found.append(f(tensor(2)))
    return found


@footgun
def looks_at_other_parts(wrap):
    all_of = wrap(lambda x: (x * 2, x.detach()))
    part = wrap(lambda x: x.data[1:])
    turned = wrap(lambda x, y: (x + y[:2, None], y.detach().flip(0), x.view(2, 1, 2).detach().transpose(0, 2)))
    found = []
    for i in (0, 1, 2, 1, 0):
        a = tensor(8, seed=i)
        found += [*all_of(a[i : i + 3]), part(a[i : i + 3])]
        found += turned(a[i : i + 4].view(2, 2), a[i + 1 : i + 4])
        found[-1].mul_(3)  # all at the memory that was given
        found.append(a)
    return found


@footgun
def parts_of_each_other(wrap):
    f = wrap(lambda x, y: (x.sum(), y * 2, y.detach()))
    found = []
    for i in (0, 1, 2):
        a = whole(8, seed=i)
        for x, y in ((a[i : i + 3], a[i + 1 : i + 4]), (a[i:], a[i + 1 : i + 4]), (a[i:], a[i:][1:4])):
            found += f(x, y)
        x = a[i : i + 5]
        found += [*f(x, x[1:4]), *f(x, x[:3]), *f(x[1:4], x), *f(x, x), *f(x, x.view(5)), *f(x, a[i : i + 5])]
    return found


@footgun
def view_arg_inplace_sizes(wrap):

    def f(v):
        v.add_(1)
        return v * 2

    f = wrap(f)
    found = []
    for n in (4, 6, 4, 8):
        a = tensor(n, seed=n)
        found.append(f(a[1:3]))
        found.append(a)
    a = tensor(4, 3)
    found.append(f(a[0, :2]))
    found.append(a)
    a = tensor(3, 4)
    found.append(f(a[:2, 1]))
    found.append(a)
    found.append(f(a.T[1][1:]))
    found.append(a)
    return found


@footgun
def transposed_inplace(wrap):

    other = tensor(3, 3, seed=7)

    def f(v):
        v.add_(other)
        return v * 2

    f = wrap(f)
    found = []
    for i in range(3):
        a = tensor(3, 3, seed=i)
        found.append(f(a))
        found.append(a.clone())
        found.append(f(a.T))
        found.append(a.clone())
        found.append(f(a.t()))
        found.append(a.clone())
    return found


@footgun
def from_numpy_shared(wrap):
    arr = np.ones(3, np.float32)
    t = tracec.from_numpy(arr) if hasattr(tracec, "from_numpy") else tracec.tensor(arr)
    f = wrap(lambda x: x.add_(1))
    found = [f(t).clone(), f(t).clone(), tracec.tensor(arr.copy())]
    return found


@footgun
def from_numpy_fortran(wrap):
    arr = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    t = tracec.from_numpy(arr)
    other = tensor(2, 3)
    f = wrap(lambda x: x.add_(other))
    found = [f(t).clone(), f(t).clone(), f(t).clone(), tracec.tensor(arr.copy())]
    return found


@footgun
def fresh_fortran_result_arg(wrap):

    other = tensor(3, 2, seed=3)

    def f(x):
        x.mul_(other)
        return (x.sum(0), x)

    f = wrap(f)
    found = []
    for i in range(3):
        x = tensor(2, 3, seed=i).T * 1.0
        found += list(f(x))
        found.append(x)
    return found


@footgun
def zero_dim_inplace(wrap):

    def f(x):
        x.add_(1)
        return x

    f = wrap(f)
    found = []
    t = tracec.tensor(1.0)
    for _i in range(3):
        found.append(f(t).clone())
    return found


@footgun
def input_mutated_after(wrap):
    f = wrap(lambda x: (x * 1, x, x.view(-1) + 0))
    found = []
    for i in range(3):
        x = tensor(3, seed=i)
        o = f(x)
        x.mul_(5)
        found += list(o)
    return found


@footgun
def setitem_forms(wrap):

    def f(x, i, m):
        x = x.clone()
        x[i] = 0.0
        x[m] = 5.0
        x[1:, ::2] += 1
        return x

    f = wrap(f)
    found = []
    for k in range(3):
        found.append(f(tensor(3, 4, seed=k), tracec.tensor([k % 3]), tensor(3, 4, seed=k + 5) > 0))
    return found


@footgun
def arg_setitem(wrap):

    def f(x, i):
        x[i] = x[i] * 2
        x[:, 0] = i.float().sum()

    f = wrap(f)
    found = []
    for k in range(3):
        x = tensor(3, 4, seed=k)
        f(x, tracec.tensor([k % 3, (k + 1) % 3]))
        found.append(x)
    return found


@footgun
def expand_arg_inplace(wrap):

    def f(x):
        x.add_(1)
        return x

    f = wrap(f)
    found = []
    for k in range(3):
        try:
            found.append(f(tensor(3, 4, seed=k)))
            found.append(f(tensor(3, 1, seed=k).expand(3, 4)))
        except Exception as e:
            found.append(type(e).__name__)
    return found


@footgun
def same_tensor_in_list(wrap):

    def f(items):
        items[0].add_(1)
        return items[0] + items[1]

    f = wrap(f)
    found = []
    for _i in range(3):
        a = tensor(3)
        found += [f([a, a]), f([a, tensor(3)]), a]
    return found


@footgun
def swap_two(wrap):

    def f(a, b):
        old = a.clone()
        a.copy_(b)
        b.copy_(old)
        return a - b

    f = wrap(f)
    found = []
    for i in range(3):
        a, b = (tensor(3, seed=i), tensor(3, seed=i + 9))
        found += [f(a, b), a, b]
    return found


@footgun
def old_value_returned(wrap):

    def f(x):
        y = x * 1
        x.add_(1)
        return (y, x * 1)

    f = wrap(f)
    found = []
    for i in range(3):
        x = tensor(3, seed=i)
        y, z = f(x)
        x.mul_(9)
        found += [y, z, x]
    return found
