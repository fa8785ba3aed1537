"""Conditions on values, compiled and eagerly: the same error for the same values, and nothing written before it.

Each condition of the library has a case in `tests.checked`, where it refuses something: a new one without a case fails.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracec as T
from tests.checked import CHECKED, Checked
from tests.codegen.emulated import needs_compiler
from tests.doubles.driver import pretended
from tracec import nn
from tracec.errors import TracecError
from tracec.func import scan
from tracec.nn import functional as F
from tracec.record import backend, check, late
from tracec.specialisations import device_checks
from tracec.utils._pytree import tree_leaves

NAMES = pytest.mark.parametrize("case", CHECKED, ids=[c.name for c in CHECKED])
Row = Sequence[Any]


# What there is ---------------------------------------------------------------------------------------------------


def places() -> set[tuple[str, int]]:
    """Where the library asks something of values: files, and the first lines of the calls."""
    root = Path(T.__file__).parent
    found = set()
    for file in root.rglob("*.py"):
        text = file.read_text()
        for node in ast.walk(ast.parse(text)) if "check_none(" in text or "check_range(" in text else ():
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("check_range", "check_none"):
                found.add((str(file.relative_to(root)), node.lineno))
    return {(file, line) for file, line in found if file not in ("record/check.py", "func/branches.py")}


def test_every_condition_is_broken_by_a_case(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(T.__file__).parent
    broken = set()
    tested = check._check

    def watched(*args: Any) -> None:
        try:
            tested(*args)
        except TracecError:
            frame = sys._getframe(1)
            while frame.f_code.co_filename == check.__file__:
                frame = frame.f_back
            positions = list(frame.f_code.co_positions())[frame.f_lasti // 2]
            broken.add((str(Path(frame.f_code.co_filename).relative_to(root)), positions[0]))
            raise

    monkeypatch.setattr(check, "_check", watched)
    for case in CHECKED:
        for row in case.bad:
            outcome(case.run, row)
    # An index of an eager call is looked at once, for this and for which way it counts.
    missing = sorted(places() - broken)
    assert not missing, f"no case of tests.checked breaks the conditions at {missing}"


# The same as eagerly ---------------------------------------------------------------------------------------------


def outcome(run: Callable[..., Any], row: Row) -> Any:
    """What a call gives, as arrays, or the error that it raises, in words."""
    T.manual_seed(0)
    try:
        return [x.detach().cpu().numpy() for x in tree_leaves(run(*row))]
    except TracecError as error:
        return f"{type(error).__name__}: {error.message}"


def compare(run: Callable[..., Any], good: Row, bad: Sequence[Row]) -> None:
    """Call a function compiled with what it takes and with what it refuses, in turn."""
    compiled = T.compile(run)
    for row in (good, good, *(row for broken in bad for row in (broken, good))):
        found, want = outcome(compiled, row), outcome(run, row)
        if isinstance(want, str) or isinstance(found, str):
            assert found == want, row
        else:
            for a, b in zip(found, want, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def is_whole(x: Any) -> bool:
    return isinstance(x, T.Tensor) and not x.dtype.is_floating_point


def from_floats(case: Checked) -> tuple[Callable[..., Any], Row, list[Row]]:
    """The case with integers that are computed in the function, so that what they are is not known before it runs."""

    def run(*row: Any) -> Any:
        return case.run(*(a.to(b.dtype) if is_whole(b) else a for a, b in zip(row, case.good, strict=True)))

    good, *bad = ([a.double() if is_whole(a) else a for a in row] for row in (case.good, *case.bad))
    return run, good, bad


@needs_compiler
@NAMES
def test_computed_values(case: Checked) -> None:
    compare(*from_floats(case))


@needs_compiler
@pytest.mark.slow
@NAMES
def test_values_that_are_given(case: Checked) -> None:
    compare(case.run, case.good, case.bad)


@needs_compiler
@pytest.mark.slow
@NAMES
def test_functions_that_ask_for_a_value_afterwards(case: Checked) -> None:
    for run, good, bad in ((case.run, case.good, case.bad), from_floats(case)):

        def asks(*row: Any, run: Any = run) -> Any:
            return [x + 1 if bool((x == x).all()) else x for x in tree_leaves(run(*row))]

        compare(asks, good, bad)


@needs_compiler
@pytest.mark.slow
@NAMES
def test_in_a_branch(case: Checked) -> None:
    def run(holds: Any, *row: Any) -> Any:
        return T.cond(holds, lambda *r: tree_leaves(case.run(*r)), lambda *r: tree_leaves(case.run(*case.good)), row)

    yes = T.tensor(True)
    compare(run, (yes, *case.good), [(yes, *row) for row in case.bad])


#: They ask for values, which loops do not.
ASKING = ("jagged", "uniform")


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("case", [c for c in CHECKED if c.name not in ASKING], ids=lambda c: c.name)
def test_in_a_loop(case: Checked) -> None:
    def run(*row: Any) -> Any:
        return scan(lambda k, r: (k, tree_leaves(case.run(*r))), T.tensor(0), row)[1]

    def stacked(*rows: Row) -> Row:
        return [T.stack(parts) for parts in zip(*rows, strict=True)]

    compiled, good = T.compile(run), stacked(case.good, case.good)
    for row in (good, good, *(stacked(*pair) for bad in case.bad for pair in ((case.good, bad), (bad, case.good)))):
        found, want = outcome(compiled, row), outcome(run, row)
        assert isinstance(found, str) == isinstance(want, str) == (row is not good)
        assert row is good or found.split(":")[0] == want.split(":")[0]


@needs_compiler
@pytest.mark.slow
@NAMES
def test_of_many_examples(case: Checked) -> None:
    def run(*rows: Any) -> Any:
        return T.vmap(lambda *row: tree_leaves(case.run(*row)), randomness="different")(*rows)

    good, *bad = ([T.stack([a, b]) for a, b in zip(case.good, row, strict=True)] for row in (case.good, *case.bad))
    compare(run, good, bad)


# Where they stand ------------------------------------------------------------------------------------------------


def tensors(*rows: Any) -> tuple[Any, ...]:
    return tuple(T.tensor(r) if isinstance(r, (list, float, bool)) else r for r in rows)


ROW = [1.0, 2.0, 3.0, 4.0]


@needs_compiler
def test_a_branch_that_is_not_taken_asks_nothing() -> None:
    table = T.tensor(ROW)

    def run(holds: Any, a: Any, i: Any) -> Any:
        return T.cond(holds, lambda a, i: (table[i], a // i), lambda a, i: (table[i * 0], a), (a, i))

    compiled = T.compile(run)
    for holds, i in ((True, [1, 2]), (False, [1, 2]), (False, [0, 7]), (True, [0, 1]), (True, [1, 7]), (False, [0, 0])):
        row = tensors(holds, [6, 8], i)
        assert str(outcome(compiled, row)) == str(outcome(run, row))
    assert "runs in Python" not in str(compiled.explain())


@needs_compiler
def test_a_loop_that_ends_by_itself_asks_in_each_run_and_in_its_condition() -> None:
    def run(x: Any, i: Any) -> Any:
        return T.while_loop(lambda k, i, s: x[i[0]] + k < 6, lambda k, i, s: (k + 1, i - 1, s // i), (k0, i, x.long()))

    k0 = T.tensor(0)
    compiled = T.compile(run)
    for i in ([3, 9, 9, 9], [3, 9, 9, 9], [3, 9, 1, 9], [3, 0, 9, 9], [4, 9, 9, 9], [-5, 9, 9, 9], [-2, 9, 9, 9]):
        row = tensors(ROW, i)
        assert str(outcome(compiled, row)) == str(outcome(run, row)), i


@needs_compiler
def test_a_value_that_is_asked_for_before_anything_is_tested() -> None:
    """What is read until then is memory of the tensor."""

    def run(x: Any, i: Any) -> Any:
        at = i.long()
        if bool(i.sum() > -1e15):
            x = x + 1
        y = x[at]
        return y * 2 if bool(y.sum() > -1e6) else y

    for kind in (T.int64, T.float64):
        compiled = T.compile(run)
        for i in ([0, 3], [0, 3], [0, 10**12], [-(10**12), 3], [4, 0], [-4, 0]):
            row = T.tensor(ROW), T.tensor(i, dtype=kind)
            assert str(outcome(compiled, row)) == str(outcome(run, row))


@needs_compiler
def test_sizes_that_vary() -> None:
    """What is asked goes with the size: one program serves several."""
    by_class = T.compile(lambda x, t: F.cross_entropy(x, t.long()))
    by_place = T.compile(lambda x, n: x[(T.arange(n.shape[0]) * 1.0).long()])
    for size in (4, 6, 9, 5, 3, 8):
        x = T.randn(7, size)
        for bad in (size - 1.0, float(size), -1.0, -100.0):
            row = x, T.tensor([0.0] * 6 + [bad])
            found, want = outcome(by_class, row), outcome(by_class.fn, row)
            assert isinstance(found, str) == isinstance(want, str) and (found == want or not isinstance(want, str))
        for n in (2, 5, 7, 9):
            row = x[0], T.zeros(n)
            assert str(outcome(by_place, row)) == str(outcome(by_place.fn, row))
    assert len(by_class.explain().recordings) < 6


class Looks(T.autograd.Function):
    """Reads a table by the gradient."""

    @staticmethod
    def forward(ctx, x, table):
        ctx.save_for_backward(table)
        return x * 2

    @staticmethod
    def backward(ctx, g):
        (table,) = ctx.saved_tensors
        return table[g.long()], None


@needs_compiler
def test_what_a_gradient_leads_to() -> None:
    compiled = T.compile(Looks.apply)
    table = T.tensor(ROW)
    for slope in ([0.0, 3.0], [0.0, 3.0], [1.0, 2.0], [0.0, 4.0], [0.0, 1e12], [0.0, 1.0]):
        seen = []
        for run in (compiled, Looks.apply):
            x = T.tensor([1.0, 2.0], requires_grad=True)
            y = run(x, table)
            seen.append(outcome(lambda g, y=y, x=x: (y.backward(g), x.grad)[1], (T.tensor(slope),)))
        assert str(seen[0]) == str(seen[1])


def trained(compiled: bool, ids: list[list[float]]) -> list[Any]:
    """Errors of steps, and all that they change, after each."""
    T.manual_seed(0)
    model = nn.Sequential(nn.Embedding(9, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 5))
    optimizer = T.optim.AdamW(model.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x.long()), y.long())
        loss.backward()
        optimizer.step()
        return loss

    run = T.compile(step) if compiled else step
    seen: list[Any] = []
    for x, y in ids:
        try:
            run(T.tensor(x), T.tensor(y))
            seen.append("")
        except TracecError as error:
            seen.append(error.message)
        state = [*model.state_dict().values(), *(v for s in optimizer.state.values() for v in s.values())]
        seen += [T.get_rng_state(), *(x.detach().clone() for x in state if isinstance(x, T.Tensor))]
    return seen


@needs_compiler
def test_a_step_that_raises_leaves_all_as_it_was() -> None:
    good = [[1.0, 2.0, 8.0], [0.0, 1.0, 4.0]]
    ids = [good, good, [[1.0, 9.0, 3.0], good[1]], good, [good[0], [0.0, 5.0, 1.0]], [good[0], [0.0, -1.0, 1.0]], good]
    for found, want in zip(trained(True, ids), trained(False, ids), strict=True):
        if isinstance(want, str):
            assert found == want
        else:
            np.testing.assert_allclose(found.numpy(), want.numpy(), rtol=1e-4, atol=1e-6)


# On a GPU --------------------------------------------------------------------------------------------------------


@pytest.fixture
def on_gpu() -> Iterator[None]:
    with pretended():
        yield


ON_GPU = [c for c in CHECKED if c.name in ("cross_entropy", "embedding_bag", "sparse_csr_tensor", "gaussian_nll_loss")]


@needs_compiler
@pytest.mark.parametrize("case", ON_GPU, ids=[c.name for c in ON_GPU])
def test_late_on_a_gpu(case: Checked, on_gpu: None) -> None:
    """The error comes when the host next waits, and what is computed until then leaves memory as it is."""
    compiled = T.compile(case.run)
    good, *bad = ([a.to("cuda") for a in row] for row in (case.good, *case.bad))
    for row in (good, good, good):
        compiled(*row)
    late.settle(wait=True)
    for row, on_cpu in zip(bad, case.bad, strict=True):
        compiled(*row)
        with pytest.raises(TracecError) as raised:
            late.settle(wait=True)
        assert type(raised.value).__name__ == outcome(case.run, on_cpu).split(":")[0]
        assert "found on the GPU" in raised.value.hint
        compiled(*good)
        late.settle(wait=True)


def looked_up(sizes: list[int], rows: int = 7) -> tuple[Any, Any, list[Any]]:
    """A compiled lookup on the GPU, its table, and indices in range, of several sizes."""
    compiled = T.compile(lambda w, i: F.embedding(i, w))
    table = T.arange(rows * 2.0).reshape(rows, 2).to("cuda")
    return compiled, table, [(T.arange(n) % rows).to("cuda") for n in sizes]


@needs_compiler
def test_calls_on_a_gpu_copy_nothing_and_add_up(on_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(late, "Readback", lambda array: made.append(array) or backend.Readback(array))
    monkeypatch.setattr(device_checks, "PATIENCE", 1e9)
    compiled, table, (good,) = looked_up([5])
    compiled(table, good)
    compiled(table, good)
    late.settle(wait=True)
    made.clear()
    bad = T.tensor([0, 9, 1, 2, -1]).to("cuda")
    for indices in (good, bad, good, good):
        found = compiled(table, indices)
    assert not made, "a call that does not wait copied its numbers to the host"
    with pytest.raises(TracecError, match=r"index -1 is out of bounds") as raised:
        found.tolist()
    assert len(made) == 1 and "found on the GPU" in raised.value.hint and "test_checks.py" in str(raised.value)
    assert found.tolist() == table[:5].tolist()  # which is told once
    late.settle(wait=True)
    compiled(table, bad)
    with pytest.raises(TracecError, match="index -1 is out of bounds"):
        late.settle(wait=True)


@needs_compiler
@pytest.mark.parametrize(
    "read", [str, T.Tensor.tolist, T.Tensor.cpu, lambda x: x.sum().item(), lambda x: bool(x.any())]
)
def test_whoever_reads_a_value_is_told(on_gpu: None, read: Any) -> None:
    compiled, table, (good,) = looked_up([3])
    for _ in range(3):
        compiled(table, good)
    late.settle(wait=True)
    found = compiled(table, T.tensor([0, 1, 9]).to("cuda"))
    with pytest.raises(TracecError, match="index 9 is out of bounds") as raised:
        read(found)
    assert re.search(r"at test_checks.py:\d+$", str(raised.value), re.MULTILINE)  # the line that looked it up
    read(found)


@needs_compiler
def test_a_host_that_never_waits_is_told_now_and_then(on_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, table, (good,) = looked_up([3])
    for _ in range(3):
        compiled(table, good)
    late.settle(wait=True)
    monkeypatch.setattr(device_checks, "PATIENCE", 0.0)
    compiled(table, T.tensor([0, 1, 9]).to("cuda"))
    with pytest.raises(TracecError, match="index 9 is out of bounds"):
        compiled(table, good)
    compiled(table, good)
    late.settle(wait=True)


@needs_compiler
def test_each_size_has_a_range_of_its_own(on_gpu: None) -> None:
    """What is in range for one table is not held against calls with a smaller one."""
    compiled = T.compile(lambda w, i: F.embedding(i, w))
    for rows in (7, 9, 11, 5, 8):
        compiled(T.ones(rows, 2).to("cuda"), T.tensor([0, rows - 1]).to("cuda"))
        late.settle(wait=True)
    compiled(T.ones(11, 2).to("cuda"), T.tensor([0, 10]).to("cuda"))
    compiled(T.ones(5, 2).to("cuda"), T.tensor([0, 4]).to("cuda"))
    late.settle(wait=True)
    compiled(T.ones(5, 2).to("cuda"), T.tensor([0, 5]).to("cuda"))
    with pytest.raises(TracecError, match="index 5 is out of bounds for axis 0 with size 5"):
        late.settle(wait=True)


@needs_compiler
def test_streams_have_numbers_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls in two streams may run at the same time: one would write over what the other found."""
    with pretended() as driver:
        compiled, table, (good,) = looked_up([3])
        for _ in range(3):
            compiled(table, good)
        late.settle(wait=True)
        made = []
        unseen = device_checks.unseen
        monkeypatch.setattr(device_checks, "unseen", lambda conditions: made.append(unseen(conditions)) or made[-1])
        for number in (7, 8):
            stream = driver._stream()
            stream.ptr = number
            monkeypatch.setattr(driver.cupy.cuda, "get_current_stream", lambda stream=stream: stream)
            compiled(table, T.tensor([0, 1, 9]).to("cuda"))
            compiled(table, good)
        assert [array.tolist() for array in made] == [[-1, 9]] * 2  # the complement of the least, the largest
        with pytest.raises(TracecError, match="index 9 is out of bounds"):
            late.settle(wait=True)
        late.settle(wait=True)


