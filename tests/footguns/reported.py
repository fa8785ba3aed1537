"""What users of tracing compilers have reported: things replaced, aliased, cached and looked up in other ways."""

from __future__ import annotations

import array
import collections
import contextlib
import functools
import os
import sys
import types

import tracec
from tests.footguns.harness import footgun, whole

settings = types.SimpleNamespace(scale=2.0, on=False)
shared = [1.0, 2.0, 3.0]


def helper(x):
    return x * 2


@footgun
def global_function_replaced(wrap):
    global helper
    before = helper
    f = wrap(lambda x: helper(x) + 1)
    found = [f(whole(3)), f(whole(3))]
    helper = lambda x: x * 5  # noqa: E731
    found += [f(whole(3)), f(whole(3))]
    helper = before
    return [*found, f(whole(3))]


@footgun
def list_argument_that_is_a_global_as_well(wrap):
    f = wrap(lambda x, items: x * shared[-1] + items[-1])
    found = [f(whole(3), given) for given in (shared, shared, [3.0, 2.0, 1.0], [1.0, 2.0], shared)]
    shared.append(7.0)
    found += [f(whole(3), shared), f(whole(3), [1.0, 2.0, 3.0])]
    shared.pop()
    return [*found, f(whole(3), shared)]


@footgun
def branch_on_the_identity_of_objects(wrap):
    a, b = [1.0], [1.0]
    f = wrap(lambda x, u, v: x * 2 if u is v else x * 3)
    return [f(whole(3), u, v) for u, v in ((a, a), (a, a), (a, b), (a, b), (b, b), (b, a))]


@footgun
def objects_that_die_and_leave_their_address(wrap):
    class Scale:
        def __init__(self, by):
            self.by = by

    f = wrap(lambda x, scale: x * scale.by)
    return [f(whole(3), Scale(float(k % 3))) for k in range(9)] + [f(whole(3), s) for s in [Scale(4.0)] * 3]


@footgun
def looked_at_then_written_then_asked(wrap):
    def f(a):
        a = a.clone()[0:1]
        b = a.squeeze()
        a[0] = 0
        if a[0] < 5:
            a[0] = 2
        return b

    f = wrap(f)
    return [f(whole(1, seed=k)) for k in range(4)]


@footgun
def places_computed_and_added_to(wrap):
    def f(i, y):
        i = i + 10
        y[i] += y[i]

    f, found = wrap(f), []
    for k in range(3):
        y = whole(3, 4, seed=k)
        f(tracec.tensor([-10, -8]), y)
        found.append(y)
    return found


@footgun
def written_into_what_was_spread(wrap):
    def f(x, n):
        a = x.expand(n)
        a = a.clone()
        a[-1] = 3
        return a, x

    f = wrap(f)
    return [f(whole(1, seed=k), 3) for k in range(3)]


@footgun
def lambdas_of_a_loop_see_its_last_value(wrap):
    def f(x):
        made = [lambda y: y * k for k in range(4)]  # noqa: B023
        return sum(g(x) for g in made)

    f = wrap(f)
    return [f(whole(3, seed=k)) for k in range(3)]


@footgun
def cell_two_functions_up(wrap):
    by = 1.0

    def outer():
        def inner(x):
            def innermost(y):
                return y * by

            return innermost(x)

        return inner

    f, found = wrap(outer()), []
    for value in (1.0, 1.0, 2.0, 3.0, 3.0):
        by = value
        found.append(f(whole(3)))
    return found


@footgun
def attribute_that_is_looked_up_by_getattr(wrap):
    class Config:
        def __init__(self):
            self.values = {"by": 2.0}

        def __getattr__(self, name):
            try:
                return self.__dict__["values"][name]
            except KeyError:
                raise AttributeError(name) from None

    config = Config()
    f, found = wrap(lambda x: x * config.by), []
    for value in (2.0, 2.0, 3.0, 3.0):
        config.values["by"] = value
        found.append(f(whole(3)))
    return found


