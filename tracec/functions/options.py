"""What functions that make tensors take by name: element type, device, ``requires_grad`` and others."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from typing import Any, TypedDict

from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.functions.common import check_dtype, fail
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.record import promote
from tracec.record.backend import Device, get_default_device, pinned
from tracec.record.create import of_numbers
from tracec.record.form import Layout, MemoryFormat, in_format, strided
from tracec.record.mode import no_grad
from tracec.record.out import write_out
from tracec.record.random import Generator
from tracec.record.tensor import Tensor

Place = str | int | Device | None


class Options(TypedDict, total=False):
    """Options of every function that makes a tensor.

    Attributes:
        dtype: Element type; by default the one that the function's documentation names.
        device: Where the tensor is to live; by default where `tracec.set_default_device` says.
        requires_grad: Whether gradients are computed for it.
        layout: ``tracec.strided``, the only one there is.
        pin_memory: Whether the elements lie in pinned memory of the host.
    """

    dtype: DType | None
    device: Place
    requires_grad: bool
    layout: Layout | None
    pin_memory: bool | None


class OutOptions(Options, total=False):
    """The same, and a tensor to write the result into, ``out``."""

    out: Tensor | None


class SizeOptions(OutOptions, total=False):
    """The same, and the sizes as one sequence, where they are not given one by one."""

    size: Any


class LikeOptions(Options, total=False):
    """The same, and the order of the axes in memory, ``memory_format``."""

    memory_format: MemoryFormat


class DrawOptions(OutOptions, total=False):
    """The same, and where random bits come from, ``generator``."""

    generator: Generator | None


class RandomOptions(SizeOptions, DrawOptions, total=False):
    """All of these."""


def check_options(name: str, options: Mapping[str, Any], takes: Any) -> None:
    """Refuse options that the function does not take."""
    known = takes.__annotations__
    unknown = [o for o in options if o not in known]
    if unknown:
        fail(
            ArgumentTypeError,
            f"{name}: got an unexpected keyword argument {unknown[0]!r}",
            f"it takes {', '.join(sorted(known))}",
        )
    generator = options.get("generator")
    if generator is not None and not isinstance(generator, Generator):
        fail(
            ArgumentTypeError,
            f"{name}: generator must be a Generator, {type(generator).__name__} given",
            "make one with tracec.Generator()",
        )
    layout = options.get("layout")
    if layout is not None and layout is not strided:
        fail(ArgumentError, f"{name}: layout={layout!r} is not known", "tensors are tracec.strided")


def dtype_of(name: str, dtype: Any) -> DType | None:
    """The element type that is meant: Python's ``float`` is float64, ``int`` int64, ``bool`` bool."""
    found = dt.of_python(dtype)
    check_dtype(name, found)
    return found


def placed(device: Any, default: Any = None) -> Device:
    """The device that is meant; by default the one given, or where new tensors go."""
    if device is None:
        device = get_default_device() if default is None else default
    return Device(device)


def create(
    name: str,
    options: Mapping[str, Any],
    make: Callable[[DType, Device], Tensor],
    dtype: DType | None = None,
    device: Any = None,
    takes: type = SizeOptions,
) -> Tensor:
    """A new tensor with the options that a user gave.

    Args:
        name: The function, for errors.
        options: What the user gave by name.
        make: Makes the tensor, of an element type and a device.
        dtype: Element type where none is given; by default the floating type of new tensors.
        device: Device where none is given.
        takes: The options that the function has.

    Raises:
        ArgumentTypeError: an option is none of the function's, or no element type.
        ArgumentError: a layout is asked for that there is not.
        DeviceError: memory is to be pinned and there is no CUDA device.
    """
    check_options(name, options, takes)
    out = options.get("out")
    if out is not None:
        dtype = out.dtype
    chosen = dtype_of(name, options.get("dtype")) or dtype or promote.DEFAULT_FLOAT
    place = placed(options.get("device"), device if out is None else out.device)
    with no_grad():
        made = in_format(name, make(chosen, place), options.get("memory_format"))
    made.__dict__.pop("_is_constant", None)  # a user's tensor of no dimensions may be looked at
    if options.get("pin_memory"):
        made = pin(made)
    if out is not None:
        return write_out(name, out, made)
    return made.requires_grad_() if options.get("requires_grad") else made


def pin(x: Tensor) -> Tensor:
    """A copy in pinned memory of the host."""
    return of_numbers(pinned(x.numpy()))


def sizes_given(name: str, size: tuple[Any, ...], options: Any) -> tuple[Any, ...]:
    """The sizes that a user gave, one by one, as one sequence, or by name."""
    if "size" not in options:
        return size
    if size:
        fail(ArgumentTypeError, f"{name}: got multiple values for argument 'size'", "give the sizes once")
    named = options.pop("size")
    return (named,) if isinstance(named, builtins.int) else (tuple(named),)
