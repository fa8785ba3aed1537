"""vmap of operators: some or all tensors mapped over, along the first or the last axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # which PyTorch's test code imports

import tracec  # noqa: E402
from tests.conformance.bridge import tensors_in  # noqa: E402
from tests.conformance.comparison import ENTRIES, GAUGE, UNDEFINED, UNORDERED, Tolerance, compare_sample, draws  # noqa: E402
from tests.conformance.sweeps import Comparison, Sweep, check_list, samples_of  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # PyTorch warns of what it does itself

MOST = 3
#: No sample's result has as many; some shapes of PyTorch's are any numbers where results have no elements.
MOST_ELEMENTS = 10**6
TOLERANCE = Tolerance(1e-6, 1e-8)
#: Which tensors are mapped over, along which axis, and where the results' axis goes.
WAYS = {"input": (1, 0, 0), "others": (-1, 0, 0), "all": (0, -1, -1)}


def is_part(info: Any) -> bool:
    return not draws(info) and info.name not in GAUGE | UNORDERED | UNDEFINED


def comparisons(info: Any, function: Any) -> Iterator[Comparison]:
    dtypes = info.supported_dtypes("cpu")
    dtype = next((d for d in (torch.float64, torch.int64) if d in dtypes), None)
    for sample in samples_of(info, dtype, MOST) if dtype else []:
        for name, way in WAYS.items():
            theirs, ours = mapped(torch, info.op, *way), mapped(tracec, function, *way)
            yield name, lambda s=sample, o=ours, t=theirs: compare_sample(info, o, s, False, TOLERANCE, t)  # type: ignore[misc]


def mapped(library: Any, function: Any, which: int, axis: int, out_axis: int) -> Callable[..., Any]:
    """A function of the same arguments that maps over two of each chosen tensor: itself, and half of it."""

    def two(value: Any) -> Any:
        return library.stack([value, value * 0.5 if value.is_floating_point() else value], axis)

    def call(*args: Any, **kwargs: Any) -> Any:
        flat: list[Any] = []
        places = _numbered(library, list(args), flat)
        chosen = {1: flat[:1], -1: flat[1:], 0: flat}[which]
        if not chosen:
            raise ValueError("nothing to map over")
        skipped = 1 if which < 0 else 0

        def one(*items: Any) -> Any:
            values = list(flat)
            values[skipped : skipped + len(items)] = items
            return function(*_filled(places, values), **kwargs)

        found = library.vmap(one, in_dims=axis, out_dims=out_axis)(*map(two, chosen))
        if any(isinstance(t, library.Tensor) and max(t.shape, default=0) > MOST_ELEMENTS for t in tensors_in(found)):
            raise RuntimeError("shapes that PyTorch read from memory that it does not own")
        return found

    return call


class Place(int):
    """Where a tensor was, by its number."""


def _numbered(library: Any, value: Any, flat: list[Any]) -> Any:
    if isinstance(value, library.Tensor):
        flat.append(value)
        return Place(len(flat) - 1)
    if isinstance(value, list) or type(value) is tuple:
        return type(value)([_numbered(library, v, flat) for v in value])
    return value


def _filled(value: Any, values: list[Any]) -> Any:
    if isinstance(value, Place):
        return values[value]
    if isinstance(value, list) or type(value) is tuple:
        return type(value)([_filled(v, values) for v in value])
    return value


SWEEP = Sweep("vmap", comparisons, is_part, every=25)


@pytest.mark.parametrize("name", SWEEP.parameters())
def test_agrees_with_pytorch(name: str) -> None:
    SWEEP.check(name)


def test_the_list_is_of_operators() -> None:
    check_list(SWEEP)


@pytest.mark.parametrize("wrong", [lambda x: x.sin() * 1.001, lambda x: x.sin() + 1e-3 * x.sum()])
def test_a_wrong_value_is_found(wrong: Any) -> None:
    _, compare = next(comparisons(ENTRIES["sin"], wrong))
    with pytest.raises(AssertionError):
        compare()
