"""What a function prints and logs is printed and logged by its program as well."""

from __future__ import annotations

import io
import logging
import sys
import threading
import warnings
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pytest

import tracec

w = tracec.ones(2, requires_grad=True)
logger = logging.getLogger("tests.printed")


def plain(x):
    print("start", 1, None, sep="-")
    return x + 1


def tensors(x):
    y = w * x
    print("w", w, x, y, y.sum(), sep=" | ", end="!\n")
    with tracec.no_grad():
        w.add_(1)
    print(w.detach(), w[0], (w * 2)[0])
    return y.sum()


def texts(x):
    print(f"sum {x.sum().item():.2f}, {x}")
    sys.stdout.write(str(x.max()))
    print([x.sum(), {"x": x}])
    return x * 2


def numbers(x):
    n = x.sum().item()
    print("n", n, n * 2, x.argmax().item(), x)
    return n + 1, x + 1


def branches(x):
    if x.sum() > 0:
        print("positive", x)
        return x * 2
    print("negative", file=sys.stderr)
    return x - 1


def logs(x):
    logger.warning("about to add")
    y = x + 1
    logger.info("sum %s of %d", y.sum(), 2)
    logger.debug("not shown")
    return y


def in_a_nested_function(x):
    return tracec.func.vmap(lambda row: (print("row"), row * 2)[1])(x)


def values(result):
    return [values(v) for v in result] if isinstance(result, tuple) else tracec.as_tensor(result).tolist()


@pytest.mark.parametrize(
    "f", [plain, tensors, texts, numbers, branches, logs, in_a_nested_function], ids=lambda f: f.__name__
)
def test_each_call_prints_what_an_eager_one_would(f):
    logger.setLevel(logging.INFO)

    def run(function):
        with tracec.no_grad():
            w.fill_(1)
        out, err, log = io.StringIO(), io.StringIO(), io.StringIO()
        handler = logging.StreamHandler(log)
        logger.addHandler(handler)
        try:
            with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
                warnings.simplefilter("error")
                results = [values(function(tracec.full((2,), value))) for value in (1.0, 1.0, -2.0, 1.0, -2.0)]
        finally:
            logger.removeHandler(handler)
        return results, out.getvalue(), err.getvalue(), log.getvalue()

    compiled = tracec.compile(f)
    assert run(compiled) == run(f)
    assert sum(s.hits for s in compiled.explain().specialisations if s.compiled) >= 3


@pytest.mark.parametrize(("f", "text"), [(tensors, "w | tensor"), (numbers, "n ")])
def test_new_values_of_what_is_printed_are_no_new_recordings(f, text, capsys):
    compiled = tracec.compile(f)
    for k in range(20):
        compiled(tracec.tensor(np.random.default_rng(k).standard_normal(2)).float())
    assert len(compiled.explain().recordings) == 1
    assert capsys.readouterr().out.count(text) == 20


def test_other_threads_print_for_themselves(capsys):
    started, done = threading.Event(), threading.Event()

    def speak():
        started.wait()
        print("from beside")
        done.set()

    thread = threading.Thread(target=speak)
    thread.start()

    def f(x):
        started.set()
        done.wait(5)
        print("inside")
        return x + 1

    compiled = tracec.compile(f)
    for _ in range(3):
        compiled(tracec.ones(2))
    thread.join()
    assert sorted(capsys.readouterr().out.split("\n")) == ["", "from beside", "inside", "inside", "inside"]


def test_standard_streams_are_as_before():
    before = print, sys.stdout, sys.stderr, logging.Logger.handle

    def f(x):
        print("about to fail", x)
        raise ValueError

    with pytest.raises(ValueError):
        tracec.compile(f)(tracec.ones(2))
    assert before == (print, sys.stdout, sys.stderr, logging.Logger.handle)
