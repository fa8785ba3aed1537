"""How a function is to be compiled: the arguments of ``tracec.compile``, checked."""

from __future__ import annotations

import os
from dataclasses import dataclass

from tracec.build import LAUNCHERS, check_names
from tracec.errors import ArgumentError, ArgumentTypeError

#: What may happen when a function is recorded after the first time.
ON_RECORD = ("allow", "warn", "raise")
#: Specialisations of a function, unless it is told otherwise: more are a sign that something read is never the same.
MOST_SPECIALISATIONS = 64
#: What becomes of calls that no program serves, in words.
RUN_AGAIN = "recorded again at each call, and parts that come again are compiled where that pays"


@dataclass(frozen=True, slots=True)
class Options:
    """How a function is compiled.

    Attributes:
        target: ``cpu`` or ``cuda``; None goes by where the tensors are.
        disable: Names of optimisations to leave out.
        launcher: For ``cuda``: ``gpu``, or ``emulator`` to run its kernels on the CPU.
        cuda_graph: Whether launches on a GPU may be captured as a CUDA graph and replayed.
        fullgraph: Whether a call that cannot be compiled raises, rather than runs eagerly.
        on_record: What happens when it is recorded after the first time: ``allow``, ``warn`` or ``raise``.
        max_specializations: Specialisations to keep; calls that none of them serves run eagerly then.
        background: Whether programs are made on threads, while calls run eagerly.
        verify: Whether each replay is compared with an eager run; None goes by ``TRACEC_VERIFY=2``.
        dynamic: Whether one program serves many sizes: True from the first call on, False never, None from the second
            size on.
    """

    target: str | None = None
    disable: frozenset[str] = frozenset()
    launcher: str = "gpu"
    cuda_graph: bool = True
    fullgraph: bool = False
    on_record: str = "allow"
    max_specializations: int = MOST_SPECIALISATIONS
    verify: bool | None = None
    background: bool = False
    dynamic: bool | None = None

    @property
    def verifies(self) -> bool:
        """Whether each replay is compared with an eager run."""
        return os.environ.get("TRACEC_VERIFY") == "2" if self.verify is None else self.verify

    def checked(self) -> Options:
        """These options.

        Raises:
            ArgumentError: one of them is unknown.
            ArgumentTypeError: ``max_specializations`` is no integer.
        """
        check_names(self.disable)
        if self.target not in (None, "cpu", "cuda"):
            raise ArgumentError(f"compile: target {self.target!r} is unknown", hint="use 'cpu' or 'cuda'")
        check_launcher("compile", self.launcher)
        if self.on_record not in ON_RECORD:
            raise ArgumentError(
                f"compile: on_record={self.on_record!r} is unknown",
                hint=f"use one of {', '.join(map(repr, ON_RECORD))}",
            )
        if isinstance(self.max_specializations, bool) or not isinstance(self.max_specializations, int):
            raise ArgumentTypeError(
                f"compile: max_specializations takes an integer, {type(self.max_specializations).__name__} given"
            )
        if self.max_specializations < 1:
            raise ArgumentError(
                f"compile: max_specializations={self.max_specializations} leaves none",
                hint="give 1 or more, or disable=True to compile nothing",
            )
        return self


def check_launcher(name: str, launcher: str) -> None:
    """Refuse launchers that there are not.

    Raises:
        ArgumentError: the message lists those that exist.
    """
    if launcher not in LAUNCHERS:
        raise ArgumentError(
            f"{name}: launcher {launcher!r} is unknown", hint=f"use {' or '.join(map(repr, LAUNCHERS))}"
        )
