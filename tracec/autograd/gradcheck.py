"""Gradients against differences of values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracec.autograd import grad
from tracec.errors import ArgumentError, GradcheckError, TracecError
from tracec.func.batch import map_examples
from tracec.func.common import entered
from tracec.func.forward import pushed
from tracec.functions import tensor
from tracec.functions.common import fail
from tracec.ir.source import warn
from tracec.record.tape import edge_of, enable_grad
from tracec.record.tensor import Tensor
from tracec.utils._pytree import tree_flatten

Function = Callable[..., Any]


class _Check:
    """One check of a function's derivatives.

    Elements are real numbers here: a complex one counts as two. So the Jacobian of a function of complex numbers is
    that of its real and imaginary parts, by those of its arguments.

    Args:
        func: The function.
        inputs: Its arguments.
        eps: How far arguments are moved for differences.
        atol: The absolute difference that is allowed.
        rtol: The relative one.
    """

    def __init__(self, func: Function, inputs: tuple[Any, ...], eps: float, atol: float, rtol: float) -> None:
        self.func, self.inputs = func, inputs
        self.eps, self.atol, self.rtol = eps, atol, rtol
        self.by = [k for k, x in enumerate(inputs) if isinstance(x, Tensor) and edge_of(x) is not None]
        if not self.by:
            fail(
                ArgumentError,
                "gradcheck expects at least one input tensor to require gradient, but none of the them have "
                "requires_grad=True.",
                "call requires_grad_() on an input",
            )
        for k in self.by:
            if inputs[k].dtype.itemsize < (16 if inputs[k].dtype.is_complex else 8):
                warn(
                    f"gradcheck: Input #{k} requires gradient and is not a double precision floating point or complex. "
                    "This check will likely fail if all the inputs are not of double precision floating point or "
                    "complex.",
                    UserWarning,
                )

        with enable_grad():
            found = self._results(inputs)
        #: Which of the floating results are checked: those that require grad, or all where none does.
        self.which = [k for k, x in enumerate(found) if edge_of(x) is not None] or list(range(len(found)))

    def _results(self, inputs: Sequence[Any]) -> list[Tensor]:
        found = tree_flatten(self.func(*inputs))[0]
        return [x for x in found if isinstance(x, Tensor) and x.dtype.is_differentiable]

    def outputs(self, inputs: Sequence[Any] | None = None) -> list[Tensor]:
        """The results that are checked."""
        found = self._results(self.inputs if inputs is None else inputs)
        return [found[k] for k in self.which]

    # Differences --------------------------------------------------------------------------------------

    def values(self, k: int, moved: Any) -> list[Any]:
        """The results, as arrays of real numbers, with another array in place of an input."""
        given = list(self.inputs)
        given[k] = tensor(moved, device=self.inputs[k].device).requires_grad_()
        with enable_grad():
            return [_real(x) for x in self.outputs(given)]

    def differences(self, k: int, direction: Any) -> list[Any]:
        """How results move when an input is moved in a direction: one array of real numbers for each."""
        at = _array(self.inputs[k])
        step = self.eps * direction.astype(at.dtype)
        high, low = self.values(k, at + step), self.values(k, at - step)
        return [(h - m) / (2 * self.eps) for h, m in zip(high, low, strict=True)]

    def numerical(self, k: int) -> list[Any]:
        """The Jacobians by an input, real elements of the input along the rows."""
        directions = list(_directions(_array(self.inputs[k])))
        columns = [self.differences(k, d) for d in directions]
        if not columns:
            return [np.zeros((0, x.numel() * (2 if x.dtype.is_complex else 1))) for x in self.outputs()]
        return [np.stack(each) for each in zip(*columns, strict=True)]

    # Gradients ----------------------------------------------------------------------------------------

    def analytical(self, j: int) -> list[Any]:
        """The Jacobians of a result by each input, as arrays like those of `numerical`."""
        with enable_grad():
            out = self.outputs()[j]
        like = _array(out)
        columns: list[list[Any]] = [[] for _ in self.by]
        for seed in _directions(like):
            grads = self.pulled(out, tensor(seed, device=out.device))
            for column, g, k in zip(columns, grads, self.by, strict=True):
                column.append(np.zeros(_size(self.inputs[k])) if g is None else _real(g))
        return [
            np.stack(c, 1) if c else np.zeros((_size(self.inputs[k]), 0)) for c, k in zip(columns, self.by, strict=True)
        ]

    def pulled(self, out: Tensor, seed: Tensor | None) -> list[Tensor | None]:
        """The gradients of the inputs."""
        if edge_of(out) is None:
            return [None] * len(self.by)
        given = [self.inputs[k] for k in self.by]
        return list(grad(out, given, seed, retain_graph=True, allow_unused=True))

    def compare(self, what: str, j: int, k: int, numerical: Any, analytical: Any) -> None:
        """Refuse what differs."""
        if numerical.shape == analytical.shape and np.allclose(analytical, numerical, self.rtol, self.atol):
            return
        fail(
            GradcheckError,
            f"{what} mismatch for output {j} with respect to input {k},\nnumerical:{tensor(numerical)}\n"
            f"analytical:{tensor(analytical)}\n",
            "rows are elements of the input, columns of the output; a function must be smooth where it is checked",
        )


def _array(x: Tensor) -> Any:
    return x.detach().cpu().numpy().copy()


def _real(x: Tensor) -> Any:
    """The elements as a flat array of real numbers in double precision."""
    array = _array(x)
    if array.dtype.kind == "c":
        return array.astype(np.complex128).reshape(-1).view(np.float64)
    return array.astype(np.float64).reshape(-1)


def _size(x: Tensor) -> int:
    return x.numel() * (2 if x.dtype.is_complex else 1)


def _directions(like: Any) -> Any:
    """Arrays of one array's kind with a 1 at one element, or at its imaginary part."""
    for i in range(like.size):
        for part in (1.0, 1j) if like.dtype.kind == "c" else (1.0,):
            found = np.zeros(like.size, like.dtype)
            found[i] = part
            yield found.reshape(like.shape)


