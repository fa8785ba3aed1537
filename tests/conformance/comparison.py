"""Operators of PyTorch's database, and how a call of one is compared: values, shapes, dtypes and gradients."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db

import tracec
from tests.conformance.bridge import Translation, Unusable, name_of, tensors_in, to_numpy

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


class Tolerance(NamedTuple):
    """By how much floats may differ: relatively, and in parts of the largest one (of one, where all are smaller)."""

    relative: float
    absolute: float

    def times(self, factor: float) -> Tolerance:
        return Tolerance(self.relative * factor, self.absolute * factor)


SINGLE = Tolerance(1e-4, 2e-5)


def label(info: Any) -> str:
    return f"{info.name}.{info.variant_test_name}" if info.variant_test_name else info.name


ENTRIES = {
    label(i): i
    for i in op_db
    if i.name == "index_copy" or (not PRIVATE.match(i.name) and i.variant_test_name != "without_cudnn")
}


def listed(name: str) -> dict[str, list[str]]:
    """The lines of a file beside this one: operator → what else its line says."""
    lines = (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines()
    rows = (line.split(" | ") for line in lines if line and not line.startswith("#"))
    return {operator: rest for operator, *rest in rows}


def compare_sample(
    info: Any, function: Any, sample: Any, differentiable: bool, tolerance: Tolerance = SINGLE, theirs: Any = None
) -> bool:
    """Compare one call; False where PyTorch refuses it itself or it cannot be translated.

    Args:
        info: The operator's entry in PyTorch's database.
        function: tracec's function.
        sample: Arguments, PyTorch's.
        differentiable: Are gradients compared, too?
        tolerance: By how much values may differ.
        theirs: PyTorch's function; by default the operator itself.
    """
    theirs = theirs or info.op
    try:
        expected = _call_torch(theirs, sample)
        again = list(tensors_in(_call_torch(theirs, sample, seed=2)))
    except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError, AssertionError):
        return False
    translate = Translation()
    try:
        args = [translate(a) for a in (sample.input, *sample.args)]
        kwargs = {k: translate(v) for k, v in sample.kwargs.items()}
    except Unusable:
        return False
    wanted = list(tensors_in(expected))
    random = info.name in UNDEFINED or draws(info) or not all(map(_same, wanted, again))
    found = function(*args, **kwargs)
    where = f"{info.name}({described(sample)})"
    _compare(info, list(tensors_in(found)), wanted, where, tolerance if not random else None)
    if random and info.name not in UNDEFINED and hasattr(function, "eagerly"):
        _compare_draws(info, function.eagerly, sample, found, where)
    if differentiable and not random and translate.leaves:
        _compare_gradients(theirs, info, sample, found, expected, translate, where)
    return True


def _compare_draws(info: Any, eagerly: Any, sample: Any, found: Any, where: str) -> None:
    """Compiled and eager runs of one seed draw the same bits; what is computed of them differs by rounding alone."""
    translate = Translation()
    args = [translate(a) for a in (sample.input, *sample.args)]
    kwargs = {k: translate(v) for k, v in sample.kwargs.items()}
    tracec.manual_seed(1)
    for f, w in zip(tensors_in(found), tensors_in(eagerly(*args, **kwargs)), strict=True):
        if isinstance(w, tracec.Tensor):
            _close(info, to_numpy(f), to_numpy(w), f"{where}: compiled and eager draws", SINGLE.times(0.1))


def draws(info: Any) -> bool:
    return "wrapper_set_seed" in getattr(getattr(info.op, "__code__", None), "co_names", ())


def _same(a: Any, b: Any) -> bool:
    if not isinstance(a, torch.Tensor):
        return True
    return a.shape == b.shape and np.array_equal(to_numpy(a), to_numpy(b), equal_nan=a.dtype.is_floating_point)


def _call_torch(function: Any, sample: Any, seed: int = 1) -> Any:
    torch.manual_seed(seed)
    return function(sample.input, *sample.args, **sample.kwargs)


def described(sample: Any) -> str:
    def of(value: Any) -> str:
        if isinstance(value, torch.Tensor):
            return f"{name_of(value.dtype)}{list(value.shape)}"
        return f"[{', '.join(map(of, value))}]" if isinstance(value, (list, tuple)) else repr(value)[:40]

    named = (f"{k}={of(v)}" for k, v in sample.kwargs.items())
    return ", ".join([of(sample.input), *map(of, sample.args), *named])


def _compare(
    info: Any, found: Sequence[Any], wanted: Sequence[Any], where: str, tolerance: Tolerance | None
) -> None:  # fmt: skip
    """Fail where results differ; without a tolerance, where anything but their values does."""
    assert len(found) == len(wanted), f"{where}: {len(found)} results, PyTorch gives {len(wanted)}"
    for k, (f, w) in enumerate(zip(found, wanted, strict=True)):
        if not isinstance(w, torch.Tensor):
            plain = w is None or isinstance(w, (str, torch.dtype))
            assert tolerance is None or plain or np.allclose(f, w, equal_nan=True), f"{where}: result {k}: {f}, not {w}"
            continue
        assert isinstance(f, tracec.Tensor), f"{where}: result {k} is of type {type(f).__name__}"
        assert tuple(f.shape) == tuple(w.shape), f"{where}: shape {tuple(f.shape)}, PyTorch {tuple(w.shape)}"
        assert name_of(f.dtype) == name_of(w.dtype), f"{where}: {f.dtype}, PyTorch {w.dtype}"
        tied = info.name in TIES and w.dtype is torch.int64 and (k > 0 or info.name == "argsort")
        if tolerance and not tied:
            _close(info, to_numpy(f), to_numpy(w), f"{where}: result {k}", tolerance)


def _close(info: Any, found: Any, wanted: Any, where: str, tolerance: Tolerance) -> None:
    if info.name in GAUGE:
        found, wanted = np.abs(found), np.abs(wanted)
    if info.name in UNORDERED and wanted.ndim:
        found, wanted = np.sort(np.abs(found), -1), np.sort(np.abs(wanted), -1)
    close(found, wanted, where, tolerance.times(10 if info.name.startswith("linalg") else 1))


def close(found: Any, wanted: Any, where: str, tolerance: Tolerance = SINGLE) -> None:
    """Fail where two arrays differ: integers at all, floats by more than rounding."""
    if wanted.dtype.kind in "biu":
        np.testing.assert_array_equal(found, wanted, err_msg=where)
        return
    wide = np.complex128 if wanted.dtype.kind == "c" else np.float64  # NumPy compares no bfloat16
    found, wanted = found.astype(wide), wanted.astype(wide)
    scale = max(1.0, np.abs(wanted[np.isfinite(wanted)]).max(initial=0))
    np.testing.assert_allclose(
        found, wanted, rtol=tolerance.relative, atol=tolerance.absolute * scale, err_msg=where
    )  # fmt: skip


def _compare_gradients(
    function: Any, info: Any, sample: Any, found: Any, expected: Any, translate: Translation, where: str
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
            _close(info, grad, other, f"{where}: gradient", SINGLE.times(10))
        except AssertionError:
            exact = _exact_gradient(function, sample, weights, k)
            own = np.abs(other - exact).max(initial=0)  # what PyTorch itself rounds away
            if not own or not np.abs(grad - exact).max(initial=0) <= 4 * own:
                raise


def _exact_gradient(function: Any, sample: Any, weights: Sequence[Any], position: int) -> Any:
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
    out = sample.output_process_fn_grad(function(*args, **kwargs))
    results = [t for t in tensors_in(out) if getattr(t, "requires_grad", False)]
    total = sum((t * torch.tensor(w)).sum() for t, w in zip(results, weights, strict=True))
    leaves = [t for t in known.values() if t.requires_grad]
    return to_numpy(torch.autograd.grad(total, leaves, allow_unused=True)[position])
