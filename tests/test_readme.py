"""What the README shows is what happens."""

import re
from pathlib import Path

from tracec.build import PLANNING
from tracec.optimize import PIPELINE

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def without_places(text):
    """Without file names and line numbers, which depend on where the program is."""
    return re.sub(r"\w+\.py:\d+", "program.py:N", text)


def test_python_examples_run_in_order_and_print_what_is_shown(tmp_path, monkeypatch, capsys):
    # From a file, as a reader would run them: the recorder shows source lines.
    program = tmp_path / "program.py"
    program.write_text("\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL)))
    monkeypatch.chdir(tmp_path)
    exec(compile(program.read_text(), str(program), "exec"), {"__name__": "readme"})
    printed = without_places(capsys.readouterr().out)
    shown = re.findall(r"```text\n(.*?)```", README, re.DOTALL)
    assert len(shown) == 2
    for text in shown:
        assert without_places(text) in printed


def test_names_of_optimisations_and_variables():
    listed = re.search(r"leaves optimisations out.*?:(.*?)\.\n", README, re.DOTALL)
    assert re.findall(r"`(\w+)`", listed[1]) == [*PIPELINE.names, *PLANNING]
    source = "".join(path.read_text() for path in (ROOT / "tracec").rglob("*.py"))
    assert set(re.findall(r"^\| `(TRACEC_\w+)`", README, re.MULTILINE)) == set(
        re.findall(r"environ[^\n]*\"(TRACEC_[A-Z_]+)", source)
    )


def test_continuous_integration_runs_the_commands_shown():
    command = re.search(r"pip install -e ('\.\[test\]') && \.venv/bin/(python -m pytest.*)", README)
    assert command
    script = (ROOT / ".ci" / "run").read_text()
    assert command[1] in script
    assert command[2] in script


def test_folders_named_exist():
    table = README.split("## Folders")[1].split("## Status")[0]
    folders = re.findall(r"`([a-z_/]+(?:/|\.py))`", table)
    missing = [name for name in folders if not ((ROOT / name).exists() or (ROOT / "tracec" / name).exists())]
    assert len(folders) > 10
    assert not missing
