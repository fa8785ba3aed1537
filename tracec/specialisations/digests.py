"""Guards by digest, one plain value that tells whether an object is as it was; and the names that code reads."""

from __future__ import annotations

import abc
import dis
import types
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np


class Digest:
    """One plain value that tells of an object, as a mapping from nothing to it.

    Args:
        of: The object.
        tell: Gives the value; text or bytes, so that it is compared and not watched as a number.
    """

    def __init__(self, of: Any, tell: Callable[[Any], str | bytes]) -> None:
        self.of = of
        self._tell = tell

    def __getitem__(self, key: None) -> str | bytes:
        return self._tell(self.of)

    @property
    def counts(self) -> bool:
        """Whether it tells how many items there are."""
        return self._tell is size

    @property
    def kind(self) -> str:
        """What it tells of."""
        return "an array" if self._tell is elements else f"what nothing stands in for, a {type(self.of).__name__}"


def elements(array: Any) -> bytes:
    """The bytes of an array of NumPy's or Python's, and what they mean."""
    if isinstance(array, (bytes, bytearray)):
        return bytes(array)
    try:
        found: bytes = array.tobytes() if hasattr(array, "tobytes") else memoryview(array).tobytes()
    except ValueError:  # it is closed
        return b""
    if isinstance(array, np.ndarray):
        found += f"{array.dtype}{array.shape}{array.strides}".encode()
    return found


def is_memory(value: Any) -> bool:
    """Whether an object of C code shows its memory: a structure of ctypes, say, or a mapped file."""
    if isinstance(value, (str, bytes, np.generic, int, float, complex)):
        return False
    try:
        return memoryview(value).nbytes >= 0
    except (TypeError, ValueError):
        return False


def size(container: Any) -> str:
    """How many items there are."""
    return f"{len(container)} items"


def registered(cls: Any) -> str:
    """How many classes were made known as derived from an abstract one."""
    known, *_ = abc._get_dump(cls)  # type: ignore[attr-defined]
    return f"{len(known)} classes"


def derived(cls: Any) -> str:
    """The classes that are derived from one, as far as they are there."""
    return " ".join(f"{c.__name__} {id(c)}" for c in cls.__subclasses__())


def context(decimal: Any) -> str:
    """How decimal numbers are computed in this thread."""
    now = decimal.getcontext()
    return f"{now.prec} {now.rounding} {now.Emin} {now.Emax} {now.clamp} {now.traps}"


def levels(root: Any) -> str:
    """What is set of loggers, any of which can be had by its name."""
    known = [(n, x.level, x.disabled) for n, x in root.manager.loggerDict.items() if hasattr(x, "level")]
    return repr((root.level, root.manager.disable, [one for one in known if one[1] or one[2]]))


def text_options(numpy: Any) -> str:
    """How arrays are written in this thread."""
    return repr(numpy.get_printoptions())


class Books:
    """How often a function that keeps its results has computed one, how many it keeps, and how often it forgot them."""

    def __init__(self) -> None:
        self._hits = self._forgot = 0

    def __call__(self, cached: Any) -> str:
        info = cached.cache_info()
        self._forgot += info.hits < self._hits
        self._hits = info.hits
        return f"{info.misses} computed, {info.currsize} kept, forgot {self._forgot} times"


def hits(cached: Any) -> str:
    """How often a function that keeps its results had the one that it was asked for."""
    return str(cached.cache_info().hits)


#: Results of which a function keeps so few forgets one soon: which, goes by the order in which they were asked for.
_FEW = 8


def forgets_soon(cached: Any) -> bool:
    """Whether the order in which results are asked for tells which one a function forgets."""
    info = cached.cache_info()
    return (
        info.currsize > 1 and info.maxsize is not None and info.currsize >= (info.maxsize if info.maxsize > _FEW else 2)
    )


def named_in(code: types.CodeType) -> tuple[Iterable[str], ...]:
    """The names that code reads: of globals and builtins, and of attributes."""
    names = names_of(code)
    return names.globals, names.attributes


class Names(NamedTuple):
    """Names that a function's code, and the code nested in it, may read.

    Attributes:
        globals: Globals and builtins.
        attributes: Attributes of whatever object.
        modules: Modules that it imports.
        written: Globals that it writes.
        of: Names, and attributes of what has that name which are read, written or taken away.
        whole: Names of what is used otherwise than for one of its attributes.
    """

    globals: tuple[str, ...]
    attributes: frozenset[str]
    modules: tuple[str, ...]
    written: tuple[str, ...]
    of: frozenset[tuple[str, str]]
    whole: frozenset[str]

    def of_name(self, name: str) -> frozenset[str]:
        """The attributes of what is written so: of ``b.c`` those of c."""
        last = name.rpartition(".")[2]
        return frozenset(attribute for owner, attribute in self.of if owner == last)


NO_NAMES = Names((), frozenset(), (), (), frozenset(), frozenset())

_GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM")
_WRITTEN = ("STORE_GLOBAL", "DELETE_GLOBAL")
_OPERATIONS = (_GLOBALS, _ATTRIBUTES, ("IMPORT_NAME",), _WRITTEN)
#: What an attribute is read from, written to or taken away from comes last before these.
_OF_A_NAME = (*_ATTRIBUTES, "STORE_ATTR", "DELETE_ATTR")
#: What makes functions that read attributes by their names.
_BY_TEXT = frozenset(("attrgetter", "methodcaller"))


@lru_cache(maxsize=4096)
def names_of(code: types.CodeType) -> Names:
    """The names that code reads."""
    found: tuple[dict[str, None], ...] = ({}, {}, {}, {})
    of: set[tuple[str, str]] = set()
    whole: set[str] = set()
    codes = [code]
    texts: list[str] = []
    while codes:
        at = codes.pop(0)
        codes += [c for c in at.co_consts if isinstance(c, types.CodeType)]
        texts += [part for c in at.co_consts if isinstance(c, str) for part in c.split(".") if part.isidentifier()]
        steps = [i for i in dis.get_instructions(at) if i.opname not in ("EXTENDED_ARG", "COPY")]
        for i, after in zip(steps, (*steps[1:], None), strict=True):
            for names, operations in zip(found, _OPERATIONS, strict=True):
                if i.opname in operations:
                    names[i.argval] = None
            *first, last = i.argval if isinstance(i.argval, tuple) and i.argval else (i.argval,)
            if not i.opname.startswith(("LOAD_", "IMPORT_NAME")) or not isinstance(last, str):
                continue
            whole.update(first)
            if after is not None and after.opname in _OF_A_NAME:
                of.add((last, after.argval))
            elif i.opname not in ("LOAD_CONST", "IMPORT_NAME"):
                whole.add(last)
    if not _BY_TEXT.isdisjoint((*found[0], *found[1])):
        found[1].update(dict.fromkeys(texts))
    return Names(
        tuple(found[0]), frozenset(found[1]), tuple(found[2]), tuple(found[3]), frozenset(of), frozenset(whole)
    )  # fmt: skip
