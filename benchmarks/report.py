"""Tables of a run.

``python -m benchmarks.report benchmarks/results/FILE.json`` prints them; with ``--update`` they also replace the
tables in ``benchmarks/README.md``. Of several checks of a GPU (`benchmarks.gpu_check`) each part is told of the last
file that has it.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

from benchmarks.models import MODELS
from benchmarks.timing import ratio

README = Path(__file__).parent / "README.md"
# Where in the README the tables of a device stand.
MARKS = {
    "cpu": ("<!-- tables: begin -->", "<!-- tables: end -->"),
    "cuda": ("<!-- gpu tables: begin -->", "<!-- gpu tables: end -->"),
    "models": ("<!-- model tables: begin -->", "<!-- model tables: end -->"),
}
SUBJECT = "tracec"
# What the last column and the geometric mean compare with: the better of these, workload by workload.
RIVALS = ("torch.compile", "jax")
# For models: where their time goes to products, torch is often as fast as what it compiles.
RIVALS_OF_MODELS = ("torch", "torch.compile")

Result = dict[str, Any]


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a markdown table, first column left and the others right aligned."""
    lines = [header, ["---", *("---:" for _ in header[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float | None) -> str:
    """Return a number with three digits that count, or a dash."""
    if value is None:
        return "–"
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def engines_of(result: Result) -> list[str]:
    """Return the engines of a run in the order they were given."""
    names: dict[str, None] = {}
    for row in result["workloads"].values():
        names |= dict.fromkeys(row["engines"])
    return list(names)


def cell(row: Result, engine: str) -> str:
    """Return an engine's median, marked where its result was wrong."""
    found = row["engines"].get(engine, {})
    if "failed" in found:
        return "failed"
    text = number(found.get("median_ms"))
    return text if found.get("correct", True) else f"{text} (wrong)"


def rivals_of(result: Result) -> tuple[str, ...]:
    """Return what a run's last column compares with."""
    return RIVALS_OF_MODELS if of_models(result) else RIVALS


def advantage(row: Result, names: tuple[str, ...] = RIVALS) -> float | None:
    """Return how many times faster tracec is than the best rival, or None if either is missing."""
    engines = row["engines"]
    rivals = [engines[name] for name in names if "median_ms" in engines.get(name, {})]
    subject = engines.get(SUBJECT, {})
    if not rivals or "median_ms" not in subject:
        return None
    best = min(rivals, key=lambda rival: rival["median_ms"])
    return ratio(best["rounds_ms"], subject["rounds_ms"])


def time_table(result: Result) -> str:
    """Return the medians of every workload on every engine."""
    engines = engines_of(result)
    header = ["workload", *(f"{name} ms" for name in engines), "floor ms", f"{SUBJECT} against the better rival"]
    rows = []
    for row in result["workloads"].values():
        times = advantage(row, rivals_of(result))
        last = "–" if times is None else f"{times:.2f}x"
        rows.append([row["title"], *(cell(row, name) for name in engines), number(row.get("floor_ms")), last])
    return table(header, rows)


def error_table(result: Result) -> str:
    """Return the errors against float64, relative to the largest value of the output."""
    engines = engines_of(result)
    rows = []
    for row in result["workloads"].values():
        errors = [row["engines"].get(name, {}).get("error") for name in engines]
        rows.append([row["title"], *("–" if error is None else f"{error:.0e}" for error in errors)])
    return table(["workload", *engines], rows)


def start_table(result: Result) -> str:
    """Return the seconds of first calls, in processes of their own: empty cache / filled cache."""
    engines = list(result["set_up"])
    rows = [["one-time set-up (x + 1)", *(start_cell(result["set_up"][name]) for name in engines)]]
    for row in result["workloads"].values():
        rows.append([row["title"], *(start_cell(row["engines"].get(name, {})) for name in engines)])
    return table(["workload", *(f"{name} s" for name in engines)], rows)


def start_cell(found: Result) -> str:
    """Return ``first / cached``."""
    return f"{number(found['first_call_s'])} / {number(found['cached_call_s'])}" if "first_call_s" in found else "–"


def here_table(result: Result) -> str:
    """Return the seconds of first calls in the measuring process, which has paid an engine's one-time costs."""
    engines = engines_of(result)
    rows = []
    for row in result["workloads"].values():
        rows.append([row["title"], *(number(row["engines"].get(name, {}).get("here_s")) for name in engines)])
    return table(["workload", *(f"{name} s" for name in engines)], rows) + stages_of_here(result)


def stages_of_here(result: Result) -> str:
    """Return what tracec's first calls took their time for, a line each."""
    lines = []
    for row in result["workloads"].values():
        stages = row["engines"].get("tracec", {}).get("here_stages_s", {})
        told = ", ".join(f"{name} {number(seconds)}" for name, seconds in stages.items() if seconds >= 0.005)
        lines += [f"- {row['title']}: {told}"] if told else []
    return "\n\nOf which tracec spends seconds in:\n\n" + "\n".join(lines) if lines else ""


def place(about: Result) -> str:
    """Return the processor that a run was made on, and what fed it."""
    if about.get("device") != "cuda":
        return f"{about['cpu']}, {about['threads']} threads for each engine"
    return f"{about['gpu']}, driver {about['driver']}, fed by {about['threads']} cores of {about['cpu']}"


def markdown(result: Result) -> str:
    """Return the tables of a run with the machine it was made on."""
    about = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    parts = [
        f"{about['date']}, {place(about)}, copy {about['copy_gb_per_s']} GB/s (read + write); {versions}.",
        f"Milliseconds of one call, medians of {result['rounds']} alternating rounds; floor: inputs read and outputs "
        "written once at the speed of a copy.",
        time_table(result),
        "Largest error against float64, relative to the largest value (train steps: of the first losses).",
        error_table(result),
    ]
    if result["set_up"]:
        parts += ["Seconds of the first call in a fresh process, cache empty / filled.", start_table(result)]
    elif about.get("device") == "cuda" or of_models(result):
        parts += ["Seconds of the first call, in the process of the measurement.", here_table(result)]
    if result.get("left_out"):
        parts.append(f"Not measured, for want of time: {', '.join(result['left_out'])}.")
    return "\n\n".join(parts)


def summary(result: Result) -> str:
    """Return the line that closes a run: the geometric mean over the forward workloads, or over the models."""
    rows = result["workloads"].values()
    kind, told = ("train", "models") if of_models(result) else ("forward", "forward workloads")
    rivals = rivals_of(result)
    ratios = [times for row in rows if row["kind"] == kind and (times := advantage(row, rivals))]
    if not ratios:
        return f"geometric mean: nothing to compare (it needs tracec and one of {', '.join(rivals)})"
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    least = min(ratios)
    return (
        f"geometric mean over {len(ratios)} {told}: tracec is {mean:.2f}x as fast as the better of "
        f"{' and '.join(rivals)} (least {least:.2f}x)"
    )


def whole(result: Result) -> str:
    """Return all that is told of a file: of a run, or of `benchmarks.gpu_check`, whose parts are told one by one."""
    if "parts" not in result:
        return f"{markdown(result)}\n\n{summary(result)}"
    from benchmarks.kernels.table import text

    told = [f"{result['date']}, driver {result['driver']}. Parts of the check:"]
    told.append("\n".join(f"- {name}: {row['line']}" for name, row in result["parts"].items()))
    if result.get("profiles"):
        told.append(profile_line(result["profiles"]))
    if result.get("kernels_run"):
        told.append(f"```text\n{text(result['kernels_run'])}\n```")
    if result.get("workloads_run"):
        told.append(whole(result["workloads_run"]))
    return "\n\n".join(told)


def profile_line(profiles: Result) -> str:
    """Return what calls of the compiled train steps take, as `benchmarks.profiles` has timed them."""
    told = (f"{row['title'].removeprefix('train ')}: {number(row['microseconds'] / 1e3)}" for row in profiles.values())
    return f"Milliseconds of a compiled train step by itself: {'; '.join(told)}."


def joined(results: list[Result]) -> list[Result]:
    """Return what is told of several checks, from the first to the last: each without what a later one has, too."""
    found: list[Result] = []
    known: set[str] = set()
    for result in reversed(results):
        parts = {name: row for name, row in result["parts"].items() if name not in known}
        known |= set(parts)
        runs = {"kernels": "kernels_run", "workloads": "workloads_run", "profiles": "profiles"}
        own = {key: result[key] for part, key in runs.items() if part in parts and key in result}
        found.append({key: result[key] for key in ("date", "driver", "versions")} | own | {"parts": parts})
    return found


def of_models(result: Result) -> bool:
    """Say whether a run is one of well-known models."""
    return "workloads" in result and not {w.name for w in MODELS}.isdisjoint(result["workloads"])


def marks_of(result: Result) -> str:
    """Return where the README has the tables of a run."""
    if of_models(result):
        return "models"
    return str(result["machine"]["device"]) if "machine" in result else "cuda"


def wrong(result: Result) -> list[str]:
    """Return the workloads on which tracec failed or left the tolerance."""
    found = {name: row["engines"].get(SUBJECT, {"correct": True}) for name, row in result["workloads"].items()}
    return [name for name, row in found.items() if not row.get("correct", False)]


def main() -> None:
    """Print a kept run's tables, and put them into the README if asked to."""
    parser = argparse.ArgumentParser(description="Print the tables of a run.")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--update", action="store_true", help=f"replace the tables in {README.name}")
    args = parser.parse_args()
    results = [json.loads(file.read_text()) for file in args.files]
    result = results[-1]
    text = whole(result) if len(results) == 1 else "\n\n".join(map(whole, joined(results)))
    print(text)
    if args.update:
        begin, end = MARKS[marks_of(result)]
        before, rest = README.read_text().split(begin)
        README.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.split(end)[1]}")


if __name__ == "__main__":
    main()
