"""Guards: conditions over what a function read from around it, under which its program may stand in for it.

A guard is for one place (a closure cell, a global, an attribute, an item), for the contents of a container, or for the
metadata of a tensor. It can be asked whether it holds, and what changed; most also have an `IdentityGuard`, with which
C code checks hundreds of them at once. The arguments themselves are in the key; see `tracec.specialisations.keys`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import is_
from typing import Any, NamedTuple

import numpy as np

from tracec.errors import TracecError
from tracec.record.call import Call
from tracec.record.structure import Slots
from tracec.record.tensor import Tensor
from tracec.runtime.identity_guards import (
    NOTHING,
    IdentityGuard,
    attribute,
    attributes_of,
    bases_of,
    class_of,
    code_of,
    count,
    held,
    item,
    names,
)
from tracec.specialisations.digests import Digest
from tracec.specialisations.holders import Attributes, AttributesOf, BasesOf, ClassOf, CodeOf, Fixed, NameOf
from tracec.specialisations.keys import PLAIN, tensor_key
from tracec.specialisations.places import MISSING, Kind, Place, refill, same


def steps_key(step: Call) -> Hashable:
    """What tells one view step from another."""
    return step.op.name, step.params, step.types


class Change(NamedTuple):
    """Something that is otherwise than it was.

    Attributes:
        name: How the user would write it.
        before: What it was.
        now: What it is.
        where: File and line where it is read; None where that is not known.
    """

    name: str
    before: str
    now: str
    where: str | None = None

    def __str__(self) -> str:
        place = f" (read at {self.where})" if self.where else ""
        return f"{self.name}: {self.before} -> {self.now}{place}"


#: How what is fixed of an object is found to be the very same.
_IDENTITIES: dict[type, Callable[[Any], IdentityGuard]] = {
    ClassOf: class_of, AttributesOf: attributes_of, BasesOf: bases_of, CodeOf: code_of,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Guard:
    """Something read while recording, and what it was.

    Attributes:
        name: How the user would write it: ``self.training``.
        holder: The dictionary, cell or list that it is read from.
        key: Its key there.
        value: What it was; compared by identity, then by equality for plain values.
        kind: What else it may be; None where it has to be as it was.
        owner: The class whose attributes the holder is, if it is one's.
    """

    name: str
    holder: Any
    key: Any
    value: Any
    kind: Kind | None = None
    owner: type | None = None

    @property
    def place(self) -> Place:
        """Where it is read."""
        return Place(self.holder if self.owner is None else Attributes(self.owner), self.key)

    def now(self) -> Any:
        """What it is at present."""
        return Place(self.holder, self.key).now()

    def identity(self) -> IdentityGuard | None:
        """How it is found to be the very same, quickly; None where there is only `holds`."""
        if self.kind is not None:
            return None
        if isinstance(self.holder, Digest):
            return count(self.holder.of, len(self.holder.of)) if self.holder.counts and self.holds() else None
        if isinstance(self.holder, NameOf):
            return attribute(self.holder.owner, self.key, self.value)
        if isinstance(self.holder, Fixed):
            return _IDENTITIES[type(self.holder)](self.holder.owner)
        return item(self.holder, self.key, NOTHING if self.value is MISSING else self.value)

    def holds(self) -> bool:
        """Whether it is what it has to be."""
        now = self.now()
        if isinstance(self.holder, Digest):
            return bool(now == self.value)
        if isinstance(self.holder, CodeOf):
            return all(map(is_, now, self.value))
        return now is self.value or (same(now, self.value) if self.kind is None else self.kind.holds(now))

    def changed(self) -> bool:
        """Whether something else is there than was."""
        return not same(self.now(), self.value)

    def put_back(self) -> None:
        """Let it be what it was."""
        self.place.put(self.value)

    def change(self) -> Change:
        """What it was and is."""
        if is_of_array(self):
            return Change(self.name, "elements as recorded", "other elements")
        return Change(self.name, *_told_apart(self.value, self.now()))


@dataclass(frozen=True, slots=True)
class Lacking:
    """Names that a module lacked: thousands, where it is used as a value, so that one guard tells of all of them.

    Attributes:
        name: How the user would write the module.
        holder: Its dictionary.
        names: The names.
    """

    name: str
    holder: dict[str, Any]
    names: frozenset[str]

    def identity(self) -> IdentityGuard | None:
        """How it is found to have gained nothing, quickly: it has the keys that it has now."""
        return names(self.holder, tuple(self.holder)) if self.holds() else None

    def holds(self) -> bool:
        """Whether it lacks them still."""
        return self.names.isdisjoint(self.holder)

    def gained(self) -> list[Guard]:
        """A guard for each name that is there now."""
        return [Guard(f"{self.name}.{k}", self.holder, k, MISSING) for k in self.holder if k in self.names]

    def change(self) -> Change:
        """The first name that is there now."""
        return self.gained()[0].change()


def is_of_array(guard: Any) -> bool:
    """Whether a guard is on the elements of an array of NumPy's."""
    return isinstance(guard, Guard) and isinstance(guard.holder, Digest) and isinstance(guard.holder.of, np.ndarray)


