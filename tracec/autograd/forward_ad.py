"""Forward mode with dual tensors: a tensor and how it moves, in one."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import NamedTuple

from tracec.errors import ArgumentError, GradientError, ShapeError
from tracec.functions.common import cast, check_tensor, fail
from tracec.record.backward import own
from tracec.record.cell import alias
from tracec.record.dual import DualLevel
from tracec.record.tape import edge_of
from tracec.record.tensor import Tensor


class _Open(threading.local):
    level: DualLevel | None = None


_open = _Open()


class UnpackedDualTensor(NamedTuple):
    """What `unpack_dual` gives.

    Attributes:
        primal: The tensor.
        tangent: How it moves; None where it does not.
    """

    primal: Tensor
    tangent: Tensor | None


def enter_dual_level() -> int:
    """Open the level; its number.

    Raises:
        GradientError: it is open.
    """
    if _open.level is not None:
        fail(
            GradientError,
            "enter_dual_level: Nested forward mode AD is not supported at the moment",
            "nest with tracec.func.jvp",
        )
    _open.level = DualLevel().__enter__()
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """Close the level: tensors move no more.

    Args:
        level: Its number, 0.

    Raises:
        GradientError: it is not open.
    """
    if _open.level is None or level not in (None, 0):
        fail(GradientError, "exit_dual_level: Trying to exit a forward AD level that is not open", "enter one first")
    _open.level.__exit__()
    _open.level = None


class dual_level:
    """Within, dual tensors can be made."""

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        exit_dual_level()


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """A tensor of the same values that moves in a direction.

    Args:
        tensor: The values.
        tangent: The direction; of the same shape and dtype.
        level: Number of the level, 0.

    Raises:
        GradientError: no level is open, or the tensor is not floating.
        ShapeError: the direction has another shape.
    """
    check_tensor("make_dual", tensor, "tensor")
    check_tensor("make_dual", tangent, "tangent")
    if _open.level is None or level not in (None, 0):
        fail(
            GradientError,
            "make_dual: Trying to create a dual Tensor for forward AD but no level exists",
            "make sure to enter_dual_level() first",
        )
    if not tensor.dtype.is_differentiable:
        fail(
            ArgumentError,
            f"make_dual: Expected primal to be floating point or complex, but got: {tensor.dtype}",
            "cast it with .float()",
        )
    if tensor.shape != tangent.shape:
        fail(
            ShapeError,
            "make_dual: Trying to set a forward gradient that has a different size than that of the original Tensor, "
            f"this is not supported. Tensor is of size {list(tensor.shape)} while the given forward gradient is of "
            f"size {list(tangent.shape)}.",
            "a tangent has the shape of what moves",
        )
    made = own(tensor)
    _open.level.give(made, cast(tangent, tensor.dtype))
    return made


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """A tensor that does not move, and how the one given does.

    Args:
        tensor: A tensor, dual or not.
        level: Number of the level, 0.
    """
    check_tensor("unpack_dual", tensor, "tensor")
    tangent = None if _open.level is None else _open.level.tangent(tensor)
    if tangent is None:
        return UnpackedDualTensor(tensor, None)
    primal: Tensor = alias(tensor)
    primal._history = edge_of(tensor)
    return UnpackedDualTensor(primal, tangent)
