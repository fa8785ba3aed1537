"""CUDA: switches of products and of attention, which have nothing to switch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tracec.record.backend import is_available


def is_built() -> bool:
    """Whether CUDA tensors can be made on this machine."""
    return is_available()


class _Products:
    """Permissions for matrix products, which use none of them: they are computed, and summed up, in float32."""

    allow_tf32 = False
    allow_fp16_reduced_precision_reduction = True
    allow_bf16_reduced_precision_reduction = True
    fp32_precision = "none"


matmul = _Products()

#: Ways to compute attention that programs may allow; tracec has one of its own, so that these are notes.
_WAYS = {"flash": True, "mem_efficient": True, "math": True, "cudnn": True}


def enable_flash_sdp(enabled: bool) -> None:
    """Allow or forbid flash attention; a note, since there is but one way."""
    _WAYS["flash"] = bool(enabled)


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Allow or forbid memory-efficient attention; a note, since there is but one way."""
    _WAYS["mem_efficient"] = bool(enabled)


def enable_math_sdp(enabled: bool) -> None:
    """Allow or forbid attention in plain products; a note, since there is but one way."""
    _WAYS["math"] = bool(enabled)


def enable_cudnn_sdp(enabled: bool) -> None:
    """Allow or forbid cuDNN's attention; a note, since there is but one way."""
    _WAYS["cudnn"] = bool(enabled)


def flash_sdp_enabled() -> bool:
    """Whether flash attention is allowed."""
    return _WAYS["flash"]


def mem_efficient_sdp_enabled() -> bool:
    """Whether memory-efficient attention is allowed."""
    return _WAYS["mem_efficient"]


def math_sdp_enabled() -> bool:
    """Whether attention in plain products is allowed."""
    return _WAYS["math"]


def cudnn_sdp_enabled() -> bool:
    """Whether cuDNN's attention is allowed."""
    return _WAYS["cudnn"]


@contextmanager
def sdp_kernel(
    enable_flash: bool = True, enable_math: bool = True, enable_mem_efficient: bool = True, enable_cudnn: bool = True
) -> Iterator[None]:
    """Within, these ways to compute attention are allowed; a note, since there is but one way."""
    before = dict(_WAYS)
    _WAYS.update(flash=enable_flash, math=enable_math, mem_efficient=enable_mem_efficient, cudnn=enable_cudnn)
    try:
        yield
    finally:
        _WAYS.update(before)
