"""Bytes and operations of steps, against what can be counted by hand."""

from __future__ import annotations

import pytest

import tracec
from tracec import nn
from tracec.inspect.work import Work, of_all, work_of
from tracec.nn import functional as F

F32 = 4


def works(fn, *args, **options):
    plan = tracec.compile(fn, **options).lower(*args).plan
    return [work_of(plan, s) for s in plan.steps]


def test_a_map_reads_and_writes_each_element_once():
    assert works(lambda x, y: x * 2 + y, tracec.ones(5, 7), tracec.ones(5, 7)) == [Work(2 * 35 * F32, 35 * F32, 70)]


def test_what_is_read_again_counts_once():
    (work,) = works(lambda x, row: x + row, tracec.ones(64, 32), tracec.ones(32))
    assert (work.read, work.written, work.operations) == ((64 * 32 + 32) * F32, 64 * 32 * F32, 64 * 32)


def test_a_row_kernel_reads_its_rows_once():
    (work,) = works(lambda x: F.softmax(x, dim=-1), tracec.ones(16, 128))
    assert (work.read, work.written) == (16 * 128 * F32, 16 * 128 * F32)
    assert work.operations >= 5 * 16 * 128  # maximum, difference, exp, sum, quotient


@pytest.mark.parametrize("size", [8, 512])  # a kernel, and a library's
def test_a_product_is_two_operations_for_each_pair(size):
    (work,) = works(lambda x, y: x @ y, tracec.ones(size, 3 * size), tracec.ones(3 * size, size))
    assert work.operations == 2 * size * 3 * size * size
    assert (work.read, work.written) == (2 * 3 * size * size * F32, size * size * F32)
    assert work.exact


def test_a_product_of_a_part_reads_the_part():
    def run(x, w):
        return x[:, -1] @ w

    found = works(run, tracec.ones(300, 50, 400), tracec.ones(400, 500))
    assert sum(w.moved for w in found) <= 4 * (300 * 400 + 400 * 500 + 300 * 500) * F32


def test_a_gather_reads_what_it_takes():
    weight, index = tracec.ones(1000, 16), tracec.tensor([1, 5, 7])
    moved = sum(w.moved for w in works(lambda i: F.embedding(i, weight), index))
    assert 3 * 8 + 2 * 3 * 16 * F32 <= moved < 1000 * 16 * F32 / 8


def test_runs_of_one_kernel_add_up():
    given = [tracec.ones(n) for n in (3, 1000, 17)]
    assert sum(w.moved for w in works(lambda *xs: [x + 1 for x in xs], *given)) == 2 * 1020 * F32


def test_loops_that_share_a_row_count_each_iteration_once():
    norm = nn.LayerNorm(256)

    def gradients(x):
        return tracec.autograd.grad(norm(x).square().sum(), [x, norm.weight, norm.bias])

    x = tracec.randn(8192, 256, requires_grad=True)
    plan = tracec.compile(gradients).lower(x, target="cuda").plan
    assert any(k.shape == "stripe" for k in plan.kernels)
    work = of_all(plan)
    assert 2 * 8192 * 256 * F32 <= work.moved <= 8 * 8192 * 256 * F32
    assert work.operations < 60 * 8192 * 256


def test_a_loop_of_fixed_length_counts_every_turn():
    def run(n):
        step = lambda carry, x: (carry * 0.5 + x, carry.sum())  # noqa: E731
        return lambda xs: tracec.func.scan(step, tracec.zeros(8), xs)

    few, many = (sum(w.operations for w in works(run(n), tracec.ones(n, 8))) for n in (50, 100))
    assert 1.8 * few < many < 2.2 * few


def test_a_loop_of_no_fixed_length_says_so():
    def run(x):
        return tracec.func.while_loop(lambda x: x.sum() < 100, lambda x: (x * 2,), (x,))

    assert not all(w.exact for w in works(run, tracec.ones(8)))
