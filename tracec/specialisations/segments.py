"""Deferred operations as a graph with a canonical form, by which a segment that comes again is found.

Operations work on arrays, which are written in place and viewed. In the graph each memory has one value at a time, that
of the last write, and a view is computed from it by the view's steps. Two segments have the same form where they make
the same graph from inputs of the same types, and the same of their results are still referenced when they are computed
(told by reference counts); Python's numbers in them may differ.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracec.ir import dtype as dt
from tracec.ir.graph import Graph
from tracec.ir.node import Node, constant, input_node, made_from
from tracec.ir.operator import OPERATORS
from tracec.ir.source import Source
from tracec.ir.types import TensorType
from tracec.record.backend import address_of, device_of, number_on
from tracec.record.call import Call
from tracec.record.cell import type_of
from tracec.record.deferred_steps import COMPUTED, COPY, LOOK, NUMBER, Step
from tracec.record.seen import root
from tracec.record.write import rewritten

#: What calls are alike by → their number. None is given twice: threads may ask at once, and it may be forgotten.
_FORMS: dict[Hashable, int] = {}
_NUMBERS = itertools.count(1)
#: Entries from which on it is forgotten: as many as there are calls (`tracec.record.call`), more or less.
_MOST_FORMS = 20_000


class Shapeless(Exception):
    """Steps are no graph: memory is looked at in a way that is not known."""


class Row(NamedTuple):
    """A value of a form.

    Attributes:
        kind: ``input``, ``number``, ``call``, ``spread`` or ``put``.
        what: An array, the number's type, the call, the shape, or the view steps to what is written.
        operands: Numbers of the values that it is computed from.
        source: The user's line.
    """

    kind: str
    what: Any
    operands: tuple[int, ...]
    source: Source | None


class _Memory:
    """Memory that steps read or write.

    Attributes:
        array: All of it that is known: an array without holes.
        value: Number of its present value.
        version: How often it was written.
    """

    __slots__ = ("array", "value", "version")

    def __init__(self, array: Any, value: int) -> None:
        self.array, self.value, self.version = array, value, 0


class Form:
    """What steps compute.

    Args:
        steps: The steps.

    Attributes:
        rows: The values, operands first.
        key: Equal for forms that one program can compute.
        inputs: The arrays of the inputs.
        numbers: Python's numbers, as arrays.
        targets: The arrays that are to hold values in the end.
        outputs: Numbers of these values.
        replaces: Position among the outputs → position among the inputs, of memory that was there before.

    Raises:
        Shapeless: they are no graph.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.rows: list[Row] = []
        self._parts: list[Hashable] = []
        self.inputs: list[Any] = []
        self.numbers: list[Any] = []
        #: The memory that an array looks at, and how, by the array's number.
        self._at: dict[int, tuple[_Memory, tuple[Call, ...]]] = {}
        #: Looks that are not known in that way yet: at which array, and how.
        self._looks: dict[int, tuple[Any, Call]] = {}
        self._views: dict[tuple[_Memory, int, tuple[Call, ...]], int] = {}
        self._inputs: dict[Hashable, _Memory] = {}
        self._made: list[_Memory] = []
        self._constants: list[_Memory] = []
        self._own = {id(root(step[4])) for step in steps if step[0] in (COMPUTED, COPY)}
        held = _held(steps)
        for step in steps:
            self._take(step)
        self._finish(held)

    def _take(self, step: Step) -> None:
        kind, call, arrays, numbers, out, source = step
        if kind == COMPUTED:
            operands = self._operands(call, arrays, numbers, source)
            value = self._add("call", call, operands, source, (call.form or _form_of(call), operands))
            self._enter(out, value, self._made)
        elif kind == LOOK:
            self._looks[id(out)] = arrays[0], call
        elif kind == COPY:
            self._enter(out, self._value(arrays[0], source), self._made)
        elif kind == NUMBER:
            self._enter(out, self._number(arrays[0], call, source), self._constants)
        else:
            self._write(out, arrays[0], source)

    def _enter(self, array: Any, value: int, among: list[_Memory]) -> None:
        memory = _Memory(array, value)
        among.append(memory)
        self._at[id(array)] = memory, ()

    def _operands(
        self, call: Call, arrays: Sequence[Any], numbers: Sequence[int], source: Source | None
    ) -> tuple[int, ...]:
        operands = []
        for k, array in enumerate(arrays):
            found = self._at.get(id(array))
            if found is not None and not found[1]:
                operands.append(found[0].value)
            else:
                operands.append(self._number(array, call, source) if k in numbers else self._value(array, source))
        return tuple(operands)

    def _add(self, kind: str, what: Any, operands: tuple[int, ...], source: Source | None, part: Hashable) -> int:
        self.rows.append(Row(kind, what, operands, source))
        self._parts.append(part)
        return len(self.rows) - 1

    def _number(self, array: Any, call: Call, source: Source | None) -> int:
        self.numbers.append(array)
        kind = TensorType(dt.of_numpy(array.dtype), (), call.type.device)
        return self._add("number", kind, (), source, kind)

    def _place(self, array: Any) -> tuple[_Memory, tuple[Call, ...]]:
        """The memory that an array looks at, and how."""
        found = self._at.get(id(array))
        if found is not None:
            return found
        look = self._looks.get(id(array))
        if look is not None:
            memory, chain = self._place(look[0])
            self._at[id(array)] = found = memory, (*chain, look[1])
            return found
        if id(root(array)) in self._own:
            raise Shapeless("a view of memory that no step made")
        place = address_of(array), array.shape, array.strides, array.dtype
        known = self._inputs.get(place)
        if known is None:
            value = self._add("input", array, (), None, (array.dtype, array.shape, str(device_of(array))))
            known = self._inputs[place] = _Memory(array, value)
            self.inputs.append(array)
        self._at[id(array)] = known, ()
        return known, ()

    def _value(self, array: Any, source: Source | None) -> int:
        memory, chain = self._place(array)
        if not chain:
            return memory.value
        found = memory.value
        for k, call in enumerate(chain):
            key = memory, memory.version, chain[: k + 1]
            known = self._views.get(key)
            if known is None:
                known = self._views[key] = self._add("call", call, (found,), source, (_form_of(call), (found,)))
            found = known
        return found

    def _write(self, into: Any, values: Any, source: Source | None) -> None:
        memory, chain = self._place(into)
        value = self._value(values, source)
        if values.dtype != into.dtype:
            raise Shapeless("a write of another type")
        if values.shape != into.shape:
            value = self._add("spread", into.shape, (value,), source, ("spread", into.shape, value))
        if chain:
            part = "put", tuple(map(_form_of, chain)), memory.value, value
            value = self._add("put", chain, (memory.value, value), source, part)
        memory.value, memory.version = value, memory.version + 1

    def _finish(self, held: set[int]) -> None:
        outside = list(self._inputs.values())
        written = [m for m in (*outside, *self._constants) if m.version]
        if written and _overlap(outside):
            raise Shapeless("memory is written that is looked at in several ways")
        made = [m for m in self._made if id(root(m.array)) in held]
        position = {id(m): k for k, m in enumerate(outside)}
        places = [position.get(id(m)) for m in written]
        self.targets = [m.array for m in (*made, *written)]
        self.outputs = [m.value for m in (*made, *written)]
        self.replaces = {
            len(made) + k: at
            for k, (m, at) in enumerate(zip(written, places, strict=True))
            if at is not None and m.array.flags.c_contiguous
        }
        self.key = tuple(self._parts), tuple(self.outputs), tuple(places)

    def graph(self, name: str, lifted: Sequence[int]) -> Graph:
        """The form as a graph; numbers at these positions are inputs, behind the others."""
        nodes: list[Node] = []
        inputs: list[Node] = []
        late: dict[int, Node] = {}
        count = 0
        for kind, what, operands, source in self.rows:
            given = tuple(nodes[k] for k in operands)
            if kind == "input":
                node = input_node(type_of(what), "", source)
                inputs.append(node)
            elif kind == "number":
                if count in lifted:
                    node = late[count] = input_node(what, "", source)
                else:
                    node = constant(self.numbers[count].item(), what)
                count += 1
            elif kind == "call":
                node = Node(what.op, given, what.params, what.type, source)
            else:
                with made_from(source):
                    node = _spread(given[0], what) if kind == "spread" else rewritten(given[0], what, given[1])
            nodes.append(node)
        return Graph((*inputs, *(late[k] for k in lifted)), tuple(nodes[k] for k in self.outputs), name)

    def given(self, lifted: Sequence[int]) -> list[Any]:
        """What the graph's inputs are: as arrays whose elements lie one behind the other."""
        kinds = [row.what for row in self.rows if row.kind == "number"] if lifted else []
        late = [
            self.numbers[k] if kinds[k].device == "cpu" else number_on(self.numbers[k], kinds[k].device) for k in lifted
        ]
        return [*(a if a.flags.c_contiguous else a.copy() for a in self.inputs), *late]


