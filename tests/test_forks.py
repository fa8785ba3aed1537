"""Children that are forked while their parent's threads compile, record or hold locks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def run_alone(code: str, tmp_path: Path, seconds: float = 60) -> None:
    """Run a program in a process of its own, whose descendants are ended with it where it takes too long."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary), "TRACEC_CACHE_DIR": str(tmp_path / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _COMMON + code],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        text, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        text, _ = process.communicate()
        pytest.fail(f"it hangs; so far it said {text!r}")
    assert process.returncode == 0, text
    assert list(temporary.iterdir()) == []
    for status in Path("/proc").glob("[0-9]*/environ"):
        try:
            found = str(temporary).encode() in status.read_bytes()
        except OSError:
            continue
        assert not found, f"left behind: {(status.parent / 'cmdline').read_text()}"


_COMMON = """
import os, sys, threading, time
import tracec

def forked(run):
    pid = os.fork()
    if not pid:
        status = 1
        try:
            run()
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    return pid

def has_ended_well(pid):
    assert os.waitpid(pid, 0)[1] == 0
"""


def test_a_fork_while_a_compiler_is_started(tmp_path):
    """It gave the child the pipe by which the parent's compiler is heard of: each waited for the other."""
    run_alone(
        """
from tracec.runtime.compiler import find_compiler
find_compiler()
starting, has_forked = threading.Event(), threading.Event()

def hook(event, args):
    if event == "subprocess.Popen" and threading.current_thread().name == "tracec-compile":
        starting.set()
        has_forked.wait(0.5)  # no fork comes now, as long as none can

sys.addaudithook(hook)
c = tracec.compile(lambda x: x * 2.125, mode="async")
x = tracec.ones(3)
c(x)

def both():
    c.wait()
    assert c(x).tolist() == [2.125] * 3 and c.explain().specialisations[0].compiled

assert starting.wait(20)
pid = forked(both)
has_forked.set()
has_ended_well(pid)
both()
try:
    os.waitpid(-1, os.WNOHANG)
    raise SystemExit("a process is left")
except ChildProcessError:
    pass
""",
        tmp_path,
    )


FORKS = """
for k in range({forks}):
    c = tracec.compile(eval(f"lambda x: x * {{2.125 + k}}"), mode="async")
    x = tracec.ones(3)

    def both():
        c.wait()
        assert c(x).tolist() == [2.125 + k] * 3 and c.explain().specialisations[0].compiled

    c(x)
    time.sleep(0.0015 * (37 * k % 40))
    has_ended_well(forked(both))
    both()
"""


def test_forks_at_any_time(tmp_path):
    run_alone(FORKS.format(forks=12), tmp_path)


@pytest.mark.slow
def test_many_forks_at_any_time(tmp_path):
    run_alone(FORKS.format(forks=100), tmp_path, 200)


def test_a_child_that_ends_leaves_compilers_and_files_of_its_parent(tmp_path):
    slow = tmp_path / "cc"
    run_alone(
        f"""
from tracec.runtime import compiler, cpu
found = compiler.find_compiler()
with open({str(slow)!r}, "w") as file:
    file.write("#!/bin/sh\\ntouch {tmp_path}/started\\nsleep 1\\nexec " + found.command[0] + ' "$@"\\n')
os.chmod({str(slow)!r}, 0o755)
slow = compiler.Compiler(({str(slow)!r},), found.flags, "slow")
cpu.find_compiler = lambda: slow
c = tracec.compile(lambda x: x * 2.625, mode="async")
x = tracec.ones(3)
c(x)
while not os.path.exists("{tmp_path}/started"):
    time.sleep(0.01)
pid = os.fork()
if not pid:
    sys.exit()
has_ended_well(pid)
c.wait()
assert c.explain().specialisations[0].compiled and c(x).tolist() == [2.625] * 3
""",
        tmp_path,
    )


def test_a_fork_while_another_thread_records(tmp_path):
    """The child records what it calls, and sees what was there before numbers were watched and text was noted."""
    run_alone(
        """
import builtins
stdout, show = sys.stdout, builtins.print
rate = {"now": 0.5}
inside, has_forked = threading.Event(), threading.Event()

stops = {"now": False}

@tracec.compile
def f(x):
    y = x * rate["now"]
    if stops["now"]:
        inside.set()
        has_forked.wait(30)
    return y

x = tracec.ones(3)
for k in range(3):
    rate["now"] = 0.5 + k
    f(x)

def work():
    f(x)

rate["now"], stops["now"] = 7.5, True
thread = threading.Thread(target=work)
thread.start()
assert inside.wait(20)

def child():
    assert type(rate["now"]) is float and rate["now"] == 7.5, type(rate["now"])
    assert sys.stdout is stdout and builtins.print is show
    g = tracec.compile(lambda x: x * 3)
    for _ in range(2):
        assert g(x).tolist() == [3.0] * 3
    assert g.explain().specialisations[0].hits == 1
    g.warmup(tracec.ones(5))
    rate["now"], stops["now"] = 8.5, False
    assert f(x).tolist() == [8.5] * 3

pid = forked(child)
has_forked.set()
has_ended_well(pid)
thread.join()
""",
        tmp_path,
    )


