"""State that is easily overlooked: of functions, classes, threads, contexts, references, streams, and of libraries."""

from __future__ import annotations

import abc
import array
import contextlib
import contextvars
import functools
import gc
import importlib
import inspect
import math
import sys
import threading
import types
import weakref

import numpy as np

import tracec
from tests.footguns.harness import footgun, replaced, whole
from tracec import nn

settings = types.SimpleNamespace(k=2.0)
variable = contextvars.ContextVar("variable", default=2.0)
KNOB = 1.0


class Plain:
    pass


def changing(f, change):
    """Two calls, something that changes, two calls."""
    found = [f(whole(3)), f(whole(3))]
    change()
    return [*found, f(whole(3)), f(whole(3))]


@footgun
def bases_of_a_class(wrap):
    first, second, between = (type(n, (), {"k": k}) for n, k in (("A", 2.0), ("B", 7.0), ("C", 0.0)))
    del between.k
    cls = type("D", (between, first), {})
    d = cls()
    return changing(wrap(lambda x: x * d.k), lambda: setattr(cls, "__bases__", (between, second)))


@footgun
def attribute_that_a_module_computes(wrap):
    module = types.ModuleType("a_module_of_the_user")
    module.values = {"k": 2.0}
    exec("def __getattr__(name):\n    return values[name]", module.__dict__)
    return changing(wrap(lambda x: x * module.k), lambda: module.values.update(k=3.0))


@footgun
def functions_of_the_library_that_are_replaced(wrap):
    model = nn.Linear(3, 2, bias=False)
    with tracec.no_grad():
        model.weight.fill_(1.0)
    functions = [wrap(f) for f in (lambda x: model(x).detach(), lambda x: tracec.relu(x), lambda x: x.relu())]
    others = [wrap(f) for f in (lambda x: x * math.sqrt(4.0), lambda x: x * float(np.cos(0.0)))]
    forward, found = nn.Linear.forward, []
    for _ in range(2):
        found += [f(whole(3)) for f in (*functions, *others) for _ in range(2)]
        with contextlib.ExitStack() as stack:
            stack.enter_context(replaced(nn.Linear, "forward", lambda self, x: forward(self, x) * 10))
            stack.enter_context(replaced(tracec, "relu", lambda x: x * 100))
            stack.enter_context(replaced(tracec.Tensor, "relu", lambda x: x * 200))
            stack.enter_context(replaced(math, "sqrt", lambda v: 10.0))
            stack.enter_context(replaced(np, "cos", lambda v: 20.0))
            found += [f(whole(3)) for f in (*functions, *others) for _ in range(2)]
    return found


@footgun
def function_that_goes_by_types_and_learns_another(wrap):
    @functools.singledispatch
    def by(v, x):
        return x

    by.register(int)(lambda v, x: x * v)
    f = wrap(lambda x, v: by(v, x))
    found = [f(whole(3), v) for v in (2, "a", 2, "a")]
    by.register(str)(lambda v, x: x * 100)
    return found + [f(whole(3), v) for v in ("a", 2, "a")]


@footgun
def context_variable(wrap):
    def count(x):
        variable.set(variable.get() + 1)
        return x * variable.get()

    f, counted = wrap(lambda x: x * variable.get()), wrap(count)
    token = None
    found = [f(whole(3)), f(whole(3))]
    token = variable.set(5.0)
    found += [f(whole(3)), f(whole(3))]
    variable.reset(token)
    other = contextvars.copy_context()
    other.run(variable.set, 7.0)
    found += [other.run(f, whole(3)), f(whole(3))]
    found += [counted(whole(3)) for _ in range(5)] + [variable.get()]
    variable.set(2.0)
    return found


@footgun
def attributes_of_a_thread(wrap):
    local = threading.local()
    local.k = 2.0

    def count(x):
        local.k += 1
        return x * local.k

    f, counted, found = wrap(lambda x: x * local.k), wrap(count), []

    def work():
        local.k = 9.0
        found.extend([f(whole(3)), counted(whole(3)), local.k])

    found += [f(whole(3)), f(whole(3))]
    local.k = 3.0
    found += [f(whole(3)), *(counted(whole(3)) for _ in range(4)), local.k]
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return [*found, f(whole(3)), local.k]


