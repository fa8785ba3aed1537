"""Objects that a function makes and returns, or keeps, are made anew by its program: equal, and shared as eagerly."""

from __future__ import annotations

import enum
import gc
import warnings
import weakref
from collections import OrderedDict, namedtuple

import pytest

import tracec as T
from tests.test_effects import agree, seen
from tracec import nn

X = T.tensor([[1.0, -2.0]])


class Output:
    kind = "output"

    def __init__(self, logits, loss=None):
        self.logits, self.loss = logits, loss

    def __repr__(self):  # asked by no program
        raise AssertionError


class Slotted:
    __slots__ = ("__weakref__", "a", "b")

    def __init__(self, a, b):
        self.a, self.b = a, b


class Fixed(Output):
    """Whose methods a program must not call."""

    def __init__(self, logits):
        self.__dict__.update(logits=logits, loss=None)

    def __setattr__(self, name, value):
        raise AssertionError


class ModelOutput(OrderedDict):
    def __init__(self, **items):
        super().__init__()
        for name, value in items.items():
            self[name] = value

    def __setitem__(self, name, value):
        super().__setitem__(name, value)
        object.__setattr__(self, name, value)


class Pair(namedtuple("Pair", "x y")):
    def __new__(cls, x):
        return super().__new__(cls, x, x * 2)


class Tagged(namedtuple("Tagged", "x")):
    pass


class Node:
    def __init__(self, x, parent=None):
        self.x, self.parent, self.children = x, parent, []
        if parent is not None:
            parent.children.append(self)


class Color(enum.Enum):
    RED = 1


def tagged(s, x):
    made = Tagged(x * 2)
    made.tag, made.more = "a", [x + 1]
    return made


def several_names(s, x):
    one = Output(x * 2)
    one.loss = one.logits
    s.last = one
    return [one, {"one": one, "other": Output(one)}]


def family(s, x):
    root = Node(x * 2)
    Node(x + 1, root)
    Node(x + 2, root)
    return root.children[1]


def kept_family(s, x):
    s.last = Node(x * 2)
    Node(s.last.x + 1, s.last)
    return s.last.children


def holds_itself(s, x):
    made = {"x": x * 2, "list": []}
    made["me"] = made
    made["list"].append(made["list"])
    return made


def appended(s, x):
    s.log.append(Output(x * 2, s.steps))
    s.steps += 1
    return x


def read_next_time(s, x):
    before = x if s.last is None else s.last.logits
    s.last = Output(before + x)
    return before * 2


def values(s, x):
    total = (x * 2).sum().item()
    return Output(total, Slotted((total, x), total + 1))


def keyed(s, x):
    y, one = x * 2, Output(x)
    return {y: 1, x: [y], "a": one}, {one: y}


def marked(s, x):
    y = x * 2
    y.tag = "a"
    return y, y.view(-1)


def decided(s, x):
    return Output(x * 2) if x.sum() > -3 else Slotted(x, "negative")


def unfinished(s, x):
    made = Output.__new__(Output)
    made.extra = x * 2
    return made


def leaves(s, x):
    w = (x * 2).detach().requires_grad_()
    (w * w).sum().backward()
    return w, w.grad, nn.Parameter(x + 1), nn.Parameter(x, requires_grad=False), x.detach().requires_grad_()


MADE = {
    "an object": lambda s, x: Output(x * 2, x.sum()),
    "slots": lambda s, x: Slotted(x * 2, 3),
    "an empty slot": lambda s, x: Slotted.__new__(Slotted),
    "no method is called": lambda s, x: Fixed(x * 2),
    "a dictionary with attributes": lambda s, x: ModelOutput(logits=x * 2, loss=x.sum()),
    "a named tuple made otherwise": lambda s, x: Pair(x),
    "a named tuple with attributes": tagged,
    "nested": lambda s, x: Output([Output(x + 1)], {"k": Slotted(Output(x), (Output(x.sum()), Color.RED))}),
    "one object under several names": several_names,
    "objects that know each other": family,
    "such objects that are kept": kept_family,
    "a dictionary that holds itself": holds_itself,
    "appended": appended,
    "read by the next call": read_next_time,
    "numbers": values,
    "objects and tensors as keys": keyed,
    "tensors with attributes": marked,
    "by a decision": decided,
    "made without its class's constructor": unfinished,
    "leaves": leaves,
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_is_what_eager_calls_make(name):
    agree(MADE[name], most=4)


def test_each_call_makes_its_own():
    f = T.compile(lambda x: Output(x * 2, [x]))
    made = [f(X) for _ in range(3)]
    made[1].loss.append(1)
    made[1].extra = 2
    assert [sorted(vars(m)) for m in made] == [["logits", "loss"], ["extra", "logits", "loss"], ["logits", "loss"]]
    assert [len(m.loss) for m in made] == [1, 2, 1] and f.explain().specialisations[0].hits == 2


def module(x):
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)).eval()


def optimiser(x):
    model = nn.Linear(2, 2)
    return model, T.optim.Adam(model.parameters(), lr=0.1)


def stepped(x):
    model = nn.Linear(2, 2)
    made = T.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    model(x).sum().backward()
    made.step()
    return model, made


