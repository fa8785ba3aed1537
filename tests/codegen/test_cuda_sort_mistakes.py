"""The emulator bites: take one barrier, bound or term away from a sort, and it says so, or the places are wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest

from tests.codegen.emulated import needs_compiler
from tests.codegen.test_cuda_sort import Array, Case, crowded, expected, plan_of, values_of
from tracec.codegen.cuda import render
from tracec.errors import EmulatorError
from tracec.ir import dtype as dt
from tracec.ir.plan import Plan
from tracec.runtime.emulator import EmulatedPlan, compile_kernels
from tracec.runtime.emulator_launch import ORDERS

Mistakes = Mapping[str, tuple[Case, bool | None, str, str | None]]

#: Mistakes in a row's sort by a warp (300 elements), two (1,100) or four: what, in which case, old and new text; none
#: where a barrier is taken away.
ROWS: Mistakes = {
    name: ((dt.float32, (5, length), 1, False), many, old, new)
    for name, length, many, old, new in (
        ("step of a merge", 300, False, "(apart /= 2) > 0", "(apart /= 2) > 1"),
        ("runs read backwards", 300, False, "own[15 - e], span - 1", "own[e], span - 1"),
        ("length of a row", 300, False, "if (at >= 300u) continue;", ""),
        ("rows", 300, False, "if (row >= 5u) return;", ""),
        ("range of keys", 300, False, "(keys[e] - least) >> left", "keys[e] - least"),
        ("places of equal keys", 300, False, " << 9 | at;\n    }\n  }", " << 9;\n    }\n  }"),
        ("words of a warp", 300, False, "= own[e];\n    __syncwarp();", None),
        ("keys that fall", 300, False, "falls |= rest & ~(rest - 1);", ";"),
        ("marks of a warp", 300, False, "[thread] = falls;\n    __syncwarp();", None),
        ("before the first that falls", 300, False, "marked(0, start) && !marked(1, start)) --start", "false) --start"),
        ("behind the first that falls", 300, False, "marked(0, stop)) ++stop", "false) ++stop"),
        ("whose turn it is", 300, False, "if (marked(1, start)) continue;", ""),
        ("end of the putting in order", 300, False, "      __syncwarp();\n      break;", None),
        ("many equal bits", 300, True, "many = true;\n", ";\n"),
        ("groups of a warp", 300, True, "if (thread % 32 >= step) group += other;", ""),
        ("groups in a thread", 300, True, "group += ~ties >> e & 1;", ""),
        ("bits that come next", 300, True, "- least) >> left) & mask", "- least) >> left + 1) & mask"),
        ("before the ends of warps", 1100, False, "thread / 32] = most;\n    }\n    __syncthreads();", None),
        ("ends of warps", 1100, False, "least = min(least, ends[0][other]);", ""),
        ("before words are exchanged", 2100, False, "__syncthreads();  // they have been read", None),
        ("words that are exchanged", 1100, False, "+ thread] = own[e];\n        __syncthreads();", None),
        ("before words are stored", 1100, False, "__syncthreads();\n    #pragma unroll\n    for (int e", None),
        ("words of a block", 1100, False, "/ 32] = own[e];\n    __syncthreads();", None),
        ("last of the warp before", 1100, False, "if (thread % 32 == 0 && thread > 0) before", "if (false) before"),
        ("marks of a block", 1100, False, "[thread] = falls;\n    __syncthreads();", None),
        ("groups of a block", 1100, True, "group += sums[other];", ""),
        ("sums of a block", 1100, True, "sums[thread / 32] = group;\n    __syncthreads();", None),
    )
}  # fmt: skip

#: The same of long rows, which have five tiles.
DIGITS: Mistakes = {
    name: ((dt.int16, (2, 4100), 1, False), None, old, new)
    for name, old, new in (
        ("clearing of a board", "board[at] = 0", "board[at] += 0"),
        ("before digits are counted", "[threadIdx.x] = 0;\n  }\n  __syncthreads();", None),
        ("digits that are counted", "    }\n  }\n  __syncthreads();\n  #pragma unroll\n  for (int pass", None),
        ("chunks", "chunk = blockIdx.x % 3u", "chunk = 0"),
        ("row of a count", "(pass * 2u + row) * 256", "(pass * 2u) * 256"),
        ("digit of a count", "key >> pass * 8", "key >> 8"),
        ("turn of a pass", "taken = atomicAdd(board, 1u);", "taken = blockIdx.x;"),
        ("barrier of a turn", "atomicAdd(board, 1u);\n  __syncthreads();", None),
        ("end of a row", "if (at >= stop) continue;", ""),
        ("past the end", "own[item] = (unsigned short)~0ULL;", "own[item] = 0;"),
        ("barrier before ranks", "__syncthreads();  // with all loads", "// with all loads"),
        ("lanes before one", "peers & ((1u << lane) - 1)", "0"),
        ("counts that are read", "item % 2 * 16;\n    __syncwarp();", None),
        ("counts that are written", "before + __popc(peers);\n    __syncwarp();", None),
        ("barrier of ranks", "    __syncwarp();\n  }\n  __syncthreads();", "    __syncwarp();\n  }"),
        ("post of a tile", "post_count(posts + piece * 256, count, piece == 0);", ""),
        ("line of a post", "+ line * 5u * 256", "+ row * 5u * 256"),
        ("count of the warps before", "sum += one;", ""),
        ("barrier of starts", "    sum += one;\n  }\n  __syncthreads();", None),
        ("keys that are lower", "sum_before(board[2u + line * 256 + thread], scratch)", "0"),
        ("tiles before", "= counted_before(posts, piece, 256)", "= 0"),
        ("wait for a tile", "if (mark == 0) break;", ""),
        ("tiles that know all before", "tile = mark == 2 ? 0 : tile - 1;", "tile = tile - 1;"),
        ("start of a digit in a tile", "lower + before - begin", "lower + before"),
        ("barrier of the last step", "- begin;\n  __syncthreads();", None),
        ("end of a tile", "if (slot >= size) break;", ""),
        ("digits of the next pass", "(key >> 8 | key << 8)", "(key >> 7)"),
        ("barrier of a sum", "warp_sums[warp] = sum;\n  __syncthreads();", None),
    )
}


@needs_compiler
@pytest.mark.parametrize("length", [300, 1100, 2100])
def test_mistakes_in_rows_are_found(length: int) -> None:
    check({name: mistake for name, mistake in ROWS.items() if mistake[0][1][1] == length})


@needs_compiler
def test_mistakes_in_digits_are_found() -> None:
    check(DIGITS)


def check(chosen: Mistakes) -> None:
    """What is taken away is found, and nothing is where nothing is taken away."""

    def made(case: Case, many: bool | None, old: str, new: str | None) -> Mistake:
        x = values_of(case) if many is None else crowded(case, many)
        return Mistake(plan_of([case]), x, expected(case, x), old, new)

    assert not missed({what: made(*mistake) for what, mistake in chosen.items()})


@dataclass(frozen=True)
class Mistake:
    """A plan of one kernel, what it is given, what it gives, and a text in its source for which another one is put."""

    plan: Plan
    given: Array
    wanted: Array
    old: str
    new: str | None


def missed(mistakes: Mapping[str, Mistake]) -> list[str]:
    """Mistakes that are not found, and what is found where there is none."""
    whole = {f"no mistake but {what}": replace(m, old="", new="") for what, m in mistakes.items()}
    first = {id(m.plan): what for what, m in reversed(whole.items())}
    every = {**mistakes, **{what: whole[what] for what in first.values()}}
    programs = []
    for number, one in enumerate(every.values()):
        program = render(one.plan, "sm_90")
        (kernel,) = program.kernels
        assert one.old in kernel.source, one.old
        new = re.sub(r"__sync\w+\(\);", "", one.old) if one.new is None else one.new
        changed = kernel.source.replace(one.old, new) if one.old else kernel.source
        assert changed != kernel.source or not one.old
        name = f"{kernel.name}_{number}"
        functions = (e.function.beginning(name=e.name.replace(kernel.name, name)) for e in kernel.entries)
        entries = tuple(replace(e, function=f) for e, f in zip(kernel.entries, functions, strict=True))
        kernel = replace(kernel, name=name, source=changed.replace(kernel.name, name), entries=entries)
        programs.append(replace(program, kernels=(kernel,)))
    library = compile_kernels([k for p in programs for k in p.kernels])

    def is_wrong(number: int, one: Mistake) -> bool:
        for order in ORDERS:
            try:
                (have,) = EmulatedPlan(one.plan, programs[number], library, order)([one.given])
                np.testing.assert_array_equal(have, one.wanted)
            except (EmulatorError, AssertionError):
                return True
        return False

    return [what for n, (what, one) in enumerate(every.items()) if is_wrong(n, one) == (what in whole)]
