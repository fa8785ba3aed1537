"""A smaller program that still differs, by leaving out statements and replacing expressions by parts of them."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from typing import Any

#: Lists of statements that nodes hold.
_BODIES = ("body", "orelse", "finalbody")


def shrink(text: str, differs: Callable[[str], bool], attempts: int = 1500) -> str:
    """The smallest program found for which ``differs`` holds, as it does for the given one.

    Args:
        text: The program.
        differs: Whether a program shows what is looked for; it may be given any program that parses.
        attempts: The most programs to try.
    """
    best = ast.parse(text)
    left, progress = attempts, True
    while progress:
        progress = False
        size = _size(best)
        for change in _changes(best):
            candidate = _applied(best, change)
            if candidate is None or _size(candidate) >= size:
                continue
            left -= 1
            if left < 0:
                return ast.unparse(best) + "\n"
            if differs(ast.unparse(candidate) + "\n"):
                best, progress = candidate, True
                break
    return ast.unparse(best) + "\n"


def _size(tree: ast.AST) -> int:
    return sum(1 for _ in ast.walk(tree)) + len(ast.unparse(tree))


#: A node's place in an order that copies share, a field of it, where in that field, and what to put there.
_Change = tuple[int, str, Any, Any]


def _changes(tree: ast.AST) -> Iterator[_Change]:
    """Ways to make a program smaller, those that take the most away first."""
    nodes = list(ast.walk(tree))
    for length in (16, 8, 4, 2, 1):
        for at, node in enumerate(nodes):
            for field in _BODIES:
                body = getattr(node, field, None)
                if not isinstance(body, list):
                    continue
                for start in range(0, len(body), max(1, length // 2)):
                    if length == 1 or start + length <= len(body):
                        yield at, field, slice(start, start + length), []
    for at, node in enumerate(nodes):
        for field in _BODIES:
            body = getattr(node, field, None)
            for k, statement in enumerate(body if isinstance(body, list) else ()):
                inner = getattr(statement, "body", None)
                if isinstance(inner, list) and not isinstance(statement, ast.FunctionDef):
                    yield at, field, slice(k, k + 1), inner
    for at, node in enumerate(nodes):
        yield from _simpler(at, node)


def _simpler(at: int, node: ast.AST) -> Iterator[_Change]:
    """Ways to make the expressions in a node smaller."""
    for field, value in ast.iter_fields(node):
        if isinstance(value, ast.expr):
            for part in ast.iter_child_nodes(value):
                if isinstance(part, ast.expr):
                    yield at, field, None, part
        elif isinstance(value, list) and field in ("args", "elts", "keywords", "targets"):
            for k, item in enumerate(value):
                if len(value) > (field == "targets"):
                    yield at, field, slice(k, k + 1), []
                for part in ast.iter_child_nodes(item):
                    if isinstance(part, ast.expr) and isinstance(item, ast.expr):
                        yield at, field, slice(k, k + 1), [part]


def _applied(tree: ast.AST, change: _Change) -> ast.AST | None:
    at, field, where, what = change
    made = copy.deepcopy(tree)
    node = list(ast.walk(made))[at]
    if where is None:
        setattr(node, field, what)
    else:
        values = getattr(node, field)
        if not what and field == "body" and len(values[where]) == len(values):
            what = [ast.Pass()] if not all(isinstance(v, ast.Pass) for v in values) else values
        values[where] = what
    try:
        ast.parse(ast.unparse(made))
    except (SyntaxError, ValueError, AttributeError, TypeError):
        return None
    return made
