"""Values saved for backward as the user's ``saved_tensors_hooks`` packed them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tracec.errors import ArgumentTypeError, GradientError

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor


class Packed:
    """A saved value in the form that a hook gave it.

    Args:
        tensor: The value, cut off its history.
        pack: From the tensor to what is kept of it.
        unpack: From what is kept to a tensor again.
    """

    __slots__ = ("_kept", "_unpack", "_version")

    def __init__(self, tensor: Any, pack: Callable[[Any], Any], unpack: Callable[[Any], Any]) -> None:
        self._kept, self._unpack = pack(tensor), unpack
        self._version = _version_of(self._kept)

    def unpacked(self) -> Tensor:
        """The value.

        Raises:
            GradientError: the tensor that was kept has been written into since.
            ArgumentTypeError: the hook gives no tensor.
        """
        if _version_of(self._kept) != self._version:
            raise GradientError(
                "backward: one of the variables needed for gradient computation has been modified by an inplace "
                "operation after a hook kept it",
                hint="keep a clone in the hook that packs, or write into another tensor",
            )
        found = self._unpack(self._kept)
        if not hasattr(found, "_storage"):
            raise ArgumentTypeError(
                f"saved_tensors_hooks: the hook that unpacks gave {type(found).__name__}, not a tensor",
                hint="give back the tensor that was packed",
            )
        return found  # type: ignore[no-any-return]


def _version_of(kept: Any) -> int | None:
    """How often what a hook kept was written to; None where it is no tensor."""
    version: int | None = getattr(getattr(kept, "_storage", None), "version", None)
    return version
