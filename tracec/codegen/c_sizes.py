"""Sizes that vary from call to call: numbers that C code is given in tables, so that one text serves many sizes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import replace

from tracec.codegen.c_source import Function
from tracec.codegen.sizes import names_in

#: A call, of a function or of one of two that a condition chooses.
_CALL = re.compile(r"\s*(\w+|\(.* \? \w+ : \w+\))\(.*\);$")
_WORD = re.compile(r"\w+")
_LONG = re.compile(r"\b(size_\d+)L\b")
PARAMETERS = "const long *restrict sizes, const double *restrict reals"


def with_parameters(function: Function) -> Function:
    """The function with the tables among its parameters, where it names any of their numbers."""
    names = names_in(function.source)
    if not names:
        return function
    head = f"HIDDEN void {function.name}("
    before, _, after = _LONG.sub(r"\1", function.source).partition(head)
    params, _, body = after.partition(") {\n")
    source = f"{before}{head}{params}, {PARAMETERS}) {{\n{_definitions(names)}\n{body}"
    return replace(function, params=(*function.params, PARAMETERS), source=source)


def with_arguments(statement: str, functions: Collection[str]) -> str:
    """A statement of an entry or a body with the tables given to those functions that take them."""
    lines = statement.split("\n")
    for k, line in enumerate(lines):
        called = _CALL.match(line)
        if called is not None and any(name in functions for name in _WORD.findall(called[1])):
            lines[k] = line[:-2] + ", sizes, reals);"
    return "\n".join(lines)


def tables(first: int) -> str:
    """The tables, which an entry finds among its pointers.

    Args:
        first: Number of pointers of inputs and outputs.
    """
    return f"const long *restrict sizes = io[{first}]; const double *restrict reals = io[{first + 1}];"


def definitions(statements: Iterable[str]) -> list[str]:
    """The numbers that statements name, of the tables."""
    return [line.strip() for line in _definitions(names_in("\n".join(statements))).splitlines()]


def _definitions(names: Iterable[tuple[str, str]]) -> str:
    types = {"size": "long", "real": "double"}
    return "\n".join(f"  const {types[kind]} {kind}_{n} = {kind}s[{n}];" for kind, n in names)