@footgun
def property_over_hidden_state(wrap):
    class Schedule:
        def __init__(self):
            self._steps = [1.0, 2.0]

        @property
        def rate(self):
            return self._steps[-1] * len(self._steps)

    schedule = Schedule()
    f, found = wrap(lambda x: x * schedule.rate), []
    for value in (3.0, 4.0):
        found += [f(whole(3)), f(whole(3))]
        schedule._steps.append(value)
    return [*found, f(whole(3))]


@footgun
def cached_property_that_is_deleted(wrap):
    class Config:
        base = 2.0

        @functools.cached_property
        def by(self):
            return self.base * 2

    config = Config()
    f = wrap(lambda x: x * config.by)
    found = [f(whole(3)), f(whole(3)), f(whole(3))]
    config.base = 3.0
    found.append(f(whole(3)))
    del config.by
    return found + [f(whole(3)), f(whole(3)), f(whole(3))]


@footgun
def method_of_a_base_replaced(wrap):
    class Base:
        def by(self):
            return 2.0

    class Derived(Base):
        def by(self):
            return super().by() * 2

        def __call__(self, x):
            return x * self.by()

    f = wrap(Derived())
    found = [f(whole(3)), f(whole(3))]
    Base.by = lambda self: 5.0
    return found + [f(whole(3)), f(whole(3))]


@footgun
def method_of_an_object_replaced(wrap):
    class A:
        def by(self):
            return 2.0

    a = A()
    f = wrap(lambda x: x * a.by())
    found = [f(whole(3)), f(whole(3))]
    a.by = lambda: 7.0
    found += [f(whole(3)), f(whole(3))]
    del a.by
    return [*found, f(whole(3))]


@footgun
def class_of_an_object_changed(wrap):
    class A:
        by = 2.0

    class B:
        by = 3.0

    a = A()
    f = wrap(lambda x: x * a.by)
    found = [f(whole(3)), f(whole(3))]
    a.__class__ = B
    return found + [f(whole(3)), f(whole(3))]


@footgun
def attribute_of_a_namespace(wrap):
    f, found = wrap(lambda x: x * settings.scale + float(settings.on)), []
    for value in (2.0, 2.0, 4.0, 4.0):
        settings.scale = value
        found.append(f(whole(3)))
    settings.on = True
    found.append(f(whole(3)))
    settings.on, settings.scale = False, 2.0
    return [*found, f(whole(3))]


@footgun
def environment_variable(wrap):
    f, found = wrap(lambda x: x * float(os.environ.get("TRACEC_FOOTGUN", "1"))), []
    for value in ("2", "2", "3", "3"):
        os.environ["TRACEC_FOOTGUN"] = value
        found.append(f(whole(3)))
    del os.environ["TRACEC_FOOTGUN"]
    return [*found, f(whole(3))]


@footgun
def containers_of_the_standard_library(wrap):
    last = collections.deque([1.0, 2.0], maxlen=3)
    counts = collections.Counter(a=1)
    grouped = collections.defaultdict(list, a=[1.0])
    ordered = collections.OrderedDict(a=1.0, b=2.0)

    def f(x):
        first = next(iter(ordered.values()))
        return x * last[-1] + counts["a"] + len(grouped["a"]) + first

    f = wrap(f)
    found = [f(whole(3)), f(whole(3))]
    last.append(5.0)
    found += [f(whole(3)), f(whole(3))]
    counts["a"] += 1
    found += [f(whole(3)), f(whole(3))]
    grouped["a"].append(2.0)
    found += [f(whole(3)), f(whole(3))]
    ordered.move_to_end("a")
    return found + [f(whole(3)), f(whole(3))]


@footgun
def key_that_is_missing_until_later(wrap):
    table = {}

    def f(x):
        try:
            return x * table["by"]
        except KeyError:
            return x

    f = wrap(f)
    found = [f(whole(3)), f(whole(3))]
    table["by"] = 3.0
    found += [f(whole(3)), f(whole(3))]
    del table["by"]
    return [*found, f(whole(3))]


