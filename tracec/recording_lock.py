"""The lock that lets one thread record at a time, and the warning for a thread that waits for it too long."""

from __future__ import annotations

import threading

from tracec.ir.forks import free_in_children
from tracec.ir.source import warn

#: Held while a function is recorded: what a recorder notes on memory is for one recorder at a time. Calls of other
#: threads that nothing serves yet run eagerly meanwhile.
RECORDING_LOCK = threading.RLock()
free_in_children(RECORDING_LOCK)
#: Names of the functions that are being recorded, one within the other.
NAMES: list[str] = []
#: Seconds after which it is said that a thread waits for another one; then after twice as many, and so on.
LONG = 30.0


def wait_to_record(what: str) -> None:
    """Take the lock, and say so where that takes long.

    Args:
        what: What waits, in words.
    """
    held, seconds = RECORDING_LOCK._is_owned(), LONG  # type: ignore[attr-defined]
    try:
        while not RECORDING_LOCK.acquire(timeout=seconds):
            name = ", ".join(NAMES) or "a function"
            warn(
                f"{what}: has waited {seconds:.0f} s for another thread, which records {name}; where that one waits "
                "for this thread, neither goes on",
                now=True,
            )
            seconds *= 2
    except BaseException:  # an interrupt, which may have come when the lock was taken
        if not held:
            give_back()
        raise


def give_back() -> None:
    """Let others record, where this thread holds the lock: an interrupt may come where that is not known."""
    while RECORDING_LOCK._is_owned():  # type: ignore[attr-defined]
        RECORDING_LOCK.release()
