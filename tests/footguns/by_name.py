"""Modules, builtins and classes that are reached in roundabout ways: by names, in objects, as values."""

from __future__ import annotations

import builtins
import operator
import sys
import time
import types
from functools import partial, wraps

import tracec
from tests.footguns.harness import footgun, whole


def module(**attributes):
    made = types.ModuleType("a_module_of_the_user")
    vars(made).update(attributes)
    return made


def while_it_changes(f, *changes):
    """Two calls before, and after each of some changes."""
    found = [f(whole(3)), f(whole(3))]
    for change in changes:
        change()
        found += [f(whole(3)), f(whole(3))]
    return found


def sets(owner, name, *values):
    """What sets an attribute to each value, and takes it away at last."""
    return [*(partial(setattr, owner, name, v) for v in values), partial(delattr, owner, name)]


@footgun
def builtins_that_are_asked_for_by_their_names(wrap):
    name, found = "A_KNOB", []
    for f in (
        lambda x: x * getattr(builtins, "A_KNOB", 2.0),
        lambda x: x * getattr(builtins, name, 2.0),
        lambda x: x * (2.0 if hasattr(builtins, "A_KNOB") else 3.0),
    ):
        found += while_it_changes(wrap(f), *sets(builtins, "A_KNOB", 5.0, 6.0))
    return found


@footgun
def builtin_that_is_not_there_at_first(wrap):
    def f(x):
        try:
            return x * A_KNOB
        except NameError:
            return x

    def g(x):
        try:
            return x * builtins.A_KNOB
        except AttributeError:
            return x

    changes = sets(builtins, "A_KNOB", 5.0, 6.0)
    return [while_it_changes(wrap(f), *changes), while_it_changes(wrap(g), *changes)]


@footgun
def module_that_is_asked_for_names(wrap):
    m = module(K=2.0, sub=module(J=2.0), double=lambda x: x * 2)
    name, found = "K", []
    found += while_it_changes(wrap(lambda x: x * getattr(m, name)), *sets(m, "K", 5.0, 6.0)[:-1])
    found += while_it_changes(wrap(lambda x: x * getattr(m, "L", 1.0)), *sets(m, "L", 5.0, 6.0))
    found += while_it_changes(wrap(lambda x: x * operator.attrgetter("K")(m)), *sets(m, "K", 2.0, 3.0)[:-1])
    return found


@footgun
def module_whose_contents_are_asked_for_by_names(wrap):
    m = module(double=lambda x: x * by["k"], table={"a": 3.0}, sub=module(J=2.0), kind=type("Kind", (), {"w": 2.0}))
    by, found = {"k": 2.0}, []
    found += while_it_changes(wrap(lambda x: getattr(m, "dou" + "ble")(x)), *sets(m, "double", lambda x: x * 3)[:-1])
    m.double = lambda x: x * by["k"]
    found += while_it_changes(wrap(lambda x: getattr(m, "dou" + "ble")(x)), partial(by.update, k=5.0))
    found += while_it_changes(wrap(lambda x: x * getattr(m, "ta" + "ble")["a"]), partial(m.table.update, a=5.0))
    found += while_it_changes(wrap(lambda x: x * getattr(m, "s" + "ub").J), *sets(m.sub, "J", 5.0, 6.0)[:-1])
    return found + while_it_changes(wrap(lambda x: x * getattr(m, "ki" + "nd").w), *sets(m.kind, "w", 5.0)[:-1])


@footgun
def modules_of_the_library_that_are_asked_for_by_names(wrap):
    functions = [
        lambda x: getattr(tracec, "spe" + "cial").round(x),
        lambda x: getattr(getattr(tracec, "li" + "nalg"), "no" + "rm")(x),
        lambda x: getattr(tracec.nn, "func" + "tional").relu(x), lambda x: x.to(getattr(tracec, "flo" + "at64")),
        lambda x: x * 2 if getattr(tracec, "backe" + "nds").mps.is_available() else x * 3,
    ]  # fmt: skip
    return [while_it_changes(wrap(f), lambda: None) for f in functions]


