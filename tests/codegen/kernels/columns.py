"""Reductions of columns and of everything."""

from __future__ import annotations

from tests.codegen.kernels.text import compute_of, load, read_kernel
from tracec.ir.kernel import Kernel


def column_sum(n: int, columns: int, dtype: str = "f32", outer: int = 1) -> Kernel:
    """Sums over a strided loop."""
    c = compute_of(dtype)
    return read_kernel(f"""
kernel column_sum(x: in {dtype}[{outer},{n},{columns}], y: out {dtype}[{outer},{columns}]) column {{
  for o in {outer} parallel {{
    for i in {columns} parallel {{
      acc s: {c} = add
      for r in {n} reduce {{
        update s <- {load(f"x[{n * columns}*o + {columns}*r + i]", dtype)}
      }}
      store y[{columns}*o + i] = s
    }}
  }}
}}""")


def column_softmax(n: int, columns: int) -> Kernel:
    """Columns kept on chip."""
    return read_kernel(f"""
kernel column_softmax(x: in f32[{n},{columns}], y: out f32[{n},{columns}]) column {{
  for i in {columns} parallel {{
    scratch row: f32[{n}]
    acc t: f32 = maximum
    for r in {n} reduce {{
      store row[r] = x[{columns}*r + i]
      update t <- x[{columns}*r + i]
    }}
    acc s: f32 = add
    for r in {n} reduce {{
      update s <- exp(sub(row[r], t))
    }}
    for r in {n} each {{
      store y[{columns}*r + i] = div(exp(sub(row[r], t)), s)
    }}
  }}
}}""")


def column_shares(n: int, columns: int) -> Kernel:
    """Each element's share of its column's sum: all threads need it."""
    return read_kernel(f"""
kernel column_shares(x: in f32[{n},{columns}], y: out f32[{n},{columns}]) column {{
  for i in {columns} parallel {{
    acc s: f32 = add
    for r in {n} reduce {{
      update s <- x[{columns}*r + i]
    }}
    for r in {n} each {{
      store y[{columns}*r + i] = mul(x[{columns}*r + i], s)
    }}
  }}
}}""")


def full_sum(n: int, dtype: str = "f32", combine: str = "add") -> Kernel:
    """Everything to one number."""
    c = compute_of(dtype)
    return read_kernel(f"""
kernel full_sum(x: in {dtype}[{n}], y: out {dtype}[]) full {{
  acc s: {c} = {combine}
  for r in {n} reduce {{
    update s <- {load("x[r]", dtype)}
  }}
  store y[0] = s
}}""")
