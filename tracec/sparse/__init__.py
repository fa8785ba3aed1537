"""Sparse tensors, under the names of ``torch.sparse``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tracec.errors import name_missing
from tracec.functions.sparsity import sparse_coo_tensor
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.record import promote
from tracec.record.tensor import Tensor
from tracec.sparse import compressed  # noqa: F401 (it imports those that enter their functions)
from tracec.sparse.products import addmm as _addmm
from tracec.sparse.products import mm as _mm
from tracec.sparse.products import sampled_addmm
from tracec.sparse.reductions import log_softmax, softmax, sum


def mm(mat1: Tensor, mat2: Tensor) -> Any:
    """The product of a sparse matrix and a dense or sparse one; gradients flow to what is stored.

    Raises:
        ShapeError: they are no matrices, or do not fit.
    """
    return _mm(mat1, mat2)


def addmm(mat: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1.0, alpha: float = 1.0) -> Any:
    """``beta * mat + alpha * (mat1 @ mat2)`` of a sparse matrix ``mat1``."""
    return _addmm(mat, mat1, mat2, beta=beta, alpha=alpha)


def _old_type(name: str, dtype: DType | None) -> Callable[..., Any]:
    """A type of old programs' sparse tensors: ``torch.sparse.FloatTensor(indices, values, size)``."""

    def make(indices: Any = None, values: Any = None, size: Sequence[int] | None = None) -> Any:
        return sparse_coo_tensor(indices, values, size, dtype=dtype or promote.DEFAULT_FLOAT)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"`tracec.sparse_coo_tensor` of elements of one type, under its old name ``{name}``."
    return make


FloatTensor, DoubleTensor = _old_type("FloatTensor", dt.float32), _old_type("DoubleTensor", dt.float64)
HalfTensor, BFloat16Tensor = _old_type("HalfTensor", dt.float16), _old_type("BFloat16Tensor", dt.bfloat16)
LongTensor, IntTensor = _old_type("LongTensor", dt.int64), _old_type("IntTensor", dt.int32)
ShortTensor, CharTensor = _old_type("ShortTensor", dt.int16), _old_type("CharTensor", dt.int8)
ByteTensor = _old_type("ByteTensor", dt.uint8)

__all__ = [
    "BFloat16Tensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor", "IntTensor",
    "LongTensor", "ShortTensor", "addmm", "log_softmax", "mm", "sampled_addmm", "softmax", "sum",
]  # fmt: skip


if not TYPE_CHECKING:

    def __getattr__(name):
        raise name_missing(sys.modules[__name__], name)
