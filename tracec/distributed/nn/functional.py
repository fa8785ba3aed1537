"""Collectives that gradients go through, under the names of ``torch.distributed.nn``: results are new tensors.

Of a group of one process all of them give what they are given, as tensors of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracec import distributed as dist
from tracec.errors import ArgumentError
from tracec.record.tensor import Tensor


def _one(name: str, tensors: Sequence[Tensor]) -> Tensor:
    """The tensor in a list with one for each process.

    Raises:
        ArgumentError: there are others.
        StateError: there is no group.
    """
    dist.get_rank()
    if len(tensors) != 1:
        raise ArgumentError(f"{name}: one tensor for each process, {len(tensors)} given", hint="give one")
    return tensors[0].clone()


def _whole(tensor: Tensor, rank: int = 0) -> Tensor:
    if rank != 0:
        raise ArgumentError(f"distributed.nn: process {rank} is not there", hint="0 is all there is")
    return _one("distributed.nn", [tensor])


def all_reduce(tensor: Tensor, op: Any = dist.ReduceOp.SUM, group: Any = None) -> Tensor:
    """The sum, or another reduction, of the tensors of all processes."""
    return _whole(tensor)


def all_gather(tensor: Tensor, group: Any = None) -> tuple[Tensor, ...]:
    """The tensors of all processes."""
    return (_whole(tensor),)


def broadcast(tensor: Tensor, src: int, group: Any = None) -> Tensor:
    """The tensor of one process."""
    return _whole(tensor, src)


def gather(tensor: Tensor, dst: int = 0, group: Any = None) -> tuple[Tensor, ...]:
    """The tensors of all processes, at one of them."""
    return (_whole(tensor, dst),)


def reduce(tensor: Tensor, dst: int, op: Any = dist.ReduceOp.SUM, group: Any = None) -> Tensor:
    """The reduction of the tensors of all processes, at one of them."""
    return _whole(tensor, dst)


def scatter(tensors: Sequence[Tensor], src: int = 0, group: Any = None) -> Tensor:
    """This process's part of a list of one process."""
    return _whole(_one("scatter", tensors), src)


def reduce_scatter(
    output: Tensor, input_list: Sequence[Tensor], op: Any = dist.ReduceOp.SUM, group: Any = None
) -> Tensor:
    """This process's part of the reduction of all lists."""
    return output.copy_(_one("reduce_scatter", input_list))


def all_to_all(
    output_tensor_list: Sequence[Tensor], input_tensor_list: Sequence[Tensor], group: Any = None
) -> tuple[Tensor, ...]:
    """A tensor of each process for each."""
    return (_one("all_to_all", input_tensor_list),)


__all__ = ["all_gather", "all_reduce", "all_to_all", "broadcast", "gather", "reduce", "reduce_scatter", "scatter"]
