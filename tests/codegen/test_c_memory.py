"""Generated C stays inside of the memory that it asks for."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

PROGRAM = """
import tracec
x, w = tracec.randn(4, 256, 1, 1).double(), tracec.randn(64, 256, 3, 3).double()
f = tracec.compile(lambda x: tracec.nn.functional.conv2d(x, w, padding=1))
for _ in range(4):
    assert (f(x) - tracec.nn.functional.conv2d(x, w, padding=1)).abs().max() < 1e-12
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_the_tiles_of_a_split_convolution_have_room():
    """Its second tile begins at a whole line of the cache, which the room was not for: the heap was written over."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