def stepped_with_schedule(x):
    model, made = stepped(x)
    schedule = T.optim.lr_scheduler.StepLR(made, 1, gamma=0.5)
    schedule.step()
    return model, made


@pytest.mark.parametrize("make", [optimiser, stepped, stepped_with_schedule, lambda x: (module(x), None)])
def test_modules_and_optimisers_that_are_made_work(make):
    compiled, found = T.compile(make), []
    for function in (make, compiled):
        T.manual_seed(0)
        for k in range(3):
            model, made = function(X + k)
            if made is not None:
                assert all(p is q for p, q in zip(model.parameters(), made.param_groups[0]["params"], strict=True))
                model(X).square().sum().backward()
                made.step()
                made.zero_grad()
            found.append(seen((list(model(X)), dict(model.state_dict()), made and str(made.state_dict()))))
    assert found[:3] == found[3:] and compiled.explain().specialisations[0].hits == 2


def test_gradients_end_at_leaves_that_are_made():
    def function(x):
        w = T.ones(2, requires_grad=True)
        return w, (w * x).sum() + (w * w).sum()

    compiled = T.compile(function)
    for k in range(3):
        w, loss = compiled(X[0] * k)
        loss.backward()
        assert w.grad.tolist() == (X[0] * k + 2).tolist() and w.is_leaf
    assert compiled.explain().specialisations[0].hits == 2


class Kind(T.Tensor):
    pass


class Same(T.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, g):
        return g * 2


#: What gives another look at an argument's memory.
LOOKS = {
    "detach": lambda x: x.detach(), "data": lambda x: x.data, "parameter": nn.Parameter, "buffer": nn.Buffer,
    "frozen parameter": lambda x: nn.Parameter(x, requires_grad=False), "Tensor": T.Tensor,
    "FloatTensor": T.FloatTensor, "class": Kind, "as_subclass": lambda x: x.as_subclass(Kind), "function": Same.apply,
    "transform": lambda x: T.func.vjp(lambda y: y, x)[0],
}  # fmt: skip


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", LOOKS)
def test_looks_at_an_argument_are_of_that_call(name, grad):
    look = LOOKS[name]
    compiled = T.compile(look)
    for k in range(3):
        x = T.full((2,), float(k), requires_grad=grad)
        made, expected = compiled(x), look(x)
        assert type(made) is type(expected) and made.requires_grad == expected.requires_grad
        assert made.detach().tolist() == [k, k] and made.data_ptr() == x.data_ptr() and made is not x
    assert compiled.explain().specialisations[0].hits == 2


EXISTING = Output(X)
REGISTRY: list[weakref.ref] = []


class Registered:
    def __init__(self, x):
        self.x = x
        REGISTRY.append(weakref.ref(self))


class Deleted:
    def __del__(self):
        pass


def hooked(x):
    w = x.detach().requires_grad_()
    w.register_hook(lambda g: g * 2)
    return w


def of_a_class_that_is_made(x):
    class Local:
        pass

    return Local()


def nested_deep(x):
    made = Output(x)
    for _ in range(300):
        made = Output(made)
    return made


def collected(x):
    made = Output(x)
    gc.collect()
    return made


REFUSED = {
    "one with a weak reference": (lambda x: Registered(x), ""),
    "one that is told when it goes": (lambda x: Deleted(), "of type Deleted that it may have made"),
    "one of a class that is made": (of_a_class_that_is_made, "of type Local that it may have made"),
    "an iterator": (lambda x: iter([x]), "of type list_iterator that it may have made"),
    "a leaf with hooks": (hooked, "that gradients end at and that has hooks"),
    "nested too deep": (nested_deep, "nested too deep"),
    "what is too old to tell": (collected, "gc.collect"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_made_anew_runs_eagerly(name):
    function, why = REFUSED[name]
    compiled, found = T.compile(function), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for k in range(3):
            found.append(compiled(X[0] + k))
    assert len({id(v) for v in found}) == 3 and why in str(compiled.explain()), compiled.explain()
    assert "no program:" in str(compiled.explain())


def test_an_object_that_was_there_is_given_itself():
    import logging  # whose objects no function that names it reaches

    logging.getLogger("of a test of made objects").extra = EXISTING
    compiled = T.compile(lambda x: logging.getLogger("of a test of made objects").extra)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        assert all(compiled(X) is EXISTING for _ in range(3))


def test_verified_calls_look_into_objects():
    compiled = T.compile(lambda x: Output(x * 2, Slotted(x.sum().item(), x)), verify=True)
    for k in range(3):
        assert compiled(X + k).loss.a == (X + k).sum().item()


def test_classes_that_functions_use_live_no_longer_than_these():
    def used():
        class Box:
            def __init__(self):
                self.factor = 2.0

        box = Box()
        compiled = T.compile(lambda x: x * box.factor)
        assert [compiled(T.ones(1)).item() for _ in range(3)] == [2.0] * 3
        return weakref.ref(Box)

    found = [used() for _ in range(2)]
    gc.collect()
    assert [one() for one in found] == [None, None]
