"""Calls of modules with other parameters, by the name that PyTorch had for it before `tracec.func`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracec.ir.forks import imported
from tracec.ir.source import warn
from tracec.nn.module import Module
from tracec.record.tensor import Tensor

__all__ = ["functional_call"]


def functional_call(
    module: Module,
    parameters_and_buffers: Mapping[str, Tensor],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """`tracec.func.functional_call`, which it warns that it is deprecated for.

    Args:
        module: The module; it is as before afterwards.
        parameters_and_buffers: Tensors by the names that `named_parameters` and `named_buffers` give them.
        args: The argument, or a tuple of arguments.
        kwargs: Keyword arguments.
        tie_weights: Where a parameter has several names, put what is given for one in place of all.
        strict: Refuse dictionaries that leave out a name, or have one that the module does not.
    """
    warn(
        "tracec.nn.utils.stateless.functional_call is deprecated: use tracec.func.functional_call", FutureWarning
    )  # fmt: skip
    call = imported("tracec.func").functional_call  # which is made of modules
    return call(module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict)
