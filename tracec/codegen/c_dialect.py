"""C's tables: types, operations, casts. What they call is defined in ``templates/c/prelude.j2``."""

from __future__ import annotations

from tracec.codegen.expressions import (
    AND,
    ATOM,
    EQUALITY,
    FLOATS,
    INTS,
    PRODUCT,
    UNARY,
    Dialect,
    Operation,
    Table,
    c_like_operations,
    function,
    table,
)  # fmt: skip
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.exact import VARIATES

TYPES: dict[DType, str] = {
    dt.bool_: "_Bool",
    dt.uint8: "unsigned char",
    dt.int8: "signed char",
    dt.int16: "short",
    dt.int32: "int",
    dt.int64: "long",
    dt.uint16: "unsigned short",
    dt.uint32: "unsigned",
    dt.uint64: "unsigned long",
    dt.float16: "f16",
    dt.bfloat16: "bf16",
    dt.float32: "float",
    dt.float64: "double",
}

#: The same in memory. Compilers vectorise no logic of booleans that were read as such.
IN_MEMORY = {**TYPES, dt.bool_: "unsigned char"}

#: Functions of math.h, for which a vector version may exist; ``exp_f32`` calls expf, ``exp_f64`` exp.
UNARY_MATH = "exp expm1 log log1p sin cos tan asin acos atan sinh cosh tanh erf exp2 log2 log10 asinh acosh atanh"
BINARY_MATH = "pow atan2 hypot"

_ANY_UNARY = "abs sign"
_ANY_BINARY = "maximum minimum floor_div remainder"
_KEYWORDS = (
    "auto break case char const continue default do double else enum extern float for goto if inline int long "
    "register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while "
    "io arena lib f16 bf16 "
    # Variables of the templates.
    "p s t r result panel sums packed start stop used first first_row last_row from to depth done next part total "
    "left right begin end digits at line0 lines words0 LANES ROWS CHUNK WIDTH DEPTH SIDE PITCH "
    "args block0 block1 block2 block3 work"
)


def _operations() -> Table:
    def unary(name: str, dtype: DType) -> Operation:
        return function(f"{name}_{dtype.short}")

    def binary(name: str, dtype: DType) -> Operation:
        return function(f"{name}_{dtype.short}", 2)

    def builtin(name: str, dtype: DType, arity: int = 1) -> Operation:
        return function(f"__builtin_{name}{'f' if dtype is dt.float32 else ''}", arity)

    found = c_like_operations(TYPES)
    found |= table(UNARY_MATH + " sigmoid " + _ANY_UNARY, FLOATS, unary)
    found |= table(BINARY_MATH + " logaddexp " + _ANY_BINARY, FLOATS, binary)
    found |= table(_ANY_UNARY, INTS, unary)
    found |= table(_ANY_BINARY + " pow shift_left shift_right fmod", INTS, binary)
    found |= table("sqrt floor ceil trunc", FLOATS, builtin)
    found |= table("fmod copysign nextafter", FLOATS, lambda name, d: builtin(name, d, 2))
    found |= table("round", FLOATS, lambda _, d: builtin("rint", d))
    found |= table("isnan", FLOATS, lambda _, d: function("__builtin_isnan"))
    found |= {("isnan", d): Operation("((void){0}, 0)") for d in (*INTS, dt.bool_)}
    found |= {("rsqrt", d): Operation(f"{_one(d)} / {found['sqrt', d].text}", PRODUCT) for d in FLOATS}
    found["mulhi", dt.uint32] = function("mulhi_u32", 2)
    found["philox", dt.int64] = function("philox", 3)
    found |= table(" ".join(VARIATES), (dt.uint32, dt.uint64), unary)
    found |= table("rounded_mul", FLOATS, binary)
    found["short_exp", dt.float32] = found["exp", dt.float32]
    found |= table("zero_if zero_unless", FLOATS, binary)  # of `tracec.codegen.c_select`
    bits = {dt.uint32: "float_of", dt.float32: "bits_of", dt.uint64: "double_of", dt.float64: "bits_of_double"}
    found |= {("bitcast", d): function(name) for d, name in bits.items()}
    found["abs", dt.bool_] = Operation("{0}", ATOM, (ATOM,))
    return found


def _one(dtype: DType) -> str:
    return "1.0f" if dtype is dt.float32 else "1.0"


def _casts() -> dict[tuple[DType, DType], Operation]:
    """The 16-bit floats go through float, and booleans become integers by a mask; all else is C's own conversion.

    gcc 12 takes an index that is a boolean converted for the boolean itself, and in vectors of them true is -1:
    ``table[(x > 0).long()]`` read what lies before the table.
    """
    found = {(dt.bool_, d): Operation(f"-({TYPES[d]}){{0}} & 1", AND, (ATOM,)) for d in INTS}
    for half in (dt.float16, dt.bfloat16):
        widen, narrow = f"f32_from_{half.short}({{0}})", f"{half.short}_from_f32({{0}})"
        for d in dt.IN_KERNELS:
            if d is half:
                continue
            if d.itemsize == 2 and d.kind == "f":
                found[half, d] = Operation(f"{d.short}_from_f32({widen})")
            else:
                found[half, d] = Operation(widen if d is dt.float32 else f"({TYPES[d]}){widen}", UNARY)
                found[d, half] = Operation(narrow)
    return found


C = Dialect(
    name="c",
    types=TYPES,
    index="long",
    operations=_operations(),
    loads={dt.bool_: Operation("{0}[{1}] != 0", EQUALITY)},
    casts=_casts(),
    suffixes={dt.float32: "f", dt.uint32: "U", dt.uint64: "UL"},
    infinity={dt.float32: "__builtin_inff()", dt.float64: "__builtin_inf()"},
    nan={dt.float32: '__builtin_nanf("")', dt.float64: '__builtin_nan("")'},
    reserved=frozenset(_KEYWORDS.split()),
)
