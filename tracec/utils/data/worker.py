"""Workers: threads that make batches ahead of the one who asks for them."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any

from tracec.record.random import OwnStream


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker knows of itself.

    Attributes:
        id: Its number, from 0.
        num_workers: How many there are.
        seed: A seed of its own for the present pass, which its default generator starts from. What Python's and
            NumPy's own generators draw is shared by all threads: make them of this seed where it matters.
        dataset: The data set, shared by all workers.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any


class _Local(threading.local):
    info: WorkerInfo | None = None
    stream: OwnStream | None = None


_LOCAL = _Local()


def get_worker_info() -> WorkerInfo | None:
    """The worker that runs the caller; None outside of workers."""
    return _LOCAL.info


#: What a worker gives when its share has come to an end.
END = object()


class Worker:
    """A thread that makes batches one after the other.

    Args:
        info: What it knows of itself.
        init: Called with its number before its first batch.
        make: Called in the thread after that; gives what makes a batch out of a request.
    """

    def __init__(
        self, info: WorkerInfo, init: Callable[[int], Any] | None, make: Callable[[], Callable[[Any], Any]]
    ) -> None:
        self._info = info
        self._init = init
        self._make = make
        self._fetch: Callable[[Any], Any] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"tracec-loader-{info.id}")

    def ask(self, request: Any) -> Future[Any]:
        """Begin to make a batch."""
        return self._pool.submit(self._run, request)

    def _run(self, request: Any) -> Any:
        # Started here and not with the thread, so that its errors reach the one who waits for the batch.
        if self._fetch is None:
            _LOCAL.info = self._info
            _LOCAL.stream = OwnStream(self._info.seed)
            if self._init is not None:
                self._init(self._info.id)
            self._fetch = self._make()
        return self._fetch(request)

    def stop(self) -> None:
        """Drop what has not begun; what has begun still ends."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def in_order(workers: list[Worker], requests: Iterable[Any], ahead: int, timeout: float) -> Iterator[Any]:
    """Batches in the order of their requests, made by the workers in turn.

    Args:
        workers: Who makes them.
        requests: What each batch is made from.
        ahead: How many batches may be under way or waiting.
        timeout: Seconds to wait for a batch; 0 for no limit.

    Raises:
        RuntimeError: a batch took longer, or the process was forked meanwhile: a child has no workers.
        Exception: whatever a worker raised, with its traceback.
    """
    source, process = iter(requests), os.getpid()
    waiting: deque[tuple[Worker, Future[Any]]] = deque()
    turn = deque(workers)

    def fill() -> None:
        while turn and len(waiting) < ahead:
            try:
                request = next(source)
            except StopIteration:
                return
            waiting.append((turn[0], turn[0].ask(request)))
            turn.rotate(-1)

    try:
        fill()
        while waiting:
            worker, future = waiting.popleft()
            if os.getpid() != process:  # it would wait for ever
                raise RuntimeError(
                    "DataLoader: this pass was begun before the process was forked, and its workers are threads of the "
                    "parent; begin a new pass in the child"
                )
            try:
                batch = future.result(timeout or None)
            except FutureTimeoutError:
                if future.done():  # the worker's own
                    raise
                raise RuntimeError(f"DataLoader: timed out after {timeout} seconds") from None
            if batch is END and worker in turn:
                turn.remove(worker)
            fill()
            if batch is not END:
                yield batch
    finally:
        for worker in workers:
            worker.stop()
