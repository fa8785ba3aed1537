"""Every public operator on PyTorch's own samples: values, shapes, dtypes and gradients.

``expected_failures.txt`` lists those that do not agree, each with what its errors say and the reason; one that newly
agrees, or fails otherwise, must leave it. ``eager_fallbacks.txt`` lists those whose compiled functions run eagerly for
some sample, with the reason that the warning gives; ``pytest -m slow tests/conformance --update-golden`` rewrites it.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # which PyTorch's test code imports

import tracec  # noqa: E402
from tests.conformance.bridge import Missing, function_of  # noqa: E402
from tests.conformance.comparison import ENTRIES, compare_sample, listed  # noqa: E402
from tracec import options  # noqa: E402

#: Samples of each dtype; of compiled functions fewer, since each compiles anew.
MOST, MOST_COMPILED = 12, 3


#: Operator → what all of its errors say, and why they are right.
FAILURES = listed("expected_failures.txt")
FALLBACKS = "eager_fallbacks.txt"
#: The end of the warning that a function cannot be compiled.
RUN_AGAIN = f"; such a function is {options.RUN_AGAIN}"


@pytest.mark.parametrize("name", ENTRIES)
def test_agrees_with_pytorch(name: str) -> None:
    check(name, compiled=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENTRIES)
def test_agrees_compiled(name: str, request: pytest.FixtureRequest) -> None:
    fallbacks = check(name, compiled=True)
    expected = listed(FALLBACKS).get(name)
    if bool(fallbacks) == bool(expected):
        return
    if request.config.getoption("--update-golden"):
        _list_fallback(name, fallbacks)
    elif fallbacks:
        pytest.fail(
            f"{name} is recorded again where it is compiled; {FALLBACKS} has no such line:\n{name} | {fallbacks[0]}"
        )
    else:
        pytest.fail(f"{name} compiles now: take its line out of {FALLBACKS}")


def _list_fallback(name: str, fallbacks: Sequence[str]) -> None:
    path = Path(__file__).parent / FALLBACKS
    head = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    rows = {k: " | ".join(rest) for k, rest in listed(FALLBACKS).items() if k != name}
    if fallbacks:
        rows[name] = fallbacks[0]
    lines = (*head, *(f"{k} | {rows[k]}" for k in sorted(rows)))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def test_the_lists_are_of_operators() -> None:
    assert not FAILURES.keys() - ENTRIES.keys()
    assert not listed(FALLBACKS).keys() - ENTRIES.keys()
    assert all(len(rest) == 2 and all(rest) for rest in FAILURES.values())
    assert all(len(rest) == 1 and all(rest) for rest in listed(FALLBACKS).values())


def check(name: str, compiled: bool) -> list[str]:
    """Run an operator's samples; where it is listed as failing, it must fail, and as the list says.

    Returns:
        Why compiled functions ran eagerly, for each that did.
    """
    errors: list[Exception] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")  # those of deprecated functions, by either library, are no matter
        for run in _runs(ENTRIES[name], compiled):
            try:
                run()
            except Exception as error:
                if name not in FAILURES:
                    raise
                errors.append(error)
    if name in FAILURES:
        _check_failures(name, errors, compiled)
    return fallbacks_in(caught)


def fallbacks_in(caught: Sequence[warnings.WarningMessage]) -> list[str]:
    """What warnings say of functions that cannot be compiled."""
    said = (str(w.message).partition("\n")[0] for w in caught)
    return [text.removesuffix(RUN_AGAIN).partition(": ")[2] for text in said if text.endswith(RUN_AGAIN)]


def _check_failures(name: str, errors: Sequence[Exception], compiled: bool) -> None:
    says, reason = FAILURES[name]
    for error in errors:
        if not re.search(says, f"{type(error).__name__}: {error}"):
            raise error
    if errors:
        pytest.xfail(reason)
    if not compiled:  # fewer samples are compiled
        pytest.fail(f"{name} agrees now: take its line out of expected_failures.txt")


def _runs(info: Any, compiled: bool) -> Iterator[Callable[[], None]]:
    """The comparison of each sample, and at last whether any could be used."""
    function = function_of(info)
    if compiled:
        function = _by_second_call(function)
    ran: list[bool] = []
    for dtype in _dtypes(info):
        differentiable = dtype is torch.float32 and info.supports_autograd
        torch.manual_seed(0)
        np.random.seed(0)
        samples = list(itertools.islice(info.sample_inputs("cpu", dtype, requires_grad=differentiable), 200))
        most = MOST_COMPILED if compiled else MOST
        for sample in samples[:: -(-len(samples) // most) or 1]:
            yield lambda s=sample, d=differentiable: ran.append(compare_sample(info, function, s, d))  # type: ignore[misc]

    def some() -> None:
        assert any(ran), f"{info.name}: no sample could be used"

    yield some


def _by_second_call(function: Any) -> Any:
    """The function compiled; the first call is recorded and computes eagerly, the second one runs what was built."""
    compiled = tracec.compile(lambda *args, **kwargs: function(*args, **kwargs))

    def call(*args: Any, **kwargs: Any) -> Any:
        tracec.manual_seed(1)
        compiled(*args, **kwargs)
        tracec.manual_seed(1)
        return compiled(*args, **kwargs)

    call.eagerly = function  # type: ignore[attr-defined]
    return call


def _dtypes(info: Any) -> list[Any]:
    known = info.supported_dtypes("cpu")
    wanted = [d for d in (torch.float32, torch.int64) if d in known]
    return wanted or [d for d in (torch.bool, torch.float64, torch.complex64) if d in known][:1]


def test_a_function_that_runs_eagerly_is_found() -> None:
    lengths = []

    def remembers(x: Any) -> Any:
        path = Path(__file__).with_name("expected_failures.txt")
        lengths.append(len(path.read_text()))  # what is read there no program knows
        return tracec.sin(x)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call = _by_second_call(remembers)
        for _ in range(2):  # a first read may have been to set something up
            call(tracec.ones(3))
    assert fallbacks_in(caught)


def test_the_comparison_finds_wrong_values_dtypes_and_gradients() -> None:
    info = ENTRIES["sin"]
    sample = next(info.sample_inputs("cpu", torch.float32, requires_grad=True))
    assert compare_sample(info, tracec.sin, sample, True)
    for wrong in (
        lambda x: tracec.sin(x) * 1.001,
        lambda x: tracec.sin(x).double(),
        lambda x: tracec.sin(x.detach()) + 0 * x,
        lambda x: tracec.sin(x)[:1],
        lambda x: [tracec.sin(x)] * 2,
    ):
        with pytest.raises(AssertionError):
            compare_sample(info, wrong, sample, True)
    with pytest.raises(Missing):
        function_of(type("Info", (), {"name": "no_such_operator", "op": None}))