def gradcheck(
    func: Function,
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
) -> bool:
    """Compare gradients with differences of values.

    Args:
        func: A function of tensors that gives a tensor or a tuple.
        inputs: Its arguments; those that require grad are checked, in double precision best.
        eps: How far arguments are moved for differences.
        atol: The absolute difference that is allowed.
        rtol: The relative one.
        raise_exception: Raise an error for a difference, instead of giving False.
        nondet_tol: How much gradients that are computed twice may differ.
        check_undefined_grad: Also go back from each result alone, where the others have no gradient.
        check_grad_dtypes: Also check that gradients have the dtypes of their inputs.
        check_batched_grad: Also compare many gradients at once, with `vmap`, with one after the other.
        check_batched_forward_grad: The same of tangents.
        check_forward_ad: Also check forward mode.
        check_backward_ad: Check gradients.
        fast_mode: Compare products with random vectors, instead of every element.

    Returns:
        Whether all agree.

    Raises:
        GradcheckError, ArgumentError: they do not; or no input requires grad.
    """
    try:
        check = _Check(func, inputs if isinstance(inputs, tuple) else (inputs,), eps, atol, rtol)
        with enable_grad():
            outputs = check.outputs()
        if fast_mode:
            _check_products(check, outputs, check_forward_ad, check_backward_ad)
        else:
            _check_elements(check, outputs, check_forward_ad, check_backward_ad)
        if check_backward_ad:
            _check_repeated(check, outputs, nondet_tol, check_grad_dtypes)
            if check_undefined_grad:
                _check_alone(check, outputs)
            if check_batched_grad:
                _check_batched(check, outputs)
        if check_forward_ad and check_batched_forward_grad:
            _check_batched_forward(check)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _check_elements(check: _Check, outputs: list[Tensor], forward: bool, backward: bool) -> None:
    numerical = {k: check.numerical(k) for k in check.by}
    for j in range(len(outputs)):
        if backward:
            for k, found in zip(check.by, check.analytical(j), strict=True):
                check.compare("Jacobian", j, k, numerical[k][j], found)
    if forward:
        for k in check.by:
            rows = [_tangents(check, k, d) for d in _directions(_array(check.inputs[k]))]
            for j in range(len(outputs)):
                found = np.stack([row[j] for row in rows]) if rows else numerical[k][j]
                check.compare("Jacobian computed with forward mode", j, k, numerical[k][j], found)


