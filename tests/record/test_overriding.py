"""Classes with functions of their own: ``__torch_function__`` of duck types and of classes made of Tensor."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tracec
import tracec.nn.functional as F

HANDLED = {}


def implements(function):
    def mark(own):
        HANDLED[function] = own
        return own

    return mark


class Diagonal:
    """A multiple of the identity, as in PyTorch's guide to extending it."""

    def __init__(self, n, value):
        self.n, self.value = n, value

    def tensor(self):
        return self.value * tracec.eye(self.n)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func not in HANDLED or not all(issubclass(t, (tracec.Tensor, Diagonal)) for t in types):
            return NotImplemented
        return HANDLED[func](*args, **(kwargs or {}))


@implements(tracec.mean)
def mean(input):
    return input.value / input.n


@implements(tracec.add)
@implements(tracec.Tensor.add)
def add(input, other, **options):
    full = [x.tensor() if isinstance(x, Diagonal) else x for x in (input, other)]
    return tracec.add(*full, **options)


@implements(F.linear)
def linear(input, weight, bias=None):
    return "linear", input, weight, bias


@implements(tracec.cat)
def cat(tensors, dim=0):
    return len(tensors), dim


class Logged(tracec.Tensor):
    """Writes down what it is asked."""

    seen: list[str] = []

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.seen.append(func.__name__)
        return super().__torch_function__(func, types, args, kwargs)


class Labelled:
    """A tensor with a label, which what is computed from it has too."""

    def __init__(self, data, label):
        self.data, self.label = data, label

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        labels = [a.label for a in args if isinstance(a, cls)]
        found = func(*(a.data if isinstance(a, cls) else a for a in args), **(kwargs or {}))
        return cls(found, "".join(labels))


@pytest.fixture
def logged():
    Logged.seen.clear()
    return tracec.tensor([1.0, 2.0]).as_subclass(Logged)


def test_functions_ask_objects_that_are_no_tensors():
    d, t = Diagonal(2, 3.0), tracec.ones(2, 2)
    assert tracec.mean(d) == 1.5
    expected = [[4.0, 1.0], [1.0, 4.0]]
    for found in (tracec.add(d, t), tracec.add(t, d), tracec.add(t, other=d), t + d, d + t, t.add(d)):
        assert found.tolist() == expected
    assert tracec.add(d, t, alpha=2).tolist() == [[5.0, 2.0], [2.0, 5.0]]
    assert F.linear(t, d)[2] is d
    assert tracec.cat([t, d], dim=1) == (2, 1)


def test_what_none_of_them_handles_is_an_error():
    d, t = Diagonal(2, 3.0), tracec.ones(2)
    with pytest.raises(TypeError, match="sum: all __torch_function__ handlers returned NotImplemented: those of Diag"):
        tracec.sum(d)
    with pytest.raises(TypeError, match="unsupported operand"):
        t * d
    assert (t == d) is False
    with pytest.raises(TypeError, match="input must be a tensor"):
        tracec.mean(object())


def test_who_calls_the_function_again_ends_in_its_error():
    class Again:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    t = tracec.ones(2)
    for call in (lambda: tracec.add(t, Again()), lambda: tracec.sum(Again()), lambda: t + Again()):
        with pytest.raises(TypeError, match="Again given"):
            call()


def test_pytorchs_own_tensors_have_no_say():
    torch = pytest.importorskip("torch")
    t = tracec.ones(2)
    with pytest.raises(TypeError, match="takes tensors and numbers, Tensor given"):
        tracec.add(t, torch.ones(2))
    with pytest.raises(TypeError):
        t + torch.ones(2)


def test_labels_follow():
    a, b = Labelled(tracec.ones(2), "a"), Labelled(tracec.arange(2.0), "b")
    found = tracec.mul(tracec.add(a, b), 2)
    assert found.label == "ab" and found.data.tolist() == [2.0, 4.0]
    assert tracec.sum(found, dim=0, keepdim=True).data.tolist() == [6.0]
    assert tracec.sum(found, axis=0).data.item() == 6.0


def test_a_class_made_of_tensor_keeps_its_class():
    class Named(tracec.Tensor):
        pass

    x, t = tracec.ones(2, 3).as_subclass(Named), tracec.ones(2, 3)
    for found in (
        x + 1,
        1 - x,
        t + x,
        t @ x.T,
        x[0],
        x.sum(0),
        tracec.exp(x),
        F.relu(x),
        x.T,
        x.detach(),
        x.chunk(2)[1],
    ):
        assert type(found) is Named
    assert type(x.max(0).values) is Named and isinstance(x.max(0), tuple)
    assert type(x.shape) is tracec.Size and isinstance(x.item if x.numel() == 1 else x.tolist(), list)
    assert [type(p) for p in tracec.nn.Linear(3, 2).parameters()] == [tracec.nn.Parameter] * 2
    assert type(tracec.nn.Parameter(t) + 1) is tracec.Tensor
    assert type(tracec.nn.Linear(3, 2)(x)) is Named
    assert repr(x[0]) == "Named([1., 1., 1.])"


