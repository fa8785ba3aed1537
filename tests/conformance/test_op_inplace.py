"""Operators that write into their input: into views of larger memory, from themselves, and with gradients."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # which PyTorch's test code imports

import tracec  # noqa: E402
from tests.conformance.bridge import translated_function  # noqa: E402
from tests.conformance.comparison import ENTRIES, compare_sample  # noqa: E402
from tests.conformance.sweeps import Comparison, Sweep, check_list, samples_of  # noqa: E402

MOST = 4
#: What stands for functions with ``inplace=True``.
PYTHON = (types.FunctionType, functools.partial)
#: Those that read an operand while they write the input: PyTorch gives something or other where both are one.
READ_LATER = {"addmm", "baddbmm", "masked_scatter"}


def is_part(info: Any) -> bool:
    return info.inplace_variant is not None and torch.float32 in info.supported_dtypes("cpu")


def comparisons(info: Any, function: Any) -> Iterator[Comparison]:
    del function
    ways = {"view": into_view, "itself": from_itself, "gradient": of_a_clone}
    for dtype in [d for d in (torch.float32, torch.int64) if d in info.supported_dtypes("cpu")]:
        grads = dtype is torch.float32 and info.supports_autograd and info.supports_inplace_autograd
        for sample in samples_of(info, dtype, MOST, requires_grad=False):
            for case, way in ways.items():
                if (case != "gradient" or grads) and (case != "itself" or info.name not in READ_LATER):
                    yield case, lambda s=sample, w=way: _compare(info, s, w)  # type: ignore[misc]


def _compare(info: Any, sample: Any, way: Any) -> bool:
    differentiable = way is of_a_clone
    if differentiable:
        sample = _requiring_grad(sample)
    theirs = info.inplace_variant
    ours = translated_function(theirs) if isinstance(theirs, PYTHON) else _method(theirs.__name__)
    return compare_sample(info, way(tracec, ours), sample, differentiable, theirs=way(torch, theirs))


def _method(name: str) -> Callable[..., Any]:
    return lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs)


def _requiring_grad(sample: Any) -> Any:
    def leaf(value: Any) -> Any:
        floating = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.detach().clone().requires_grad_() if floating else value

    return sample.transform(leaf)


def into_view(library: Any, method: Any) -> Callable[..., Any]:
    """Write into every second element of a larger memory, whose other elements stay."""

    def call(x: Any, *args: Any, **kwargs: Any) -> Any:
        memory = library.zeros((*reversed(x.shape), 2), dtype=x.dtype)
        view = memory[..., 0].permute(tuple(reversed(range(x.ndim))))
        view.copy_(x)
        version = memory._version
        found = method(view, *args, **kwargs)
        return [view, memory, found is view, memory._version > version]

    return call


def from_itself(library: Any, method: Any) -> Callable[..., Any]:
    """Every other operand that is of the input's type is the input itself."""

    def call(x: Any, *args: Any, **kwargs: Any) -> Any:
        written = x.clone()

        def same(value: Any) -> Any:
            is_like = isinstance(value, library.Tensor) and (value.shape, value.dtype) == (x.shape, x.dtype)
            return written if is_like else value

        return method(written, *map(same, args), **{k: same(v) for k, v in kwargs.items()})

    return call


def of_a_clone(library: Any, method: Any) -> Callable[..., Any]:
    """Gradients flow through what is written over."""
    del library
    return lambda x, *args, **kwargs: method(x.clone(), *args, **kwargs)


SWEEP = Sweep("inplace", comparisons, is_part, every=15)


@pytest.mark.parametrize("name", SWEEP.parameters())
def test_agrees_with_pytorch(name: str) -> None:
    SWEEP.check(name)


def test_the_list_is_of_operators() -> None:
    check_list(SWEEP)


def test_what_is_not_written_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracec.Tensor, "sin_", lambda x: x.sin())
    _, compare = next(comparisons(ENTRIES["sin"], None))
    with pytest.raises(AssertionError):
        compare()
