"""Every public operator on PyTorch's own samples: values, shapes, dtypes and gradients.

``expected_failures.txt`` lists those that do not agree, each with what its errors say and the reason; one that newly
agrees, or fails otherwise, must leave it. ``eager_fallbacks.txt`` lists those whose compiled functions run eagerly for
some sample, with the reason that the warning gives; ``pytest -m slow tests/conformance --update-golden`` rewrites it.
"""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # which PyTorch's test code imports

from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402

import tracec  # noqa: E402
from tests.conformance.bridge import Missing, Translation, Unusable, function_of, name_of, tensors_in, to_numpy  # noqa: E402
from tracec import options  # noqa: E402

#: Not part of PyTorch's public face, or of layouts that tracec does not have.
PRIVATE = re.compile(
    r"_(?!_)|torch\.|jiterator|sparse\.|to_sparse|native_|masked\.|hash_tensor|max_pool2d_with_indices_backward"
    r"|grid_sampler_|empty_permuted|unsafe_|.*_copy$|resize_|chalf|nonzero_static|slice$"
    r"|special\.(airy|bessel|chebyshev|hermite|laguerre|legendre|modified|scaled_mod|shifted|spherical)"
)
#: Their contents are whatever memory held.
UNDEFINED = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
#: Vectors of these are unique up to a factor of modulus one.
GAUGE = {"svd", "linalg.svd", "linalg.eigh", "linalg.eig", "linalg.qr", "qr", "geqrf", "svd_lowrank", "pca_lowrank"}
#: Whose order PyTorch leaves open.
UNORDERED = {"linalg.eig", "linalg.eigvals"}
#: Positions of equal elements are whichever PyTorch's algorithm meets first.
TIES = {"sort", "argsort", "topk", "kthvalue", "mode", "median", "nanmedian", "msort", "cummax", "cummin", "max", "min"}
#: Samples of each dtype; of compiled functions fewer, since each compiles anew.
MOST, MOST_COMPILED = 12, 3


