"""Who may import whom: the rules that CONTRIBUTING.md states, read off the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: Stage → what of tracec it may import. `record` calls `transform` for ``backward()``.
STAGES = {
    "ir": {"ir", "errors"},
    "ops": {"ir", "ops", "errors"},
    "record": {"ir", "ops", "record", "transform", "errors"},
    "transform": {"ir", "ops", "transform", "errors"},
    "optimize": {"ir", "ops", "optimize", "errors"},
    "plan": {"ir", "ops", "plan", "errors"},
    "codegen": {"ir", "codegen", "errors"},
    "runtime": {"ir", "runtime", "errors"},
}

#: The public library knows no stage after `record`.
LIBRARY = ("functions", "nn", "optim", "utils", "autograd", "func", "vision")
LATER = {"optimize", "plan", "codegen", "runtime"}
#: Modules beside the folders that it may import; the others tie the stages together.
BESIDE = {"__init__", "autograd", "errors", "version"}

#: Package of others → where it may be imported.
ELSEWHERE = {
    "cupy": ("record/backend.py", "runtime/"),
    "cupy_backends": ("runtime/",),
    "jinja2": ("codegen/",),
    "networkx": ("optimize/", "plan/"),
    "PIL": ("vision/pillow.py",),
    "scipy": ("quasirandom.py",),
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / "tracec").rglob("*.py")):
        yield path.relative_to(ROOT / "tracec").as_posix(), ast.parse(path.read_text())


SOURCES = dict(modules())


def imported(path: str, tree: ast.Module) -> Iterator[tuple[int, list[str]]]:
    """Line and dotted name of every import, those inside of functions and by name included."""
    here = ["tracec", *path.removesuffix(".py").split("/")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.split(".")
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level] if node.level else []
            module = base + (node.module.split(".") if node.module else [])
            for alias in node.names:
                yield node.lineno, [*module, alias.name]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            if isinstance(node.args[0], ast.Constant):
                yield node.lineno, str(node.args[0].value).split(".")


def of_tracec(names: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """Module or folder of those names → where it imports which part of tracec."""
    for path, tree in SOURCES.items():
        part = path.split("/")[0].removesuffix(".py")
        if part in names:
            for line, name in imported(path, tree):
                if name[0] == "tracec":
                    yield part, name[1] if len(name) > 1 else "", f"{path}:{line} imports {'.'.join(name)}"


def test_there_is_source_to_look_at():
    parts = {path.split("/")[0].removesuffix(".py") for path in SOURCES}
    assert {*STAGES, *LIBRARY, *BESIDE, "build", "compile"} <= parts


def test_a_stage_imports_no_other_stage():
    assert [where for stage, part, where in of_tracec(tuple(STAGES)) if part not in STAGES[stage]] == []


def test_the_library_knows_no_stage_after_record():
    later = LATER | {path.removesuffix(".py") for path in SOURCES if "/" not in path} - BESIDE
    assert [where for _, part, where in of_tracec(LIBRARY) if part in later] == []


def test_images_are_written_with_what_users_have():
    inside = {*STAGES, "functions", "serialization", "specialisations"}
    assert [where for _, part, where in of_tracec(("vision",)) if part in inside] == []


@pytest.mark.parametrize("package", ELSEWHERE)
def test_packages_are_imported_only_where_they_serve(package):
    found = [
        f"{path}:{line}"
        for path, tree in SOURCES.items()
        for line, name in imported(path, tree)
        if name[0] == package and not path.startswith(ELSEWHERE[package])
    ]
    assert found == []


def test_the_rules_see_imports_of_every_form():
    source = "import cupy.cuda\ndef f():\n    from ..plan import memory\n    importlib.import_module('scipy.linalg')"
    found = [".".join(name) for _, name in imported("ir/node.py", ast.parse(source))]
    assert sorted(found) == ["cupy.cuda", "scipy.linalg", "tracec.plan.memory"]


def test_importing_tracec_stays_light():
    code = "import sys, tracec; print(*sorted({m.split('.')[0] for m in sys.modules} & set(sys.argv[1:])))"
    heavy = [*ELSEWHERE, "matplotlib", "sklearn", "torch", "jax"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_importing_it_imports_no_compiler():
    """Stages behind `record`, and the kernels that they hand on, wait until something is compiled."""
    later = (
        "tracec.ir.kernel",
        "tracec.ir.plan",
        "tracec.ir.text",
        "tracec.plan",
        "tracec.codegen",
        "tracec.optimize",
        "tracec.compiled",
        "tracec.specialiser",
    )
    code = "import sys, tracec; print(*(m for m in sys.argv[1:] if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, *later], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
