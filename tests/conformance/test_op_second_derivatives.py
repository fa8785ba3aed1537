"""Second derivatives of operators, in float64: of the gradients of PyTorch's samples, weighted by fixed numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # which PyTorch's test code imports

import tracec  # noqa: E402
from tests.conformance.bridge import Translation, Unusable, tensors_in, to_numpy  # noqa: E402
from tests.conformance.comparison import ENTRIES, GAUGE, UNORDERED, Tolerance, close, described, draws  # noqa: E402
from tests.conformance.sweeps import Comparison, Sweep, check_list, samples_of  # noqa: E402

MOST = 3
TOLERANCE = Tolerance(1e-6, 1e-8)


def is_part(info: Any) -> bool:
    twice = info.supports_autograd and info.supports_gradgrad and torch.float64 in info.supported_dtypes("cpu")
    return twice and info.name not in GAUGE | UNORDERED and not draws(info)


def comparisons(info: Any, function: Any) -> Iterator[Comparison]:
    for sample in samples_of(info, torch.float64, MOST, requires_grad=True):
        yield "float64", lambda s=sample: compare(info, function, s)  # type: ignore[misc]


def compare(info: Any, function: Any, sample: Any) -> bool:
    """Compare one sample; False where PyTorch has no second derivative or it cannot be translated."""
    translate = Translation()
    try:
        args = [translate(a) for a in (sample.input, *sample.args)]
        kwargs = {k: translate(v) for k, v in sample.kwargs.items()}
    except Unusable:
        return False
    theirs, ours = [t for t, _ in translate.leaves], [t for _, t in translate.leaves]
    try:
        torch.manual_seed(1)
        out = info.op(sample.input, *sample.args, **sample.kwargs)
        wanted = twice(torch, sample.output_process_fn_grad(out), theirs)
    except (RuntimeError, NotImplementedError):
        return False
    out = function(*args, **kwargs)
    found = twice(tracec, sample.output_process_fn_grad(out), ours)
    for k, (leaf, f, w) in enumerate(zip(theirs, found, wanted, strict=True)):
        zeros = np.zeros(tuple(leaf.shape))  # either library may say so of what is linear
        where = f"{info.name}({described(sample)}): second derivative by leaf {k}"
        close(zeros if f is None else f, zeros if w is None else w, where, TOLERANCE)
    return True


def twice(library: Any, out: Any, leaves: Sequence[Any]) -> list[Any]:
    """Gradients of the weighted sum of the weighted results' gradients."""
    rng = np.random.default_rng(5)
    first = _gradients(library, [t for t in tensors_in(out) if isinstance(t, library.Tensor)], leaves, rng, True)
    second = _gradients(library, [t for t in first if t is not None], leaves, rng, False)
    return [None if t is None else to_numpy(t) for t in second]


def _gradients(library: Any, results: Sequence[Any], leaves: Sequence[Any], rng: Any, again: bool) -> Any:
    weights = [library.from_numpy(rng.standard_normal(tuple(r.shape))) for r in results]
    total = [(r * w.to(r.dtype)).sum() for r, w in zip(results, weights, strict=True) if r.requires_grad]
    if not total:
        return [None] * len(leaves)
    return library.autograd.grad(sum(total), leaves, create_graph=again, allow_unused=True)


SWEEP = Sweep("second_derivatives", comparisons, is_part, every=20)


@pytest.mark.parametrize("name", SWEEP.parameters())
def test_agrees_with_pytorch(name: str) -> None:
    SWEEP.check(name)


def test_the_list_is_of_operators() -> None:
    check_list(SWEEP)


def test_a_wrong_second_derivative_is_found() -> None:
    info = ENTRIES["sin"]
    sample = samples_of(info, torch.float64, 1, requires_grad=True)[0]
    assert compare(info, tracec.sin, sample)
    with pytest.raises(AssertionError):
        compare(info, lambda x: x.detach().cos() * x, sample)
