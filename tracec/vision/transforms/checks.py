"""What transforms check when they are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.vision.transforms.functional.images import numbers


def check_probability(name: str, p: Any) -> float:
    """A probability.

    Raises:
        ArgumentTypeError: it is no number.
        ArgumentError: it is not of 0 to 1.
    """
    (value,) = numbers(name, "p", p, (1,))
    if not 0 <= value <= 1:
        raise ArgumentError(f"{name}: p={p!r} is no probability", hint="0 to 1")
    return p


def around(
    name: str, what: str, given: Any, center: float, least: float | None = None, most: float | None = None
) -> tuple[float, float] | None:
    """A range that is given as itself, or as what it reaches to both sides of a value; None where it is that value.

    Raises:
        ArgumentError: it is negative, falls, or goes beyond bounds.
    """
    values = numbers(name, what, given, (1, 2))
    if len(values) == 1:
        if values[0] < 0:
            raise ArgumentError(f"{name}: {what}={given!r} is negative", hint="0 changes nothing")
        low, high = center - values[0], center + values[0]
        low = max(low, 0.0) if least == 0 else low
    else:
        low, high = values
    if low > high or (least is not None and low < least) or (most is not None and high > most):
        limits = f"from {'…' if least is None else least} to {'…' if most is None else most}"
        raise ArgumentError(f"{name}: {what}={given!r} is no range", hint=f"two numbers that rise, {limits}")
    return None if low == high == center else (float(low), float(high))


def degrees(name: str, what: str, given: Any, counts: Sequence[int] = (2,)) -> list[float]:
    """Ranges of angles: one number reaches to both sides of zero.

    Raises:
        ArgumentError: it is negative.
    """
    values = numbers(name, what, given, (1, *counts))
    if len(values) > 1:
        return [float(v) for v in values]
    if values[0] < 0:
        raise ArgumentError(f"{name}: {what}={given!r} is negative", hint="or give a range: (-10, 10)")
    return [-float(values[0]), float(values[0])]


def callables(name: str, given: Any) -> Sequence[Any]:
    """A sequence of transforms.

    Raises:
        ArgumentTypeError: it is none, or one of them cannot be called.
    """
    if isinstance(given, (str, bytes)) or not hasattr(given, "__iter__"):
        raise ArgumentTypeError(
            f"{name}: takes a list of transforms, {type(given).__name__} given", hint="[ToTensor()]"
        )
    for transform in given:
        if not callable(transform):
            raise ArgumentTypeError(
                f"{name}: {type(transform).__name__} cannot be called with an image", hint="give objects: ToTensor()"
            )
        if isinstance(transform, type):
            raise ArgumentTypeError(
                f"{name}: {transform.__name__} is a class", hint=f"make an object of it: {transform.__name__}(…)"
            )
    return given
