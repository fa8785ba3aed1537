"""Every layer and loss of PyTorch's own module database: results, buffers, gradients, names of the state, text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # which PyTorch's test code imports

from torch.testing._internal.common_modules import ModuleErrorEnum, module_db  # noqa: E402

import tracec  # noqa: E402
from tests.conformance.bridge import Translation, dotted, name_of, tensors_in, to_numpy  # noqa: E402
from tests.conformance.comparison import SINGLE, close  # noqa: E402
from tracec.errors import DTypeError, TracecError  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # of what is deprecated, or slow, by either library

#: Samples of each module in each mode; of compiled ones fewer, since each compiles anew.
MOST, MOST_COMPILED = 8, 2
MODULES = {info.name.removeprefix("nn."): info for info in module_db}
WITH_ERRORS = [name for name, info in MODULES.items() if info.module_error_inputs_func is not None]
ACTIVATIONS = {torch.nn.functional.relu: "relu", torch.nn.functional.gelu: "gelu"}


class Layers(Translation):
    """A translation that also makes the layers that others are made of; their state is loaded into them later."""

    def __call__(self, value: Any) -> Any:
        if not isinstance(value, torch.nn.TransformerEncoderLayer):
            return super().__call__(value)
        attention, first = value.self_attn, value.linear1
        activation = ACTIVATIONS.get(value.activation, value.activation)
        return tracec.nn.TransformerEncoderLayer(
            attention.embed_dim, attention.num_heads, first.out_features, value.dropout.p, activation, value.norm1.eps,
            attention.batch_first, value.norm_first, first.bias is not None,
        )  # fmt: skip


class Run(NamedTuple):
    """What a module gave: results, its state behind the call, gradients of the inputs and of the parameters."""

    results: list[Any]
    state: dict[str, Any]
    gradients: list[Any]


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", MODULES)
def test_agrees_with_pytorch(name: str, training: bool) -> None:
    check(name, training, compiled=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_agrees_compiled(name: str) -> None:
    check(name, True, compiled=True)


@pytest.mark.parametrize("name", WITH_ERRORS)
def test_is_refused(name: str) -> None:
    info = MODULES[name]
    cases = info.module_error_inputs_func(
        info, device="cpu", dtype=torch.float32, requires_grad=False, training=True
    )  # fmt: skip
    for case in cases:
        made, given, translate = case.module_error_input.constructor_input, None, Layers()
        where = f"{name}{made.args}{made.kwargs}"
        error: Exception | None = None
        try:
            module = dotted(f"nn.{name}")(*map(translate, made.args), **translated(made, translate))
            given = case.module_error_input.forward_input
            if case.error_on is ModuleErrorEnum.FORWARD_ERROR:
                module(*map(translate, given.args), **translated(given, translate))
        except Exception as raised:
            error = raised
        assert isinstance(error, TracecError), f"{where}: {error!r}"
        assert isinstance(error, case.error_type) or (isinstance(error, DTypeError) and "dtype" in case.error_regex), (
            f"{where}: {error!r}, not a {case.error_type.__name__}"
        )
        assert (given is None) == (case.error_on is ModuleErrorEnum.CONSTRUCTION_ERROR), where


def check(name: str, training: bool, compiled: bool) -> None:
    """Compare the samples of a module."""
    ran = 0
    for sample in samples_of(MODULES[name], training, MOST_COMPILED if compiled else MOST):
        ran += compare(name, sample, training, compiled)
    assert ran, f"{name}: no sample could be used"


def samples_of(info: Any, training: bool, most: int) -> Iterator[Any]:
    torch.manual_seed(0)
    samples = list(
        info.module_inputs_func(info, device="cpu", dtype=torch.float32, requires_grad=True, training=training)
    )
    yield from (s for s in samples[:: -(-len(samples) // most)] if s.forward_input is not None)


def compare(name: str, sample: Any, training: bool, compiled: bool) -> bool:
    """Compare one sample; False where PyTorch refuses it itself."""
    made, given = sample.constructor_input, sample.forward_input
    translate = Layers()
    args, kwargs = [translate(a) for a in given.args], translated(given, translate)
    theirs = MODULES[name].module_cls(*made.args, **made.kwargs).to(torch.float32).train(training)
    ours = dotted(f"nn.{name}")(*map(translate, made.args), **translated(made, translate))
    ours.to(tracec.float32).train(training)
    try:
        with torch.no_grad():
            theirs(*given.args, **given.kwargs)  # which lazy ones take their sizes from
            state = {k: v.clone() for k, v in theirs.state_dict().items()}
            again = [list(tensors_in(theirs(*given.args, **given.kwargs))) for _ in range(2)]
    except RuntimeError:
        return False
    with tracec.no_grad():
        ours(*args, **kwargs)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(state)
    theirs.load_state_dict(state)
    call = _compiled(ours, state, args, kwargs) if compiled else ours
    ours.load_state_dict(_ours(state))
    wanted = run_torch(theirs, given, [t for t, _ in translate.leaves])
    found = run_ours(ours, call, args, kwargs, [t for _, t in translate.leaves])
    where = f"nn.{name}({', '.join([*map(repr, made.args), *(f'{k}={v!r}' for k, v in made.kwargs.items())])})"
    is_random = not all(_same(a, b) for a, b in zip(*again, strict=True))
    _compare(found.results, wanted.results, where, values=not is_random)
    if not is_random:
        _compare(list(found.state.values()), list(wanted.state.values()), f"{where}: state", values=True)
        _compare(found.gradients, wanted.gradients, f"{where}: gradients", values=True, loose=10)
    return True


def _compiled(ours: Any, state: dict[str, Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The module compiled and recorded: the next call runs what was built."""
    call = tracec.compile(lambda *a, **k: ours(*a, **k))
    call(*args, **kwargs)
    return call


