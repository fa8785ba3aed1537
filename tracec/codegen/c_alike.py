"""Kernels that are alike but for numbers: one function that each of them gives its numbers.

A network's layers are the same loops over other sizes; what compilers take time for is one text. Iterations of
vectorised loops stay in it, since code for any number of them is longer and slower, and so do small numbers, which are
taps of a window, strides and the like.

They are told apart by their texts, not by their loops: how loops are written, in lanes, tiles and parts, goes by their
numbers, so that loops which are alike may well be different texts, and what of a text is a number of the loops, only
who wrote it could say. Half a percent of a train step's compile time goes into reading texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from tracec.codegen.c_pieces import INT, SIZE, TOKEN
from tracec.codegen.c_source import Function, Head, Parameter
from tracec.codegen.sizes import names_in

#: Numbers below this stay.
SMALL = 16
#: Characters of a kernel that are compiled as fast as they are called.
MIN_TEXT = 300
#: Numbers that are this near to another one in all texts are written as that one and the difference, which compilers
#: keep in the address.
NEAR = 64
_REAL = re.compile(r"real_\d+")
_FLOAT = re.compile(r"(\d+\.\d*(?:e[+-]?\d+)?|\d+e[+-]?\d+)(f?)")
#: Values that compilers compute with in ways of their own.
_PLAIN_REALS = frozenset((0.0, 0.5, 1.0, 2.0))


@dataclass(frozen=True, slots=True)
class _Text:
    """A function's body, taken apart.

    Attributes:
        words: Its tokens; of a number what it is: ``int``, ``long``, ``float`` or ``double``.
        places: Where numbers are among them.
        numbers: The numbers.
    """

    words: tuple[str, ...]
    places: tuple[int, ...]
    numbers: tuple[str, ...]


def alike(functions: Iterable[Function]) -> list[Function]:
    """Functions, of which those that are alike but for numbers call one that has their loops.

    Returns:
        The functions, and then those that have the loops of several.
    """
    functions = list(functions)
    texts: dict[str, _Text] = {}
    groups: dict[tuple[object, ...], list[Function]] = {}
    for f in functions:
        if f.around is None and not f.before and len(f.source) >= MIN_TEXT:
            texts[f.name] = text = _taken_apart(f.body)
            if not names_in("".join(text.words)):  # whoever calls what they share could not give it those that stay
                key = tuple(_own(f, text)), tuple(g.parameter for g in f.given), text.words
                groups.setdefault(key, []).append(f)
    made: list[Function] = []
    calling: dict[str, Function] = {}
    for members in groups.values():
        if len(members) > 1:
            name = f"alike{len(made)}_{members[0].name.partition('_')[2]}"
            one, calls = _shared(name, members, [texts[f.name] for f in members])
            made.append(one)
            calling.update(zip((f.name for f in members), calls, strict=True))
    return [calling.get(f.name, f) for f in functions] + made


def _own(function: Function, text: _Text) -> list[Parameter]:
    """The parameters that a function's statements name, but for those that its lists alone do."""
    if not function.given:
        return list(function.head.own)
    words = set(text.words)
    return [p for p in function.head.own if p.name in words]


def _taken_apart(body: str) -> _Text:
    tokens = TOKEN.findall(body)
    words: list[str] = []
    places: list[int] = []
    numbers: list[str] = []
    divides, vectorised = False, 0
    for k, token in enumerate(tokens):
        if token.startswith("#") and "simd" in token:
            vectorised = 2  # semicolons
        # What is divided by stays, as compilers multiply instead; and what declares an array or says how it lies.
        given = not divides and not vectorised and not (k and tokens[k - 1] in "[(" and tokens[k + 1] in "])")
        kind = _kind(token) if given else ""
        if kind:
            places.append(k)
            numbers.append(token)
        words.append(kind or token)
        vectorised -= token == ";" and vectorised > 0
        divides = token in "/%" or (divides and token.isspace())
    return _Text(tuple(words), tuple(places), tuple(numbers))


@lru_cache(1 << 14)
def _kind(token: str) -> str:
    """What a number is that may be another one in another kernel; empty where it stays."""
    if token.isdigit():
        return "" if int(token) < SMALL else "int" if int(token) < INT else "long"
    if SIZE.fullmatch(token):
        return "long"
    if _REAL.fullmatch(token):
        return "double"
    real = _FLOAT.fullmatch(token)
    if real is None or float(real[1]) in _PLAIN_REALS:
        return ""
    return "float" if real[2] else "double"


def _shared(name: str, members: Sequence[Function], texts: Sequence[_Text]) -> tuple[Function, list[Function]]:
    """The function for texts that are alike, and the members as calls of it."""
    words = list(texts[0].words)
    kinds = [words[place] for place in texts[0].places]
    columns: dict[tuple[str, ...], tuple[str, str]] = {}  # what is given → its type and name
    for place, kind, column in zip(texts[0].places, kinds, zip(*(t.numbers for t in texts), strict=True), strict=True):
        words[place] = column[0] if len(set(column)) == 1 and _is_literal(column[0]) else _named(column, kind, columns)
    integers = [c for c, (kind, _) in columns.items() if kind in ("int", "long")]
    reals = [c for c, (kind, _) in columns.items() if kind in ("float", "double")]
    params = [*_own(members[0], texts[0]), *(g.parameter for g in members[0].given)]
    args = [p.name for p in params]
    lines = []
    for table, type_, found in (("numbers", "long", integers), ("reals", "double", reals)):
        if found:
            params.append(Parameter(f"const {type_} *", f"{table}_of"))
            lines += [f"  const {columns[c][0]} {columns[c][1]} = {table}_of[{k}];\n" for k, c in enumerate(found)]
    calls = []
    for k, f in enumerate(members):
        tables, given = [], list(args)
        for table, type_, found in (("numbers", "long", integers), ("reals", "double", reals)):
            if found:
                values = [c[k] for c in found]
                static = "static " if all(map(_is_literal, values)) else ""
                tables.append(f"  {static}const {type_} {table}_of[] = {{{', '.join(values)}}};\n")
                given.append(f"{table}_of")
        calls.append(replace(f, body=f"{''.join(tables)}  {name}({', '.join(given)});\n", calls=(name,)))
    return Function(Head(name, tuple(params), is_one=True), "".join(lines + words), within=True), calls


def _named(column: tuple[str, ...], kind: str, columns: dict[tuple[str, ...], tuple[str, str]]) -> str:
    """A number that is given, in terms of those that are given by now."""
    if column not in columns:
        whole = all(c.isdigit() for c in column)
        for other, (_, name) in columns.items() if whole else ():
            if all(c.isdigit() for c in other):
                apart = {int(a) - int(b) for a, b in zip(column, other, strict=True)}
                if len(apart) == 1 and abs(by := apart.pop()) < NEAR:
                    return f"({name} + {by})" if by > 0 else f"({name} - {-by})"
        columns[column] = kind, f"given{len(columns)}"
    return columns[column][1]


def _is_literal(number: str) -> bool:
    return number[0].isdigit()
