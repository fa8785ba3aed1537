"""Positions that are kept in range, and such as are known to be."""

from __future__ import annotations

import pytest

from tracec.ir.graph import Graph
from tracec.ir.parser import parse
from tracec.record.addresses import within_memory


def graph(position: str) -> Graph:
    """Reads four elements at what the last line gives."""
    last = 2 + len(position.splitlines())
    return parse(f"""
        graph(%0: i64[3], %1: f32[4], %2: u8[3]) {{
          {position}
          %{last + 1}: f32[3] = index(%1, %{last}, axes=(0,))
          return %{last + 1}
        }}""")


KNOWN = {
    "clamped": """%3: i64[3] = maximum(%0, i64(0))
                  %4: i64[3] = minimum(%3, i64(3))""",
    "counted from the end": """%3: i64[3] = maximum(%0, i64(-4))
                  %4: i64[3] = minimum(%3, i64(3))
                  %5: bool[3] = lt(%4, i64(0))
                  %6: i64[3] = add(%4, i64(4))
                  %7: i64[3] = where(%5, %6, %4)""",
    "counted": "%3: i64[3] = iota(shape=(3,), axis=0, dtype=i64)",
    "a bool": """%3: bool[3] = lt(%0, i64(7))
                 %4: i64[3] = cast(%3, dtype=i64)""",
    "a remainder": "%3: i64[3] = remainder(%0, i64(4))",
    "a quotient": """%3: i64[3] = cast(%2, dtype=i64)
                 %4: i64[3] = floor_div(%3, i64(64))""",
}
UNKNOWN = {
    "clamped too far": """%3: i64[3] = maximum(%0, i64(0))
                  %4: i64[3] = minimum(%3, i64(4))""",
    "counted from another end": """%3: i64[3] = maximum(%0, i64(-5))
                  %4: i64[3] = minimum(%3, i64(3))
                  %5: bool[3] = lt(%4, i64(0))
                  %6: i64[3] = add(%4, i64(4))
                  %7: i64[3] = where(%5, %6, %4)""",
    "a sum that is one too large": """%3: i64[3] = iota(shape=(3,), axis=0, dtype=i64)
                  %4: i64[3] = add(%3, i64(2))""",
    "a remainder of a negative one": "%3: i64[3] = remainder(%0, i64(-4))",
    "a byte": "%3: u8[3] = reshape(%2, shape=(3,))",
    "a sum that wraps around": """%3: u8[3] = add(%2, u8(1))
                  %4: i64[3] = cast(%3, dtype=i64)
                  %5: i64[3] = minimum(%4, i64(4))""",
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_positions_are_left_alone(name: str) -> None:
    before = graph(KNOWN[name])
    assert within_memory(before) is before


@pytest.mark.parametrize("name", UNKNOWN)
def test_others_are_kept_in_memory(name: str) -> None:
    once = within_memory(graph(UNKNOWN[name]))
    assert str(once).count("kept in memory") == 2
    assert within_memory(once) is once


def test_what_is_written_to(golden) -> None:
    before = parse("""
        graph(%0: f32[4, 5], %1: f32[3], %2: i64[3], %3: i64[3]) {
          %4: f32[4, 5] = index_put(%0, %1, %2, %3, axes=(0, 1), add=True)
          return %4
        }""")
    assert str(within_memory(before)) == golden
