"""What a function reads of modules: attributes that its code names, and those that are missing where it asks for them.

Of a module that is used as a value (passed on, held in an object, given to ``getattr``) any attribute that the user's
code names may be read.
"""

from __future__ import annotations

import abc
import logging
import os
import sys
import types
from typing import Any

from tracec.ir.classes import is_one_of
from tracec.specialisations.arguments import Arguments
from tracec.specialisations.digests import NO_NAMES, Names, levels
from tracec.specialisations.guards import Contents, Guard, Lacking, digest_guard
from tracec.specialisations.keys import PLAIN
from tracec.specialisations.named import FUNCTIONS
from tracec.specialisations.origins import made_later, of_library
from tracec.specialisations.places import MISSING


class Modules(Arguments, abc.ABC):
    """The part of a walk that is about modules."""

    def __init__(self) -> None:
        super().__init__()
        self.guards: list[Guard | Contents] = []
        #: What is read that no guard can tell of, in words.
        self.unseen: list[str] = []
        #: Identities of modules, and names of attributes of theirs that are guarded.
        self.of_modules: set[tuple[int, str]] = set()
        #: Identity of a module → the names that it lacks, where they are more than it has.
        self.lacking: dict[int, Lacking] = {}
        self._as_values: dict[int, tuple[str, types.ModuleType]] = {}

    @abc.abstractmethod
    def read(self, name: str, holder: Any, key: Any, value: Any, names: Names = NO_NAMES) -> None:
        """Guard a place, then what lies behind it."""

    def module_as_value(self, name: str, module: types.ModuleType) -> None:
        """Note a module that is used otherwise than for one of its attributes."""
        self._as_values.setdefault(id(module), (name, module))

    @property
    def attribute_names(self) -> set[str]:
        """The names of attributes that the user's functions name."""
        return self._named.names

    def settle_modules(self) -> None:
        """Guard what is read of modules that are used as values; asked when all was walked."""
        known = -1
        while known != (known := len(self.of_modules) + len(self._named.names) + len(self._as_values)):
            for name, module in list(self._as_values.values()):
                names = NO_NAMES._replace(attributes=frozenset(self._named.names))
                self._asked(name, module, names.attributes, names)

    def module(self, name: str, module: types.ModuleType, names: Names) -> None:
        """Guard those attributes of a module of the user's that are named; of others, the variables of the process.

        Args:
            name: How the user would write it.
            module: The module.
            names: The names in the code that reads it.
        """
        if not names.whole.isdisjoint((name, name.rpartition(".")[2])):
            self.module_as_value(name, module)
        self._asked(name, module, names.of_name(name), names)

    def _asked(self, name: str, module: types.ModuleType, asked: frozenset[str], names: Names) -> None:
        """Guard what is read of a module.

        Args:
            name: How the user would write it.
            module: The module.
            asked: The attributes that it is asked for, whether it has them or not.
            names: The names in the code that reads it.
        """
        in_library = of_library(module.__name__)
        # What is imported where it is used may have any name there.
        of_it = asked | names.attributes if name in names.modules else asked
        self._of_some(name, module, names.attributes, of_it, in_library)
        for attribute in names.attributes & made_later(module) if in_library else ():
            getattr(module, attribute)
        if "__dict__" in asked and not in_library:
            self.unseen.append(f"all names of a module, {name}.__dict__")
        there = module.__dict__.keys()
        # What the library has for whoever asks is not missing.
        asked = frozenset() if in_library and "__getattr__" in there else asked
        missing = asked - there
        if len(missing) > len(there):
            self.lacking[id(module)] = Lacking(name, module.__dict__, missing)
            asked &= there
        for attribute in sorted((names.attributes & there) | asked):
            if (id(module), attribute) not in self.of_modules:
                self.of_modules.add((id(module), attribute))
                self._attribute(f"{name}.{attribute}", module, attribute, names, in_library)

    def _attribute(self, name: str, module: types.ModuleType, key: str, names: Names, in_library: bool) -> None:
        value = module.__dict__.get(key, MISSING)
        if value is sys.modules:  # which is told of otherwise
            return
        if not in_library or value is MISSING or isinstance(value, types.ModuleType):
            self.read(name, module.__dict__, key, value, names)
        # Such as sys.path, and what is set of a backend.
        elif is_one_of(type(value), (list, dict, set)) or type(value).__module__.startswith("tracec.backends"):
            self.read(name, module.__dict__, key, value)
        elif isinstance(value, (*FUNCTIONS, *PLAIN)):  # it may be replaced
            self.guards.append(Guard(name, module.__dict__, key, value))
            if isinstance(value, types.FunctionType) and not of_library(value.__globals__.get("__name__")):
                self.visit(name, value)  # and was

    def _of_some(
        self, name: str, module: types.ModuleType, attributes: frozenset[str], asked: frozenset[str], in_library: bool
    ) -> None:
        """What is read by attributes of some modules besides these."""
        if module is os and attributes & {"environ", "getenv"}:
            self.visit("os.environ", os.environ)
        if module is sys:
            self.unseen += [f"the interpreter, sys.{k}" for k in ("modules", "stdin") if k in asked]
            self.visit("sys.argv", sys.argv if "argv" in attributes else None)
        if module is logging and "getLogger" in attributes:
            self.guards.append(digest_guard("levels of loggers", logging.root, levels))
        if module.__name__ == "decimal":
            self.visit("decimal.Decimal", module.__dict__["Decimal"])
        if not in_library and "__getattr__" in module.__dict__:
            self.visit(f"{name}.__getattr__", module.__dict__["__getattr__"])
