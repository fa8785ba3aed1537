"""A program's whole way as one page: the user's lines, passes, kernels, memory, sources, and what belongs together."""

from __future__ import annotations

import linecache
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tracec import optimize
from tracec.build import Built
from tracec.codegen.render import render_template
from tracec.inspect.pictures import Picture, draw_memory, draw_steps
from tracec.inspect.profile import Profile, StepTime, name_of, sources_of
from tracec.inspect.work import work_of
from tracec.ir import text as ir_text
from tracec.ir.extent import plain
from tracec.ir.graph import Graph
from tracec.ir.kernel import Kernel
from tracec.ir.launch import CudaLaunch
from tracec.ir.passes import PassRecord
from tracec.ir.plan import Launch, LibraryCall, Plan, bodies_of
from tracec.ir.plan_text import format_bytes
from tracec.ir.source import Source

#: Lines around one that was recorded that are shown with it.
_AROUND = 2
#: What is told of a step.
_MEASURED = "step", "what", "share", "µs", "moves", "GB/s", "GFLOP/s"
_UNMEASURED = "step", "what", "moves", "operations"
#: Refused fusions that are shown, those that would have saved most first.
_REFUSALS = 60


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the user's program.

    Attributes:
        number: Its number.
        text: What it says.
        key: What marks all that belongs to it; empty where nothing does.
        heat: The part of the time that kernels take which the line is in, up to 1; None where nothing was measured.
        about: The same in words.
    """

    number: int
    text: str
    key: str = ""
    heat: float | None = None
    about: str = ""


@dataclass(frozen=True, slots=True)
class File:
    """Lines of a file, in parts that follow each other."""

    name: str
    parts: tuple[tuple[Line, ...], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A step of the plan.

    Attributes:
        key: What marks all that belongs to it.
        lines: The keys of its lines, with spaces between them.
        cells: What is shown of it: number, name, share, time, bytes, rates.
        heat: The part of the time of all steps, up to 1.
        more: The key of texts about it; steps that run one kernel share them.
    """

    key: str
    lines: str
    cells: tuple[str, ...]
    heat: float
    more: str


@dataclass(frozen=True, slots=True)
class PassRow:
    """What a pass did: its name, what it is for, nodes before and after, milliseconds, operators that came and went."""

    name: str
    doc: str
    before: int
    after: int
    milliseconds: str
    changes: str


