"""Tensors made of what is not a tensor, so that a recorder at work learns of them."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tracec.ir.dtype import DType
from tracec.ir.types import Shape
from tracec.record.cell import new_tensor
from tracec.record.deferred import ACTIVE
from tracec.record.elements import lent_by
from tracec.record.seen import seen_by_others
from tracec.record.state import STATE

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor


def of_numbers(array: Any) -> Tensor:
    """A tensor over an array that was just made of Python's numbers.

    In a recorded function the numbers are as they were when it was recorded.
    """
    made = new_tensor(array)
    if STATE.inference:
        made._is_inference = True
    if STATE.recorder is not None:
        STATE.recorder.adopt(made, from_array=False)
    return made


def zeros_at_once(shape: Shape, dtype: DType) -> Tensor | None:
    """Zeros on the CPU, where nobody is told of operators; None where somebody is, or there is more to be asked."""
    if STATE.recorder is not None or STATE.duals or ACTIVE:
        return None
    if any(type(n) is not int or n < 0 for n in shape) or prod(shape) > 1 << 24:
        return None
    made = new_tensor(np.zeros(shape, dtype.numpy))
    if STATE.inference:
        made._is_inference = True
    return made


def of_array(array: Any, copied: bool = False) -> Tensor:
    """A tensor over the memory of an array that came from outside.

    A recorded function that lets others tell so, asks for its values.

    Args:
        array: The array.
        copied: It is a copy that nobody else has.
    """
    if (known := lent_by(array)) is not None:
        return known  # type: ignore[no-any-return]
    made = new_tensor(array if copied else seen_by_others(array))
    if STATE.recorder is not None:
        STATE.recorder.adopt(made, from_array=True)
    return made
