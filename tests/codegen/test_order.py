"""Sources do not go by the order of sets, another one in each process: caches are asked for what a source's text is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

#: Seeds by which the names that a row keeps have other orders in a set.
SEEDS = 1, 3

PROGRAM = """
import hashlib, sys
import tracec
from benchmarks.kernels.families import programs

target, part = sys.argv[1:]
arch = {"arch": "sm_90"} if target == "cuda" else {}
for name, (function, operands) in programs(tracec, tracec.nn.functional, "cpu").items():
    if part in name:
        built = tracec.compile(function).lower(*operands, target=target, **arch).built
        print(name, hashlib.sha256(str(built.program).encode()).hexdigest())
"""


@pytest.mark.parametrize(
    ("target", "part"),
    [
        ("cuda", "clusters"),
        pytest.param("cuda", "", marks=pytest.mark.slow),
        pytest.param("cpu", "", marks=pytest.mark.slow),
    ],
)
def test_sources_are_the_same_in_all_processes(target: str, part: str) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, target, part], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONHASHSEED": str(seed), "TRACEC_KEEP_PLANS": "0"},
        )
        for seed in SEEDS
    ]  # fmt: skip
    one, other = (set(process.communicate(timeout=300)[0].splitlines()) for process in started)
    assert len(one) > 1 and one == other