@dataclass(frozen=True, slots=True)
class Page:
    """What the page shows; see ``templates/report/page.j2``.

    Attributes:
        title: What it is about.
        facts: Names and what is to be said.
        files: The user's lines.
        head: Titles of the rows' cells.
        rows: The steps.
        texts: Key → title → text: operators, loops and source of kernels.
        steps: What feeds what.
        memory: The arena.
        passes: What they did.
        nodes: For each node of the graph that they left the key of its line, and its text.
        refused: Fusions that were refused: what, producer, consumer, how often, what they would have saved, why.
        more_refused: How many there are besides.
        stages: Name → text.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    files: tuple[File, ...]
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    texts: Mapping[str, Mapping[str, str]]
    steps: Picture
    memory: Picture
    passes: tuple[PassRow, ...]
    nodes: tuple[tuple[str, str], ...]
    refused: tuple[tuple[str, ...], ...]
    more_refused: int
    stages: Mapping[str, str]


def report(built: Built, arch: str, measured: Profile | None = None) -> str:
    """The page, as HTML that needs nothing else.

    Args:
        built: The program.
        arch: GPU architecture.
        measured: The times of its steps, if they were measured.
    """
    plan = built.plan
    keys = _keys(plan, built)
    refused = _refused(plan)
    docs = {p.name: p.doc for p in optimize.PIPELINE}
    marks = [" ".join(keys[s] for s in sources_of(plan, step) if s in keys) for step in plan.steps]
    page = Page(
        f"{built.graph.name} on {arch if built.target == 'cuda' else built.target}",
        tuple(_facts(built, measured)),
        tuple(_files(keys, plan, measured)),
        _MEASURED if measured else _UNMEASURED,
        tuple(_rows(built, marks, measured)),
        {_more(plan, number): _texts(built, number) for number in range(len(plan.steps))},
        draw_steps(plan, marks, _heats(plan, measured)),
        draw_memory(plan, keys),
        tuple(_pass(r, docs.get(r.name, "")) for r in built.records),
        tuple(_nodes(built.graph, keys)),
        tuple(refused[:_REFUSALS]),
        len(refused[_REFUSALS:]),
        dict(_stages(built)),
    )
    return render_template("report/page.j2", p=page)


def _keys(plan: Plan, built: Built) -> dict[Source, str]:
    """What marks all that belongs to a line."""
    found: dict[Source, str] = {}
    lines = [s for step in plan.steps for s in sources_of(plan, step)]
    lines += [n.source for n in built.graph.nodes if n.source is not None]
    for line in sorted(set(lines), key=lambda s: (s.file, s.line)):
        found[line] = f"l{len(found)}"
    return found


def _facts(built: Built, measured: Profile | None) -> Iterable[tuple[str, str]]:
    plan = built.plan
    if measured is not None:
        yield "a call", f"{1e6 * measured.seconds:,.1f} µs"
        yield "its steps, one by one", f"{1e6 * measured.in_steps:,.1f} µs"
    recorded = len(built.records[0].before.nodes) if built.records else len(built.graph.nodes)
    yield "nodes", f"{recorded} recorded, {len(built.graph.nodes)} optimised"
    launches = sum(len(s.args) for s in plan.steps if isinstance(s, Launch))
    yield "kernels", f"{len(plan.every_kernel)}, run {launches} times in {len(plan.steps)} steps"
    less = [f"{k.name} ({k.less})" for k in built.program.kernels if k.less] if built.target == "cuda" else []
    if less:
        yield "written so that no registers are spilled", ", ".join(less)
    yield "memory moved by steps", format_bytes(sum(work_of(plan, s).moved for s in plan.steps))
    memory = plan.memory
    sizes = (memory.peak_bytes, memory.unplanned_bytes, memory.lower_bound_bytes)
    peak, unplanned, least = (format_bytes(plain(n)) for n in sizes)
    yield "intermediate values", f"{peak}; a buffer each would take {unplanned}, no arena less than {least}"


def _refused(plan: Plan) -> list[tuple[str, ...]]:
    """Fusions that were refused, those that are told alike as one, what would have saved most first."""
    count: Counter[tuple[str, ...]] = Counter()
    saved: Counter[tuple[str, ...]] = Counter()
    for r in plan.refused:
        count[r.what, r.a, r.b, r.reason] += 1
        saved[r.what, r.a, r.b, r.reason] += plain(r.bytes_saved)
    return [
        (what, a, b, f"{count[what, a, b, reason]}×", format_bytes(nbytes), reason)
        for (what, a, b, reason), nbytes in saved.most_common()
    ]


def _heats(plan: Plan, measured: Profile | None) -> list[float]:
    """For each step its part of the time, or of the bytes where nothing was measured; the largest is 1."""
    found = [0.0] * len(plan.steps)
    if measured is None:
        found = [float(work_of(plan, s).moved) for s in plan.steps]
    else:
        for time in measured.steps:
            for n in time.steps:
                found[n] = time.seconds
    most = max(found, default=0.0) or 1.0
    return [heat / most for heat in found]


def _files(keys: Mapping[Source, str], plan: Plan, measured: Profile | None) -> Iterable[File]:
    """The lines that were recorded, with some around them."""
    count = Counter(s for step in plan.steps for s in sources_of(plan, step))
    for name in dict.fromkeys(s.file for s in keys):
        known = {s.line: s for s in keys if s.file == name}
        text = linecache.getlines(name)
        shown = sorted({n for line in known for n in range(line - _AROUND, line + _AROUND + 1) if 1 <= n <= len(text)})
        parts: list[list[Line]] = []
        for n in shown or sorted(known):
            line = Line(n, text[n - 1].rstrip("\n") if n <= len(text) else "")
            if n in known:
                line = _marked(line, keys[known[n]], known[n], count[known[n]], measured)
            if parts and parts[-1][-1].number == n - 1:
                parts[-1].append(line)
            else:
                parts.append([line])
        yield File(os.path.relpath(name) if name.startswith(os.getcwd()) else name, tuple(map(tuple, parts)))


def _marked(line: Line, key: str, source: Source, steps: int, measured: Profile | None) -> Line:
    """A line that was recorded, with what is known of it."""
    about = f"in {steps} steps" if steps != 1 else "in 1 step"
    if measured is None:
        return replace(line, key=key, about=about)
    heat = sum(measured.share(s) for s in measured.steps if source in s.sources)
    return replace(line, key=key, heat=heat, about=f"{about}, which take {100 * heat:.1f}% of the time")


def _rows(built: Built, marks: Sequence[str], measured: Profile | None) -> Iterable[Row]:
    plan = built.plan
    times = {n: s for s in measured.steps for n in s.steps} if measured else {}
    for number, step in enumerate(plan.steps):
        work, time = work_of(plan, step), times.get(number)
        cells = [str(number), name_of(plan, step)]
        if measured is None or time is None:
            cells += [format_bytes(work.moved), f"{work.operations:,}"]
        elif number == time.steps[0]:
            cells += _measured(time, measured)
        else:
            cells += ["", f"in {time.steps[0]}", "", "", ""]
        heat = measured.share(time) if measured and time else 0.0
        yield Row(f"s{number}", marks[number], tuple(cells), heat, _more(plan, number))


def _measured(time: StepTime, measured: Profile) -> list[str]:
    return [
        f"{100 * measured.share(time):.1f}%", f"{1e6 * time.seconds:,.1f}", format_bytes(time.work.moved),
        f"{1e-9 * time.bandwidth:.3g}", f"{1e-9 * time.speed:.3g}",
    ]  # fmt: skip


def _more(plan: Plan, number: int) -> str:
    """The key of the texts about a step."""
    step = plan.steps[number]
    return f"k{step.kernel}" if isinstance(step, Launch) else f"b{number}"


def _texts(built: Built, number: int) -> dict[str, str]:
    """What a step is made of, as titles and texts."""
    plan, step = built.plan, built.plan.steps[number]
    if not isinstance(step, Launch):
        inner = [] if isinstance(step, LibraryCall) else [str(body) for body in bodies_of(step)]
        return {f"plan {k}": text for k, text in enumerate(inner)}
    kernel = plan.kernels[step.kernel]
    found = {"operators": ", ".join(kernel.ops)}
    found["loops"] = str(kernel)
    found["source"] = _source(built, kernel, number)
    return found


def _source(built: Built, kernel: Kernel, number: int) -> str:
    """The text that a step's kernel is compiled from."""
    if built.target == "cpu":
        text: str = built.program.kernels[kernel.name]
        return text
    launched = (s.kernel for s in built.program.steps if isinstance(s, CudaLaunch) and number in s.steps)
    return "\n".join(built.program.kernels[k].source for k in dict.fromkeys(launched))


