"""Calling loaded plans: outputs, donated inputs, threads, forks, BLAS."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.codegen import kernels as k
from tests.codegen.plans import arrays_for, plan_of
from tests.codegen.test_c_plans import library_plan
from tracec.codegen.c import render
from tracec.errors import ArgumentTypeError
from tracec.ir import dtype as dt
from tracec.ir.plan import Launch, Memory, Plan, Value
from tracec.ir.types import TensorType
from tracec.runtime import cpu, executable
from tracec.runtime.blas import Blas, LibTable, find_blas
from tracec.runtime.compiler import find_compiler
from tracec.runtime.cpu import _host, load

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def loaded(plan: Plan) -> executable.Executable:
    return load(plan, render(plan))


def test_each_call_gives_fresh_outputs() -> None:
    run = loaded(plan_of([k.chain(20_000)]))
    x, z = (np.full(20_000, v, np.float32) for v in (1, 2))
    (first,) = run([x, z])
    (second,) = run([z, x])
    assert (first == 5).all() and (second == 7).all()


def test_a_donated_input_is_the_output() -> None:
    run = loaded(plan_of([k.in_place(100)]))
    w, g, rate = np.ones(100, np.float32), np.ones(100, np.float32), np.array(0.5, np.float32)
    (found,) = run([w, g, rate])
    assert found is w and (w == 0.5).all()


def test_in_one_crossing_a_donated_input_is_the_output_too() -> None:
    run = loaded(plan_of([k.in_place(100)]))
    w, g, rate = np.ones(100, np.float32), np.ones(100, np.float32), np.array(0.5, np.float32)
    before = sys.getrefcount(w)
    assert run.quick is not None
    (found,) = run.quick([w, g, rate])
    assert found is w and (w == 0.5).all()
    del found
    assert sys.getrefcount(w) == before


def test_nothing_is_done_in_one_crossing_where_elements_have_gaps() -> None:
    run = loaded(plan_of([k.in_place(100)]))
    w, g, rate = np.ones(200, np.float32)[::2], np.ones(100, np.float32), np.array(0.5, np.float32)
    assert run.quick is not None and run.quick([w, g, rate]) == []
    assert run.quick([g, w, rate]) == [] and (w == 1).all() and (g == 1).all()


def test_an_output_may_be_given_twice() -> None:
    plan = plan_of([k.chain(50)])
    x = np.ones(50, np.float32)
    a, b = loaded(replace(plan, outputs=plan.outputs * 2))([x, x])
    assert (a == 4).all() and (b == 4).all()


def test_sixteen_bit_outputs_have_their_dtype() -> None:
    for dtype in (dt.float16, dt.bfloat16):
        kernel = k.chain(40_000, dtype.short)
        (y,) = loaded(plan_of([kernel]))(arrays_for(kernel)[:2])
        assert y.dtype == dtype.numpy


def _two_steps(n: int) -> Plan:
    """x → arena → y."""
    t = TensorType(dt.float32, (n,))
    values = (Value("%0", t, "input", 0), Value("%1", t, "arena", -1, 0, 0, 1), Value("%2", t, "output", 0))
    steps = (Launch(0, ((0, 0, 1),)), Launch(0, ((1, 1, 2),)))
    return Plan((k.chain(n),), steps, values, (0,), (2,), Memory(4 * n, 4 * n, 4 * n))


def test_calls_from_many_threads_at_once() -> None:
    run = loaded(_two_steps(5000))
    wrong: list[int] = []

    def work(number: int) -> None:
        x = np.full(5000, number, np.float32)
        for _ in range(100):
            if not (run([x])[0] == 16 * number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def _in_child(queue: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    run = loaded(plan_of([k.chain(100_001)]))
    x = np.ones(100_001, np.float32)
    queue.put(float(run([x, x])[0].sum()))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_threads_that_it_lacks() -> None:
    run = loaded(plan_of([k.chain(100_001)]))
    x = np.ones(100_001, np.float32)
    run([x, x])
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == 400_004.0
    child.join(timeout=60)
    assert child.exitcode == 0


def test_pointers_asked_from_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executable, "data_offset", lambda: -1)
    _host.cache_clear()
    x = np.ones(100, np.float32)
    try:
        assert (loaded(plan_of([k.chain(100)]))([x, x])[0] == 4).all()
    finally:
        _host.cache_clear()


def test_only_arrays_are_taken() -> None:
    run = loaded(plan_of([k.chain(1)]))
    x = np.ones(1, np.float32)
    for wrong in (np.float32(1), 1.0, None):
        with pytest.raises(ArgumentTypeError, match="takes arrays"):
            run([x, wrong])  # type: ignore[list-item]
    assert run((x, x.view(np.memmap)))[0] == 4


def _product(m: int) -> Plan:
    a = np.empty((m, m), np.float32)
    return library_plan(
        "gemm", [a, a], TensorType(dt.float32, (m, m)),
        batch=(), m=m, n=m, k=m, a_batch=(), b_batch=(), trans_a=False, trans_b=True,
        lda=m, ldb=m, a_offset=0, b_offset=0, dtype=dt.float32,
    )  # fmt: skip


def test_products_without_a_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    from tracec.runtime import blas

    monkeypatch.setattr(blas, "find_blas", Blas)
    _host.cache_clear()
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(150, 150)).astype(np.float32) for _ in range(2))
    try:
        np.testing.assert_allclose(loaded(_product(150))([a, b])[0], a @ b.T, rtol=1e-4, atol=1e-4)
    finally:
        _host.cache_clear()


@pytest.mark.skipif(not find_blas().get_threads, reason="needs numpy's OpenBLAS")
def test_the_number_of_blas_threads_is_restored() -> None:
    get = ctypes.CFUNCTYPE(ctypes.c_int)(find_blas().get_threads)
    before = get()
    a = np.ones((200, 200), np.float32)
    (found,) = loaded(_product(200))([a, a])
    assert (found == 200).all()
    assert get() == before
    assert find_compiler().flags


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_a_product_begins_leaves_blas_usable() -> None:
    """A child waited for ever for the thread that was about to put BLAS on one thread."""
    host = ctypes.CDLL(_host(find_compiler())._library._name)
    calls: list[int] = []
    inside, has_forked = threading.Event(), threading.Event()

    @ctypes.CFUNCTYPE(ctypes.c_int)
    def get_threads() -> int:
        inside.set()
        has_forked.wait(30)
        return 5

    @ctypes.CFUNCTYPE(None, ctypes.c_int)
    def set_threads(count: int) -> None:
        calls.append(count)

    table = LibTable(0, 0, *(ctypes.cast(f, ctypes.c_void_p) for f in (get_threads, set_threads)), 0, 0)
    thread = threading.Thread(target=host.tracec_blas_begin, args=(ctypes.byref(table),))
    thread.start()
    assert inside.wait(30)
    child = os.fork()
    if not child:
        signal.alarm(20)
        has_forked.set()
        run, a = loaded(_product(200)), np.ones((200, 200), np.float32)
        os._exit(0 if (run([a, a])[0] == 200).all() else 1)
    has_forked.set()
    thread.join()
    host.tracec_blas_end(ctypes.byref(table))
    assert calls == [1, 5]
    assert os.waitpid(child, 0)[1] == 0


def test_threads_that_load_programs_at_once_leave_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second to take its setting back found none there."""
    both, errors = threading.Barrier(2), []

    class Environment(dict[str, str]):
        def keys(self) -> Any:
            found = set(self)
            both.wait(30)
            return found

    def work() -> None:
        try:
            cpu._load_threads.__wrapped__()
        except KeyError as error:
            errors.append(error)

    monkeypatch.setattr(cpu.ctypes, "CDLL", lambda name: time.sleep(0.1))
    monkeypatch.setattr(cpu.os, "environ", Environment())
    threads = [threading.Thread(target=work) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors and not os.environ
