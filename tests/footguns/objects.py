"""Objects that are other ones at each call, as arguments and in places: dataclasses, plain objects, with slots."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections import OrderedDict, defaultdict, deque, namedtuple
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
def key_that_is_equal_by_value(wrap):
    class Keyed:
        def __init__(self, x, k):
            self.x, self.k = x, k

        def __eq__(self, other):
            return self.k == other.k

        def __hash__(self):
            return hash(self.k)

    memo = {Keyed(None, 2): 5.0}
    f = wrap(lambda b: b.x * memo.get(b, 1.0))
    return [f(Keyed(whole(3, seed=k), k % 3)) for k in range(7)]


@footgun
def key_that_is_the_object(wrap):
    a, b = Plain(whole(3)), Plain(whole(3, seed=1))
    memo = {b: 5.0}
    f = wrap(lambda o: o.x * memo.get(o, 1.0))
    found = [f(a), f(Plain(whole(3, seed=2))), f(b), f(Plain(whole(3))), f(b), f(a)]
    memo[a] = 3.0
    return [*found, f(a), f(b), f(Plain(whole(3)))]


@footgun(eager="gives something as a key of a dictionary")
def object_that_becomes_a_key(wrap):
    memo = {}

    def f(o):
        memo[o] = o.x * 2
        return memo[o] + 1

    f, given = wrap(f), [Plain(whole(3, seed=k)) for k in range(5)]
    return [*(f(o) for o in given), len(memo), *(memo[o] for o in given)]


@footgun(eager="the address of an object, id")
def address_of_an_object(wrap):
    known = Plain(whole(3))
    factors = {id(known): 4.0}
    f = wrap(lambda o: o.x * factors.get(id(o), 1.0))
    others = [Plain(whole(3, seed=k)) for k in range(4)]
    return [f(o) for o in (known, *others, known)]


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
def attribute_that_is_no_field(wrap):
    @dataclasses.dataclass
    class Extended:
        x: Any

        def __post_init__(self):
            self.twice = self.x * 2

    f = wrap(lambda x: Extended(x))
    return [f(whole(3, seed=k)).twice for k in range(4)]


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
def attribute_and_method_of_a_kind_of_dictionary(wrap):
    class Settings(dict):
        def factor(self):
            return self["a"] * self.k

    d = Settings(a=2.0)
    d.k = 3.0
    f = wrap(lambda x: x * d.factor())
    found = [f(whole(3)), f(whole(3))]
    d.k = 5.0
    found += [f(whole(3)), f(whole(3))]
    Settings.factor = lambda self: 7.0
    return [*found, f(whole(3)), f(whole(3))]


@footgun
def class_of_an_object_that_changes(wrap):
    class Other(Plain):
        def __getattr__(self, name):
            return 3.0

    a = Plain(whole(3))
    f = wrap(lambda x: x * getattr(a, "k", 2.0))
    found = [f(whole(3)), f(whole(3))]
    a.__class__ = Other
    return [*found, f(whole(3)), f(whole(3))]


@footgun
def attributes_replaced_at_once(wrap):
    a = Plain(None)
    a.k = 2.0
    f = wrap(lambda x: x * a.k)
    found = [f(whole(3)), f(whole(3))]
    a.__dict__ = {"k": 5.0}
    return [*found, f(whole(3)), f(whole(3))]


@footgun(eager="changes o.__dict__")
def function_that_replaces_attributes_at_once(wrap):
    def f(o):
        o.__dict__ = {"x": o.x * 2}
        return o.x

    f, found = wrap(f), []
    for k in range(4):
        o = Plain(whole(3, seed=k))
        found += [f(o), sorted(vars(o)), o.x]
    return found


@footgun
def dictionary_of_attributes_that_is_stored(wrap):
    kept = {}

    def f(o):
        kept["of"] = vars(o)
        return o.x * 2

    f, found = wrap(f), []
    for k in range(5):
        o = Plain(whole(3, seed=k))
        found += [f(o), kept["of"] is vars(o)]
    return found


@footgun
def objects_that_hold_each_other(wrap):
    class Tree:
        def __init__(self, x, above=None):
            self.x, self.above, self.below = x, above, []

    def grown(k):
        root = Tree(whole(3, seed=k))
        root.below = [Tree(whole(3, seed=k + 1), root), Tree(whole(3, seed=k + 2), root)]
        return root

    f = wrap(lambda root: root.x + sum(t.x * t.above.x for t in root.below))
    return [f(grown(k)) for k in range(5)]


@footgun
def one_object_in_two_attributes(wrap):
    def f(b):
        b.x.x = b.x.x * 2
        return b.y.x

    f, found = wrap(f), []
    for k in range(5):
        one = Plain(whole(3, seed=k))
        found += [f(Batch(one, one)), f(Batch(Plain(whole(3, seed=k)), Plain(whole(3))))]
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
def keys_of_dictionaries_that_are_equal_but_of_other_types(wrap):
    f = wrap(lambda d: sum(k * v for k, v in d.items()))
    i = tracec.tensor([1, 2])
    return [f({key: i}) for key in (1, True, 1.0, 1, 1.0, True)]


class Counted:
    def __init__(self, k=0.0):
        self.k = k

    def times(self, x):
        self.k += 1
        self.y = x * self.k
        return self.y


def counter(k):
    def times(x):
        nonlocal k
        k += 1
        return x * k

    return times, lambda: k


@footgun
def fresh_functions(wrap):
    f, found = wrap(lambda x, g: g(x)), []
    for k in range(5):
        b, (times, count) = whole(3, seed=k), counter(float(k))
        found += [f(whole(3), lambda x, b=b: x * b), f(b, times), count(), f(b, times), count()]
        found += [f(b, lambda x: x + b), f(b, lambda x, k=k: x * k)]  # noqa: B023
    return found


@footgun
def functions_that_share_a_variable(wrap):
    def made(k, share):
        def double():
            nonlocal k
            k *= 2

        def over(k):
            return lambda x: x * k

        return double, (lambda x: x * k) if share else over(k)

    def f(x, double, times):
        double()
        return times(x)

    f = wrap(f)
    return [f(whole(3), *made(float(k), s)) for k in (2, 3, 4) for s in (True, False, True, True, False, False)]


@footgun
def function_that_may_share_a_variable_with_the_compiled_one(wrap):
    v = 1.0

    def own():
        nonlocal v
        v += 1

    def others():
        u = 1.0

        def other():
            nonlocal u
            u += 1

        return other

    def f(x, change):
        change()
        return x * v

    f = wrap(f)
    return [*(f(whole(3), c) for c in (own, others(), others(), own, others(), own, own)), v]


@footgun
def variable_that_a_function_may_lack(wrap):
    def made(bound):
        def g(x):
            try:
                return x * k
            except NameError:
                return x

        if bound:
            k = 3.0
        return g

    f = wrap(lambda x, g: g(x))
    return [f(whole(3), made(b)) for b in (False, True, False, True, True, False)]


@footgun
def methods_and_partial_functions(wrap):
    f, found = wrap(lambda x, g: g(x)), []
    for k in range(6):
        one = Counted(float(k))
        found += [f(whole(3), one.times), one.k, one.y, f(whole(3), one.times), one.k]
        partial = functools.partial(lambda a, x, b: x * a + b, float(k), b=whole(3, seed=k))
        found += [f(whole(3), partial), partial.args, partial.keywords]
    return found


@footgun
def sets_and_deques(wrap):
    known = {"a"}

    def f(x, names, items):
        if names is not known:
            names.add("q")
        items.append(items[-1] * 2)
        items.popleft()
        return x * len(names) + sum(items)

    f, found = wrap(f), []
    window = deque([whole(3, seed=k) for k in range(3)], maxlen=3)
    for k in range(6):
        names, items = ({"a"} if k % 2 else known), deque([whole(3, seed=k), whole(3)], maxlen=4)
        found += [f(whole(3), names, items), len(names), list(items), items.maxlen]
        window.append(whole(3, seed=k))
        found += [f(whole(3), {"a"}, window), list(window)]
    return found


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
