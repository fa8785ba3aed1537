"""C statements as a tree, which templates lay out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """One statement, with its semicolon."""

    text: str

    @property
    def is_block(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Block:
    """A loop or a scope.

    Attributes:
        head: What stands before the brace: ``for (...)``, ``if (...)``, or nothing.
        body: What is inside.
        pragmas: Lines directly above, without ``#pragma``.
    """

    head: str
    body: tuple[Tree, ...]
    pragmas: tuple[str, ...] = ()

    @property
    def is_block(self) -> bool:
        return True


Tree = Line | Block


def loop(index: str, var: str, stop: str | int, body: tuple[Tree, ...], *, pragmas: tuple[str, ...] = (),
         start: str | int = 0, step: str | int = 1) -> Block:  # fmt: skip
    """A counting loop; ``index`` is the type of its variable."""
    advance = f"{var}++" if step == 1 else f"{var} += {step}"
    return Block(f"for ({index} {var} = {start}; {var} < {stop}; {advance})", body, pragmas)
