"""The version that programs ask for is that of the PyTorch whose names these are, and compares as PyTorch's does."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path

import pytest

import tracec
from tracec import version
from tracec.version import TorchVersion

PROJECT = tomllib.loads(Path(__file__).parent.parent.joinpath("pyproject.toml").read_text())["project"]
VERSIONS = [
    "1.9",
    "1.10.0",
    "1.13.1+cu117",
    "2.0.0a0",
    "2.0",
    "2.0.0",
    "2.4.0.dev20240601",
    "2.4.0rc1",
    "2.4",
    "2.13.0",
]


def test_it_is_one_of_pytorchs():
    assert tracec.__version__ == f"2.13.0+tracec{PROJECT['version']}" and version.tracec == PROJECT["version"]
    assert tracec.__version__ >= "1.6" and tracec.__version__ >= "2.9.1" and tracec.__version__ > (2, 0)
    assert not tracec.__version__ < "2.10" and tuple(int(n) for n in tracec.__version__.split(".")[:2]) == (2, 13)
    assert tracec.vision.__version__ > "0.13" and isinstance(tracec.version.__version__, str)
    assert len({tracec.__version__, str(tracec.__version__)}) == 1


@pytest.mark.parametrize(("a", "b"), [*itertools.product(VERSIONS, VERSIONS)])
def test_it_compares_as_pytorchs(a, b):
    theirs = pytest.importorskip("torch").torch_version.TorchVersion
    for name in ("__lt__", "__le__", "__gt__", "__ge__", "__eq__"):
        expected = getattr(theirs(a), name)(b)
        assert getattr(TorchVersion(a), name)(b) is expected, name
        assert getattr(TorchVersion(a), name)(TorchVersion(b)) is expected, name
    assert (TorchVersion(a) != b) is not (TorchVersion(a) == b)
    assert (TorchVersion(a) > (2, 0)) is (theirs(a) > (2, 0))


def test_it_is_the_release_that_it_is_held_to():
    torch = pytest.importorskip("torch")
    if not torch.__version__.startswith(version.PYTORCH):
        pytest.skip(f"PyTorch {torch.__version__} is installed")
    assert torch.__version__ >= version.PYTORCH
