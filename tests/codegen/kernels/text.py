"""Kernels from their text."""

from __future__ import annotations

from tracec.ir import parse, verify_kernel
from tracec.ir.dtype import ALL
from tracec.ir.kernel import Kernel


def read_kernel(text: str) -> Kernel:
    kernel = parse(text)
    assert isinstance(kernel, Kernel)
    verify_kernel(kernel)
    return kernel


def compute_of(dtype: str) -> str:
    return next(d.compute.short for d in ALL if d.short == dtype)


def load(element: str, dtype: str) -> str:
    return element if compute_of(dtype) == dtype else f"cast({element}, {compute_of(dtype)})"


def number_of(value: int, dtype: str) -> str:
    return f"{compute_of(dtype)}({float(value) if dtype.startswith(('f', 'bf')) else value})"
