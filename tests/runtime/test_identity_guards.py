"""Places looked at in one crossing from Python: every change of what is there is seen, with a compiler or not."""

from __future__ import annotations

import shutil
import types
from collections.abc import Callable
from typing import Any

import pytest

from tracec.runtime import identity_guards
from tracec.runtime.identity_guards import NOTHING, IdentityGuard, class_of, count, held, item, names, unchanged


class Derived(dict[str, int]):
    pass


class Plain:
    shared = object()


class Other:
    pass


class Lies(Plain):
    @property
    def __class__(self) -> type:  # type: ignore[override]
        return Other


@pytest.fixture(params=["helper", "python"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "python":
        monkeypatch.setattr(identity_guards, "host", lambda: None)
    elif shutil.which("gcc") is None:
        pytest.skip("needs gcc")


class World:
    def __init__(self) -> None:
        self.full = {"a": object(), "b": object(), 3: object()}
        self.items = [object(), object()]
        self.empty: list[Any] = [{}, [], set()]
        self.counted = (*[(c, n) for c, n in [({1, 2}, 2), ([1], 1), ({"k": 1}, 1)]],)
        self.keyed = {"k": object(), "l": object()}
        self.cell, self.no_cell = types.CellType(object()), types.CellType()
        self.scope = {"here": object()}
        self.cls = type("Made", (), {"shared": object()})
        self.object, self.liar = Plain(), Lies()

    def looks(self) -> list[IdentityGuard]:
        found = [
            held(self.full, tuple(self.full), tuple(self.full.values())),
            held(self.items, None, tuple(self.items)),
            *(held(c, () if isinstance(c, dict) else None, ()) for c in self.empty),
            *(count(c, n) for c, n in self.counted),
            names(self.keyed, tuple(self.keyed)),
            item(self.cell, None, self.cell.cell_contents),
            item(self.no_cell, None, NOTHING),
            item(self.scope, "here", self.scope["here"]),
            item(self.scope, "away", NOTHING),
            item(self.cls.__dict__, "shared", self.cls.__dict__["shared"]),
            item(self.cls.__dict__, "missing", NOTHING),
            class_of(self.object),
            class_of(self.liar),
        ]
        assert None not in found
        return [look for look in found if look is not None]


def _refill(cell: Any, value: Any) -> None:
    cell.cell_contents = value


def _empty(cell: Any) -> None:
    del cell.cell_contents


CHANGES: dict[str, Callable[[World], Any]] = {
    "value": lambda w: w.full.update(a=object()),
    "added": lambda w: w.full.update(z=1),
    "removed": lambda w: w.full.pop("b"),
    "renamed": lambda w: w.full.update(z=w.full.pop(3)),
    "exchanged": lambda w: w.full.update(a=w.full["b"], b=w.full["a"]),
    "reordered": lambda w: w.full.update(a=w.full.pop("a")),
    "item": lambda w: w.items.__setitem__(1, object()),
    "reversed": lambda w: w.items.reverse(),
    "longer": lambda w: w.items.append(1),
    "no longer empty": lambda w: w.empty[0].update(a=1),
    "a list no longer empty": lambda w: w.empty[1].append(1),
    "a set no longer empty": lambda w: w.empty[2].add(1),
    "a set that is counted": lambda w: w.counted[0][0].add(3),
    "a list that is counted": lambda w: w.counted[1][0].pop(),
    "a dictionary that is counted": lambda w: w.counted[2][0].clear(),
    "keys renamed": lambda w: w.keyed.update(z=w.keyed.pop("l")),
    "keys reordered": lambda w: w.keyed.update(k=w.keyed.pop("k")),
    "keys added": lambda w: w.keyed.update(z=1),
    "cell": lambda w: _refill(w.cell, object()),
    "cell emptied": lambda w: _empty(w.cell),
    "cell filled": lambda w: _refill(w.no_cell, None),
    "entry": lambda w: w.scope.update(here=object()),
    "entry removed": lambda w: w.scope.pop("here"),
    "entry added": lambda w: w.scope.update(away=None),
    "attribute": lambda w: setattr(w.cls, "shared", object()),
    "attribute removed": lambda w: delattr(w.cls, "shared"),
    "attribute added": lambda w: setattr(w.cls, "missing", None),
    "class": lambda w: setattr(w.object, "__class__", Other),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(change: str) -> None:
    world = World()
    same = unchanged(world.looks())
    assert same() is True and same() is True
    CHANGES[change](world)
    assert same() is False


def test_what_is_not_looked_at_does_not_count() -> None:
    world = World()
    same = unchanged(world.looks())
    world.keyed["k"] = world.scope["besides"] = world.cls.besides = object()  # type: ignore[attr-defined]
    assert same()


def test_what_a_class_of_the_users_may_tell_otherwise_is_left() -> None:
    assert held(Derived(a=1), ("a",), (1,)) is None
    assert held({1, 2}, None, (1, 2)) is None
    assert count(Derived(a=1), 1) is None
    assert item(Derived(a=1), "a", 1) is None
    assert item({3: 1}, 3, 1) is None
    assert names(Derived(a=1), ("a",)) is None


def test_nothing_stays_as_it_is() -> None:
    assert unchanged([])()


def test_what_was_found_stays_alive() -> None:
    holders = [{"k": object()} for _ in range(20)]
    same = unchanged([look for c in holders if (look := held(c, tuple(c), tuple(c.values()))) is not None])
    for c in holders:
        c["k"] = object()  # none of these may come to lie where the others were
        assert not same()
