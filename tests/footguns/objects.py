"""Objects that are other ones at each call, as arguments and in places: dataclasses, plain objects, with slots."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections import OrderedDict, defaultdict, namedtuple
from typing import Any

import tracec
from tests.footguns.harness import footgun, whole
from tracec import nn


@dataclasses.dataclass
class Batch:
    x: Any
    y: Any = None
    n: int = 3


class Plain:
    def __init__(self, x, flag=True):
        self.x, self.flag = x, flag


class Slotted:
    __slots__ = ("__k", "x")

    def __init__(self, x, k=2.0):
        self.x, self.__k = x, k

    def k(self):
        return self.__k

    def become(self, k):
        self.__k = k


class Output(OrderedDict):
    """A dictionary whose items are attributes too."""

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        super().__setattr__(key, value)

    def __setattr__(self, name, value):
        if name in self.keys():
            super().__setitem__(name, value)
        super().__setattr__(name, value)

    def __getitem__(self, key):
        return dict(self.items())[key] if isinstance(key, str) else tuple(self.values())[key]

    def update(self, *args, **kwargs):
        raise TypeError("not to be called")


class Lists(list):
    k = 2.0


@footgun
def fresh_dataclass_of_tensors_and_numbers(wrap):
    f = wrap(lambda b: b.x * b.n)
    return [f(Batch(whole(3, seed=k), n=k)) for k in range(6)]


@footgun
def fresh_object_that_is_returned_and_stored(wrap):
    last = Plain(None)

    def f(b):
        last.x = b
        return b, b.x * 2

    f, found = wrap(f), []
    for k in range(5):
        b = Plain(whole(3, seed=k))
        given, y = f(b)
        found += [given is b, last.x is b, y]
    return found


@footgun
def object_that_may_be_a_global_one(wrap):
    known = Batch(whole(3))
    f = wrap(lambda b: b.x * 2 if b is known else b.x)
    return [f(b) for b in (Batch(whole(3, seed=1)), known, Batch(whole(3, seed=2)), known, Batch(whole(3, seed=3)))]


@footgun
def object_that_may_be_that_of_the_last_call(wrap):
    last = Plain(None)

    def f(b):
        y = b.x * 2 if b is last.x else b.x
        last.x = b
        return y

    f, b, c = wrap(f), Batch(whole(3)), Batch(whole(3, seed=1))
    return [f(b) for b in (b, b, c, c, b, Batch(whole(3, seed=2)), b, b, b)]


@footgun
def object_that_another_argument_holds(wrap):
    holder = Plain(Plain(whole(3)))
    f = wrap(lambda b, holder: b.x * 2 if b is holder.x else b.x + holder.x.x)
    given = (holder.x, Plain(whole(3, seed=1)), Plain(whole(3, seed=2)), holder.x, Plain(whole(3, seed=3)))
    return [f(b, holder) for b in given]


@footgun
def fresh_object_that_is_written_to(wrap):
    def f(b):
        b.y = b.x * 2
        b.n += 1
        b.more = b.n
        return b.y + b.n

    f, found = wrap(f), []
    for k in range(6):
        b = Batch(whole(3, seed=k), n=k)
        found += [f(b), b.y, b.n, b.more]
    return found


@footgun
def fresh_object_that_loses_an_attribute(wrap):
    def f(b):
        y = b.x * 2
        del b.flag
        return y

    f, found = wrap(f), []
    for k in range(4):
        b = Plain(whole(3, seed=k))
        found += [f(b), hasattr(b, "flag")]
    return found


@footgun
def one_object_given_twice(wrap):
    def f(a, b):
        a.x = a.x * 2
        return a.x + b.x, a is b

    f, found = wrap(f), []
    for k in range(6):
        a, b = Plain(whole(3, seed=k)), Plain(whole(3, seed=k + 1))
        found += [*f(a, b), *f(a, a), a.x, *f(b, a), b.x]
    return found


@footgun
def tensors_of_an_object_that_share_memory(wrap):
    def f(b):
        b.x.add_(1)
        return b.y * 2

    f, found = wrap(f), []
    for k in range(5):
        x = whole(3, seed=k)
        found += [f(Batch(x, x)), f(Batch(whole(3), whole(3))), f(Batch(x, x[:2])), x]
    return found


@footgun
def frozen_dataclass(wrap):
    @dataclasses.dataclass(frozen=True)
    class Frozen:
        x: Any
        k: float = 1.0

    def f(b):
        object.__setattr__(b, "z", b.x * 3)
        return dataclasses.replace(b, x=b.x + b.k)

    f, found = wrap(f), []
    for k in range(6):
        b = Frozen(whole(3, seed=k), float(k))
        y = f(b)
        found += [y.x, y.k, hasattr(y, "z"), b.x, b.z]
    return found


@footgun
def nested_dataclasses(wrap):
    f = wrap(lambda b: b.x[0].x * b.y["q"].n + b.x[1].y)

    def made(k):
        return Batch([Batch(whole(3, seed=k)), Batch(None, whole(3))], {"q": Batch(None, None, k % 2)})

    return [f(made(k)) for k in range(6)]


@footgun
def objects_with_slots(wrap):
    def f(b):
        b.x = b.x * b.k()
        b.become(b.k() + 1)
        return b.x + 1

    f, found = wrap(f), []
    for k in range(6):
        b = Slotted(whole(3, seed=k), float(k))
        found += [f(b), b.x, b.k()]
    return found


@footgun
def private_slot_of_an_object_from_outside(wrap):
    outer = Slotted(whole(3))
    f = wrap(lambda x: x * outer.k())
    found = [f(whole(3)), f(whole(3))]
    outer.become(5.0)
    return [*found, f(whole(3)), f(whole(3))]


@footgun
def dictionary_whose_items_are_attributes(wrap):
    def f(b):
        b["z"] = b.x * 2
        made = Output()
        made["y"], made.extra = b["x"] + b[0], 3
        return made

    f, found = wrap(f), []
    for k in range(6):
        b = Output()
        b["x"], b["y"] = whole(3, seed=k), whole(3)
        y = f(b)
        found += [list(b), b.z, b["z"], type(y).__name__, y.y, y["y"], y.extra, list(y)]
    return found


@footgun
def namespaces(wrap):
    def f(b):
        b.z = b.x * 2
        return types.SimpleNamespace(a=b.z, b=b)

    f, found = wrap(f), []
    for k in range(5):
        b = types.SimpleNamespace(x=whole(3, seed=k), name="a")
        y = f(b)
        found += [y.a, y.b is b, b.z is y.a]
    return found


@footgun
def attributes_that_a_class_computes(wrap):
    class Computed:
        def __init__(self, x, k):
            self._of = {"x": x, "k": k}

        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return self._of[name]

        @property
        def twice(self):
            return self.x * self.k

    f = wrap(lambda b: b.twice + b.x)
    return [f(Computed(whole(3, seed=k), float(max(2, k)))) for k in range(6)]


@footgun
def property_that_is_computed_once(wrap):
    class Once:
        def __init__(self, x):
            self.x = x

        @functools.cached_property
        def large(self):
            return self.x * 10

    f, found = wrap(lambda b: b.large + b.large), []
    for k in range(5):
        b = Once(whole(3, seed=k))
        found += [f(b), b.large, f(b), "large" in vars(b)]
    return found


@footgun(rounded=1e-6)
def module_in_a_dataclass(wrap):
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    f = wrap(lambda c: c.x(c.y))
    return [f(Batch(m, whole(3, seed=k))) for m in (first, second, first) for k in range(3)]


@footgun
def list_of_a_fresh_dataclass_that_grows(wrap):
    @dataclasses.dataclass
    class Logged:
        x: Any
        log: list = dataclasses.field(default_factory=list)

    def f(c):
        c.log.append(c.x * 2)
        return c.x

    f, found = wrap(f), []
    for k in range(5):
        c = Logged(whole(3, seed=k))
        found += [f(c), len(c.log), c.log[-1]]
    return found


@footgun
def state_that_lasts_and_grows(wrap):
    @dataclasses.dataclass
    class State:
        p: Any
        log: list = dataclasses.field(default_factory=list)
        step: int = 0

    def f(s, x):
        s.p = s.p * 0.5 + x
        s.log.append(s.p.sum())
        s.step += 1
        return s.p

    s, f = State(whole(3)), wrap(f)
    return [*(f(s, whole(3, seed=k)) for k in range(9)), len(s.log), s.log[-1], s.step]


@footgun
def default_dictionaries(wrap):
    def f(d):
        d["n"].append(d["x"][0] * 2)
        made = defaultdict(list)
        made["a"].append(d["x"][0] * 3)
        return made

    f, found = wrap(f), []
    for k in range(4):
        d = defaultdict(list)
        d["x"].append(whole(3, seed=k))
        y = f(d)
        y["new"].append(1)
        found += [d, y]
    return found


@footgun
def lists_with_attributes(wrap):
    def f(items):
        items.append(items[0] * items.k)
        return items[-1]

    f, found = wrap(f), []
    for k in range(5):
        items = Lists([whole(3, seed=k)])
        items.k = float(k)
        found += [f(items), list(items)]
    return found


@footgun
def gradients_of_tensors_in_an_object(wrap):
    f, found = wrap(lambda b: (b.x * b.y).sum()), []
    for k in range(4):
        x = whole(3, seed=k, g=True)
        f(Batch(x, whole(3))).backward()
        found.append(x.grad)
    return found


@footgun
def fresh_object_stored_at_each_call(wrap):
    kept = Plain(None)

    def f(x):
        before = kept.x
        kept.x = Batch(x * 2 if before is None else before.x * 0.5 + x, x)
        return kept.x.x

    f = wrap(f)
    return [*(f(whole(3, seed=k)) for k in range(6)), kept.x.x, kept.x.y]


@footgun
def method_of_a_named_tuple_that_is_replaced(wrap):
    class Pair(namedtuple("Pair", "x y")):
        def area(self):
            return self.x * self.y

    f = wrap(lambda p: p.area())
    found = [f(Pair(whole(3, seed=k), 2.0)) for k in range(3)]
    Pair.area = lambda self: self.x
    return found + [f(Pair(whole(3, seed=k), 2.0)) for k in range(3)]


@footgun
def numbers_in_what_is_stored(wrap):
    kept = Plain({"y": whole(3), "n": 0, "inner": [1.0, (2, "a")]})

    def f(x, k):
        last = kept.x
        kept.x = {"y": last["y"] + x, "n": last["n"] + k, "inner": [last["inner"][0] * 0.5, (k, "a")]}
        return kept.x["y"] * kept.x["n"] + kept.x["inner"][0] + last["inner"][1][0]

    def g(x, k):
        kept.x = Batch(x * 2, None, k if not isinstance(kept.x, Batch) else kept.x.n + k)
        return x * kept.x.n

    f, g, found = wrap(f), wrap(g), []
    for k in range(8):
        found += [f(whole(3, seed=k), k), kept.x]
    kept.x = {"y": whole(3), "n": True, "inner": [1.0, (2, "a")]}
    found += [f(whole(3), 2), kept.x, f(whole(3), 3), kept.x]
    for k in range(8):
        found += [g(whole(3, seed=k), k), kept.x.x, kept.x.n, type(kept.x.n).__name__]
    return found


@footgun
def rate_that_a_scheduler_changes_in_the_step(wrap):
    model = nn.Linear(3, 1)
    with tracec.no_grad():
        model.weight.fill_(0.5)
        model.bias.fill_(0.25)
    optimizer = tracec.optim.SGD(model.parameters(), lr=0.5)
    scheduler = tracec.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)

    def step(x):
        optimizer.zero_grad()
        loss = model(x).sum()
        loss.backward()
        optimizer.step()
        scheduler.step()
        return loss.detach()

    step, found = wrap(step), []
    for _ in range(9):
        found += [step(whole(3)), optimizer.param_groups[0]["lr"], scheduler.get_last_lr(), scheduler.last_epoch]
    return found
