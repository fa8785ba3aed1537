"""The emulator bites: take one barrier, bound or term away from a selection: it says so, or the places are wrong."""

from __future__ import annotations

import numpy as np
import pytest

from tests.codegen.emulated import needs_compiler
from tests.codegen.test_cuda_select import Case, plan_of, short
from tests.codegen.test_cuda_sort_mistakes import Mistake, missed
from tracec.ir import dtype as dt
from tracec.ir.operator import OPERATORS

__all__ = ["short"]

#: A row of a block of 256: some ranks of keys that are close to each other, of keys that are all alike, and one rank.
CLOSE = Case(dt.float32, (2, 1100), 1, 0, 275, False, "close")
ALIKE = Case(dt.float32, (2, 1100), 1, 0, 275, False, "all alike")
MIXED = Case(dt.float32, (2, 1500), 1, 0, 370)
MOSTLY = Case(dt.float32, (2, 1300), 1, 0, 275, False, "mostly close")
MORE = Case(dt.float32, (2, 1300), 1, 0, 275, False, "mostly alike")
APART = Case(dt.float32, (2, 1100), 1, 550, 1, False, "apart")
ONE_ALIKE = Case(dt.float32, (2, 1100), 1, 550, 1, False, "all alike")

ROWS = (
    ("counts at the start", CLOSE, "counts[value] = 0;", ";"),
    ("barrier before counts", CLOSE, "left -= digit;\n    __syncthreads();", None),
    ("barrier of counts", CLOSE, "1u);\n    }\n    __syncthreads();", None),
    ("keys with other digits", MOSTLY, "if (rest >> digit == known)", ""),
    ("digits that follow", CLOSE, "known << digit | found[0]", "found[0]"),
    (
        "rank among counts",
        Case(dt.uint8, (1, 4200), 1, 525, 1, False, "in turn"),
        "rank - before >= counts[value]",
        "rank - before > counts[value]",
    ),
    ("lower values", APART, "before += sum_before(own, warp_sums);", "sum_before(own, warp_sums);"),
    ("barrier of what is found", APART, "found[2] = counts[value];\n  }\n  __syncthreads();", None),
    ("elements below", APART, "below = found[1];", ""),
    ("start of slots", CLOSE, "if (thread == 0) held = 0;", ""),
    ("barrier of slots", CLOSE, "held = 0;\n  __syncthreads();", None),
    ("lower elements", CLOSE, "rest < known || (", "("),
    ("elements with the digits", CLOSE, "(all && rest == known)", "false"),
    ("slots", CLOSE, "atomicAdd(&held, 1u)", "held++"),
    ("barrier of what is held", CLOSE, "some_places[slot] = at;\n    }\n  }\n  __syncthreads();", None),
    ("equal elements so far", ALIKE, "seen + sum_before(alike, warp_sums)", "sum_before(alike, warp_sums)"),
    ("equal elements before", ALIKE, "sum_before(alike, warp_sums)", "0"),
    ("equal elements behind others", MORE, "slot = below + number", "slot = number"),
    (
        "end of a row of equals",
        Case(dt.float32, (1, 1100), 1, 1099, 1, True, "all alike"),
        "at < 1100u && key_at",
        "key_at",
    ),
    ("which of equals", ONE_ALIKE, "number == stop - 1", "number == 0"),
    ("one of equals", ONE_ALIKE, "all ? 550u - below : 0", "550u - below"),
    ("padding", CLOSE, "some_keys[at] = (unsigned)~0ULL;", "some_keys[at] = 0;"),
    ("barrier of padding", CLOSE, "~0u;\n  }\n  __syncthreads();", None),
    ("barrier of a step", CLOSE, "        }\n      }\n      __syncthreads();", None),
    ("last step", CLOSE, "apart > 0; apart /= 2", "apart > 1; apart /= 2"),
    ("runs read backwards", CLOSE, "? low ^ span - 1 : low", "? low + apart : low"),
    ("order of equals", MIXED, "(other == one && other_place < place)", "false"),
    ("place of a rank", APART, "all ? 550u - below : 0", "0"),
)

