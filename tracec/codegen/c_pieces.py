"""Pieces of kernels: functions that kernels share whose texts are alike but for numbers, which are given.

A network has one convolution many times, with other channels and other sizes; what compilers take time for is one text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tracec.codegen.c_source import Around, Function, Head, Parameter, Piece

#: Names, numbers as C reads them, pragmas and what is between.
TOKEN = re.compile(r"[A-Za-z_]\w*|\.?\d(?:[eEpP][+-]|[\w.])*|#[^\n]*|\s+|.")
SIZE = re.compile(r"size_\d+")
_REAL = re.compile(r"real_\d+")
INT = 1 << 31
PARAMETERS = (
    Parameter("const struct piece *", "own"), Parameter("const struct block *", "b"), Parameter("void *", "out")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Text:
    """The text of a piece, taken apart.

    Attributes:
        words: Its tokens; None where a number is.
        numbers: The numbers.
        reals: Names of floats that vary from call to call, in the order of their first use.
    """

    words: tuple[str | None, ...]
    numbers: tuple[str, ...]
    reals: tuple[str, ...]


def shared(functions: Iterable[Function]) -> list[Function]:
    """Functions with their pieces: one for those that are alike but for numbers.

    Returns:
        The functions, the pieces of each replaced by those that it shares with others, and then all pieces.
    """
    functions = list(functions)
    pieces_of_all = [p for f in functions if f.around is not None for p in f.around.pieces]
    texts = {id(p): _taken_apart(p.body) for p in pieces_of_all}
    alike: dict[tuple[str | None, ...], list[Piece]] = {}
    for p in pieces_of_all:
        alike.setdefault(texts[id(p)].words, []).append(p)
    given: dict[int, tuple[str, str, str]] = {}
    made: list[Function] = []
    for pieces in alike.values():
        name = f"piece{len(made)}_{pieces[0].kind}"
        columns, body = _written([texts[id(p)] for p in pieces])
        made.append(Function(Head(name, PARAMETERS), body, within=True))
        for p in pieces:
            t = texts[id(p)]
            given[id(p)] = name, ", ".join(t.numbers[c] for c in columns), ", ".join(t.reals)
    return [f if f.around is None else _with_pieces(f, f.around, given) for f in functions] + made


def alone(function: Function) -> str:
    """The text of a function and its pieces, for readers."""
    return "\n".join(f.source for f in reversed(shared([function])))


def _with_pieces(function: Function, around: Around, given: Mapping[int, tuple[str, str, str]]) -> Function:
    names, texts = [], []
    for piece in around.pieces:
        name, numbers, reals = given[id(piece)]
        args = ", ".join(f"(void *){a}" for a in piece.args)
        tables = f"(void *const[]){{{args}}}" if args else "0"
        tables += f", (const long[]){{{numbers}}}" if numbers else ", 0"
        tables += f", (const double[]){{{reals}}}" if reals else ", 0"
        names.append(name)
        texts.append(f"{{{name}, {tables}}}")
    return replace(function, body=around.written(tuple(texts)), around=None, calls=(*names, *function.calls))


def _taken_apart(text: str) -> _Text:
    words: list[str | None] = []
    numbers: list[str] = []
    reals: list[str] = []
    divides, head = False, 0
    for token in TOKEN.findall(text):
        if token.startswith("#"):
            head = 2  # semicolons
        if _REAL.fullmatch(token):
            if token not in reals:
                reals.append(token)
            words.append(f"real{reals.index(token)}")
        # What is divided by stays, as compilers multiply instead, and so do the iterations of vectorised loops.
        elif SIZE.fullmatch(token) or (token.isdigit() and not divides and not head):
            numbers.append(token)
            words.append(None)
        else:
            words.append(token)
        head -= token == ";" and head > 0
        divides = token in "/%" or (divides and token.isspace())
    return _Text(tuple(words), tuple(numbers), tuple(reals))


def _written(texts: Sequence[_Text]) -> tuple[list[int], str]:
    """What a piece for texts that are alike does, and which of their numbers it is given."""
    first = texts[0]
    given: dict[tuple[str, ...], int] = {}
    columns: list[int] = []
    numbers: list[str] = []
    for k, column in enumerate(zip(*(t.numbers for t in texts), strict=True)):
        if len(set(column)) == 1 and column[0].isdigit():
            numbers.append(column[0])
            continue
        if column not in given:
            given[column] = len(columns)
            columns.append(k)
        numbers.append(f"n{given[column]}")
    rest = iter(numbers)
    body = "".join(next(rest) if w is None else w for w in first.words)
    types = ["int" if all(c.isdigit() and int(c) < INT for c in column) else "long" for column in given]
    lines = [f"  const {t} n{k} = own->numbers[{k}];\n" for k, t in enumerate(types)]
    lines += [f"  const double real{k} = own->reals[{k}];\n" for k in range(len(first.reals))]
    return columns, "".join(lines) + body
