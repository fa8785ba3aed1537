"""Transforms made of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tracec import nn
from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.vision.transforms import draws
from tracec.vision.transforms.checks import callables, check_probability


def _listed(name: str, transforms: Sequence[Any], *before: str) -> str:
    lines = [*before, *(str(t) for t in transforms)]
    return "\n".join([f"{name}(", *(f"    {line}" for line in lines), ")"])


class Compose:
    """Transforms one after the other.

    Args:
        transforms: What is called with an image, in order.

    Raises:
        ArgumentTypeError: one cannot be called, or is a class.
    """

    def __init__(self, transforms: Sequence[Callable[..., Any]]) -> None:
        self.transforms = callables("Compose", transforms)

    def __call__(self, img: Any) -> Any:
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        return _listed(type(self).__name__, self.transforms)


class Lambda:
    """A function as a transform.

    Args:
        lambd: The function.

    Raises:
        ArgumentTypeError: it cannot be called.
    """

    def __init__(self, lambd: Callable[..., Any]) -> None:
        if not callable(lambd):
            raise ArgumentTypeError(f"Lambda: takes a function, {type(lambd).__name__} given", hint="lambda x: x / 255")
        self.lambd = lambd

    def __call__(self, img: Any) -> Any:
        return self.lambd(img)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class RandomApply(nn.Module):
    """Transforms one after the other, or none of them.

    Args:
        transforms: What is called with an image, in order.
        p: How often.
    """

    def __init__(self, transforms: Sequence[Callable[..., Any]], p: float = 0.5) -> None:
        super().__init__()
        self.transforms = callables("RandomApply", transforms)
        self.p = check_probability("RandomApply", p)

    def forward(self, img: Any) -> Any:
        """The image, transformed or not."""
        if not draws.happens(self.p):
            return img
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        return _listed(type(self).__name__, self.transforms, f"p={self.p}")


class RandomOrder:
    """Transforms one after the other, in any order.

    Args:
        transforms: What is called with an image.
    """

    def __init__(self, transforms: Sequence[Callable[..., Any]]) -> None:
        self.transforms = callables("RandomOrder", transforms)

    def __call__(self, img: Any) -> Any:
        for k in draws.order(len(self.transforms)):
            img = self.transforms[k](img)
        return img

    def __repr__(self) -> str:
        return _listed(type(self).__name__, self.transforms)


class RandomChoice:
    """One of several transforms.

    Args:
        transforms: What is called with an image.
        p: How much each weighs; by default all alike.

    Raises:
        ArgumentError: there is none, or not one weight for each.
    """

    def __init__(self, transforms: Sequence[Callable[..., Any]], p: Sequence[float] | None = None) -> None:
        self.transforms = callables("RandomChoice", transforms)
        if not len(self.transforms):
            raise ArgumentError("RandomChoice: no transform is given", hint="give at least one")
        if p is not None and (len(p) != len(self.transforms) or min(p) < 0 or not sum(p) > 0):
            raise ArgumentError(
                f"RandomChoice: p={p!r} for {len(self.transforms)} transforms", hint="a weight for each, none negative"
            )
        self.p = p

    def __call__(self, img: Any) -> Any:
        return self.transforms[draws.choice(self.p or [1] * len(self.transforms))](img)

    def __repr__(self) -> str:
        return f"{_listed(type(self).__name__, self.transforms)}(p={self.p})"