def _ours(state: dict[str, Any]) -> dict[str, Any]:
    return {k: tracec.from_numpy(to_numpy(v).copy()) for k, v in state.items()}


def run_torch(module: Any, given: Any, leaves: Sequence[Any]) -> Run:
    results = list(tensors_in(module(*given.args, **given.kwargs)))
    total = sum((r * torch.from_numpy(w)).sum() for r, w in _weighted(results))
    inputs = [*leaves, *module.parameters()]
    gradients = torch.autograd.grad(total, inputs, allow_unused=True) if isinstance(total, torch.Tensor) else ()
    return Run(results, module.state_dict(), list(gradients))


def run_ours(module: Any, call: Any, args: Sequence[Any], kwargs: dict[str, Any], leaves: Sequence[Any]) -> Run:
    results = list(tensors_in(call(*args, **kwargs)))
    total = sum((r * tracec.from_numpy(w)).sum() for r, w in _weighted(results))
    inputs = [*leaves, *module.parameters()]
    gradients = tracec.autograd.grad(total, inputs, allow_unused=True) if isinstance(total, tracec.Tensor) else ()
    return Run(results, module.state_dict(), list(gradients))


def _weighted(results: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Results that gradients flow from, each with fixed random numbers."""
    rng = np.random.default_rng(7)
    for r in results:
        if getattr(r, "requires_grad", False):
            yield r, rng.standard_normal(tuple(r.shape)).astype(np.float32)


def translated(given: Any, translate: Translation) -> dict[str, Any]:
    return {k: translate(v) for k, v in given.kwargs.items()}


def _same(a: Any, b: Any) -> bool:
    return not isinstance(a, torch.Tensor) or torch.equal(a.nan_to_num(), b.nan_to_num())


def _compare(found: Sequence[Any], wanted: Sequence[Any], where: str, values: bool, loose: float = 1.0) -> None:
    assert len(found) == len(wanted), f"{where}: {len(found)}, PyTorch gives {len(wanted)}"
    for k, (f, w) in enumerate(zip(found, wanted, strict=True)):
        if w is None or f is None:  # of what nothing depends on, either library may say zeros
            assert all(t is None or not t.abs().sum() for t in (f, w)), f"{where}: {k}"
            continue
        assert tuple(f.shape) == tuple(w.shape), f"{where}: {k} has shape {tuple(f.shape)}, PyTorch {tuple(w.shape)}"
        assert name_of(f.dtype) == name_of(w.dtype), f"{where}: {k} is {f.dtype}, PyTorch {w.dtype}"
        assert f.requires_grad == w.requires_grad, f"{where}: {k} requires grad: {f.requires_grad}"
        if values:
            close(to_numpy(f), to_numpy(w), f"{where}: {k}", SINGLE.times(loose))


def test_the_comparison_finds_a_wrong_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    check("Linear", True, compiled=False)
    rule = tracec.nn.functional.linear
    for wrong in (lambda *a: rule(*a) * 1.001, lambda *a: rule(*a).detach(), lambda *a: rule(*a).double()):
        monkeypatch.setattr(tracec.nn.functional, "linear", wrong)
        monkeypatch.setattr(tracec.nn.Linear, "forward", lambda self, input: wrong(input, self.weight, self.bias))  # noqa: B023
        with pytest.raises(AssertionError):
            check("Linear", True, compiled=False)
