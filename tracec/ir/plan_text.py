"""Plans as text, for readers: where every value lives, what runs, what was not fused and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# By module: plan.py imports this file for its __str__, and either may be imported first.
from tracec.ir import plan as p
from tracec.ir.text import align_comments, format_value

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def format_plan(plan: p.Plan) -> str:
    """The plan as text; its kernels by name and shape, their bodies print by themselves."""
    names = _names(plan)
    sections = [
        ("memory", _memory(plan.memory)),
        ("values", align_comments((_value(names[i], v), _about(v)) for i, v in enumerate(plan.values))),
        ("kernels", [f"{k.name}: {k.shape}({', '.join(k.ops)})" for k in plan.kernels]),
        ("steps", align_comments(_steps(plan, names))),
        ("slices", align_comments((_slices(s), str(s.source or "")) for s in plan.sliced)),
        ("refused", [str(r) for r in plan.refused]),
    ]
    inputs, outputs = (", ".join(names[i] for i in ids) for ids in (plan.inputs, plan.outputs))
    lines = [f"plan({inputs}) -> ({outputs}) {{"]
    for title, rows in sections:
        if rows:
            lines += [f"  {title}", *(f"    {row}" for row in rows)]
    return "\n".join([*lines, "}"])


def format_bytes(count: int) -> str:
    """``1.5 KiB``; whole bytes below a kibibyte."""
    size, unit = float(count), 0
    while size >= 1024 and unit + 1 < len(_UNITS):
        size, unit = size / 1024, unit + 1
    return f"{count} bytes" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def _names(plan: p.Plan) -> list[str]:
    """Each value's name; the position is added where two values share one."""
    names = [v.name for v in plan.values]
    return [name if names.count(name) == 1 else f"{name}.{i}" for i, name in enumerate(names)]


def _memory(memory: p.Memory) -> list[str]:
    return [
        f"peak        {format_bytes(memory.peak_bytes)}",
        f"unplanned   {format_bytes(memory.unplanned_bytes)}",
        f"lower bound {format_bytes(memory.lower_bound_bytes)}",
    ]


def _slices(sliced: p.Sliced) -> str:
    names = ", ".join(sliced.ops[:6]) + (", …" if len(sliced.ops) > 6 else "")
    each, every = format_bytes(sliced.nbytes // sliced.runs), format_bytes(sliced.nbytes)
    return f"{names}: {sliced.runs} of {each} each, in place of {every}"


def _value(name: str, value: p.Value) -> str:
    match value.place:
        case "arena":
            place = f"arena +{value.offset}, {format_bytes(value.type.nbytes)}"
        case "input" | "output":
            place = f"{value.place} {value.index}"
        case "part":
            place = f"+{value.offset} of value {value.index}"
        case _:
            place = value.place
    return f"{name}: {value.type} {place}"


def _about(value: p.Value) -> str:
    alive = f"steps {'-' if value.first < 0 else value.first}..{'-' if value.last < 0 else value.last}"
    return f"{alive} {value.source}" if value.source else alive


def _steps(plan: p.Plan, names: Sequence[str]) -> Iterable[tuple[str, str]]:
    for number, step in enumerate(plan.steps):
        if isinstance(step, p.LibraryCall):
            params = [f"{key}={format_value(value)}" for key, value in step.params]
            operands = [names[i] for i in step.inputs]
            for position, literal, _ in step.literals:
                operands.insert(position, format_value(literal))
            routine = f"eager {step.operator}" if step.routine == "eager" else step.routine
            call = f"{routine}({', '.join([*operands, *params])})"
            yield f"{number}: {names[step.output]} = {call}", str(step.source or "")
        elif isinstance(step, (p.Repeat, p.Branch, p.While)):
            yield _structure(number, step, names), str(step.source or "")
        else:
            yield from _launch(plan, number, step, names)


def _structure(number: int, step: p.Structure, names: Sequence[str]) -> str:
    operands = [
        "()" if i < 0 else f"{names[i]}+{offset}" if offset else names[i]
        for i, offset in zip(step.inputs, step.offsets, strict=True)
    ]
    head = f"{number}: {names[step.output]} = {step.operator}({', '.join(operands)})"
    match step:
        case p.Repeat():
            order = "backwards" if step.reverse else "forwards"
            head += f" {step.length} times {order}, carrying {step.carries}, over {step.scanned}"
            titles = [":"]
        case p.Branch():
            titles = [", if so:", "or else:"]
        case p.While():
            titles = [f", carrying {step.carries}, as long as:", "again:", "at the end:"]
    lines: list[str] = []
    for title, body in zip(titles, p.bodies_of(step), strict=True):
        lines.append(f"{head}{title}" if not lines else f"    {title}")
        lines += [f"      {line}" for line in str(body).split("\n")]
    return "\n".join(lines)


def _launch(plan: p.Plan, number: int, step: p.Launch, names: Sequence[str]) -> Iterable[tuple[str, str]]:
    kernel = plan.kernels[step.kernel]
    sources = ", ".join(map(str, kernel.sources))
    for run, args in enumerate(step.args):
        bound = list(zip(kernel.buffers, args, strict=True))
        writes = ", ".join(names[i] for b, i in bound if b.role != "in")
        reads = ", ".join(names[i] for b, i in bound if b.role != "out")
        size = f" over {step.sizes[run]}" if step.sizes else ""
        head = f"{number}:" if run == 0 else " " * len(f"{number}:")
        yield f"{head} {writes} = {kernel.name}({reads}){size}", sources if run == 0 else ""