def _check_products(check: _Check, outputs: list[Tensor], forward: bool, backward: bool) -> None:
    """The same of a random direction and a random gradient."""
    rng = np.random.default_rng(0)
    for k in check.by:
        direction = _unit(rng, _array(check.inputs[k]))
        numerical = check.differences(k, direction)
        moved = _tangents(check, k, direction) if forward else numerical
        for j, out in enumerate(outputs):
            seed = _unit(rng, _array(out))
            weights = _flat(seed)
            if forward:
                check.compare("Jacobian computed with forward mode", j, k, numerical[j], moved[j])
            if not backward:
                continue
            g = check.pulled(out, tensor(seed, device=out.device))[check.by.index(k)]
            found = 0.0 if g is None else _real(g) @ _flat(direction)
            check.compare("Jacobian", j, k, np.array([numerical[j] @ weights]), np.array([found]))


def _unit(rng: Any, like: Any) -> Any:
    drawn = rng.normal(size=like.shape)
    if like.dtype.kind == "c":
        drawn = drawn + 1j * rng.normal(size=like.shape)
    return (drawn / max(np.linalg.norm(drawn), 1e-30)).astype(like.dtype)


def _flat(array: Any) -> Any:
    if array.dtype.kind == "c":
        return array.astype(np.complex128).reshape(-1).view(np.float64)
    return array.astype(np.float64).reshape(-1)


def _pushed(check: _Check, k: int, direction: Tensor) -> list[Any]:
    """The tangents of the results when one input moves."""
    tensors = [x for x in check.inputs if isinstance(x, Tensor)]
    at = [i for i, x in enumerate(check.inputs) if isinstance(x, Tensor)]

    def of(*given: Tensor) -> Any:
        every = list(check.inputs)
        for i, x in zip(at, given, strict=True):
            every[i] = x
        return tuple(check.outputs(every))

    moved = [direction if i == k else None for i in at]
    _, spec = tree_flatten(tuple(tensors))
    outputs, found, _, _ = pushed("gradcheck", of, [x.detach() for x in tensors], spec, moved, False)
    return [x.detach() * 0 if t is None else t for x, t in zip(outputs, found, strict=True)]


def _tangents(check: _Check, k: int, direction: Any) -> list[Any]:
    with enable_grad():
        return [_real(t) for t in _pushed(check, k, tensor(direction, device=check.inputs[k].device))]


def _check_repeated(check: _Check, outputs: list[Tensor], tolerance: float, dtypes: bool) -> None:
    """Gradients that are computed twice, and their dtypes."""
    for j, out in enumerate(outputs):
        with enable_grad():
            again = check.outputs()[j]
        seed = tensor(np.ones_like(_array(out)), device=out.device)
        for k, a, b in zip(check.by, check.pulled(out, seed), check.pulled(again, seed), strict=True):
            if (a is None) != (b is None) or (a is not None and b is not None and _apart(a, b) > tolerance):
                fail(
                    GradcheckError,
                    "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times "
                    f"gives different values, although analytical gradient matches numerical gradient. The tolerance "
                    f"for nondeterminism was {tolerance}.",
                    "set nondet_tol",
                )
            if dtypes and a is not None and a.dtype is not check.inputs[k].dtype:
                fail(
                    GradcheckError,
                    f"gradient of input {k} has dtype {a.dtype}, the input {check.inputs[k].dtype}",
                    "cast it in backward",
                )


def _apart(a: Tensor, b: Tensor) -> float:
    return float(np.abs(_array(a) - _array(b)).max(initial=0.0))


def _check_alone(check: _Check, outputs: list[Tensor]) -> None:
    """Going back from each result alone."""
    for j, out in enumerate(outputs):
        if len(outputs) < 2 or edge_of(out) is None:
            continue
        try:
            check.pulled(out, tensor(np.zeros_like(_array(out)), device=out.device))
        except TracecError:
            raise
        except Exception as error:
            fail(
                GradcheckError,
                f"Expected backward function to handle undefined output grads. Going back from output {j} alone "
                f"raised {type(error).__name__}: {error}",
                "look for None among the gradients in backward, or leave set_materialize_grads(True)",
            )


