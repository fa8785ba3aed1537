"""Errors that users meet: operator, rule, what was given, the user's line, what to do.

Every class also derives from the built-in exception that PyTorch raises in the same case, so that
programs written against PyTorch catch what they expect to catch.
"""

from __future__ import annotations


class TracecError(Exception):
    """Base of every error that tracec raises on purpose.

    Args:
        message: Operator, rule and what was given, e.g. ``add: shapes (4,) and (3,) do not broadcast``.
        hint: What the user can do about it.
        where: The user's source line, or the node that broke the rule in its surroundings.
    """

    def __init__(self, message: str, *, hint: str | None = None, where: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where

    def __str__(self) -> str:
        lines = [self.message]
        if self.where:
            lines.append(f"  {self.where}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class ShapeError(TracecError, RuntimeError):
    """Operands have shapes that the operator cannot combine."""


class DTypeError(TracecError, RuntimeError):
    """Operands have element types that the operator does not take."""


class DeviceError(TracecError, RuntimeError):
    """Operands live on different devices, or a device is not there."""


class AxisError(TracecError, IndexError):
    """An axis or an index lies outside of the tensor."""


class ArgumentError(TracecError, ValueError):
    """An argument has a value that the operator does not take."""


class ArgumentTypeError(TracecError, TypeError):
    """An argument has a Python type that the operator does not take."""


class GradientError(TracecError, RuntimeError):
    """Differentiation was asked for where there is nothing to differentiate, or no rule for it."""


class VerifyError(TracecError):
    """A graph, kernel or plan breaks an invariant of the IR; a bug in tracec, not in the program."""


class ParseError(TracecError, ValueError):
    """Text is not a graph or a kernel."""


class CompileError(TracecError, RuntimeError):
    """Generated source did not compile; a bug in tracec, or a compiler that it does not know."""


class CompilerMissing(TracecError, RuntimeError):
    """The machine has no C compiler that works."""


class RecordError(TracecError, RuntimeError):
    """A function cannot be recorded as asked."""


class StateError(TracecError, RuntimeError):
    """A saved state does not fit what it is loaded into."""


class NameMissingError(TracecError, AttributeError):
    """PyTorch has this name and tracec does not."""
