"""Padding as modules: elements put around the spatial axes."""

from __future__ import annotations

from collections.abc import Sequence

from tracec import functions as F
from tracec.functions.common import Scalar, integers
from tracec.nn.module import Module
from tracec.record.tensor import Tensor


class _Pad(Module):
    """What paddings share.

    Args:
        padding: Amounts before and after, for the last axis first, or one for all sides; negative ones take away.
    """

    spatial: int
    mode: str

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        name = type(self).__name__
        sides = padding if isinstance(padding, Sequence) else (padding,) * (2 * self.spatial)
        self.padding = integers(name, sides, "padding")

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, C, ...)`` or ``(C, ...)``, with the spatial axes longer by what is put around."""
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ReflectionPad1d(_Pad):
    """One axis padded by what lies inside, mirrored at the edge element."""

    spatial, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """Two axes padded by what lies inside, mirrored at the edge elements."""

    spatial, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """Three axes padded by what lies inside, mirrored at the edge elements."""

    spatial, mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """One axis padded by its edge elements."""

    spatial, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """Two axes padded by their edge elements."""

    spatial, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """Three axes padded by their edge elements."""

    spatial, mode = 3, "replicate"


class CircularPad1d(_Pad):
    """One axis padded from its other end."""

    spatial, mode = 1, "circular"


class CircularPad2d(_Pad):
    """Two axes padded from their other ends."""

    spatial, mode = 2, "circular"


class CircularPad3d(_Pad):
    """Three axes padded from their other ends."""

    spatial, mode = 3, "circular"


class _ConstantPad(_Pad):
    """What paddings by one value share.

    Args:
        padding: Amounts before and after, for the last axis first, or one for all sides; negative ones take away.
        value: What is put in.
    """

    value: Scalar

    def __init__(self, padding: int | Sequence[int], value: Scalar) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, C, ...)`` or ``(C, ...)``, with the spatial axes longer by what is put around."""
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """One axis padded by a value."""

    spatial = 1


class ConstantPad2d(_ConstantPad):
    """Two axes padded by a value."""

    spatial = 2


class ConstantPad3d(_ConstantPad):
    """Three axes padded by a value."""

    spatial = 3


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad1d(_ZeroPad):
    """One axis padded by zeros."""

    spatial = 1


class ZeroPad2d(_ZeroPad):
    """Two axes padded by zeros."""

    spatial = 2


class ZeroPad3d(_ZeroPad):
    """Three axes padded by zeros."""

    spatial = 3
