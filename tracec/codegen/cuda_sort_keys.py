"""What rows are sorted by, and where their sorted places go."""

from __future__ import annotations

from dataclasses import dataclass

from tracec.codegen.cuda_dialect import TYPES, memory_type
from tracec.codegen.cuda_writer import Parameter
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.extent import is_varying, like

#: Counters of fewer are 32 bits.
LIMIT = 2**31
#: What kernels of several steps count on.
BOARD = Parameter("unsigned", "board")


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys to sort by, as a function of the place ``at`` in row ``row``.

    Attributes:
        parameters: Declarations of what they are read from.
        args: The buffers behind those.
        load: Statements before the key's value.
        value: The key, an unsigned integer.
        bits: How many of its bits differ.
        original: The element whose key is ``whole``,
        lost: and where it does not say that; empty for nowhere.
        place: Where the place of what has the key is, of ``{}``; empty where that is the place.
    """

    parameters: tuple[Parameter, ...]
    args: tuple[int, ...]
    load: tuple[str, ...]
    value: str
    bits: int
    original: str = ""
    lost: str = ""
    place: str = ""

    @property
    def type(self) -> str:
        """The narrowest type that holds a key."""
        return next(TYPES[d] for d in (dt.uint8, dt.uint16, dt.uint32, dt.uint64) if self.bits <= 8 * d.itemsize)

    @property
    def width(self) -> int:
        """The bits of that type."""
        return next(n for n in (8, 16, 32, 64) if self.bits <= n)


@dataclass(frozen=True, slots=True)
class Order:
    """Where sorted places go.

    Attributes:
        parameters: Declarations of what they are written to.
        args: The buffers behind those.
        lines: Statements for element ``at`` of row ``row``, whose place was ``place``.
        sees_keys: Whether these read what keys are read from.
        takes: The type of the element that these take, as ``element``; None where they take none.
        element: Where it is, of ``place``.
    """

    parameters: tuple[Parameter, ...]
    args: tuple[int, ...]
    lines: tuple[str, ...]
    sees_keys: bool = False
    takes: DType | None = None
    element: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """What is sorted, and which of it is asked for.

    Attributes:
        rows: How many rows there are.
        length: Elements of each.
        start: The first rank of each that is asked for,
        count: and how many are.
        wide: Whether counters have 64 bits, however few elements there are.
    """

    rows: int
    length: int
    start: int
    count: int
    wide: bool = False

    @property
    def counter(self) -> str:
        """The type of counters."""
        return self._counter[0]

    @property
    def _counter(self) -> tuple[str, str]:
        return counter_type(LIMIT if self.wide else self.rows * self.length)

    @property
    def whole(self) -> bool:
        """Whether all ranks are asked for."""
        return not is_varying(self.start) and self.start == 0 and like(self.count, self.length)

    def written(self, value: int) -> str:
        """A number of the counters' type."""
        return written(value, *self._counter)

    def wanted(self, lines: tuple[str, ...]) -> tuple[str, ...]:
        """Statements for rank ``at``, where it is one that is asked for."""
        if self.whole:
            return lines
        first, last = self.written(self.start), self.written(self.count)
        return (f"if (at - {first} < {last}) {{", *(f"  {line}" for line in lines), "}")


def counter_type(count: int) -> tuple[str, str]:
    """The type of counters up to ``count``, and what follows its literals."""
    return ("unsigned long long", "ULL") if count >= LIMIT else ("unsigned", "u")


def written(value: int, counter: str, suffix: str) -> str:
    """A number of the counters' type."""
    return f"({counter}){value}" if is_varying(value) else f"{value}{suffix}"


def key_of(dtype: DType, element: str, descending: bool) -> tuple[str, int]:
    """The key of an element, and how many bits it has."""
    bits = 8 * dtype.itemsize
    if dtype is dt.float64:
        text = f"rising_f64({element})"
    elif dtype.kind == "f":
        wide = {dt.float16: "__half2float({})", dt.bfloat16: "__bfloat162float({})"}.get(dtype, "{}").format(element)
        # What 16 bits hold is told apart by the first bits of a float.
        bits = {dt.float16: 19, dt.bfloat16: 16}.get(dtype, 32)
        text = f"rising_f32({wide})" + (f" >> {32 - bits}" if bits < 32 else "")
    elif dtype.kind == "i":
        unsigned = {8: "unsigned char", 16: "unsigned short", 32: "unsigned", 64: "unsigned long long"}[bits]
        text = f"({unsigned}){element} ^ {hex(1 << bits - 1)}{'ULL' if bits == 64 else 'u'}"
    else:
        text = element
    return (f"({text}) ^ {hex((1 << bits) - 1)}{'ULL' if bits == 64 else 'u'}" if descending else text), bits


def original_of(dtype: DType, bits: int, descending: bool) -> tuple[str, str]:
    """The element of a key ``whole``, and where the key does not say which it is: keys of both zeros are the same."""
    long = bits > 32
    suffix, most = "ULL" if long else "u", (1 << bits) - 1
    key = f"(whole ^ {hex(most)}{suffix})" if descending else "whole"
    if dtype.kind == "f":
        alike = [hex(n ^ (most if descending else 0)) + suffix for n in (1 << bits - 1, most)]
        text = f"original_f64({key})" if long else f"original_f32({key}, {32 - bits})"
        narrow = {dt.float16: "__float2half({})", dt.bfloat16: "__float2bfloat16({})"}.get(dtype, "{}")
        return narrow.format(text), f"whole == {alike[0]} || whole == {alike[1]}"
    if dtype.kind == "i":
        return f"({TYPES[dtype]})({key} ^ {hex(1 << bits - 1)}{suffix})", ""
    return f"({memory_type(dtype)})({key})", ""
