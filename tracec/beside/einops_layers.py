"""The layers of einops as modules of tracec: what ``einops.layers.tracec`` is."""

from __future__ import annotations

from typing import Any

from einops.layers import RearrangeMixin, ReduceMixin
from einops.layers._einmix import _EinmixMixin

import tracec
from tracec import Tensor, nn


class Rearrange(RearrangeMixin, nn.Module):  # type: ignore[misc] # einops has no types for its layers
    """`einops.rearrange` by one pattern, as a module."""

    def forward(self, input: Tensor) -> Tensor:
        return self._apply_recipe(input)


class Reduce(ReduceMixin, nn.Module):  # type: ignore[misc]
    """`einops.reduce` by one pattern, as a module."""

    def forward(self, input: Tensor) -> Tensor:
        return self._apply_recipe(input)


class EinMix(_EinmixMixin, nn.Module):  # type: ignore[misc]
    """A linear layer whose axes are named by a pattern of einops."""

    def _create_parameters(
        self, weight_shape: list[int], weight_bound: float, bias_shape: list[int] | None, bias_bound: float
    ) -> None:
        def drawn(shape: list[int], bound: float) -> nn.Parameter:
            return nn.Parameter(tracec.zeros(shape).uniform_(-bound, bound))

        self.weight = drawn(weight_shape, weight_bound)
        self.bias = drawn(bias_shape, bias_bound) if bias_shape is not None else None

    def _create_rearrange_layers(
        self,
        pre_reshape_pattern: str | None,
        pre_reshape_lengths: dict[str, int] | None,
        post_reshape_pattern: str | None,
        post_reshape_lengths: dict[str, int] | None,
    ) -> None:
        def layer(pattern: str | None, lengths: dict[str, int] | None) -> Rearrange | None:
            made: Any = Rearrange
            return made(pattern, **(lengths or {})) if pattern is not None else None

        self.pre_rearrange = layer(pre_reshape_pattern, pre_reshape_lengths)
        self.post_rearrange = layer(post_reshape_pattern, post_reshape_lengths)

    def forward(self, input: Tensor) -> Tensor:
        if self.pre_rearrange is not None:
            input = self.pre_rearrange(input)
        result: Any = tracec.einsum(self.einsum_pattern, input, self.weight)
        if self.bias is not None:
            result = result + self.bias
        return self.post_rearrange(result) if self.post_rearrange is not None else result


__all__ = ["EinMix", "Rearrange", "Reduce"]
