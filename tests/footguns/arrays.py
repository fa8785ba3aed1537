"""Tensors made of NumPy's arrays, whose memory they look at, or whose elements they copy."""

from __future__ import annotations

import types

import numpy as np

import tracec
from tests.footguns.harness import footgun, tensor


@footgun(rounded=1e-6)
def tables_of_arrays(wrap):
    tables = types.SimpleNamespace(betas=np.linspace(0.1, 0.5, 10))

    def f(x, t):
        rate = tracec.from_numpy(tables.betas)[t].float()
        return x * rate[:, None] + tracec.from_numpy(np.log(tables.betas)).to(x)[t][:, None], tracec.tensor(
            tables.betas
        )

    f, found = wrap(f), []
    for i in range(4):
        found += f(tensor(3, 2, seed=i), tracec.tensor([i, 2, 9 - i]))
        found[-1].add_(1)  # a copy
    return found


@footgun
def arrays_that_stay(wrap):
    a = np.arange(3.0, dtype=np.float32)
    f = wrap(lambda x: (x * a, x[a.astype(int)], x + tracec.as_tensor(a * 2).sum()))
    found = []
    for i in (0, 1, 2, 2):
        found += f(tensor(3, seed=i))
    return found


@footgun(eager="changes an array, a")
def array_written_through_its_tensor(wrap):
    a = np.zeros(3, np.float32)
    f, found = wrap(lambda x: tracec.from_numpy(a).add_(x).sum()), []
    for i in range(4):
        found += [f(tensor(3, seed=i)), a.copy()]
    return found


@footgun(eager="changes a")
def array_written_after_its_tensor(wrap):
    a = np.zeros(3, np.float32)

    def f(x):
        t = tracec.from_numpy(a)
        a[0] += 1
        return t * x

    f = wrap(f)
    return [f(tensor(3, seed=i)) for i in range(4)]


@footgun(eager="asks for the value of a tensor (array")
def new_array_written_after_its_tensor(wrap):

    def f(x):
        a = np.ones(3, np.float32)
        t = tracec.from_numpy(a)
        a[1] = 2
        return t * x

    f = wrap(f)
    return [f(tensor(3, seed=i)) for i in range(4)]


@footgun(eager="asks for the value of a tensor (array")
def array_whose_tensor_is_returned(wrap):
    a = np.zeros(3, np.float32)
    f, found = wrap(lambda x: (tracec.from_numpy(a), x * 2)), []
    for i in range(4):
        found += f(tensor(3, seed=i))
        a[0] += 1
        found[-2][1] = i
        found.append(a.copy())
    return found


@footgun(eager="asks for the value of a tensor (array")
def array_whose_tensor_is_kept(wrap):
    holder, a = types.SimpleNamespace(t=None), np.ones(3, np.float32)

    def f(x):
        holder.t = tracec.from_numpy(a)
        return holder.t * x

    f, found = wrap(f), []
    for i in range(4):
        found.append(f(tensor(3, seed=i)))
        holder.t.add_(1)
        found.append(a.copy())
    return found


@footgun(eager="asks for the value of a tensor (array")
def array_whose_memory_another_tensor_writes(wrap):
    a = np.arange(3.0, dtype=np.float32)
    y = tracec.from_numpy(a)

    def f(x):
        y.add_(x)
        return tracec.from_numpy(a) * 2

    f = wrap(f)
    return [f(tracec.full((3,), float(i))) for i in range(4)]  # of zeros first, by which nothing changes


@footgun(eager="asks for the value of a tensor (array")
def array_as_a_gradient(wrap):
    w, ones = tracec.zeros(3, requires_grad=True), np.ones(3, np.float32)

    def f(x):
        w.grad = tracec.from_numpy(ones)
        return x * 2

    f, found = wrap(f), []
    for i in range(4):
        found += [f(tensor(3, seed=i)), w.grad.clone()]
        w.grad.add_(1)
    return found


@footgun
def gradients_through_arrays(wrap):
    w, a = tracec.ones(3, requires_grad=True), np.arange(3.0, dtype=np.float32)
    f, found = wrap(lambda x: (w * tracec.from_numpy(a) * x).sum()), []
    for i in range(3):
        w.grad = None
        f(tensor(3, seed=i)).backward()
        found.append(w.grad)
    return found
