"""`autocast`: a context in which functions choose their types."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.record.autocast import Modes
from tracec.record.state import STATE

F = TypeVar("F", bound=Callable[..., Any])

_DEVICES = ("cpu", "cuda")
#: What is used where no type is named.
_DEFAULTS: dict[str, DType] = {"cpu": dt.bfloat16, "cuda": dt.float16}


class autocast:
    """Within, or in a function decorated with it, products are computed in 16 bits and delicate functions in float32.

    Args:
        device_type: Whose tensors it is for, ``cpu`` or ``cuda``.
        dtype: ``float16`` or ``bfloat16``; by default bfloat16 on the CPU and float16 on CUDA.
        enabled: Whether it is on within, or off.
        cache_enabled: PyTorch's argument; casts of parameters are not kept. A compiled function makes each once.

    Raises:
        ArgumentError: the device is unknown.
        ArgumentTypeError: the element type is another one.
    """

    def __init__(
        self, device_type: str, dtype: DType | None = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:  # fmt: skip
        if not isinstance(device_type, str):
            raise ArgumentTypeError(
                f"autocast: expected `device_type` of type `str`, got: `{type(device_type).__name__}`"
            )
        if device_type not in _DEVICES:
            raise ArgumentError(
                f"autocast: unsupported autocast device_type {device_type!r}", hint="use 'cpu' or 'cuda'"
            )
        chosen = dtype or _DEFAULTS[device_type]
        if enabled and chosen not in (dt.float16, dt.bfloat16):
            raise ArgumentTypeError(
                f"autocast: computes in float16 or bfloat16, {chosen!r} given", hint="leave it off for other types"
            )
        self.device, self.fast_dtype, self._enabled = device_type, chosen, enabled
        self._before: list[Modes | None] = []

    def __enter__(self) -> autocast:
        before = STATE.autocast
        self._before.append(before)
        others = tuple((kind, d) for kind, d in before or () if kind != self.device)
        mine = ((self.device, self.fast_dtype),) if self._enabled else ()
        STATE.autocast = tuple(sorted((*others, *mine), key=lambda pair: pair[0])) or None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        STATE.autocast = self._before.pop()

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def within(*args: Any, **kwargs: Any) -> Any:
            with autocast(self.device, self.fast_dtype, self._enabled):
                return function(*args, **kwargs)

        return within  # type: ignore[return-value]


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether autocast is on for a kind of device."""
    return any(kind == device_type for kind, _ in STATE.autocast or ())


def get_autocast_dtype(device_type: str) -> DType:
    """The 16-bit type that is used, or would be."""
    return dict(STATE.autocast or ()).get(device_type, _DEFAULTS.get(device_type, dt.float16))


def is_autocast_cpu_enabled() -> bool:
    """Whether autocast is on for the CPU, under PyTorch's older name."""
    return is_autocast_enabled("cpu")


def get_autocast_gpu_dtype() -> DType:
    """`get_autocast_dtype` of ``cuda``, under PyTorch's older name."""
    return get_autocast_dtype("cuda")


def get_autocast_cpu_dtype() -> DType:
    """`get_autocast_dtype` of ``cpu``, under PyTorch's older name."""
    return get_autocast_dtype("cpu")


def is_autocast_cache_enabled() -> bool:
    """True, which is PyTorch's default; a compiled function casts each parameter once, and nothing else keeps casts."""
    return True


def clear_autocast_cache() -> None:
    """Nothing: no casts are kept."""


def is_autocast_available(device_type: str) -> bool:
    """Whether there is autocast for a kind of device."""
    return device_type in _DEVICES


def custom_fwd(
    fwd: F | None = None, *, device_type: str, cast_inputs: DType | None = None
) -> Any:  # fmt: skip
    """Decorator of a `Function`'s forward: how it behaves under autocast.

    Args:
        fwd: The forward method.
        device_type: Whose autocast it is about.
        cast_inputs: Cast the floating tensors among the arguments to this type, and compute with autocast off.
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)
    forward = fwd

    @functools.wraps(forward)
    def within(*args: Any, **kwargs: Any) -> Any:
        on = is_autocast_enabled(device_type)
        args[0]._autocast = STATE.autocast if cast_inputs is None else None
        if cast_inputs is None or not on:
            return forward(*args, **kwargs)

        def fitted(x: Any) -> Any:
            return x.to(cast_inputs) if hasattr(x, "is_floating_point") and x.is_floating_point() else x

        with autocast(device_type, enabled=False):
            return forward(args[0], *map(fitted, args[1:]), **{k: fitted(v) for k, v in kwargs.items()})

    return within


def custom_bwd(bwd: F | None = None, *, device_type: str) -> Any:
    """Decorator of a `Function`'s backward: autocast is as it was in forward.

    Args:
        bwd: The backward method.
        device_type: Whose autocast it is about.
    """
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)
    backward = bwd

    @functools.wraps(backward)
    def within(*args: Any, **kwargs: Any) -> Any:
        before = STATE.autocast
        STATE.autocast = args[0]._autocast
        try:
            return backward(*args, **kwargs)
        finally:
            STATE.autocast = before

    return within
