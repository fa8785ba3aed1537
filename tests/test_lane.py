"""The short way of a call: taken where a call is like an earlier one, and by no call that is otherwise."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracec
from tracec import amp, func, nn
from tracec.autograd import forward_ad, graph
from tracec.record import promote
from tracec.record.state import PROCESS, STATE
from tracec.runtime.likeness import MOST
from tracec.specialisations import lane

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def numbers(*shape: int, seed: int = 0) -> Any:
    return tracec.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def settled(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The function compiled, and called until such calls take the short way."""
    compiled = tracec.compile(fn)
    for _ in range(3):
        compiled(*args, **kwargs)
    assert is_short(compiled, *args, **kwargs)
    return compiled


def is_short(compiled: Any, *args: Any, **kwargs: Any) -> bool:
    """Whether such a call takes the short way."""
    return any(short.is_like(args, kwargs) for short in compiled._known.lanes)


def facts(x: Any) -> tuple[Any, ...]:
    return type(x), x.dtype, x.shape, x.stride(), x.requires_grad, x.is_leaf, x.is_inference(), x.device


def compare(compiled: Any, *args: Any, **kwargs: Any) -> None:
    """A call gives what the function does."""
    expected, found = compiled.fn(*args, **kwargs), compiled(*args, **kwargs)
    assert facts(found) == facts(expected)
    assert np.allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-6, equal_nan=True)


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


#: Tensors that gradients go on through, or end at, and views: a call with one of a kind takes the short way of another.
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
        assert bool(compiled._known.lanes) == (count == MOST)
    compiled = settled(lambda *given: sum(given[1:], given[0]), *given[:MOST])
    given[MOST - 1] = given[0].detach()
    assert not is_short(compiled, *given[:MOST])
    compare(compiled, *given[:MOST])


def test_containers_among_the_arguments_take_the_long_way() -> None:
    compiled = tracec.compile(lambda x, items: x * items[0])
    x = numbers(3)
    for items in ([2.0], [2.0], [2.0], [3.0], (2.0,), (2.0,), (3.0,), [x], (x,)):
        compare(compiled, x, items)


# What is around -----------------------------------------------------------------------------------------


def in_a_level(call: Callable[[Any], Any], x: Any) -> Any:
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(call(forward_ad.make_dual(x, tracec.ones(4)))).tangent


def in_hooks(call: Callable[[Any], Any], x: Any) -> Any:
    w = tracec.ones(4, requires_grad=True)
    with graph.saved_tensors_hooks(lambda t: t * 2, lambda t: t):
        call(w * x).sum().backward()
    return w.grad


def within(mode: Any) -> Callable[[Callable[[Any], Any], Any], Any]:
    def run(call: Callable[[Any], Any], x: Any) -> Any:
        with mode():
            return call(x)

    return run


def of_default_dtype(call: Callable[[Any], Any], x: Any) -> Any:
    tracec.set_default_dtype(tracec.float64)
    try:
        return call(x)
    finally:
        tracec.set_default_dtype(tracec.float32)


AROUND: dict[str, Callable[[Callable[[Any], Any], Any], Any]] = {
    "no_grad": within(tracec.no_grad),
    "inference_mode": within(tracec.inference_mode),
    "autocast": within(lambda: amp.autocast("cpu", dtype=tracec.bfloat16)),
    "device": within(lambda: tracec.device("cpu")),
    "default dtype": of_default_dtype,
    "compiled": lambda call, x: tracec.compile(lambda x: call(x) * 2)(x),
    "vmap": lambda call, x: func.vmap(call)(tracec.stack([x, x * 2])),
    "grad": lambda call, x: func.grad(lambda x: call(x).sum())(x),
    "hessian": lambda call, x: func.hessian(lambda x: call(x).sum())(x),
    "jvp": lambda call, x: func.jvp(call, (x,), (tracec.ones(4),))[1],
    "dual level": in_a_level,
    "hooks of what is saved": in_hooks,
}


@pytest.mark.parametrize("around", AROUND)
def test_modes_around(around: str) -> None:
    def fn(x: Any) -> Any:
        return x.reshape(2, 2) @ x.reshape(2, 2) + tracec.zeros(2, 2) if x.ndim == 1 and x.shape[0] == 4 else x * x

    x = numbers(4)
    compiled = settled(fn, x)
    run = AROUND[around]
    for _ in range(3):
        expected, found = run(fn, x), run(compiled, x)
        assert facts(found) == facts(expected)
        assert np.allclose(
            found.detach().numpy(), expected.detach().numpy(), rtol=1e-2 if around == "autocast" else 1e-6
        )
        compare(compiled, x)


