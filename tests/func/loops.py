"""What tests of loops share: the same loops in Python, and comparison of what they give."""

from __future__ import annotations

import numpy as np

import tracec as T

RNG = np.random.default_rng(0)


def random(*shape, **options):
    return T.tensor(RNG.normal(size=shape), **options)


def looped(f, init, xs, length=None, reverse=False):
    """What `scan` is, for trees of one level: a tensor or a tuple of them."""
    many = isinstance(xs, tuple)
    length = length if xs is None else (xs[0] if many else xs).shape[0]
    carry, ys = init, []
    for t in reversed(range(length)) if reverse else range(length):
        carry, y = f(carry, None if xs is None else tuple(x[t] for x in xs) if many else xs[t])
        ys.append(y)
    ys = ys[::-1] if reverse else ys
    if ys[0] is None:
        return carry, None
    return carry, tuple(map(T.stack, zip(*ys, strict=True))) if isinstance(ys[0], tuple) else T.stack(ys)


def tensors(out):
    if isinstance(out, tuple):
        return [t for o in out for t in tensors(o)]
    return [] if out is None else [out]


def assert_close(found, expected, tolerance=1e-10):
    found, expected = tensors(found), tensors(expected)
    assert [(tuple(a.shape), a.dtype) for a in found] == [(tuple(a.shape), a.dtype) for a in expected]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)
