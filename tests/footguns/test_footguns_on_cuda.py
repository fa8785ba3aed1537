"""The footguns on tensors of a pretended GPU, compiled as CUDA that the emulator runs."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import tracec
from tests.codegen.emulated import needs_compiler
from tests.doubles.driver import pretended
from tests.footguns.harness import FOOTGUNS, ON_THE_CPU, Footgun, check_on_gpu

for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
    if path.stem != "harness" and not path.stem.startswith("test_"):
        import_module(f"tests.footguns.{path.stem}")

pytestmark = needs_compiler

#: Those in which something is out of range, which is told on a GPU when it has come to the host.
TOLD_LATER = {
    "classes_and_embeddings_out_of_range", "crossent_oob", "embedding_oob", "gather_oob",
    "index_of_closed_over_table", "index_oob", "index_out_of_range_between_draws", "index_out_of_range_between_writes",
    "index_that_is_computed_from_floats", "lookups_out_of_range_of_many_sizes", "onehot_oob",
    "parameters_of_distributions_that_are_none", "scatter_oob", "take_idxselect_oob",
    "values_that_distributions_do_not_have",
}  # fmt: skip
CHECKED = [f for f in FOOTGUNS if f.name not in ON_THE_CPU | TOLD_LATER]


@pytest.fixture(autouse=True)
def _device() -> Iterator[None]:
    with pretended():
        yield


@pytest.mark.parametrize("one", CHECKED[5::16], ids=lambda f: f.name)
def test_compiled_is_as_eager(one: Footgun) -> None:
    check_on_gpu(one, tracec.compile)


@pytest.mark.slow
@pytest.mark.parametrize("one", CHECKED, ids=lambda f: f.name)
def test_all_compiled_are_as_eager(one: Footgun) -> None:
    check_on_gpu(one, tracec.compile)


@pytest.mark.slow
@pytest.mark.parametrize("one", [f for f in FOOTGUNS if f.name in TOLD_LATER], ids=lambda f: f.name)
def test_what_is_out_of_range_is_told_later(one: Footgun) -> None:
    with pytest.raises((AssertionError, tracec.errors.TracecError)):
        check_on_gpu(one, tracec.compile)