@footgun(eager="which it asks for by its name")
def module_that_is_asked_for_ever_new_functions(wrap):
    m, k = module(**{f"f{k}": lambda x, k=k: x * k for k in range(40)}), [0]
    f, found = wrap(lambda x: getattr(m, f"f{k[0]}")(x)), []
    for k[0] in range(40):
        found.append(f(whole(3)))
    return found


@footgun
def functions_that_wear_names_of_the_library(wrap):
    by = {"k": 2.0}

    def worn():
        return wraps(tracec.relu)(lambda x: x * by["k"])

    held, counted = module(f=worn()), worn()
    counted.scale = 2.0
    inside = tracec.no_grad()(worn())
    functions = [worn(), held.f, lambda x: held.f(x), lambda x: getattr(held, "f")(x), lambda x: inside(x)]  # noqa: B009
    found = [while_it_changes(wrap(f), *(partial(by.update, k=k) for k in (5.0, 2.0))) for f in functions]
    return [*found, while_it_changes(wrap(lambda x: counted(x) * counted.scale), *sets(counted, "scale", 3.0)[:-1])]


@footgun(eager="all names of a module")
def module_of_which_all_names_are_read(wrap):
    m = module(K=2.0)
    found = while_it_changes(wrap(lambda x: x * vars(m)["K"]), *sets(m, "K", 3.0)[:-1])
    found += while_it_changes(wrap(lambda x: x * m.__dict__["K"]), *sets(m, "K", 2.0)[:-1])
    return found + while_it_changes(wrap(lambda x: x * len(dir(m))), *sets(m, "L", 2.0))


@footgun
def module_that_is_used_as_a_value(wrap):
    m = module(K=2.0)

    class Holder:
        def __init__(self):
            self.module = m

    def of(some):
        try:
            return some.K + some.L
        except AttributeError:
            return some.K

    held, listed = Holder(), [m]
    get = operator.attrgetter("K")
    functions = [lambda x: x * of(m), lambda x: x * held.module.K, lambda x: x * listed[0].K, lambda x: x * get(m)]
    changes = [*sets(m, "K", 5.0, 6.0, 2.0)[:-1], *sets(m, "L", 1.0)]
    found = [while_it_changes(wrap(f), *changes) for f in functions]
    given = wrap(lambda x, some: x * of(some))
    return [*found, while_it_changes(lambda x: given(x, m), *changes)]


@footgun
def module_that_lacks_most_of_many_names(wrap):
    """One guard tells of all that it lacks; what is there, or comes there, tells for itself."""
    m = module(K=2.0)
    names = [f"name_{k}" for k in range(40)]
    spaces: dict = {}
    exec("def many(some):\n    return [" + ", ".join(f"some.{n}" for n in names) + "]", spaces)

    def of(some):
        if some is None:
            return spaces["many"](some)
        return some.K + getattr(some, "name_7", 0.0) + (some.name_8 if hasattr(some, "name_8") else 0.0)

    def leave(x, some):
        some.name_9 = getattr(some, "name_9", 0.0) + of(some)
        return x * some.name_9

    many = spaces["many"]
    reads, leaves = wrap(lambda x: x * of(m) if m is not None else many(m)), wrap(lambda x: leave(x, m))
    aside = [partial(setattr, m, f"aside_{k}", k) for k in range(3)]
    changes = [*aside, *sets(m, "name_7", 1.0, 3.0), *sets(m, "name_8", 5.0), *aside, *sets(m, "K", 6.0)[:-1]]
    found = while_it_changes(reads, *changes)
    for k in range(3):
        found += [leaves(whole(3, seed=k)), leaves(whole(3, seed=k)), m.name_9]
        del m.name_9
    return found


