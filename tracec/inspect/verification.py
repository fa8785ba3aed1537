"""``verify=True``: each replay is compared with an eager run of the function, and what differs is tracked down.

    arguments, state ──> the function, recorded, then undone ──> results, what it wrote, gradients ──┐
                    └──> the program ──────────────────────────> results, what it wrote, gradients ──┴─ the same?

The eager run comes first and leaves tensors as they were. Where the program then gives something else, tensors are
put back, the fresh recording is built anew, and `tracec.inspect.fault` finds the value and the stage at fault.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tracec.errors import ReplayError
from tracec.inspect.arguments import named
from tracec.inspect.fault import Settings, find_fault
from tracec.inspect.left import Held, State, plain, same_text, text_of
from tracec.inspect.reproduce import write_script
from tracec.inspect.rounding import Expected, expected, on_host
from tracec.ir.graph import Graph
from tracec.ir.node import Node
from tracec.ir.text import number
from tracec.record.backend import module, on, to_device
from tracec.record.backward import backward
from tracec.record.cell import Storage, new_tensor
from tracec.record.recorder import Recorder
from tracec.record.recording import find_tensors
from tracec.record.tape import edge_of, root_of
from tracec.record.tensor import Tensor
from tracec.specialisations.environment import Environment
from tracec.specialisations.program import graphs_of
from tracec.specialisations.recorded import CallToRecord, Recorded, record
from tracec.specialisations.replay import Unfit

#: Gives the settings for a recording: only when it is to be built anew.
HowBuilt = Callable[[Graph], Settings]


@dataclass(frozen=True, slots=True)
class Seen:
    """A value that a call leaves.

    Attributes:
        name: What it is, in words.
        value: The array; None for ``grad`` that is None.
        output: The output of the recording that holds it; None where there is none.
    """

    name: str
    value: Any
    output: int | None = None


@dataclass
class Before:
    """What an eager run did to tensors from outside, and to places, and what was there before.

    Attributes:
        state: The places.
        around: What the function can read.
        written: Memory and what was in it.
        after: Memory and what the run left in it.
        results: Values of the tensors that it returned.
        grads: Tensors, their ``grad`` before, and its values after.
        left: What it left in places.
        states: The states of Python's and NumPy's generators after it.
    """

    state: State
    around: Environment

    written: dict[Storage, Any] = field(default_factory=dict)
    after: dict[Storage, Any] = field(default_factory=dict)
    grads: list[tuple[Tensor, Any, Any]] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    left: dict[int, dict[str, Held]] = field(default_factory=dict)
    states: Any = None

    def look(self, recorder: Recorder, out: Any) -> None:
        """Take down what a run did, before it is undone."""
        self.written = {s: array.copy() for s, array in recorder.before_writes.items()}
        self.after = {s: s.array.copy() for s in self.written}
        self.grads = [(x, g, None if x._grad is None else x._grad._array.copy()) for x, g in recorder.before_grads]
        self.results = [t._array.copy() for t in find_tensors(out)]
        self.left = self.state.changed()
        self.states = _states(self.around)

    def restore(self) -> None:
        """Put memory and gradients back."""
        for storage, array in self.written.items():
            storage.write(array)
        for x, grad, _ in self.grads:
            x._grad = grad


class Verification:
    """Compares the calls of one compiled function with eager ones.

    Args:
        fn: The function.
        settings: How recordings are built.
    """

    def __init__(self, fn: Callable[..., Any], settings: HowBuilt) -> None:
        self._fn = fn
        self._settings = settings
        self._name = getattr(fn, "__qualname__", type(fn).__name__)

    def __call__(
        self, replay: Callable[[Sequence[Tensor]], Any], graph: Graph, args: Sequence[Any], kwargs: Mapping[str, Any],
        tensors: Sequence[Tensor], unseen: Any, drawn: Callable[[], None],
    ) -> Any:  # fmt: skip
        """Run a program, and make sure that it does what the function does.

        Args:
            replay: What runs the program.
            graph: What it was built from.
            args: Arguments of the call.
            kwargs: Keyword arguments.
            tensors: The tensors among them.
            unseen: What ``replay`` gives where it has no program for the call.
            drawn: Lets generators of Python's and NumPy's be as they are when what the program takes was drawn.

        Raises:
            ReplayError: it does something else; tensors are left as they were before the call.
        """
        around = Environment(self._fn, dict(named(self._fn, args, kwargs)))
        before = Before(State(around), around)
        try:
            with text_of(through=False) as printed:

                @functools.wraps(self._fn, updated=())
                def run(*args: Any, **kwargs: Any) -> Any:
                    printed.clear()  # it may have been run till it asked for an exact number
                    return self._fn(*args, **kwargs)

                run.__name__ = getattr(self._fn, "__name__", type(self._fn).__name__)
                recorded = record(CallToRecord(run, args, kwargs, tensors, around, keep=False, look=before.look))
        except Exception:
            return self._fn(*args, **kwargs)  # which raises it again, and leaves behind what it wrote until then
        drawn()
        try:
            with text_of(through=True) as now:
                out = replay(tensors)
        except Unfit as unfit:
            before.restore()
            around.put_back()
            error = unfit.error
            raise ReplayError(
                f"{self._name}: a compiled call raises {type(error).__name__}, and the function does not: {error}",
                hint="please report this",
            ) from error
        if out is unseen:
            return out
        states = Seen("states of generators", before.states), Seen("", _states(around))
        pairs = [*_pairs(recorded, before, out), *_left(recorded, before), *_printed("".join(printed), "".join(now))]
        pairs.append(states)
        if any(_differ(want.value, got.value) for want, got in pairs):
            try:
                self._judge(recorded, before, graph, tensors, pairs)
            except ReplayError:
                around.put_back()
                raise
        return out

    def _judge(
        self, recorded: Recorded, before: Before, graph: Graph, tensors: Sequence[Tensor],
        pairs: Sequence[tuple[Seen, Seen]],
    ) -> None:  # fmt: skip
        """Raise where rounding does not explain the differences."""
        now = [(want, Seen(got.name, _copy(got.value))) for want, got in pairs]
        after = [(s, s.array.copy()) for s in before.written], [(x, x._grad) for x, _, _ in before.grads]
        before.restore()
        arrays = _inputs(recorded, tensors)
        wrong = self._first_wrong(recorded, arrays, now)
        if wrong is not None:
            raise self._error(recorded, arrays, graph, *wrong)
        for storage, array in after[0]:
            storage.write(array)
        for x, grad in after[1]:
            x._grad = grad

    def _first_wrong(
        self, recorded: Recorded, arrays: Sequence[Any], pairs: Sequence[tuple[Seen, Seen]]
    ) -> tuple[Seen, Seen, Any] | None:
        """The first value of a call that is wrong: what it ought to be, what it is, and where it differs."""
        outputs = graphs_of(recorded, "cpu", frozenset()).whole
        others = expected(outputs, outputs.outputs, arrays)
        for want, got in pairs:
            if want.value is None or got.value is None:
                if want.value is not got.value:
                    return want, got, None
                continue
            bars = () if want.output is None else others[want.output].others
            wrong = Expected(want.value, bars).wrong(got.value)
            if wrong is None or wrong.any():
                return want, got, wrong
        return None

    def _error(
        self, recorded: Recorded, arrays: Sequence[Any], graph: Graph, want: Seen, got: Seen, wrong: Any
    ) -> ReplayError:
        settings = self._settings(recorded.recording.graph)
        fault = find_fault(recorded, arrays, settings)
        title = f"{self._name}: a compiled call does not give what the function gives: {want.name}"
        title += _difference(want.value, got.value, wrong)
        if fault is None:
            return self._without_fault(title, recorded, graph, want)
        node = fault.node
        differs = Expected(fault.expected).wrong(fault.found)
        text = f"%{number(fault.graph).get(node, '?').lstrip('%')} = {node.op.name}: {node.type}"
        where = f"{text}    at {node.source}{_difference(fault.expected, fault.found, differs)}"
        try:
            script: str | None = str(write_script(fault, settings, title))
        except OSError:
            script = None
        hint = (
            f"compile with disable={[fault.without]!r} until it is repaired" if fault.without else "please report this"
        )
        if script is not None:
            hint += f"; python {script} shows the difference"
        error = ReplayError(f"{title}\n  made wrong by {fault.stage}", where=f"first in {where}", hint=hint)
        error.source, error.stage, error.script = node.source, fault.stage, script
        return error

    def _without_fault(self, title: str, recorded: Recorded, graph: Graph, want: Seen) -> ReplayError:
        """The error where a program built anew is right."""
        now = recorded.recording.graph
        of_python = want.name.startswith("what is ")  # numbers of Python's may be others in the two graphs
        changed = None if recorded.recording.decisions or of_python else _first_change(graph, now)
        if changed is not None:
            then, node = changed
            error = ReplayError(
                f"{title}\n  the function does something else than when it was recorded, and no guard tells",
                where=f"first in {node.op.name}: {node.type}    at {node.source}, where it was {then}",
                hint="what it reads there has changed: pass it as an argument, or keep it where guards look",
            )
            error.source, error.stage = node.source, "guards"
            return error
        error = ReplayError(
            f"{title}\n  made wrong by what surrounds the program: built anew it is right", hint="please report this"
        )
        error.stage = "replay"
        return error


def _states(around: Environment) -> Any:
    """The states of generators, as a text to be compared."""
    return np.array(repr([around.states()]))


def _inputs(recorded: Recorded, tensors: Sequence[Tensor]) -> list[Any]:
    """An array for each input of a recording; those that stand for gradients of results are made up."""
    rng = np.random.default_rng(0)
    found = []
    for lifted in recorded.recording.inputs:
        if lifted.argument is not None and lifted.argument >= len(tensors):
            values = rng.standard_normal(lifted.node.shape).astype(lifted.node.dtype.numpy)
            with on(lifted.node.device):
                found.append(to_device(values, lifted.node.device))
        else:
            array = lifted.find(tensors)
            found.append(array.copy())
    return found


def _pairs(recorded: Recorded, before: Before, out: Any) -> Iterator[tuple[Seen, Seen]]:
    """What the eager run and the program left: results, gradients through them, memory, ``grad``."""
    recording = recorded.recording
    results = find_tensors(recorded.given)
    given = find_tensors(out)
    known = {id(r.tensor): r for r in recording.results}
    yield Seen("number of tensors returned", np.array(len(results))), Seen("", np.array(len(given)))
    for k, (value, made) in enumerate(zip(before.results, given, strict=False)):
        result = known.get(id(results[k]))
        output = None if result is None or result.shared else result.output
        yield Seen(f"result {k}", value, output), Seen("", made._array)
        tracked = edge_of(results[k]) is not None, edge_of(made) is not None
        yield Seen(f"requires_grad of result {k}", np.array(tracked[0])), Seen("", np.array(tracked[1]))
    texts = [str(plain(recorded.given)), str(plain(out))]
    yield Seen(f"what is returned, {texts[0]}", np.array(texts[0])), Seen("", np.array(texts[1]))
    outputs = dict(recording.writes)
    for storage, array in before.after.items():
        yield Seen(f"memory that is written, {storage.type}", array, outputs.get(storage)), Seen("", storage.array)
    at = {id(x): o for x, o, _ in recording.grads}
    for x, _, grad in before.grads:
        now = None if x._grad is None else x._grad._array
        yield Seen(f"grad of {x._type}", grad, at.get(id(x))), Seen("", now)
    yield from _gradients(recorded, given)


def _left(recorded: Recorded, before: Before) -> Iterator[tuple[Seen, Seen]]:
    """What the eager run and the program left in places."""
    known = {id(r.tensor): r for r in recorded.recording.results}
    for name, want, got in before.state.both(before.left):
        yield Seen(f"what is left in {name}, {got.text},", np.array(want.text)), Seen("", np.array(got.text))
        for (tensor, value), (_, other) in zip(want.tensors, got.tensors, strict=False):
            result = known.get(id(tensor))
            output = None if result is None or result.shared else result.output
            yield Seen(f"what is left in {name}", value, output), Seen("", other)


def _printed(want: str, got: str) -> Iterator[tuple[Seen, Seen]]:
    """The text that both printed."""
    yield Seen("what is printed", np.array(want)), Seen("", np.array(want if same_text(want, got) else got))


def _gradients(recorded: Recorded, given: Sequence[Tensor]) -> Iterator[tuple[Seen, Seen]]:
    """Gradients that go back through the results, of both."""
    results, at = find_tensors(recorded.out), len(find_tensors(recorded.out))
    position = {id(root_of(x)): k for k, x in reversed(list(enumerate(find_tensors(recorded.given))))}
    rng = np.random.default_rng(0)
    for d in recorded.derivatives:
        result = results[d.result]
        if id(result) not in position or position[id(result)] >= len(given):
            continue
        there = [root_of(given[k]) if (k := position.get(id(x), len(given))) < len(given) else x for x in results]
        targets = [d.ends(recorded.arguments, found) for found in (results, there)]
        values = rng.standard_normal(result._array.shape).astype(result._array.dtype)
        with on(result._device):
            seed = new_tensor(module(result._device).asarray(values))
        both = [
            backward([x], [seed], ends, True, False, False)
            for x, ends in zip((result, root_of(given[position[id(result)]])), targets, strict=True)
        ]
        for want, got, target, recorded_grad in zip(*both, targets[0], d.grads, strict=True):
            name = f"gradient of result {d.result} by {target._type}"
            yield (
                Seen(name, None if want is None else want._array, at if recorded_grad is not None else None),
                Seen("", None if got is None else got._array),
            )
            at += recorded_grad is not None


def _differ(want: Any, got: Any) -> bool:
    if want is None or got is None:
        return want is not got
    wrong = Expected(want).wrong(got)
    return wrong is None or bool(wrong.any())


def _copy(value: Any) -> Any:
    return None if value is None else value.copy()


def _difference(want: Any, got: Any, wrong: Any) -> str:
    """How two values differ, in words."""
    if want is None or got is None:
        return f" is {'None' if got is None else 'there'}, and {'None' if want is None else 'there'} eagerly"
    want, got = on_host(want), on_host(got)
    if wrong is None:
        return f" is {got.dtype}{list(got.shape)}, and {want.dtype}{list(want.shape)} eagerly"
    if not wrong.any():
        return ""
    place = tuple(map(int, np.argwhere(wrong)[0]))
    element = f", element {list(place)}," if place else ""
    count = f" ({int(wrong.sum())} of {wrong.size} elements differ)" if place else ""
    return f"{element} is {got[place]!s}, and {want[place]!s} eagerly{count}"


def _first_change(then: Graph, now: Graph) -> tuple[str, Node] | None:
    """The first operation of a function that is not what it was when it was recorded."""
    if then.key() == now.key():
        return None
    names = [{n: str(k) for k, n in enumerate((*g.inputs, *g.nodes))} for g in (then, now)]

    def row(n: Node, at: Mapping[Node, str]) -> Any:
        return n.op.name, n.params, n.type, tuple(at.get(i, repr(i.params)) for i in n.inputs)

    for a, b in zip(then.nodes, now.nodes, strict=False):
        if row(a, names[0]) != row(b, names[1]):
            return f"{a.op.name}({', '.join(repr(dict(i.params).get('value', i)) for i in a.inputs)})", b
    return None if not now.nodes else ("something else", now.nodes[-1])
