"""Libraries of others that take tensors of several libraries: each is told of tracec's when a program imports it.

No library is imported here. What one asks for stands in a module of its own, which is imported with the library.
Modules that PyTorch has and tracec has not are told of here, too.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, cast

from tracec.errors import module_missing

#: Library → the module that tells it of tracec's tensors.
_TOLD = {"einops": "tracec.beside.einops"}
#: Module that a library has one of for each library of tensors → where tracec's is.
_STANDS_FOR = {"einops.layers.tracec": "tracec.beside.einops_layers"}


class _Told:
    """Loads a library as it is loaded without us, and tells it of tracec's tensors."""

    def __init__(self, loader: Any, teller: str) -> None:
        self._loader = loader
        self._teller = teller

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        # What looks into the module from now on meets its own loader.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        importlib.import_module(self._teller)


class Alias:
    """Gives a module that is there under another name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        made = ModuleType(spec.name, f"Stands for {self._name}.")
        inner = importlib.import_module(self._name)
        made.__dict__.update({name: getattr(inner, name) for name in inner.__all__}, __all__=inner.__all__)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do."""


class _Finder:
    """Finds what `_TOLD` and `_STANDS_FOR` name, and nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if (stands_for := _STANDS_FOR.get(fullname)) is not None:
            return importlib.machinery.ModuleSpec(fullname, cast(Any, Alias(stands_for)))
        if (teller := _TOLD.get(fullname)) is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = cast(Any, _Told(spec.loader, teller))
        return spec


class _Missing:
    """Comes last, where no module was found, and says of one of PyTorch's what to do instead."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        """Find nothing.

        Raises:
            ModuleMissingError: PyTorch has the module.
        """
        if fullname.startswith("tracec.") and (error := module_missing(fullname)) is not None:
            raise error


def tell() -> None:
    """Tell the libraries that are imported, and those that will be."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, cast(Any, _Finder()))
        sys.meta_path.append(cast(Any, _Missing()))
    for name, teller in _TOLD.items():
        module = sys.modules.get(name)
        if module is not None and not getattr(module.__spec__, "_initializing", False):
            importlib.import_module(teller)


__all__ = ["tell"]