def _check_batched(check: _Check, outputs: list[Tensor]) -> None:
    """Many gradients at once."""
    rng = np.random.default_rng(0)
    for j, out in enumerate(outputs):
        if edge_of(out) is None:
            continue
        seeds = np.stack([_unit(rng, _array(out)) for _ in range(2)])
        used = [i for i, g in enumerate(check.pulled(out, tensor(seeds[0], device=out.device))) if g is not None]

        def back(seed: Tensor, out: Tensor = out, used: list[int] = used) -> list[Any]:
            found = check.pulled(out, seed)
            return [found[i] for i in used]

        each = [back(tensor(s, device=out.device)) for s in seeds]
        _compare_batched(check, "gradient", j, map_examples("gradcheck", back, tensor(seeds), None), each)


def _check_batched_forward(check: _Check) -> None:
    rng = np.random.default_rng(0)
    for k in check.by:
        directions = np.stack([_unit(rng, _array(check.inputs[k])) for _ in range(2)])

        def push(d: Tensor, k: int = k) -> list[Any]:
            return _pushed(check, k, d)

        with enable_grad():
            each = [push(tensor(d)) for d in directions]
            _compare_batched(check, "tangent", k, map_examples("gradcheck", push, tensor(directions), None), each)


def _compare_batched(check: _Check, what: str, at: int, many: list[Tensor], each: list[list[Tensor]]) -> None:
    for i, found in enumerate(many):
        expected = np.stack([_array(e[i]) for e in each])
        if not np.allclose(_array(found), expected, check.rtol, check.atol):
            fail(
                GradcheckError,
                f"For {what} {at}, many at once with vmap are not one after the other:\n{found}\n{tensor(expected)}",
                "look at the function's batching rule",
            )


def gradgradcheck(
    func: Function,
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
) -> bool:
    """Compare gradients of gradients with differences of gradients; arguments as of `gradcheck`.

    Args:
        func: A function of tensors that gives a tensor or a tuple.
        inputs: Its arguments; those that require grad are checked.
        grad_outputs: The gradients of the results; random ones by default. They are checked too.
        eps: How far arguments are moved for differences.
        atol: The absolute difference that is allowed.
        rtol: The relative one.
        gen_non_contig_grad_outputs: Draw gradients whose elements do not lie in row-major order.
        raise_exception: Raise an error for a difference, instead of giving False.
        nondet_tol: How much gradients that are computed twice may differ.
        check_undefined_grad: Also go back from each result alone.
        check_grad_dtypes: Also check the dtypes of gradients.
        check_batched_grad: Also check many gradients at once.
        check_fwd_over_rev: Also check forward mode of gradients.
        check_rev_over_rev: Check gradients of gradients.
        fast_mode: Compare products with random vectors.
    """
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    check = _Check(func, given, eps, atol, rtol)
    with enable_grad():
        outputs = check.outputs()
    seeds = _seeds(outputs, gen_non_contig_grad_outputs) if grad_outputs is None else grad_outputs
    seeds = seeds if isinstance(seeds, tuple) else (seeds,)
    count = len(seeds)

    def of_gradients(*args: Any) -> Any:
        xs, gs = args[: len(args) - count], args[len(args) - count :]
        own = [entered("gradgradcheck", x, True) if k in check.by else x for k, x in enumerate(xs)]
        outs, by = check.outputs(own), [own[k] for k in check.by]
        pairs = [(o, g) for o, g in zip(outs, gs, strict=True) if edge_of(o) is not None]
        grads = grad([o for o, _ in pairs], by, [g for _, g in pairs], create_graph=True, allow_unused=True)
        return tuple(g for g in grads if g is not None)

    return gradcheck(
        of_gradients, (*given, *seeds), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception,
        nondet_tol=nondet_tol, check_undefined_grad=check_undefined_grad, check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad, check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev, fast_mode=fast_mode,
    )  # fmt: skip


def _seeds(outputs: list[Tensor], apart: bool) -> tuple[Tensor, ...]:
    rng = np.random.default_rng(0)
    found = []
    for out in outputs:
        like = _array(out)
        drawn = _unit(rng, like) * max(like.size, 1) ** 0.5
        made = tensor(drawn, device=out.device)
        if apart and made.ndim:
            made = tensor(np.stack([drawn, drawn], -1), device=out.device)[..., 0]
        found.append(made.requires_grad_())
    return tuple(found)


__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]
