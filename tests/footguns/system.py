"""State of the system and of libraries: streams, files, the process, memory of C code, builtins, seeds and modes."""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import io
import mmap
import os
import queue
import subprocess
import sys
import warnings
from unittest import mock

import tracec
from tests.footguns.harness import footgun, replaced, whole
from tests.footguns.hidden import changing


@footgun
def stream_that_was_held_on_to(wrap):
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        out = sys.stdout

        def f(x):
            out.write("called\n")
            return x * 2

        f = wrap(f)
        found = [f(whole(3)) for _ in range(4)]
    return [*found, text.getvalue()]


@footgun(eager="writes to a file")
def file_that_is_written(wrap):
    path = f"footgun-{os.getpid()}.txt"
    try:
        with open(path, "w") as file:

            def f(x):
                file.write("called\n")
                return x * 2

            f = wrap(f)
            found = [f(whole(3)) for _ in range(4)]
        with open(path) as file:
            return [*found, file.read()]
    finally:
        os.remove(path)


@footgun(eager="changes variables of the process")
def variable_of_the_process_that_is_written(wrap):
    def f(x):
        os.environ["TRACEC_FOOTGUN_WRITTEN"] = "set"
        return x * 2

    f, found = wrap(f), []
    for _ in range(4):
        os.environ.pop("TRACEC_FOOTGUN_WRITTEN", None)
        f(whole(3))
        found.append(subprocess.run("echo $TRACEC_FOOTGUN_WRITTEN", shell=True, capture_output=True, check=True).stdout)
    del os.environ["TRACEC_FOOTGUN_WRITTEN"]
    return found


@footgun
def memory_of_c_code(wrap):
    numbers, one, mapped = (ctypes.c_float * 3)(1, 2, 3), ctypes.c_int(2), mmap.mmap(-1, 16)
    mapped[0] = 2
    f = wrap(lambda x: x * numbers[0] + one.value * mapped[0])
    found = [f(whole(3)), f(whole(3))]
    numbers[0] = 5
    found += [f(whole(3)), f(whole(3))]
    one.value, mapped[0] = 7, 9
    return [*found, f(whole(3)), f(whole(3))]


@footgun(eager="a queue")
def queues(wrap):
    simple, full = queue.SimpleQueue(), queue.Queue()

    def f(x):
        simple.put(1)
        full.put(x * 2)
        return x * 3

    f, g = wrap(f), wrap(lambda x: (full.put(x), x * 2)[1])
    found = [h(whole(3, seed=k)) for h in (f, g) for k in range(4)]
    return [*found, simple.qsize(), *(full.get() for _ in range(full.qsize()))]


@footgun(eager="the file system, or the process")
def directories_that_are_made_and_entered(wrap):
    here, name = os.getcwd(), f"footgun-{os.getpid()}"

    def f(x):
        os.mkdir(name)
        os.chdir(name)
        return x * 2

    f, found = wrap(f), []
    for _ in range(4):
        found += [f(whole(3)), os.path.basename(os.getcwd()) == name]
        os.chdir(here)
        os.rmdir(name)
    return found


@footgun
def builtin_that_is_replaced(wrap):
    f = wrap(lambda x: x * abs(-2.0) * len([1, 2]))
    found = [f(whole(3)), f(whole(3))]
    with replaced(builtins, "abs", lambda v: 7.0):
        found += [f(whole(3)), f(whole(3))]
    return [*found, f(whole(3))]


@footgun(eager="reads how often memory was written to")
def version_of_a_tensor(wrap):
    f, x, found = wrap(lambda x: x * x._version), whole(3), []
    for _ in range(3):
        found += [f(x), f(x)]
        x.add_(1)
    return found


@footgun(eager="the address of memory")
def address_of_a_tensor(wrap):
    a, b = whole(3), whole(3, seed=1)
    factors = {b.data_ptr(): 5.0}
    f = wrap(lambda x: x * factors.get(x.data_ptr(), 1.0))
    return [f(x) for x in (a, a, b, b, a)]


@footgun(eager="a seed, initial_seed")
def seed_that_is_read(wrap):
    f, found = wrap(lambda x: x * float(tracec.initial_seed() % 7)), []
    for seed in (5, 5, 6, 6):
        tracec.manual_seed(seed)
        found += [f(whole(3)), f(whole(3))]
    tracec.manual_seed(0)
    return found


@footgun
def flag_of_a_backend(wrap):
    f = wrap(lambda x: x * (2 if tracec.backends.cudnn.benchmark else 3))
    found = [f(whole(3)), f(whole(3))]
    with replaced(tracec.backends.cudnn, "benchmark", True):
        found += [f(whole(3)), f(whole(3))]
    return [*found, f(whole(3))]


@footgun(eager="is_inference_mode_enabled")
def mode_of_inference(wrap):
    f = wrap(lambda x: x * (2 if tracec.is_inference_mode_enabled() else 3))
    found = [f(whole(3)), f(whole(3))]
    with tracec.no_grad():
        found += [f(whole(3)), f(whole(3))]
    with tracec.inference_mode():
        found += [f(whole(3)), f(whole(3))]
    return found


@footgun
def class_of_no_module(wrap):
    names = {}
    exec("class A:\n    k = 2.0\n    def go(self, x):\n        return x * self.k", names)
    a = names["A"]()
    return changing(wrap(lambda x: a.go(x)), lambda: setattr(names["A"], "k", 3.0))


@footgun
def numbers_and_texts_with_attributes(wrap):
    class Text(str):
        k = 2.0

    class Number(float):
        pass

    text, number = Text("a"), Number(2.0)
    number.k = 3.0
    f, g = wrap(lambda x, s: x * s.k), wrap(lambda x: x * number.k)
    found = [f(whole(3), text), f(whole(3), text), g(whole(3)), g(whole(3))]
    Text.k, number.k = 5.0, 7.0
    found += [f(whole(3), text), f(whole(3), text), g(whole(3)), g(whole(3))]
    text.k = 9.0
    return [*found, f(whole(3), text), f(whole(3), Text("a"))]


@footgun
def warnings_at_each_call(wrap):
    def f(x):
        warnings.warn("a footgun", stacklevel=1)
        warnings.warn(DeprecationWarning("another"), stacklevel=2)
        return x * 2

    f, found = wrap(f), []
    for how in ("always", "default", "ignore"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter(how)
            for _ in range(4):
                f(whole(3))
        found.append([(w.category.__name__, str(w.message)) for w in caught if "compile" not in str(w.message)])
    return [found[0], found[2]]


@footgun(rounded=1e-6)
def a_function_of_the_library_that_modules_call_replaced(wrap):
    model = tracec.nn.Sequential(tracec.nn.GELU(), tracec.nn.Softmax(0))
    f = wrap(lambda x: model(x) * 2)
    found = [f(whole(3, seed=k)) for k in range(3)]
    with mock.patch.object(tracec.nn.functional, "gelu", lambda x, approximate="none": x * 100):
        found += [f(whole(3, seed=k)) for k in range(3)]
    return found + [f(whole(3, seed=k)) for k in range(3)]
