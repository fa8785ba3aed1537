"""State that no attribute tells of: of locks and other objects in C, of how text is written, of replaced operators."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import threading
from unittest import mock

import numpy as np

import tracec
from tests.footguns.harness import as_it_is, footgun, tensor, whole
from tests.footguns.hidden import changing


@footgun
def lock_that_is_held(wrap):
    found = []
    for lock, letting_go in ((threading.Lock(), True), (threading.RLock(), False)):
        f = wrap(lambda x, lock=lock: x * 2 if lock.acquire(blocking=False) and not lock.release() else x * 3)
        thread = threading.Thread(target=lock.acquire)
        found += changing(f, lambda thread=thread: (thread.start(), thread.join()))
        if letting_go:
            lock.release()
            found.append(f(whole(3)))
    return found


@footgun
def lock_that_is_asked(wrap):
    lock, event = threading.Lock(), threading.Event()
    f = wrap(lambda x: x * (1 + lock.locked() + 2 * event.is_set()))
    found = changing(f, lock.acquire) + changing(f, event.set)
    lock.release()
    return [*found, f(whole(3))]


@footgun
def lock_that_is_held_meanwhile(wrap):
    """Nothing depends on it then."""
    lock = threading.Lock()

    def f(x):
        with lock:
            return x * 2

    return [f(whole(3)) for f in [wrap(f)] for _ in range(3)]


@footgun(eager="changes what nothing stands in for, a lock")
def lock_that_is_left_held(wrap):
    lock = threading.Lock()

    def f(x):
        return x * (2 if lock.acquire(blocking=False) else 3)

    f, found = wrap(f), []
    for k in range(6):
        found += [f(whole(3)), lock.locked()]
        if k % 2:
            lock.release()
    return found


@footgun(eager="what a HASH keeps")
def hash_under_way(wrap):
    digest = hashlib.sha256()
    f = wrap(lambda x: x * digest.digest()[0])
    return changing(f, lambda: digest.update(b"more"))


@footgun
def random_numbers_of_an_object_of_numpy(wrap):
    state = np.random.RandomState(3)
    f = wrap(lambda x: x * state.randint(1000))
    return [f(whole(3)) for _ in range(4)]


@footgun
def arguments_of_an_error_that_is_kept(wrap):
    error = ValueError(2.0)
    f = wrap(lambda x: x * error.args[0])
    return changing(f, lambda: setattr(error, "args", (5.0,)))


@footgun
def how_tensors_are_written(wrap):
    functions = [wrap(f) for f in (lambda x: f"{x / 3}", lambda x: (repr(x / 3), str(x)), lambda x: x.sum() / 3)]
    found = []
    for digits in (4, 4, 2, 6, 2, 4):
        tracec.set_printoptions(precision=digits)
        found += [f(tensor(3)) for f in functions]
    return found


@footgun(eager="how tensors are written, which it changes")
def how_tensors_are_written_is_changed_inside(wrap):
    def f(x, digits):
        tracec.set_printoptions(precision=digits)
        return f"{x}"

    f, found = wrap(f), []
    for digits in (2, 2, 6, 6, 2):
        found.append(f(tensor(3), digits))
        found.append(f"{tensor(2)}")
        tracec.set_printoptions(profile="default")
    return found


@footgun
def operators_of_tensors_that_are_replaced(wrap):
    functions = [wrap(f) for f in (lambda x: x + 1, lambda x: -x, lambda x: x[0] * 2, lambda x: (x > 0) * 1)]
    functions += [wrap(f) for f in (lambda x: getattr(x, "re" + "lu")(), lambda x: tracec.nn.functional.relu(x))]
    plus, relu, item = tracec.Tensor.__add__, tracec.Tensor.relu, tracec.Tensor.__getitem__
    found = []
    for _ in range(2):
        found += [f(whole(3)) for f in functions for _ in range(2)]
        with (
            mock.patch.object(tracec.Tensor, "__add__", lambda a, b: plus(a, b) * 10),
            mock.patch.object(tracec.Tensor, "__neg__", lambda a: a * 7),
            mock.patch.object(tracec.Tensor, "__getitem__", lambda a, k: item(a, 1)),
            mock.patch.object(tracec.Tensor, "relu", lambda a: relu(a) * 5),
        ):
            found += [f(whole(3)) for f in functions for _ in range(2)]
    return found


@footgun(eager="Tensor.sigmoid, which it replaces")
def method_of_tensors_that_the_function_replaces(wrap):
    before = tracec.Tensor.sigmoid

    def f(x):
        y = x.sigmoid()
        tracec.Tensor.sigmoid = lambda x: before(x) * 2
        return y

    f, found = wrap(f), []
    for _ in range(3):
        found += [f(whole(3)), f(whole(3))]
        tracec.Tensor.sigmoid = before
    return found


@footgun(eager="tells the address of an object")
def text_of_a_fresh_object(wrap):
    kept = []

    def f(x):
        kept.append(object())
        return x * 2, repr(kept[-1])

    f, texts = wrap(f), []
    for _ in range(4):
        y, text = f(whole(3))
        texts.append(text == repr(kept[-1]))
    return [*texts, y]


@footgun
def text_of_an_object_that_lasts(wrap):
    owner = logging.Filter()
    f = wrap(lambda x: (x * 2, repr(owner)))
    return [f(whole(3))[0] for _ in range(3)] + [f(whole(3))[1] == repr(owner)]


@footgun
def functions_of_the_library_that_are_imported_later(wrap):
    """In a process that has not used them yet: what is not there cannot be guarded."""
    code = """
import tracec, warnings
kind = WRAP
f, g = kind(lambda x: x * (2 if tracec.backends.cudnn.benchmark else 3)), kind(lambda x: tracec.msort(x))
x, seen = tracec.tensor([3.0, 1.0]), []
seen += [f(x), f(x), g(x), g(x)]
tracec.backends.cudnn.benchmark = True
tracec.msort = lambda x: x * 10
print([t.tolist() for t in (*seen, f(x), f(x), g(x), g(x))])
"""
    wrapper = "lambda f: f" if wrap is as_it_is else "tracec.compile"
    done = subprocess.run([sys.executable, "-c", code.replace("WRAP", wrapper)], capture_output=True, text=True)
    f = wrap(lambda x: x)
    return [done.returncode, done.stdout, f(whole(2)), f(whole(2))]
