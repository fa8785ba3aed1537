"""Causal attention in parts: as what computes all scores and masks half of them."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.codegen.emulated import needs_compiler
from tracec.functions import attention
from tracec.nn import functional as F

MASKS = {
    "none": lambda n: None,
    "who": lambda n: np.random.default_rng(3).random((n, n)) < 0.7,
    "keys": lambda n: np.random.default_rng(3).random((1, n)) < 0.7,
    "keys alone": lambda n: np.random.default_rng(3).random(n) < 0.7,
    "queries": lambda n: np.random.default_rng(3).random((n, 1)) < 0.7,
    "heads": lambda n: np.random.default_rng(3).random((2, n, n)) < 0.7,
    "added": lambda n: np.random.default_rng(3).standard_normal((2, 1, n, n)),
}


def given(length, keys=None, heads=2, groups=2):
    rng = np.random.default_rng(length)
    shapes = [(2, heads, length, 4), *[(2, groups, keys or length, width) for width in (4, 3)], (2, heads, length, 3)]
    return [tracec.from_numpy(rng.standard_normal(shape)) for shape in shapes]


def both(q, k, v, slope, mask=None, **options):
    """The result, and the gradients of the operands."""
    q, k, v = (x.detach().requires_grad_() for x in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, mask, is_causal=True, **options)
    return out.detach(), *tracec.autograd.grad(out, (q, k, v), slope)


def masked(q, k, v, slope, mask=None):
    """The same with a mask over all scores."""
    q, k, v = (x.detach().requires_grad_() for x in (q, k, v))
    seen = tracec.ones(q.shape[-2], k.shape[-2], dtype=tracec.bool).tril()
    if mask is not None and mask.dtype is tracec.bool:
        seen = seen & mask
    scores = (q @ k.mT / 2).masked_fill(~seen, -float("inf"))
    if mask is not None and mask.dtype is not tracec.bool:
        scores = scores + mask
    out = scores.softmax(-1).nan_to_num() @ v
    return out.detach(), *tracec.autograd.grad(out, (q, k, v), slope)


def close(found, want, tolerance=1e-12):
    for f, w in zip(found, want, strict=True):
        np.testing.assert_allclose(f, w, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("length, parts", [(1, 1), (255, 1), (256, 2), (257, 2), (511, 3), (513, 4), (4096, 4)])
def test_how_many_parts(length, parts):
    assert attention._parts(length, length) == parts and attention._parts(length, length + 1) == 1


@pytest.mark.parametrize("length", [1, 7, 255, 256, 300, 511, 515])
def test_lengths(length):
    close(both(*given(length)), masked(*given(length)))


@pytest.mark.parametrize("mask", MASKS)
def test_masks(mask):
    made = MASKS[mask](300)
    made = None if made is None else tracec.from_numpy(made)
    found, want = both(*given(300), made), masked(*given(300), made)
    close(found[:1], want[:1])
    if mask != "queries":  # the gradient of a row that attends to nothing is no number where it is masked by hand
        close(found[1:], want[1:])


def test_as_many_queries_as_keys_are_not_needed():
    close(both(*given(300, 600)), masked(*given(300, 600)))
    close(both(*given(600, 300)), masked(*given(600, 300)))


def test_groups_of_heads():
    q, k, v, slope = given(260, heads=4, groups=2)
    found = both(q, k, v, slope, enable_gqa=True)
    want = masked(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1), slope)
    close(found[:2], want[:2])
    close(found[2:], [g.unflatten(1, (2, 2)).sum(2) for g in want[2:]])


def test_what_a_query_does_not_see_is_not_looked_at():
    q, k, v, _ = given(512)
    v[:, :, 400:] = float("nan")
    found = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert not found[:, :, :384].isnan().any() and found[:, :, 400:].isnan().all()


@needs_compiler
@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_compiled(target):
    arguments = [x.float() for x in given(260)]
    lowered = tracec.compile(both).lower(*arguments, target=target)
    close(lowered.run(*arguments, launcher="emulator"), masked(*given(260)), 1e-4)
    products = sum(n.op.name == "dot" for n in lowered.graph.nodes)
    assert products == 2 * 6  # two forward and four backward, of two parts


@needs_compiler
def test_lengths_that_vary():
    run = tracec.compile(both)
    for length in (256, 300, 310, 290, 513):
        close(run(*given(length)), masked(*given(length)))


@needs_compiler
def test_dropout_is_the_same_eagerly_and_compiled():
    arguments = [x.float() for x in given(300)]
    results = []
    for run in (both, tracec.compile(both)):
        for _ in range(2):
            tracec.manual_seed(4)
            results.append(run(*arguments, dropout_p=0.5))
    for found in results[1:]:
        close(found, results[0], 1e-4)
    out = results[0][0]
    assert (out == 0).any() and not out.isnan().any()
