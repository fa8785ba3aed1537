"""Values that leave by side doors, state of the interpreter and of libraries, and texts of classes."""

from __future__ import annotations

import abc
import copy
import decimal
import io
import json
import logging
import pickle
import sys
import types
import xml.etree.ElementTree as ElementTree

import numpy as np

import tracec
from tests.footguns.harness import footgun, tensor, whole
from tests.footguns.hidden import changing
from tracec import nn


def several(f):
    return [f(whole(3, seed=k)) for k in range(4)]


# Values that leave and come back ----------------------------------------------------------------------------


@footgun
def deep_copy_of_what_was_computed(wrap):
    return several(wrap(lambda x: copy.deepcopy(x * 2) + 1))


@footgun
def deep_copies_in_a_dictionary(wrap):
    def f(x):
        y = x * 2
        first, (second, third) = copy.deepcopy({"y": y, "both": [y, x]}).values()
        return first is second, first.add_(1), third, y

    return several(wrap(f))


@footgun
def deep_copy_of_a_module_that_is_trained_inside(wrap):
    model = nn.Linear(3, 2)
    with tracec.no_grad():
        model.weight.copy_(whole(2, 3))
        model.bias.zero_()

    def f(x):
        inner = copy.deepcopy(model)
        optimizer = tracec.optim.SGD(inner.parameters(), lr=0.5)
        inner(x).sum().backward()
        optimizer.step()
        return inner(x).detach(), model.weight.grad

    return changing(wrap(f), lambda: model.weight.data.mul_(2))


@footgun(eager="asks for the value of a tensor (pickle")
def what_was_pickled(wrap):
    return several(wrap(lambda x: pickle.loads(pickle.dumps(x * 2)) + 1))


@footgun(eager="asks for the value of a tensor (numpy")
def what_was_saved_and_loaded(wrap):
    def f(x):
        buffer = io.BytesIO()
        tracec.save({"x": x * 2}, buffer)
        buffer.seek(0)
        return tracec.load(buffer)["x"] + 1

    return several(wrap(f))


@footgun
def text_of_an_array_of_values(wrap):
    f = wrap(lambda x: str((x / 3).numpy()))
    found = []
    for digits in (8, 8, 2, 2, 8):
        with np.printoptions(precision=digits):
            found.append(f(tensor(3)))
    return found


# State of the interpreter and of libraries ------------------------------------------------------------------


@footgun
def list_of_the_interpreter(wrap):
    f = wrap(lambda x: x * len(sys.path))
    found = changing(f, lambda: sys.path.append("nowhere"))
    sys.path.remove("nowhere")
    return [*found, f(whole(3))]


@footgun(eager="reads the interpreter, sys.getrecursionlimit")
def limit_of_the_interpreter(wrap):
    limit = sys.getrecursionlimit()
    found = changing(wrap(lambda x: x * sys.getrecursionlimit()), lambda: sys.setrecursionlimit(limit + 1))
    sys.setrecursionlimit(limit)
    return found


@footgun(eager="reads the state of NumPy, numpy.geterr")
def errors_of_numpy(wrap):
    f = wrap(lambda x: x * len(np.geterr()["divide"]))
    found = [f(whole(3)), f(whole(3))]
    with np.errstate(divide="ignore"):
        found.append(f(whole(3)))
    return [*found, f(whole(3))]


@footgun
def precision_of_decimals(wrap):
    functions = [wrap(lambda x: x * float(decimal.Decimal(1) / 3)), wrap(lambda x: x * float(THIRD / 7))]
    found = []
    for digits in (28, 28, 2, 2, 28):
        with decimal.localcontext() as context:
            context.prec = digits
            found += [f(whole(3)) for f in functions]
    return found


THIRD = decimal.Decimal(1) / 3


@footgun(eager="what a Element keeps")
def tree_that_is_kept_in_c(wrap):
    tree = ElementTree.Element("a")
    return changing(wrap(lambda x: x * len(tree)), lambda: ElementTree.SubElement(tree, "b"))


@footgun
def level_of_a_logger_above(wrap):
    above, logger = logging.getLogger("footguns.above"), logging.getLogger("footguns.above.below")
    above.setLevel("WARNING")
    f = wrap(lambda x: x * 2 if logger.isEnabledFor(logging.INFO) else x)
    found = changing(f, lambda: above.setLevel("DEBUG"))
    logging.disable(logging.CRITICAL)
    found += [f(whole(3)), f(whole(3))]
    logging.disable(logging.NOTSET)
    return [*found, f(whole(3))]


# What classes and functions say of themselves ---------------------------------------------------------------


