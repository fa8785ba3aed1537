"""Optimisers whose state several processes share out, of which there is one: it has all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tracec.optim import Optimizer


class ZeroRedundancyOptimizer:
    """The optimiser of a class, which keeps the state of all parameters.

    Args:
        params: What to optimise.
        optimizer_class: The class of the optimiser, of which an instance comes back.
        process_group: Taken as in PyTorch, with no effect.
        parameters_as_bucket_view: Likewise.
        overlap_with_ddp: Likewise.
        **defaults: Options of the optimiser.
    """

    def __new__(  # type: ignore[misc] # an optimiser as it is can do all that it could do
        cls, params: Iterable[Any], optimizer_class: Callable[..., Optimizer], process_group: Any = None,
        parameters_as_bucket_view: bool = False, overlap_with_ddp: bool = False, **defaults: Any,
    ) -> Optimizer:  # fmt: skip
        made = optimizer_class(params, **defaults)
        # What programs of several processes call before they save the state.
        made.consolidate_state_dict = lambda to=0: None  # type: ignore[attr-defined]
        return made


__all__ = ["ZeroRedundancyOptimizer"]