def digest_guard(name: str, value: Any, tell: Callable[[Any], str | bytes]) -> Guard:
    """A guard on what one plain value tells of an object; see `Digest`."""
    holder = Digest(value, tell)
    return Guard(name, holder, None, holder[None])


@dataclass(frozen=True, slots=True)
class Form:
    """What a tensor from outside is besides its values, which a function can read without computing with it.

    Attributes:
        name: How the user would write it.
        tensor: The tensor.
        key: What it was.
        text: The same for reading.
        part: The attribute that tells quickly; None for its class.
    """

    name: str
    tensor: Tensor
    key: Any
    text: str
    part: str | None

    def identity(self) -> IdentityGuard | None:
        """How it is found to be the very same, quickly, as it is now."""
        if self.part is None:
            return class_of(self.tensor)
        return item(self.tensor.__dict__, self.part, self.tensor.__dict__.get(self.part, NOTHING))

    def holds(self) -> bool:
        """Whether it is what it was."""
        return bool(_form_of(self.tensor) == self.key)

    def change(self) -> Change:
        """What it was and is."""
        return Change(f"form of {self.name}", *_told_apart(self.text, _in_words(self.tensor)))


def forms_of(name: str, x: Tensor) -> list[Form]:
    """Guards on what a tensor is besides its values."""
    key, text = _form_of(x), _in_words(x)
    return [Form(name, x, key, text, part) for part in ("_array", "_requires_grad", "_history", None)]


def _form_of(x: Tensor) -> Any:
    try:
        return tensor_key(x)
    except TracecError:  # it has none yet
        return type(x)


def _in_words(x: Tensor) -> str:
    try:
        notes = [type(x).__name__, *(["requires grad"] if x.requires_grad else [])]
        return f"{x._type} ({', '.join(notes)}, strides {x._array.strides})"
    except TracecError:
        return type(x).__name__


def _label(key: Any) -> str:
    """A dictionary's key for reading; a tensor among them is not printed whole."""
    return repr(key) if isinstance(key, PLAIN) else type(key).__name__


def short(value: Any) -> str:
    """A value for reading; of a tensor, of what is long, or is known by its address, the type."""
    text = str(value._type) if isinstance(value, Tensor) and not value.is_composite else repr(value)
    return text if len(text) <= 60 and " at 0x" not in text else f"{type(value).__name__} object"


