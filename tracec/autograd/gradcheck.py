"""Gradients against differences of values."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracec.autograd import grad
from tracec.autograd.derivatives import Derivatives, Function, array_of, directions, flat, real, unit
from tracec.errors import GradcheckError, TracecError
from tracec.func.batch import map_examples
from tracec.func.common import entered
from tracec.functions import tensor
from tracec.functions.common import fail
from tracec.record.mode import enable_grad
from tracec.record.tape import edge_of
from tracec.record.tensor import Tensor


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
        check = Derivatives(func, inputs if isinstance(inputs, tuple) else (inputs,), eps, atol, rtol)
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


def _check_elements(check: Derivatives, outputs: list[Tensor], forward: bool, backward: bool) -> None:
    numerical = {k: check.numerical(k) for k in check.by}
    for j in range(len(outputs)):
        if backward:
            for k, found in zip(check.by, check.analytical(j), strict=True):
                check.compare("Jacobian", j, k, numerical[k][j], found)
    if forward:
        for k in check.by:
            rows = [check.tangents(k, d) for d in directions(array_of(check.inputs[k]))]
            for j in range(len(outputs)):
                found = np.stack([row[j] for row in rows]) if rows else numerical[k][j]
                check.compare("Jacobian computed with forward mode", j, k, numerical[k][j], found)


def _check_products(check: Derivatives, outputs: list[Tensor], forward: bool, backward: bool) -> None:
    """The same of a random direction and a random gradient."""
    rng = np.random.default_rng(0)
    for k in check.by:
        direction = unit(rng, array_of(check.inputs[k]))
        numerical = check.differences(k, direction)
        moved = check.tangents(k, direction) if forward else numerical
        for j, out in enumerate(outputs):
            seed = unit(rng, array_of(out))
            weights = flat(seed)
            if forward:
                check.compare("Jacobian computed with forward mode", j, k, numerical[j], moved[j])
            if not backward:
                continue
            g = check.pulled(out, tensor(seed, device=out.device))[check.by.index(k)]
            found = 0.0 if g is None else real(g) @ flat(direction)
            check.compare("Jacobian", j, k, np.array([numerical[j] @ weights]), np.array([found]))


def _check_repeated(check: Derivatives, outputs: list[Tensor], tolerance: float, dtypes: bool) -> None:
    """Gradients that are computed twice, and their dtypes."""
    for j, out in enumerate(outputs):
        with enable_grad():
            again = check.outputs()[j]
        seed = tensor(np.ones_like(array_of(out)), device=out.device)
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
    return float(np.abs(array_of(a) - array_of(b)).max(initial=0.0))


def _check_alone(check: Derivatives, outputs: list[Tensor]) -> None:
    """Going back from each result alone."""
    for j, out in enumerate(outputs):
        if len(outputs) < 2 or edge_of(out) is None:
            continue
        try:
            check.pulled(out, tensor(np.zeros_like(array_of(out)), device=out.device))
        except TracecError:
            raise
        except Exception as error:
            fail(
                GradcheckError,
                f"Expected backward function to handle undefined output grads. Going back from output {j} alone "
                f"raised {type(error).__name__}: {error}",
                "look for None among the gradients in backward, or leave set_materialize_grads(True)",
            )


def _check_batched(check: Derivatives, outputs: list[Tensor]) -> None:
    """Many gradients at once."""
    rng = np.random.default_rng(0)
    for j, out in enumerate(outputs):
        if edge_of(out) is None:
            continue
        seeds = np.stack([unit(rng, array_of(out)) for _ in range(2)])
        used = [i for i, g in enumerate(check.pulled(out, tensor(seeds[0], device=out.device))) if g is not None]

        def back(seed: Tensor, out: Tensor = out, used: list[int] = used) -> list[Any]:
            found = check.pulled(out, seed)
            return [found[i] for i in used]

        each = [back(tensor(s, device=out.device)) for s in seeds]
        _compare_batched(check, "gradient", j, map_examples("gradcheck", back, tensor(seeds), None), each)


def _check_batched_forward(check: Derivatives) -> None:
    rng = np.random.default_rng(0)
    for k in check.by:
        moves = np.stack([unit(rng, array_of(check.inputs[k])) for _ in range(2)])

        def push(d: Tensor, k: int = k) -> list[Any]:
            return check.pushed(k, d)

        with enable_grad():
            each = [push(tensor(d)) for d in moves]
            _compare_batched(check, "tangent", k, map_examples("gradcheck", push, tensor(moves), None), each)


def _compare_batched(check: Derivatives, what: str, at: int, many: list[Tensor], each: list[list[Tensor]]) -> None:
    for i, found in enumerate(many):
        expected = np.stack([array_of(e[i]) for e in each])
        if not np.allclose(array_of(found), expected, check.rtol, check.atol):
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
    check = Derivatives(func, given, eps, atol, rtol)
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
        like = array_of(out)
        drawn = unit(rng, like) * max(like.size, 1) ** 0.5
        made = tensor(drawn, device=out.device)
        if apart and made.ndim:
            made = tensor(np.stack([drawn, drawn], -1), device=out.device)[..., 0]
        found.append(made.requires_grad_())
    return tuple(found)


__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]
