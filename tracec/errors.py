"""Errors that users meet: operator, rule, what was given, the user's line, what to do.

Every class also derives from the built-in exceptions that PyTorch raises in the same case, so that
programs written against PyTorch catch what they expect to catch. Where PyTorch is not of one mind (a wrong
shape is a RuntimeError to a kernel and a ValueError to a loss), a class derives from all of them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any


class TracecError(Exception):
    """Base of every error that tracec raises on purpose.

    Args:
        message: Operator, rule and what was given, e.g. ``add: shapes (4,) and (3,) do not broadcast``.
        hint: What the user can do about it.
        where: The operation and its line, or the node that broke the rule in its surroundings; by default the
            user's line that was running.

    Attributes:
        line: The user's line that was running.
        within: The function that it called, where the operator at fault is only a part of it.
    """

    #: Whether errors of this class are about the user's program, and point at its line.
    about_program = True

    def __init__(self, message: str, *, hint: str | None = None, where: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where
        self.line: str | None = None
        self.within: str | None = None
        if self.about_program:
            from tracec.ir.source import caller, entered  # not before: ir imports this module

            line = caller()
            self.line, self.within = str(line) if line else None, entered()

    def __str__(self) -> str:
        lines = [self.message]
        where = self.where or (f"at {self.line}" if self.line else None)
        if where:
            partly = self.within is not None and not self.message.startswith(f"{self.within}:")
            lines.append(f"  {where}, in {self.within}" if partly else f"  {where}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class ShapeError(TracecError, RuntimeError, ValueError):
    """Operands have shapes that the operator cannot combine."""


class DTypeError(TracecError, NotImplementedError, TypeError):
    """Operands have element types that the operator does not take."""


class DeviceError(TracecError, RuntimeError):
    """Operands live on different devices, or a device is not there."""


class AxisError(TracecError, IndexError, RuntimeError):
    """An axis or an index is none of the tensor's."""


class ArgumentError(TracecError, ValueError, RuntimeError):
    """An argument has a value that the operator does not take."""


class UnsupportedError(TracecError, NotImplementedError, ValueError):
    """A mode is not known, or one that the operator does not have for such operands."""


class NameTakenError(ArgumentError, KeyError):
    """A name cannot be given: something has it already, or it is none."""


class ArgumentTypeError(TracecError, TypeError):
    """An argument has a Python type that the operator does not take."""


class OutOfMemoryError(TracecError, RuntimeError, MemoryError):
    """There is no memory for a result."""


class GradientError(TracecError, RuntimeError):
    """Differentiation was asked for where there is nothing to differentiate, or no rule for it."""


class LinAlgError(TracecError, RuntimeError):
    """A matrix is singular, or not positive-definite, or a decomposition does not converge."""


class VerifyError(TracecError):
    """A graph, kernel or plan breaks an invariant of the IR; a bug in tracec, not in the program."""

    about_program = False


class ParseError(TracecError, ValueError):
    """Text is not a graph or a kernel."""

    about_program = False


class CompileError(TracecError, RuntimeError):
    """Generated source did not compile; a bug in tracec, or a compiler that it does not know."""


class CompilerMissing(TracecError, RuntimeError):
    """The machine has no C compiler that works."""


class PackageMissingError(TracecError, ModuleNotFoundError):
    """A package of others that something needs is not installed."""


class EmulatorError(TracecError, RuntimeError):
    """A kernel that runs on the host does what no kernel may do: a bug in tracec, or in source written by hand."""

    about_program = False


class GradcheckError(GradientError):
    """Gradients are not what differences of values say."""


class CheckpointError(GradientError):
    """A function that computes again what gradients need did not do the same as before."""


class RuleMissingError(TracecError, NotImplementedError):
    """A class of the user's leaves out what is asked of it."""


class RecordError(TracecError, RuntimeError):
    """A function cannot be recorded as asked."""


