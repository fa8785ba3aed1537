"""A fault as a program of its own, to be run and to be reported: a graph, its inputs, and a script that compares."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tracec.inspect.fault import Fault, Settings, sliced
from tracec.inspect.rounding import expected, on_host
from tracec.ir.parser import parse_graph

_SCRIPT = '''\
"""{title}

Runs the graph beside it compiled and by eager rules, and says where its last output differs; exits with 1 while it
does. Written by tracec.compile(..., verify=True).
"""

from pathlib import Path

from tracec.inspect.reproduce import reproduce

raise SystemExit(reproduce(Path(__file__).parent))
'''


def write_script(fault: Fault, settings: Settings, title: str) -> Path:
    """Write a fault into a new folder: of ``TRACEC_DUMP``, where that is set, else of temporary files.

    Args:
        fault: The fault.
        settings: How its graph was built.
        title: What is wrong, in a line.

    Returns:
        The script, ``reproduce.py``; beside it lie ``graph.txt``, ``inputs.npz`` and ``settings.json``.
    """
    fault = sliced(fault)
    parent = os.environ.get("TRACEC_DUMP")
    if parent:
        Path(parent).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="tracec-verify-", dir=parent or None))
    (folder / "graph.txt").write_text(f"{fault.graph}\n")
    # As bytes: NumPy's files know nothing of 16-bit floats other than its own.
    arrays: dict[str, Any] = {
        f"input{k}": np.frombuffer(on_host(a).tobytes(), np.uint8) for k, a in enumerate(fault.arrays)
    }
    np.savez(folder / "inputs.npz", **arrays)
    how = {
        "target": settings.target, "arch": settings.arch, "disabled": sorted(settings.disabled),
        "launcher": settings.launcher, "donate": {str(o): i for o, i in fault.donate.items()},
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(how, indent=2))
    script = folder / "reproduce.py"
    script.write_text(_SCRIPT.format(title=title))
    return script


def reproduce(folder: Path) -> int:
    """Compare what is built of a graph with its eager rules, and print where its last output differs.

    Args:
        folder: Where `write_script` has put the graph, its inputs and the settings.

    Returns:
        1 where it differs, else 0.
    """
    graph = parse_graph((folder / "graph.txt").read_text())
    how = json.loads((folder / "settings.json").read_text())
    settings = Settings(how["target"], how["arch"], frozenset(how["disabled"]), None, how["launcher"])
    donate = {int(o): i for o, i in how["donate"].items()}
    with np.load(folder / "inputs.npz") as saved:
        arrays = [
            np.frombuffer(saved[f"input{k}"].tobytes(), n.dtype.numpy).reshape(n.shape).copy()
            for k, n in enumerate(graph.inputs)
        ]
    if settings.target == "cuda" and settings.launcher == "gpu":
        from tracec.record.backend import to_device

        arrays = [to_device(a, n.device) for a, n in zip(arrays, graph.inputs, strict=True)]
    (value,) = expected(graph, graph.outputs[-1:], arrays)
    found = on_host(settings.run(settings.built(graph, donate), arrays)[-1])
    wrong = value.wrong(found)
    print(f"{graph.outputs[-1].op.name}: {graph.outputs[-1].type}, made at {graph.outputs[-1].source}")
    if wrong is None:
        print(f"compiled: {found.dtype}{list(found.shape)}, eager: {value.value.dtype}{list(value.value.shape)}")
        return 1
    for place in np.argwhere(wrong)[:8]:
        at = tuple(map(int, place))
        print(f"  {list(at)}: compiled {found[at]!r}, eager {on_host(value.value)[at]!r}")
    print(f"{int(wrong.sum())} of {wrong.size} elements differ")
    return int(wrong.any())
