"""Draws from Python's and NumPy's generators: made again at each call, before the program, in the function's order.

While a function is recorded others stand in for what draws, where the user's code names it. They draw, and give Numbers
and arrays that are not looked into; programs are given those that the same calls draw then. So a generator's state is
after a call what it is after an eager one. That all that was drawn was seen is known when the function has run: the
same draws from the states before lead to the states after. What goes by a draw depends on it, as on other numbers.
"""

from __future__ import annotations

import functools
import random
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracec.ir import dtype as dt
from tracec.ir.classes import is_one_of
from tracec.ir.expression import every_part
from tracec.ir.number import WATCH, Number, number
from tracec.ir.types import TensorType
from tracec.record.cell import new_tensor
from tracec.record.elements import elements, looked_into
from tracec.record.numbers import Numbers, Scalar
from tracec.record.opaque import Opaque
from tracec.record.state import STATE
from tracec.specialisations.keys import PLAIN
from tracec.specialisations.places import Place

#: What draws numbers or arrays of numbers, or sets a state, by the kind of generator.
_PYTHON = (
    "betavariate", "binomialvariate", "expovariate", "gammavariate", "gauss", "getrandbits", "lognormvariate",
    "normalvariate", "paretovariate", "randint", "random", "randrange", "triangular", "uniform", "vonmisesvariate",
    "weibullvariate", "seed",
)  # fmt: skip
_BOTH_NUMPY = (
    "beta", "binomial", "chisquare", "choice", "dirichlet", "exponential", "f", "gamma", "geometric", "gumbel",
    "hypergeometric", "laplace", "logistic", "lognormal", "logseries", "multinomial", "multivariate_normal",
    "negative_binomial", "noncentral_chisquare", "noncentral_f", "normal", "pareto", "permutation", "poisson", "power",
    "random", "rayleigh", "standard_cauchy", "standard_exponential", "standard_gamma", "standard_normal", "standard_t",
    "triangular", "uniform", "vonmises", "wald", "weibull", "zipf",
)  # fmt: skip
_DRAWING: dict[type, frozenset[str]] = {
    random.Random: frozenset({*_PYTHON, "choice"}),
    np.random.RandomState: frozenset({*_BOTH_NUMPY, "rand", "randn", "randint", "random_integers", "random_sample",
                                      "ranf", "sample", "tomaxint", "seed"}),
    np.random.Generator: frozenset({*_BOTH_NUMPY, "integers", "multivariate_hypergeometric", "permuted"}),
}  # fmt: skip
#: Types of arrays that are inputs.
_TYPES = tuple(map(np.dtype, ("float32", "float64", "int32", "int64", "bool")))


class Source(NamedTuple):
    """A generator as what has a state.

    Attributes:
        get: Gives its state.
        set: Sets it.
    """

    get: Callable[[], Any]
    set: Callable[[Any], None]


def source_of(generator: Any) -> Source:
    """The state of a generator of Python's or NumPy's."""
    if isinstance(generator, random.Random):
        return Source(generator.getstate, generator.setstate)
    if isinstance(generator, np.random.RandomState):
        return Source(generator.get_state, generator.set_state)
    bits = generator.bit_generator
    return Source(lambda: bits.state, functools.partial(setattr, bits, "state"))


#: The generators behind the functions of the modules.
PYTHON: Any = random.random.__self__  # type: ignore[attr-defined]
NUMPY: Any = np.random.rand.__self__  # type: ignore[attr-defined]


class Draw:
    """One call that draws.

    Args:
        generator: What draws.
        name: The name of its method.
        args: The arguments, plain ones.
        kwargs: Those by name.

    Attributes:
        symbol: The number of the symbol that stands for what is drawn; None where that is nothing.
    """

    def __init__(self, generator: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.generator, self.symbol = generator, None
        self._call = functools.partial(getattr(generator, name), *args, **kwargs)
        self._key = id(generator), name, repr(args), repr(kwargs)

    symbol: int | None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Draw) and (self._key, self.symbol) == (other._key, other.symbol)

    __hash__ = None  # type: ignore[assignment]

    def __call__(self) -> Any:
        """Draw."""
        return self._call()


class Draws:
    """The draws of a recording, in order.

    Args:
        draws: These.
    """

    def __init__(self, draws: Sequence[Draw] = ()) -> None:
        self.draws = tuple(draws)
        self.symbols = frozenset(d.symbol for d in draws if d.symbol is not None)
        self._sources = [source_of(g) for g in {id(d.generator): d.generator for d in draws}.values()]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Draws) and self.draws == other.draws

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, values: dict[int, Any]) -> None:
        """Draw; what is drawn is entered."""
        for draw in self.draws:
            found = draw()
            if draw.symbol is not None:
                values[draw.symbol] = found

    def states(self) -> Callable[[], None]:
        """What gives the generators the states that they have now."""
        states = [s.get() for s in self._sources]

        def back() -> None:
            for source, state in zip(self._sources, states, strict=True):
                source.set(state)

        return back

    def explain(self, sources: Sequence[Source], before: Sequence[Any]) -> bool:
        """Whether these draws, and no others, lead from the states before to those that there are."""
        after = [s.get() for s in sources]
        if not self.draws:
            return all(map(_same, after, before))
        for source, state in zip(sources, before, strict=True):
            source.set(state)
        try:
            self({})
            return all(_same(a, s.get()) for a, s in zip(after, sources, strict=True))
        finally:
            for source, state in zip(sources, after, strict=True):
                source.set(state)


