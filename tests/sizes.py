"""Compiled functions compared with themselves, call by call, over arguments of many sizes."""

from __future__ import annotations

import numpy as np

import tracec as tc


def of(shape, function):
    """A program: what draws an argument of a shape, None standing for the size, and a function of it."""
    return lambda: (lambda n: (tc.randn(*(n if s is None else s for s in shape)),), function)


def flat(out):
    """The items of nested tuples and lists."""
    return [y for x in out for y in flat(x)] if isinstance(out, (tuple, list)) else [out]


def same(a, b, what):
    """Check that a result is what it should be, strides and all."""
    if not isinstance(a, tc.Tensor):
        assert a == b, what
        assert type(a) is type(b), what
        return
    assert a.shape == b.shape, what
    assert a.dtype == b.dtype, what
    assert all(type(s) is int for s in b.shape), what
    assert a.stride() == b.stride(), what
    np.testing.assert_allclose(b.detach().numpy(), a.detach().numpy(), rtol=2e-5, atol=2e-5, err_msg=str(what))


def compare(make, sizes, **options):
    """The compiled function, after calls with these sizes that gave what the function itself gives."""
    programs = []
    for _ in range(2):
        tc.manual_seed(0)
        programs.append(make())
    (draw, eager), (_, function) = programs
    compiled = tc.compile(function, **options)
    for i, n in enumerate(sizes):
        given = []
        for _ in range(2):
            tc.manual_seed(100 + i)
            given.append(draw(n))
        tc.manual_seed(5)
        expected = eager(*given[0])
        tc.manual_seed(5)
        found = compiled(*given[1])
        for a, b in zip(flat((expected, given[0])), flat((found, given[1])), strict=True):
            same(a, b, (n, i))
    return compiled
