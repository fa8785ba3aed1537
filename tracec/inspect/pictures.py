"""Pictures of a plan, as coordinates: what feeds what, and which value lies where in the arena, and for how long."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tracec.inspect.profile import name_of
from tracec.ir.extent import plain
from tracec.ir.plan import Launch, LibraryCall, Plan, Step
from tracec.ir.plan_text import format_bytes
from tracec.ir.source import Source

#: Pixels: a step's box, and the room between boxes.
_BOX_WIDTH, _BOX_HEIGHT, _GAP_X, _GAP_Y = 150, 34, 18, 36
#: Pixels of the picture of the arena; steps are no narrower than this.
_MEMORY_WIDTH, _MEMORY_HEIGHT, _LEAST_STEP = 960, 320, 4
#: How often the boxes of each layer are put in the order of what they are connected with.
_SWEEPS = 4
#: What kernels' names begin with, which says little.
_PREFIX = re.compile(r"^k\d+_")
#: Letters of a name that fit into a box.
_LETTERS = 22


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle.

    Attributes:
        x, y, width, height: Where it is, in pixels.
        label: Text within it.
        about: What is told of it.
        step: The key of a step; empty where it is none.
        lines: The keys of the lines that it belongs to, with spaces between them.
        heat: How much it is to stand out, from 0 to 1.
    """

    x: float
    y: float
    width: float
    height: float
    label: str
    about: str
    step: str = ""
    lines: str = ""
    heat: float = 0.0


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes, and curves between them as paths of SVG with what they stand for."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    curves: tuple[tuple[str, str], ...] = ()


def edges_of(plan: Plan) -> dict[tuple[int, int], list[int]]:
    """(Step, later step that reads what it wrote) → the values."""
    found: dict[tuple[int, int], list[int]] = {}
    writer: dict[int, int] = {}
    for number, step in enumerate(plan.steps):
        reads, writes = _accesses(plan, step)
        for v in dict.fromkeys(map(plan.whole, reads)):
            if v in writer:
                found.setdefault((writer[v], number), []).append(v)
        writer.update((plan.whole(v), number) for v in writes)
    return found


def _accesses(plan: Plan, step: Step) -> tuple[list[int], list[int]]:
    """The values that a step reads, and those that it writes."""
    if isinstance(step, Launch):
        pairs = [
            (b.role, v) for args in step.args for b, v in zip(plan.kernels[step.kernel].buffers, args, strict=True)
        ]
        return [v for role, v in pairs if role != "out"], [v for role, v in pairs if role != "in"]
    if isinstance(step, LibraryCall):
        return list(step.inputs), [step.output]
    return list(step.reads), [step.output]


def draw_steps(plan: Plan, lines: Sequence[str], heats: Sequence[float]) -> Picture:
    """What feeds what: steps in layers, each below all that it reads from.

    Args:
        plan: The plan.
        lines: For each step the keys of its lines.
        heats: For each step how much it is to stand out.

    Source: Sugiyama, Tagawa, Toda, "Methods for Visual Understanding of Hierarchical System Structures", 1981
    (layers by longest paths, order within them by barycentres).
    """
    edges = edges_of(plan)
    place = _places(len(plan.steps), list(edges))
    widest = max((x for x, _ in place), default=0) + 1
    boxes = []
    for number, (step, (x, layer)) in enumerate(zip(plan.steps, place, strict=True)):
        name = name_of(plan, step)
        label = f"{number}: {_PREFIX.sub('', name)}"
        label = label if len(label) <= _LETTERS else label[: _LETTERS - 1] + "…"
        at = x * (_BOX_WIDTH + _GAP_X) + _GAP_X, layer * (_BOX_HEIGHT + _GAP_Y) + 8
        boxes.append(
            Box(*at, _BOX_WIDTH, _BOX_HEIGHT, label, f"{number}: {name}", f"s{number}", lines[number], heats[number])
        )
    height = max((layer for _, layer in place), default=0) + 1
    curves = tuple((_curve(boxes[a], boxes[b]), _told(plan, values)) for (a, b), values in edges.items())
    return Picture(int(widest * (_BOX_WIDTH + _GAP_X)) + _GAP_X, height * (_BOX_HEIGHT + _GAP_Y), tuple(boxes), curves)


def _places(count: int, edges: Sequence[tuple[int, int]]) -> list[tuple[float, int]]:
    """For each step its column and its layer."""
    before: list[list[int]] = [[] for _ in range(count)]
    behind: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges:
        before[b].append(a)
        behind[a].append(b)
    layer: list[int] = []
    for n in range(count):  # steps come behind what they read from
        layer.append(max((layer[a] + 1 for a in before[n]), default=0))
    rows: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for n in range(count):
        rows[layer[n]].append(n)
    column = {n: float(k) for row in rows for k, n in enumerate(row)}
    for sweep in range(_SWEEPS):
        near = before if sweep % 2 == 0 else behind
        for row in rows if sweep % 2 == 0 else reversed(rows):
            row.sort(key=lambda n: sum(column[m] for m in near[n]) / len(near[n]) if near[n] else column[n])
            column.update((n, float(k)) for k, n in enumerate(row))
    widest = max(map(len, rows), default=0)
    middle = {n: (widest - len(row)) / 2 for row in rows for n in row}
    return [(column[n] + middle[n], layer[n]) for n in range(count)]


def _curve(a: Box, b: Box) -> str:
    """A path from the bottom of one box to the top of another."""
    x0, y0, x1, y1 = a.x + a.width / 2, a.y + a.height, b.x + b.width / 2, b.y
    bend = max((y1 - y0) / 2, 12)
    return f"M{x0:.0f},{y0:.0f} C{x0:.0f},{y0 + bend:.0f} {x1:.0f},{y1 - bend:.0f} {x1:.0f},{y1:.0f}"


def _told(plan: Plan, values: Sequence[int]) -> str:
    return "\n".join(_value(plan, v) for v in values)


def _value(plan: Plan, v: int) -> str:
    value = plan.values[v]
    made = f", made at {value.source}: {value.source.text}" if value.source is not None else ""
    return f"{value.name}: {value.type}, {format_bytes(plain(value.type.nbytes))}{made}"


def draw_memory(plan: Plan, keys: Mapping[Source, str]) -> Picture:
    """Which value lies where in the arena, from the step that writes it first to the one that reads it last.

    Args:
        plan: The plan.
        keys: What marks all that belongs to a line.
    """
    peak = plain(plan.memory.peak_bytes)
    values = [(k, v) for k, v in enumerate(plan.values) if v.place == "arena" and plain(v.type.nbytes)]
    steps = max(len(plan.steps), 1)
    width = max(_MEMORY_WIDTH / steps, _LEAST_STEP)
    boxes = []
    for k, v in values:
        first, last = max(v.first, 0), max(v.last, v.first, 0)
        scale = _MEMORY_HEIGHT / max(peak, 1)
        size, offset = plain(v.type.nbytes) * scale, plain(v.offset) * scale
        about = f"{_value(plan, k)}\nat byte {plain(v.offset)} from step {first} to {last}"
        lines = keys.get(v.source, "") if v.source is not None else ""
        box = first * width, _MEMORY_HEIGHT - offset - size, (last - first + 1) * width, size
        boxes.append(Box(*box, v.name if size > 11 and box[2] > 30 else "", about, lines=lines))
    return Picture(round(steps * width), _MEMORY_HEIGHT, tuple(boxes))
