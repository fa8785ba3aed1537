"""Modules under the paths that PyTorch keeps them at: ``nn.modules.linear.Linear``, ``nn.modules.utils._pair``, …"""

from __future__ import annotations

import copy
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tracec.nn import (
    activation,
    adaptive,
    batchnorm,
    cells,
    containers,
    convolution,
    distance,
    dropout,
    embedding,
    hooks,
    lazy,
    linear,
    loss,
    margin_loss,
    module,
    multihead,
    normalization,
    padding,
    parameters,
    pooling,
    recurrent,
    transformer,
    vision,
)
from tracec.nn.batchnorm import _BatchNorm, _InstanceNorm, _Norm
from tracec.nn.convolution import _Conv, _ConvTranspose
from tracec.nn.dropout import _Dropout
from tracec.nn.loss import _Loss, _Weighted
from tracec.nn.module import Module
from tracec.nn.pooling import _Adaptive, _AvgPool, _MaxPool
from tracec.nn.state import IncompatibleKeys, consume_prefix_in_state_dict_if_present
from tracec.nn.transformer import _activation


def _ntuple(n: int) -> Callable[[Any], tuple[Any, ...]]:
    """A function that makes n of one, and a tuple of several."""

    def parse(x: Any) -> tuple[Any, ...]:
        return tuple(x) if isinstance(x, Iterable) else (x,) * n

    return parse


def _reverse_repeat_tuple(t: Sequence[Any], n: int) -> tuple[Any, ...]:
    """The last first, and each n times."""
    return tuple(x for x in reversed(t) for _ in range(n))


def _get_clones(module: Module, N: int) -> Module:
    """Copies of a module in a list."""
    return containers.ModuleList([copy.deepcopy(module) for _ in range(N)])


_WORDS = ("single", "pair", "triple", "quadruple")
#: PyTorch's name of a file → where its classes are here, and what it names in another way.
_FILES: dict[str, tuple[tuple[types.ModuleType, ...], dict[str, Any]]] = {
    "activation": ((activation, multihead), {}),
    "adaptive": ((adaptive,), {}),
    "batchnorm": ((batchnorm, lazy), {"_BatchNorm": _BatchNorm, "_NormBase": _Norm}),
    "container": ((containers, parameters), {}),
    "conv": ((convolution, lazy), {"_ConvNd": _Conv, "_ConvTransposeNd": _ConvTranspose}),
    "distance": ((distance,), {}),
    "dropout": ((dropout,), {"_DropoutNd": _Dropout}),
    "flatten": ((linear,), {}),
    "instancenorm": ((batchnorm, lazy), {"_InstanceNorm": _InstanceNorm}),
    "linear": ((linear, multihead, lazy), {}),
    "loss": ((loss, margin_loss), {"_Loss": _Loss, "_WeightedLoss": _Weighted}),
    "module": ((module, hooks), {"_IncompatibleKeys": IncompatibleKeys}),
    "normalization": ((normalization,), {}),
    "padding": ((padding,), {}),
    "pooling": ((pooling,), {"_MaxPoolNd": _MaxPool, "_AvgPoolNd": _AvgPool, "_AdaptiveAvgPoolNd": _Adaptive}),
    "rnn": ((recurrent, cells), {}),
    "sparse": ((embedding,), {}),
    "transformer": ((transformer,), {"_get_activation_fn": _activation, "_get_clones": _get_clones}),
    "upsampling": ((vision,), {}),
    "utils": (
        (),
        {
            "_ntuple": _ntuple,
            **{f"_{n}": _ntuple(k + 1) for k, n in enumerate(_WORDS)},
            "_reverse_repeat_tuple": _reverse_repeat_tuple,
            "consume_prefix_in_state_dict_if_present": consume_prefix_in_state_dict_if_present,
        },
    ),
}


def _of(part: types.ModuleType) -> dict[str, Any]:
    """What a module of the library defines for users."""
    return {
        name: value
        for name, value in vars(part).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == part.__name__
    }


def _file(name: str) -> types.ModuleType:
    parts, named = _FILES[name]
    made = types.ModuleType(f"{__name__}.{name}", f"Names of ``torch.nn.modules.{name}``.")
    for part in parts:
        made.__dict__.update(_of(part))
    made.__dict__.update(named)
    sys.modules[made.__name__] = made
    return made


# A package to Python, so that ``from tracec.nn.modules.utils import _pair`` finds what is in the table of modules.
__path__: list[str] = []
for _name in _FILES:
    globals()[_name] = _file(_name)
for _file_of_it in (*dict.fromkeys(part for parts, _ in _FILES.values() for part in parts),):
    for _name, _value in _of(_file_of_it).items():
        if isinstance(_value, type) and issubclass(_value, Module):
            globals()[_name] = _value