@footgun
def classes_that_are_derived_later(wrap):
    class Base:
        pass

    kept = []
    f = wrap(lambda x: x * len(Base.__subclasses__()))
    return changing(f, lambda: kept.append(type("Derived", (Base,), {})))


@footgun
def names_and_texts_of_classes(wrap):
    found = []
    for name, value in (("__name__", "Longer"), ("__qualname__", "A.B.C"), ("__module__", "m"), ("__doc__", "texts")):
        cls = type("Short", (), {"__doc__": "text"})
        f = {
            "__name__": lambda x, cls=cls: x * len(cls.__name__),
            "__qualname__": lambda x, cls=cls: x * len(cls.__qualname__),
            "__module__": lambda x, cls=cls: x * len(cls.__module__),
            "__doc__": lambda x, cls=cls: x * len(cls.__doc__),
        }[name]
        found += changing(wrap(f), lambda cls=cls, name=name, value=value: setattr(cls, name, value))
    return found


@footgun
def name_and_text_of_a_function(wrap):
    def g():
        """Text."""

    f = wrap(lambda x: x * len(g.__name__) + len(g.__doc__))
    return changing(f, lambda: setattr(g, "__name__", "longer")) + changing(f, lambda: setattr(g, "__doc__", "More."))


@footgun
def annotations_and_abstract_methods(wrap):
    class A(abc.ABC):
        a: int

        @abc.abstractmethod
        def g(self): ...

    f = wrap(lambda x: x * (len(A.__annotations__) + 10 * len(A.__abstractmethods__)))
    found = changing(f, lambda: A.__annotations__.update(b=int))
    return found + changing(f, lambda: setattr(A, "__abstractmethods__", frozenset()))


@footgun
def attributes_that_a_pattern_takes(wrap):
    class Pair:
        __match_args__ = ("a", "b")

    pair = Pair()
    pair.a, pair.b = 1.0, 2.0

    def f(x):
        match pair:
            case Pair(first, second):
                return x * first + second

    return changing(wrap(f), lambda: setattr(Pair, "__match_args__", ("b", "a")))


# What is left behind ----------------------------------------------------------------------------------------


@footgun
def attribute_of_a_tensor_from_outside_that_is_counted_up(wrap):
    w = whole(3)

    def f(x):
        w.tag = getattr(w, "tag", 0) + 1
        return x * w.tag

    f = wrap(f)
    return [*several(f), w.tag, *changing(f, lambda: setattr(w, "tag", 100)), w.tag]


@footgun
def attribute_that_a_tensor_from_outside_gets_later(wrap):
    w = whole(3)
    f = wrap(lambda x: x * getattr(w, "scale", 1.0) + hasattr(w, "shift"))
    found = changing(f, lambda: setattr(w, "scale", 5.0))
    return found + changing(f, lambda: setattr(w, "shift", 0)) + changing(f, lambda: delattr(w, "scale"))


@footgun(unserved="another key is there at each call")
def numbers_that_become_keys(wrap):
    state, table = types.SimpleNamespace(n=0), {}

    def f(x):
        state.n += 1
        table[state.n] = state.n * 2
        return x * table[state.n]

    return [*several(wrap(f)), table, [type(k).__name__ for k in table]]


@footgun
def sizes_that_are_given_to_c_code(wrap):
    f = wrap(lambda x: (json.dumps([x.shape[0], 2]), int.__add__(x.shape[0], 1), x * 2))
    return [f(whole(n)) for n in (3, 3, 4, 5, 4, 6, 6)]


@footgun
def methods_of_classes_and_of_objects_with_slots(wrap):
    class First:
        k = 2.0

        def of_class(cls, x):
            return x * cls.k

    class Second(First):
        k = 3.0

    class Slotted:
        __slots__ = ("k",)

        def times(self, x):
            return x * self.k

    First.of_class = classmethod(wrap(First.of_class))
    Slotted.times = wrap(Slotted.times)
    a, b = Slotted(), Slotted()
    a.k, b.k = 2.0, 3.0
    found = [f(whole(3)) for _ in range(2) for f in (First.of_class, Second.of_class, a.times, b.times)]
    First.k, a.k = 5.0, 7.0
    return found + [f(whole(3)) for _ in range(2) for f in (First.of_class, Second.of_class, a.times, b.times)]


# What tensors are besides their values ----------------------------------------------------------------------

