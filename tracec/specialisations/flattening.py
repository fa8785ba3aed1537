"""Which objects among the arguments are flattened, as lists and dictionaries are, rather than compared by identity.

An object that is the same one from call to call (a model, an optimiser, settings) is part of the key by its identity,
and what it holds is guarded. When another instance of its class comes, or at once where it carries tensors, the class
is flattened from then on: in the key stand its class, the names of its attributes and what they hold, as of a pytree
whose tensors are inputs.
"""

from __future__ import annotations

import enum
import functools
import io
import types
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any

from tracec.ir.classes import is_singular
from tracec.record.structure import Layout, children, is_data, layout_of
from tracec.record.tensor import Tensor
from tracec.specialisations.keys import Flattener, Layouts, flatten, identity_key, is_flattened, made_here

#: Whose instances count by identity: there is one of each, or functions hold on to them.
_ONE_OF_EACH = (enum.Enum, type)
#: What is taken apart from the first call on, as lists are, or is made anew wherever it is named.
_AT_ONCE = {deque, set, frozenset, types.MethodType, functools.partial}


def can_flatten(cls: type) -> Layout | None:
    """Where instances of a class keep their state, if it is one of the user's that may be taken apart."""
    if issubclass(cls, _ONE_OF_EACH) or any(c.__module__.partition(".")[0] == "tracec" for c in cls.__mro__):
        return None
    return layout_of(cls)


class FlattenedClasses:
    """The classes whose instances among the arguments of a function are taken apart."""

    def __init__(self) -> None:
        self._layouts: dict[type, Layout] = {}
        self._judged: set[type] = set()
        self._last: dict[int, weakref.ref[Any]] = {}
        self._never: set[type] = set()
        self._closed: set[type] = set()
        self._kept: dict[type, Layout] = {}

    @property
    def layouts(self) -> Layouts:
        """Gives the layout of a class whose instances are taken apart."""
        return self._layout

    def _layout(self, cls: type) -> Layout | None:
        return self._layouts.get(cls) if is_singular(cls) else None

    def held(self, cls: type) -> Layout | None:
        """The layout of a class whose instances in places are taken apart."""
        if not is_singular(cls):
            return None
        return made_here(cls) or self._layouts.get(cls) or self._kept.get(cls)

    def keep(self, classes: Iterable[type]) -> None:
        """Take objects in places apart that are of classes whose objects the function makes and puts there."""
        self._kept |= {cls: layout for cls in classes if (layout := can_flatten(cls)) is not None}

    def among(self, kept: Iterable[Any]) -> bool:
        """Whether any of the objects in a call's key is to be taken apart."""
        for value in kept:
            cls = type(value)
            if not is_singular(cls):
                continue
            if cls in self._layouts:
                return True
            if cls not in self._judged:
                self._judged.add(cls)
                if issubclass(cls, Iterator) and not issubclass(cls, io.IOBase):  # a function that has one runs eagerly
                    self._layouts[cls] = Layout(object, False, ())
                    return True
                if cls in _AT_ONCE:
                    self._layouts[cls] = Layout(cls, False, ())
                    return True
                if is_data(value) and any(isinstance(v, Tensor) for v in children(value)) and self._open(cls):
                    return True
        return False

    def _open(self, cls: type) -> bool:
        layout = None if cls in self._never else can_flatten(cls)
        if layout is None:
            return False
        self._layouts[cls] = layout
        return True

    def close(self) -> None:
        """Take no object apart any more that is taken apart: one of them holds itself."""
        self._never |= {*self._layouts}
        self._layouts.clear()

    def learn(self, call: Any, keys: Iterable[tuple[Any, Sequence[Any]]]) -> bool:
        """Find what is to be taken apart from now on, or no longer, as a call is about to be recorded.

        Args:
            call: The call.
            keys: The keys of calls that were recorded, and the objects whose identity is in them.

        Returns:
            Whether calls have other keys now.
        """
        before = dict(self._layouts)
        lasting = [v for v in self._instances((*call.args, *call.kwargs.values())) if self._is_last(v)]
        closed = {type(v) for v in lasting} - self._closed - _AT_ONCE
        self._closed |= closed  # once: when others come after all, they are taken apart for good
        for cls in closed:
            del self._layouts[cls]
        for key, kept in keys:
            self._compare((call.whole, call.kept), (key, kept), closed)
        return before != self._layouts

    def _is_last(self, value: Any) -> bool:
        """Whether the last recording was of the same object."""
        last = self._last.get(id(value))
        return last is not None and last() is value

    def note(self, values: Iterable[Any]) -> None:
        """Note the objects of a call that was recorded."""
        self._last.clear()
        for value in self._instances(values):
            if layout_of(type(value)) is not None:
                try:
                    self._last[id(value)] = weakref.ref(value)
                except TypeError:
                    pass

    def _instances(self, values: Iterable[Any]) -> Iterator[Any]:
        """The objects in arguments that are taken apart."""
        stack, seen = list(values), set()
        while stack:
            value = stack.pop()
            if id(value) in seen:
                continue
            seen.add(id(value))
            if is_flattened(value, self.layouts):
                yield value
                stack += children(value)
            elif isinstance(value, (list, tuple)):
                stack += value
            elif type(value) is dict:
                stack += value.values()

    def _compare(self, now: Any, then: Any, closed: set[type]) -> None:
        """Open the classes of which two calls have two instances at one place, and those in these in turn."""
        there = [{identity_key(v): v for v in kept} for _, kept in (now, then)]
        if len(now[0]) != len(then[0]):
            return
        for a, b in zip(now[0], then[0], strict=True):
            if a == b or not (_is_identity(a, there[0]) and _is_identity(b, there[1]) and a[0] is b[0]):
                continue
            cls = a[0]
            if cls in closed or not (cls in self._layouts or self._open(cls)):
                continue
            inner = [_taken_apart(found[part], self._layout) for found, part in zip(there, (a, b), strict=True)]
            if None not in inner:
                self._compare(inner[0], inner[1], closed)


def _is_identity(part: Any, kept: Any) -> bool:
    return type(part) is tuple and len(part) == 2 and isinstance(part[0], type) and part in kept


def _taken_apart(value: Any, layouts: Callable[[type], Layout | None]) -> Any:
    key: list[Hashable] = []
    kept: list[Any] = []
    try:
        flatten(value, [], key, kept, Flattener(layouts))
    except RecursionError:
        return None
    return key, kept
