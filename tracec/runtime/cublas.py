"""Matrix products by cuBLAS, the library that CuPy has loaded.

cuBLAS counts along columns, the plan along rows: a row-major product C = A B is the column-major C' = B' A',
and what is stored row by row is there already transposed.

CuPy's own functions refuse to be captured in a CUDA graph, which cuBLAS allows where it need not ask for memory:
so its functions are called directly, with a handle for each stream that has a workspace of its own.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any

from tracec.errors import CompileError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.runtime.arena import told_apart

#: ``cudaDataType``, ``cublasComputeType_t``, and the type of alpha and beta: sums of 16-bit floats are float32.
_TYPES: dict[DType, tuple[int, int, type]] = {
    dt.float16: (2, 68, ctypes.c_float),
    dt.bfloat16: (14, 68, ctypes.c_float),
    dt.float32: (0, 68, ctypes.c_float),
    dt.float64: (1, 70, ctypes.c_double),
}
#: Products of float32 are not rounded to TF32 unless asked for, and partial sums of 16-bit floats not to 16 bits.
_DISALLOW_REDUCED_PRECISION = 16
_DEFAULT_ALGORITHM = -1
#: What cuBLAS's documentation advises for Hopper; older GPUs take less.
WORKSPACE_BYTES = 32 << 20

#: What one call does to the batch: (sizes of axes that are looped over, then of the one that cuBLAS loops over).
_Axis = tuple[int, int, int, int]

_INSTALL = 'pip install "tracec[cuda]" brings it (nvidia-cublas)'
_POINTER, _INT, _LONG = ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong
_OPERAND, _STRIDED = (_POINTER, _INT, _INT), (_POINTER, _INT, _INT, _LONG)
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cublasCreate_v2": (_POINTER,),
    "cublasSetStream_v2": (_POINTER, _POINTER),
    "cublasSetMathMode": (_POINTER, _INT),
    "cublasSetWorkspace_v2": (_POINTER, _POINTER, ctypes.c_size_t),
    "cublasGemmEx": (
        _POINTER, *(_INT,) * 5, _POINTER, *_OPERAND, *_OPERAND, _POINTER, *_OPERAND, _INT, _INT,
    ),
    "cublasGemmStridedBatchedEx": (
        _POINTER, *(_INT,) * 5, _POINTER, *_STRIDED, *_STRIDED, _POINTER, *_STRIDED, _INT, _INT, _INT,
    ),
}  # fmt: skip


def gemm(params: Mapping[str, Any], a: int, b: int, c: int, pointers: Any, device: int) -> Callable[[int], None]:
    """A call of cuBLAS, given a stream, on what the pointers point at when it is made.

    Args:
        params: As `tracec.plan.routines` gives them.
        a: Where the first operand's address is among the pointers.
        b: And the second one's.
        c: And the result's.
        pointers: Addresses, an array of unsigned 64-bit integers that changes from call to call.
        device: Number of the device.

    Raises:
        CompileError: cuBLAS cannot be loaded.
    """
    library = _library()
    single, batched = library.cublasGemmEx, library.cublasGemmStridedBatchedEx
    dtype: DType = params["dtype"]
    kind, compute, scalar = _TYPES[dtype]
    m, n, k, size = params["m"], params["n"], params["k"], dtype.itemsize
    one, zero = scalar(1), scalar(0)
    alpha, beta = ctypes.addressof(one), ctypes.addressof(zero)
    transpose_b, transpose_a = int(params["trans_b"]), int(params["trans_a"])
    lda, ldb = params["lda"], params["ldb"]
    *outer, (count, step_a, step_b, step_c) = _batch(params["batch"], params["a_batch"], params["b_batch"], m * n)
    first_a, first_b = params["a_offset"] * size, params["b_offset"] * size
    shifts = [
        tuple(sum(i * axis[which] for i, axis in zip(index, outer, strict=True)) * size for which in (1, 2, 3))
        for index in product(*(range(axis[0]) for axis in outer))
    ]

    def run(stream: int, keep: Any = (one, zero)) -> None:
        handle = handle_of(device, stream)
        from_a, from_b, into = pointers[a] + first_a, pointers[b] + first_b, pointers[c]
        for shift_a, shift_b, shift_c in shifts:
            if count == 1:
                status = single(
                    handle, transpose_b, transpose_a, n, m, k, alpha, from_b + shift_b, kind, ldb,
                    from_a + shift_a, kind, lda, beta, into + shift_c, kind, n, compute, _DEFAULT_ALGORITHM,
                )  # fmt: skip
            else:
                status = batched(
                    handle, transpose_b, transpose_a, n, m, k, alpha, from_b + shift_b, kind, ldb, step_b,
                    from_a + shift_a, kind, lda, step_a, beta, into + shift_c, kind, n, step_c, count, compute,
                    _DEFAULT_ALGORITHM,
                )  # fmt: skip
            if status:
                raise _failure("gemm", status)

    return run


def _batch(shape: Sequence[int], a: Sequence[int], b: Sequence[int], matrix: int) -> list[_Axis]:
    """The axes of the batch with the steps of both operands and the result, joined where they walk as one."""
    axes: list[_Axis] = []
    step = matrix
    for size, step_a, step_b in zip(reversed(shape), reversed(a), reversed(b), strict=True):
        if size != 1:
            inner = axes[-1] if axes else None
            if inner is not None and (step_a, step_b) == (inner[0] * inner[1], inner[0] * inner[2]):
                axes[-1] = (size * inner[0], *inner[1:])
            else:
                axes.append((size, step_a, step_b, step))
        step *= size
    if not axes:
        return [(1, 0, 0, matrix)]
    # cuBLAS loops over the longest one.
    axes.sort(key=lambda axis: axis[0])
    return axes


def available() -> bool:
    """Whether cuBLAS can be loaded."""
    try:
        _library()
    except CompileError:
        return False
    return True


@cache
def takes(dtype: DType, device: int) -> bool:
    """Whether the library multiplies matrices of a type on a device, tried once.

    Of bfloat16 not all of its releases do on GPUs before sm_80, which compute it in float32.

    Args:
        dtype: Type of the elements.
        device: Number of the device.
    """
    cupy = importlib.import_module("cupy")
    n = 8
    matrix = {"m": n, "n": n, "k": n, "lda": n, "ldb": n, "trans_a": False, "trans_b": False, "dtype": dtype}
    alone = {"batch": (), "a_batch": (), "b_batch": (), "a_offset": 0, "b_offset": 0}
    with cupy.cuda.Device(device):
        try:
            memory = cupy.cuda.alloc(3 * n * n * dtype.itemsize)
            places = [memory.ptr + k * n * n * dtype.itemsize for k in range(3)]
            gemm(matrix | alone, 0, 1, 2, places, device)(cupy.cuda.get_current_stream().ptr)
        except CompileError:
            return False
        except MemoryError:  # what the product is for says so
            return True
    return True


@cache
def _library() -> Any:
    """The library's functions.

    Raises:
        CompileError: it is not there.
    """
    try:
        cuda = importlib.import_module("cupy.cuda")
        _ = cuda.cublas  # finds and loads the library; it is an attribute, and no module that can be imported
        library = ctypes.CDLL(f"libcublas.so.{cuda.runtime.runtimeGetVersion() // 1000}")
    except Exception as error:  # CuPy raises what the loader raised
        reason = str(error).split("\n")[0]
        raise CompileError(f"gemm: cuBLAS cannot be loaded ({reason})", hint=_INSTALL) from None
    for name, types in _SIGNATURES.items():
        getattr(library, name).argtypes = types
    return library


_handles: dict[tuple[int, int], tuple[int, Any]] = {}


def handle_of(device: int, stream: int) -> int:
    """The handle for a stream of the current device, which is that one."""
    place = device, told_apart(stream)
    found = _handles.get(place)
    if found is None:
        found = _handles.setdefault(place, _new_handle(stream))  # another thread's stays: its workspace may be in use
    return found[0]


def _new_handle(stream: int) -> tuple[int, Any]:
    library = _library()
    handle = ctypes.c_void_p()
    workspace = importlib.import_module("cupy").cuda.alloc(WORKSPACE_BYTES)
    for name, status in (
        ("create", library.cublasCreate_v2(ctypes.byref(handle))),
        ("set stream", library.cublasSetStream_v2(handle, stream)),
        ("set workspace", library.cublasSetWorkspace_v2(handle, workspace.ptr, WORKSPACE_BYTES)),
        ("set math mode", library.cublasSetMathMode(handle, _DISALLOW_REDUCED_PRECISION)),
    ):
        if status:
            raise _failure(name, status)
    return handle.value or 0, workspace


def _failure(what: str, status: int) -> CompileError:
    return CompileError(f"gemm: cuBLAS: {what} failed with status {status}", hint="please report this with the shapes")