def _same(a: Any, b: Any) -> bool:
    """Whether two states of a generator are equal: numbers, text and arrays, in tuples and dictionaries."""
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(v, b[k]) for k, v in a.items())
    return bool(a == b)


NO_DRAWS = Draws()


#: What seeds the generator behind the functions of NumPy's module, and is no method of it.
_SEED = getattr(np.random.mtrand, "seed", None)


# While a function is recorded ------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """An argument of a draw, which no other call changes; None is one.

    Raises:
        TypeError: it is not plain.
    """
    value = looked_into(value)
    if isinstance(value, Number) or type(value) is Opaque:
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, np.ndarray) and value.dtype != object and value.size <= _LARGEST:
        return value.copy()
    if type(value) is list or type(value) is tuple:
        return type(value)(map(_plain, value))
    if isinstance(value, (*PLAIN, np.generic, np.dtype, type)):
        return value
    raise TypeError


#: Elements of an array that is kept with a draw.
_LARGEST = 1 << 10


def _drawn(generator: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Draw for the user's code."""
    numbers = WATCH.watcher
    recorder = STATE.recorder
    watched = isinstance(numbers, Numbers) and getattr(recorder, "gives_numbers", False)
    if not watched or (name == "seed" and not args) or _writes(name, args, kwargs):
        return getattr(generator, name)(*map(looked_into, args), **{k: looked_into(v) for k, v in kwargs.items()})
    if name == "choice" and isinstance(generator, random.Random):
        return _chosen(generator, *args, **kwargs)
    try:
        draw = Draw(generator, name, [_plain(a) for a in args], {k: _plain(v) for k, v in kwargs.items()})
    except TypeError:
        return getattr(generator, name)(*args, **kwargs)
    found = draw()
    assert isinstance(numbers, Numbers)
    numbers.draws.append(draw)
    return _given(numbers, draw, found, f"{name}()")


def _writes(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether what is drawn goes to an array of the user's, the last argument of such methods of NumPy's."""
    if kwargs.get("out") is not None:
        return True
    return (name == "random" or name.startswith("standard_")) and any(isinstance(a, np.ndarray) for a in args[2:])


def _chosen(generator: Any, seq: Any) -> Any:
    count = len(seq)
    return seq[_drawn(generator, "_randbelow", (count,), {})] if count else generator.choice(seq)


def _given(numbers: Numbers, draw: Draw, found: Any, name: str) -> Any:
    """What the user's code is given for what was drawn."""
    if found is None:
        return None
    expression = numbers.symbol(f"{name} {len(numbers.draws)}")
    draw.symbol = expression.value
    if type(found) in (int, float, np.float64):
        return number(found, expression, numbers)
    if type(found) is np.ndarray and found.dtype in _TYPES:
        tensor = new_tensor(found)
        type_ = TensorType(dt.of_numpy(found.dtype), found.shape, "cpu")
        numbers.enter(Scalar(expression, type_), tensor)
        return elements(tensor)
    numbers.note(expression, found)  # by value, which is no Number
    return found


class Drawing:
    """Stands in for a generator.

    Args:
        generator: The generator.
    """

    __slots__ = ("generator",)

    def __init__(self, generator: Any) -> None:
        self.generator = generator

    @property
    def __class__(self) -> Any:
        return type(self.generator)

    @__class__.setter
    def __class__(self, _: Any) -> None:
        raise TypeError("the type of a generator cannot be changed")

    def __getattr__(self, name: str) -> Any:
        generator = self.generator
        found = getattr(generator, name)
        return found if name not in _names(generator) else _method(generator, name)


def _names(generator: Any) -> frozenset[str]:
    return next((names for cls, names in _DRAWING.items() if type(generator) is cls), frozenset())


def is_generator(value: Any) -> bool:
    """Whether a value is one of Python's or NumPy's generators."""
    return is_one_of(type(value), _DRAWING)


def _method(generator: Any, name: str) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        return _drawn(generator, name, args, kwargs)

    return run


def drawing(value: Any) -> Any:
    """What stands in for a generator, or a method of one that draws; None for anything else."""
    if isinstance(value, (types.BuiltinFunctionType, types.MethodType)):
        owner = getattr(value, "__self__", None)
        return _method(owner, value.__name__) if value.__name__ in _names(owner) else None
    return Drawing(value) if _names(value) else None


def functions() -> Iterator[tuple[Place, Any, Any]]:
    """Functions of modules that draw: places, these, and what stands in for them."""
    for module, generator in ((random, PYTHON), (np.random, NUMPY)):
        for name in sorted(_names(generator)):
            value = vars(module).get(name)
            if getattr(value, "__self__", None) is generator or (value is not None and value is _SEED):
                yield Place(vars(module), name), value, _method(generator, name)


def goes_by(numbers: Numbers) -> str | None:
    """Why draws are not made again: the function goes by the digits of one, which never come again."""
    symbols = {d.symbol for d in numbers.draws}
    for condition in numbers.all_conditions():
        drawn = any(e.kind == "symbol" and e.value in symbols for e in every_part(condition.expression))
        if drawn and isinstance(condition.value, float):
            return f"goes by the value of a number that it draws, {condition.expression}"
    return None
