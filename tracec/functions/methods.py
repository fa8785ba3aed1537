"""Functions that are methods of tensors first: ``tracec.clone(x)`` is ``x.clone()``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tracec.functions.common import check_tensor
from tracec.record.tensor import Tensor

_NAMES = """
    clone detach detach_ fill_ zero_ get_device is_distributed is_inference is_nonzero is_same_size is_signed
    resize_as_ abs_ acos_ acosh_ addmv_ arccos_ arccosh_ arcsin_ arcsinh_ arctan_ arctanh_ as_strided_ asin_ asinh_
    atan_ atanh_ ceil_ clamp_ clamp_max_ clamp_min_ clip_ conj_physical_ cos_ cosh_ deg2rad_ erf_ erfc_ exp_ exp2_
    expm1_ fix_ floor_ frac_ gcd_ i0_ index_put_ lcm_ ldexp_ log_ log10_ log1p_ log2_ logit_ nan_to_num_ neg_
    negative_ rad2deg_ reciprocal_ relu_ round_ rsqrt_ sigmoid_ sin_ sinc_ sinh_ sqrt_ square_ tan_ tanh_ trunc_
    xlogy_
"""

#: Methods that PyTorch has as functions too and that no module here defines as such.
NAMES = frozenset(_NAMES.split())


def function_of(name: str) -> Callable[..., Any] | None:
    """The function of a name in `NAMES` whose method is there; None for others."""
    if name not in NAMES or not hasattr(Tensor, name):
        return None

    def _run(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        check_tensor(name, input)
        return getattr(input, name)(*args, **kwargs)

    _run.__name__ = _run.__qualname__ = name
    _run.__module__ = "tracec"
    _run.__doc__ = getattr(Tensor, name).__doc__
    return _run


def names() -> list[str]:
    """The names in `NAMES` whose methods are there."""
    return [name for name in NAMES if hasattr(Tensor, name)]
