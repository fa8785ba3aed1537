"""`record_stream`, with pretended memory, streams and events: memory waits for the streams that work on it."""

from __future__ import annotations

import contextlib
import gc
import types
import weakref
from collections import deque

import numpy as np
import pytest

import tracec
from tracec.record import streams
from tracec.record.cell import new_tensor


class Memory:
    """What an array of a GPU lies in."""


class Event:
    made: list[Event] = []

    def __init__(self, disable_timing=False):
        self.done, self.queue = False, None
        Event.made.append(self)

    def record(self, queue):
        self.queue = queue


@pytest.fixture
def on_a_gpu(monkeypatch):
    """Makes a tensor that says it is on a GPU, and a weak reference to its memory."""
    Event.made.clear()
    monkeypatch.setattr(streams, "_HELD", deque())
    monkeypatch.setattr(
        streams, "module", lambda device: types.SimpleNamespace(cuda=types.SimpleNamespace(Event=Event))
    )
    monkeypatch.setattr(streams, "on", lambda device: contextlib.nullcontext())

    def make():
        x, memory = new_tensor(np.ones(3)), Memory()
        x._device = "cuda:0"
        x._storage.array = types.SimpleNamespace(data=memory)
        return x, weakref.ref(memory)

    return make


def test_memory_is_held_until_the_stream_is_done(on_a_gpu):
    x, memory = on_a_gpu()
    x.record_stream(types.SimpleNamespace(_stream="side"))
    assert Event.made == []  # nothing is noted while the tensor lives
    del x
    gc.collect()
    (event,) = Event.made
    assert event.queue == "side" and memory() is not None
    other, _ = on_a_gpu()
    other.record_stream(types.SimpleNamespace(_stream="side"))
    gc.collect()
    assert memory() is not None
    event.done = True
    other.record_stream(types.SimpleNamespace(_stream="side"))
    gc.collect()
    assert memory() is None


def test_what_is_held_stays_when_another_thread_looks_meanwhile(monkeypatch):
    class Slow:
        """An event that takes so long to be asked that another thread looks, too."""

        asked = False

        @property
        def done(self):
            if not self.asked:
                self.asked = True
                streams._let_go()
            return False

    gone, slow, working = types.SimpleNamespace(done=True), Slow(), types.SimpleNamespace(done=False)
    monkeypatch.setattr(streams, "_HELD", deque((event, Memory()) for event in (gone, slow, working)))
    streams._let_go()
    held = [event for event, _ in streams._HELD]
    assert slow in held and working in held and len(held) == 2


def test_views_keep_memory_too(on_a_gpu):
    x, memory = on_a_gpu()
    x.record_stream(types.SimpleNamespace(_stream="side"))
    other = new_tensor(np.ones(3))
    other._storage = x._storage
    del x
    gc.collect()
    assert Event.made == [] and memory() is not None
    del other
    gc.collect()
    assert len(Event.made) == 1


def test_mistakes(on_a_gpu):
    with pytest.raises(NotImplementedError, match="the tensor is on the CPU"):
        tracec.ones(2).record_stream(types.SimpleNamespace(_stream="side"))
    with pytest.raises(TypeError, match="takes a stream, str given"):
        on_a_gpu()[0].record_stream("side")
