"""Every optimiser of PyTorch's own optimiser database, with each of its settings: parameters, state, text, refusals."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # which PyTorch's test code imports

from torch.testing._internal.common_optimizers import optim_db  # noqa: E402

import tracec  # noqa: E402
from tests.conformance.bridge import Translation, Unusable, name_of, to_numpy  # noqa: E402
from tests.conformance.comparison import SINGLE, close  # noqa: E402
from tracec.errors import TracecError  # noqa: E402

#: Sparse gradients are dense here, so that PyTorch's does not take what tracec's does: see tests/optim.
OPTIMIZERS = {info.optim_cls.__name__: info for info in optim_db if not info.only_supports_sparse_grads}
SHAPES = [(3, 4), (4,), (), (2, 1, 5)]
STEPS = 6
#: Steps that are computed in bfloat16.
LOOSE = {"Muon": 100.0}
#: What tracec's takes, of switches between ways to compute that it has not, and of what PyTorch only warns of.
TAKEN = ("foreach", "must be either both floats or both Tensors", "duplicate parameters")


class Run(NamedTuple):
    """What an optimiser left behind."""

    params: list[Any]
    state: dict[str, Any]
    text: str


def run(lib: Any, name: str, kwargs: dict[str, Any]) -> Run:
    rng = np.random.default_rng(3)

    def some(shape: tuple[int, ...]) -> Any:
        return lib.tensor(rng.standard_normal(shape).astype(np.float32))

    shapes = SHAPES[:1] if name == "Muon" else SHAPES  # which is for matrices
    params = [some(s).requires_grad_() for s in shapes]
    optimizer = getattr(lib.optim, name)(params, **kwargs)
    targets = [some(s) for s in shapes]

    def closure() -> Any:
        optimizer.zero_grad()
        loss = sum(((p - t) ** 2).sum() for p, t in zip(params, targets, strict=True))
        loss.backward()
        return loss

    for step in range(STEPS):
        if OPTIMIZERS[name].step_requires_closure:
            optimizer.step(closure)
            continue
        for k, (p, s) in enumerate(zip(params, shapes, strict=True)):
            p.grad = None if (k, step) == (1, 3) else some(s)  # one that was not used once
        optimizer.step()
    return Run([p.detach() for p in params], optimizer.state_dict(), repr(optimizer))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_agrees_with_pytorch(name: str) -> None:
    for given in OPTIMIZERS[name].optim_inputs_func("cpu", torch.float32):
        for more in ({}, {"maximize": True}, {"foreach": True}):
            try:
                wanted = run(torch, name, {**given.kwargs, **more})
            except (RuntimeError, TypeError, ValueError):
                continue
            translate = Translation()
            found = run(tracec, name, {k: translate(v) for k, v in {**given.kwargs, **more}.items()})
            compare(name, found, wanted, f"{name}, {given.desc}{more or ''}")


def compare(name: str, found: Run, wanted: Run, where: str) -> None:
    for f, w in zip(found.params, wanted.params, strict=True):
        close(to_numpy(f), to_numpy(w), where, SINGLE.times(LOOSE.get(name, 1.0)))
    assert found.text == wanted.text, where
    groups, others = found.state["param_groups"], wanted.state["param_groups"]
    assert [list(g) for g in groups] == [list(g) for g in others], where
    state, other = found.state["state"], wanted.state["state"]
    assert state.keys() == other.keys(), where
    for k, values in other.items():
        for key, value in values.items():
            mine = state[k].get(key)
            if not (isinstance(value, torch.Tensor) and isinstance(mine, tracec.Tensor)):
                assert isinstance(mine, tracec.Tensor) or name == "LBFGS", f"{where}: {k}, {key}"  # numbers of its own
                continue
            assert tuple(mine.shape) == tuple(value.shape) and name_of(mine.dtype) == name_of(value.dtype), where
            close(to_numpy(mine), to_numpy(value), f"{where}: {k}, {key}", SINGLE.times(LOOSE.get(name, 1.0)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [n for n, info in OPTIMIZERS.items() if info.optim_error_inputs_func is not None])
def test_is_refused(name: str) -> None:
    for case in OPTIMIZERS[name].optim_error_inputs_func("cpu", torch.float32):
        given, translate = case.optimizer_error_input, Translation()
        if any(what in case.error_regex for what in TAKEN) or "foreach" in given.kwargs:
            continue
        try:
            given_tensor = isinstance(given.params, torch.Tensor)
            params = translate(given.params) if given_tensor else [*map(translate, given.params or [])]
        except Unusable:
            continue
        where = f"{name}, {given.desc}"
        kwargs = {k: translate(v) for k, v in given.kwargs.items()}
        with pytest.raises(case.error_type) as error:
            getattr(tracec.optim, name)(params or [tracec.ones(2, 2, requires_grad=True)], **kwargs)
        assert isinstance(error.value, TracecError), f"{where}: {error.value!r}"


def test_what_is_given_twice_is_changed_twice() -> None:
    """Of which both warn."""
    for make in (
        lambda lib, p: lib.optim.SGD([p, p], lr=0.1),
        lambda lib, p: lib.optim.Adam([p, p, p], lr=0.1, weight_decay=0.1),
    ):
        found = []
        for lib in (torch, tracec):
            p = lib.tensor([1.0, -2.0], requires_grad=True)
            with pytest.warns(UserWarning, match="duplicate parameters"):
                optimizer = make(lib, p)
            for _ in range(3):
                optimizer.zero_grad()
                (p**2).sum().backward()
                optimizer.step()
            found.append((to_numpy(p.detach()), optimizer.state_dict()))
        (wanted, other), (mine, state) = found
        close(mine, wanted, "given twice")
        assert state["param_groups"][0]["params"] == other["param_groups"][0]["params"]
        assert state["state"].keys() == other["state"].keys()


def test_the_comparison_finds_another_rate() -> None:
    wanted = run(torch, "Adam", {"lr": 0.01})
    compare("Adam", run(tracec, "Adam", {"lr": 0.01}), wanted, "")
    with pytest.raises(AssertionError):
        compare("Adam", run(tracec, "Adam", {"lr": 0.0101}), wanted, "")
