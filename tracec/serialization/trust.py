"""Names that files may call besides plain values: those that the user trusts."""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Sequence
from typing import Any

from tracec.errors import ArgumentTypeError

Trusted = Callable[..., Any] | tuple[Callable[..., Any], str]

_TRUSTED: dict[str, Callable[..., Any]] = {}


def _named(names: Sequence[Trusted]) -> dict[str, Callable[..., Any]]:
    """Callables by the names that files have for them.

    Raises:
        ArgumentTypeError: one is neither a callable nor one with its name.
    """
    found = {}
    for given in names:
        function, name = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
        if not callable(function) or not isinstance(name, (str, type(None))):
            raise ArgumentTypeError(
                f"safe_globals: takes classes and functions, {type(given).__name__} given",
                hint="list the classes themselves, or pairs of one and its name in the file",
            )
        module, qualified = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
        found[name or f"{module}.{qualified}"] = function
    return found


def add_safe_globals(safe_globals: Sequence[Trusted]) -> None:
    """Let PyTorch's files be read that name these classes and functions, from here on.

    Reading a file never runs anything that is in it. Objects of a program's own classes are made by calling the class
    with what the file says, so that the class has to be trusted, and is named here. Files that `tracec.save` writes
    hold plain values alone, and need none.

    Args:
        safe_globals: Classes and functions, or pairs of one and the name that files have for it:
            ``(Config, "training.Config")``.
    """
    _TRUSTED.update(_named(safe_globals))


def get_safe_globals() -> list[Trusted]:
    """The classes and functions that files may name."""
    own = _named(list(_TRUSTED.values()))
    return [f if own.get(name) is f else (f, name) for name, f in _TRUSTED.items()]


def clear_safe_globals() -> None:
    """Let files name none but plain values."""
    _TRUSTED.clear()


class safe_globals:
    """Within, PyTorch's files may name these classes and functions; see `add_safe_globals`."""

    def __init__(self, safe_globals: Sequence[Trusted]) -> None:
        self._names = _named(safe_globals)

    def __enter__(self) -> None:
        self._before = dict(_TRUSTED)
        _TRUSTED.update(self._names)

    def __exit__(self, *_: object) -> None:
        _TRUSTED.clear()
        _TRUSTED.update(self._before)


def trusted(module: str, name: str) -> Callable[..., Any] | None:
    """What a name in a file stands for, where the user trusts it."""
    return _TRUSTED.get(f"{module}.{name}")


def names_in(pickled: bytes) -> list[tuple[str, str]]:
    """Module and name of everything that a pickle names, in order; nothing of it is run."""
    found: list[tuple[str, str]] = []
    texts: list[str] = []
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            found.append((module, name))
        elif opcode.name == "STACK_GLOBAL" and len(texts) >= 2:
            found.append((texts[-2], texts[-1]))
        elif isinstance(argument, str):
            texts.append(argument)
    return list(dict.fromkeys(found))


class skip_data:
    """Within, `tracec.save` leaves the elements of tensors out: they are zeros in the file, whose layout is the same.

    Args:
        materialize_fake_tensors: PyTorch's argument; there are no fake tensors.
    """

    active = 0

    def __init__(self, materialize_fake_tensors: bool = False) -> None:
        self.materialize_fake_tensors = materialize_fake_tensors

    def __enter__(self) -> None:
        skip_data.active += 1

    def __exit__(self, *_: object) -> None:
        skip_data.active -= 1
