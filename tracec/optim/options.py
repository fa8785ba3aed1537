"""Checks of the options that users give to optimisers."""

from __future__ import annotations

from typing import Any

from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.functions.common import check_real
from tracec.record.tensor import Tensor


def is_set(option: Any) -> bool:
    """Whether a weight decay has an effect, as far as is known."""
    return isinstance(option, Tensor) or option != 0


def check_option(
    name: str, what: str, value: Any, *, below: float | None = None, most: float | None = None
) -> None:  # fmt: skip
    """Refuse options out of range.

    Raises:
        ArgumentTypeError: the value is no number.
        ArgumentError: the value is negative, not below the bound, or more than the most.
    """
    if not isinstance(value, (int, float, Tensor)) and not hasattr(value, "__float__"):
        raise ArgumentTypeError(f"{name}: {what} is a number, {type(value).__name__} given", hint="e.g. 0.1")
    number = float(value)
    if number >= 0.0 and (below is None or number < below) and (most is None or number <= most):
        return
    allowed = "0 or more" if below is None else f"at least 0 and below {below:g}"
    if most is not None:
        allowed = f"from 0 to {most:g}"
    raise ArgumentError(f"{name}: invalid {what}: {number:g}", hint=f"{what} is {allowed}")


def check_numbers(name: str, **options: Any) -> None:
    """Refuse options that are no real numbers.

    Raises:
        ArgumentTypeError: one is something else.
    """
    for what, value in options.items():
        check_real(name, value, what)


def check_not_zero(name: str, **options: Any) -> None:
    """Refuse options that are no real numbers, or that cannot be divided by.

    Raises:
        ArgumentTypeError: one is something else.
        ArgumentError: one is 0.
    """
    check_numbers(name, **options)
    for what, value in options.items():
        if not value:
            raise ArgumentError(f"{name}: {what} is 0", hint="it is divided by: give another number")


def check_several(name: str, what: str, values: Any, count: int) -> None:
    """Refuse what is not so many values.

    Raises:
        ArgumentTypeError: it is something else.
    """
    if not isinstance(values, (tuple, list)) or len(values) != count:
        raise ArgumentTypeError(f"{name}: {what} must be {count} numbers, {values!r} given", hint="give a tuple")


def check_betas(name: str, betas: tuple[float, float]) -> None:
    """Refuse weights of running estimates that are not from 0 to 1, 1 left out.

    Raises:
        ArgumentError: one is.
        ArgumentTypeError: they are not two numbers.
    """
    check_several(name, "betas", betas, 2)
    for k, beta in enumerate(betas):
        check_option(name, f"betas[{k}]", beta, below=1.0)


def check_no_differentiable(name: str, differentiable: bool) -> None:
    """Refuse PyTorch's steps that gradients flow through.

    Raises:
        ArgumentError: they are asked for.
    """
    if differentiable:
        raise ArgumentError(
            f"{name}: differentiable=True is not supported", hint="write the update with tensor operations"
        )
