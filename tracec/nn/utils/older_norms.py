"""Weight norm and spectral norm by hooks, as programs of before parametrisations have them."""

from __future__ import annotations

from typing import Any

from tracec.errors import ArgumentError
from tracec.functions import dot, mv, randn
from tracec.ir.source import warn
from tracec.nn import functional as F
from tracec.nn.module import Module
from tracec.nn.parameter import Parameter
from tracec.nn.utils.norms import matrix_of, norm_except, output_axis, power_steps
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor


class WeightNorm:
    """The hook that computes a weight from lengths and directions before each call."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name, self.dim = name, -1 if dim is None else dim

    def compute_weight(self, module: Module) -> Tensor:
        """The weight."""
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        weight: Tensor = v * (g / norm_except(v, self.dim))
        return weight

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: Any, name: str = "weight", dim: int | None = 0) -> Any:
    """Have a weight computed as length times direction, from ``weight_g`` and ``weight_v``, before each call.

    Args:
        module: The module.
        name: The name of the weight.
        dim: The axis whose positions have lengths of their own; None for one length.

    Returns:
        The module. `tracec.nn.utils.parametrizations.weight_norm` is the newer way.

    Raises:
        ArgumentError: there is no such parameter, or it has a weight norm.

    Source: Salimans, Kingma, "Weight Normalization", 2016.
    """
    warn(
        "nn.utils.weight_norm is deprecated in favor of nn.utils.parametrizations.weight_norm.",
        FutureWarning,
    )
    if _hook(module, WeightNorm, name) is not None:
        raise ArgumentError(
            f"weight_norm: cannot register two weight_norm hooks on the same parameter {name}", hint="once will do"
        )
    weight = _parameter(module, name, "weight_norm")
    made = WeightNorm(name, dim)
    del module._parameters[name]
    module.register_parameter(f"{name}_g", Parameter(norm_except(weight.detach(), made.dim)))
    module.register_parameter(f"{name}_v", Parameter(weight.detach()))
    setattr(module, name, made.compute_weight(module))
    module.register_forward_pre_hook(made)
    return module


def remove_weight_norm(module: Any, name: str = "weight") -> Any:
    """Make the weight a parameter again, with the value that it has.

    Raises:
        ArgumentError: the weight has no weight norm.
    """
    key = _hook(module, WeightNorm, name)
    if key is None:
        raise ArgumentError(f"weight_norm of '{name}' not found in {type(module).__name__}", hint="it has none")
    weight = module._forward_pre_hooks.pop(key).function.compute_weight(module)
    delattr(module, name)
    del module._parameters[f"{name}_g"], module._parameters[f"{name}_v"]
    setattr(module, name, Parameter(weight.detach()))
    return module


class SpectralNorm:
    """The hook that divides a weight by its largest singular value before each call."""

    def __init__(self, name: str, n_power_iterations: int, dim: int, eps: float) -> None:
        self.name, self.n_power_iterations, self.dim, self.eps = name, n_power_iterations, dim, eps

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        """The weight."""
        weight = getattr(module, f"{self.name}_orig")
        u, v = getattr(module, f"{self.name}_u"), getattr(module, f"{self.name}_v")
        matrix = matrix_of(weight, self.dim)
        if do_power_iteration:
            power_steps(matrix.detach(), u, v, self.n_power_iterations, self.eps, from_u=True)
            u, v = u.clone(), v.clone()
        found: Tensor = weight / dot(u, mv(matrix, v))
        return found

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, module.training))


def spectral_norm(
    module: Any, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Any:
    """Have a weight divided by its largest singular value before each call, from ``weight_orig``.

    Args:
        module: The module.
        name: The name of the weight.
        n_power_iterations: Steps of the power method at each call in training.
        eps: What lengths count as at least.
        dim: The axis of the outputs; by default 1 for transposed convolutions and 0 for others.

    Returns:
        The module. `tracec.nn.utils.parametrizations.spectral_norm` is the newer way.

    Raises:
        ArgumentError: there is no such parameter, it has a spectral norm, or there would be no steps.

    Source: Miyato, Kataoka, Koyama, Yoshida, "Spectral Normalization for Generative Adversarial Networks", 2018.
    """
    if n_power_iterations < 1:
        raise ArgumentError(f"spectral_norm: n_power_iterations={n_power_iterations}", hint="give 1 or more")
    if _hook(module, SpectralNorm, name) is not None:
        raise ArgumentError(
            f"spectral_norm: cannot register two spectral_norm hooks on the same parameter {name}", hint="once will do"
        )
    weight = _parameter(module, name, "spectral_norm")
    made = SpectralNorm(name, n_power_iterations, output_axis(module) if dim is None else dim, eps)
    matrix = matrix_of(weight.detach(), made.dim)
    del module._parameters[name]
    module.register_parameter(f"{name}_orig", weight)
    setattr(module, name, weight.detach())
    for part, size in (("u", matrix.shape[0]), ("v", matrix.shape[1])):
        start = randn(size, dtype=weight.dtype, device=weight.device)
        module.register_buffer(f"{name}_{part}", F.normalize(start, dim=0, eps=eps))
    module.register_forward_pre_hook(made)
    return module


def remove_spectral_norm(module: Any, name: str = "weight") -> Any:
    """Make the weight a parameter again, with the value that it has.

    Raises:
        ArgumentError: the weight has no spectral norm.
    """
    key = _hook(module, SpectralNorm, name)
    if key is None:
        raise ArgumentError(f"spectral_norm of '{name}' not found in {type(module).__name__}", hint="it has none")
    made = module._forward_pre_hooks.pop(key).function
    with no_grad():
        weight = made.compute_weight(module, False)
    delattr(module, name)
    for part in ("u", "v", "orig"):
        delattr(module, f"{name}_{part}")
    module.register_parameter(name, Parameter(weight.detach()))
    return module


def _hook(module: Any, kind: type, name: str) -> int | None:
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook.function, kind) and hook.function.name == name:  # type: ignore[attr-defined]
            return int(key)
    return None


def _parameter(module: Any, name: str, what: str) -> Parameter:
    found = module._parameters.get(name)
    if not isinstance(found, Parameter):
        raise ArgumentError(f"{what}: {type(module).__name__} has no parameter '{name}'", hint="name one of its own")
    return found
