"""What a call was given, in words: the parts of its arguments, and the modes that it was made in."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tracec.record.state import PROCESS, STATE
from tracec.record.structure import ITEMS, aspects
from tracec.record.tape import edge_of
from tracec.record.tensor import Tensor, get_default_dtype
from tracec.specialisations.aliasing import part_of
from tracec.specialisations.guards import Change, short
from tracec.specialisations.keys import PLAIN, Flattener, Layouts, is_flattened, is_sequence


class Part(NamedTuple):
    """Something that a specialisation depends on, besides what the function reads around it.

    Attributes:
        name: How the user would write it, as ``batch['x']``; of modes, what they are.
        text: What it was.
        identity: Tells it from others of the same text.
        usual: It is a mode that is as it is when nobody sets it.
    """

    name: str
    text: str
    identity: Hashable = None
    usual: bool = False

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


def parts_of(
    fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], layouts: Layouts | None = None
) -> tuple[Part, ...]:
    """The parts of a call's arguments, in order, then modes of the thread.

    Args:
        fn: The function, whose parameters name its arguments.
        args: The arguments.
        kwargs: The keyword arguments.
        layouts: Tells which objects are taken apart.
    """
    found: list[Part] = []
    tensors: list[tuple[str, Tensor]] = []
    flattener = None if layouts is None else Flattener(layouts)
    for name, value in named(fn, args, kwargs):
        _take_apart(name, value, found, tensors, flattener)
    given = [tensor for _, tensor in tensors]
    for k, (name, tensor) in enumerate(tensors):
        beside = [j for j, other in enumerate(given) if other._storage is tensor._storage]
        if beside[0] != k:
            text = f"that of {tensors[beside[0]][0]}"
            found.append(Part(f"memory of {name}", text, str(part_of(given, k, beside))))
    return (*found, *_modes())


def changes_between(before: Sequence[Part], now: Sequence[Part]) -> list[Change]:
    """What differs between two calls."""
    then, current = {p.name: p for p in before}, {p.name: p for p in now}
    found = []
    for name in dict.fromkeys((*then, *current)):
        was, is_ = then.get(name), current.get(name)
        if was is None or is_ is None or (was.text, was.identity) != (is_.text, is_.identity):
            texts = ["not given" if p is None else p.text for p in (was, is_)]
            if texts[0] == texts[1]:
                texts[1] = f"another {texts[1]}"
            found.append(Change(name, *texts))
    return found


def named(fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each argument of a call, with the name of its parameter."""
    try:
        parameters = list(inspect.signature(getattr(fn, "forward", fn)).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
    for k, value in enumerate(args):
        if k < len(names):
            yield names[k], value
        else:
            yield (f"argument {k}" if rest is None else f"{rest}[{k - len(names)}]"), value
    yield from kwargs.items()


def _take_apart(
    name: str, value: Any, found: list[Part], tensors: list[tuple[str, Tensor]], flattener: Flattener | None
) -> None:
    if isinstance(value, Tensor) and value.is_composite:
        found.append(Part(name, f"{type(value).__name__}{value.form()}", value.form()))
        for k, item in enumerate(value.inner()):
            _take_apart(f"{name}, part {k}", item, found, tensors, flattener)
    elif isinstance(value, Tensor):
        tensors.append((name, value))
        found.append(_tensor(name, value))
    elif isinstance(value, PLAIN):
        found.append(Part(name, short(value), (type(value), repr(value))))
    elif is_sequence(value):
        found.append(Part(name, f"{type(value).__name__} of {len(value)}", id(type(value))))
        for k, item in enumerate(value):
            _take_apart(f"{name}[{k}]", item, found, tensors, flattener)
    elif type(value) is dict:
        found.append(Part(name, f"dict of {', '.join(map(short, value)) or 'nothing'}", tuple(map(repr, value))))
        for key, item in value.items():
            _take_apart(f"{name}[{short(key)}]", item, found, tensors, flattener)
    elif flattener is not None and is_flattened(value, flattener.layouts):
        if flattener.meets(value) is not None:
            return
        holders = [(aspect, aspect.of(value)) for aspect in aspects(value)]
        items = [(aspect, k, v) for aspect, holder in holders for k, v in _items(holder)]
        names = [(repr(aspect), repr(k)) for aspect, k, _ in items]
        found.append(
            Part(
                name, f"{type(value).__name__} of {', '.join(k for _, k in names) or 'nothing'}", (type(value), *names)
            )
        )
        for aspect, k, item in items:
            _take_apart(f"{name}[{short(k)}]" if aspect is ITEMS else f"{name}.{k}", item, found, tensors, flattener)
    else:
        found.append(Part(name, f"{type(value).__name__} object", id(value)))


def _items(holder: Any) -> Any:
    return enumerate(holder) if isinstance(holder, (list, deque)) else holder.items()


def _tensor(name: str, x: Tensor) -> Part:
    notes = [] if type(x) is Tensor else [type(x).__name__]
    if not x._array.flags.c_contiguous:
        notes.append(f"strides {tuple(s // x._array.itemsize for s in x._array.strides)}")
    edge = edge_of(x)
    if edge is not None:
        notes.append("requires grad" if edge is x else "computed from what requires grad")
    text = f"{x._type} ({', '.join(notes)})" if notes else str(x._type)
    return Part(name, text, x._array.strides)


def _modes() -> Iterator[Part]:
    place = STATE.devices[-1] if STATE.devices else STATE.device
    yield Part("gradients", "on" if STATE.grad else "off", usual=STATE.grad)
    yield Part("default dtype", str(get_default_dtype()), usual=get_default_dtype().name == "float32")
    yield Part("default device", str(place or "cpu"), usual=place is None)
    yield Part("sums", "in any order" if PROCESS.any_order else "in a fixed order", usual=not PROCESS.any_order)
    yield Part("random numbers", "a stream of the thread's own", id(STATE.generators), usual=STATE.generators is None)
    functions = PROCESS.replaced
    names = ", ".join(r.name for r in functions) or "none"
    yield Part("functions of the library that are replaced", names, functions, usual=not functions)
    yield Part("autocast", str(STATE.autocast or "off"), usual=STATE.autocast is None)