def _spread(node: Node, shape: Any) -> Any:
    return OPERATORS["expand"](node, shape=tuple(shape))


def _form_of(call: Call) -> int:
    """A number that calls of the same operator, parameters and types share."""
    if not call.form:
        key = call.op.name, call.params, repr(call.params), call.types, call.type
        if len(_FORMS) >= _MOST_FORMS:
            _FORMS.clear()
        call.form = _FORMS.setdefault(key, next(_NUMBERS))
    return call.form


def _held(steps: Sequence[Step]) -> set[int]:
    """Numbers of the arrays made by steps whose memory somebody beside the steps holds."""
    counts, arrays = _counted(steps)
    # One for the dictionary, one for `a`, one for the call.
    return {id(root(a)) for a in arrays.values() if sys.getrefcount(a) > counts[id(a)] + _OWN_REFERENCES}


def _counted(steps: Sequence[Step]) -> tuple[dict[int, int], dict[int, Any]]:
    """How often steps refer to arrays, and these, by their numbers; apart, since its variables refer to some, too."""
    counts: dict[int, int] = {}
    arrays: dict[int, Any] = {}
    for _, _, operands, _, out, _ in steps:
        for a in (*operands, out):
            key = id(a)
            counts[key] = counts.get(key, 0) + 1
            arrays[key] = a
    for a in tuple(arrays.values()):
        base = a.base
        if type(base) is not type(a):
            base = getattr(base, "base", None)  # what as_strided puts between
        if type(base) is type(a):
            counts[id(base)] = counts.get(id(base), 0) + 1
            arrays.setdefault(id(base), base)
    return counts, arrays


def _count_references() -> int:
    held = {0: np.empty(1)}
    return next(sys.getrefcount(a) for a in held.values())


#: References that `_held` itself has to an array.
_OWN_REFERENCES = _count_references()


def _overlap(memories: Sequence[_Memory]) -> bool:
    """Whether memory that is written is part of other memory that is read."""
    reach, writes = -1, False
    for low, high, written in sorted(_extents(memories)):
        if low < reach and (written or writes):
            return True
        if high > reach:
            reach, writes = high, written
    return False


def _extents(memories: Sequence[_Memory]) -> Iterator[tuple[int, int, bool]]:
    for m in memories:
        if m.array.size:
            low = high = address_of(m.array)
            for n, step in zip(m.array.shape, m.array.strides, strict=True):
                low, high = low + min(0, (n - 1) * step), high + max(0, (n - 1) * step)
            yield low, high + m.array.itemsize, bool(m.version)
