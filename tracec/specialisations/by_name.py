"""Attributes of modules that are asked for by names that code does not show: ``getattr(module, name)``.

While a function is recorded others stand in for the builtins that do so, where the user's functions name them.
"""

from __future__ import annotations

import builtins
import math
import sys
import types
from collections.abc import Callable, Container, Mapping
from typing import Any

import numpy as np

from tracec.ir.dtype import DType
from tracec.ir.number import WATCH, observe
from tracec.specialisations.guards import Guard, Lacking
from tracec.specialisations.keys import PLAIN
from tracec.specialisations.named import FUNCTIONS
from tracec.specialisations.origins import is_of_library, made_later, of_library
from tracec.specialisations.places import MISSING

_OF_ONE = ("getattr", "hasattr", "setattr", "delattr")
_OF_ALL = ("vars", "dir")
#: Modules in whose place others are while a function is recorded.
_REPLACED = {"math": math, "numpy": np}


class ByName:
    """What a function asked of modules by names.

    Args:
        of_modules: Identities of modules, and names of attributes of theirs that are guarded anyhow.
        lacking: Identities of modules, and names that they are guarded to lack.
        known: Whether an object is guarded anyhow.

    Attributes:
        guards: What it found.
    """

    def __init__(
        self, of_modules: Container[tuple[int, str]], lacking: Mapping[int, Lacking], known: Callable[[Any], bool]
    ) -> None:
        self._of_modules, self._lacking, self._known = of_modules, lacking, known
        self.guards: dict[tuple[int, str], Guard] = {}

    def stand_in(self, name: str, learn: Callable[[str], bool]) -> Callable[..., Any] | None:
        """What notes what a builtin asks of modules; None for others.

        Args:
            name: The builtin's.
            learn: Lets what lies behind an attribute of a name be guarded from the next recording on; whether it will.
        """
        if name not in _OF_ONE and name not in _OF_ALL:
            return None
        function = getattr(builtins, name)

        def run(*args: Any) -> Any:
            if not args and name in _OF_ALL:
                found = sys._getframe(1).f_locals
                return found if name == "vars" else sorted(found)
            if isinstance(args[0] if args else None, types.ModuleType):
                self._note(_REPLACED.get(args[0].__name__, args[0]), learn, name, *args[1:2])
            return function(*args)

        return run

    def _note(self, module: types.ModuleType, learn: Callable[[str], bool], how: str, name: Any = None) -> None:
        if WATCH.watcher is None:  # another thread calls the function meanwhile
            return
        what = f"{module.__name__}.{name}"
        if how in _OF_ALL:
            observe(f"all names of a module, {how}({module.__name__})")
        elif not isinstance(name, str) or (id(module), name) in self._of_modules or self._is_lacked(module, name):
            return
        elif how in ("setattr", "delattr"):
            observe(f"{what}, which it sets by its name")
        elif (id(module), name) not in self.guards:
            if name in made_later(module):
                getattr(module, name)
            value = module.__dict__.get(name, MISSING)
            if value is not MISSING and not self._is_guarded(value) and not learn(name):
                observe(f"{what}, which it asks for by its name")
            self.guards[id(module), name] = Guard(what, module.__dict__, name, value)

    def _is_lacked(self, module: types.ModuleType, name: str) -> bool:
        lacking = self._lacking.get(id(module))
        return lacking is not None and name in lacking.names

    def _is_guarded(self, value: Any) -> bool:
        """Whether a value tells all there is to it, or is guarded anyhow."""
        if isinstance(value, types.FunctionType):
            return is_of_library(value) or self._known(value)
        if isinstance(value, type):
            return of_library(value.__module__) or self._known(value)
        return isinstance(value, (*PLAIN, *FUNCTIONS, DType)) or self._known(value)