@footgun
def module_that_is_written_to(wrap):
    m = module(gone=1)

    def count(x):
        m.calls = getattr(m, "calls", 0) + 1
        return x * m.calls

    def leave(x):
        m.last, m.flag = x * 2, True
        return x

    def take(x):
        del m.gone
        return x

    def knob(x):
        builtins.A_KNOB = getattr(builtins, "A_KNOB", 0.0) + 1
        return x

    found = while_it_changes(wrap(count), partial(setattr, m, "calls", 7), partial(delattr, m, "calls"))
    left, taken, turned = wrap(leave), wrap(take), wrap(knob)
    for k in range(4):
        m.flag, m.gone, builtins.A_KNOB = False, 1, 2.0 * k
        found += [left(whole(3, seed=k)), m.last, m.flag, taken(whole(3)), hasattr(m, "gone"), turned(whole(3))]
        found.append(builtins.A_KNOB)
    del builtins.A_KNOB
    return found


@footgun(eager="which it sets by its name")
def module_that_is_written_to_by_name(wrap):
    m = module()

    def count(x):
        setattr(m, "ca" + "lls", getattr(m, "ca" + "lls", 0) + 1)
        return x * m.__getattribute__("calls")

    return while_it_changes(wrap(count), partial(setattr, m, "calls", 7))


@footgun
def modules_of_functions_among_names_and_numbers(wrap):
    """Numbers that are inputs go through ``getattr`` as they are, and sizes keep what they depend on."""
    by, m = {"k": 0.0}, sys.modules[__name__]

    def f(x):
        return x * by["k"] * getattr(x, "shape")[0] * len(getattr(m, "__name__"))  # noqa: B009

    f, found = wrap(f), []
    for k in range(12):
        by["k"] = min(k, 4) / 2
        found.append(f(whole(2 + max(k, 4))))
    return found


@footgun(eager="reads the clock")
def clocks_that_are_held(wrap):
    class Timer:
        read = staticmethod(time.perf_counter)

        def __init__(self):
            self.clock = time.perf_counter

    timer, several, part = Timer(), {"clock": time.perf_counter}, partial(time.perf_counter)
    functions = [
        lambda x: x.double() * 0 + timer.clock(), lambda x: x.double() * 0 + timer.read(),
        lambda x: x.double() * 0 + several["clock"](), lambda x, clock=time.perf_counter: x.double() * 0 + clock(),
        lambda x: x.double() * 0 + part(),
    ]  # fmt: skip
    given = wrap(lambda x, clock: x.double() * 0 + clock())
    calls = [*map(wrap, functions), lambda x: given(x, time.perf_counter)]
    return [len({f(whole(1)).item() for _ in range(4)}) for f in calls]


@footgun(eager="returns an object of type")
def classes_that_are_equal_as_their_metaclass_says(wrap):
    return [strange(wrap, lambda cls, other: cls is other), strange(wrap, lambda cls, other: True)]


def strange(wrap, equal):
    meta = type("Meta", (type,), {"__eq__": equal})
    other = meta("Other", (), {"__slots__": ("k",)})

    class Strange(metaclass=meta):
        def __init__(self, k=2.0):
            self.k = k

    one, slot, kept, found = Strange(), other(), [], []

    def add(x, by):
        kept.append(by)
        one.n = getattr(one, "n", 0) + 1
        return x * by.k * one.n

    by, around = wrap(lambda x, o: x * o.k), wrap(lambda x: x * one.k + slot.k)
    inside, made, added = wrap(lambda x, o: x * o["a"][0].k), wrap(lambda x: (x, Strange(3.0))), wrap(add)
    for k in range(6):
        one.k = slot.k = 1.0 + k // 2
        found += [by(whole(3), o) for o in (one, Strange(k), slot)]
        found += [around(whole(3)), inside(whole(3), {"a": (one,)}), added(whole(3), one), len(kept)]
        found.append(made(whole(3))[1].k)
    return found
