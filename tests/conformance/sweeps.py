"""Sweeps over PyTorch's operator database: some operators in the quick tests, all of them in the slow ones.

Each sweep has a file under ``differences/`` that lists what does not agree and why: ``<operator> <cases> | <what all
of its errors say, a regular expression> | <reason>``. What is listed must differ, in every case that is named, and as
the list says; what is not listed must not.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conformance.bridge import Missing, function_of
from tests.conformance.comparison import ENTRIES, listed

#: A case's name, and its comparison, which tells whether the sample could be used.
Comparison = tuple[str, Callable[[], bool]]
#: What is said of an operator that the whole of it does not agree: in each sweep that has it.
FAILURES = listed("expected_failures.txt")


@dataclass(frozen=True)
class Sweep:
    """A sweep over operators.

    Attributes:
        name: Of the file under ``differences/``.
        compare: The comparisons of an operator, given its entry in the database and tracec's function.
        takes: Is an entry part of the sweep?
        every: The quick tests take one of so many operators.
    """

    name: str
    compare: Callable[[Any, Any], Iterator[Comparison]]
    takes: Callable[[Any], bool]
    every: int

    def names(self) -> list[str]:
        return [name for name, info in ENTRIES.items() if name not in FAILURES and self.takes(info)]

    def parameters(self) -> list[Any]:
        """The operators, with those that the quick tests leave out marked."""
        return [
            pytest.param(name, marks=() if k % self.every == 0 else pytest.mark.slow)
            for k, name in enumerate(self.names())
        ]

    def differences(self, name: str) -> dict[str, tuple[str, str]]:
        """Case → what its errors say, and why; ``*`` stands for the cases of an operator that has but one."""
        rows: dict[str, tuple[str, str]] = {}
        for line in _lines(self.name):
            operator, cases, says, reason = line
            if operator == name:
                rows.update(dict.fromkeys(cases, (says, reason)))
        return rows

    def comparisons(self, name: str) -> Iterator[Comparison]:
        """All comparisons of an operator; nothing where tracec has no such function, which another test tells."""
        try:
            function = function_of(ENTRIES[name])
        except Missing:
            return
        torch.manual_seed(0)
        np.random.seed(0)
        yield from self.compare(ENTRIES[name], function)

    def check(self, name: str) -> None:
        """Run an operator's comparisons; those of a listed case must fail, and as the list says."""
        expected, failed = self.differences(name), set[str]()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of deprecated functions, and loops where there is no batching rule
            for case, compare in self.comparisons(name):
                try:
                    compare()
                except Exception as error:
                    if case not in expected or not re.search(expected[case][0], f"{type(error).__name__}: {error}"):
                        raise
                    failed.add(case)
        agreed = sorted(expected.keys() - failed)
        if agreed:
            pytest.fail(f"{name} agrees now: take {', '.join(agreed)} out of differences/{self.name}.txt")
        if failed:
            pytest.xfail("; ".join(sorted({expected[case][1] for case in failed})))


def _lines(sweep: str) -> Iterator[tuple[str, Sequence[str], str, str]]:
    path = Path(__file__).parent / "differences" / f"{sweep}.txt"
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            what, says, reason = line.split(" | ")
            operator, *cases = what.split()
            yield operator, cases, says, reason


def check_list(sweep: Sweep) -> None:
    """Fail where a sweep's list names an operator that is not part of it, or leaves out a case or a reason."""
    lines = list(_lines(sweep.name))
    assert not {operator for operator, *_ in lines} - set(sweep.names())
    assert all(cases and says and reason for _, cases, says, reason in lines)


def samples_of(info: Any, dtype: Any, most: int, requires_grad: bool = False) -> list[Any]:
    """Some of an operator's samples, from all over their list."""
    samples = list(itertools.islice(info.sample_inputs("cpu", dtype, requires_grad=requires_grad), 100))
    return samples[:: -(-len(samples) // most) or 1]
