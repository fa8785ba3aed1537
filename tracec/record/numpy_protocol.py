"""NumPy's functions on tensors, and Python's functions on their elements."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tracec.errors import ArgumentTypeError
from tracec.record.cell import Cell
from tracec.record.create import of_array
from tracec.record.write import check_writable, copy_into

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor

#: NumPy's name of an operator → Python's, by which tensors do it.
_OPERATORS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "true_divide": operator.truediv,
    "floor_divide": operator.floordiv,
    "remainder": operator.mod,
    "power": operator.pow,
    "matmul": operator.matmul,
    "equal": operator.eq,
    "not_equal": operator.ne,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "bitwise_and": operator.and_,
    "bitwise_or": operator.or_,
    "bitwise_xor": operator.xor,
    "left_shift": operator.lshift,
    "right_shift": operator.rshift,
}

#: NumPy's function of one floating operand → the method of tensors that does the same.
_METHODS = {
    **{n: n for n in ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "square", "sin", "cos", "tan")},
    **{n: n for n in ("sinh", "cosh", "tanh", "floor", "ceil", "trunc", "rint", "sign", "reciprocal", "negative")},
    **{f"arc{n}": f"a{n}" for n in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    "absolute": "abs",
    "fabs": "abs",
    "rint": "round",
}


class NumPy(Cell):
    """What NumPy's functions find in a tensor: tensors come out, differentiated where tensors know the function."""

    __array_priority__ = 1000

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        if method == "__call__" and out is None and not kwargs:
            name = ufunc.__name__
            if name in _OPERATORS:
                return _OPERATORS[name](*map(_operand, inputs))
            if name in _METHODS and self._array.dtype.kind not in "biu":
                return getattr(self, _METHODS[name])()
        arrays = [x.numpy() if isinstance(x, Cell) else x for x in inputs]  # type: ignore[attr-defined]
        if out is not None:
            if any(isinstance(o, Cell) for o in out):
                raise ArgumentTypeError(
                    f"{ufunc.__name__}: NumPy cannot write into a tensor", hint="use the tensor's own functions"
                )
            kwargs["out"] = out
        found = getattr(ufunc, method)(*arrays, **kwargs)
        if out is not None:
            return found
        return tuple(map(_result, found)) if isinstance(found, tuple) else _result(found)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return _result(array)

    def apply_(self, callable: Callable[[Any], Any]) -> Tensor:
        """Write the values of a Python function of each element; slow, and only on the CPU."""
        return self.map_(None, lambda own, _: callable(own))

    def map_(self, tensor: Cell | None, callable: Callable[[Any, Any], Any]) -> Tensor:
        """Write the values of a Python function of each element and that of another tensor, broadcast."""
        check_writable(self, "map_")
        own: Any = self
        values = own.detach().numpy()
        other = values if tensor is None else np.broadcast_to(tensor.detach().numpy(), values.shape)  # type: ignore[attr-defined]
        pairs = zip(values.reshape(-1).tolist(), other.reshape(-1).tolist(), strict=True)
        found = np.array([callable(a, b) for a, b in pairs], values.dtype).reshape(values.shape)
        return copy_into(own, of_array(found), "map_")


def _operand(x: Any) -> Any:
    """What is not a tensor, so that the operator is a tensor's: arrays as tensors, NumPy's numbers as Python's."""
    if isinstance(x, np.generic):
        return x.item()
    return of_array(x) if isinstance(x, np.ndarray) else x


def _result(x: Any) -> Any:
    return of_array(np.asarray(x)) if isinstance(x, (np.ndarray, np.generic)) else x