@needs_compiler
def test_nothing_is_copied_while_a_caller_captures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even from the legacy stream, where the calls before ran: a copy there would end the capture."""
    made = []
    monkeypatch.setattr(late, "Readback", lambda array: made.append(array) or backend.Readback(array))
    with pretended() as driver:
        compiled, table, (good,) = looked_up([3])
        for _ in range(3):
            compiled(table, good)
        late.settle(wait=True)
        stream = driver._stream()
        monkeypatch.setattr(device_checks, "PATIENCE", 0.0)
        monkeypatch.setattr(driver.cupy.cuda, "get_current_stream", lambda: stream)
        stream.begin_capture()
        made.clear()
        compiled(table, T.tensor([0, 1, 9]).to("cuda"))
        assert not made
        graph = stream.end_capture()
        driver._replay(graph.graphExec, stream.ptr)
        with pytest.raises(TracecError, match="index 9 is out of bounds"):
            late.settle(wait=True)
        late.settle(wait=True)


@needs_compiler
def test_a_lowered_lookup_has_numbers_to_begin_with(on_gpu: None) -> None:
    compiled, table, (good,) = looked_up([3])
    lowered = compiled.lower(table, good, target="cuda")
    assert lowered.run(table, good).tolist() == table[:3].tolist()
    arrays = lowered.arrays()
    assert [a.shape for a in arrays] == [(3,), (7, 2), (2,)] and arrays[-1].tolist() == [-(2**63)] * 2
