"""Python's processes under the names of ``torch.multiprocessing``. Tensors are sent as copies."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing import *  # noqa: F403 (all of its names are here, too)
from multiprocessing.connection import wait
from typing import Any

from tracec.errors import ArgumentError


class ProcessException(Exception):
    """A process that was started has failed.

    Attributes:
        error_index: Its number.
        error_pid: The system's number of it.
    """

    def __init__(self, message: str, error_index: int, pid: int | None) -> None:
        super().__init__(message)
        self.error_index, self.error_pid = error_index, pid


class ProcessRaisedException(ProcessException):
    """A process has raised an error."""


class ProcessExitedException(ProcessException):
    """A process has ended, or was ended, without a result.

    Attributes:
        exit_code: Its exit status; minus the signal that ended it.
    """

    def __init__(self, message: str, error_index: int, pid: int | None, exit_code: int) -> None:
        super().__init__(message, error_index, pid)
        self.exit_code = exit_code


def _run(fn: Callable[..., Any], number: int, args: tuple[Any, ...], errors: Any) -> None:
    try:
        fn(number, *args)
    except KeyboardInterrupt:
        pass
    except Exception:
        errors.put((number, traceback.format_exc()))
        raise SystemExit(1) from None


class ProcessContext:
    """Processes that were started together.

    Args:
        processes: The processes.
        errors: Where they put what they raise.
    """

    def __init__(self, processes: list[Any], errors: Any) -> None:
        self.processes = processes
        self._errors = errors

    def pids(self) -> list[int | None]:
        """The system's numbers of them."""
        return [p.pid for p in self.processes]

    def join(self, timeout: float | None = None) -> bool:
        """Wait until all have ended, or one has failed, and then end the others.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether all have ended.

        Raises:
            ProcessRaisedException: one has raised an error, which is told with its traceback.
            ProcessExitedException: one has ended otherwise.
        """
        running = {p.sentinel: p for p in self.processes if p.exitcode is None}
        if running:
            wait(list(running), timeout=timeout)
        failed = next((n for n, p in enumerate(self.processes) if p.exitcode not in (None, 0)), None)
        if failed is None:
            return all(p.exitcode == 0 for p in self.processes)
        for p in self.processes:
            if p.is_alive():
                p.terminate()
            p.join()
        process = self.processes[failed]
        if process.exitcode == 1 and not self._errors.empty():
            number, text = self._errors.get()
            message = f"process {number} has raised\n\n{text}"
            raise ProcessRaisedException(message, number, self.processes[number].pid)
        message = f"process {failed} has ended with {process.exitcode}"
        raise ProcessExitedException(message, failed, process.pid, process.exitcode)


def start_processes(
    fn: Callable[..., Any], args: tuple[Any, ...] = (), nprocs: int = 1, join: bool = True, daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:  # fmt: skip
    """Start processes that each call a function with their number.

    Args:
        fn: Is called as ``fn(number, *args)``; other processes must be able to import it.
        args: What it is given behind the number.
        nprocs: How many there are.
        join: Whether to wait for them.
        daemon: Whether they end with this one.
        start_method: ``spawn``, ``fork`` or ``forkserver``.

    Returns:
        What waits for them, where ``join`` is False.

    Raises:
        ArgumentError: the number of processes is negative.
        ProcessRaisedException: one has raised an error.
        ProcessExitedException: one has ended otherwise.
    """
    if nprocs < 0:
        raise ArgumentError(f"start_processes: nprocs={nprocs}", hint="give the number of processes")
    context: Any = multiprocessing.get_context(start_method)
    errors = context.SimpleQueue()
    processes = []
    for number in range(nprocs):
        processes.append(context.Process(target=_run, args=(fn, number, args, errors), daemon=daemon))
        processes[-1].start()
    found = ProcessContext(processes, errors)
    if not join:
        return found
    while not found.join():
        pass
    return None


def spawn(
    fn: Callable[..., Any], args: tuple[Any, ...] = (), nprocs: int = 1, join: bool = True, daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:  # fmt: skip
    """`start_processes`, anew rather than as forks."""
    return start_processes(fn, args, nprocs, join, daemon, start_method)


def get_all_sharing_strategies() -> set[str]:
    """How tensors can be shared among processes; they are sent as copies, by a file descriptor's name."""
    return {"file_descriptor", "file_system"}


def get_sharing_strategy() -> str:
    """How tensors are shared among processes: taken as in PyTorch, they are sent as copies."""
    return "file_descriptor"


def set_sharing_strategy(new_strategy: str) -> None:
    """Taken as in PyTorch, with no effect: tensors are sent as copies.

    Raises:
        ArgumentError: PyTorch knows no such way.
    """
    if new_strategy not in get_all_sharing_strategies():
        raise ArgumentError(
            f"set_sharing_strategy: {new_strategy!r} is unknown",
            hint=f"use one of {sorted(get_all_sharing_strategies())}",
        )
