"""The check in C behind a fast path: thread modes, arguments, and all that is guarded by identity, in one call."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tracec.runtime.cpu import host
from tracec.runtime.identity_guards import IdentityGuard, packed

#: Tensors among the arguments that the helper compares; as in ``host.c``.
MOST = 8


class Modes(NamedTuple):
    """Modes of a thread.

    Attributes:
        holder: What keeps them: those that were set are in its dictionary.
        unset: What they are until then.
        now: What they have to be.
    """

    holder: Any
    unset: Mapping[str, Any]
    now: Mapping[str, Any]


class Attributes(NamedTuple):
    """How the attributes of tensors are told.

    Attributes:
        any: Stands for those that may be anything.
        none: None.
        array: Name of that which is its array.
        memory: Name of that which is the memory that it looks at.
        base: Name of that which is the tensor that it is a view of.
        of_base: What those of such a tensor are.
    """

    any: Any
    none: None
    array: str
    memory: str
    base: str
    of_base: dict[str, Any]


class Argument(NamedTuple):
    """What an argument has to be.

    Attributes:
        name: Its name, where it is given by name.
        type: Its class.
        value: The object, where it has to be that very one; None for any tensor with such an array and attributes.
        element: Element type of the array.
        shape: Its shape.
        strides: Its strides, in bytes.
        usual: What its attributes are.
        array: Class of the array, where that is not NumPy's.
        needed: The name of one that has to be there, and be ``wanted``, or something but None where that is empty.
        wanted: What it has to be.
    """

    name: str | None
    type: type
    value: tuple[Any] | None
    element: Any = None
    shape: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    usual: dict[str, Any] = {}
    array: Any = None
    needed: str | None = None
    wanted: tuple[Any, ...] = ()


def call_guard(
    modes: Modes, attributes: Attributes, arguments: Sequence[Argument], guards: Sequence[IdentityGuard]
) -> Callable[[tuple[Any, ...], dict[str, Any]], bool] | None:
    """A function that tells whether arguments make a call like an earlier one; None where it cannot be told quickly.

    Args:
        modes: Modes of the thread.
        attributes: How those of the tensors are told; each has memory of its own.
        arguments: The arguments: by position, then by name.
        guards: Where objects were found that have to be there still.
    """
    helper = host()
    if helper is None or not helper.knows_arrays or sum(a.value is None for a in arguments) > MOST:
        return None
    set_ = array("q", (id(x) for name, now in modes.now.items() for x in (name, modes.unset[name], now)))
    sizes = [array("q", (*a.shape, *a.strides)) for a in arguments]
    rows = array("q", (n for a, s in zip(arguments, sizes, strict=True) for n in _row(a, s)))
    named = sum(a.name is not None for a in arguments)
    places = (modes.holder, *_NAMES, *attributes)
    head = (*map(id, places), _address(set_), len(modes.now), _address(rows), len(arguments) - named, named)
    alive = (modes, attributes, arguments, guards, set_, sizes, rows)
    return helper.is_like(array("q", head).tobytes(), *packed(guards), alive)


#: Of the dictionary of modes, and of what arrays have.
_NAMES = ("__dict__", "dtype", "shape", "strides")


def _row(argument: Argument, sizes: array[int]) -> Iterator[int]:
    """An argument as the helper reads it."""
    yield 0 if argument.name is None else id(argument.name)
    yield id(argument.type)
    yield 0 if argument.value is None else id(argument.value[0])
    yield 0 if argument.value is not None else id(argument.element)
    yield len(argument.shape)
    yield _address(sizes)
    yield id(argument.usual)
    yield 0 if argument.needed is None else id(argument.needed)
    yield id(argument.wanted[0]) if argument.wanted else 0
    yield 0 if argument.array is None else id(argument.array)
    yield id(argument.shape)
    yield id(argument.strides)


def _address(numbers: array[int]) -> int:
    return numbers.buffer_info()[0]
