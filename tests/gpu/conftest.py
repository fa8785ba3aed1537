"""A kernel that breaks the device is told with the test that ran it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

import tracec
from tests.conftest import REHEARSAL
from tracec.errors import TracecError


@pytest.fixture(autouse=True)
def _device_still_works() -> Iterator[None]:
    """Wait for the device behind every test: what a kernel did wrong shows there, and then not in a later test.

    After an illegal access nothing works any more in the process. One of several workers ends itself: the test is
    reported as the one that crashed it, and another worker goes on with the rest.
    """
    yield
    if REHEARSAL:
        return
    try:
        tracec.cuda.synchronize()
    except TracecError:
        raise
    except Exception as error:
        if "PYTEST_XDIST_WORKER" not in os.environ:
            pytest.exit(f"the device is broken: {error}", returncode=3)
        print(f"the device is broken: {error}", file=sys.stderr, flush=True)
        os._exit(3)