class ReplayError(TracecError, RuntimeError):
    """A compiled call does not give what the function gives: a bug in tracec, or something is read that no guard sees.

    Attributes:
        source: The user's line that makes the first value that differs.
        stage: What makes it differ: a pass, a step of planning, a lowering, the source of a kernel.
        script: A program that shows the difference; None where it does not show by itself.
    """

    about_program = False
    source: Any = None
    stage: str | None = None
    script: str | None = None


class StateError(TracecError, RuntimeError):
    """A saved state does not fit what it is loaded into."""


class FolderMissingError(TracecError, FileNotFoundError, RuntimeError):
    """A file is to be written into a folder that does not exist."""


class FileMissingError(TracecError, FileNotFoundError, RuntimeError):
    """A file or a folder that is to be read is not there."""


class FormatError(TracecError, ValueError, RuntimeError):
    """A file is not of the form that it should have."""


class DownloadError(TracecError, OSError, RuntimeError):
    """A file cannot be had from the network."""


class KeyMissingError(TracecError, KeyError):
    """A mapping has no such key."""


class ModuleMissingError(TracecError, ModuleNotFoundError):
    """There is no module of this name, which PyTorch has."""


class NameMissingError(TracecError, AttributeError):
    """There is no attribute of this name, which PyTorch may have."""

    holder: Any = None
    asked: str = ""

    def __str__(self) -> str:
        # Late, since most of these errors are swallowed by hasattr.
        if self.hint is None and self.holder is not None:
            import difflib

            if self.asked in _names_of_pytorch(self.holder):
                self.message += ", which PyTorch has and tracec does not"
            instead = _sections("instead.txt").get(f"{_place_of(self.holder)}.{self.asked}")
            near = difflib.get_close_matches(self.asked, [n for n in dir(self.holder) if not n.startswith("_")])
            self.hint = f"nearest: {', '.join(near)}" if near else "dir() lists the names that there are"
            if instead:
                self.hint = " ".join(instead).strip()
        return super().__str__()


def _names_of_pytorch(holder: Any) -> frozenset[str]:
    """The names that PyTorch has in the module, or on the class, that something of tracec stands for."""
    lines = _sections("pytorch_names.txt").get(_place_of(holder))
    return frozenset(" ".join(lines).split()) if lines else frozenset()


def _place_of(holder: Any) -> str:
    """PyTorch's name of what a module or a class stands for."""
    place: str = getattr(holder if isinstance(holder, (type, ModuleType)) else type(holder), "__name__", "")
    return place.replace("tracec", "torch", 1) if isinstance(holder, ModuleType) else f"torch.{place}"


def module_missing(name: str) -> ModuleMissingError | None:
    """The error for a module of PyTorch's that is not there, with what to do instead; None for one that it has not.

    Args:
        name: Its full name here, such as ``tracec.onnx``.
    """
    theirs = name.replace("tracec", "torch", 1)
    instead = _sections("instead.txt").get(theirs)
    if instead is None:
        return None
    return ModuleMissingError(f"No module named {name!r}: PyTorch has {theirs}", hint=" ".join(instead).strip())


@cache
def _sections(file: str) -> dict[str, list[str]]:
    """What a file says of PyTorch's names: a line at the margin names the place, those below it tell of it."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in Path(__file__).with_name(file).read_text().splitlines():
        if line[:1].isspace():
            lines.append(line)
        else:
            lines = found[line] = []
    return found


def name_missing(holder: Any, name: str) -> NameMissingError:
    """The error for a name that something does not have; it tells the nearest ones.

    Args:
        holder: The module, class or object.
        name: What was asked for.
    """
    what = holder.__name__ if isinstance(holder, type) else type(holder).__name__
    if isinstance(holder, ModuleType):
        what = f"module {holder.__name__!r}"
    error = NameMissingError(f"{what} has no attribute {name!r}")
    error.holder, error.asked = holder, name
    return error
