"""CUDA C++'s tables: types, operations, casts. What they call is defined in ``templates/cuda/functions.cuh``."""

from __future__ import annotations

from dataclasses import replace

from tracec.codegen.expressions import (
    ATOM,
    EQUALITY,
    FLOATS,
    INTS,
    UNARY,
    Dialect,
    Operation,
    Table,
    c_like_operations,
    conversion,
    function,
    prefix,
    table,
)  # fmt: skip
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.exact import VARIATES

#: The type of a value in a register.
TYPES: dict[DType, str] = {
    dt.bool_: "bool",
    dt.uint8: "unsigned char",
    dt.int8: "signed char",
    dt.int16: "short",
    dt.int32: "int",
    dt.int64: "long long",
    dt.uint16: "unsigned short",
    dt.uint32: "unsigned",
    dt.uint64: "unsigned long long",
    dt.float16: "__half",
    dt.bfloat16: "__nv_bfloat16",
    dt.float32: "float",
    dt.float64: "double",
}

#: Headers that a type needs, or a conversion to it and back again.
HEADERS = {"__half": "cuda_fp16.h", "bfloat16": "cuda_bf16.h"}

# Single precision goes by C's names with an f; nothing here is a fast-math intrinsic.
_MATH = (
    "exp expm1 log log1p sin cos tan asin acos atan sinh cosh tanh erf sqrt rsqrt floor ceil trunc "
    "exp2 log2 log10 asinh acosh atanh"
)
_MATH_OF_TWO = "pow atan2 fmod copysign hypot nextafter"

_KEYWORDS = (
    "alignas alignof asm auto bool break case catch char class const constexpr continue default delete do double else "
    "enum explicit export extern false float for friend goto if inline int long mutable namespace new operator "
    "private protected public register return short signed sizeof static struct switch template this throw true try "
    "typedef typename union unsigned using virtual void volatile while "
    "thread lane warp row column part chunk first live wanted other carry before left start step rest runs run size "
    "totals sums batch value slot along deep scratch e k m n mm nn a_tile b_tile a_part b_part "
    "tile group group_rows fast slow turn fetch put own piece stop item part sums key keys place places order "
    "work total more whole heads tails next counts board window windows tiles since lefts sum post awaited stripe "
    "lanes base ahead both taken all element held least most line from digit begin lower posts ranks near far"
)


def memory_type(dtype: DType) -> str:
    """The type of an element in memory: bools are bytes of 0 or 1."""
    return "unsigned char" if dtype is dt.bool_ else TYPES[dtype]


def _operations() -> Table:
    def math(name: str, dtype: DType) -> Operation:
        return function(f"{name}f" if dtype is dt.float32 else name)

    def generic(name: str, dtype: DType) -> Operation:
        return function(f"{name}<{TYPES[dtype]}>", 2)

    found = c_like_operations(TYPES)
    found |= table(_MATH, FLOATS, math)
    found |= table("round", FLOATS, lambda _, d: math("rint", d))
    found |= table("abs", FLOATS, lambda _, d: math("fabs", d))
    found |= table(_MATH_OF_TWO, FLOATS, lambda name, d: function(f"{name}f" if d is dt.float32 else name, 2))
    found |= table("sigmoid", FLOATS, lambda name, d: function(f"{name}_{d.short}"))
    found |= table("logaddexp", FLOATS, lambda name, d: function(f"{name}_{d.short}", 2))
    found |= table("isnan", FLOATS, lambda _, d: function("is_nan"))
    found |= table("sign", (*FLOATS, *INTS), lambda _, d: function(f"sign<{TYPES[d]}>"))
    found |= table("maximum minimum", (*FLOATS, *INTS), generic)
    found |= table("floor_div", FLOATS, lambda name, d: function(f"{name}_{d.short}", 2))
    found |= table("remainder", FLOATS, lambda _, d: function(f"floor_mod_{d.short}", 2))
    found |= table("floor_div shift_left shift_right", INTS, generic)
    found |= table("remainder", INTS, lambda _, d: generic("floor_mod", d))
    found |= table("pow", INTS, lambda _, d: generic("int_pow", d))
    found |= table("fmod", INTS, lambda _, d: generic("int_fmod", d))
    found |= table("abs", INTS, lambda _, d: function(f"magnitude<{TYPES[d]}>"))
    found |= {("isnan", d): Operation("({0}, false)") for d in (*INTS, dt.bool_)}
    found["short_exp", dt.float32] = function("short_exp")
    found["mulhi", dt.uint32] = function("__umulhi", 2)
    found["philox", dt.int64] = function("philox", 3)
    found |= table(" ".join(VARIATES), (dt.uint32, dt.uint64), lambda name, d: function(f"{name}_{d.short}"))
    found["rounded_mul", dt.float32], found["rounded_mul", dt.float64] = (
        function("__fmul_rn", 2),
        function("__dmul_rn", 2),
    )
    found["bitcast", dt.uint32] = function("__uint_as_float")
    found["bitcast", dt.float32] = function("__float_as_uint")
    found["bitcast", dt.uint64] = Operation("__longlong_as_double((long long){0})", ATOM, (UNARY,))
    found["bitcast", dt.float64] = Operation("(unsigned long long)__double_as_longlong({0})", UNARY)
    found["abs", dt.bool_] = Operation("{0}", ATOM, (ATOM,))
    found["neg", dt.bool_] = prefix("!")
    return found


def _casts() -> dict[tuple[DType, DType], Operation]:
    """16-bit floats go through float; a float becomes a small integer through a wide one, so that it wraps."""
    found: dict[tuple[DType, DType], Operation] = {}
    for d in dt.IN_KERNELS:
        if d is not dt.bool_:
            found[d, dt.bool_] = Operation("{0} != 0", EQUALITY, (EQUALITY,))
    for d in INTS:
        if d.itemsize < 4 or d is dt.uint32:
            for source in FLOATS:
                found[source, d] = Operation(f"({TYPES[d]})(long long){{0}}", UNARY, (ATOM,))
    halves = {
        dt.float16: (function("__half2float"), function("__float2half_rn")),
        dt.bfloat16: (function("__bfloat162float"), function("__float2bfloat16_rn")),
    }
    for half, (widen, narrow) in halves.items():
        for d in dt.IN_KERNELS:
            if d is half:
                continue
            if d in halves:
                found[half, d] = Operation(halves[d][1].text.format(widen.text))
                continue
            after = found.get((dt.float32, d)) or conversion(TYPES[d])
            found[half, d] = widen if d is dt.float32 else replace(after, text=after.text.format(widen.text))
            found[d, half] = narrow if d.kind == "f" else Operation(narrow.text.format("(float)({0})"))
    return found


CUDA = Dialect(
    name="cuda",
    types=TYPES,
    index="int",
    operations=_operations(),
    casts=_casts(),
    suffixes={dt.float32: "f", dt.int64: "LL", dt.uint32: "u", dt.uint64: "ULL"},
    infinity={dt.float32: "infinity_f32()", dt.float64: "infinity_f64()"},
    nan={dt.float32: "nan_f32()", dt.float64: "nan_f64()"},
    reserved=frozenset(_KEYWORDS.split()),
)

#: For kernels that address 2³¹ elements or more.
CUDA_WIDE = replace(CUDA, index="long long")

__all__ = ["CUDA", "CUDA_WIDE", "HEADERS", "TYPES", "memory_type"]
