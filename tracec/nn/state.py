"""A module's state as a dictionary, and back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from tracec.errors import ArgumentTypeError, StateError
from tracec.nn.parameter import Parameter, is_lazy
from tracec.record.tape import no_grad
from tracec.record.tensor import Tensor

if TYPE_CHECKING:
    from tracec.nn.module import Module


class IncompatibleKeys(NamedTuple):
    """Names that only one side has.

    Attributes:
        missing_keys: Names that the module has and the state has not.
        unexpected_keys: Names that the state has and the module has not.
    """

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def state_of(module: Module, into: dict[str, Any], prefix: str, keep_vars: bool) -> None:
    """Enter the parameters and persistent buffers of a module and its children, by name."""
    for name, tensor in own_state(module).items():
        into[prefix + name] = tensor if keep_vars or is_lazy(tensor) else tensor.detach()
    extra = module.get_extra_state()
    if extra is not None:
        into[prefix + "_extra_state"] = extra
    for name, child in module._modules.items():
        if child is not None:
            state_of(child, into, f"{prefix}{name}.", keep_vars)


def own_state(module: Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers of a module itself."""
    kept = {n: b for n, b in module._buffers.items() if n not in module._non_persistent_buffers_set}
    return {name: t for name, t in (*module._parameters.items(), *kept.items()) if t is not None}


def load_state(module: Module, state: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """Write a state into a module.

    Raises:
        StateError: names are missing or unexpected, if strict, or shapes differ; nothing is written then.
        ArgumentTypeError: the state is not a mapping.
    """
    if not isinstance(state, Mapping):
        raise ArgumentTypeError(
            f"load_state_dict: takes a dictionary, {type(state).__name__} given", hint="give what state_dict() gave"
        )
    places: dict[str, tuple[Module, str]] = {}
    extras: dict[str, Module] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        lead = f"{path}." if path else ""
        places.update({lead + name: (part, name) for name in own_state(part)})
        if part.get_extra_state() is not None:
            extras[f"{lead}_extra_state"] = part
    known = {*places, *extras}
    missing = [name for name in (*places, *extras) if name not in state]
    unexpected = [name for name in state if name not in known]
    _check(module, places, state, missing if strict else [], unexpected if strict else [])
    with no_grad():
        for name, (part, own) in places.items():
            if name in state:
                _write(part, own, state[name], assign)
        for name, part in extras.items():
            if name in state:
                part.set_extra_state(state[name])
    return IncompatibleKeys(missing, unexpected)


def _check(
    module: Module,
    places: Mapping[str, tuple[Module, str]],
    state: Mapping[str, Any],
    missing: list[str],
    unexpected: list[str],
) -> None:
    lines = []
    if unexpected:
        lines.append(f"Unexpected key(s) in state_dict: {_quoted(unexpected)}.")
    if missing:
        lines.append(f"Missing key(s) in state_dict: {_quoted(missing)}.")
    for name, (part, own) in places.items():
        if name not in state:
            continue
        here, given = own_state(part)[own], state[name]
        if not isinstance(given, Tensor):
            lines.append(f"{name}: a tensor is expected, {type(given).__name__} given.")
        elif is_lazy(given) and not is_lazy(here):
            lines.append(f"{name}: its shape is not known yet; call the module that it was saved of first.")
        elif is_lazy(here):
            continue
        elif tuple(given.shape) != tuple(here.shape):
            lines.append(
                f"size mismatch for {name}: copying a param with shape {tuple(given.shape)} from checkpoint, "
                f"the shape in current model is {tuple(here.shape)}."
            )
    if lines:
        raise StateError(
            f"load_state_dict: Error(s) in loading state_dict for {type(module).__name__}:\n\t" + "\n\t".join(lines),
            hint="load into a module of the same structure, or pass strict=False to skip names that differ",
        )


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{n}"' for n in names)


def _write(module: Module, name: str, value: Tensor, assign: bool) -> None:
    table: Any = module._parameters if name in module._parameters else module._buffers
    if is_lazy(value):
        return
    if is_lazy(table[name]) and not assign:
        table[name].materialize(value.shape)
    if not assign:
        table[name].copy_(value)
    elif isinstance(value, Parameter) or table is module._buffers:
        table[name] = value
    else:
        table[name] = Parameter(value, requires_grad=table[name].requires_grad)


def new_state() -> dict[str, Any]:
    """An empty state."""
    return OrderedDict()
