"""Modules that hold parameters."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tracec.errors import ArgumentTypeError, name_missing
from tracec.nn.containers import position
from tracec.nn.module import Module
from tracec.nn.parameter import Parameter
from tracec.record.tensor import Tensor


def _owned(value: Any) -> Any:
    """A tensor as a parameter; anything else as it is."""
    return Parameter(value) if isinstance(value, Tensor) and not isinstance(value, Parameter) else value


def _line(name: str, value: Any, element: Any) -> str:
    if not isinstance(value, Tensor):
        return f"  ({name}): Object of type: {type(value).__name__}"
    kind = "Parameter" if isinstance(value, Parameter) else "Tensor"
    place = "" if str(value.device) == "cpu" else f" ({value.device})"
    size = "x".join(map(str, value.shape))
    return f"  ({name}): {kind} containing: [{element} of size {size}{place}]"


class ParameterList(Module):
    """A list of parameters that belong to the module that holds it; tensors are made parameters.

    Args:
        values: Parameters, tensors, or anything else, which is only kept.
    """

    _size: int

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._size = 0
        self.extend(values or ())

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return iter([getattr(self, str(i)) for i in range(len(self))])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return getattr(self, str(position("ParameterList", index, len(self), "parameters")))

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, str(position("ParameterList", index, len(self), "parameters")), _owned(value))

    def append(self, value: Any) -> ParameterList:
        """Add a parameter at the end."""
        setattr(self, str(self._size), _owned(value))
        self._size += 1
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Add parameters at the end."""
        if not isinstance(values, Iterable) or isinstance(values, (Tensor, str)):
            raise ArgumentTypeError(
                f"ParameterList.extend: {type(values).__name__} is no sequence of parameters", hint="give a list"
            )
        for value in list(values):
            self.append(value)
        return self

    def pop(self, index: int = -1) -> Any:
        """Take the parameter at a position out."""
        at = position("ParameterList", index, len(self), "parameters")
        every = list(self)
        for i in range(at, len(every)):
            delattr(self, str(i))
        self._size = at
        self.extend(every[at + 1 :])
        return every[at]

    def __iadd__(self, values: Iterable[Any]) -> ParameterList:
        return self.extend(values)

    def extra_repr(self) -> str:
        return "\n".join(_line(str(i), value, getattr(value, "dtype", None)) for i, value in enumerate(self))


class ParameterDict(Module):
    """A dictionary of parameters that belong to the module that holds it; tensors are made parameters.

    Args:
        parameters: Parameters, tensors, or anything else, by name.
    """

    _keys: dict[str, None]

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self._keys = {}
        self.update(parameters if parameters is not None else {})

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys:
            raise name_missing(self, key)
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise ArgumentTypeError(f"ParameterDict: a name is text, {type(key).__name__} given", hint="use str(key)")
        self._keys[key] = None
        setattr(self, key, _owned(value))

    def __delitem__(self, key: str) -> None:
        del self._keys[key]
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self._keys))

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def keys(self) -> Any:
        """The names."""
        return self._keys.keys()

    def values(self) -> Any:
        """The parameters."""
        return [self[k] for k in self._keys]

    def items(self) -> Any:
        """The parameters with their names."""
        return [(k, self[k]) for k in self._keys]

    def get(self, key: str, default: Any = None) -> Any:
        """The parameter of a name, or something else if there is none."""
        return self[key] if key in self._keys else default

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The parameter of a name, which is added if there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: str) -> Any:
        """Take a parameter out."""
        found = self[key]
        del self[key]
        return found

    def popitem(self) -> tuple[str, Any]:
        """Take the last parameter out."""
        key = list(self._keys)[-1]
        return key, self.pop(key)

    def clear(self) -> None:
        """Take all parameters out."""
        for key in list(self._keys):
            del self[key]

    def copy(self) -> ParameterDict:
        """Another dictionary of the same parameters."""
        return type(self)(OrderedDict(self.items()))

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> ParameterDict:
        """A dictionary with these names, which all have one value."""
        return type(self)(dict.fromkeys(keys, default))

    def update(self, parameters: Any) -> None:
        """Add parameters, or replace those of the same names."""
        if not isinstance(parameters, (Mapping, ParameterDict, Iterable)):
            raise ArgumentTypeError(
                f"ParameterDict.update: {type(parameters).__name__} has no names with parameters", hint="a dictionary"
            )
        found = parameters.items() if isinstance(parameters, (Mapping, ParameterDict)) else parameters
        # As PyTorch: a plain dictionary comes in the order of its names.
        plain = isinstance(parameters, Mapping) and not isinstance(parameters, OrderedDict)
        for key, value in sorted(found, key=lambda item: item[0]) if plain else found:
            self[key] = value

    def __or__(self, other: ParameterDict) -> ParameterDict:
        made = self.copy()
        made.update(other)
        return made

    def __ior__(self, other: ParameterDict) -> ParameterDict:
        self.update(other)
        return self

    def extra_repr(self) -> str:
        kinds = {key: value.type() if isinstance(value, Tensor) else None for key, value in self.items()}
        return "\n".join(_line(key, value, kinds[key]) for key, value in self.items())