def _nodes(graph: Graph, keys: Mapping[Source, str]) -> Iterable[tuple[str, str]]:
    """The graph's nodes as text, each with the key of its line."""
    for node, text in zip(
        graph.nodes, ir_text.body_lines(graph, ir_text.number(graph)), strict=False
    ):  # behind them is a return
        yield keys[node.source] if node.source is not None else "", text.strip()


def _stages(built: Built) -> Iterable[tuple[str, str]]:
    """Each stage's text; a pass that changed nothing has none."""
    idle = {r.name for r in built.records if r.before is r.after}
    for name, text in built.stages.items():
        yield name, "the same graph" if name in idle else text


def _pass(record: PassRecord, doc: str) -> PassRow:
    before, after = (Counter(n.op.name for n in g.nodes) for g in (record.before, record.after))
    rules = Counter(n.origin.removeprefix("rule ") for n in record.after.nodes if n.origin.startswith("rule "))
    rules -= Counter(n.origin.removeprefix("rule ") for n in record.before.nodes if n.origin.startswith("rule "))
    changes = [f"{op} −{count}" for op, count in (before - after).most_common()]
    changes += [f"{op} +{count}" for op, count in (after - before).most_common()]
    changes += [f"by {rule}: {count}" for rule, count in rules.most_common()]
    counts = len(record.before.nodes), len(record.after.nodes)
    return PassRow(record.name, doc, *counts, f"{record.milliseconds:.1f}", ", ".join(changes))
