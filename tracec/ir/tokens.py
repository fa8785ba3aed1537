"""The words of IR text, and a cursor over them whose errors name the line and what was expected."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from tracec.errors import ParseError
from tracec.ir.dtype import ALL, DType
from tracec.ir.source import Source
from tracec.ir.types import Shape, TensorType

_WORD = re.compile(
    r"""(?P<space>\s+)
      | (?P<comment>\#[^\n]*)
      | (?P<text>"(?:[^"\\\n]|\\.)*")
      | (?P<number>\d+\.\d*(?:e[+-]?\d+)?|\d+(?:e[+-]?\d+)?)
      | (?P<device>@[\w:]+)
      | (?P<name>[A-Za-z_]\w*)
      | (?P<mark><-|->|\+=|//|[][(){},:=*+%?-])
      | (?P<other>.)""",
    re.VERBOSE,
)
_COMMENT = re.compile(r"(?:(?P<file>[^\s(].*?):(?P<line>\d+))? ?(?:\((?P<origin>.*)\))?")
DTYPES: dict[str, DType] = {d.short: d for d in ALL}
_WORDS: dict[str, Any] = {
    "True": True, "False": False, "None": None, "inf": float("inf"), "nan": float("nan"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Token:
    """A word of the text.

    Attributes:
        kind: ``text``, ``number``, ``device``, ``name``, ``mark``, or ``end``.
        text: The word as written.
        line: Its line, from 1.
    """

    kind: str
    text: str
    line: int


class Tokens:
    """A cursor over the words of a text.

    Attributes:
        comments: Line → its comment, without ``#``.
    """

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._words: list[Token] = []
        self._position = 0
        self.comments: dict[int, str] = {}
        line = 1
        for match in _WORD.finditer(text):
            word, kind = match.group(), match.lastgroup or "other"
            if kind == "comment":
                self.comments[line] = word[1:].strip()
            elif kind == "other":
                self._fail(line, f"{word!r} is no word of the IR's text")
            elif kind != "space":
                self._words.append(Token(kind, word, line))
            line += word.count("\n")
        self._words.append(Token("end", "end of text", line))

    @property
    def next(self) -> Token:
        """The word that the cursor stands before."""
        return self._words[self._position]

    def after(self, distance: int = 1) -> Token:
        """A later word."""
        return self._words[min(self._position + distance, len(self._words) - 1)]

    def at(self, *texts: str) -> bool:
        """Whether one of these marks or names comes next."""
        return self.next.text in texts and self.next.kind in ("mark", "name")

    def take(self, kind: str, expected: str) -> Token:
        """The next word, which must be of that kind."""
        token = self.next
        if token.kind != kind:
            self.fail(expected)
        self._position += 1
        return token

    def accept(self, text: str) -> bool:
        """Step over that mark or name, if it comes next."""
        if self.at(text):
            self._position += 1
            return True
        return False

    def expect(self, text: str) -> Token:
        """Step over that mark or name.

        Raises:
            ParseError: something else comes next.
        """
        token = self.next
        if not self.accept(text):
            self.fail(repr(text))
        return token

    def fail(self, expected: str) -> NoReturn:
        """Raise for the next word: it is not what was expected."""
        found = self.next.text if self.next.kind == "end" else repr(self.next.text)
        self._fail(self.next.line, f"expected {expected}, found {found}")

    def reject(self, message: str, line: int | None = None, hint: str | None = None) -> NoReturn:
        """Raise for a line whose words are in order and whose meaning is not."""
        self._fail(line or self.next.line, message, hint)

    def _fail(self, line: int, message: str, hint: str | None = None) -> NoReturn:
        where = self._lines[line - 1].strip() if line <= len(self._lines) else ""
        raise ParseError(f"parse: line {line}: {message}", where=where or None, hint=hint)

    # What graphs and kernels share.

    def integer(self, expected: str = "an integer") -> int:
        """An integer, perhaps negative."""
        negative = self.accept("-")
        token = self.take("number", expected)
        if not token.text.isdecimal():
            self.reject(f"expected {expected}, found {token.text!r}", token.line)
        return -int(token.text) if negative else int(token.text)

    def literal(self) -> Any:
        """A number, bool, None, inf, nan or ``complex(real, imaginary)``."""
        if self.accept("complex"):
            self.expect("(")
            real = self.literal()
            self.expect(",")
            imaginary = self.literal()
            self.expect(")")
            return complex(real, imaginary)
        negative = self.accept("-")
        token = self.next
        if token.kind == "number":
            self._position += 1
            value: Any = int(token.text) if token.text.isdecimal() else float(token.text)
        elif token.kind == "name" and token.text in _WORDS:
            self._position += 1
            value = _WORDS[token.text]
        else:
            self.fail("a literal")
        return -value if negative else value

    def string(self) -> str:
        """Text in double quotes."""
        return str(json.loads(self.take("text", "text in double quotes").text))

    def dtype(self) -> DType:
        """A dtype's short name."""
        if self.next.text not in DTYPES:
            self.fail("a dtype, such as f32")
        return DTYPES[self.take("name", "a dtype").text]

    def shape(self) -> Shape:
        """Sizes in brackets; ``?`` reads as -1."""
        self.expect("[")
        sizes: list[int] = []
        while not self.accept("]"):
            sizes.append(-1 if self.accept("?") else self.integer("a size"))
            if not self.at("]"):
                self.expect(",")
        return tuple(sizes)

    def device(self, default: str) -> str:
        """``@device``, if it comes next."""
        return self.take("device", "a device").text[1:] if self.next.kind == "device" else default

    def type(self) -> TensorType:
        """``f32[4,8]@cuda:0``."""
        return TensorType(self.dtype(), self.shape(), self.device("cpu"))


def parse_source(text: str) -> Source | None:
    """The source that prints as ``file.py:12``; None for other text."""
    file, _, line = text.rpartition(":")
    return Source(file, int(line)) if file and line.isdecimal() else None


def parse_comment(comment: str) -> tuple[Source | None, str]:
    """Source and origin in the comment of a node; a comment of another form is for readers only."""
    match = _COMMENT.fullmatch(comment)
    if match is None:
        return None, ""
    source = Source(match["file"], int(match["line"])) if match["file"] else None
    return source, match["origin"] or ""