@footgun
def flag_set_by_a_context(wrap):
    @contextlib.contextmanager
    def doubled():
        settings.on = True
        try:
            yield
        finally:
            settings.on = False

    f = wrap(lambda x: x * 2 if settings.on else x)
    found = [f(whole(3)), f(whole(3))]
    with doubled():
        found += [f(whole(3)), f(whole(3))]
    return [*found, f(whole(3))]


@footgun(eager="changes what nothing stands in for")
def cached_function_that_reads_a_global(wrap):
    @functools.lru_cache
    def scale(n):
        return settings.scale * n

    f = wrap(lambda x, n: x * scale(n))
    found = [f(whole(3), n) for n in (1, 1, 2, 2)]
    settings.scale = 9.0
    found += [f(whole(3), n) for n in (1, 2)]
    scale.cache_clear()
    found += [f(whole(3), n) for n in (1, 2, 1)]
    settings.scale = 2.0
    return found


@footgun
def autocast_on_and_off(wrap):
    a, b = whole(4, 4), whole(4, 4, seed=1)
    f, found = wrap(lambda x: x @ b), []
    for on in (False, False, True, True, False):
        with tracec.autocast("cpu", dtype=tracec.bfloat16, enabled=on):
            found.append(f(a))
    return found


@footgun
def attribute_of_a_module_of_the_users(wrap):
    config = types.ModuleType("config_of_the_user")
    config.sizes = types.ModuleType("config_of_the_user.sizes")
    config.by, config.sizes.most = 2.0, 3.0
    f, found = wrap(lambda x: x * config.by + config.sizes.most), []
    for by, most in ((2.0, 3.0), (2.0, 3.0), (4.0, 3.0), (4.0, 5.0), (4.0, 5.0)):
        config.by, config.sizes.most = by, most
        found.append(f(whole(3)))
    return found


@footgun
def module_imported_inside(wrap):
    config = types.ModuleType("config_of_the_user")
    config.by = 2.0
    sys.modules["config_of_the_user"] = config

    def f(x):
        import config_of_the_user
        from config_of_the_user import by

        return x * config_of_the_user.by + by

    f, found = wrap(f), []
    for by in (2.0, 2.0, 3.0, 3.0):
        config.by = by
        found.append(f(whole(3)))
    del sys.modules["config_of_the_user"]
    return found


@footgun
def operator_of_a_class_that_reads_a_global(wrap):
    class Table:
        def __getitem__(self, k):
            return settings.scale * k

        def __len__(self):
            return int(settings.scale)

    table = Table()
    f, found = wrap(lambda x: x * table[2] + len(table)), []
    for scale in (2.0, 2.0, 3.0, 3.0):
        settings.scale = scale
        found.append(f(whole(3)))
    settings.scale = 2.0
    return found


@footgun
def attribute_that_a_class_gets_later(wrap):
    class A:
        def __call__(self, x):
            return x * getattr(self, "by", 1.0)

    f = wrap(A())
    found = [f(whole(3)), f(whole(3))]
    A.by = 3.0
    found += [f(whole(3)), f(whole(3))]
    del A.by
    return [*found, f(whole(3))]


@footgun
def builtin_that_is_covered_by_a_global(wrap):
    f = wrap(lambda x: x * abs(-2.0))
    found = [f(whole(3)), f(whole(3))]
    globals()["abs"] = lambda v: 7.0
    found += [f(whole(3)), f(whole(3))]
    del globals()["abs"]
    return [*found, f(whole(3))]


@footgun
def bytes_and_arrays_of_python(wrap):
    flags, numbers = bytearray(b"ab"), array.array("d", [1.0, 2.0])
    f = wrap(lambda x: x * flags[0] + numbers[1])
    found = [f(whole(3)), f(whole(3))]
    flags[0] = 3
    found += [f(whole(3)), f(whole(3))]
    numbers[1] = 5.0
    return found + [f(whole(3)), f(whole(3))]


@footgun
def long_list_that_grows(wrap):
    items = [1.0] * 5000
    f = wrap(lambda x: x * len(items))
    found = [f(whole(3)), f(whole(3))]
    items.append(2.0)
    return found + [f(whole(3)), f(whole(3))]