def test_classes_with_a_new_of_their_own():
    class Labelled(tracec.Tensor):
        @staticmethod
        def __new__(cls, data, label, **options):
            return super().__new__(cls, data, **options)

        def __init__(self, data, label):
            self.label = label

    x = Labelled([1.0, 2.0], "a")
    assert x.label == "a" and x.tolist() == [1.0, 2.0] and type(x + 1) is Labelled
    t = tracec.zeros(2)
    Labelled(t, "b")[0] = 5
    assert t.tolist() == [5, 0]  # as Tensor(t), a look at the same memory
    assert tracec.Tensor(2, 3).shape == (2, 3) and tracec.Tensor([1, 2]).dtype is tracec.float32


def test_gradients_go_through_a_class_made_of_tensor(logged):
    leaf = tracec.tensor([1.0, 2.0], requires_grad=True)
    loss = (leaf.as_subclass(Logged) ** 2).sum()
    assert type(loss) is Logged
    loss.backward()
    assert leaf.grad.tolist() == [2.0, 4.0]


def test_a_class_made_of_tensor_is_asked_first(logged):
    t = tracec.ones(2)
    asked = {
        "add": [logged + 1, 1 + logged, t + logged, tracec.add(t, logged), t.add(logged)],
        "sub": [logged - 1, t - logged],
        "__rsub__": [1 - logged],
        "__rtruediv__": [1 / logged],
        "matmul": [t @ logged],
        "relu": [F.relu(logged), logged.relu()],
        "split": [logged.split(1)[0]],
        "__getitem__": [logged[0]],
        "stack": [tracec.stack([t, logged])],
        "add_": [logged.add_(0)],
    }
    found = [type(x) for given in asked.values() for x in given]
    assert found == [Logged] * len(found)
    assert Logged.seen == [name for name, given in asked.items() for _ in given]
    Logged.seen.clear()
    with tracec.DisableTorchFunctionSubclass():
        assert type(logged + 1) is tracec.Tensor and type(tracec.exp(logged)) is tracec.Tensor
    assert Logged.seen == []


def test_attributes_are_asked_for_by_their_getters(logged):
    asked = []

    class Asking(tracec.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            asked.append(func)
            return super().__torch_function__(func, types, args, kwargs)

    x = tracec.ones(2, 3).as_subclass(Asking)
    assert x.shape == (2, 3) and x.dtype is tracec.float32 and type(x.T) is Asking
    assert asked[0] == tracec.Tensor.shape.__get__ and tracec.Tensor.T.__get__ in asked


def test_the_class_further_down_is_asked_first():
    order = []

    class Base(tracec.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            order.append((cls, set(types)))
            return NotImplemented if cls is Derived else super().__torch_function__(func, types, args, kwargs)

    class Derived(Base):
        pass

    a, b = tracec.ones(2).as_subclass(Base), tracec.ones(2).as_subclass(Derived)
    with pytest.raises(TypeError, match="those of Derived, Base"):
        tracec.add(a, b)
    assert [cls for cls, _ in order] == [Derived, Base] and order[0][1] == {Base, Derived}


def test_programs_without_such_classes_pay_nothing():
    code = """
import tracec, tracec.nn
from tracec.record.overriding import CLASSES
x = tracec.nn.Linear(2, 2)(tracec.ones(1, 2))
assert hasattr(x, "values") and hasattr(x, "to_sparse") and not x.is_sparse and not CLASSES
tracec.ones(2).to_sparse()
assert CLASSES
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_overrides():
    from tracec.overrides import handle_torch_function, has_torch_function, is_tensor_like

    def double(x):
        if has_torch_function((x,)):
            return handle_torch_function(double, (x,), x)
        return x * 2

    HANDLED[double] = lambda x: Diagonal(x.n, 2 * x.value)
    assert double(Diagonal(2, 1.0)).value == 2.0
    assert double(tracec.ones(1)).item() == 2.0
    assert is_tensor_like(Diagonal(1, 1.0)) and is_tensor_like(tracec.ones(1)) and not is_tensor_like(1.0)


def test_compiled_functions_take_them_as_they_are(logged):
    compiled = tracec.compile(lambda x: x.sum())
    for k in range(1, 6):
        assert type(compiled(logged)) is Logged and Logged.seen == ["sum"] * k
    assert "compiled, 2 hits" in str(compiled.explain())
    inner = tracec.compile(lambda x: x.sum().as_subclass(tracec.Tensor), fullgraph=True)
    assert [inner(logged).item() for _ in range(3)] == [3.0] * 3


def test_functions_are_the_same_objects_everywhere():
    assert tracec.relu is F.relu and tracec.sum is tracec.functions.sum


def test_classes_derived_from_containers_may_know_what_to_do_with_a_tensor():
    class Several(tuple):
        def __rmul__(self, other):
            return Several(other * x for x in self)

        def __radd__(self, other):
            return Several(other + x for x in self)

    many = Several((tracec.ones(2), tracec.arange(2.0)))
    assert [x.tolist() for x in tracec.tensor(3.0) * many] == [[3.0, 3.0], [0.0, 3.0]]
    assert [x.tolist() for x in tracec.tensor(3.0) + many] == [[4.0, 4.0], [3.0, 4.0]]
    with pytest.raises(TypeError):
        tracec.tensor(3.0) - many
    with pytest.raises(TypeError, match="mul: takes tensors and numbers, tuple given"):
        tracec.tensor(3.0) * (1.0, 2.0)
