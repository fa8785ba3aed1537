"""The measurements as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.report import number

Row = dict[str, Any]

#: What a kernel may move, next to the bytes that have to move, before that is told.
MOST_TRAFFIC = 1.1


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned text, the first column to the left."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def error(row: Row) -> str:
    """An error with one digit."""
    return f"{row['error']:.0e}" if "error" in row else "–"


def marks(row: Row, cache_bytes: int) -> str:
    """What a reader has to know about a figure."""
    found = []
    if row.get("host_bound"):
        found.append("host-bound")
    if row.get("compiled") is False:
        found.append("not compiled")
    if row.get("bytes", cache_bytes) < cache_bytes:
        found.append("below L2")
    if row.get("traffic", 0) > MOST_TRAFFIC:
        found.append(f"moves {row['traffic']:.2f} times its bytes")
    if row.get("spread", 0) > 0.1:
        found.append(f"±{row['spread']:.0%}")
    return ", ".join(found)


def compare_with_copies(result: dict[str, Any]) -> None:
    """Set what part of a copy's bandwidth each case reaches: of the fastest one of about its traffic.

    A driver copies some sizes at two thirds of the speed of others next to them, which would flatter.
    """
    copies = {int(n): rate for n, rate in result["copies"].items()}
    for row in result["memory"]:
        near = [rate for n, rate in copies.items() if "bytes" in row and row["bytes"] <= 2 * n <= 4 * row["bytes"]]
        if near:
            row["of_copy"] = row["gb_per_s"] / max(near)


def memory_table(rows: Sequence[Row], peers: Sequence[str], cache_bytes: int) -> str:
    """Bandwidth of each case beside a copy of the same traffic."""
    lines = [["kernel", "µs", "GB/s", "of copy", *(f"{p} µs" for p in peers), "error", "notes"]]
    for row in rows:
        name = f"{row['family']}: {row['title']}"
        if "failed" in row:
            lines.append([name, "failed", *[""] * (3 + len(peers)), row["failed"].split("\n")[0][:60]])
            continue
        others = [number(1e6 * row["peers"].get(p, {}).get("seconds", 0) or None) for p in peers]
        figures = [number(1e6 * row["seconds"]), f"{row['gb_per_s']:.0f}", f"{row['of_copy']:.0%}"]
        lines.append([name, *figures, *others, error(row), marks(row, cache_bytes)])
    return columns(lines)


def product_table(rows: Sequence[Row]) -> str:
    """Arithmetic of each product, by the generated kernel and by what tracec chooses, beside the library's."""
    lines = [["product, TFLOP/s", "generated", "of library", "error", "chosen", "of library", "error", "library"]]
    for row in rows:
        if "failed" in row:
            lines.append([row["title"], "failed", *[""] * 5, row["failed"].split("\n")[0][:60]])
            continue
        cells = [row["title"]]
        for found in (row["generated"], row["chosen"]):
            share = f"{found['of_blas']:.0%}" if "of_blas" in found else "–"
            cells += [number(found["tflops"]), share, error(found)]
        lines.append([*cells, number(row["blas"].get("tflops"))])
    return columns(lines)


def launch_table(rows: Sequence[Row]) -> str:
    """Host cost of calls."""
    lines = [["calls of small kernels", "host µs", "µs from call to call", "host µs a kernel"]]
    for row in rows:
        if "failed" in row:
            lines.append([row["title"], "failed", row["failed"].split("\n")[0][:60], ""])
            continue
        each = number(row["host_us"] / row["kernels"])
        lines.append([row["title"], number(row["host_us"]), number(row["call_us"]), each])
    return columns(lines)


def text(result: dict[str, Any]) -> str:
    """All tables of a run."""
    about = result["device"]
    versions = ", ".join(f"{k} {v}" for k, v in result["versions"].items())
    parts = [f"{result['date']}, {about['name']}; {versions}", *result.get("notes", ())]
    if result["memory"]:
        largest = max(result["copies"].values(), default=0.0)
        parts.append(
            f"fastest copy {largest:.0f} GB/s, bytes read and written; of copy: against the fastest one of about "
            "the same traffic"
        )
        parts.append(memory_table(result["memory"], result["peers"], about.get("cache_bytes", 0)))
    if result["products"]:
        parts.append(product_table(result["products"]))
    if result["launches"]:
        parts.append(launch_table(result["launches"]))
    if result["left_out"]:
        parts.append(f"left out, for want of time: {', '.join(result['left_out'])}")
    return "\n\n".join(parts)
