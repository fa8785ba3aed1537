"""How calls are timed on a GPU: captured where that can be, else launched; on a pretended CuPy whose clock is ours."""

from __future__ import annotations

import sys
import types

import pytest

from benchmarks.kernels.devices import Gpu

CALL_S = 1e-3  # what the pretended device takes for a call


class Pretended:
    """What a `Gpu` asks of CuPy; calls queue work by `work`."""

    def __init__(self, can_capture=True, is_late=False):
        self.clock, self.capturing, self.can_capture, self.launches = 0.0, None, can_capture, 0
        self.waited = 0.0
        here = self

        class Graph:
            def __init__(self, calls):
                self.calls = calls

            def launch(self):
                here.launches += 1
                here.clock += self.calls * CALL_S

        class Stream:
            def __init__(self, non_blocking=False):
                assert non_blocking

            def __enter__(self):
                return self

            def __exit__(self, *error):
                pass

            def synchronize(self):
                assert here.capturing is None

            def begin_capture(self):
                here.capturing = 0

            def end_capture(self):
                calls, here.capturing = here.capturing, None
                if not here.can_capture:
                    raise RuntimeError("cudaErrorStreamCaptureInvalidated")
                return Graph(calls)

        class Event:
            def record(self, stream):
                self.at = here.clock

            def synchronize(self):
                pass

            @property
            def done(self):
                return is_late

        properties = {"name": b"pretended", "l2CacheSize": 50, "multiProcessorCount": 3, "totalGlobalMem": 9}
        runtime = types.SimpleNamespace(
            getDeviceProperties=lambda index: properties, deviceSynchronize=lambda: None,
            driverGetVersion=lambda: 13000, runtimeGetVersion=lambda: 13000,
        )  # fmt: skip
        self.cuda = types.SimpleNamespace(
            Stream=Stream, Event=Event, runtime=runtime, get_elapsed_time=lambda a, b: (b.at - a.at) * 1e3
        )

    def RawKernel(self, source, name):
        def wait(grid, block, given):
            assert (grid, block) == ((1,), (1,)) and name in source
            self.waited += given[0] * 1e-9
            self.clock += given[0] * 1e-9

        return wait

    def work(self):
        if self.capturing is None:
            self.clock += CALL_S
        elif self.can_capture:
            self.capturing += 1
        else:
            raise RuntimeError("cudaErrorStreamCaptureUnsupported")


@pytest.fixture
def pretended(monkeypatch):
    def make(**options):
        cupy = Pretended(**options)
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        return cupy

    return make


def test_a_block_of_calls_is_one_graph(pretended):
    cupy = pretended()
    timing = Gpu().time([cupy.work] * 7)
    assert timing.how == "graph" and timing.seconds == pytest.approx(CALL_S) and not timing.host_bound
    assert cupy.launches > 9


def test_calls_that_cannot_be_captured_are_launched(pretended):
    cupy = pretended(can_capture=False)
    timing = Gpu().time([cupy.work] * 7)
    assert timing.how == "events" and timing.seconds == pytest.approx(CALL_S) and not timing.host_bound
    assert cupy.launches == 0 and cupy.capturing is None
    assert cupy.waited > 10e-3  # in front of each block, so that the host is ahead


def test_a_device_that_did_not_wait_for_the_host_is_told(pretended):
    cupy = pretended(is_late=True, can_capture=False)
    assert Gpu().time([cupy.work] * 7).host_bound


def test_what_the_device_is(pretended):
    pretended()
    about = Gpu().about()
    assert about["name"] == "pretended" and about["cache_bytes"] == 50
