"""Collectives that gradients go through; `functional` has them."""

from tracec.distributed.nn import functional
from tracec.distributed.nn.functional import (
    all_gather,
    all_reduce,
    all_to_all,
    broadcast,
    gather,
    reduce,
    reduce_scatter,
    scatter,
)

__all__ = [
    "all_gather", "all_reduce", "all_to_all", "broadcast", "functional", "gather", "reduce", "reduce_scatter",
    "scatter",
]  # fmt: skip
