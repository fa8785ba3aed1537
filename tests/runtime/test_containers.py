"""Containers that are looked at in one crossing from Python: every change of what they hold is seen."""

from __future__ import annotations

import shutil
from typing import Any, NamedTuple

import pytest

from tracec.runtime.containers import quickly

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


class Held(NamedTuple):
    holder: Any
    keys: tuple[Any, ...] | None
    values: tuple[Any, ...]


def held(container: Any) -> Held:
    if isinstance(container, dict):
        return Held(container, tuple(container), tuple(container.values()))
    return Held(container, None, tuple(container))


class Derived(dict[str, int]):
    pass


def make() -> list[Any]:
    full = [{"a": object(), "b": object(), 3: object()}, [object(), object()], {}, [], set()]
    return [*full, *[{"k": object()} for _ in range(8)]]


CHANGES = {
    "value": lambda c: c[0].update(a=object()),
    "added": lambda c: c[0].update(z=1),
    "removed": lambda c: c[0].pop("b"),
    "renamed": lambda c: c[0].update(z=c[0].pop(3)),
    "exchanged": lambda c: c[0].update(a=c[0]["b"], b=c[0]["a"]),
    "reordered": lambda c: c[0].update(a=c[0].pop("a")),
    "item": lambda c: c[1].__setitem__(1, object()),
    "reversed": lambda c: c[1].reverse(),
    "longer": lambda c: c[1].append(1),
    "no longer empty": lambda c: c[2].update(a=1),
    "a list no longer empty": lambda c: c[3].append(1),
    "a set no longer empty": lambda c: c[4].add(1),
    "last": lambda c: c[-1].clear(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(change: str) -> None:
    containers = make()
    same, rest = quickly([held(c) for c in containers])
    assert same is not None and rest == []
    assert same() is True and same() is True
    CHANGES[change](containers)
    assert same() is False


def test_what_the_helper_does_not_look_at_is_left() -> None:
    containers = [*make(), Derived(a=1), {1, 2}, "text"]
    same, rest = quickly([held(c) for c in containers])
    assert same is not None and same()
    assert [h.holder for h in rest] == containers[-3:]


def test_of_few_containers_none_is_looked_at() -> None:
    few = [held({"a": 1})]
    assert quickly(few) == (None, few)


def test_what_was_found_stays_alive() -> None:
    containers = [{"k": object()} for _ in range(20)]
    same, _ = quickly([held(c) for c in containers])
    assert same is not None
    for c in containers:
        c["k"] = object()  # none of these may come to lie where the others were
        assert not same()
