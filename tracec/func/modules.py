"""Modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tracec.errors import ArgumentError, ArgumentTypeError, KeyMissingError
from tracec.functions import stack
from tracec.functions.common import fail
from tracec.nn.module import Module
from tracec.record.tensor import Tensor

Tensors = Mapping[str, Any]


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Tensors | Sequence[Tensors],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call a module with other tensors in place of its parameters and buffers.

    Args:
        module: The module; it is as before afterwards.
        parameter_and_buffer_dicts: Tensors by the names that `named_parameters` and `named_buffers` give them; or
            several such dictionaries.
        args: The argument, or a tuple of arguments.
        kwargs: Keyword arguments.
        tie_weights: Where a parameter has several names, put what is given for one in place of all.
        strict: Refuse dictionaries that leave out a name, or have one that the module does not.

    Raises:
        ArgumentError: a name is given twice, or for one parameter by two of its names.
        KeyMissingError: the module has no such name, or, with ``strict``, one is missing.
    """
    given = _merged(parameter_and_buffer_dicts)
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    with _replaced(module, given, tie_weights, strict):
        return module(*arguments, **(kwargs or {}))


def _merged(dicts: Any) -> dict[str, Any]:
    if isinstance(dicts, Mapping):
        return dict(dicts)
    if not isinstance(dicts, Sequence) or not all(isinstance(d, Mapping) for d in dicts):
        fail(
            ArgumentError,
            "functional_call: Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got "
            f"{type(dicts)}",
            "give tensors by name, e.g. dict(module.named_parameters())",
        )
    found: dict[str, Any] = {}
    for each in dicts:
        for name, value in each.items():
            if name in found:
                fail(
                    ArgumentError,
                    f"functional_call: {name} appeared in multiple dictionaries; behavior of functional call is "
                    "ambiguous",
                    "give each name once",
                )
            found[name] = value
    return found


@contextmanager
def _replaced(module: Module, given: dict[str, Any], tie_weights: bool, strict: bool) -> Iterator[None]:
    """Within, the module has other tensors."""
    places: dict[str, tuple[dict[str, Any], str]] = {
        (f"{prefix}.{name}" if prefix else name): (table, name)
        for prefix, owner in module.named_modules(remove_duplicate=False)
        for table in _tables(owner)
        for name in table
    }
    _check_names(module, given, places, strict)
    values = _tied(given, places) if tie_weights else dict(given)
    before = [(table, name, table[name]) for table, name in map(places.__getitem__, values)]
    try:
        for path, value in values.items():
            table, name = places[path]
            table[name] = value
        yield
    finally:
        for table, name, value in before:
            table[name] = value


def _tables(owner: Module) -> tuple[dict[str, Any], dict[str, Any]]:
    return owner._parameters, owner._buffers


def _check_names(module: Module, given: Mapping[str, Any], places: Mapping[str, Any], strict: bool) -> None:
    kind = type(module).__name__
    unknown = [name for name in given if name not in places]
    if unknown:
        fail(
            KeyMissingError,
            f"functional_call: {kind} has no parameter or buffer named {', '.join(map(repr, unknown))}",
            f"its names: {', '.join(places)}",
        )
    for name, value in given.items():
        if not isinstance(value, Tensor):
            fail(
                ArgumentTypeError,
                f"functional_call: {name} must be a tensor, {type(value).__name__} given",
                "give tensors by name",
            )
    missing = [name for name, (table, key) in places.items() if name not in given and table[key] is not None]
    if strict and missing:
        fail(
            KeyMissingError,
            f"functional_call: Missing key(s) for {kind}: {', '.join(missing)}",
            "give all of them, or leave strict out",
        )


def _tied(given: dict[str, Any], places: Mapping[str, Any]) -> dict[str, Any]:
    """What is given, also under the other names of the same tensors."""
    names: dict[int, list[str]] = {}
    for path, (table, name) in places.items():
        if table[name] is not None:
            names.setdefault(id(table[name]), []).append(path)
    found = dict(given)
    for same in names.values():
        values = {id(given[n]): given[n] for n in same if n in given}
        if len(values) > 1:
            fail(
                ArgumentError,
                f"functional_call: {', '.join(same)} are names of one tensor, and different ones are given for them",
                "give one of them, or set tie_weights=False",
            )
        for value in values.values():
            found.update(dict.fromkeys(same, value))
    return found


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the buffers of several modules alike, stacked along a first axis, by name.

    Args:
        models: Modules of one class, all in training mode or none.

    Returns:
        Two dictionaries, for `functional_call` under `vmap`. Parameters are leaves of their own.

    Raises:
        ArgumentError: there are no modules, or they are not alike.
    """
    if not models:
        fail(ArgumentError, "stack_module_state: Expected at least one model, got 0.", "give a list of modules")
    if len({m.training for m in models}) != 1:
        fail(
            ArgumentError,
            "stack_module_state: Expected all models to have the same training/eval mode.",
            "call train() or eval() on all of them",
        )
    if len({type(m) for m in models}) != 1:
        fail(ArgumentError, "stack_module_state: Expected all models to be of the same class.", "stack modules alike")
    tables: tuple[list[dict[str, Any]], ...] = (
        [dict(m.named_parameters()) for m in models],
        [dict(m.named_buffers()) for m in models],
    )
    parameters, buffers = ({name: _stacked(name, each) for name in each[0]} for each in tables)
    return parameters, buffers


def _stacked(name: str, tables: Sequence[Mapping[str, Tensor]]) -> Tensor:
    tensors = [table[name] for table in tables]
    if len({t.requires_grad for t in tensors}) != 1:
        fail(
            ArgumentError,
            f"stack_module_state: Expected {name} of each model to have the same .requires_grad",
            "set it to the same on all of them",
        )
    return stack([t.detach() for t in tensors]).requires_grad_(tensors[0].requires_grad)
