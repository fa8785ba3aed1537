"""The fast path of a call: taken where a call is like an earlier one, and by no call that is otherwise."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracec
from tests.fast_paths import compare, facts, is_short, numbers, settled
from tracec import nn
from tracec.runtime.call_guard import MOST

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


# Arguments ----------------------------------------------------------------------------------------------


class Derived(tracec.Tensor):
    pass


class Mine(np.ndarray):
    pass


def moved(x: Any) -> Any:
    """It looks at other memory than it did, of another shape."""
    x.data = numbers(2, 3)
    return x


def marked(x: Any) -> Any:
    x.scale = 3.0
    return x


def hooked(x: Any) -> Any:
    x.requires_grad_().register_hook(lambda grad: grad)
    return x


def of_another_class(x: Any) -> Any:
    x.__class__ = nn.Parameter
    return x


OTHERS: dict[str, Callable[[Any], Any]] = {
    "shape": lambda x: numbers(5, 5),
    "rank": lambda x: numbers(4, 4, 1),
    "no axes": lambda x: numbers(),
    "empty": lambda x: numbers(0, 4),
    "dtype": lambda x: x.double(),
    "integers of the same size": lambda x: x.to(tracec.int32),
    "transposed": lambda x: x.t(),
    "view": lambda x: numbers(8, 4)[:4],
    "strided view": lambda x: numbers(4, 8)[:, ::2],
    "view of the whole": lambda x: x.view(4, 4),
    "transposed in memory": lambda x: tracec.from_numpy(np.asfortranarray(x.numpy())),
    "reversed in memory": lambda x: tracec.from_numpy(x.numpy()[:, ::-1]),
    "bytes in another order": lambda x: tracec.from_numpy(x.numpy().astype(">f4")),
    "requires grad": lambda x: x.clone().requires_grad_(),
    "result of what requires grad": lambda x: x.clone().requires_grad_() * 1,
    "hooked": lambda x: hooked(x.clone()),
    "parameter": lambda x: nn.Parameter(x),
    "parameter without gradients": lambda x: nn.Parameter(x, requires_grad=False),
    "derived": lambda x: x.as_subclass(Derived),
    "marked": lambda x: marked(x.clone()),
    "moved": moved,
    "class changed": lambda x: of_another_class(x.clone()),
    "array of a class of its own": lambda x: tracec.from_numpy(x.numpy().view(Mine)),
}


@pytest.mark.filterwarnings("ignore:.*of type Derived:RuntimeWarning")
@pytest.mark.parametrize("other", OTHERS)
def test_another_tensor_takes_the_long_way(other: str) -> None:
    def fn(x: Any) -> Any:
        return tracec.add(x, 1) * getattr(x, "scale", 2.0)

    x = numbers(4, 4)
    compiled = settled(fn, x)
    x = OTHERS[other](x)
    assert not is_short(compiled, x)
    for _ in range(3):
        compare(compiled, x)
    compare(compiled, numbers(4, 4))


@pytest.mark.parametrize("make", [lambda x: x.detach(), lambda x: x.clone(), lambda x: x + 1, lambda x: x[:].clone()])
def test_tensors_of_many_makings_are_alike(make: Callable[[Any], Any]) -> None:
    compiled = settled(lambda x: x.sin() * 2 + x, numbers(4, 4))
    x = make(numbers(4, 4, seed=1))
    assert is_short(compiled, x)
    compare(compiled, x)


#: Tensors that gradients go on through, or end at, and views: a call with one of a kind takes the fast path of another.
KINDS: dict[str, Callable[[Any], Any]] = {
    "leaf": lambda x: x.detach().clone().requires_grad_(),
    "parameter": lambda x: nn.Parameter(x.detach().clone()),
    "result": lambda x: x.detach().clone().requires_grad_() * 1,
    "view": lambda x: tracec.cat([x.detach()] * 2)[:4],
    "view of a view": lambda x: tracec.stack([x.detach()] * 3)[1:][1][:4],
    "view without a base": lambda x: tracec.cat([x] * 2)[4:].detach(),
}  # fmt: skip


def with_gradients(call: Callable[[Any], Any], x: Any) -> Any:
    """What a call gives, and what its gradients are by a leaf that the argument is, or was made of."""
    out = call(x)
    if not out.requires_grad:
        return facts(out), out.tolist()
    x.retain_grad()
    (out * out).sum().backward()
    return facts(out), out.tolist(), x.grad.tolist()


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_tensors_of_every_kind_take_a_short_way_of_their_own(kind: str, grad: bool) -> None:
    def fn(x: Any) -> Any:
        return (x + 1) * 2

    make = KINDS[kind]
    with tracec.set_grad_enabled(grad):
        compiled = tracec.compile(fn)
        for k in range(4):
            compiled(make(numbers(4, 4, seed=k)))
        x = make(numbers(4, 4, seed=5))
        assert is_short(compiled, x)
        assert with_gradients(compiled, x) == with_gradients(fn, make(numbers(4, 4, seed=5)))
        for other in (*KINDS.values(), lambda x: x.clone()):
            x = other(numbers(4, 4, seed=6))
            assert with_gradients(compiled, x) == with_gradients(fn, other(numbers(4, 4, seed=6)))


def test_flags_and_hooks_that_come_and_go() -> None:
    seen: list[float] = []
    x = KINDS["leaf"](numbers(3))
    compiled = settled(lambda x: x * 2, x)
    x.requires_grad_(False)
    assert not is_short(compiled, x) and not compiled(x).requires_grad
    x.requires_grad_()
    assert is_short(compiled, x) and compiled(x).requires_grad
    handle = x.register_hook(lambda grad: seen.append(grad.sum().item()))
    assert not is_short(compiled, x)
    compiled(x).sum().backward()
    assert seen == [6.0]
    handle.remove()
    compiled(x).sum().backward()
    assert seen == [6.0] and x.grad.tolist() == [4.0] * 3


def test_views_whose_base_changes() -> None:
    base = numbers(2, 3)
    x = base[1]
    compiled = settled(lambda x: x * 2, x)
    base.requires_grad_()
    y = base[1]
    assert not is_short(compiled, y) and compiled(y).requires_grad
    base.requires_grad_(False)
    base.mul_(2)
    assert is_short(compiled, x)
    compare(compiled, x)
    base.mul_(numbers(2, 3).requires_grad_())
    assert not is_short(compiled, x) and compiled(x).requires_grad
    compare(compiled, x)


def test_views_that_are_written_into() -> None:
    def fn(x: Any) -> Any:
        x += 1
        return x.view(-1)[0] * 2

    bases = [numbers(4, 3) for _ in range(2)]
    compiled = tracec.compile(fn)
    for k in range(12):
        for base, call in zip(bases, (fn, compiled), strict=True):
            call(base[k % 4] if k % 3 else base[:, k % 3])
        assert bases[0].tolist() == bases[1].tolist()


def test_views_of_memory_that_the_function_reaches() -> None:
    w = numbers(2, 3)
    compiled = tracec.compile(lambda x: w.add_(1)[0] + x * 2)
    for x in (numbers(3), numbers(2, 3)[1], w[1], numbers(2, 3)[0], w[0], numbers(3)):
        before, again = w.clone(), x.clone()
        found = compiled(x)
        shared = x.untyped_storage().data_ptr() == w.untyped_storage().data_ptr()
        expected = (before + 1)[0] + (again + shared) * 2
        assert np.allclose(found.numpy(), expected.numpy())
        w.copy_(before)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: (x * 2, x + 1), lambda x: [x * 2], lambda x: ((x * 2,),), lambda x: [(x * 2,), [x + 1]], lambda x: (),
        lambda x: {"a": x * 2}, lambda x: (x, x * 2), lambda x: (x[0], x * 2), lambda x: [x * 2] * 2,
        lambda x: ((y := x * 2), y[1:]), lambda x: ((x * 2).t(), x + 1), lambda x: (x * 2, 3.0),
        lambda x: (x * 2, None),
    ],
)  # fmt: skip
def test_results_of_every_structure(fn: Callable[[Any], Any]) -> None:
    def told(value: Any, memory: dict[int, int]) -> Any:
        if isinstance(value, tracec.Tensor):
            place = memory.setdefault(value.untyped_storage().data_ptr(), len(memory))
            return facts(value), value.tolist(), place, memory.setdefault(id(value), len(memory))
        if isinstance(value, dict):
            return {k: told(v, memory) for k, v in value.items()}
        return type(value)(told(v, memory) for v in value) if isinstance(value, (tuple, list)) else value

    x = numbers(3, 3)
    compiled = tracec.compile(fn)
    for _ in range(4):
        assert told(compiled(x), {}) == told(fn(x), {})
    first, second = compiled(x), compiled(x)
    if isinstance(first, (tuple, list)) and first and first[-1] is not x and isinstance(first[-1], tracec.Tensor):
        first[-1].zero_()
        assert told(second, {}) == told(fn(x), {})


def test_what_an_argument_holds_now_counts() -> None:
    x = numbers(7)
    compiled = settled(lambda x: x * 2, x)
    x += 1
    compare(compiled, x)
    x.data = numbers(7, seed=5)
    assert is_short(compiled, x)
    compare(compiled, x)


def test_results_are_apart() -> None:
    x = numbers(7)
    compiled = settled(lambda x: x * 2, x)
    first, second = compiled(x), compiled(x)
    first += 1
    assert second.tolist() == (x * 2).tolist() and x.tolist() == numbers(7).tolist()


class Callable_:
    factor = 2.0

    def __call__(self, x: Any) -> Any:
        return x * self.factor


@pytest.mark.parametrize(
    "first, other",
    [
        (2, 2.0), (2, 3), (1, True), (0.0, -0.0), ("add", "sub"), (None, 0), (b"a", b"b"), (1j, 2j),
        (float("nan"), 1.0), (Callable_(), Callable_()), (range(2), range(3)),
    ],
)  # fmt: skip
def test_another_value(first: Any, other: Any) -> None:
    def fn(x: Any, a: Any) -> Any:
        if callable(a):
            return a(x)
        if isinstance(a, (int, float, complex)):
            return x / a + a
        return x - 1 if a in ("sub", b"b") else x * (len(a) if isinstance(a, range) else 2)

    x = numbers(3)
    if type(first) is range:  # it is made anew at most calls
        assert tracec.compile(fn)(x, first) is not None
        return
    compiled = settled(fn, x, first)
    assert not is_short(compiled, x, other)
    for a in (other, first, other):
        with np.errstate(all="ignore"):
            compare(compiled, x, a)


def test_an_object_whose_attributes_change() -> None:
    given, x = Callable_(), numbers(3)
    compiled = settled(lambda x, f: f(x), x, given)
    given.factor = 5.0
    assert not is_short(compiled, x, given)
    compare(compiled, x, given)


def test_an_object_whose_class_changes() -> None:
    class Other(Callable_):
        factor = 7.0

    given, x = Callable_(), numbers(3)
    compiled = settled(lambda x, f: f(x), x, given)
    given.__class__ = Other
    assert not is_short(compiled, x, given)
    compare(compiled, x, given)


def test_by_position_and_by_name() -> None:
    def fn(x: Any, y: Any = None, *, z: Any = 1.0) -> Any:
        return x * 2 - z if y is None else (x - y) * z

    x, y = numbers(3), numbers(3, seed=1)
    compiled = settled(fn, x, y=y)
    assert is_short(compiled, y, y=x)
    compare(compiled, y, y=x)
    for args, kwargs in [
        ((x, y), {}), ((x,), {}), ((), {"x": x, "y": y}), ((), {"y": y, "x": x}), ((x,), {"z": y}), ((x,), {"y": None}),
        ((x,), {"y": y, "z": 2.0}), ((x,), {"z": 2.0, "y": y}),
    ]:  # fmt: skip
        assert not is_short(compiled, *args, **kwargs)
        for _ in range(3):
            compare(compiled, *args, **kwargs)
    with pytest.raises(TypeError):
        compiled(x, y=y, other=1)


def test_a_tensor_by_name_behind_a_number() -> None:
    compiled = settled(lambda n, x: x * n, 3, x=numbers(3))
    x = numbers(3, seed=2)
    assert is_short(compiled, 3, x=x)
    compare(compiled, 3, x=x)


def test_tensors_that_share_memory() -> None:
    def fn(x: Any, y: Any) -> Any:
        x += y
        return x * y

    compiled = settled(lambda x, y: x * 2 + y, numbers(4), numbers(4))
    x = numbers(4)
    for other in (x, x.detach(), x.view(4)):
        assert not is_short(compiled, x, other)
        compare(compiled, x, other)

    compiled = settled(fn, numbers(4), numbers(4))
    for make in (lambda x: x, lambda x: x.detach(), lambda x: x[:]):
        a, b = numbers(4), numbers(4)
        found, expected = compiled(a, make(a)), fn(b, make(b))
        assert found.tolist() == expected.tolist() and a.tolist() == b.tolist()


def test_many_tensors() -> None:
    for count in (MOST, MOST + 1):
        compiled = tracec.compile(lambda *given: sum(given[1:], given[0]))
        given = [numbers(3, seed=k) for k in range(count)]
        for _ in range(4):
            compare(compiled, *given)
        assert bool(compiled._known.fast_paths) == (count == MOST)
    compiled = settled(lambda *given: sum(given[1:], given[0]), *given[:MOST])
    given[MOST - 1] = given[0].detach()
    assert not is_short(compiled, *given[:MOST])
    compare(compiled, *given[:MOST])


def test_containers_among_the_arguments_take_the_long_way() -> None:
    compiled = tracec.compile(lambda x, items: x * items[0])
    x = numbers(3)
    for items in ([2.0], [2.0], [2.0], [3.0], (2.0,), (2.0,), (3.0,), [x], (x,)):
        compare(compiled, x, items)
