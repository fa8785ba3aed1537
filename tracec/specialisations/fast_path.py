"""The fast path of a call: an inline cache, whose entries are programs behind one check in C.

The first call that a specialisation serves makes an entry: a C function that compares thread modes, argument types,
shapes and attributes, and the identities of everything guarded, with what they were (`tracec.runtime.call_guard`). A
later call that passes it runs the program with no key made and no guard asked in Python. A call that fails it, though a
guard may hold by value, takes the way through `tracec.compiled.Compiled`.

Source: Hölzle, Chambers, Ungar, "Optimizing Dynamically-Typed Object-Oriented Languages with Polymorphic Inline
Caches", 1991.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tracec.record import promote
from tracec.record.cell import Cell
from tracec.record.state import PROCESS, STATE, State
from tracec.record.tensor import Tensor
from tracec.runtime.call_guard import Argument, Attributes, Modes, call_guard
from tracec.runtime.identity_guards import item
from tracec.specialisations.derivatives import bind
from tracec.specialisations.keys import EXACT, identity_key
from tracec.specialisations.replay import Replay, Unfit
from tracec.specialisations.tree import UNSEEN
from tracec.specialisations.watching import FIRST

if TYPE_CHECKING:
    from tracec.specialisations.specialisation import Call, Specialisation

#: Entries of the inline cache.
MOST = 4
_ANY = object()
#: What the key of a call, and a program's aliasing, depend on; the rest may be anything.
_ASKED = ("_device", "_steps", "_parent", "_history", "_requires_grad", "_hooks", "_gathered_hooks")
_UNASKED = (
    "_storage", "_array", "_seen", "_grad", "_keeps_grad", "_is_constant", "_is_inference", "_is_dual", "_view_mark",
    "_node", "_node_of",
)  # fmt: skip
_PLAIN = {**{name: getattr(Cell, name) for name in _ASKED}, **dict.fromkeys(_UNASKED, _ANY)}
#: A view, of what no gradient goes on through; which view it is, the program checks.
_VIEW = {**_PLAIN, "_steps": _ANY, "_parent": _ANY}
_OF_BASE = dict.fromkeys(Cell.__annotations__, _ANY) | {"_history": None, "_requires_grad": False}
#: One that gradients end at, and one that they go on from.
_LEAF = {**_PLAIN, "_requires_grad": True}
_RESULT = {**_PLAIN, "_history": _ANY, "_requires_grad": _ANY}
_TOLD = Attributes(_ANY, None, "_array", "_storage", "_parent", _OF_BASE)
#: Modes that let a compiled function run as it was written, or that a fast path is not worth it for.
_USUAL = {
    name: getattr(State, name)
    for name in ("recorder", "duals", "packing", "as_written", "anomaly", "device", "devices")
}
_UNSET = {name: getattr(State, name) for name in State.__annotations__}


class FastPath:
    """An entry of the inline cache: one program, and the check that a call has to pass.

    Args:
        is_like: Whether arguments, by position and by name, make a call like the one that it was made for.
        found: What the program belongs to.
        replay: The program.
        call: The call.
    """

    def __init__(self, is_like: Callable[..., bool], found: Specialisation, replay: Replay, call: Call) -> None:
        self.is_like = is_like
        self._found = found
        self._run, self._goes_back = replay.__call__, replay.goes_back
        self._grad: Any = call.whole[0]
        values = (*call.args, *call.kwargs.values())
        self._at = [k for k, value in enumerate(values) if isinstance(value, Tensor)]
        views = any(_is_view(values[k]) for k in self._at)
        self._fits = replay.fits if replay.aliasing.go_further or views else None
        self._is_all = self._at == [*range(len(call.args))]
        self._has_keys = found.surroundings.has_as_keys if found.surroundings.has_keys else None

    def serve(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the program gives for such a call; `UNSEEN` where it may not stand in for the function now."""
        tensors = args
        if not self._is_all:
            values = (*args, *kwargs.values())
            tensors = tuple([values[k] for k in self._at])
        if self._fits is not None and not self._fits(tensors):
            return UNSEEN
        if self._has_keys is not None and not self._has_keys(tensors):
            return UNSEEN
        self._found.hits += 1
        try:
            out = self._run(tensors)
            if self._goes_back:
                bind(out, self._found.surroundings, args, kwargs)
            return out
        except Unfit:  # the slow path sees to it
            self._found.hits -= 1
            return UNSEEN
        except Exception:
            raise
        except BaseException:  # an interrupt, which may have come where modes are left
            STATE.grad = self._grad
            raise


