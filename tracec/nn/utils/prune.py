"""Weights set to zero by masks, which the module keeps beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tracec.errors import ArgumentError, ArgumentTypeError, ShapeError
from tracec.functions import cat, ones_like, rand, reshape, split, topk
from tracec.functions.norms import vector_norm
from tracec.nn.module import Module
from tracec.nn.parameter import Parameter
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor


class BasePruningMethod:
    """A hook that multiplies a tensor by its mask before each call; a subclass says how the mask is computed.

    Attributes:
        PRUNING_TYPE: ``unstructured`` (single elements), ``structured`` (slices along ``dim``) or ``global``.
    """

    PRUNING_TYPE = "unstructured"
    _tensor_name: str
    dim = -1

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask for a tensor: 1 where it stays, 0 where it does not.

        Args:
            t: The tensor, or scores that say how much each element matters.
            default_mask: The mask that it has.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define compute_mask")

    def __call__(self, module: Any, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    def apply_mask(self, module: Any) -> Tensor:
        """The tensor, times its mask."""
        name = self._tensor_name
        original, mask = getattr(module, f"{name}_orig"), getattr(module, f"{name}_mask")
        masked: Tensor = mask.to(original.dtype) * original
        return masked

    @classmethod
    def apply(
        cls, module: Any, name: str, *args: Any, importance_scores: Tensor | None = None, **kwargs: Any
    ) -> BasePruningMethod:
        """Prune a parameter; further arguments go to the class.

        Args:
            module: The module: ``name`` becomes ``name_orig``, and there is a buffer ``name_mask``.
            name: The parameter.
            *args: For the class.
            importance_scores: What the mask is computed of, instead of the parameter.
            **kwargs: For the class.

        Raises:
            ArgumentError: there is no such parameter.
            ShapeError: the scores have another shape.
        """
        method: BasePruningMethod = cls(*args, **kwargs)
        method._tensor_name = name
        found = _hook(module, name)
        original = module._parameters.get(name if found is None else f"{name}_orig")
        if original is None:
            raise ArgumentError(f"prune: {type(module).__name__} has no parameter '{name}'", hint="name one of its own")
        if importance_scores is not None and tuple(importance_scores.shape) != tuple(original.shape):
            raise ShapeError(
                f"prune: importance_scores of shape {tuple(importance_scores.shape)} for {tuple(original.shape)}",
                hint="the shapes must be the same",
            )
        with no_grad():
            scores = getattr(module, name).detach() if importance_scores is None else importance_scores.detach()
            if found is None:
                mask = method.compute_mask(scores, ones_like(original.detach()))
                del module._parameters[name]
                module.register_parameter(f"{name}_orig", original)
            else:
                known = module._forward_pre_hooks.pop(found).function
                chain = known if isinstance(known, PruningContainer) else PruningContainer(known)
                chain._tensor_name = name
                chain.add_pruning_method(method)
                mask = chain.compute_mask(scores, getattr(module, f"{name}_mask").clone())
                method = chain
        module.register_buffer(f"{name}_mask", mask.to(original.dtype))
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None) -> Tensor:
        """A tensor with what is pruned set to zero; no module is touched."""
        mask = ones_like(t.detach()) if default_mask is None else default_mask
        pruned: Tensor = t * self.compute_mask(t if importance_scores is None else importance_scores, mask)
        return pruned

    def remove(self, module: Any) -> None:
        """Make the pruned tensor the parameter."""
        name = self._tensor_name
        original: Parameter = module._parameters[f"{name}_orig"]
        with no_grad():
            original.data = self.apply_mask(module).detach()
        delattr(module, name)
        del module._parameters[f"{name}_orig"], module._buffers[f"{name}_mask"]
        module.register_parameter(name, original)


class PruningContainer(BasePruningMethod):
    """Several prunings of one tensor, each of what those before have left."""

    def __init__(self, *args: BasePruningMethod) -> None:
        self._methods = list(args)

    def add_pruning_method(self, method: BasePruningMethod) -> None:
        """Add a pruning."""
        self._methods.append(method)

    def __len__(self) -> int:
        return len(self._methods)

    def __iter__(self) -> Any:
        return iter(self._methods)

    def __getitem__(self, index: int) -> BasePruningMethod:
        return self._methods[index]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask of the last pruning, within what is left."""
        method, mask = self._methods[-1], default_mask.clone()
        if method.PRUNING_TYPE == "global":
            return method.compute_mask(t, mask)
        if method.PRUNING_TYPE == "structured":
            axis = method.dim % t.ndim
            others = [a for a in range(t.ndim) if a != axis]
            left = mask.sum(others) != 0
            at: Any = tuple(left if a == axis else slice(None) for a in range(t.ndim))
        else:
            at = mask == 1
        mask[at] = method.compute_mask(t[at], mask[at])
        return mask


