"""A group of one process, under the names of ``torch.distributed``.

Programs for several processes run as one: collectives over a group of one change nothing, and `get_rank` is 0. More
processes are refused, since nothing is sent between them.
"""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tracec.errors import ArgumentError, ArgumentTypeError, StateError, UnsupportedError, name_missing
from tracec.ir.forks import imported

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor


class ReduceOp(enum.Enum):
    """How values of several processes become one; of a single one they all are that value."""

    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4
    BAND = 5
    BOR = 6
    BXOR = 7


#: PyTorch's name for the class of reductions, which programs name for types; set here, or it were a reduction.
ReduceOp.RedOpType = ReduceOp  # type: ignore[attr-defined]


class ProcessGroup:
    """A group, whose only process is this one.

    Args:
        backend: The name that it was made with.
    """

    def __init__(self, backend: str) -> None:
        self._backend = backend

    def rank(self) -> int:
        """The number of this process: 0."""
        return 0

    def size(self) -> int:
        """How many processes there are: 1."""
        return 1


class Backend(str):
    """The name of a backend in small letters.

    Args:
        name: What programs call it.
    """

    UNDEFINED, GLOO, NCCL, UCC, MPI, XCCL = "undefined", "gloo", "nccl", "ucc", "mpi", "xccl"

    def __new__(cls, name: str) -> Backend:
        if not isinstance(name, str):
            raise ArgumentTypeError(f"Backend: a name, {type(name).__name__} given", hint="give 'gloo'")
        return super().__new__(cls, name.lower())


class group:
    """The group of all processes, under the name that programs have for it."""

    WORLD: ProcessGroup | None = None
    #: What `new_group` gives to a process that is in none, as PyTorch names it.
    NON_GROUP_MEMBER = -100


#: PyTorch's other name.
GroupMember = group


class Work:
    """What a collective that was not waited for gives: it is done."""

    def wait(self, timeout: Any = None) -> bool:
        """Wait for it."""
        return True

    def is_completed(self) -> bool:
        """Whether it is done."""
        return True


def is_available() -> bool:
    """Whether groups of processes can be made: of one."""
    return True


def is_initialized() -> bool:
    """Whether `init_process_group` was called."""
    return group.WORLD is not None


def is_nccl_available() -> bool:
    """Whether NCCL sends between GPUs: nothing is sent."""
    return False


def is_gloo_available() -> bool:
    """Whether Gloo sends between processes: nothing is sent."""
    return False


def is_mpi_available() -> bool:
    """Whether MPI sends between processes: nothing is sent."""
    return False


