"""Special functions under the names of ``torch.special``."""

from __future__ import annotations

from tracec.functions.activation import sigmoid as expit
from tracec.functions.pointwise import erf, exp2, expm1, log1p, round
from tracec.functions.reduction import logsumexp
from tracec.functions.softmax import log_softmax, softmax
from tracec.functions.special import (
    bessel_j0,
    bessel_j1,
    bessel_y0,
    bessel_y1,
    digamma,
    entr,
    erfc,
    erfcx,
    erfinv,
    i0,
    i0e,
    i1,
    i1e,
    log_ndtr,
    logit,
    modified_bessel_k0,
    modified_bessel_k1,
    ndtr,
    ndtri,
    polygamma,
    scaled_modified_bessel_k0,
    scaled_modified_bessel_k1,
    sinc,
    spherical_bessel_j0,
    xlog1py,
    xlogy,
    zeta,
)
from tracec.functions.special import digamma as psi
from tracec.functions.special import i0 as modified_bessel_i0
from tracec.functions.special import i1 as modified_bessel_i1
from tracec.functions.special import igamma as gammainc
from tracec.functions.special import igammac as gammaincc
from tracec.functions.special import lgamma as gammaln
from tracec.functions.special import mvlgamma as multigammaln
from tracec.record.out import give_out
from tracec.record.public import make_public

__all__ = [
    "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "exp2",
    "expit", "expm1", "gammainc", "gammaincc", "gammaln", "i0", "i0e", "i1", "i1e", "log1p", "log_ndtr", "log_softmax",
    "logit", "logsumexp", "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0", "modified_bessel_k1",
    "multigammaln", "ndtr", "ndtri", "polygamma", "psi", "round", "scaled_modified_bessel_k0",
    "scaled_modified_bessel_k1", "sinc", "softmax", "spherical_bessel_j0", "xlog1py", "xlogy", "zeta",
]  # fmt: skip

give_out(globals(), __all__)
make_public(globals(), __all__)
