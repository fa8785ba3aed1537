"""``nn.utils.stateless``, as PyTorch has it beside ``func``."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tracec
from tracec.errors import KeyMissingError
from tracec.nn.utils import stateless


def test_is_called_with_other_parameters() -> None:
    layer = tracec.nn.Linear(2, 3)
    before = layer.weight
    given = {"weight": tracec.ones(3, 2), "bias": tracec.zeros(3)}
    with pytest.warns(FutureWarning, match="use tracec.func.functional_call"):
        found = stateless.functional_call(layer, given, tracec.ones(1, 2))
    assert found.tolist() == [[2.0] * 3] and layer.weight is before
    with pytest.warns(FutureWarning), pytest.raises(KeyMissingError):
        stateless.functional_call(layer, {"weights": before}, tracec.ones(1, 2))


@pytest.mark.parametrize("first", ["func", "nn.utils.stateless", "autograd.gradcheck"])
def test_is_imported_in_any_order(first: str) -> None:
    subprocess.run([sys.executable, "-c", f"import tracec.{first}, tracec.nn.utils.stateless"], check=True)