def is_torchelastic_launched() -> bool:
    """Whether ``torchrun`` has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def init_process_group(
    backend: str | None = None, init_method: str | None = None, timeout: Any = None, world_size: int = -1,
    rank: int = -1, store: Any = None, group_name: str = "", pg_options: Any = None, device_id: Any = None,
) -> None:  # fmt: skip
    """Make the group of all processes, which are this one.

    Args:
        backend: A name, such as ``gloo``.
        init_method: Taken as in PyTorch, with no effect: there is nobody to meet.
        timeout: Taken as in PyTorch, with no effect.
        world_size: How many processes there are; without it ``WORLD_SIZE`` of the environment says so, or it is 1.
        rank: The number of this one; without it ``RANK`` says so, or it is 0.
        store: Taken as in PyTorch, with no effect.
        group_name: Taken as in PyTorch, with no effect.
        pg_options: Taken as in PyTorch, with no effect.
        device_id: Taken as in PyTorch, with no effect.

    Raises:
        UnsupportedError: there are several processes.
        StateError: there is a group.
    """
    size = world_size if world_size >= 0 else _number("WORLD_SIZE", 1)
    number = rank if rank >= 0 else _number("RANK", 0)
    if is_initialized():
        raise StateError("init_process_group: there is a group", hint="call it once, or destroy_process_group() before")
    if size != 1 or number != 0:
        raise UnsupportedError(
            f"init_process_group: one process is all there is, process {number} of {size} asked for",
            hint="start the program once, without torchrun, or with WORLD_SIZE=1",
        )
    group.WORLD = ProcessGroup(backend or "gloo")


def _number(name: str, otherwise: int) -> int:
    text = os.environ.get(name, "")
    try:
        return int(text) if text else otherwise
    except ValueError:
        raise ArgumentError(f"init_process_group: {name}={text!r} in the environment is no number") from None


def destroy_process_group(group: ProcessGroup | None = None) -> None:
    """Forget the group."""
    if group is None or group is _world("destroy_process_group"):
        _forget()


def _forget() -> None:
    group.WORLD = None


def new_group(ranks: Sequence[int] | None = None, *_: Any, **settings: Any) -> ProcessGroup:
    """A group of some of the processes: of this one.

    Raises:
        UnsupportedError: others are named.
        StateError: there is no group of all.
    """
    world = _world("new_group")
    if ranks is not None and list(ranks) != [0]:
        raise UnsupportedError(f"new_group: ranks={list(ranks)}, and 0 is all there is", hint="name process 0")
    return ProcessGroup(settings.get("backend") or world._backend)


def _world(name: str) -> ProcessGroup:
    if group.WORLD is None:
        raise StateError(
            f"{name}: default process group has not been initialized", hint="call init_process_group() before"
        )
    return group.WORLD


def get_rank(group: ProcessGroup | None = None) -> int:
    """The number of this process: 0.

    Raises:
        StateError: there is no group.
    """
    return (group or _world("get_rank")).rank()


def get_world_size(group: ProcessGroup | None = None) -> int:
    """How many processes there are: 1.

    Raises:
        StateError: there is no group.
    """
    return (group or _world("get_world_size")).size()


def get_backend(group: ProcessGroup | None = None) -> str:
    """The name that the group was made with.

    Raises:
        StateError: there is no group.
    """
    return (group or _world("get_backend"))._backend


def _only(name: str, rank: int | None) -> None:
    """Refuse a process that is not there."""
    _world(name)
    if rank not in (0, None):
        raise ArgumentError(f"{name}: process {rank} is not there", hint="0 is all there is")


def barrier(group: ProcessGroup | None = None, async_op: bool = False, device_ids: Any = None) -> Work | None:
    """Wait for all processes."""
    _world("barrier")
    return Work() if async_op else None


def all_reduce(
    tensor: Tensor, op: Any = ReduceOp.SUM, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """Let every process have the sum, or another reduction, of all their tensors: what it is."""
    _world("all_reduce")
    return Work() if async_op else None


def reduce(
    tensor: Tensor, dst: int | None = None, op: Any = ReduceOp.SUM, group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:  # fmt: skip
    """Let one process have the reduction of all their tensors."""
    _only("reduce", dst)
    return Work() if async_op else None


def broadcast(
    tensor: Tensor, src: int | None = None, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """Let every process have the tensor of one of them."""
    _only("broadcast", src)
    return Work() if async_op else None


def all_gather(
    tensor_list: list[Tensor], tensor: Tensor, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """Copy the tensors of all processes to those of a list."""
    _copy("all_gather", tensor_list, tensor)
    return Work() if async_op else None


def gather(
    tensor: Tensor, gather_list: list[Tensor] | None = None, dst: int | None = None,
    group: ProcessGroup | None = None, async_op: bool = False,
) -> Work | None:  # fmt: skip
    """Copy the tensors of all processes to those of a list of one of them."""
    _only("gather", dst)
    if gather_list is not None:
        _copy("gather", gather_list, tensor)
    return Work() if async_op else None


def scatter(
    tensor: Tensor, scatter_list: list[Tensor] | None = None, src: int | None = None,
    group: ProcessGroup | None = None, async_op: bool = False,
) -> Work | None:  # fmt: skip
    """Copy each tensor of a list of one process to the tensor of a process."""
    _only("scatter", src)
    if scatter_list is not None:
        _copy("scatter", [tensor], *scatter_list)
    return Work() if async_op else None


def all_gather_into_tensor(
    output_tensor: Tensor, input_tensor: Tensor, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """Copy the tensors of all processes, one behind the other, to a tensor."""
    _world("all_gather_into_tensor")
    output_tensor.copy_(input_tensor.reshape(output_tensor.shape))
    return Work() if async_op else None


def reduce_scatter_tensor(
    output: Tensor, input: Tensor, op: Any = ReduceOp.SUM, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """Reduce the tensors of all processes, and copy to each its part: all of it."""
    _world("reduce_scatter_tensor")
    output.copy_(input.reshape(output.shape))
    return Work() if async_op else None


def reduce_scatter(
    output: Tensor, input_list: list[Tensor], op: Any = ReduceOp.SUM, group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:  # fmt: skip
    """Reduce the lists of all processes, and copy to each its part: the only one."""
    _copy("reduce_scatter", [output], *input_list)
    return Work() if async_op else None


def all_to_all(
    output_tensor_list: list[Tensor], input_tensor_list: list[Tensor], group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:  # fmt: skip
    """Copy a tensor of each process to each process."""
    _copy("all_to_all", output_tensor_list, *input_tensor_list)
    return Work() if async_op else None


def _copy(name: str, to: Sequence[Tensor], *given: Tensor) -> None:
    """Copy tensors of one process."""
    _world(name)
    if len(to) != 1 or len(given) != 1:
        raise ArgumentError(f"{name}: one tensor for each process, {max(len(to), len(given))} given", hint="give one")
    to[0].copy_(given[0])


def all_gather_object(object_list: list[Any], obj: Any, group: ProcessGroup | None = None) -> None:
    """Put the objects of all processes in a list."""
    _world("all_gather_object")
    object_list[:1] = [obj]


def broadcast_object_list(
    object_list: list[Any], src: int | None = None, group: ProcessGroup | None = None, device: Any = None
) -> None:
    """Let every process have the objects in the list of one of them."""
    _only("broadcast_object_list", src)


def gather_object(
    obj: Any, object_gather_list: list[Any] | None = None, dst: int | None = None, group: ProcessGroup | None = None
) -> None:
    """Put the objects of all processes in a list of one of them."""
    _only("gather_object", dst)
    if object_gather_list is not None:
        object_gather_list[:1] = [obj]


def scatter_object_list(
    scatter_object_output_list: list[Any], scatter_object_input_list: list[Any] | None = None,
    src: int | None = None, group: ProcessGroup | None = None,
) -> None:  # fmt: skip
    """Put each object of a list of one process in the list of a process."""
    _only("scatter_object_list", src)
    if scatter_object_input_list is not None:
        scatter_object_output_list[:1] = scatter_object_input_list[:1]


def monitored_barrier(group: ProcessGroup | None = None, timeout: Any = None, wait_all_ranks: bool = False) -> None:
    """Wait for all processes."""
    _world("monitored_barrier")


def get_process_group_ranks(group: ProcessGroup | None = None) -> list[int]:
    """The numbers of the processes of a group: 0."""
    _world("get_process_group_ranks")
    return [0]


__all__ = [
    "Backend", "GroupMember", "ProcessGroup", "ReduceOp", "Work", "all_gather", "all_gather_into_tensor",
    "all_gather_object", "all_reduce", "all_to_all", "barrier", "broadcast", "broadcast_object_list",
    "destroy_process_group", "gather", "gather_object", "get_backend", "get_process_group_ranks", "get_rank",
    "get_world_size", "group", "init_process_group", "is_available", "is_gloo_available", "is_initialized",
    "is_mpi_available", "is_nccl_available", "is_torchelastic_launched", "monitored_barrier", "new_group", "reduce",
    "reduce_scatter", "reduce_scatter_tensor", "scatter", "scatter_object_list",
]  # fmt: skip

if not TYPE_CHECKING:

    def __getattr__(name):
        if name == "nn":  # which needs tensors, as the names above do not
            return imported("tracec.distributed.nn")
        raise name_missing(sys.modules[__name__], name)
