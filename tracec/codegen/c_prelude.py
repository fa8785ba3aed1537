"""Which helpers a translation unit needs, read off the identifiers in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache

from tracec.codegen.c_dialect import BINARY_MATH, TYPES, UNARY_MATH, C
from tracec.codegen.expressions import INTS, function
from tracec.codegen.render import render_template
from tracec.codegen.variates import FUNCTIONS, Variate, variate
from tracec.ir import dtype as dt

_WORD = re.compile(r"\b[A-Za-z_]\w*\b")
#: Vectors of 64-bit integers are converted by halves where processors cannot do so at once.
_FOR_VARIATES = replace(
    C,
    casts={**C.casts, **{(d, dt.float64): function(f"f64_from_{d.short}") for d in (dt.int64, dt.uint64)}},
)
#: Vector functions that glibc has had since 2.22; the others came with 2.35.
_EARLY = frozenset(["exp", "log", "sin", "cos", "pow"])
#: Functions with a polynomial of our own (``templates/c/math_*.j2``), operands first.
_FALLBACKS = {"exp_f32": (), "log_f32": (), "tanh_f32": ("exp_f32",), "erf_f32": ("exp_f32",)}
#: The loops of contractions: defined once for all kernels of a program (`tracec.codegen.c_contraction`).
CONTRACTIONS = {f"{loops}_{short}" for loops in ("contract", "contract_parts", "between") for short in ("f32", "f64")}
#: What they call.
_PRODUCTS = ("multiply", "multiply_rows", "turn", "turn_rows")
#: Arguments below which results are less than half of the smallest number.
_ZERO_BELOW = {"exp_f32": "-104.0f", "exp_f64": "-746.0"}


@dataclass(frozen=True, slots=True)
class MathFunction:
    """A function of libm under the name that kernels call it by.

    Attributes:
        name: ``exp_f32``.
        symbol: ``expf``.
        type: ``float``.
        params: ``float x``.
        args: ``x``.
        level: From which level of ``TRACEC_VECTOR_MATH`` on the C library has a vector version.
        fallback: Whether a polynomial takes its place below that level.
        zero_below: The literal of an argument below which the result is 0; empty where there is none.
    """

    name: str
    symbol: str
    type: str
    params: str
    args: str
    level: int
    fallback: bool
    zero_below: str

    @property
    def short(self) -> str:
        """``f32``."""
        return self.name.rpartition("_")[2]

    @property
    def inner(self) -> str:
        """The name under which the function itself is defined."""
        return f"{self.name}_not_zero" if self.zero_below else self.name


@dataclass(frozen=True, slots=True)
class FloatHelpers:
    """A floating type whose helpers are needed."""

    type: str
    short: str
    suffix: str


@dataclass(frozen=True, slots=True)
class IntegerHelpers:
    """An integer type whose helpers are needed."""

    type: str
    short: str
    signed: bool
    bits: int


def prelude(source: str) -> str:
    """The definitions that ``source`` needs in front of it."""
    uses = set(_WORD.findall(source))
    variates = [_variate(name) for name in FUNCTIONS if name in uses]
    uses.update(word for v in variates for word in _WORD.findall(str(v)))
    for half in ("f16", "bf16"):
        if f"f32_from_{half}" in uses or f"{half}_from_f32" in uses:
            uses.add(half)
    for short in ("f32", "f64"):
        if f"sigmoid_{short}" in uses:
            uses.add(f"exp_{short}")
        if f"logaddexp_{short}" in uses:
            uses |= {f"exp_{short}", f"log1p_{short}"}
    for name, below in _FALLBACKS.items():
        if name in uses:
            uses.update(below)
    uses.update(f"zero_if_{name.removeprefix('exp_')}" for name in _ZERO_BELOW if name in uses)
    uses.update(f"turn_{short}" for short in ("f32", "f64") if f"multiply_rows_{short}" in uses)
    math = _math(uses)
    halves = not uses.isdisjoint(("f16", "bf16"))
    return render_template(
        "c/prelude.j2",
        uses=uses,
        math=math,
        words=halves or any(f.fallback for f in math) or "float_of" in uses,
        floats=[
            FloatHelpers(TYPES[d], d.short, "f" if d is dt.float32 else "")
            for d in (dt.float32, dt.float64)
            if any(u.endswith(f"_{d.short}") for u in uses)
        ],
        integers=[
            IntegerHelpers(TYPES[d], d.short, d.is_signed, 8 * d.itemsize)
            for d in INTS
            if any(u.endswith(f"_{d.short}") for u in uses)
        ],
        floats16=halves,
        variates=variates,
        products=[
            FloatHelpers(TYPES[d], d.short, "")
            for d in (dt.float32, dt.float64)
            if not uses.isdisjoint(f"{name}_{d.short}" for name in _PRODUCTS)
        ],
        panels="piece" in uses,
        contractions=sorted(uses & CONTRACTIONS),
    )


@cache
def _variate(name: str) -> Variate:
    return variate(name, _FOR_VARIATES)


def _math(uses: set[str]) -> list[MathFunction]:
    found = []
    for names, arity in ((UNARY_MATH, 1), (BINARY_MATH, 2)):
        for op in names.split():
            for d in (dt.float32, dt.float64):
                name = f"{op}_{d.short}"
                if name in uses:
                    args = ("x", "y")[:arity]
                    params = ", ".join(f"{TYPES[d]} {a}" for a in args)
                    symbol = op + ("f" if d is dt.float32 else "")
                    level = 1 if op in _EARLY else 2
                    own, zero = name in _FALLBACKS, _ZERO_BELOW.get(name, "")
                    found.append(MathFunction(name, symbol, TYPES[d], params, ", ".join(args), level, own, zero))
    return found
