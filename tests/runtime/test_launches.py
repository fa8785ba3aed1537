"""Launches queued by C: what the driver is given."""

from __future__ import annotations

import ctypes

import pytest

from tests.codegen.emulated import needs_compiler
from tracec.runtime import launcher
from tracec.runtime.launcher import Batch, Launch, Refused

pytestmark = needs_compiler

_U, _P = ctypes.c_uint, ctypes.c_void_p
PLAIN = ctypes.CFUNCTYPE(ctypes.c_int, _P, *[_U] * 7, _P, _P, _P)
OVERLAPPING = ctypes.CFUNCTYPE(ctypes.c_int, _P, _P, _P, _P)


class Config(ctypes.Structure):
    """``CUlaunchConfig``, as cuda.h of CUDA 13 declares it."""

    _fields_ = [
        ("grid", _U * 3), ("block", _U * 3), ("shared", _U), ("stream", _P), ("attributes", _P), ("count", _U),
    ]  # fmt: skip


class Attribute(ctypes.Structure):
    """``CUlaunchAttribute``: an identifier, padding to eight bytes, a value of 64."""

    _fields_ = [("id", ctypes.c_int), ("padding", ctypes.c_char * 4), ("value", ctypes.c_char * 64)]


@pytest.fixture
def driver(monkeypatch):
    """What launches were queued with; an answer for each is taken from ``answers``."""
    seen, answers = [], []

    def answer():
        return answers.pop(0) if answers else 0

    @PLAIN
    def plain(function, gx, gy, gz, bx, by, bz, shared, stream, parameters, extra):
        seen.append(("plain", function, (gx, gy, gz), (bx, by, bz), shared, stream, parameters, extra))
        return answer()

    @OVERLAPPING
    def overlapping(config, function, parameters, extra):
        how = Config.from_address(config)
        one = Attribute.from_address(how.attributes)
        told = how.count, one.id, int.from_bytes(one.value.ljust(4, b"\0")[:4], "little")
        seen.append((told, function, tuple(how.grid), tuple(how.block), how.shared, how.stream, parameters, extra))
        return answer()

    places = {"cuLaunchKernel": plain, "cuLaunchKernelEx": overlapping}
    monkeypatch.setattr(launcher, "driver_address", lambda name="cuLaunchKernel": ctypes.cast(places[name], _P).value)
    yield seen, answers
    assert places


def launches():
    values = (_P * 1)(5)
    return [Launch(40 + k, values, (7 + k, 2, 1), (32, 4, 1), 100 * k) for k in range(3)]


@pytest.mark.parametrize("overlaps", [False, True])
def test_what_the_driver_is_given(driver, overlaps):
    seen, _ = driver
    made = launches()
    Batch(made, launcher.queue_function(), overlaps)(11)
    how = (1, 6, 1) if overlaps else "plain"  # programmatic stream serialisation is attribute 6
    assert seen == [
        (how, x.function, x.grid, x.block, x.shared_bytes, 11, ctypes.addressof(x.parameters), None) for x in made
    ]


@pytest.mark.parametrize("overlaps", [False, True])
def test_which_one_was_refused(driver, overlaps):
    seen, answers = driver
    answers += [0, 700]
    with pytest.raises(Refused) as error:
        Batch(launches(), launcher.queue_function(), overlaps)(0)
    assert (error.value.number, error.value.status, len(seen)) == (1, 700, 2)
