"""What the README and the pages of docs/ show is what happens."""

import re
from pathlib import Path

import pytest

from tracec.build import PLANNING
from tracec.optimize import PIPELINE

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {"README": README, **{path.stem: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}}


def settled(text):
    """Without file names, line numbers and seconds, which depend on where and when the program runs."""
    return re.sub(r"\(\d+\.\d+ s(: .*?)?\)", "(N s)", re.sub(r"\w+\.py:\d+", "program.py:N", text))


@pytest.mark.parametrize("page", PAGES)
def test_python_examples_run_in_order_and_print_what_is_shown(page, tmp_path, monkeypatch, capsys):
    # From a file, as a reader would run them: the recorder shows source lines.
    program = tmp_path / "program.py"
    program.write_text("\n".join(re.findall(r"```python\n(.*?)```", PAGES[page], re.DOTALL)))
    monkeypatch.chdir(tmp_path)
    exec(compile(program.read_text(), str(program), "exec"), {"__name__": page})
    printed = settled(capsys.readouterr().out)
    for text in re.findall(r"```text\n(.*?)```", PAGES[page], re.DOTALL):
        assert settled(text) in printed


def test_pages_show_what_is_printed():
    shown = {page: text.count("```text\n") for page, text in PAGES.items()}
    assert shown == {"README": 1, "compile": 1, "gpu": 0, "inspect": 2, "pytorch": 0}


def test_links_lead_somewhere():
    for page, text in PAGES.items():
        folder = ROOT if page == "README" else ROOT / "docs"
        links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text)
        assert links
        for path, heading in links:
            target = folder / path if path else ROOT / f"docs/{page}.md"
            assert target.exists(), f"{page}: {path}"
            if heading:
                headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
                assert heading in [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]


def test_names_of_optimisations_and_variables():
    listed = re.search(r"leaves optimisations out.*?:(.*?)\.\n", PAGES["inspect"], re.DOTALL)
    assert re.findall(r"`(\w+)`", listed[1]) == [*PIPELINE.names, *PLANNING]
    source = "".join(path.read_text() for path in (ROOT / "tracec").rglob("*.py"))
    assert set(re.findall(r"^\| `(TRACEC_\w+)`", PAGES["inspect"], re.MULTILINE)) == set(
        re.findall(r"environ[^\n]*\"(TRACEC_[A-Z_]+)", source)
    )


def test_continuous_integration_runs_the_commands_shown():
    command = re.search(r"pip install -e ('\.\[test\]') && \.venv/bin/(python -m pytest.*)", README)
    assert command
    script = (ROOT / ".ci" / "run").read_text()
    assert command[1] in script
    assert command[2] in script


def test_folders_named_exist():
    table = README.split("## How it is built")[1].split("## Status")[0]
    folders = re.findall(r"`([a-z_/]+(?:/|\.py))`", table)
    missing = [name for name in folders if not ((ROOT / name).exists() or (ROOT / "tracec" / name).exists())]
    assert len(folders) > 10
    assert not missing
