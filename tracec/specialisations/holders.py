"""What is read of objects besides attributes (class, bases, code, context variables), as mappings for guards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tracec.record.structure import Slots, attributes_of


class Attributes(Slots):
    """The attributes that a class has itself."""

    def __getitem__(self, name: str) -> Any:
        return self.owner.__dict__[name]

    def __setitem__(self, name: str, value: Any) -> None:
        type.__setattr__(self.owner, name, value)

    def __delitem__(self, name: str) -> None:
        type.__delattr__(self.owner, name)

    def __contains__(self, name: str) -> bool:
        return name in self.owner.__dict__


class Fixed(Slots):
    """Something of an object that no program changes for a function, which is recorded anew where it is otherwise."""


class ClassOf(Fixed):
    """The class of an object, whatever the object says of it."""

    def __getitem__(self, name: str) -> Any:
        return type(self.owner)


class AttributesOf(Fixed):
    """The dictionary that an object keeps its attributes in."""

    def __getitem__(self, name: str) -> Any:
        return attributes_of(self.owner)


class BasesOf(Fixed):
    """The classes that attributes of a class are looked for in."""

    def __getitem__(self, name: str) -> Any:
        return self.owner.__mro__


class CodeOf(Fixed):
    """The code of a function and what its arguments are by default."""

    def __getitem__(self, name: str) -> Any:
        return self.owner.__code__, self.owner.__defaults__, self.owner.__kwdefaults__


class NameOf(Fixed):
    """What a class or a function says of itself: its name, its module, its documentation."""

    def __getitem__(self, name: str) -> Any:
        return getattr(self.owner, name, None)


class Current(Slots):
    """The value of a context variable."""

    def __getitem__(self, name: str) -> Any:
        try:
            return self.owner.get()
        except LookupError:
            raise KeyError(name) from None

    def __setitem__(self, name: str, value: Any) -> None:
        self.owner.set(value)

    def __delitem__(self, name: str) -> None:
        """A variable that was set stays so: no more than that can be done without its token."""


class Local(Slots):
    """The attributes that an object has in the thread that asks."""

    def __getitem__(self, name: str) -> Any:
        return self.owner.__dict__[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.owner.__dict__[name] = value

    def __delitem__(self, name: str) -> None:
        del self.owner.__dict__[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.owner.__dict__)

    def __len__(self) -> int:
        return len(self.owner.__dict__)

    def __contains__(self, name: str) -> bool:
        return name in self.owner.__dict__

    def values(self) -> list[Any]:
        return list(self.owner.__dict__.values())

    def items(self) -> list[tuple[str, Any]]:
        return list(self.owner.__dict__.items())
