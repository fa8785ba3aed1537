"""Forward mode: Jacobian-vector products of operators by fixed tangents, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # which PyTorch's test code imports

import tracec  # noqa: E402
from tests.conformance.bridge import tensors_in  # noqa: E402
from tests.conformance.comparison import ENTRIES, GAUGE, UNORDERED, Tolerance, compare_sample, draws  # noqa: E402
from tests.conformance.sweeps import Comparison, Sweep, check_list, samples_of  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # PyTorch warns of what it does itself

MOST = 4
TOLERANCE = Tolerance(1e-6, 1e-8)


def is_part(info: Any) -> bool:
    forward = info.supports_forward_ad and torch.float64 in info.supported_dtypes("cpu")
    return forward and info.name not in GAUGE | UNORDERED and not draws(info)


def comparisons(info: Any, function: Any) -> Iterator[Comparison]:
    theirs, ours = with_tangents(torch, info.op), with_tangents(tracec, function)
    for sample in samples_of(info, torch.float64, MOST):
        yield "float64", lambda s=sample: compare_sample(info, ours, s, False, TOLERANCE, theirs)  # type: ignore[misc]


def with_tangents(library: Any, function: Any) -> Callable[..., list[Any]]:
    """A function of the same arguments, whose results are followed by their tangents (zeros where there is none)."""
    forward = library.autograd.forward_ad

    def call(*args: Any, **kwargs: Any) -> list[Any]:
        rng, known = np.random.default_rng(5), dict[int, Any]()

        def dual(value: Any) -> Any:
            if isinstance(value, library.Tensor) and value.is_floating_point():
                if id(value) not in known:
                    tangent = library.from_numpy(rng.standard_normal(tuple(value.shape))).to(value.dtype)
                    known[id(value)] = forward.make_dual(value, tangent)
                return known[id(value)]
            if isinstance(value, list) or type(value) is tuple:
                return type(value)(map(dual, value))
            return value

        with forward.dual_level():
            out = function(*map(dual, args), **{k: dual(v) for k, v in kwargs.items()})
            results = [t for t in tensors_in(out) if isinstance(t, library.Tensor)]
            pairs = [forward.unpack_dual(t) for t in results]
            return [*(p for p, _ in pairs), *(library.zeros_like(p) if t is None else t for p, t in pairs)]

    return call


SWEEP = Sweep("forward_mode", comparisons, is_part, every=20)


@pytest.mark.parametrize("name", SWEEP.parameters())
def test_agrees_with_pytorch(name: str) -> None:
    SWEEP.check(name)


def test_the_list_is_of_operators() -> None:
    check_list(SWEEP)


@pytest.mark.parametrize("wrong", [lambda x: x.sin() * 1.001, lambda x: x.sin() + 1e-3 * (x - x.numpy())])
def test_a_wrong_tangent_is_found(wrong: Any) -> None:
    _, compare = next(comparisons(ENTRIES["sin"], wrong))
    with pytest.raises(AssertionError):
        compare()
