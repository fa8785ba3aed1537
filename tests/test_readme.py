"""What the README shows is what happens."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_python_examples_run_in_order(tmp_path, monkeypatch):
    # From a file, as a reader would run them: the recorder shows source lines.
    program = tmp_path / "readme.py"
    program.write_text("\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL)))
    monkeypatch.chdir(tmp_path)
    exec(compile(program.read_text(), str(program), "exec"), {"__name__": "readme"})


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
