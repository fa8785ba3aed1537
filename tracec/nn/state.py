"""A module's state as a dictionary, and back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from tracec.errors import ArgumentTypeError, StateError
from tracec.ir.source import warn
from tracec.nn.hooks import Hooked
from tracec.nn.parameter import Parameter, is_lazy
from tracec.nn.tree import Tree
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor
from tracec.utils.hooks import hooks_in

if TYPE_CHECKING:
    from tracec.nn.module import Module

_EXTRA = "_extra_state"


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


class Findings(list[str]):
    """What is wrong with a state that is loaded.

    Attributes:
        writes: What is done if nothing is wrong; None where tensors are written as they are found.
    """

    writes: list[Callable[[], None]] | None = None


class Stateful(Hooked):
    """A module's state: how it is saved and loaded."""

    _version = 1

    def state_dict(
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """All parameters and persistent buffers by path; they share the module's memory.

        Args:
            *args: The arguments that follow, by position, which PyTorch no longer wants.
            destination: The dictionary to enter them into.
            prefix: Put in front of all names.
            keep_vars: Give the parameters themselves, not detached.
        """
        positional = dict(zip(("destination", "prefix", "keep_vars"), args, strict=False))
        destination = positional.get("destination", destination)
        prefix, keep_vars = positional.get("prefix", prefix), positional.get("keep_vars", keep_vars)
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        metadata: dict[str, Any] = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = metadata
        for hook in hooks_in(self, "_state_dict_pre_hooks"):
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, child in self._modules.items():
            if child is not None:
                child.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in hooks_in(self, "_state_dict_hooks"):
            changed = hook(self, destination, prefix, metadata)
            destination = destination if changed is None else changed
        return destination  # type: ignore[no-any-return]

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Enter the module's own parameters and persistent buffers."""
        for name, tensor in _own_state(self).items():
            destination[prefix + name] = tensor if keep_vars or is_lazy(tensor) else tensor.detach()
        if _has_extra(self, "get_extra_state"):
            destination[prefix + _EXTRA] = self.get_extra_state()

    def get_extra_state(self) -> Any:
        """Further state to keep in `state_dict`; a subclass that has some defines it."""
        return None

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` gave."""

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Write a state that `state_dict` gave into parameters and buffers.

        Args:
            state_dict: Tensors by path.
            strict: Whether the names must be the same.
            assign: Take the tensors themselves instead of their values.

        Returns:
            Names that only one side has.

        Raises:
            StateError: names differ, if strict, or shapes; nothing is written then.
        """
        return load_state(self, state_dict, strict, assign)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Write the module's own part of a state, and say what does not fit."""
        for hook in hooks_in(self, "_load_state_dict_pre_hooks"):
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        own = _own_state(self)
        assign = local_metadata.get("assign_to_params_buffers", False)
        for name in own:
            key = prefix + name
            if key in state_dict:
                _take(self, name, key, state_dict[key], assign, error_msgs)
            elif strict:
                missing_keys.append(key)
        extra = prefix + _EXTRA
        if _has_extra(self, "set_extra_state"):
            if extra in state_dict:
                _do(error_msgs, lambda: self.set_extra_state(state_dict[extra]))
            elif strict:
                missing_keys.append(extra)
        elif strict and extra in state_dict:
            unexpected_keys.append(extra)
        if strict:
            for key in state_dict:
                if key.startswith(prefix) and key != extra:
                    first, *deeper = key[len(prefix) :].split(".", 1)
                    if first not in (self._modules if deeper else own):
                        unexpected_keys.append(key)


def _own_state(module: Tree) -> dict[str, Tensor]:
    """Parameters and persistent buffers of a module itself."""
    kept = {n: b for n, b in module._buffers.items() if n not in module._non_persistent_buffers_set}
    return {name: t for name, t in (*module._parameters.items(), *kept.items()) if t is not None}


def _has_extra(module: Stateful, method: str) -> bool:
    return getattr(type(module), method) is not getattr(Stateful, method)


def _take(module: Tree, name: str, key: str, given: Any, assign: bool, errors: list[str]) -> None:
    """Write one tensor, later if all others fit too."""
    here = _own_state(module)[name]
    if not isinstance(given, Tensor):
        errors.append(f"{key}: a tensor is expected, {type(given).__name__} given.")
        return
    if is_lazy(given) or is_lazy(here):
        if not is_lazy(here):
            errors.append(f"{key}: its shape is not known yet; call the module that it was saved of first.")
        elif not is_lazy(given):
            _do(errors, lambda: _write(module, name, given, assign))
        return
    if here.ndim == 0 and tuple(given.shape) == (1,):
        given = given[0]  # of states that were saved by old versions of PyTorch
    if tuple(given.shape) != tuple(here.shape):
        errors.append(
            f"size mismatch for {key}: copying a param with shape {tuple(given.shape)} from checkpoint, "
            f"the shape in current model is {tuple(here.shape)}."
        )
        return
    _do(errors, lambda: _write(module, name, given, assign))


def _write(module: Tree, name: str, given: Tensor, assign: bool) -> None:
    table: Any = module._parameters if name in module._parameters else module._buffers
    if is_lazy(table[name]) and not assign:
        table[name].materialize(given.shape)
    if not assign:
        if table[name].is_meta and not given.is_meta:
            warn(
                f"for {name}: copying from a non-meta parameter in the checkpoint to a meta parameter in the current "
                "model, which is a no-op. (Did you mean to pass `assign=True` to assign items in the state dictionary "
                "to their corresponding key in the module instead of copying them in place?)",
                UserWarning,
            )
        table[name].copy_(given)
    elif table is module._buffers:
        table[name] = given
    elif isinstance(given, Parameter):
        table[name] = given.requires_grad_(table[name].requires_grad)
    else:
        table[name] = Parameter(given, requires_grad=table[name].requires_grad)


def _do(errors: list[str], action: Callable[[], None]) -> None:
    writes = getattr(errors, "writes", None)
    if writes is None:
        with no_grad():
            action()
    else:
        writes.append(action)


def load_state(module: Any, state_dict: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """Write a state into a module.

    Raises:
        StateError: names are missing or unexpected, if strict, or shapes differ; nothing is written then.
        ArgumentTypeError: the state is not a mapping.
    """
    if not isinstance(state_dict, Mapping):
        raise ArgumentTypeError(
            f"load_state_dict: takes a dictionary, {type(state_dict).__name__} given",
            hint="give what state_dict() gave",
        )
    metadata = getattr(state_dict, "_metadata", None) or {}
    keys, errors = IncompatibleKeys([], []), Findings()
    # Hooks that run when a module is loaded may look at its tensors: then they are written as they are found.
    if not any(hooks_in(m, "_load_state_dict_post_hooks") for m in module.modules()):
        errors.writes = []
    _load_part(module, OrderedDict(state_dict), "", metadata, assign, keys, errors)
    if strict and keys.unexpected_keys:
        errors.insert(0, f"Unexpected key(s) in state_dict: {_quoted(keys.unexpected_keys)}.")
    if strict and keys.missing_keys:
        errors.insert(0, f"Missing key(s) in state_dict: {_quoted(keys.missing_keys)}.")
    if errors:
        raise StateError(
            f"load_state_dict: Error(s) in loading state_dict for {type(module).__name__}:\n\t" + "\n\t".join(errors),
            hint="load into a module of the same structure, or pass strict=False to skip names that differ",
        )
    with no_grad():
        for write in errors.writes or ():
            write()
    return keys


def _load_part(
    module: Module,
    state: dict[str, Any],
    prefix: str,
    metadata: Mapping[str, Any],
    assign: bool,
    keys: IncompatibleKeys,
    errors: Findings,
) -> None:
    own = dict(metadata.get(prefix[:-1], {}))
    if assign:
        own["assign_to_params_buffers"] = True
    module._load_from_state_dict(state, prefix, own, True, keys.missing_keys, keys.unexpected_keys, errors)
    for name, child in module._modules.items():
        if child is not None:
            lead = f"{prefix}{name}."
            part = {k: v for k, v in state.items() if k.startswith(lead)}
            _load_part(child, part, lead, metadata, assign, keys, errors)
    for hook in hooks_in(module, "_load_state_dict_post_hooks"):
        hook(module, keys)


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{n}"' for n in names)


def consume_prefix_in_state_dict_if_present(state_dict: dict[str, Any], prefix: str) -> None:
    """Take a prefix away from the names of a state, in place, as that of a module within another one has it.

    Args:
        state_dict: What `state_dict` gave; what it says of its modules beside the tensors is renamed too.
        prefix: For instance ``module.``.
    """
    tables: list[dict[str, Any]] = [state_dict, getattr(state_dict, "_metadata", None) or {}]
    for table in tables:
        for name in list(table):
            if name.startswith(prefix) or (table is not state_dict and name and name == prefix.removesuffix(".")):
                table[name[len(prefix) :]] = table.pop(name)