def with_fast_path(fast_paths: tuple[FastPath, ...], found: Specialisation, call: Call) -> tuple[FastPath, ...]:
    """The entries, the latest first, with one for calls like one that was served, where there is one.

    Args:
        fast_paths: Those that there are.
        found: What served the call.
        call: The call; its key is that of what served it.
    """
    made = found.fast_path(call)
    return fast_paths if made is None or made in fast_paths else (made, *fast_paths[: MOST - 1])


def fast_path(found: Specialisation, call: Call) -> FastPath | None:
    """An entry for calls like one that was served; None where these have to be looked at more closely.

    Args:
        found: What served it.
        call: The call; its key is that of what served it.
    """
    replay, identities = found.replay, found.surroundings.identity_guards
    if not isinstance(replay, Replay) or replay.numbers is not None or identities is None:
        return None
    grad, floating, place, autocast, generators, any_order, functions = call.whole[: FIRST - 1]
    modes = Modes(STATE, _UNSET, {**_USUAL, "grad": grad, "autocast": autocast, "generators": generators})
    arguments = _arguments(call, call.whole[FIRST:])
    if place is not None or arguments is None:
        return None
    shared = ((promote, "DEFAULT_FLOAT", floating), (PROCESS, "any_order", any_order), (PROCESS, "replaced", functions))
    more = [look for holder, name, value in shared if (look := item(vars(holder), name, value)) is not None]
    is_like = call_guard(modes, _TOLD, arguments, [*more, *identities])
    return None if is_like is None else FastPath(is_like, found, replay, call)


def _arguments(call: Call, parts: Sequence[Any]) -> list[Argument] | None:
    """What the arguments of such a call have to be, as their parts of its key say."""
    found: list[Argument] = []
    rest = iter(parts)
    for name, value in (*((None, value) for value in call.args), *call.kwargs.items()):
        if name is not None:
            next(rest)
        argument = _argument(name, value, next(rest))
        if argument is None:
            return None
        found.append(argument)
    return found if next(rest, None) is None else None  # else some share memory


def _argument(name: str | None, value: Any, part: Any) -> Argument | None:
    cls = type(value)
    if isinstance(value, Tensor):
        if value.is_composite:  # its key is that of its parts
            return None
        _, element, shape, strides, device, way, *more = part
        if more or way == "hooks":
            return None
        here = device is Cell._device
        kind = type(value._array)
        if here is not (kind is np.ndarray):
            return None

        def usual(attributes: dict[str, Any]) -> dict[str, Any]:
            return attributes if here else {**attributes, "_device": device}

        found = Argument(name, cls, None, element, shape, strides, array=None if here else kind)
        if _is_view(value):
            return None if way is not None else found._replace(usual=usual(_VIEW))
        if way is None:
            return found._replace(usual=usual(_PLAIN))
        if way:
            return found._replace(usual=usual(_LEAF), needed="_requires_grad", wanted=(True,))
        return found._replace(usual=usual(_RESULT), needed="_history")
    is_one = id(cls) in EXACT or part == identity_key(value)
    return Argument(name, cls, (value,)) if is_one else None


def _is_view(x: Tensor) -> bool:
    return bool(x._steps) or x._parent is not None