def test_a_child_goes_on_with_loops_that_ran_on_threads_of_its_parent(tmp_path):
    """It set the number of threads back to all of them, and waited for those that were its parent's."""
    run_alone(
        """
import signal
from tracec.runtime import threads
from tracec.settings import limited_threads
f = tracec.compile(lambda x: (x * 2 + 1).sin().sum())
x = tracec.rand(1 << 20)
expected = [float(f(x)) for _ in range(3)][0]

def work():
    signal.alarm(20)  # each number of threads is tried
    tracec.set_num_threads(3)
    assert [float(f(x)) for _ in range(2)] == [expected] * 2
    with limited_threads(2):
        assert float(f(x)) == expected
    threads.Asked.count = None
    assert [float(f(x)) for _ in range(20)] == [expected] * 20
    other = threading.Thread(target=f, args=(x,))
    other.start()
    other.join()

has_ended_well(forked(lambda: has_ended_well(forked(work)) or work()))
work()
""",
        tmp_path,
    )


def test_memory_of_results_is_each_process_its_own(tmp_path):
    """What a child wrote was in its parent's tensors: programs' outputs lay in memory that they shared."""
    run_alone(
        """
f = tracec.compile(lambda x: x * 2)
w = tracec.ones(1 << 16, requires_grad=True)
optimizer = tracec.optim.SGD([w], lr=1.0)

@tracec.compile
def step():
    optimizer.zero_grad()
    (w * w).sum().backward()
    optimizer.step()

y = f(f(w.detach()))
step()
before = w.detach().clone()

def child():
    y.fill_(7.0)
    z = f(w.detach())
    step()

has_ended_well(forked(child))
assert (y == 4).all() and (w == before).all()
""",
        tmp_path,
    )


def test_a_fork_while_another_thread_imports(tmp_path):
    """A module is imported when one of its names is asked for; a child waited for ever for the thread that did so."""
    run_alone(
        """
import signal
importing, has_forked = threading.Event(), threading.Event()

class Slow:
    def find_spec(self, name, *_):
        if name == "tracec.functions.spectral":
            importing.set()
            has_forked.wait(0.5)  # no fork comes now, as long as none can

sys.meta_path.insert(0, Slow())
assert "tracec.functions.spectral" not in sys.modules
thread = threading.Thread(target=lambda: tracec.stft)
thread.start()
assert importing.wait(20)

def child():
    signal.alarm(20)
    assert tracec.stft.__name__ == "stft"

pid = forked(child)
has_forked.set()
has_ended_well(pid)
thread.join()
""",
        tmp_path,
    )


def test_forks_while_other_threads_multiply(tmp_path):
    """BLAS ended its threads at a fork, which one that was at work did not see: the fork never came back."""
    run_alone(
        """
import signal
signal.alarm(40)
a, image, kernel = tracec.ones(300, 300), tracec.ones(8, 8, 32, 32), tracec.ones(16, 8, 3, 3)
done = []

def multiply():
    while not done:
        a @ a
        tracec.nn.functional.conv2d(image, kernel)

threads = [threading.Thread(target=multiply) for _ in range(4)]
for t in threads:
    t.start()

def child():
    signal.alarm(20)
    assert float((a @ a)[0, 0]) == 300

try:
    for _ in range(10):
        time.sleep(0.01)
        has_ended_well(forked(child))
finally:
    done.append(True)
for t in threads:
    t.join()
""",
        tmp_path,
    )


def test_cuda_in_a_child_of_a_process_that_had_started_it(tmp_path):
    """It would say that it could not be initialised, from wherever it was used first."""
    run_alone(
        _COMMON
        + """
import types
from tracec.errors import DeviceError

runtime = types.SimpleNamespace(getDeviceCount=lambda: 1)
sys.modules["cupy"] = types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime), ones=lambda *a, **k: None)
assert not tracec.cuda.is_initialized()

def refused():
    try:
        tracec.ones(3, device="cuda")
    except DeviceError as error:
        assert "forked after it had been started" in str(error) and "'spawn'" in str(error)
    else:
        raise AssertionError
    assert not tracec.cuda.is_available()
    assert tracec.ones(3).sum().item() == 3

def reached():
    assert tracec.cuda.is_available()

has_ended_well(forked(reached))  # nobody has asked yet
assert tracec.cuda.is_available()
has_ended_well(forked(refused))
assert tracec.cuda.is_available()
""",
        tmp_path,
    )
