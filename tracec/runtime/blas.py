"""BLAS routines as addresses that generated C can call."""

from __future__ import annotations

import ctypes
import glob
import os
from dataclasses import dataclass
from functools import cache

import numpy as np

from tracec.ir.forks import unforked


@dataclass(frozen=True, slots=True)
class Blas:
    """Addresses of CBLAS routines whose integers have 64 bits; 0 where there is none.

    Attributes:
        sgemm: float32 product.
        dgemm: float64 product.
        get_threads: ``int (void)``.
        set_threads: ``void (int)``.
    """

    sgemm: int = 0
    dgemm: int = 0
    get_threads: int = 0
    set_threads: int = 0


@cache
def find_blas() -> Blas:
    """The OpenBLAS inside of NumPy's wheel, which NumPy has loaded already."""
    root = os.path.dirname(np.__file__)
    folders = (os.path.join(os.path.dirname(root), "numpy.libs"), os.path.join(root, ".dylibs"))
    for path in sorted(p for f in folders for p in glob.glob(os.path.join(f, "*openblas*"))):
        try:
            with unforked():
                library = ctypes.CDLL(path)
        except OSError:
            continue
        for prefix in ("scipy_", ""):
            try:
                return Blas(
                    symbol_address(library, f"{prefix}cblas_sgemm64_"),
                    symbol_address(library, f"{prefix}cblas_dgemm64_"),
                    symbol_address(library, f"{prefix}openblas_get_num_threads64_"),
                    symbol_address(library, f"{prefix}openblas_set_num_threads64_"),
                )
            except AttributeError:
                continue
    return Blas()


def symbol_address(library: ctypes.CDLL | None, name: str) -> int:
    """Where a function of a library lies.

    Raises:
        AttributeError: the library has none of that name.
    """
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0


class LibTable(ctypes.Structure):
    """``struct tracec_lib`` of generated C."""

    _fields_ = [
        (name, ctypes.c_void_p)
        for name in ("sgemm", "dgemm", "get_threads", "set_threads", "begin", "end", "no_memory")
    ]


def lib_table(host: ctypes.CDLL) -> LibTable:
    """The routines as generated C takes them; what BLAS lacks, the compiled helper has."""
    blas = find_blas()
    return LibTable(
        blas.sgemm or symbol_address(host, "tracec_sgemm"),
        blas.dgemm or symbol_address(host, "tracec_dgemm"),
        blas.get_threads,
        blas.set_threads,
        symbol_address(host, "tracec_blas_begin"),
        symbol_address(host, "tracec_blas_end"),
        symbol_address(host, "tracec_no_memory"),
    )
