"""Kernels that apply every scalar operation, for tests of code generation."""

from __future__ import annotations

from tests.codegen.kernels import read_kernel
from tracec.ir.kernel import Kernel

# fmt: off
UNARY = [
    "neg", "abs", "sign", "exp", "expm1", "log", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh",
    "tanh", "erf", "sqrt", "rsqrt", "sigmoid", "floor", "ceil", "round", "trunc", "exp2", "log2", "log10", "asinh",
    "acosh", "atanh",
]
BINARY = [
    "add", "sub", "mul", "div", "pow", "maximum", "minimum", "atan2", "floor_div", "remainder", "fmod", "copysign",
    "hypot", "nextafter", "logaddexp",
]
INTEGER = [
    "add", "sub", "mul", "maximum", "minimum", "floor_div", "remainder", "bitwise_and", "bitwise_or", "bitwise_xor",
    "shift_left", "shift_right", "pow", "fmod",
]
# fmt: on


def _outputs(names: list[str], dtype: str, n: int) -> str:
    return ", ".join(f"y{i}: out {dtype}[{n}]" for i in range(len(names)))


def unary_functions(n: int, dtype: str) -> Kernel:
    """Every function of one operand."""
    stores = "\n".join(f"    store y{i}[i] = {name}(x[i])" for i, name in enumerate(UNARY))
    return read_kernel(f"""
kernel unary(x: in {dtype}[{n}], {_outputs(UNARY, dtype, n)}, p: out bool[{n}]) map {{
  for i in {n} parallel {{
{stores}
    store p[i] = isnan(log(x[i]))
  }}
}}""")


def binary_functions(n: int, dtype: str) -> Kernel:
    """Every operation of two operands."""
    names = INTEGER if dtype[0] in "iu" else BINARY
    stores = "\n".join(f"    store y{i}[i] = {name}(x[i], p[i])" for i, name in enumerate(names))
    return read_kernel(f"""
kernel binary(x: in {dtype}[{n}], p: in {dtype}[{n}], {_outputs(names, dtype, n)}) map {{
  for i in {n} parallel {{
{stores}
  }}
}}""")


DTYPES = ["bool", "u8", "i8", "i16", "i32", "i64", "u16", "u32", "u64", "f16", "bf16", "f32", "f64"]


def casts(n: int, dtype: str) -> Kernel:
    """One dtype to every other; what is stored is what a cast gave, or the value itself."""
    outputs = ", ".join(f"y{i}: out {d}[{n}], z{i}: out {d}[{n}]" for i, d in enumerate(DTYPES))
    stores = "\n".join(f"    store y{i}[i] = cast(p[i], {d})\n    store z{i}[i] = p[i]" for i, d in enumerate(DTYPES))
    return read_kernel(f"""
kernel casts(p: in {dtype}[{n}], {outputs}, w: out f32[{n}]) map {{
  for i in {n} parallel {{
{stores}
    store w[i] = cast(cast(mul(cast(p[i], f32), f32(0.3)), bf16), f32)
  }}
}}""")