@footgun(eager="only a weak reference")
def what_a_weak_reference_keeps(wrap):
    kept = Plain()
    kept.k = 2.0
    ref, table = weakref.ref(kept), weakref.WeakValueDictionary(a=kept)
    functions = [
        wrap(lambda x: x * (ref().k if ref() is not None else 100.0)),
        wrap(lambda x: x * (table["a"].k if "a" in table else 50.0)),
    ]
    found = [f(whole(3)) for f in functions for _ in range(2)]
    kept.k = 3.0
    found += [f(whole(3)) for f in functions for _ in range(2)]
    del kept
    gc.collect()
    return found + [f(whole(3)) for f in functions for _ in range(2)]


@footgun
def object_that_a_weak_reference_leads_back_to(wrap):
    root, leaf = Plain(), Plain()
    root.leaf, root.k, leaf.root, leaf.proxy = leaf, 2.0, weakref.ref(root), weakref.proxy(root)
    f = wrap(lambda x: x * root.leaf.root().k + root.leaf.proxy.k)
    return changing(f, lambda: setattr(root, "k", 3.0))


@footgun
def code_and_defaults_that_are_replaced(wrap):
    def f(x, k=2.0, *, j=1.0):
        return x * k * j

    def g(x, k=2.0, *, j=1.0):
        return x + k + j

    own, through = wrap(f), wrap(lambda x: f(x))
    found = []
    for change in (
        lambda: None,
        lambda: setattr(f, "__defaults__", (3.0,)),
        lambda: f.__kwdefaults__.update(j=5.0),
        lambda: setattr(f, "__kwdefaults__", {"j": 7.0}),
        lambda: setattr(f, "__code__", g.__code__),
    ):
        change()
        found += [own(whole(3)), through(whole(3)), own(whole(3)), through(whole(3))]
    return found


@footgun
def attributes_of_a_function(wrap):
    def f(x):
        f.calls += 1
        return x * f.k + f.calls

    f.calls, f.k = 0, 2.0
    compiled = wrap(f)
    found = [compiled(whole(3)) for _ in range(4)]
    f.k = 3.0
    return found + [compiled(whole(3)) for _ in range(4)] + [f.calls]


@footgun
def looks_at_dictionaries(wrap):
    d = {"k": 2.0}
    proxy, values, items = types.MappingProxyType(d), d.values(), d.items()
    f = wrap(lambda x: x * proxy["k"] + sum(values) + len(items))
    return changing(f, lambda: d.update(k=3.0, j=1.0))


@footgun
def looks_at_memory(wrap):
    flags = bytearray(b"abc")
    look = memoryview(flags)
    return changing(wrap(lambda x: x * look[0]), lambda: flags.__setitem__(0, 5))


@footgun
def long_containers(wrap):
    items, table, members = [1.0] * 5000, dict.fromkeys(range(5000), 1.0), set(range(5000))
    numbers, elements = array.array("d", [1.0] * 5000), np.ones(5000)
    tensors = [whole(1) for _ in range(5000)]
    functions = [
        wrap(lambda x: x * items[4999]),
        wrap(lambda x: x * table[4999]),
        wrap(lambda x: x * (1.0 if 77 in members else 2.0)),
        wrap(lambda x: x * numbers[4999]),
        wrap(lambda x: x * float(elements[4999])),
        wrap(lambda x: x * tensors[4999]),
    ]
    found = [f(whole(3)) for f in functions for _ in range(2)]
    items[4999] = table[4999] = numbers[4999] = elements[4999] = 5.0
    members.discard(77)
    members.add(-1)
    tensors[4999] = whole(1, seed=3)
    return found + [f(whole(3)) for f in functions for _ in range(2)]


@footgun
def long_list_that_is_written_to(wrap):
    items = [0.0] * 5000

    def f(x):
        items[4000] = items[4000] + 1
        return x * items[4000]

    f = wrap(f)
    return [f(whole(3)) for _ in range(5)] + [items[4000]]


@footgun
def shape_of_an_array_that_is_changed(wrap):
    table = np.ones((2, 3))
    return changing(wrap(lambda x: x * table.shape[0]), lambda: table.resize((3, 2), refcheck=False))