def _told_apart(before: Any, now: Any) -> tuple[str, str]:
    """Two values for reading, of which one may be missing."""
    first, second = ("missing" if v is MISSING else short(v) for v in (before, now))
    return first, f"another {second}" if first == second else second


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a dictionary, list, class or set held: also what is added to it is noticed.

    Attributes:
        name: How the user would write it.
        form: How the user would write an item of it, as ``.{}`` or ``[{}]``.
        holder: The container.
        keys: Its keys; None for lists.
        values: Its values.
        kinds: Keys, or positions, of items that may be otherwise, and what they may be.
    """

    name: str
    form: str
    holder: Any
    keys: tuple[Any, ...] | None
    values: tuple[Any, ...]
    kinds: Mapping[Any, Kind] = field(default_factory=dict)

    @property
    def now(self) -> Any:
        """Its present values."""
        return self.holder if self.keys is None else self.holder.values()

    def identity(self) -> IdentityGuard | None:
        """How it, or what `has_places` says, is found to be the very same, quickly; None where only these tell."""
        if not self.kinds:
            return held(self.holder, self.keys, self.values)
        return names(self.holder, self.keys or ()) if self._is_keyed else count(self.holder, len(self.values))

    def has_places(self) -> bool:
        """Whether it has as many items as it had, under the same keys where these are no names of attributes."""
        if len(self.holder) != len(self.values):
            return False
        return not self._is_keyed or list(self.holder) == list(self.keys or ())

    @property
    def _is_keyed(self) -> bool:
        return self.keys is not None and "[" in self.form

    def fixed(self) -> list[Guard]:
        """Guards on the items that may not be otherwise."""
        return [Guard(self.item(k), self.holder, k, v) for k, v in self.items() if k not in self.kinds]

    def holds(self) -> bool:
        if not self.kinds and self._is_very_same:
            return True
        if len(self.holder) != len(self.values) or not all(map(same, self.holder, self.keys or ())):
            return False
        if not self.kinds:
            return all(map(same, self.now, self.values))
        for key, now, before in zip(self._places, self.now, self.values, strict=True):
            if now is not before and not (self.kinds[key].holds(now) if key in self.kinds else same(now, before)):
                return False
        return True

    def changed(self) -> bool:
        """Whether it holds other items than it did."""
        if self._is_very_same:
            return False
        if len(self.holder) != len(self.values) or not all(map(same, self.holder, self.keys or ())):
            return True
        return not all(map(same, self.now, self.values))

    @property
    def _is_very_same(self) -> bool:
        """Whether it has the very same keys and values; quick, for what has many."""
        if len(self.holder) != len(self.values) or not all(map(is_, self.holder, self.keys or ())):
            return False
        return all(map(is_, self.now, self.values))

    def put_back(self) -> None:
        """Let it hold what it held."""
        refill(self.holder, dict(self.items()) if isinstance(self.holder, (dict, Slots)) else self.values)

    @property
    def _places(self) -> Iterable[Any]:
        return range(len(self.values)) if self.keys is None else self.keys

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Keys, or positions, and values."""
        return zip(self._places, self.values, strict=True)

    def item(self, key: Any) -> str:
        """How the user would write an item."""
        return self.name + self.form.format(_label(key) if "[" in self.form else key)

    def change(self) -> Change:
        """What was and is of the first item that differs, or of the number or the order of items."""
        if isinstance(self.holder, (set, frozenset)):
            return Change(self.name, *_told_apart(set(self.values), self.holder))
        if self.keys is None and len(self.holder) != len(self.values):
            return Change(self.name, f"{len(self.values)} items", f"{len(self.holder)} items")
        keys = range(len(self.values)) if self.keys is None else self.keys
        before = dict(zip(keys, self.values, strict=True))
        now: Mapping[Any, Any] = dict(enumerate(self.holder)) if self.keys is None else self.holder
        for key in (*before, *(k for k in now if k not in before)):
            was, is_ = before.get(key, MISSING), now.get(key, MISSING)
            if key in self.kinds and is_ is not MISSING and self.kinds[key].holds(is_):
                continue
            if was is MISSING or is_ is MISSING or not same(is_, was):
                return Change(self.item(key), *_told_apart(was, is_))
        return Change(f"order of {self.name}", *_told_apart(list(before), list(now)))


def contents_of(name: str, form: str, holder: Any) -> Contents:
    """What a list, tuple or mapping holds."""
    if isinstance(holder, (list, tuple, set, frozenset, deque)):
        return Contents(name, form, holder, None, tuple(holder))
    return Contents(name, form, holder, tuple(holder), tuple(holder.values()))


def places_of(value: Any, guards: Sequence[Guard | Contents]) -> list[Place]:
    """The places that hold an object."""
    found = []
    for guard in guards:
        if isinstance(guard, Guard):
            found += [guard.place] if guard.value is value else []
        elif isinstance(guard.holder, (dict, list)):
            found += [Place(guard.holder, k) for k, item in guard.items() if item is value]
    return list({p.identity: p for p in found}.values())
