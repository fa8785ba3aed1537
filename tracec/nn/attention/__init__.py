"""How attention is computed, under the names of ``torch.nn.attention``: here there is one way, which always fits."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator, Sequence

from tracec.errors import ArgumentTypeError


class SDPBackend(enum.Enum):
    """Ways to compute `scaled_dot_product_attention` in PyTorch."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


@contextlib.contextmanager
def sdpa_kernel(backends: SDPBackend | Sequence[SDPBackend], set_priority: bool = False) -> Iterator[None]:
    """Ask for ways to compute attention, which has no effect: the compiler fuses what there is to fuse.

    Args:
        backends: One or several ways.
        set_priority: Taken as in PyTorch, with no effect.

    Raises:
        ArgumentTypeError: a backend is no `SDPBackend`.
    """
    for backend in [backends] if isinstance(backends, SDPBackend) else list(backends):
        if not isinstance(backend, SDPBackend):
            raise ArgumentTypeError(f"sdpa_kernel: {backend!r} is no SDPBackend", hint="e.g. SDPBackend.MATH")
    yield