def listed(name: str) -> dict[str, list[str]]:
    """The lines of a file beside this one: operator → what else its line says."""
    lines = (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines()
    rows = (line.split(" | ") for line in lines if line and not line.startswith("#"))
    return {operator: rest for operator, *rest in rows}


#: Operator → what all of its errors say, and why they are right.
FAILURES = listed("expected_failures.txt")
FALLBACKS = "eager_fallbacks.txt"
#: The end of the warning that a function cannot be compiled.
RUN_AGAIN = f"; such a function is {options.RUN_AGAIN}"


def label(info: Any) -> str:
    return f"{info.name}.{info.variant_test_name}" if info.variant_test_name else info.name


ENTRIES = {
    label(i): i
    for i in op_db
    if i.name == "index_copy" or (not PRIVATE.match(i.name) and i.variant_test_name != "without_cudnn")
}


@pytest.mark.parametrize("name", ENTRIES)
def test_agrees_with_pytorch(name: str) -> None:
    check(name, compiled=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENTRIES)
def test_agrees_compiled(name: str, request: pytest.FixtureRequest) -> None:
    fallbacks = check(name, compiled=True)
    expected = listed(FALLBACKS).get(name)
    if bool(fallbacks) == bool(expected):
        return
    if request.config.getoption("--update-golden"):
        _list_fallback(name, fallbacks)
    elif fallbacks:
        pytest.fail(
            f"{name} is recorded again where it is compiled; {FALLBACKS} has no such line:\n{name} | {fallbacks[0]}"
        )
    else:
        pytest.fail(f"{name} compiles now: take its line out of {FALLBACKS}")


def _list_fallback(name: str, fallbacks: Sequence[str]) -> None:
    path = Path(__file__).parent / FALLBACKS
    head = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    rows = {k: " | ".join(rest) for k, rest in listed(FALLBACKS).items() if k != name}
    if fallbacks:
        rows[name] = fallbacks[0]
    lines = (*head, *(f"{k} | {rows[k]}" for k in sorted(rows)))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def test_the_lists_are_of_operators() -> None:
    assert not FAILURES.keys() - ENTRIES.keys()
    assert not listed(FALLBACKS).keys() - ENTRIES.keys()
    assert all(len(rest) == 2 and all(rest) for rest in FAILURES.values())
    assert all(len(rest) == 1 and all(rest) for rest in listed(FALLBACKS).values())


def check(name: str, compiled: bool) -> list[str]:
    """Run an operator's samples; where it is listed as failing, it must fail, and as the list says.

    Returns:
        Why compiled functions ran eagerly, for each that did.
    """
    errors: list[Exception] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")  # those of deprecated functions, by either library, are no matter
        for run in _runs(ENTRIES[name], compiled):
            try:
                run()
            except Exception as error:
                if name not in FAILURES:
                    raise
                errors.append(error)
    if name in FAILURES:
        _check_failures(name, errors, compiled)
    return fallbacks_in(caught)


def fallbacks_in(caught: Sequence[warnings.WarningMessage]) -> list[str]:
    """What warnings say of functions that cannot be compiled."""
    said = (str(w.message).partition("\n")[0] for w in caught)
    return [text.removesuffix(RUN_AGAIN).partition(": ")[2] for text in said if text.endswith(RUN_AGAIN)]


def _check_failures(name: str, errors: Sequence[Exception], compiled: bool) -> None:
    says, reason = FAILURES[name]
    for error in errors:
        if not re.search(says, f"{type(error).__name__}: {error}"):
            raise error
    if errors:
        pytest.xfail(reason)
    if not compiled:  # fewer samples are compiled
        pytest.fail(f"{name} agrees now: take its line out of expected_failures.txt")


def _runs(info: Any, compiled: bool) -> Iterator[Callable[[], None]]:
    """The comparison of each sample, and at last whether any could be used."""
    function = function_of(info)
    if compiled:
        function = _by_second_call(function)
    ran: list[bool] = []
    for dtype in _dtypes(info):
        differentiable = dtype is torch.float32 and info.supports_autograd
        torch.manual_seed(0)
        np.random.seed(0)
        samples = list(itertools.islice(info.sample_inputs("cpu", dtype, requires_grad=differentiable), 200))
        most = MOST_COMPILED if compiled else MOST
        for sample in samples[:: -(-len(samples) // most) or 1]:
            yield lambda s=sample, d=differentiable: ran.append(_sample(info, function, s, d))  # type: ignore[misc]

    def some() -> None:
        assert any(ran), f"{info.name}: no sample could be used"

    yield some


def _by_second_call(function: Any) -> Any:
    """The function compiled; the first call is recorded and computes eagerly, the second one runs what was built."""
    compiled = tracec.compile(lambda *args, **kwargs: function(*args, **kwargs))

    def call(*args: Any, **kwargs: Any) -> Any:
        tracec.manual_seed(1)
        compiled(*args, **kwargs)
        tracec.manual_seed(1)
        return compiled(*args, **kwargs)

    call.eagerly = function  # type: ignore[attr-defined]
    return call


def _dtypes(info: Any) -> list[Any]:
    known = info.supported_dtypes("cpu")
    wanted = [d for d in (torch.float32, torch.int64) if d in known]
    return wanted or [d for d in (torch.bool, torch.float64, torch.complex64) if d in known][:1]


def _sample(info: Any, function: Any, sample: Any, differentiable: bool) -> bool:
    """Compare one call; False where PyTorch refuses it itself or it cannot be translated."""
    try:
        expected = _call_torch(info, sample)
        again = list(tensors_in(_call_torch(info, sample, seed=2)))
    except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError):
        return False
    translate = Translation()
    try:
        args = [translate(a) for a in (sample.input, *sample.args)]
        kwargs = {k: translate(v) for k, v in sample.kwargs.items()}
    except Unusable:
        return False
    wanted = list(tensors_in(expected))
    random = info.name in UNDEFINED or _draws(info) or not all(map(_same, wanted, again))
    found = function(*args, **kwargs)
    where = f"{info.name}({described(sample)})"
    _compare(info, list(tensors_in(found)), wanted, where, values=not random)
    if random and info.name not in UNDEFINED and hasattr(function, "eagerly"):
        _compare_draws(info, function.eagerly, sample, found, where)
    if differentiable and not random and translate.leaves:
        _compare_gradients(info, sample, found, expected, translate, where)
    return True


def _compare_draws(info: Any, eagerly: Any, sample: Any, found: Any, where: str) -> None:
    """Compiled and eager runs of one seed draw the same bits; what is computed of them differs by rounding alone."""
    translate = Translation()
    args = [translate(a) for a in (sample.input, *sample.args)]
    kwargs = {k: translate(v) for k, v in sample.kwargs.items()}
    tracec.manual_seed(1)
    for f, w in zip(tensors_in(found), tensors_in(eagerly(*args, **kwargs)), strict=True):
        if isinstance(w, tracec.Tensor):
            _close(info, to_numpy(f), to_numpy(w), f"{where}: compiled and eager draws", loose=0.1)


def _draws(info: Any) -> bool:
    return "wrapper_set_seed" in getattr(getattr(info.op, "__code__", None), "co_names", ())


def _same(a: Any, b: Any) -> bool:
    if not isinstance(a, torch.Tensor):
        return True
    return a.shape == b.shape and np.array_equal(to_numpy(a), to_numpy(b), equal_nan=a.dtype.is_floating_point)


def _call_torch(info: Any, sample: Any, seed: int = 1) -> Any:
    torch.manual_seed(seed)
    return info.op(sample.input, *sample.args, **sample.kwargs)


def described(sample: Any) -> str:
    def of(value: Any) -> str:
        if isinstance(value, torch.Tensor):
            return f"{name_of(value.dtype)}{list(value.shape)}"
        return f"[{', '.join(map(of, value))}]" if isinstance(value, (list, tuple)) else repr(value)[:40]

    named = (f"{k}={of(v)}" for k, v in sample.kwargs.items())
    return ", ".join([of(sample.input), *map(of, sample.args), *named])


def _compare(info: Any, found: Sequence[Any], wanted: Sequence[Any], where: str, values: bool) -> None:
    assert len(found) == len(wanted), f"{where}: {len(found)} results, PyTorch gives {len(wanted)}"
    for k, (f, w) in enumerate(zip(found, wanted, strict=True)):
        if not isinstance(w, torch.Tensor):
            assert not values or w is None or isinstance(w, (str, torch.dtype)) or np.allclose(f, w, equal_nan=True), (
                where
            )
            continue
        assert isinstance(f, tracec.Tensor), f"{where}: result {k} is of type {type(f).__name__}"
        assert tuple(f.shape) == tuple(w.shape), f"{where}: shape {tuple(f.shape)}, PyTorch {tuple(w.shape)}"
        assert name_of(f.dtype) == name_of(w.dtype), f"{where}: {f.dtype}, PyTorch {w.dtype}"
        tied = info.name in TIES and w.dtype is torch.int64 and (k > 0 or info.name == "argsort")
        if values and not tied:
            _close(info, to_numpy(f), to_numpy(w), f"{where}: result {k}")


def _close(info: Any, found: Any, wanted: Any, where: str, loose: float = 1.0) -> None:
    if info.name in GAUGE:
        found, wanted = np.abs(found), np.abs(wanted)
    if info.name in UNORDERED and wanted.ndim:
        found, wanted = np.sort(np.abs(found), -1), np.sort(np.abs(wanted), -1)
    close(found, wanted, where, loose * (10 if info.name.startswith("linalg") else 1))


def close(found: Any, wanted: Any, where: str, loose: float = 1.0) -> None:
    """Fail where two arrays differ: integers at all, floats by more than rounding."""
    if wanted.dtype.kind in "biu":
        np.testing.assert_array_equal(found, wanted, err_msg=where)
        return
    finite = np.abs(wanted[np.isfinite(wanted)]).astype(np.float64)
    scale = max(1.0, finite.max(initial=0))
    np.testing.assert_allclose(found, wanted, rtol=1e-4 * loose, atol=2e-5 * loose * scale, err_msg=where)


def _compare_gradients(
    info: Any, sample: Any, found: Any, expected: Any, translate: Translation, where: str
) -> None:  # fmt: skip
    """Gradients of the sum of the results, each weighted by fixed random numbers."""

    def floats(out: Any) -> list[Any]:
        out = sample.output_process_fn_grad(out)
        return [t for t in tensors_in(out) if getattr(t, "requires_grad", False) and "float" in name_of(t.dtype)]

    ours, theirs = floats(found), floats(expected)
    leaves = [t for t, _ in translate.leaves]
    rng = np.random.default_rng(7)
    weights = [rng.standard_normal(tuple(t.shape)).astype(np.float32) for t in theirs]
    try:
        total = sum((t * torch.tensor(w)).sum() for t, w in zip(theirs, weights, strict=True))
        wanted = torch.autograd.grad(total, leaves, allow_unused=True) if theirs else []
    except RuntimeError:
        return  # PyTorch has no gradient for this sample
    if not theirs:
        return
    assert len(ours) == len(theirs), f"{where}: {len(ours)} results require grad, {len(theirs)} in PyTorch"
    sum(((t * tracec.tensor(w)).sum() for t, w in zip(ours, weights, strict=True)), tracec.zeros(())).backward()
    for k, ((_, leaf), w) in enumerate(zip(translate.leaves, wanted, strict=True)):
        grad = np.zeros(tuple(leaf.shape), np.float32) if leaf.grad is None else to_numpy(leaf.grad)
        other = np.zeros(tuple(leaf.shape), np.float32) if w is None else to_numpy(w)
        try:
            _close(info, grad, other, f"{where}: gradient", loose=10)
        except AssertionError:
            exact = _exact_gradient(info, sample, weights, k)
            own = np.abs(other - exact).max(initial=0)  # what PyTorch itself rounds away
            if not own or not np.abs(grad - exact).max(initial=0) <= 4 * own:
                raise


def _exact_gradient(info: Any, sample: Any, weights: Sequence[Any], position: int) -> Any:
    """PyTorch's gradient by one leaf, computed in float64."""
    known: dict[int, Any] = {}

    def wide(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            made = value.detach().double() if value.dtype is torch.float32 else value.detach()
            return known.setdefault(id(value), made.requires_grad_(value.requires_grad))
        if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
            return type(value)(map(wide, value))
        return {k: wide(v) for k, v in value.items()} if isinstance(value, dict) else value

    torch.manual_seed(1)
    args, kwargs = [wide(a) for a in (sample.input, *sample.args)], wide(sample.kwargs)
    out = sample.output_process_fn_grad(info.op(*args, **kwargs))
    results = [t for t in tensors_in(out) if getattr(t, "requires_grad", False)]
    total = sum((t * torch.tensor(w)).sum() for t, w in zip(results, weights, strict=True))
    leaves = [t for t in known.values() if t.requires_grad]
    return to_numpy(torch.autograd.grad(total, leaves, allow_unused=True)[position])


def test_a_function_that_runs_eagerly_is_found() -> None:
    lengths = []

    def remembers(x: Any) -> Any:
        path = Path(__file__).with_name("expected_failures.txt")
        lengths.append(len(path.read_text()))  # what is read there no program knows
        return tracec.sin(x)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call = _by_second_call(remembers)
        for _ in range(2):  # a first read may have been to set something up
            call(tracec.ones(3))
    assert fallbacks_in(caught)


def test_the_comparison_finds_wrong_values_dtypes_and_gradients() -> None:
    info = ENTRIES["sin"]
    sample = next(info.sample_inputs("cpu", torch.float32, requires_grad=True))
    assert _sample(info, tracec.sin, sample, True)
    for wrong in (
        lambda x: tracec.sin(x) * 1.001,
        lambda x: tracec.sin(x).double(),
        lambda x: tracec.sin(x.detach()) + 0 * x,
        lambda x: tracec.sin(x)[:1],
        lambda x: [tracec.sin(x)] * 2,
    ):
        with pytest.raises(AssertionError):
            _sample(info, wrong, sample, True)
    with pytest.raises(Missing):
        function_of(type("Info", (), {"name": "no_such_operator", "op": None}))
