"""Conditions on values: one declaration each, tested at once, and again at every replay.

There are two kinds. Integers are in a range (`check_range`), or nothing is wrong with any element, as bools tell that
operators compute from the values (`check_none`), whichever they are: those of a program compute the same. In a recorded
function both are part of its graph, and come down to a number or two that tell whether the condition holds
(`Requirement.numbers`). What is asked of values is decided here, and nowhere else: a function that refuses makes an
error, and decides nothing.

A program on a GPU cannot be asked before it runs without waiting for all that was queued before it; see
`tracec.record.late`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from tracec import ops
from tracec.ir import dtype as dt
from tracec.ir.conditions import unnoted
from tracec.ir.extent import plain
from tracec.record.backend import META, device_of, module, to_device
from tracec.record.cell import Cell
from tracec.record.deferred import settled
from tracec.record.state import STATE

#: Raises the error for values that break a condition, on the host: those that were looked at, some of which are as
#: they must not be; of a program that has run the least and the largest of them, or None where there are none to show.
Refuse = Callable[[Any], NoReturn]


def least_and_largest(array: Any) -> tuple[int, int]:
    """The least and the largest of some integers; a GPU is waited for once."""
    if isinstance(array, np.ndarray):
        return int(array.min()), int(array.max())
    low, high = module(device_of(array)).stack((array.min(), array.max())).get().tolist()
    return low, high


class Requirement(NamedTuple):
    """What values have to be.

    Attributes:
        refuse: Raises the error.
        bounds: The least and the largest integer that they may be, the first no larger than the other; None for
            bools none of which may hold.
        ignored: An integer that they may be besides.
    """

    refuse: Refuse
    bounds: tuple[int, int] | None = None
    ignored: int | None = None

    def test(self, values: Any, shown: Cell | None = None) -> None:
        """Raise where an array breaks the condition.

        Args:
            values: The array.
            shown: What the error is to show, of bools.
        """
        if not values.size:
            return
        if self.bounds is None:
            if values.any():
                self._refuse(None if shown is None else to_device(settled(shown._array), "cpu"))
            return
        least, most = self.bounds
        low, high = least_and_largest(values)
        if least <= low and high <= most:
            return
        if self.ignored is not None:
            self._replace(ignored=None).test(values[values != self.ignored])
        else:
            self._refuse(to_device(values, "cpu"))

    def test_numbers(self, found: Sequence[int]) -> None:
        """Raise where the numbers that a program found say that values break the condition."""
        if self.bounds is None:
            if found[0] > 0:
                self._refuse(None)
        elif found[0] < self.bounds[0] or found[1] > self.bounds[1]:
            self._refuse(np.array(found, np.int64))

    def at_present(self) -> Requirement:
        """The same for the present sizes alone, to be tested for them."""
        return self if self.bounds is None else self._replace(bounds=(plain(self.bounds[0]), plain(self.bounds[1])))

    def _refuse(self, values: Any) -> NoReturn:
        with unnoted():  # sizes in its text are those of the call, too
            self.refuse(values)

    @property
    def how_many(self) -> int:
        """How many numbers there are."""
        return 1 if self.bounds is None else 2

    def numbers(self, x: Any) -> list[Any]:
        """What tells whether values, of one element at least, break the condition: int64 of no dimensions.

        Args:
            x: A node, or a tensor.
        """
        axes = tuple(range(x.ndim))
        value = ops.cast(x, dtype=dt.int64)
        if self.bounds is None:
            return [ops.max(value, axes=axes)]
        if self.ignored is not None:
            value = ops.where(ops.eq(value, self.ignored), self.bounds[0], value)
        return [ops.min(value, axes=axes), ops.max(value, axes=axes)]

    def broken(self, x: Any) -> Any:
        """Whether values, of one element at least, break the condition: a bool of no dimensions."""
        if self.bounds is None:
            return ops.gt(self.numbers(x)[0], 0)
        low, high = self.numbers(x)
        return ops.bitwise_or(ops.lt(low, self.bounds[0]), ops.gt(high, self.bounds[1]))


def check_range(x: Cell, least: int, most: int, refuse: Refuse, *, ignored: int | None = None) -> None:
    """Refuse integers out of a range, in a recorded function at each call.

    Args:
        x: Integers.
        least: The least that they may be.
        most: The largest.
        refuse: Raises the error.
        ignored: One that they may be besides.
    """
    if x._type.dtype.kind == "u":  # of the widest ones the upper half is negative as int64
        least = 0 if least < 0 else least
    if least > most:  # there is no such integer: each is wrong
        check_none(ops.eq(x, x) if ignored is None else ops.ne(x, ignored), refuse, shown=x)
    else:
        _check(x, Requirement(refuse, (least, most), ignored), x)


def check_none(broken: Cell, refuse: Refuse, shown: Cell | None = None) -> None:
    """Refuse what is wrong with any element, in a recorded function at each call.

    Args:
        broken: Bools that hold where something is wrong: computed with operators, which a program computes as well.
        refuse: Raises the error.
        shown: Values that the error shows, as long as they are at hand.
    """
    _check(broken, Requirement(refuse), shown)


def check_again(x: Cell, requires: Requirement) -> None:
    """Refuse what a condition on parts of a tensor refuses anywhere in it."""
    _check(x, requires, None)


def check_numbers(found: Sequence[Cell], requires: Requirement) -> None:
    """Refuse what runs of a loop found out of a condition: of each of its numbers as many as there were runs."""
    if requires.bounds is None:
        check_none(ops.ne(found[0], 0), requires.refuse)
    else:
        _check(ops.concatenate(*found, axis=0), Requirement(requires.refuse, requires.bounds), None)


def _check(x: Cell, requires: Requirement, shown: Cell | None) -> None:
    recorder: Any = STATE.recorder
    if x._device is META:
        return  # it has no values
    if recorder is None or recorder.tests:
        requires.at_present().test(settled(x._array), shown)
    if recorder is not None:
        recorder.check(x, requires)