READS = {
    "shape": (lambda w: w.shape[0], lambda w: setattr(w, "data", whole(7))),
    "numel": (lambda w: w.numel(), lambda w: w.resize_(2)),
    "len": (len, lambda w: setattr(w, "data", whole(7))),
    "ndim": (lambda w: w.ndim, lambda w: setattr(w, "data", whole(2, 2))),
    "dtype": (lambda w: w.dtype == tracec.float32, lambda w: setattr(w, "data", whole(4).double())),
    "element_size": (lambda w: w.element_size(), lambda w: setattr(w, "data", whole(4).double())),
    "stride": (lambda w: w.stride(0), lambda w: setattr(w, "data", whole(8)[::2])),
    "is_contiguous": (lambda w: w.is_contiguous(), lambda w: setattr(w, "data", whole(8)[::2])),
    "requires_grad": (lambda w: w.requires_grad, lambda w: w.requires_grad_()),
    "grad_fn": (lambda w: w.grad_fn is None, lambda w: w.add_(whole(4, g=True))),
    "class": (lambda w: isinstance(w, nn.Parameter), lambda w: setattr(w, "__class__", nn.Parameter)),
    "grad": (lambda w: w.grad is None, lambda w: setattr(w, "grad", whole(4))),
}


@footgun
def forms_of_tensors_that_nothing_is_computed_with(wrap):
    found = []
    for read, change in READS.values():
        w = whole(4)
        found += changing(wrap(lambda x, w=w, read=read: x * float(read(w))), lambda w=w, change=change: change(w))
    return found


@footgun
def element_type_of_a_parameter_that_is_not_used(wrap):
    model = nn.Linear(3, 2)
    f = wrap(lambda x: x.to(next(model.parameters()).dtype) * 2)
    return changing(f, model.double) + changing(f, model.half)


@footgun
def number_of_parameters_to_train(wrap):
    model = nn.Linear(3, 2)
    f = wrap(lambda x: x * sum(p.numel() for p in model.parameters() if p.requires_grad))
    return changing(f, lambda: model.bias.requires_grad_(False))


@footgun
def sizes_taken_from_tensors_that_are_not_used(wrap):
    w = whole(2, 3)
    found = []
    functions = [wrap(lambda x: x.expand_as(w) * 1), wrap(lambda x: x.sum() * tracec.ones_like(w))]
    functions += [wrap(lambda x: w.new_ones(2) * x[:2]), wrap(lambda x: x.to(tracec.result_type(x, w)))]
    for data in (w.data, whole(4, 3), whole(4, 3).double(), whole(2, 3)):
        w.data = data
        found += [f(whole(3)) for f in functions for _ in range(2)]
    return found


@footgun
def memory_of_the_same_form_that_comes_in_turn(wrap):
    w = whole(4)
    f, found = wrap(lambda x: x * len(w)), []
    for k in range(6):
        w.data = whole(4, seed=k)
        found.append(f(whole(3)))
    return found


@footgun(eager="where a tensor lies in memory, is_shared")
def where_tensors_lie_in_their_memory(wrap):
    memory, w = whole(8), whole(4)
    functions = [wrap(lambda x: x * x.storage_offset()), wrap(lambda x: x * x.untyped_storage().nbytes())]
    functions += [wrap(lambda x: x * (2 if x.is_set_to(w) else 3)), wrap(lambda x: x * (2 if x.is_shared() else 3))]
    arguments = [memory[2:6], memory[2:6], memory[1:5], whole(4), w, whole(4).share_memory_()]
    return [f(x) for f in functions for x in arguments]


@footgun
def where_a_tensor_from_outside_lies_in_its_memory(wrap):
    w = whole(4)
    return changing(wrap(lambda x: x * (1 + w.storage_offset())), lambda: setattr(w, "data", whole(8)[2:6]))


@footgun
def loggers_by_their_names(wrap):
    logging.getLogger("footguns.by").setLevel("WARNING")
    f = wrap(lambda x: x * logging.getLogger("footguns.by.name").getEffectiveLevel())
    return changing(f, lambda: logging.getLogger("footguns.by").setLevel("ERROR"))


@footgun(eager="reads a setting, get_float32_matmul_precision")
def settings_that_are_read(wrap):
    matmul = tracec.backends.cuda.matmul
    f = wrap(lambda x: x * (2 if tracec.get_float32_matmul_precision() == "highest" else 3))
    g = wrap(lambda x: x * (2 if matmul.allow_fp16_reduced_precision_reduction else 3))
    h = wrap(lambda x: x * (2 if tracec.backends.cuda.matmul.allow_fp16_reduced_precision_reduction else 3))
    found = changing(f, lambda: tracec.set_float32_matmul_precision("high"))
    tracec.set_float32_matmul_precision("highest")
    for k in range(6):
        matmul.allow_fp16_reduced_precision_reduction = k % 4 < 2
        found += [f(whole(3)), g(whole(3)), h(whole(3))]
    matmul.allow_fp16_reduced_precision_reduction = True
    return found