#: The same of rows of several blocks.
SOME = Case(dt.float32, (2, 2500), 1, 0, 601)
NEAR = Case(dt.float32, (2, 2500), 1, 0, 601, False, "close")
ONE = Case(dt.float32, (2, 2500), 1, 1250, 1, False, "apart")
ALL = Case(dt.float32, (2, 2500), 1, 0, 601, False, "all alike")

PARTS = (
    ("clearing of a board", SOME, "board[at] = 0", "board[at] += 0"),
    ("chunks", SOME, "start = chunk * 1024u", "start = 0"),
    ("end of a chunk", SOME, "at < stop; at", "at < 2500u; at"),
    ("counts at the start", SOME, "counts[value] = 0;", ";"),
    ("barrier before counts", SOME, "state[2] = below;\n  }\n  __syncthreads();", None),
    ("barrier of counts", SOME, "1u);\n  }\n  __syncthreads();", None),
    ("row of counts", SOME, "(0 * 2u + row) * 2048u + value", "(0 * 2u) * 2048u + value"),
    ("keys with other digits", SOME, "if (rest >> 11 == known)", ""),
    ("digits that are known", NEAR, "state[0] = (unsigned)known;", "state[0] = 0;"),
    ("elements below", ONE, "state[2] = below;", "state[2] = 0;"),
    ("digits that follow", NEAR, "known << 11 | found[0]", "found[0]"),
    ("turn", Case(dt.float32, (1, 16000), 1, 0, 9), "taken = atomicAdd(board, 1u);", "taken = blockIdx.x;"),
    ("barrier of a turn", SOME, "atomicAdd(board, 1u);\n  __syncthreads();", None),
    ("end of a row", SOME, "if (at >= 2500u) continue;", ""),
    ("barrier of tallies", SOME, "tallies[1][warp] = alike_count;\n  }\n  __syncthreads();", None),
    ("warps before", ALL, "tallies[thread][other] = count;", "tallies[thread][other] = 0;"),
    ("post of a tile", SOME, "post_count(posts + piece * 2, count, piece == 0);", ""),
    ("tiles before", ALL, "= counted_before(posts, piece, 2)", "= 0"),
    ("sum of a post", NEAR, "before + count, true)", "count, true)"),
    ("row of a post", SOME, "+ row * 3u * 2 + thread", "+ thread"),
    ("barrier of the tiles before", SOME, "tallied[thread] = before;\n  }\n  __syncthreads();", None),
    ("equals behind lower ones", SOME, "below + alike_before", "alike_before"),
    ("lower ones of a warp", NEAR, "lower_before += __popc(lowers);", ""),
    ("equals of a warp", ALL, "alike_before += __popc(alikes);", ""),
    ("equals of lanes before", ALL, "__popc(alikes & left)", "0"),
    ("lower ones of lanes before", NEAR, "__popc(lowers & left)", "0"),
    ("last rank", ALL, "&& slot <= 600u", ""),
    ("which of equals", ONE, "== 1250u) {", "== 1249u) {"),
    ("places of what is kept", SOME, "place = kept_places[row * 601u + sorted]", "place = sorted"),
)


def made(case: Case, old: str, new: str | None) -> Mistake:
    x = case.values()
    return Mistake(plan_of([case]), x, OPERATORS["ranked"].eager(np, x, **case.params), old, new)


@needs_compiler
def test_mistakes_in_rows_of_a_block_are_found() -> None:
    assert not missed({what: made(*rest) for what, *rest in ROWS})


@needs_compiler
@pytest.mark.usefixtures("short")
def test_mistakes_in_rows_of_several_blocks_are_found() -> None:
    assert not missed({what: made(*rest) for what, *rest in PARTS})
