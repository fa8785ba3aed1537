"""What tests of functions that ask for values share: they are called, compiled, each way several times."""

from __future__ import annotations

import warnings

import numpy as np

import tracec


def tensor(*shape: int, seed: int = 0, scale: float = 1.0, requires_grad: bool = False):
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * np.float32(scale)
    return tracec.tensor(values, requires_grad=requires_grad)


def plain(value):
    """A result with arrays in place of tensors."""
    if isinstance(value, tracec.Tensor):
        return value.detach().numpy()
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def same(found, expected) -> None:
    found, expected = plain(found), plain(expected)
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            same(a, b)
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    else:
        assert type(found) is type(expected)
        assert found == expected


def hits(compiled) -> int:
    return sum(s.hits for s in compiled.explain().specialisations if s.compiled)


def check(function, calls, **options):
    """Call a function and its compiled form, each way several times, and compare; all but the first of a way hit."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled = tracec.compile(function, **options)
        for _ in range(3):
            for call in calls:
                same(compiled(*call), function(*call))
        recordings = len(compiled.explain().recordings)
        for call in calls:
            same(compiled(*call), function(*call))
    assert len(compiled.explain().recordings) == recordings <= len(calls)
    assert hits(compiled) >= 3 * len(calls)
    return compiled
