"""Every primitive operator, each in one place with all of its rules.

An operator is a function: of Tensors it computes, of nodes it builds a node, of patterns a bigger pattern. What each
does is in its ``doc``; `tracec.ir.operator.OPERATORS` is the table of all of them.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tracec.errors import name_missing
from tracec.ir.forks import imported
from tracec.ir.operator import OPERATORS
from tracec.ops.arithmetic import (
    add,
    atan2,
    copysign,
    div,
    floor_div,
    fmod,
    gcd,
    hypot,
    lcm,
    maximum,
    minimum,
    mul,
    nextafter,
    pow,
    remainder,
    sub,
)
from tracec.ops.complex import conj, view_as_complex, view_as_real
from tracec.ops.contraction import dot
from tracec.ops.core import constant, full, full_like, input, ones_like, unbroadcast, zeros_like
from tracec.ops.elementwise import (
    abs,
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atanh,
    cast,
    ceil,
    cos,
    cosh,
    erf,
    exp,
    exp2,
    expm1,
    floor,
    log,
    log1p,
    log2,
    log10,
    neg,
    round,
    rsqrt,
    sigmoid,
    sign,
    sin,
    sinh,
    sqrt,
    tan,
    tanh,
    trunc,
)
from tracec.ops.indexing import index, index_put, iota
from tracec.ops.logic import (
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    eq,
    ge,
    gt,
    isnan,
    le,
    logical_not,
    lt,
    ne,
    shift_left,
    shift_right,
    where,
)
from tracec.ops.random import (
    cauchy_variate,
    exponential_variate,
    gumbel_variate,
    normal_variate,
    random_bits,
    rounded_mul,
)
from tracec.ops.reduction import argmax, argmin, max, min, prod, sum
from tracec.ops.view import concatenate, expand, flip, pad, reshape, slice, transpose

if TYPE_CHECKING:
    from tracec.ops.bessel import (
        bessel_j0,
        bessel_j1,
        bessel_k0,
        bessel_k0e,
        bessel_k1,
        bessel_k1e,
        bessel_y0,
        bessel_y1,
    )
    from tracec.ops.branches import cond, while_loop
    from tracec.ops.combining import index_combine
    from tracec.ops.conv import conv, conv_input_grad, conv_weight_grad
    from tracec.ops.counting import binomial, poisson
    from tracec.ops.cumulative import argsort, cumprod, cumsum, logcumsumexp
    from tracec.ops.determinant import cofactors, det, slogdet
    from tracec.ops.equations import (
        inv,
        matrix_exp,
        order_of_rows,
        pinv,
        solve,
        triangular_solve,
    )
    from tracec.ops.factorization import cholesky, full_qr, geqrf, lu, qr
    from tracec.ops.fft import fft, irfft, rfft
    from tracec.ops.gamma import digamma, lgamma, zeta
    from tracec.ops.incomplete import gammainc, gammaincc
    from tracec.ops.loop_grad import scan_grad
    from tracec.ops.loops import scan
    from tracec.ops.normal import erfc, erfcx, erfinv, log_ndtr, ndtr, ndtri
    from tracec.ops.places import positions
    from tracec.ops.pool import fold_at, max_windows, max_windows_at
    from tracec.ops.running import cummax, cummin
    from tracec.ops.selection import ranked
    from tracec.ops.softmax import softmax
    from tracec.ops.spectral import eig, eigh, eigvals, eigvalsh, svd, svdvals
    from tracec.ops.strided import as_strided, view_bits
    from tracec.ops.symmetric import ldl, ldl_solve
    from tracec.ops.variates import gamma_slope, standard_gamma, von_mises
    from tracec.ops.waves import entr, i0, i0e, i1, i1e, logit, sinc
    from tracec.ops.window import fold, windows

__all__ = [
    "OPERATORS",
    # core
    "constant", "full", "full_like", "input", "ones_like", "unbroadcast", "zeros_like",
    # elementwise
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "cast", "ceil", "cos", "cosh", "erf", "exp", "exp2",
    "expm1", "floor", "log", "log10", "log1p", "log2", "neg", "round", "rsqrt", "sigmoid", "sign", "sin", "sinh",
    "sqrt", "tan", "tanh", "trunc",
    # complex numbers
    "conj", "fft", "irfft", "rfft", "view_as_complex", "view_as_real",
    # arithmetic
    "add", "atan2", "copysign", "div", "floor_div", "fmod", "gcd", "hypot", "lcm", "maximum", "minimum", "mul",
    "nextafter", "pow", "remainder", "sub",
    # logic
    "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "eq", "ge", "gt", "isnan", "le", "logical_not", "lt",
    "ne", "shift_left", "shift_right", "where",
    # reductions
    "argmax", "argmin", "max", "min", "prod", "softmax", "sum",
    # views
    "concatenate", "expand", "flip", "fold", "pad", "reshape", "slice", "transpose", "windows",
    # the largest elements of windows
    "fold_at", "max_windows", "max_windows_at",
    # contractions
    "conv", "conv_input_grad", "conv_weight_grad", "dot",
    # linear algebra
    "cholesky", "cofactors", "det", "eig", "eigh", "eigvals", "eigvalsh", "full_qr", "geqrf", "inv", "ldl",
    "ldl_solve", "lu", "matrix_exp", "order_of_rows", "pinv", "qr", "slogdet", "solve", "svd", "svdvals",
    "triangular_solve",
    # special functions
    "bessel_j0", "bessel_j1", "bessel_k0", "bessel_k0e", "bessel_k1", "bessel_k1e", "bessel_y0", "bessel_y1",
    "digamma", "entr", "erfc", "erfcx", "erfinv", "gammainc", "gammaincc", "i0", "i0e", "i1", "i1e", "lgamma",
    "log_ndtr", "logit", "ndtr", "ndtri", "sinc", "zeta",
    # looks at memory, and what is combined or found along the way
    "as_strided", "cummax", "cummin", "index_combine", "view_bits",
    # loops and branches
    "cond", "scan", "scan_grad", "while_loop",
    # indexing, scans, random numbers
    "argsort", "cumprod", "cumsum", "logcumsumexp", "index", "index_put", "iota", "random_bits", "ranked",
    "normal_variate",
    "exponential_variate", "gumbel_variate", "cauchy_variate", "rounded_mul",
    "binomial", "gamma_slope", "poisson", "positions", "standard_gamma", "von_mises",
]  # fmt: skip

#: Module → its operators, of those that not every program uses: they are imported when one is asked for.
_RARE = {
    "bessel": "bessel_j0 bessel_j1 bessel_k0 bessel_k0e bessel_k1 bessel_k1e bessel_y0 bessel_y1",
    "branches": "cond while_loop",
    "combining": "index_combine",
    "conv": "conv conv_input_grad conv_weight_grad",
    "counting": "binomial poisson",
    "cumulative": "argsort cumprod cumsum logcumsumexp",
    "determinant": "cofactors det slogdet",
    "equations": "inv matrix_exp order_of_rows pinv solve triangular_solve",
    "factorization": "cholesky full_qr geqrf lu qr",
    "fft": "fft irfft rfft",
    "gamma": "digamma lgamma zeta",
    "incomplete": "gammainc gammaincc",
    "loop_grad": "scan_grad",
    "loops": "scan",
    "normal": "erfc erfcx erfinv log_ndtr ndtr ndtri",
    "places": "positions",
    "pool": "fold_at max_windows max_windows_at",
    "running": "cummax cummin",
    "selection": "ranked",
    "softmax": "softmax",
    "spectral": "eig eigh eigvals eigvalsh svd svdvals",
    "strided": "as_strided view_bits",
    "symmetric": "ldl ldl_solve",
    "variates": "gamma_slope standard_gamma von_mises",
    "waves": "entr i0 i0e i1 i1e logit sinc",
    "window": "fold windows",
}
_MODULES = {name: module for module, names in _RARE.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise name_missing(sys.modules[__name__], name)
    value = getattr(imported(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def _load_all() -> None:
    for module in _RARE:
        imported(f"{__name__}.{module}")


OPERATORS.load = _load_all


class _Package(ModuleType):
    """This package; where a module has the name of an operator, the name means the operator."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _MODULES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
