"""``out=`` of operators: what is written there, which tensor comes back, and what cannot hold the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # which PyTorch's test code imports

import tracec  # noqa: E402
from tests.conformance.bridge import Translation, Unusable, tensors_in  # noqa: E402
from tests.conformance.comparison import ENTRIES, compare_sample, described, draws  # noqa: E402
from tests.conformance.sweeps import Comparison, Sweep, check_list, samples_of  # noqa: E402

MOST = 3


def alike(library: Any, result: Any) -> Any:
    """Memory of the result's shape and dtype."""
    return library.zeros(tuple(result.shape), dtype=result.dtype)


def strided(library: Any, result: Any) -> Any:
    """Every second element of a larger memory, axes in reverse order."""
    memory = library.zeros((*reversed(result.shape), 2), dtype=result.dtype)
    return memory[..., 0].permute(tuple(reversed(range(result.ndim))))


def empty(library: Any, result: Any) -> Any:
    """No elements: it is given the result's shape."""
    return library.zeros((0,), dtype=result.dtype)


def wider(library: Any, result: Any) -> Any:
    """Of a dtype that holds what the result's does, and more."""
    wide = library.complex128 if result.dtype.is_complex else library.float64
    return library.zeros(tuple(result.shape), dtype=wide)


def narrower(library: Any, result: Any) -> Any:
    """Of a kind that does not hold the result: booleans, or integers for floats."""
    is_real = result.dtype.is_floating_point or result.dtype.is_complex
    return library.zeros(tuple(result.shape), dtype=library.int64 if is_real else library.bool)


MADE: dict[str, Callable[[Any, Any], Any]] = {f.__name__: f for f in (alike, strided, empty, wider)}


#: PyTorch writes beyond the memory that it is given.
BEYOND = {"geqrf", "lu_unpack", "linalg.lu"}


def is_part(info: Any) -> bool:
    writes = info.supports_out and not draws(info) and info.name not in BEYOND
    return writes and torch.float32 in info.supported_dtypes("cpu")


def comparisons(info: Any, function: Any) -> Iterator[Comparison]:
    for sample in samples_of(info, torch.float32, MOST):
        for name, make in MADE.items():
            theirs, ours = written(torch, info.op, make), written(tracec, function, make)
            yield name, lambda s=sample, o=ours, t=theirs: compare_sample(info, o, s, False, theirs=t)  # type: ignore[misc]
        yield "narrower", lambda s=sample: refusal(info, function, s)  # type: ignore[misc]


def written(library: Any, function: Any, make: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """A function of the same arguments that writes into memory, and tells whether that is what it gives back."""

    def call(*args: Any, **kwargs: Any) -> Any:
        results = function(*args, **kwargs)
        one = isinstance(results, library.Tensor)
        if not one and not all(isinstance(t, library.Tensor) for t in results):
            raise ValueError("tensors within tuples")
        places = [make(library, t) for t in ([results] if one else results)]
        found = function(*args, **kwargs, out=places[0] if one else tuple(places))
        same = [f is p for f, p in zip([found] if one else found, places, strict=True)]
        return [*places, *same, *(p.stride() for p in places if p.numel() > 1 and make is not empty)]

    return call


def refusal(info: Any, function: Any, sample: Any) -> bool:
    """Fail where tracec writes into what PyTorch refuses, or the other way about."""
    translate = Translation()
    try:
        args = [translate(a) for a in (sample.input, *sample.args)]
        kwargs = {k: translate(v) for k, v in sample.kwargs.items()}
        theirs = _error(written(torch, info.op, narrower), [sample.input, *sample.args], sample.kwargs)
    except Unusable:
        return False
    ours = _error(written(tracec, function, narrower), args, kwargs)
    assert (theirs is None) == (ours is None), f"{info.name}({described(sample)}): {ours!r}, PyTorch says {theirs!r}"
    return True


def _error(call: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Exception | None:
    try:
        list(tensors_in(call(*args, **kwargs)))
    except Exception as error:
        return error
    return None


SWEEP = Sweep("out", comparisons, is_part, every=20)


@pytest.mark.parametrize("name", SWEEP.parameters())
def test_agrees_with_pytorch(name: str) -> None:
    SWEEP.check(name)


def test_the_list_is_of_operators() -> None:
    check_list(SWEEP)


@pytest.mark.parametrize("wrong", [lambda x, out=None: x.sin(), lambda x, out=None: x.sin() if out is None else out])
def test_what_is_not_written_is_found(wrong: Any) -> None:
    _, compare = next(comparisons(ENTRIES["sin"], wrong))
    with pytest.raises(AssertionError):
        compare()
