"""Normalisation against PyTorch: kept statistics, empty tensors and mistakes."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.functions.compare import agree, torch


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (2, 3, 4, 2), (2, 3, 2, 2, 2)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(shape, training):
    def f(t, x, mean, var, w, b):
        kept = mean.detach().clone(), var.detach().clone() ** 2 + 0.1
        return t.functional.batch_norm(x, *kept, w, b, training, 0.3, 1e-3), *kept

    agree(f, shape, (3,), (3,), (3,), (3,))


@pytest.mark.parametrize("shape", [(4, 3, 5), (2, 3, 4, 2), (1, 3, 2, 2, 2)])
@pytest.mark.parametrize("use_input_stats", [True, False])
def test_instance_norm_moves_its_statistics(shape, use_input_stats):
    def f(t, x, mean, var, w, b):
        kept = mean.detach().clone(), var.detach().clone() ** 2 + 0.1
        return t.functional.instance_norm(x, *kept, w, b, use_input_stats, 0.3, 1e-3), *kept

    agree(f, shape, (3,), (3,), (3,), (3,))


def test_group_norm():
    agree(lambda t, x, w, b: t.group_norm(x, 2, w, b, 1e-3), (3, 4, 5), (4,), (4,))
    agree(lambda t, x: t.group_norm(x, 4), (1, 8))
    agree(lambda t, x: t.group_norm(x, 1), (2, 3, 2, 2))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_local_response_norm(size):
    for shape in ((2, 5, 3), (2, 5, 3, 2), (1, 4, 2, 3, 2)):
        agree(lambda t, x: t.functional.local_response_norm(x, size, 0.5, 0.6, 1.5), shape)
    agree(lambda t, x: t.functional.local_response_norm(x, size), np.arange(30).reshape(2, 5, 3), rtol=3e-7)


def test_normalize():
    for options in ({}, {"p": 1, "dim": 0}, {"p": 3.0, "dim": -1, "eps": 10.0}, {"dim": (0, 1)}):
        agree(lambda t, x, options=options: t.functional.normalize(x, **options), (3, 4))

    def into(t, x):
        out = x.detach() * 0
        t.functional.normalize(x.detach(), out=out)
        return out

    agree(into, (3, 4))


def test_empty_batches_keep_statistics():
    def f(t, x):
        mean, var = x.new_zeros(3), x.new_ones(3)
        return t.functional.batch_norm(x, mean, var, training=True), mean, var

    agree(f, (0, 3))
    agree(f, (2, 3, 0))
    agree(lambda t, x: t.functional.batch_norm(x, None, None, training=True), (0,))
    agree(lambda t, x: t.functional.layer_norm(x, [0]), (2, 0))
    agree(lambda t, x: t.functional.group_norm(x, 2), (0, 4, 3))


@pytest.mark.parametrize(
    "mistake",
    [
        lambda F, t: F.batch_norm(t.ones(1, 3), None, None, training=True),
        lambda F, t: F.batch_norm(t.ones(2, 3), None, None),
        lambda F, t: F.batch_norm(t.ones(2, 3), t.zeros(3), None, training=True),
        lambda F, t: F.batch_norm(t.ones(2, 3), t.zeros(2), t.ones(2)),
        lambda F, t: F.batch_norm(t.ones(2, 3), t.zeros(3), t.ones(3), eps=-1.0),
        lambda F, t: F.batch_norm(t.ones(2, 3, dtype=t.int64), t.zeros(3), t.ones(3)),
        lambda F, t: F.instance_norm(t.ones(2, 3)),
        lambda F, t: F.instance_norm(t.ones(2, 3, 1)),
        lambda F, t: F.instance_norm(t.ones(2, 3, 4), use_input_stats=False),
        lambda F, t: F.instance_norm(t.ones(2, 3, 4), weight=t.ones(2)),
        lambda F, t: F.group_norm(t.ones(4), 2),
        lambda F, t: F.group_norm(t.ones(1, 2), 2),
        lambda F, t: F.group_norm(t.ones(2, 5), 2),
        lambda F, t: F.group_norm(t.ones(2, 4), 2, t.ones(2)),
        lambda F, t: F.layer_norm(t.ones(2, 4), []),
        lambda F, t: F.layer_norm(t.ones(2, 4), 4),
        lambda F, t: F.layer_norm(t.ones(2, 4), [3]),
        lambda F, t: F.rms_norm(t.ones(2, 4), [3]),
        lambda F, t: F.local_response_norm(t.ones(2, 4), 2),
        lambda F, t: t.nn.BatchNorm2d(3)(t.ones(3, 3, 3)),
        lambda F, t: t.nn.BatchNorm2d(3)(t.ones(3, 4, 3, 3)),
        lambda F, t: t.nn.InstanceNorm1d(3)(t.ones(4)),
        lambda F, t: t.nn.InstanceNorm1d(3, affine=True)(t.ones(2, 4, 4)),
    ],
)
def test_mistakes_raise_as_in_torch(mistake):
    with pytest.raises(Exception) as theirs:
        mistake(torch.nn.functional, torch)
    with pytest.raises(tracec.errors.TracecError) as ours:
        mistake(tracec.nn.functional, tracec)
    assert isinstance(ours.value, theirs.type), (ours.type, theirs.type)
    assert ours.value.hint
