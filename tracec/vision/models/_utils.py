"""What PyTorch's programs for detection and segmentation import of torchvision's models beside these."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from tracec import Tensor, nn
from tracec.errors import ArgumentError


class IntermediateLayerGetter(nn.ModuleDict):
    """The first children of a model, one after the other, which gives what some of them compute.

    Args:
        model: The model; its children are called in the order in which it has them.
        return_layers: Names of children whose results are given, and what each is called there; children after the
            last of these are left out.

    Raises:
        ArgumentError: the model has no child of such a name.
    """

    def __init__(self, model: nn.Module, return_layers: Mapping[str, str]) -> None:
        children = dict(model.named_children())
        missing = [name for name in return_layers if name not in children]
        if missing:
            raise ArgumentError(
                f"IntermediateLayerGetter: {type(model).__name__} has no child {missing[0]!r}",
                hint=f"it has {', '.join(children) or 'none'}",
            )
        last = max((k for k, name in enumerate(children) if name in return_layers), default=-1)
        super().__init__(dict(list(children.items())[: last + 1]))
        self.return_layers = {str(name): str(given) for name, given in return_layers.items()}

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        """What the chosen children compute, by the names that were given to them."""
        found: OrderedDict[str, Tensor] = OrderedDict()
        for name, child in self.items():
            x = child(x)
            if name in self.return_layers:
                found[self.return_layers[name]] = x
        return found


__all__ = ["IntermediateLayerGetter"]
