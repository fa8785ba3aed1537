"""From what a function returned and changed to what its program gives and leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tracec.record.recording import find_tensors
from tracec.record.structure import Slots
from tracec.record.tape import root_of
from tracec.record.tensor import Tensor
from tracec.specialisations.effects import ALL, MORE, Effect, Effects, Filled
from tracec.specialisations.environment import Environment
from tracec.specialisations.flattening import can_flatten
from tracec.specialisations.forming import Former, Purge

Changes = Sequence[tuple[Effect, Any]]


def formed(
    out: Any, changes: Changes, surroundings: Environment, arguments: Sequence[Tensor] = ()
) -> tuple[Any, Effects | None, str | None]:
    """What a program is to give.

    Args:
        out: What the function returned.
        changes: What it changed.
        surroundings: What it can reach.
        arguments: Tensors that may be other ones at the next call.

    Returns:
        The results with forms in them, followed by the values that are left behind where there are any; what is left
        behind; why it cannot be done again, or None.
    """
    given = {**surroundings.given_parts, **surroundings.given}
    former = Former(
        surroundings.knows, surroundings.births.has, given, surroundings.tensors.keys() - set(map(id, arguments))
    )
    values = [value for _, value in changes]
    try:
        for value in values:
            former.count(value)
        left = frozenset(former.classes)
        former.count(out)
        out = former.form(out)
        values = [former.form(v) for v in values]
        former.note_keys(e.key for e, _ in changes if e.key is not ALL and e.key is not MORE)
    except RecursionError:
        return out, None, "makes a tuple, set or deque that holds itself, or what is nested too deep"
    if former.has_keys:
        return out, None, "gives something as a key of a dictionary that may be another thing at the next call"
    if not changes:
        return out, None, None
    if former.holds_itself:
        return out, None, "makes a container that holds itself, and keeps it"
    kept = next((cls for cls in left if can_flatten(cls) is None), None)
    if kept is not None:  # the next call would find another one, and be recorded
        return out, None, f"keeps an object of type {kept.__name__} that it has made"
    return (out, values), Effects(tuple(effect for effect, _ in changes), left), None


def with_grads(out: Any, left: Effects | None, owners: Sequence[Any]) -> tuple[Any, Effects]:
    """The same with the gradients of some tensors among the values that are left behind, last."""
    result, values = (out, []) if left is None else out
    left = left or Effects(())
    return (result, [*values, *(x._grad for x in owners)]), replace(left, grads=tuple(owners))


def with_roots(out: Any, is_own: Callable[[Any], bool]) -> tuple[Any, int]:
    """The same behind the tensors that some are differentiable views of, and how many these are.

    Views are made of them again, so that they tell, and that writes and gradients go, what they are views of.

    Args:
        out: What a program is to give.
        is_own: Whether the function made a tensor.
    """
    roots = {id(r): r for t in find_tensors(out) if (r := root_of(t)) is not t and is_own(r)}
    return (Filled(_last, [[*roots.values()], out]) if roots else out), len(roots)


def _last(parts: list[Any]) -> Any:
    return parts[-1]


def made_plain(out: Any, changes: Changes, surroundings: Environment) -> Any:
    """What the function returned, with no Number in it, nor in anything that it changed."""
    purged = Purge(surroundings.knows, surroundings.births.has)
    for effect, value in changes:
        holder, plain = surroundings.holder_of(effect), purged(value)
        if effect.key is ALL:
            now, then = (list(v.values() if isinstance(v, (dict, Slots)) else v) for v in (holder, plain))
            if any(a is not b for a, b in zip(now, then, strict=True)):
                effect.apply(holder, plain)
        elif effect.key is MORE:
            for k in range(1, min(len(plain), len(holder)) + 1):
                holder[-k] = plain[-k]
        elif plain is not value:
            effect.apply(holder, plain)
    return purged(out)