class Identity(BasePruningMethod):
    """Nothing pruned; the tensor gets a mask of ones."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask


class _ByAmount(BasePruningMethod):
    """Prunes a number of elements or slices, or a share of them.

    Args:
        amount: How many, or a share from 0 to 1.

    Raises:
        ArgumentError: it is negative, or a share above 1.
    """

    def __init__(self, amount: float) -> None:
        if isinstance(amount, bool) or not isinstance(amount, (int, float)):
            raise ArgumentTypeError(f"prune: amount={amount!r} is no number", hint="a number, or a share from 0 to 1")
        if amount < 0 or (isinstance(amount, float) and amount > 1):
            raise ArgumentError(
                f"prune: amount={amount}", hint="should be a non-negative integer, or a float in [0, 1]"
            )
        self.amount = amount

    def _count(self, total: int) -> int:
        if isinstance(self.amount, float):
            return round(self.amount * total)
        if self.amount > total:
            raise ArgumentError(f"prune: amount={self.amount} of {total}", hint="give at most all of them")
        return self.amount

    def _least(self, scores: Tensor, mask: Tensor) -> Tensor:
        """The mask without the elements of the least scores."""
        count = self._count(scores.numel())
        flat = reshape(mask.clone(), (-1,))
        if count:
            flat[topk(reshape(scores, (-1,)), count, largest=False).indices] = 0
        return reshape(flat, tuple(mask.shape))


class RandomUnstructured(_ByAmount):
    """Elements drawn at random."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return self._least(rand(*t.shape, device=t.device), default_mask)


class L1Unstructured(_ByAmount):
    """The elements of the least absolute values."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return self._least(t.abs(), default_mask)


class _Structured(_ByAmount):
    PRUNING_TYPE = "structured"

    def __init__(self, amount: float, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def _slices(self, t: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
        axis = self.dim % t.ndim
        kept = self._least(scores, ones_like(scores))
        shape = [1] * t.ndim
        shape[axis] = t.shape[axis]
        left: Tensor = mask * reshape(kept, shape)
        return left


class RandomStructured(_Structured):
    """Slices along an axis, drawn at random."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return self._slices(t, rand(t.shape[self.dim], device=t.device), default_mask)


class LnStructured(_Structured):
    """The slices along an axis that have the least n-norms."""

    def __init__(self, amount: float, n: float, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        others = [a for a in range(t.ndim) if a != self.dim % t.ndim]
        return self._slices(t, vector_norm(t, float(self.n), others), default_mask)


class CustomFromMask(BasePruningMethod):
    """A mask that is given."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        left: Tensor = default_mask * self.mask.to(default_mask.dtype)
        return left


def identity(module: Any, name: str) -> Any:
    """Give a parameter a mask of ones."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Any, name: str, amount: float) -> Any:
    """Prune a number of elements, or a share of them, drawn at random."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: Any, name: str, amount: float, importance_scores: Tensor | None = None) -> Any:
    """Prune a number of elements, or a share of them: those of the least absolute values."""
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module: Any, name: str, amount: float, dim: int) -> Any:
    """Prune a number of slices along an axis, or a share of them, drawn at random."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Any, name: str, amount: float, n: float, dim: int, importance_scores: Tensor | None = None
) -> Any:
    """Prune a number of slices along an axis, or a share of them: those of the least n-norms."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Any, name: str, mask: Tensor) -> Any:
    """Prune by a mask."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Module, str]],
    pruning_method: type[BasePruningMethod],
    importance_scores: dict[tuple[Module, str], Tensor] | None = None,
    **kwargs: Any,
) -> None:
    """Prune several parameters as if they were one.

    Args:
        parameters: Modules and the names of their parameters.
        pruning_method: An unstructured one, such as `L1Unstructured`.
        importance_scores: What masks are computed of, instead of the parameters.
        **kwargs: For the method.
    """
    pairs: Sequence[tuple[Any, str]] = list(parameters)
    scores = importance_scores or {}
    with no_grad():
        tensors = [scores.get((m, n), getattr(m, n)).detach() for m, n in pairs]
        masks = [getattr(m, f"{n}_mask", ones_like(t)) for (m, n), t in zip(pairs, tensors, strict=True)]
        method = PruningContainer(pruning_method(**kwargs))
        row, given = (cat([reshape(t, (-1,)) for t in parts]) for parts in (tensors, masks))
        found = split(method.compute_mask(row, given), [t.numel() for t in tensors])
    for (module, name), mask, t in zip(pairs, found, tensors, strict=True):
        custom_from_mask(module, name, reshape(mask, tuple(t.shape)))


def remove(module: Any, name: str) -> Any:
    """Make a pruned tensor the parameter.

    Raises:
        ArgumentError: it is not pruned.
    """
    found = _hook(module, name)
    if found is None:
        raise ArgumentError(
            f"prune: '{name}' of {type(module).__name__} is not pruned", hint="it has no mask to remove"
        )
    module._forward_pre_hooks.pop(found).function.remove(module)
    return module


def is_pruned(module: Any) -> bool:
    """Whether a tensor of the module, or of one below, is pruned."""
    hooks = (hook for part in module.modules() for hook in part._forward_pre_hooks.values())
    return any(isinstance(hook.function, BasePruningMethod) for hook in hooks)


def _hook(module: Any, name: str) -> int | None:
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook.function, BasePruningMethod) and hook.function._tensor_name == name:
            return int(key)
    return None
