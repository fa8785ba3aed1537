"""Numbers among the operands of a recorded function: inputs of its graph, of no dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tracec.errors import ArgumentError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.expression import Expression
from tracec.ir.number import Float, Integer, Number, Watcher, is_watched, plain, value_of
from tracec.ir.types import TensorType
from tracec.record.backend import module, number_on, on
from tracec.record.cell import new_tensor
from tracec.record.state import STATE

if TYPE_CHECKING:
    from tracec.record.recorder import Recorder
    from tracec.record.tensor import Tensor


class Scalar(NamedTuple):
    """An input of a graph that is a number.

    Attributes:
        expression: What it is.
        type: Its element type and device.
    """

    expression: Expression
    type: TensorType


class Numbers(Watcher):
    """Watches the Numbers of a recording, and makes them inputs where tensors meet them.

    Args:
        recorder: Whose they are.

    Attributes:
        scalars: The inputs, and the tensor that stands for each among the recorder's arguments.
    """

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.scalars: dict[Scalar, Tensor] = {}
        self._recorder = recorder

    def node(self, x: Number, type_: TensorType) -> Any:
        """The input that a Number is where it is used as a value of that type."""
        key = Scalar(x.expression, type_)
        found = self.scalars.get(key)
        if found is None:
            found = self.scalars[key] = new_tensor(array_of(x.value, type_))
            self._recorder.arguments = (*self._recorder.arguments, found)
        return self._recorder.node_of(found)


def array_of(value: Any, type_: TensorType) -> Any:
    """A number as an array of no dimensions.

    Raises:
        ArgumentError: an integer is too large.
    """
    if type_.device == "cpu":
        return scalar(value, type_.dtype)
    with on(type_.device):
        return module(type_.device).asarray(number_on(scalar(value, type_.dtype), type_.device))


def scalar(value: Any, dtype: DType) -> Any:
    """A Python scalar as an array of no dimensions."""
    kind = type(value)
    if kind is Float or kind is Integer:
        value = value.value
    if dtype.kind in "ui" and type(value) is int:
        try:
            # Wraps around where the type is narrower, as PyTorch does.
            return np.array(value).astype(dtype.numpy)
        except OverflowError:
            raise ArgumentError(f"the number {value} does not fit in {dtype.name}", hint="use a float") from None
    return np.array(value, dtype.numpy)


def watched_here(x: Any) -> Any:
    """A Number that the recorder at work watches, as it is; a plain number for others."""
    return x if STATE.recorder is not None and is_watched(x) else plain(x)


def constant_of(x: Number, dtype: DType | None, device: str) -> Tensor:
    """What the operator ``constant`` makes of a Number: a tensor of no dimensions that is an input.

    Raises:
        ArgumentError: it does not fit the element type.
    """
    chosen = dtype or dt.of_scalar(x.value)
    if chosen.kind in "iu":
        info = np.iinfo(chosen.numpy)
        if not int(info.min) <= x <= int(info.max):
            raise ArgumentError(
                f"constant: the number {value_of(x)} does not fit in {chosen.name}",
                hint=f"it holds integers from {info.min} to {info.max}",
            )
    type_ = TensorType(chosen, (), device)
    made = new_tensor(array_of(x.value, type_))
    made._is_constant = True
    if STATE.inference:
        made._is_inference = True
    STATE.recorder.hold(made, x.watcher.node(x, type_))  # type: ignore[union-attr, attr-defined]
    return made
