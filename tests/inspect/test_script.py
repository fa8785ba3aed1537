"""``python -m tracec``: scripts run as they would by themselves, and pages are written whatever becomes of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.inspect.pages import read
from tracec import build
from tracec.__main__ import main
from tracec.inspect.watched import watching
from tracec.record import backend

SCRIPT = """
import sys
import tracec
from helper import halved

@tracec.compile
def f(x):
    return halved(x).sum()

for n in range(4):
    f(tracec.ones(8))
print(__name__, sys.argv[1:])
"""


@pytest.fixture
def script(tmp_path):
    (tmp_path / "helper.py").write_text("def halved(x):\n    return x / 2\n")
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture(autouse=True)
def _forget():
    yield
    sys.modules.pop("helper", None)


def report(path, *arguments, options=()):
    return main(["report", "--folder", str(path.parent / "pages"), *options, str(path), *arguments])


def pages(path):
    return sorted(p.name for p in (path.parent / "pages").iterdir())


def test_each_program_has_a_page(script, capsys):
    assert report(script, "--steps", "3") == 0
    shown = capsys.readouterr()
    assert shown.out == "__main__ ['--steps', '3']\n"
    assert re.search(r"tracec: 1 programs in .*index\.html", shown.err)
    assert pages(script) == ["00-f.html", "index.html"]
    index, page = (read((script.parent / "pages" / name).read_text()) for name in ("index.html", "00-f.html"))
    assert [a["href"] for a in index.having("href")] == ["00-f.html"]
    assert "return x / 2" in page.text
    assert "helper.py" in page.text


def test_calls_are_counted(script):
    report(script, options=["--no-profile"])
    text = (script.parent / "pages" / "index.html").read_text()
    assert "<td>3</td>" in text  # the first of four runs eagerly


def test_the_way_it_ends_is_the_scripts(script, capsys):
    for end, status in (("sys.exit(3)", 3), ("sys.exit()", 0), ("sys.exit('no')", 1), ("1 / 0", 1)):
        script.write_text(f"{SCRIPT}\n{end}\n")
        assert report(script, options=["--no-profile"]) == status
        assert "00-f.html" in pages(script)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_nothing_is_left_behind(script):
    argv, path = sys.argv[:], sys.path[:]
    report(script, "x", options=["--no-profile"])
    assert (sys.argv, sys.path) == (argv, path)
    assert not build.WATCHERS


def test_a_script_that_is_not_there(tmp_path, capsys):
    assert report(tmp_path / "none.py") == 2
    assert "there is no script" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made(script, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["report", "--folder", str(tmp_path / "file" / "pages"), str(script)]) == 2
    assert "cannot write to" in capsys.readouterr().err


def test_a_script_that_compiles_nothing(tmp_path, capsys):
    path = tmp_path / "plain.py"
    path.write_text("print(1 + 1)\n")
    assert report(path) == 0
    assert "nothing was compiled" in capsys.readouterr().err


def test_programs_that_are_watched_give_what_they_gave():
    import tracec

    f = tracec.compile(lambda x: (x * 2, x.sum()))
    with watching() as programs:
        found = [f(tracec.arange(4.0) + n) for n in range(3)]
    assert [t.tolist() for t in found[2]] == [[4, 6, 8, 10], 14]
    assert [p.calls for p in programs] == [2]
    assert [a.tolist() for a in programs[0].arrays] == [[1, 2, 3, 4]]


def test_what_the_machine_has(capsys):
    assert main(["env"]) == 0
    shown = capsys.readouterr().out
    assert all(f"{name} " in shown for name in ("tracec", "python", "numpy", "c compiler", "gpu", "cache"))


def test_why_there_is_no_gpu(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(backend, "_REACHED", {})
    assert main(["env"]) == 0
    (told,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("gpu "))
    assert "none: device cuda:0: CuPy is not installed" in told and "tracec[cuda12]" in told


def test_the_cache_is_told_and_cleared(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path / "cache"))
    assert main(["cache", "clear"]) == 0
    assert "0 entries" in capsys.readouterr().out


def test_it_is_a_command():
    done = subprocess.run([sys.executable, "-m", "tracec", "--help"], capture_output=True, text=True, check=True)
    assert "report" in done.stdout
    assert Path("tracec-report").exists() is False
