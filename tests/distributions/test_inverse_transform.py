"""The inverse of a transform, which programs that handle transforms tell by its class."""

from __future__ import annotations

from tracec.distributions import transforms


def test_inverses_are_of_their_class() -> None:
    made = transforms.AffineTransform(1.0, 2.0)
    assert isinstance(made.inv, transforms._InverseTransform) and made.inv.inv is made
    assert repr(transforms.ExpTransform().inv) == "_InverseTransform(ExpTransform())"
    assert not isinstance(made, transforms._InverseTransform)
