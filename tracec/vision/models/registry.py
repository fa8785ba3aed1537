"""Which models there are, and what is said of weights that are asked for."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable, Iterable
from typing import Any

from tracec import nn
from tracec.errors import ArgumentError, UnsupportedError

Builder = Callable[..., nn.Module]
_MODELS: dict[str, Builder] = {}

HOW = (
    "{name}() has random weights; with torchvision's file of them: model.load_state_dict(tracec.load('{name}.pth')), "
    "or tracec.hub.load_state_dict_from_url(url) fetches it. Addresses stand in torchvision's documentation"
)


def model(build: Builder) -> Builder:
    """Enter a function that makes a model, and let it take, and refuse, weights."""
    name = build.__name__

    @functools.wraps(build)
    def make(*, weights: Any = None, progress: bool = True, **kwargs: Any) -> nn.Module:
        if weights is None and kwargs.pop("pretrained", False):
            weights = "DEFAULT"
        if weights is not None:
            raise UnsupportedError(f"{name}: weights={weights!r} are not fetched", hint=HOW.format(name=name))
        return build(**kwargs)

    _MODELS[name] = make
    return make


def list_models(include: str | Iterable[str] | None = None, exclude: str | Iterable[str] | None = None) -> list[str]:
    """The names of all models, in alphabetical order.

    Args:
        include: Patterns, such as ``"resnet*"``, of which a name fits one.
        exclude: Patterns of which it fits none.
    """
    wanted, others = ([p] if isinstance(p, str) else list(p or ()) for p in (include, exclude))
    return sorted(
        name
        for name in _MODELS
        if (not wanted or any(fnmatch.fnmatch(name, p) for p in wanted))
        and not any(fnmatch.fnmatch(name, p) for p in others)
    )


def get_model_builder(name: str) -> Builder:
    """The function that makes a model.

    Args:
        name: The model's, in letters of either size.

    Raises:
        ArgumentError: there is none of this name.
    """
    found = _MODELS.get(name.lower())
    if found is None:
        import difflib

        near = difflib.get_close_matches(name.lower(), _MODELS) or sorted(_MODELS)
        raise ArgumentError(f"get_model: no model is called {name!r}", hint=f"there are {', '.join(near)}")
    return found


def get_model(name: str, **config: Any) -> nn.Module:
    """A model by its name.

    Args:
        name: The model's, in letters of either size.
        **config: What its function takes, such as ``num_classes=10``.

    Raises:
        ArgumentError: there is none of this name.
    """
    return get_model_builder(name)(**config)


def kaiming(module: nn.Module, mode: str = "fan_out", spread: float | None = 0.01) -> None:
    """First values for rectified layers: normal for convolutions, ones for scales, zeros for biases.

    Args:
        module: Convolutions, batch norms and linear layers within get values.
        mode: Whether to keep the variance forward (``fan_in``) or backward (``fan_out``).
        spread: The deviation of linear layers' weights; None leaves them.

    Source: He et al., "Delving deep into rectifiers", 2015.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode=mode, nonlinearity="relu")
        elif isinstance(part, (nn.BatchNorm2d, nn.GroupNorm)):
            if part.weight is not None:
                nn.init.ones_(part.weight)
        elif isinstance(part, nn.Linear) and spread is not None:
            nn.init.normal_(part.weight, 0, spread)
        else:
            continue
        if spread is not None or not isinstance(part, nn.Linear):
            no_bias(part)


def no_bias(part: Any) -> None:
    """Zeros for the bias of a layer that has one."""
    if part.bias is not None:
        nn.init.zeros_(part.bias)


def divisible(value: float, by: int = 8) -> int:
    """The nearest multiple that is not less than nine tenths of a value."""
    found = max(by, int(value + by / 2) // by * by)
    return found + by if found < 0.9 * value else found
