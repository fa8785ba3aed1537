"""The error function, which NumPy lacks.

For |x| < 1, ``erf(x) = x * p(2x² - 1)``; above, ``erf(x) = sign(x) * (1 - exp(-x²) * q(s))``, where s is
``(|x| - 2) / (|x| + 2)`` stretched to [-1, 1], up to the size at which erf rounds to 1. This is the scheme of W. J.
Cody, "Rational Chebyshev Approximation for the Error Function", 1969, with polynomials in place of
quotients. The coefficients were made for tracec: interpolation of ``erf(x) / x`` and ``exp(x²) * erfc(x)`` at
Chebyshev nodes, in arithmetic of 60 digits, written as powers. The relative error stays below 1.5 units
of the dtype's epsilon everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Elements computed at once: the steps in between stay in the cache, and are many beside the calls.
_BLOCK = 1 << 16


@dataclass(frozen=True)
class _Table:
    """Coefficients, lowest power first.

    Attributes:
        p: For sizes below 1.
        q: For sizes from 1 to ``limit``.
        limit: Where erf rounds to 1; ``(limit - 2) / (limit + 2)`` is the upper end of q's range, -1/3 the lower.
    """

    p: tuple[float, ...]
    q: tuple[float, ...]
    limit: float


_FLOAT64 = _Table(
    p=(
        0.9654687386698673, -0.1405360890227171, 0.019852496688984218, -0.0022854855611440855,
        0.00021751715603563488, -1.75371694412802e-05, 1.2233827638093572e-06, -7.51156925108609e-08,
        4.115751500265885e-09, -2.035231956483527e-10, 9.21125018742823e-12, -3.80659122412214e-13,
    ),
    q=(
        0.2214295402299318, -0.16189356804102498, 0.03856057042518243, -0.005588816281839559,
        0.00019713917772772822, 8.079220426205857e-05, -7.3405179350715385e-06, -1.9795618119680296e-06,
        1.6349935374557895e-07, 7.005316542960643e-08, -5.885390561966775e-10, -2.6239442875060953e-09,
        -2.6882172652984866e-10, 7.350707878233497e-11, 2.226445556218638e-11, 2.3848277285534145e-13,
        -1.0058413775788277e-12, -1.991163813610673e-13, 1.287518429745917e-14, 1.284962598550632e-14,
        1.3342344783208255e-15, -3.1012557597260054e-16,
    ),
    limit=6.0,
)  # fmt: skip

_FLOAT32 = _Table(
    p=(
        0.9654687643051147, -0.1405360847711563, 0.0198518056422472, -0.0022854432463645935,
        0.0002193591935792938, -1.7650187146500684e-05,
    ),
    q=(
        0.25539568066596985, -0.1423952877521515, 0.026850910857319832, -0.0029251326341181993,
        4.6085409849183634e-05, 2.879601925087627e-05, -1.16296405394678e-06, -4.4867047677144e-07,
        7.701401294468724e-09, 8.473217683047096e-09,
    ),
    limit=4.0,
)  # fmt: skip


def erf(xp: Any, x: Any) -> Any:
    """The error function of a float32 or float64 array."""
    table = _FLOAT32 if x.dtype == np.float32 else _FLOAT64
    if xp is not np:
        size = xp.abs(x)
        return xp.where(size < 1, _near(x, size, table), _far(xp, x, size, table))
    flat = x.reshape(-1)
    out = np.empty_like(flat)
    for start in range(0, flat.size, _BLOCK):
        part = flat[start : start + _BLOCK]
        size = np.abs(part)
        into = out[start : start + _BLOCK]
        into[...] = _near(part, size, table)
        # Mostly few: they are computed by themselves, rather than everything twice.
        far = np.flatnonzero(size >= 1)
        into[far] = _far(np, part[far], size[far], table)
    return out.reshape(x.shape)


def _near(x: Any, size: Any, table: _Table) -> Any:
    return x * horner(2 * size * size - 1, table.p)


def _far(xp: Any, x: Any, size: Any, table: _Table) -> Any:
    clipped = xp.clip(size, 1, table.limit)
    low, high = -1 / 3, (table.limit - 2) / (table.limit + 2)
    s = ((clipped - 2) / (clipped + 2) - (low + high) / 2) * (2 / (high - low))
    return xp.copysign(1 - xp.exp(-clipped * clipped) * horner(s, table.q), x)


def horner(x: Any, coefficients: Sequence[float]) -> Any:
    """A sum of powers, whose coefficients are given lowest power first."""
    result = x * coefficients[-1]
    for c in reversed(coefficients[1:-1]):
        result += c  # in place, of arrays
        result *= x
    result += coefficients[0]
    return result
