"""The table of what is imported when it is asked for is that of the modules."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
import re
import subprocess
import sys

import pytest

import tracec
from tracec import functions, ops
from tracec.functions.table import FUNCTIONS, METHODS
from tracec.record import method

MODULES = [m.name for m in pkgutil.iter_modules(functions.__path__)]


@pytest.fixture(scope="module", autouse=True)
def everything():
    for name in MODULES:
        importlib.import_module(f"tracec.functions.{name}")


def test_functions_are_where_the_table_says():
    assert set(functions.__all__) == FUNCTIONS.keys()
    for name, module in FUNCTIONS.items():
        assert hasattr(importlib.import_module(f"tracec.functions.{module}"), name), (module, name)
        assert callable(getattr(functions, name))


def test_methods_are_made_where_the_table_says():
    made = {k: f.__module__.removeprefix("tracec.functions.") for k, f in method.METHODS.items()}
    assert made == METHODS


@pytest.mark.parametrize(
    "module", [functions, tracec.nn.functional, tracec.linalg, tracec.special, tracec.func, tracec.nn.utils],
    ids=lambda m: m.__name__,
)  # fmt: skip
def test_functions_that_refuse_something_say_what(module):
    names = functions.__all__ if module is functions else [n for n in dir(module) if not n.startswith("_")]
    found = {n: inspect.unwrap(f) for n in names if inspect.isfunction(f := getattr(module, n))}
    refusing = {n: f for n, f in found.items() if re.search(r"\bfail\(|\braise ", inspect.getsource(f))}
    assert refusing
    assert [n for n, f in refusing.items() if "Raises:" not in (f.__doc__ or "")] == []


def test_operators_are_where_the_table_says():
    for name in ops.__all__:
        assert getattr(ops, name) is not None
    assert all(hasattr(ops, op) for op in ops.OPERATORS)


@pytest.mark.parametrize(
    "module", [tracec, tracec.nn.functional, tracec.linalg, tracec.fft, tracec.special], ids=lambda m: m.__name__
)
def test_functions_are_pickled_by_name(module):
    found = {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}
    named = {name: f for name, f in found.items() if inspect.isfunction(f)}
    assert len(named) > 10
    for name, f in named.items():
        assert pickle.loads(pickle.dumps(f)) is f, name


ASKED = {
    "tracec.relu(tracec.ones(2)).tolist()": "[1.0, 1.0]",
    "tracec.ones(2).cumsum(0).tolist()": "[1.0, 2.0]",
    "tracec.zeros(2).add_(1).tolist()": "[1.0, 1.0]",
    "tracec.Tensor.exp_.__name__": "exp_",
    "tracec.Tensor.softmax.__name__": "softmax",
    "hasattr(tracec.Tensor, 'nothing')": "False",
    "'svd' in dir(tracec) and 'relu' in dir(tracec.Tensor)": "True",
    "tracec.functions.softmax.__name__": "softmax",
    "__import__('tracec.functions.softmax').functions.softmax.__name__": "softmax",
    "tracec.ops.fft.name": "fft",
    "tracec.ir.operator.OPERATORS['svd'].name": "svd",
    "len(list(tracec.ir.operator.OPERATORS)) > 100": "True",
    "tracec.ops.OPERATORS.get('nothing')": "None",
    "__import__('pickle').loads(b'ctracec.ir.operator\\nOPERATORS\\n.')['lgamma'].name": "lgamma",
}


@pytest.mark.parametrize("program", ASKED)
def test_what_is_asked_for_first_in_a_process(program):
    code = f"import tracec; import tracec.ir; print({program})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == ASKED[program], done.stderr


def test_importing_the_package_imports_few_modules():
    code = "import sys, tracec; print(sum(m.startswith(('tracec.functions.', 'tracec.ops.')) for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 30


def test_names_that_are_nowhere():
    with pytest.raises(AttributeError, match="nothing"):
        tracec.nothing  # noqa: B018
    with pytest.raises(AttributeError, match="nothing"):
        functions.nothing  # noqa: B018
    with pytest.raises(AttributeError, match="nothing"):
        tracec.ones(1).nothing  # noqa: B018


def test_a_method_is_there_when_the_module_that_marks_it_is_whole(monkeypatch):
    """Other threads find it at once, and what it calls may stand below it."""
    monkeypatch.setattr(method, "METHODS", dict(method.METHODS))

    def twice(x):
        return x * 2

    method.tensor_method(name="twice_as_much", inplace=True)(twice)
    assert not hasattr(tracec.Tensor, "twice_as_much")
    try:
        method.enter(__name__)
        assert tracec.ones(1).twice_as_much().item() == tracec.ones(1).twice_as_much_().item() == 2
    finally:
        for name in ("twice_as_much", "twice_as_much_"):
            type.__delattr__(tracec.Tensor, name)


def test_threads_that_ask_for_the_same_method_at_once():
    code = """
import sys, threading, tracec
sys.setswitchinterval(1e-6)
x, failed, start = tracec.ones(4), [], threading.Barrier(8)
def ask():
    start.wait()
    try:
        x.softmax(0), x.cumsum(0), x.relu(), tracec.logsumexp(x, 0), x.digamma()
    except Exception as error:
        failed.append(error)
threads = [threading.Thread(target=ask) for _ in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
print(failed)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
