"""The tree that modules form: parameters, buffers and children by name, set as attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from tracec.errors import ArgumentError, ArgumentTypeError, NameMissingError, NameTakenError, name_missing
from tracec.nn.parameter import Buffer, Parameter
from tracec.record.tensor import Tensor

if TYPE_CHECKING:
    from tracec.nn.module import Module

_TABLES = ("_parameters", "_buffers", "_modules")


def _own_parameters(module: Any) -> Iterable[tuple[str, Any]]:
    return module._parameters.items()  # type: ignore[no-any-return]


def _own_buffers(module: Any) -> Iterable[tuple[str, Any]]:
    return module._buffers.items()  # type: ignore[no-any-return]


class Tree:
    """What a module owns, and walks over it and all modules below."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _non_persistent_buffers_set: set[str]
    if TYPE_CHECKING:  # libraries ask for a class's hints (`typing.get_type_hints`), and Module is not there yet
        _modules: dict[str, Module | None]

    def __init__(self) -> None:
        own = self.__dict__
        for table in _TABLES:
            own[table] = {}
        own["_non_persistent_buffers_set"] = set()

    # Attributes ---------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        for table in _TABLES:
            found = self.__dict__.get(table)
            if found is not None and name in found:
                return found[name]
        raise name_missing(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if isinstance(value, Parameter):
            self._forget(name, "_parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Tree):
            self._check_made(name)
            self._forget(name, "_modules")
            own["_modules"][name] = value
        elif isinstance(value, Buffer):
            self._forget(name, "_buffers")
            self.register_buffer(name, value, value.persistent)
        elif "_parameters" in own and name in own["_parameters"]:
            if value is not None:
                _refuse(name, value, "parameter", "Parameter")
            own["_parameters"][name] = value
        elif "_modules" in own and name in own["_modules"]:
            if value is not None:
                _refuse(name, value, "child module", "Module")
            own["_modules"][name] = value
        elif "_buffers" in own and name in own["_buffers"]:
            if value is not None and not isinstance(value, Tensor):
                _refuse(name, value, "buffer", "Tensor")
            own["_buffers"][name] = value
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if not self._forget(name):
            object.__delattr__(self, name)

    def _forget(self, name: str, kept: str = "") -> bool:
        """Take a name out of all tables but one, where its place among the others is to stay."""
        own = self.__dict__
        found = False
        for table in (*(own.get(t, {}) for t in _TABLES if t != kept), own):
            found = name in table or found
            table.pop(name, None)
        own.get("_non_persistent_buffers_set", set()).discard(name)
        return found

    def _check_made(self, name: str) -> None:
        if "_parameters" not in self.__dict__:
            raise NameMissingError(
                f"cannot assign {name} before Module.__init__() call",
                hint=f"call super().__init__() first in {type(self).__name__}.__init__",
            )

    def __dir__(self) -> list[str]:
        own = [n for t in _TABLES for n in self.__dict__.get(t, {})]
        return sorted({*super().__dir__(), *own})

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under a name."""
        self._check_made(name)
        self._check_name(name, self._parameters)
        if param is not None:
            if not isinstance(param, Parameter):
                _refuse(name, param, "parameter", "Parameter")
            if not param.is_leaf:
                raise ArgumentError(
                    f"register_parameter: {name} was computed from other tensors, and a parameter is a leaf",
                    hint="compute it in forward() instead, or detach() it",
                )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but no parameter; part of `state_dict` where it is persistent."""
        self._check_made(name)
        self._check_name(name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            _refuse(name, tensor, "buffer", "Tensor")
        self._buffers[name] = tensor
        (self._non_persistent_buffers_set.discard if persistent else self._non_persistent_buffers_set.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child under a name."""
        self._check_made(name)
        if module is not None and not isinstance(module, Tree):
            _refuse(name, module, "child module", "Module")
        self._check_name(name, self._modules)
        self._modules[name] = module

    register_module = add_module

    def _check_name(self, name: str, table: Mapping[str, Any]) -> None:
        if not isinstance(name, str):
            raise ArgumentTypeError(f"a name is text, {type(name).__name__} given", hint="use str(name)")
        if not name or "." in name:
            raise NameTakenError(
                f"{name!r} cannot name a part of {type(self).__name__}", hint="a name is not empty and has no dots"
            )
        if hasattr(self, name) and name not in table:
            raise NameTakenError(f"attribute '{name}' already exists in {type(self).__name__}", hint="use another name")

    # Walks --------------------------------------------------------------------------------------------

    def children(self) -> Iterator[Module]:
        """The modules directly below, each once."""
        for _, child in self.named_children():
            yield child

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below with their names, each once."""
        seen: set[int] = set()
        for name, child in self._modules.items():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below, each once unless told otherwise."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_modules(
        self, memo: set[Any] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below with their paths."""
        memo = set() if memo is None else memo
        if self in memo and remove_duplicate:
            return
        memo.add(self)
        yield prefix, self  # type: ignore[misc]
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def _named_members(
        self,
        get_members_fn: Callable[[Any], Iterable[tuple[str, Any]]],
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        """What a function gives of this module and of all below, with paths; modules of programs list their own so."""
        seen: set[int] = set()
        parts = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in parts:
            for name, member in get_members_fn(module):
                if member is None or (remove_duplicate and id(member) in seen):
                    continue
                seen.add(id(member))
                yield (f"{path}.{name}" if path else name), member

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once."""
        for _, p in self.named_parameters(recurse=recurse):
            yield p

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their paths."""
        yield from self._named_members(_own_parameters, prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once."""
        for _, b in self.named_buffers(recurse=recurse):
            yield b

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their paths."""
        yield from self._named_members(_own_buffers, prefix, recurse, remove_duplicate)

    def get_submodule(self, target: str) -> Module:
        """The module at a path, such as ``layers.0.norm``.

        Raises:
            NameMissingError: there is none.
        """
        found: Any = self
        for name in target.split(".") if target else ():
            child = found._modules.get(name)
            if child is None:
                raise NameMissingError(f"{type(found).__name__} has no module `{name}`, asked for by {target!r}")
            found = child
        return found  # type: ignore[no-any-return]

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a module at a path, in the place of the one that is there.

        Args:
            target: Its path.
            module: The module.
            strict: Whether there must be one already.

        Raises:
            ArgumentError: the path is empty.
            NameMissingError: the module that is to hold it is not there, or none is in its place.
        """
        path, _, name = target.rpartition(".")
        if not name:
            raise ArgumentError("set_submodule: the path is empty", hint="name a module below this one")
        if not isinstance(module, Tree):
            _refuse(name, module, "child module", "Module")
        holder = self.get_submodule(path)
        if strict and holder._modules.get(name) is None:
            raise NameMissingError(f"{type(holder).__name__} has no module `{name}`, asked for by {target!r}")
        setattr(holder, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path."""
        found = self._at(target, "_parameters", "parameter")
        assert isinstance(found, Parameter)
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a path."""
        return self._at(target, "_buffers", "buffer")

    def _at(self, target: str, table: str, what: str) -> Tensor:
        path, _, name = target.rpartition(".")
        found: Tensor | None = getattr(self.get_submodule(path), table).get(name)
        if found is None:
            raise NameMissingError(f"{type(self).__name__} has no {what} {target!r}")
        return found


def _refuse(name: str, value: Any, what: str, wanted: str) -> NoReturn:
    raise ArgumentTypeError(
        f"cannot assign a {type(value).__name__} as {what} '{name}' ({wanted} or None expected)",
        hint="wrap it: nn.Parameter(tensor)" if wanted == "Parameter" else f"give a {wanted}",
    )
