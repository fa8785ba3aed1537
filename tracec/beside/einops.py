"""What einops asks of a library of tensors, over tracec's: importing this enters it among those that einops knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from einops._backends import AbstractBackend

import tracec
from tracec import Tensor


class VaryingSizes(tuple[Any, ...]):
    """Sizes of which some are symbols.

    einops keeps what it works out for the shapes that it has met, by their hash. Of these there is none, by which it is
    told to work it out anew: a symbol means nothing in another recording, and numbers that were kept are those of one
    size.
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]


class TracecBackend(AbstractBackend):  # type: ignore[misc] # einops has no types for it
    """Tensors of tracec; einops makes one of these when it first meets such a tensor."""

    framework_name = "tracec"

    def is_appropriate_type(self, tensor: Any) -> bool:
        return isinstance(tensor, Tensor)

    def shape(self, x: Tensor) -> tuple[int, ...]:
        sizes: tuple[int, ...] = super().shape(x)
        return sizes if all(type(n) is int for n in sizes) else VaryingSizes(sizes)

    def from_numpy(self, x: Any) -> Tensor:
        made = tracec.from_numpy(x)
        return made.requires_grad_() if self.is_float_type(made) else made

    def to_numpy(self, x: Tensor) -> Any:
        return x.detach().cpu().numpy()

    def arange(self, start: int, stop: int) -> Tensor:
        return tracec.arange(start, stop, dtype=tracec.int64)

    def reduce(self, x: Tensor, operation: str, reduced_axes: Sequence[int]) -> Tensor:
        axes = tuple(reduced_axes)
        match operation:
            case "min":
                return x.amin(dim=axes)
            case "max":
                return x.amax(dim=axes)
            case "sum":
                return x.sum(dim=axes)
            case "mean":
                return x.mean(dim=axes)
            case "any" | "all" | "prod":
                # The last one first: axes before it keep their numbers.
                for axis in sorted(axes, reverse=True):
                    x = getattr(x, operation)(dim=axis)
                return x
        raise NotImplementedError(f"einops: tracec knows no reduction {operation!r}")

    def transpose(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        return x.permute(tuple(axes))

    def stack_on_zeroth_dimension(self, tensors: list[Tensor]) -> Tensor:
        return tracec.stack(tensors)

    def add_axes(self, x: Tensor, n_axes: int, pos2len: Mapping[int, int]) -> Tensor:
        sizes = [-1] * n_axes
        for position, length in pos2len.items():
            x = x.unsqueeze(position)
            sizes[position] = length
        return x.expand(sizes)

    def add_axis(self, x: Tensor, new_position: int) -> Tensor:
        return x.unsqueeze(new_position)

    def tile(self, x: Tensor, repeats: Sequence[int]) -> Tensor:
        return x.repeat(tuple(repeats))

    def concat(self, tensors: list[Tensor], axis: int) -> Tensor:
        return tracec.cat(tensors, dim=axis)

    def is_float_type(self, x: Tensor) -> bool:
        return x.dtype.is_floating_point

    def layers(self) -> Any:
        from tracec.beside import einops_layers

        return einops_layers

    def einsum(self, pattern: str, *x: Tensor) -> Tensor:
        return tracec.einsum(pattern, *x)


__all__ = ["TracecBackend"]
