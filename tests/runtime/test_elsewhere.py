"""Systems that lack what Linux has: nothing but compiling is lost there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import builtins, os, platform, sys
import numpy, networkx, jinja2, ml_dtypes, subprocess, multiprocessing.connection, tempfile, threading

system = sys.argv[1]
for name in sys.argv[2:]:
    if hasattr(os, name):
        delattr(os, name)
real = builtins.__import__

def without(name, *more, **named):
    if name in ("fcntl", "resource", "pwd", "grp") and system == "win32":
        raise ImportError(name)
    return real(name, *more, **named)

builtins.__import__ = without
sys.platform, platform.system = system, lambda: {"win32": "Windows", "darwin": "Darwin"}[system]

import tracec
from tracec import nn

model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
optimizer = tracec.optim.Adam(model.parameters())
x, y = tracec.ones(2, 4), tracec.tensor([0, 2])

@tracec.compile
def step(x, y):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss

losses = [step(x, y).item() for _ in range(4)]
assert losses == sorted(losses, reverse=True), losses
tracec.save(model.state_dict(), "model.pt")
model.load_state_dict(tracec.load("model.pt"))
try:
    tracec.compile(lambda t: t + 1, target="cuda", launcher="emulator")(x)
except tracec.errors.CompilerMissing as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("system", "lacks"),
    [
        ("darwin", ["pidfd_open", "sched_getaffinity"]),
        ("win32", ["fork", "getuid", "killpg", "pidfd_open", "register_at_fork", "sched_getaffinity", "setsid"]),
    ],
)
def test_training_and_files(system: str, lacks: list[str], tmp_path: Path) -> None:
    environment = {**os.environ, "TRACEC_CACHE_DIR": str(tmp_path / "cache"), "PATH": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, system, *lacks], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    assert "no C compiler (gcc, cc, clang) is on the path" in found.stderr
    assert "emulator: switches stacks on Linux on x86_64 and aarch64, this is" in found.stdout
