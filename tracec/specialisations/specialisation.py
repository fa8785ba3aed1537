"""A specialisation: one recording of a function with its program, and when it may serve a call."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from tracec.inspect.arguments import Part
from tracec.ir.graph import Graph
from tracec.record.recording import find_tensors
from tracec.record.tensor import Tensor
from tracec.specialisations.aliasing import sharing
from tracec.specialisations.draws import NO_DRAWS
from tracec.specialisations.effects import ARGUMENTS
from tracec.specialisations.environment import Environment
from tracec.specialisations.fast_path import FastPath, fast_path
from tracec.specialisations.recorded import Recorded
from tracec.specialisations.replay import Replay
from tracec.specialisations.scalars import Scalars
from tracec.specialisations.tree import MOST_PATHS, Tree

#: Calls that paths of a full tree have served, for which one more is recorded.
_WORTH_A_PATH = 8
#: Why a function runs eagerly while its program is made.
BEING_COMPILED = "is being compiled"

#: Arguments of a program, and the values of symbols of its numbers.
Given = tuple[list[Tensor], Mapping[int, Any]]
#: Among the symbols of a call, what undoes its draws.
UNDO = -2
_NO_SYMBOLS: Mapping[int, Any] = {}


class Call(NamedTuple):
    """A call: its arguments, and what `Compiled._call` found in them.

    Attributes:
        args: The arguments.
        kwargs: The keyword arguments.
        whole: What it is known by, values of numbers included.
        tensors: The tensors among the arguments.
        kept: Objects whose identity is in ``whole``.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    whole: tuple[Hashable, ...]
    tensors: list[Tensor]
    kept: list[Any]


class Specialisation:
    """The program, and when it may stand in for the function.

    Args:
        graph: What was recorded.
        surroundings: What the function read around it.
        kept: Objects whose identity is in the key of the recorded call.
        parts: The arguments that it is for.
        disabled: What is left out of its program.

    Attributes:
        replay: The loaded program, or programs where the function asks for values; None where it runs eagerly.
        eager: Why it does, or why calls that the programs do not serve do.
        plainly: Whether it then runs as it is written, and in no compiled parts.
        hits: Calls that it served.
        variants: The recordings with symbolic sizes that it is a case of; see `tracec.specialisations.dynamic_shapes`.
    """

    def __init__(
        self, graph: Graph, surroundings: Environment, kept: list[Any], parts: tuple[Part, ...],
        disabled: frozenset[str],
    ) -> None:  # fmt: skip
        self.parts = parts
        self.graph = graph  # not the recording, which holds the first call's tensors
        self.surroundings = surroundings
        self.replay: Replay | Tree | None = None
        self.eager: str | None = None
        self.plainly = False
        self.kept = kept
        self.disabled = disabled
        self.hits = 0
        self.variants: list[Any] = []
        self._beside: tuple[Tree, int] | None = None
        self._fast_path: list[FastPath | None] = []

    def stand_beside(self, tree: Tree) -> None:
        """Be what runs eagerly for calls that take other paths than those of a tree."""
        self._beside = tree, tree.hits

    @property
    def pays_again(self) -> bool:
        """Whether the paths of the tree beside it were taken so often since that recording another one is worth it."""
        if self._beside is None:
            return False
        tree, before = self._beside
        served = tree.hits - before
        return served >= _WORTH_A_PATH and 2 * served >= self.hits and len(list(tree.leaves)) < MOST_PATHS

    def fast_path(self, call: Call) -> FastPath | None:
        """The fast path for calls like the first that it served; None where there is none.

        Args:
            call: A call that it served, whose key is its own.
        """
        if not self._fast_path:
            self._fast_path.append(fast_path(self, call))
        return self._fast_path[0]

    def takes(self, call: Call, numbers: list[Any], undone: bool = False, undoing: bool = False) -> Given | None:
        """What the program is given, where it may stand in for the function now; None where it may not.

        Args:
            call: The call.
            numbers: The numbers among its arguments that are watched.
            undone: The question alone: what is drawn for the program is undone.
            undoing: What is drawn may have to be undone, whatever the program is.
        """
        replay, around = self.replay, self.surroundings
        if replay is None or around.fails() is not None:
            return None
        if around.has_keys and not around.has_as_keys(call.tensors):
            return None
        if around.is_all and replay.numbers is None:
            return (call.tensors, _NO_SYMBOLS) if replay.fits(call.tensors) else None
        found = around.present()
        if found is None:
            return None
        given = [*call.tensors, *found[1]]
        if found[1] and sharing(given) != around.sharing:
            return None
        values: dict[int, Any] = dict(enumerate((*numbers, *found[0])))
        if around.takes_containers:
            roots = *call.args, *call.kwargs.values()
            if around.alias(roots):
                return None
            values[ARGUMENTS] = roots
        if replay.numbers is not None:
            draws = replay.numbers.draws
            if draws.draws:
                if not replay.fits(given):
                    return None
                if undone or undoing or replay.numbers.chooses or isinstance(replay, Tree) or replay.may_raise:
                    values[UNDO] = draws.states()
                draws(values)
            more = replay.numbers.tensors(values)
            if more is None:
                undo(values)
                return None
            given += more
        fits = replay.fits(given)
        if undone or not fits:
            undo(values)
        return (given, values) if fits else None


#: Recordings that go by what was drawn, after which few calls that drew the same are a sign that hardly any will.
_FRUITLESS = 16


def drawn_out(known: Sequence[Specialisation], numbers: Scalars | None) -> str | None:
    """Why there should be no more recordings of a function that goes by what it draws; None where there may.

    Args:
        known: The recordings for such arguments.
        numbers: The numbers of a further one.
    """
    if numbers is None or not (numbers.draws.draws and numbers.chooses):
        return None
    there = [s for s in known if s.replay is not None and s.replay.numbers is not None and s.replay.numbers.draws.draws]
    if len(there) < _FRUITLESS or sum(s.hits for s in there) > 2 * len(there):
        return None
    return f"goes by numbers that it draws, which were others {len(there)} times, and hardly ever the same"


def undone(replay: Replay | Tree, values: Mapping[int, Any]) -> Callable[[], None]:
    """Let generators be as they were before what was drawn for a call, so that others can draw the same.

    Args:
        replay: The program.
        values: The values of the call's symbols.

    Returns:
        What lets them be as they are when it was drawn.
    """
    after = NO_DRAWS.states() if replay.numbers is None else replay.numbers.draws.states()
    undo(values)
    return after


def undo(values: Mapping[int, Any]) -> None:
    """Let generators be as they were before what was drawn for a call.

    Args:
        values: The values of the call's symbols.
    """
    back = values.get(UNDO)
    if back is not None:
        back()


class ViewsAtRecording:
    """How the tensors of a recording looked at their memory when it was made.

    Args:
        recorded: The recording; what is built of it later counts on them.
    """

    def __init__(self, recorded: Recorded) -> None:
        tensors = (*recorded.arguments, *find_tensors(recorded.out))
        self._looks = [(t, t._storage, t._steps) for t in tensors]

    def hold(self) -> bool:
        """Whether they are the same views of the same memory."""
        return all(t._storage is storage and t._steps is steps for t, storage, steps in self._looks)
