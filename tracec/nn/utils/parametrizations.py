"""Parametrisations that are often wanted: by length and direction, of spectral norm 1, and orthogonal."""

from __future__ import annotations

from typing import Any

from tracec.errors import ArgumentError, ShapeError
from tracec.functions import dot, mv, randn
from tracec.nn import functional as F
from tracec.nn.module import Module
from tracec.nn.utils.norms import matrix_of, norm_except, output_axis, power_steps
from tracec.nn.utils.orthogonal import orthogonal
from tracec.nn.utils.parametrize import register_parametrization
from tracec.record.tensor import Tensor

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


class _WeightNorm(Module):
    """Length times direction.

    Args:
        dim: The axis whose positions have lengths of their own; None for one length.
    """

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        """The weight of these lengths and directions."""
        return weight_v * (weight_g / norm_except(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The lengths, and the weight itself for the directions."""
        return norm_except(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Have a weight computed as length times direction.

    Args:
        module: The module.
        name: The name of the weight.
        dim: The axis whose positions have lengths of their own; None for one length.

    Returns:
        The module; ``parametrizations.weight.original0`` are the lengths, ``original1`` the directions.

    Source: Salimans, Kingma, "Weight Normalization", 2016.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(state: dict[str, Any], prefix: str, *_: Any) -> None:
        # The names of the older function.
        for old, new in (("g", "original0"), ("v", "original1")):
            if f"{prefix}{name}_{old}" in state:
                state[f"{prefix}parametrizations.{name}.{new}"] = state.pop(f"{prefix}{name}_{old}")

    module._register_load_state_dict_pre_hook(rename)
    return module


class _SpectralNorm(Module):
    """A weight divided by its largest singular value, which steps of the power method follow.

    Args:
        weight: The weight at first.
        n_power_iterations: Steps at each call in training.
        dim: The axis of the rows.
        eps: What lengths count as at least.
    """

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        if n_power_iterations < 1:
            raise ArgumentError(
                f"spectral_norm: n_power_iterations={n_power_iterations} is not positive", hint="give 1 or more"
            )
        if not -weight.ndim <= dim < weight.ndim:
            raise ShapeError(f"spectral_norm: dim={dim} for shape {tuple(weight.shape)}", hint="name one of its axes")
        self.dim, self.eps, self.n_power_iterations = dim % weight.ndim, eps, n_power_iterations
        if weight.ndim > 1:
            matrix = matrix_of(weight.detach(), self.dim)
            for name, size in (("_u", matrix.shape[0]), ("_v", matrix.shape[1])):
                start = randn(size, dtype=weight.dtype, device=weight.device)
                self.register_buffer(name, F.normalize(start, dim=0, eps=eps))
            power_steps(matrix, self._u, self._v, 15, eps)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight, of spectral norm 1."""
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = matrix_of(weight, self.dim)
        if self.training:
            power_steps(matrix.detach(), self._u, self._v, self.n_power_iterations, self.eps)
        u, v = self._u.clone(), self._v.clone()
        return weight / dot(u, mv(matrix, v))

    def right_inverse(self, value: Tensor) -> Tensor:
        """The value itself."""
        return value


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Have a weight divided by its largest singular value.

    Args:
        module: The module.
        name: The name of the weight.
        n_power_iterations: Steps of the power method at each call in training.
        eps: What lengths count as at least.
        dim: The axis of the outputs; by default 1 for transposed convolutions and 0 for others.

    Returns:
        The module.

    Source: Miyato, Kataoka, Koyama, Yoshida, "Spectral Normalization for Generative Adversarial Networks", 2018.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ArgumentError(
            f"spectral_norm: {type(module).__name__} has no parameter or buffer with name '{name}'", hint="name one"
        )
    axis = output_axis(module) if dim is None else dim
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, axis, eps))