@pytest.mark.parametrize("around", ["no_grad", "device", "default dtype", "autocast"])
def test_modes_that_a_program_hangs_on(around: str) -> None:
    x = numbers(4)
    compiled = settled(lambda x: x * 2, x)
    seen = []
    AROUND[around](lambda x: seen.append(is_short(compiled, x)), x)
    assert seen == [False] and is_short(compiled, x)


@pytest.mark.parametrize("mode", ["recorder", "duals", "packing", "as_written", "device", "devices"])
def test_modes_that_let_a_function_run_otherwise(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = numbers(4)
    compiled = settled(lambda x: x * 2, x)
    monkeypatch.setattr(STATE, mode, object())
    assert not is_short(compiled, x)


def test_every_mode_in_the_key_of_a_call_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    x, seen = numbers(4), []
    compiled = settled(lambda x: x * 2, x)
    key = compiled._call((x,), {}).whole
    for holder, names in ((STATE, STATE.modes()), (PROCESS, vars(PROCESS)), (promote, {"DEFAULT_FLOAT": 0})):
        for name in names:
            with monkeypatch.context() as patch:
                patch.setattr(holder, name, (object(),))
                if compiled._call((x,), {}).whole != key:
                    seen.append(name)
                    assert not is_short(compiled, x)
    assert {"grad", "autocast", "device", "devices", "generators", "any_order", "DEFAULT_FLOAT"} <= {*seen}


def test_sums_in_any_order() -> None:
    x = numbers(4)
    compiled = settled(lambda x: x.sum(), x)
    before = tracec.get_deterministic_debug_mode()
    tracec.use_deterministic_algorithms(False)
    try:
        assert PROCESS.any_order and not is_short(compiled, x)
        compare(compiled, x)
    finally:
        tracec.set_deterministic_debug_mode(before)
        PROCESS.any_order = False
    assert not PROCESS.any_order and is_short(compiled, x)


GLOBAL = 2.0


@pytest.mark.parametrize("value", [3.0, 2, "missing"])
def test_a_global(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = numbers(3)
    compiled = settled(lambda x: x * GLOBAL, x)
    if value == "missing":
        monkeypatch.delitem(globals(), "GLOBAL")
        with pytest.raises(NameError):
            compiled(x)
        return
    monkeypatch.setitem(globals(), "GLOBAL", value)
    assert not is_short(compiled, x)
    for _ in range(3):
        compare(compiled, x)
    monkeypatch.undo()
    compare(compiled, x)


def test_a_cell() -> None:
    factor, x = 2.0, numbers(3)
    compiled = settled(lambda x: x * factor, x)
    factor = 3.0
    assert not is_short(compiled, x)
    compare(compiled, x)
    factor = 5.0
    for _ in range(3):
        compare(compiled, x)


def test_a_module() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    model.eval()
    x = numbers(2, 3)
    compiled = settled(lambda x: model(x).detach(), x)
    with tracec.no_grad():
        model[0].weight.fill_(1.0)
    assert is_short(compiled, x)
    compare(compiled, x)
    model[0].weight.data = tracec.zeros(3, 3)
    compare(compiled, x)
    model[0].weight = nn.Parameter(tracec.ones(3, 3))
    assert not is_short(compiled, x)
    compare(compiled, x)
    model.train()
    assert not is_short(compiled, x)
    model.eval()
    compare(compiled, x)


def test_a_tensor_from_around_that_is_another_each_time() -> None:
    w, x = numbers(4), numbers(4)
    compiled = tracec.compile(lambda x: x * w)
    for k in range(6):
        w = numbers(4, seed=k)
        compare(compiled, x)
    assert compiled._known.count < 4


class Slotted:
    __slots__ = ("factor",)


class Mapped(dict):  # type: ignore[type-arg]
    pass


def test_what_cannot_be_looked_at_quickly() -> None:
    slotted, mapped, x = Slotted(), Mapped(factor=2.0), numbers(4)
    slotted.factor = 2.0
    for f in (lambda x: x * slotted.factor, lambda x: x * mapped["factor"]):
        compiled = tracec.compile(f)
        for factor in (2.0, 2.0, 2.0, 3.0, 2.0):
            slotted.factor = mapped["factor"] = factor
            compare(compiled, x)


def test_a_tensor_from_around_that_is_an_argument_too() -> None:
    w = numbers(4)

    def fn(x: Any) -> Any:
        x += 1
        return x * w

    compiled = settled(fn, numbers(4))
    assert compiled(w).tolist() == ((numbers(4) + 1) * (numbers(4) + 1)).tolist()
    assert compiled(numbers(4)).tolist() == ((numbers(4) + 1) * w).tolist()


def test_a_value_that_is_asked_for() -> None:
    compiled = tracec.compile(lambda x: x * 2 if x.sum().item() > 0 else x - 1)
    for sign in (1, 1, 1, -1, -1, 1, -1):
        compare(compiled, tracec.ones(3) * sign)


def test_random_numbers_go_on() -> None:
    x = numbers(3)
    compiled = tracec.compile(lambda x: x + tracec.rand(3))
    tracec.manual_seed(0)
    found = [compiled(x).tolist() for _ in range(5)]
    tracec.manual_seed(0)
    assert found == [compiled.fn(x).tolist() for _ in range(5)]


# The way itself -----------------------------------------------------------------------------------------


def test_calls_are_counted_on_either_way() -> None:
    compiled = tracec.compile(lambda x: x * 2)
    for _ in range(6):
        compiled(numbers(3))
    (found,) = next(iter(compiled._known.values()))
    assert found.hits == 5


def test_calls_that_alternate() -> None:
    compiled = tracec.compile(lambda x, n: x * n)
    for k in range(12):
        compare(compiled, numbers(3 + k % 3), k % 2)
    compiled = tracec.compile(lambda x: x * 2)
    for k in range(3 * lane.MOST):
        compare(compiled, tracec.ones(3, dtype=(tracec.float32, tracec.int64, tracec.float64)[k % 3]))
    assert len(compiled._known.lanes) == 3
    for k in range(3 * lane.MOST):
        compare(compiled, tracec.ones(*([2] * (k % (lane.MOST + 2)))))
    assert len(compiled._known.lanes) == lane.MOST


def test_threads_have_modes_of_their_own() -> None:
    x = numbers(3).requires_grad_()
    y = numbers(3)
    compiled = tracec.compile(lambda y: y * x)
    found: list[bool] = []

    def work(enabled: bool) -> None:
        with tracec.set_grad_enabled(enabled):
            for _ in range(200):
                found.append(compiled(y).requires_grad is enabled)

    threads = [threading.Thread(target=work, args=(k % 2 == 0,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 800 and all(found)


def test_a_thread_that_has_set_no_mode_yet() -> None:
    x = numbers(3)
    compiled = settled(lambda x: x * 2, x)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append((is_short(compiled, x), compiled(x).tolist())))
    thread.start()
    thread.join()
    assert found == [(True, (x * 2).tolist())]


def test_attributes_that_each_thread_has_of_its_own() -> None:
    own, x = threading.local(), numbers(3)
    own.factor = 2.0
    compiled = tracec.compile(lambda x: x * own.factor)
    for _ in range(4):
        compare(compiled, x)
    found: list[Any] = []

    def work() -> None:
        own.factor = 3.0
        found.extend(compiled(x).tolist() for _ in range(3))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(x * 3).tolist()] * 3
    compare(compiled, x)


def test_a_thread_that_has_left_a_mode_as_it_is() -> None:
    x = numbers(3)
    with tracec.no_grad():
        compiled = settled(lambda x: x * 2, x)
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(is_short(compiled, x)))
    thread.start()
    thread.join()
    assert found == [False]


def test_no_short_way_without_the_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracec.runtime.likeness.host", lambda: None)
    compiled = tracec.compile(lambda x: x * 2)
    for _ in range(4):
        compare(compiled, numbers(3))
    assert compiled._known.lanes == ()


def test_no_short_way_where_calls_are_verified() -> None:
    compiled = tracec.compile(lambda x: x * 2, verify=True)
    for _ in range(4):
        compiled(numbers(3))
    assert compiled._known.lanes == ()


def test_the_profiler_sees_programs_on_the_short_way() -> None:
    x = numbers(3)
    compiled = settled(lambda x: x.sin() * 2, x)
    with tracec.profiler.profile() as profile:
        compiled(x)
    assert "compiled program" in [e.key for e in profile.key_averages()]


def test_an_error_in_a_call_leaves_the_next_one_right() -> None:
    x = numbers(3)
    compiled = settled(lambda x: x * 2, x)
    for wrong in ((), (x, x), (x, 1)):
        with pytest.raises(TypeError):
            compiled(*wrong)
    compare(compiled, x)


def test_names_of_classes_that_code_reads_leave_calls_short() -> None:
    class Settings:
        def __repr__(self) -> str:
            return type(self).__qualname__ + str(type(self).__doc__)

    settings = Settings()
    compiled = settled(lambda x: x * len(repr(settings)), numbers(3))
    Settings.__qualname__ = "Other"
    assert not is_short(compiled, numbers(3))
    compare(compiled, numbers(3))