@footgun(eager="variables by their names")
def variables_by_their_names(wrap):
    global KNOB
    f = wrap(lambda x: x * globals()["KNOB"] + eval("KNOB"))
    found = [f(whole(3)), f(whole(3))]
    KNOB = 3.0
    found += [f(whole(3)), f(whole(3))]
    KNOB = 1.0
    return found


@footgun
def modules_of_a_network_beside_the_interpreter(wrap):
    """The name is that of `sys.modules`, too."""
    network = nn.Sequential(nn.Linear(3, 3), nn.ReLU())

    def f(x):
        if x.shape[0] > 100:
            print("large", file=sys.stderr)
        return network(x) * len(list(network.modules()))

    f = wrap(f)
    return [f(whole(2, 3)) for _ in range(3)]


@footgun(eager="sys.modules")
def modules_by_their_names_under_other_names(wrap):
    import sys as interpreter

    module = types.ModuleType("a_module_by_its_name")
    module.k = 2.0
    interpreter.modules["a_module_by_its_name"] = module

    def inside(x):
        import sys as inner

        return x * inner.modules["a_module_by_its_name"].k

    def one_or_other(x):
        return x * (interpreter if x.shape else tracec).modules["a_module_by_its_name"].k

    def taken(x):
        from sys import modules as some

        return x * some["a_module_by_its_name"].k

    functions = [wrap(lambda x: x * interpreter.modules["a_module_by_its_name"].k), *map(wrap, (inside, one_or_other))]
    functions.append(wrap(taken))
    found = [f(whole(3)) for f in functions for _ in range(3)]
    module.k = 3.0
    found += [f(whole(3)) for f in functions for _ in range(3)]
    del interpreter.modules["a_module_by_its_name"]
    return found


@footgun(eager="sys.modules")
def modules_by_their_names(wrap):
    module = types.ModuleType("a_module_by_its_name")
    module.k = 2.0
    sys.modules["a_module_by_its_name"] = module
    functions = [
        wrap(lambda x: x * sys.modules["a_module_by_its_name"].k),
        wrap(lambda x: x * importlib.import_module("a_module_by_its_name").k),
    ]
    found = [f(whole(3)) for f in functions for _ in range(3)]
    module.k = 3.0
    found += [f(whole(3)) for f in functions for _ in range(3)]
    del sys.modules["a_module_by_its_name"]
    return found


@footgun
def default_that_is_inspected(wrap):
    def g(x, k=2.0):
        return x

    f = wrap(lambda x: x * inspect.signature(g).parameters["k"].default)
    return changing(f, lambda: setattr(g, "__defaults__", (4.0,)))


@footgun(eager="frames of functions")
def variables_of_the_caller(wrap):
    def of_the_caller():
        return inspect.currentframe().f_back.f_locals["k"]

    def f(x, k):
        return x * of_the_caller()

    f = wrap(f)
    return [f(whole(3), k) for k in (1.0, 2.0, 3.0, 2.0)]


@footgun
def what_metaclasses_say(wrap):
    answer = [True]

    class Meta(type):
        k = 2.0

        def __instancecheck__(cls, instance):
            return answer[0]

    class Of(metaclass=Meta):
        pass

    f = wrap(lambda x: x * Of.k if isinstance(x, Of) else x)
    found = changing(f, lambda: setattr(Meta, "k", 3.0))
    answer[0] = False
    return [*found, f(whole(3)), f(whole(3))]


@footgun
def class_that_is_registered_with_another(wrap):
    class Abstract(abc.ABC):  # noqa: B024
        pass

    one = Plain()
    f = wrap(lambda x: x * 2 if isinstance(one, Abstract) else x)
    return changing(f, lambda: Abstract.register(Plain))


@footgun
def tensors_as_keys(wrap):
    a, b = whole(3), whole(3, seed=1)
    memo, members = {a: 5.0}, {a}
    f, g = wrap(lambda x: x * memo.get(x, 1.0)), wrap(lambda x: x * 2 if x in members else x)
    return [h(x) for h in (f, g) for x in (b, b, a, a, b, whole(3, seed=2), a)]


@footgun
def results_under_tensors(wrap):
    f, found = wrap(lambda x: {x: x * 2}), []
    for k in range(4):
        x = whole(3, seed=k)
        y = f(x)
        found += [next(iter(y)) is x, y[x]]
    return found
