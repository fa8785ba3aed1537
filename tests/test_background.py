"""Threads that compile: when the program ends, where none can be started, and what comes to a thread in between."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import threading

import pytest

import tracec
from tracec import background
from tracec.background import Turn, _Workers, submit

_ENDING = """
import atexit

@atexit.register  # runs behind what tracec registers
def late():
    c.wait()
    c(tracec.ones(3), 2)
    c.wait()
    print("waited")

import tracec
c = tracec.compile(lambda x, k: x * 2.5 + k, mode="async")
for k in range(2):
    c(tracec.ones(3), k)
"""


def test_who_waits_when_the_program_ends_waits_for_nothing(tmp_path, monkeypatch):
    """What was given up was never done."""
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", _ENDING], timeout=60, capture_output=True, text=True)
    assert done.stdout == "waited\n", done.stderr


@pytest.mark.parametrize("already", [0, 1])
def test_jobs_are_done_where_no_thread_can_be_started(monkeypatch, already):
    """The job was left waiting, for a thread that was never there."""
    monkeypatch.setattr(background, "_workers", workers := _Workers())
    done = [submit(lambda: None) for _ in range(already)]
    most = threading.active_count()

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    done.append(submit(lambda: None))
    assert all(job.done.wait(10) for job in done) and not workers.unfinished
    monkeypatch.undo()
    monkeypatch.setattr(background, "end_all", lambda: None)  # which is for good
    workers.close()
    assert threading.active_count() <= most


@pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="an interrupt may come between the call of __enter__ and what `with` covers"
)
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
def test_an_interrupt_leaves_nobody_at_a_turn():
    """It fell between what took the lock and what was to let go of it."""

    class Interrupt(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupt

    def is_free(turn: Turn) -> bool:
        found: list[bool] = []
        other = threading.Thread(target=lambda: found.append(turn.lock.acquire(blocking=False)))
        other.start()
        other.join()
        return found == [True]

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for k in range(400):
            turn = Turn()
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-5 * (1 + k % 7))
                while True:
                    with turn.lock:
                        pass
            except Interrupt:
                assert is_free(turn)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
def test_a_handler_calls_what_is_being_compiled(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    x, found = tracec.ones(3), []
    (x * 2.75).exp().sum()  # imports what has these names: a handler would find that half done
    f = tracec.compile(lambda x: (x * 2.75).exp().sum())

    def handle(*_: object) -> None:
        found.append(float(f(x)))
        if len(found) < 4:
            signal.setitimer(signal.ITIMER_REAL, 0.05)

    before = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        expected = float(f(x))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert found and all(math.isclose(f, expected, rel_tol=1e-6) for f in found)
