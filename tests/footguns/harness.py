"""How a footgun is told: a function that calls something compiled with changes in between, and gives what it saw."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

import tracec

#: Gives a function compiled, or as it is.
Wrap = Callable[[Any], Any]


@dataclass(frozen=True)
class Footgun:
    """One way to be silently wrong.

    Attributes:
        run: Is given what compiles, or does nothing, and returns all that it saw.
        eager: Words of the reason why a function in it runs eagerly; None where all that is called is compiled. A mark
            whose reason is no more fails.
        unserved: Why no call of it runs compiled code, where none does though nothing runs eagerly.
        rounded: How far values may be apart, relative to them; 0 for bit by bit.
    """

    run: Callable[[Wrap], list[Any]]
    eager: str | None = None
    unserved: str | None = None
    rounded: float = 0.0

    @property
    def name(self) -> str:
        return self.run.__name__


FOOTGUNS: list[Footgun] = []


def footgun(run: Any = None, **marks: Any) -> Any:
    """Enter a function into the table; marks are attributes of `Footgun`."""
    if run is None:
        return lambda given: footgun(given, **marks)
    FOOTGUNS.append(Footgun(run, **marks))
    return run


def tensor(*shape, seed=0, g=False, dtype=np.float32):
    """Numbers whose sums and products are rounded, so that another order of them shows."""
    return tracec.tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype), requires_grad=g)


def whole(*shape, seed=0, g=False, dtype=np.float32):
    """Quarters, whose sums and products are exact."""
    return tracec.tensor((np.random.default_rng(seed).integers(-8, 9, shape) / 4).astype(dtype), requires_grad=g)


@contextmanager
def replaced(owner, name, value):
    """Within, an attribute is another one."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


# Comparing ------------------------------------------------------------------------------------------------


def check(one: Footgun) -> None:
    """Run a footgun both ways, compare all that was seen, and hold it to its marks."""
    with warnings.catch_warnings(), _made() as made:
        warnings.simplefilter("ignore", RuntimeWarning)
        tracec.manual_seed(0)
        expected = list(_observed(one.run(as_it_is)))
        tracec.manual_seed(0)
        found = list(_observed(one.run(tracec.compile)))
    for k, (a, b) in enumerate(zip(expected, found, strict=False)):
        assert _same(a, b, one.rounded), f"{one.name}: observation {k}: eager {a!r}, compiled {b!r}"
    assert len(found) == len(expected)
    _check_marks(one, made)


#: Footguns that NumPy's arrays are part of, or other threads, whose tensors go to the CPU.
ON_THE_CPU = {
    "tables_of_arrays", "arrays_that_stay", "array_written_through_its_tensor", "array_written_after_its_tensor",
    "new_array_written_after_its_tensor", "array_whose_tensor_is_returned", "array_whose_tensor_is_kept",
    "array_whose_memory_another_tensor_writes", "array_as_a_gradient", "gradients_through_arrays",
    "from_numpy_fortran", "memory_exchanged_beside_a_array", "memory_exchanged_beside_a_array_that_goes",
    "numpy_captured", "numpy_captured_mul", "text_of_an_array_of_values", "threads", "threads_of_other_modes",
}  # fmt: skip


def check_on_gpu(one: Footgun, wrap: Wrap) -> None:
    """Run a footgun as it is and wrapped, on a GPU that may be a pretended one; sums may be in another order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tracec.set_default_device("cuda")
        try:
            tracec.manual_seed(0)
            expected = list(_observed(one.run(as_it_is)))
            tracec.manual_seed(0)
            found = list(_observed(one.run(wrap)))
        finally:
            tracec.set_default_device(None)
    assert len(found) == len(expected)
    for k, (a, b) in enumerate(zip(expected, found, strict=True)):
        # Where a term cancels, a sum in another order is off by that much of the term.
        assert _same(a, b, max(one.rounded, 3e-7)) or _close(a, b), f"observation {k}: {a!r}, wrapped {b!r}"


def _close(a: Any, b: Any) -> bool:
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.shape == b.shape):
        return False
    return bool(np.abs(a - b).max(initial=0) <= 1e-6 * np.abs(a).max(initial=0))


def as_it_is(function: Any, **_: Any) -> Any:
    """In place of `tracec.compile`."""
    return function


@contextmanager
def _made() -> Iterator[list[Any]]:
    """Within, all compiled functions are gathered, those that are bound to objects among them."""
    cls, made = type(tracec.compile(as_it_is)), []
    before = cls.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        made.append(self)
        before(self, *args, **kwargs)

    cls.__init__ = init
    try:
        yield made
    finally:
        cls.__init__ = before


def _check_marks(one: Footgun, made: list[Any]) -> None:
    reports = [s for function in made for s in function.explain().specialisations]
    eager = [s.why for s in reports if not s.compiled]
    served = sum(s.hits for s in reports if s.compiled)
    if one.eager is None:
        assert not eager, f"{one.name}: runs eagerly: it {eager[0]}"
    else:
        assert any(one.eager in why for why in eager), f"{one.name}: is compiled, take the mark eager= away ({eager})"
    if one.unserved is None:
        assert served or one.eager, f"{one.name}: no call ran compiled code"
    else:
        assert not served, f"{one.name}: {served} calls ran compiled code, take the mark unserved= away"


def _observed(seen: Any) -> Iterator[Any]:
    """What was seen, tensors as all that can be told of them and of what they share with others."""
    known: list[Any] = []
    for value in _leaves(seen):
        if not isinstance(value, tracec.Tensor):
            yield value
            continue
        same = next((k for k, t in enumerate(known) if t is value), len(known))
        shares = next((k for k, t in enumerate(known) if t._storage is value._storage), len(known))
        known.append(value)
        strides = tuple(s for s, n in zip(value.stride(), value.shape, strict=True) if n > 1 and value.numel())
        made = None if value.grad_fn is None else value.grad_fn.name()
        yield same, shares, str(value.dtype), strides, value.requires_grad, value.is_leaf, made
        yield value.storage_offset(), value.untyped_storage().nbytes(), value._version, *_base(value, known)
        yield np.array(value.detach().cpu().double().numpy())


def _base(value: Any, known: list[Any]) -> Any:
    """What a tensor is a view of, and what computed that."""
    base = value._base
    if base is None:
        return None, value._is_view()
    made = None if base.grad_fn is None else base.grad_fn.name()
    return next((k for k, t in enumerate(known) if t is base), None), base.shape, base.is_leaf, made


def _leaves(seen: Any) -> Iterator[Any]:
    if isinstance(seen, (list, tuple)):
        yield type(seen).__name__
        for value in seen:
            yield from _leaves(value)
    elif isinstance(seen, dict):
        yield list(seen)
        for value in seen.values():
            yield from _leaves(value)
    else:
        yield seen


def _same(a: Any, b: Any, rounded: float) -> bool:
    if not isinstance(a, np.ndarray):
        return repr(a) == repr(b)
    if not isinstance(b, np.ndarray) or a.shape != b.shape:
        return False
    if rounded:
        return bool(np.allclose(a, b, rtol=rounded, atol=rounded / 10, equal_nan=True))
    return a.tobytes() == b.tobytes()
