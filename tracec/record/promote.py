"""How operands of several element types meet: PyTorch's rules.

Operands have a rank: tensors with dimensions, then tensors without, then Python scalars. A lower rank
changes the result only where it brings a higher category (bool < integer < float < complex) than the ranks above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tracec.errors import ArgumentTypeError, DTypeError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.operator import OPERATORS, Operator

#: The floating type of new tensors, and of integers where an operator needs floats.
DEFAULT_FLOAT = dt.float32

_SCALARS: dict[type, DType] = {bool: dt.bool_, int: dt.int64, float: dt.float32, complex: dt.complex64}

#: On bools these are logic, as in PyTorch.
_ON_BOOLS = {"add": "bitwise_or", "mul": "bitwise_and", "maximum": "bitwise_or", "minimum": "bitwise_and"}

#: Sums of small integers are int64, as in PyTorch.
_WIDENING = ("sum", "prod", "cumsum", "cumprod")


@dataclass(frozen=True, slots=True)
class Operand:
    """What promotion looks at.

    Attributes:
        dtype: Element type of a tensor; None for a Python scalar.
        ndim: Its dimensions.
        scalar: Type of a Python scalar.
    """

    dtype: DType | None
    ndim: int = 0
    scalar: type = float


def result_type(operands: Sequence[Operand]) -> DType:
    """The common type of operands."""
    ranks: list[DType | None] = [None, None, None]
    for o in operands:
        rank = 2 if o.dtype is None else 0 if o.ndim else 1
        dtype = o.dtype or _SCALARS[o.scalar]
        before = ranks[rank]
        ranks[rank] = dtype if before is None else dt.promote(before, dtype)
    found = _meet(ranks[0], _meet(ranks[1], ranks[2]))
    assert found is not None
    return found


def _meet(higher: DType | None, lower: DType | None) -> DType | None:
    if higher is None or lower is None:
        return lower if higher is None else higher
    if higher.kind == "f" and lower.kind == "c":
        return higher.to_complex()
    if higher.kind in "bui" and (higher.kind == "b" or lower.kind in "fc"):
        return dt.promote(higher, lower)
    return higher


def promote(op: Operator, operands: Sequence[Operand]) -> tuple[Operator, list[DType]]:
    """The operator to apply and the element type that each operand is cast to first.

    Raises:
        DTypeError: there is no common type.
    """
    own = [o.dtype or _SCALARS[o.scalar] for o in operands]
    if op.name in _WIDENING and own[0].kind in "bui" and own[0] is not dt.uint64:
        return op, [dt.int64]
    if op.name == "where":
        return op, [own[0], *[result_type(operands[1:])] * 2]
    if op.promotion == "none" or not operands or op.name == "cast":
        return op, own
    if op.name == "dot":
        _check_matmul(own)
    common = result_type(operands)
    if op.promotion == "float" and common.kind not in "fc":
        common = DEFAULT_FLOAT
    if common.kind == "b" and op.name in _ON_BOOLS:
        op = OPERATORS[_ON_BOOLS[op.name]]
    return op, [common] * len(own)


def _check_matmul(dtypes: Sequence[DType]) -> None:
    if any(d is not dtypes[0] for d in dtypes):
        raise DTypeError(
            f"matrices have dtypes {' and '.join(d.name for d in dtypes)}", hint="cast one to the other's dtype"
        )


def set_default_float(dtype: DType) -> None:
    """Make another floating type that of new tensors."""
    global DEFAULT_FLOAT
    DEFAULT_FLOAT = _SCALARS[float] = dtype
    _SCALARS[complex] = dtype.to_complex()


def result_type_of(a: Any, b: Any) -> DType:
    """The element type of a result of two operands, tensors or Python scalars."""
    return result_type([_operand(a), _operand(b)])


#: Categories of element types, by kind: what holds all values of the ones below.
_CATEGORIES = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


def can_cast(from_: DType, to: DType) -> bool:
    """Whether results of one element type may be written into tensors of another: its category is not lower."""
    return _CATEGORIES[from_.kind] <= _CATEGORIES[to.kind]


def promote_types(type1: DType, type2: DType) -> DType:
    """The smallest element type that holds the values of both, by PyTorch's table.

    Raises:
        ArgumentTypeError: they are no element types.
        DTypeError: there is no common type.
    """
    for given in (type1, type2):
        if not isinstance(given, DType):
            raise ArgumentTypeError(
                f"promote_types: takes element types, {type(given).__name__} given", hint="e.g. tracec.float32"
            )
    return dt.promote(type1, type2)


def _operand(x: Any) -> Operand:
    return Operand(x.dtype, x.ndim) if hasattr(x, "dtype") else Operand(None, scalar=type(x))
