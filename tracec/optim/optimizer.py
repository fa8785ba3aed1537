"""What all optimisers share: groups of parameters with options, and state for each parameter.

State is made with the optimiser, not at the first step: the first step that is compiled then reads and
writes what all later ones do. No Python number changes from step to step, for the same reason; steps
are counted in tensors.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tracec.errors import ArgumentError, ArgumentTypeError, KeyMissingError, RuleMissingError
from tracec.functions import tensor, view_as_real, zeros_like
from tracec.ir.source import warn
from tracec.optim.hooks import (
    Hooked,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
    with_hooks,
)
from tracec.optim.updates import Found, Group, State
from tracec.record.mode import enable_grad, no_grad
from tracec.record.tensor import Tensor
from tracec.utils.hooks import hooks_in

__all__ = ["Optimizer", "ParamsT", "required", "register_optimizer_step_post_hook", "register_optimizer_step_pre_hook"]


#: What optimisers take.
ParamsT = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]


class _Required:
    """The default of an option that each group has to give."""

    def __repr__(self) -> str:
        return "<required parameter>"


#: Given as the default of an option, it has to be given for each group.
required = _Required()


class Optimizer(Hooked):
    """Base of the optimisers.

    A subclass gives `needed` and `update`, or overrides `step` as a whole.

    Args:
        params: Tensors to optimise, with or without their names as `Module.named_parameters` gives them, or
            dictionaries with ``params`` and options that differ from the defaults.
        defaults: Options for groups that do not set them.

    Attributes:
        param_groups: A dictionary for each group: ``params``, ``param_names`` where they have names, and the options.
            Options may be changed at any time.
        state: Parameter → what is remembered of it, by name.
        defaults: Options for groups that do not set them.
        takes_complex: Whether parameters may be complex; their real and imaginary parts are then like two parameters.

    Raises:
        ArgumentError: there is no parameter, or one is in two groups.
        ArgumentTypeError: something is not a tensor.

    Warns:
        UserWarning: a parameter is given twice in one group, and is changed twice in a step.
    """

    takes_complex = True
    _repeats = False

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        if isinstance(params, Tensor):
            raise ArgumentTypeError(
                f"{name}: params must be an iterable of tensors or dictionaries, a tensor given",
                hint="put it into a list",
            )
        if not isinstance(params, Iterable):
            raise ArgumentTypeError(
                f"{name}: params must be an iterable of tensors or dictionaries, {type(params).__name__} given",
                hint="give model.parameters()",
            )
        self.defaults = defaults
        # Where a class makes its state in a step of its own, what asks for a tensor's for the first time finds it
        # empty; where it is made here, it is there from the beginning on, and a step changes no dictionary.
        self.state: dict[Tensor, State] = {} if self._is_kept_here else defaultdict(dict)
        self.param_groups: list[Group] = []
        given = list(params)
        if not given:
            raise ArgumentError(
                f"{name}: optimizer got an empty parameter list", hint="an iterator gives its parameters only once"
            )
        groups = given if isinstance(given[0], dict) else [{"params": given}]
        for group in groups:
            self.add_param_group(group)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for k, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {k}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])

    def add_param_group(self, param_group: Group) -> None:
        """Optimise more tensors.

        Args:
            param_group: ``params`` (a tensor or several, or pairs of a name and a tensor) and options that differ from
                the defaults.

        Raises:
            ArgumentError: a parameter is not a leaf, or is in another group, or some have names and others have none.
            ArgumentTypeError: something is not a tensor, or the group not a dictionary.
            KeyMissingError: it has no ``params``.
        """
        name = type(self).__name__
        if not isinstance(param_group, dict):
            raise ArgumentTypeError(
                f"{name}: param_group must be a dict, {type(param_group).__name__} given",
                hint='{"params": tensors, "lr": 0.1}',
            )
        if "params" not in param_group:
            raise KeyMissingError(
                f"{name}: a group has no 'params', only {', '.join(map(repr, param_group)) or 'nothing'}",
                hint='{"params": tensors, "lr": 0.1}',
            )
        params = param_group["params"]
        if isinstance(params, set):
            raise ArgumentTypeError(
                f"{name}: parameters need an order, and a set has none", hint="give a list of tensors"
            )
        params = [params] if isinstance(params, Tensor) else list(params)
        names = [p[0] for p in params if isinstance(p, tuple)]
        params = [p[1] if isinstance(p, tuple) else p for p in params]
        self._check_params(name, params)
        group = {**self.defaults, **param_group, "params": params}
        if lacking := [key for key, value in group.items() if value is required]:
            raise ArgumentError(
                f"{name}: parameter group didn't specify a value of required optimization parameter {lacking[0]}",
                hint=f"give {lacking[0]}=",
            )
        if names:
            group["param_names"] = names
        self._check_names(name, group)
        self.param_groups.append(group)
        for p in params:
            with no_grad():
                state = self.init_state(p, group)
            if state or self._is_kept_here:
                self.state[p] = state

    @property
    def _is_kept_here(self) -> bool:
        """Whether the state is what `init_state` makes, for `update`."""
        return type(self).update is not Optimizer.update

    def _check_params(self, name: str, params: Sequence[Any]) -> None:
        known = {id(p) for group in self.param_groups for p in group["params"]}
        if len(set(map(id, params))) < len(params):
            self._repeats = True
            warn(
                f"{name}: optimizer contains a parameter group with duplicate parameters, which each step changes as "
                "often as they are given; name each parameter once",
                UserWarning,
            )
        for p in params:
            if not isinstance(p, Tensor):
                raise ArgumentTypeError(
                    f"{name}: optimizer can only optimize tensors, {type(p).__name__} given",
                    hint="give module.parameters()",
                )
            if p.is_complex() and not self.takes_complex:
                raise ArgumentError(
                    f"{name}: does not support complex parameters", hint="optimise view_as_real of a real one"
                )
            if not p.is_leaf:
                raise ArgumentError(
                    f"{name}: can't optimize a non-leaf tensor of shape {tuple(p.shape)}",
                    hint="detach() it and let the result require grad",
                )
            if id(p) in known:
                raise ArgumentError(
                    f"{name}: some parameters appear in more than one parameter group: one of shape {tuple(p.shape)}",
                    hint="name each parameter in one group",
                )

    def _check_names(self, name: str, group: Group) -> None:
        names = group.get("param_names")
        one_has_none = names is not None and len(names) != len(group["params"])
        if one_has_none or (self.param_groups and ("param_names" in self.param_groups[0]) != (names is not None)):
            raise ArgumentError(
                f"{name}: all optimizer params should be with/without names",
                hint="give module.named_parameters() throughout, or module.parameters()",
            )

    def init_state(self, p: Tensor, group: Group) -> State:
        """What to remember of a parameter before the first step: what is `needed`, all of it zeros.

        Args:
            p: A parameter.
            group: Its group.
        """
        return {key: _scalar(p) if key == "step" else zeros_like(p) for key in self.needed(group)}

    def update(self, group: Group, params: Found) -> None:
        """Change parameters by their gradients; gradients are not recorded meanwhile.

        Args:
            group: Options.
            params: Each parameter of the group that has a gradient, its gradient and its state, whose tensors are
                to be written into. Of complex parameters, all are given as pairs of real numbers.
        """
        raise RuleMissingError(f"{type(self).__name__}: does not define step", hint="define step(self, closure=None)")

    @with_hooks
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient.

        Args:
            closure: Computes the loss and its gradients anew; called before the change.

        Returns:
            What the closure gave; None without one.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                for params in _once_each(group["params"]) if self._repeats else (group["params"],):
                    found = [(p, g, self._state_of(p, group)) for p in params if (g := p.grad) is not None]
                    found = [_in_reals(*one) if one[0]._array.dtype.kind == "c" else one for one in found]
                    if found:
                        self.update(group, found)
        return loss

    def _state_of(self, p: Tensor, group: Group) -> State:
        """The state of a parameter, completed where options were changed and moved to where the parameter is."""
        state = self.state.get(p)
        if state is None:  # it was taken away, to begin anew
            state = self.state[p] = {}
        for key, value in state.items():
            if isinstance(value, Tensor) and value._device is not p._device and value.device != p.device:
                state[key] = value.to(p.device)
        for key in self.needed(group):
            if key not in state:
                return self._completed(p, group)
        return state

    def _completed(self, p: Tensor, group: Group) -> State:
        state = self.state[p]
        for key, value in self.init_state(p, group).items():
            state.setdefault(key, value)
        return state

    def needed(self, group: Group) -> Sequence[str]:
        """Names in the state that `update` reads with these options."""
        return ()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters.

        Args:
            set_to_none: Whether ``grad`` becomes None; otherwise it is filled with zeros.
        """
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None and p.grad.requires_grad:  # it has a history, which stays as it is
                    p.grad = zeros_like(p.grad)
                elif p.grad is not None:
                    p.grad.zero_()

    def state_dict(self) -> dict[str, Any]:
        """The state and the options, in PyTorch's form.

        Returns:
            ``state``, number of a parameter → its state, and ``param_groups``, options with numbers for parameters.
            The tensors are those of the optimiser, not copies.
        """
        for hook in hooks_in(self, "_optimizer_state_dict_pre_hooks"):
            hook(self)
        state_dict = self._packed()
        for hook in hooks_in(self, "_optimizer_state_dict_post_hooks"):
            state_dict = _or_else(hook(self, state_dict), state_dict)
        return state_dict

    def _packed(self) -> dict[str, Any]:
        """The state and the options, by the numbers of the parameters."""
        number = {p: k for k, p in enumerate(p for group in self.param_groups for p in group["params"])}
        groups = [{**group, "params": [number[p] for p in group["params"]]} for group in self.param_groups]
        # Options first, as in PyTorch.
        groups = [{**{k: v for k, v in g.items() if k != "params"}, "params": g["params"]} for g in groups]
        state = {number[p]: dict(s) for p, s in self.state.items() if s}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, from this library or from PyTorch.

        Values are copied into the state's own tensors, so that compiled steps go on with them.

        Args:
            state_dict: ``state`` and ``param_groups``; tensors may be arrays or PyTorch's.

        Raises:
            ArgumentError: it has other groups, or a group of another size.
            ArgumentTypeError: it is no dictionary.
            KeyMissingError: it is no state of an optimiser.
        """
        name = type(self).__name__
        if not isinstance(state_dict, Mapping):
            raise ArgumentTypeError(
                f"{name}: state_dict must be a dict, {type(state_dict).__name__} given",
                hint="give what state_dict() gave",
            )
        state_dict = dict(state_dict)
        for hook in hooks_in(self, "_optimizer_load_state_dict_pre_hooks"):
            state_dict = _or_else(hook(self, state_dict), state_dict)
        if missing := [key for key in ("state", "param_groups") if key not in state_dict]:
            raise KeyMissingError(
                f"{name}: loaded state dict has no {' and no '.join(map(repr, missing))}",
                hint="give what state_dict() of an optimizer gave",
            )
        saved = state_dict["param_groups"]
        self._check_saved(saved)
        for theirs, ours in zip(saved, self.param_groups, strict=True):
            ours.update(copy.deepcopy({k: v for k, v in theirs.items() if k != "params"}))
            for key, p in zip(theirs["params"], ours["params"], strict=True):
                with no_grad():
                    self._load(p, ours, state_dict["state"].get(key, {}))
        for hook in hooks_in(self, "_optimizer_load_state_dict_post_hooks"):
            hook(self)

    def _check_saved(self, saved: Sequence[Group]) -> None:
        """Refuse groups that are saved of an optimiser of others."""
        name = type(self).__name__
        if len(saved) != len(self.param_groups):
            raise ArgumentError(
                f"{name}: loaded state dict has {len(saved)} parameter groups, the optimizer {len(self.param_groups)}",
                hint="load into an optimizer that was made the same way",
            )
        for k, (theirs, ours) in enumerate(zip(saved, self.param_groups, strict=True)):
            if len(theirs["params"]) != len(ours["params"]):
                raise ArgumentError(
                    f"{name}: loaded state dict has {len(theirs['params'])} parameters in group {k}, "
                    f"the optimizer {len(ours['params'])}",
                    hint="load into an optimizer that was made the same way",
                )

    def _load(self, p: Tensor, group: Group, values: Mapping[str, Any]) -> None:
        state = self.state[p]
        for key, value in {**self.init_state(p, group), **values}.items():
            if value is None:
                continue
            if not hasattr(value, "__array__") and not isinstance(value, (int, float)):
                state[key] = value
                continue
            own = state.get(key)
            if not isinstance(own, Tensor) or own.shape != np.shape(value):
                like = _scalar(p) if key == "step" else p
                own = state[key] = zeros_like(like if like.shape == np.shape(value) else _as_tensor(value))
            own.copy_(_as_tensor(value))


def _once_each(params: Sequence[Tensor]) -> list[list[Tensor]]:
    """The parameters in rounds, in each of which every one is there once."""
    rounds: list[dict[int, Tensor]] = []
    for p in params:
        free = next((r for r in rounds if id(p) not in r), None)
        if free is None:
            rounds.append(free := {})
        free[id(p)] = p
    return [list(r.values()) for r in rounds]


def _or_else(value: Any, default: Any) -> Any:
    return default if value is None else value


def as_reals(x: Tensor) -> Tensor:
    """Complex numbers as pairs of their parts, a view; real tensors themselves."""
    return view_as_real(x) if x.is_complex() else x


def _in_reals(p: Tensor, g: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
    return as_reals(p), as_reals(g), {k: as_reals(v) if isinstance(v, Tensor) else v for k, v in state.items()}


def _as_tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    return tensor(float(value) if isinstance(value, (int, float)) else np.asarray(value))


def _scalar(p: Tensor) -> Tensor:
    return tensor(0.0, device=p.device)
