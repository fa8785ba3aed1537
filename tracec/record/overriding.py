"""Classes that bring their own functions: PyTorch's protocol ``__torch_function__``.

A class of Tensor's that defines the protocol is entered in `CLASSES` when it is made, and functions look for it
before they run. Other classes that define it are looked for when a function has failed on what it was given, so
that programs without such classes pay nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from tracec.errors import ArgumentTypeError
from tracec.record.cell import Cell, tensor_class
from tracec.record.state import STATE

#: Classes of Tensor's whose functions are their own; `Tensor` itself and those that forgo it are not among them.
CLASSES: set[type] = set()


def disabled(*_: Any, **__: Any) -> Any:
    """As the ``__torch_function__`` of a class of Tensor's: functions treat it as any tensor."""
    return NotImplemented


class DisableTorchFunctionSubclass:
    """Within, functions take objects of classes with a ``__torch_function__`` of their own as what they are."""

    def __enter__(self) -> None:
        self._before, STATE.as_tensors = STATE.as_tensors, True

    def __exit__(self, *_: object) -> None:
        STATE.as_tensors = self._before


def registered(args: Iterable[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """One object of each class in `CLASSES` among the arguments and in lists of them; see `overriding`."""
    found: list[Any] = []
    for given in (args, kwargs.values()) if kwargs else (args,):
        for x in given:
            cls = type(x)
            if cls in CLASSES:
                _enter_registered(found, x)
            elif cls is list or cls is tuple:
                for y in x:
                    if type(y) in CLASSES:
                        _enter_registered(found, y)
    return found


def _enter_registered(found: list[Any], x: Any) -> None:
    if not STATE.as_tensors or x.is_composite:
        _enter(found, x)


def overriding(args: Iterable[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """One object of each class with a ``__torch_function__`` of its own among the arguments and in lists of them.

    Returns:
        Those of subclasses before those of the classes that they are of, otherwise as they were given.
    """
    found: list[Any] = []
    for x in _each(args, kwargs):
        if overrides(x):
            _enter(found, x)
    return found


def overrides(x: Any) -> bool:
    """Whether an object brings functions of its own."""
    cls = type(x)
    if isinstance(x, Cell):
        return cls in CLASSES and (not STATE.as_tensors or cls.is_composite)
    if STATE.as_tensors or isinstance(x, type):
        return False
    # PyTorch's own tensors only know to call the function again.
    own = getattr(cls, "__torch_function__", None)
    return own is not None and not getattr(own, "__module__", "").startswith("torch.")


def _each(args: Iterable[Any], kwargs: Mapping[str, Any]) -> Iterator[Any]:
    for x in chain(args, kwargs.values()) if kwargs else args:
        if (cls := x.__class__) is list or cls is tuple:
            yield from x
        else:
            yield x


def _enter(found: list[Any], x: Any) -> None:
    if any(type(x) is type(y) for y in found):
        return
    at = next((i for i, y in enumerate(found) if isinstance(x, type(y))), len(found))
    found.insert(at, x)


def dispatch(
    function: Callable[..., Any], objects: Sequence[Any], args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
) -> Any:
    """What the objects make of a function: the first that does not answer ``NotImplemented``.

    Raises:
        ArgumentTypeError: none knows what to do.
    """
    result = _answer(function, objects, args, kwargs)
    if result is NotImplemented:
        names = ", ".join(type(x).__name__ for x in objects)
        raise ArgumentTypeError(
            f"{name_of(function)}: all __torch_function__ handlers returned NotImplemented: those of {names}",
            hint="let one of them handle the function",
        )
    return result


def is_asked(function: Any, objects: Sequence[Any]) -> bool:
    """Whether the objects are being asked about the function already: it is their answer that calls it again."""
    return bool(STATE.asked) and _question(function, objects) in STATE.asked


def _question(function: Any, objects: Sequence[Any]) -> tuple[int, ...]:
    return (id(function), *map(id, objects))


def _answer(function: Any, objects: Sequence[Any], args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
    types = tuple(type(x) for x in objects)
    before = STATE.asked
    STATE.asked = (*before, _question(function, objects))
    try:
        for x in objects:
            result = type(x).__torch_function__(function, types, args, {} if kwargs is None else kwargs)
            if result is not NotImplemented:
                return result
        return NotImplemented
    finally:
        STATE.asked = before


def name_of(function: Any) -> str:
    """The name of a function, or of the attribute that a ``__get__`` reads."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, property) and owner.fget is not None:
        return owner.fget.__name__
    return getattr(function, "__name__", str(function))


def default(
    cls: type, function: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...], kwargs: dict[str, Any] | None
) -> Any:
    """What a class of Tensor's does that has no other wish: the function as it is, its tensors as ones of the class."""
    question = (0, *_question(function, args))
    if question in STATE.asked or not all(issubclass(cls, t) for t in types):
        return NotImplemented  # the first: another library's function, which asks again
    before = STATE.asked
    STATE.asked = (*before, question)
    try:
        with DisableTorchFunctionSubclass():
            result = function(*args, **(kwargs or {}))
    finally:
        STATE.asked = before
    return result if cls is tensor_class() or name_of(function) in _AS_THEY_ARE else _as(cls, result)


#: Attributes whose tensors stay of the class that they are of.
_AS_THEY_ARE = frozenset({"grad", "_base"})


def _as(cls: type, value: Any) -> Any:
    if isinstance(value, Cell):
        return value if isinstance(value, cls) else value.as_subclass(cls)  # type: ignore[attr-defined]
    if type(value) in (list, tuple):
        return type(value)(_as(cls, v) for v in value)
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make(_as(cls, v) for v in value)
    return value


# Operators and methods of the Tensor class ------------------------------------------------------------

#: Python's operators whose function is a method with a name of its own.
_METHODS = {
    "__add__": "add", "__sub__": "sub", "__mul__": "mul", "__truediv__": "div", "__mod__": "remainder",
    "__pow__": "pow", "__matmul__": "matmul", "__neg__": "neg", "__abs__": "abs", "__lt__": "lt", "__le__": "le",
    "__gt__": "gt", "__ge__": "ge", "__iadd__": "add_", "__isub__": "sub_", "__imul__": "mul_",
    "__itruediv__": "div_", "__imod__": "remainder_", "__ipow__": "pow_",
}  # fmt: skip
#: Operators that give the same with the operands exchanged.
_SYMMETRIC = frozenset({"__add__", "__mul__", "__and__", "__or__", "__xor__"})
#: Primitive → the operator of Python's that calls it.
_OPERATORS = {
    "add": "__add__", "sub": "__sub__", "mul": "__mul__", "div": "__truediv__", "floor_div": "__floordiv__",
    "remainder": "__mod__", "pow": "__pow__", "matmul": "__matmul__", "eq": "__eq__", "ne": "__ne__", "lt": "__lt__",
    "le": "__le__", "gt": "__gt__", "ge": "__ge__", "bitwise_and": "__and__", "bitwise_or": "__or__",
    "bitwise_xor": "__xor__", "shift_left": "__lshift__", "shift_right": "__rshift__",
}  # fmt: skip
_NAMES = """
    __init__ __new__ __class__ __dict__ __weakref__ __hash__ __getattr__ __setattr__ __delattr__ __getattribute__
    __torch_function__ __init_subclass__ __subclasshook__ __reduce__ __reduce_ex__ __deepcopy__ __array_priority__
    __array_ufunc__ __array_function__ __dir__ __module__ __doc__ __annotations__ as_subclass is_composite
"""
#: What every class has as Python needs it, or what makes and copies tensors.
_OWN = frozenset(_NAMES.split())


def _function_of(name: str) -> Any:
    """The function that an operator or a method stands for."""
    return getattr(tensor_class(), _METHODS.get(name, name))


def operator(name: str, a: Any, b: Any) -> Any:
    """What ``a`` or ``b``, an object with functions of its own, makes of an operator between them.

    Args:
        name: The primitive operator.
        a: The left operand.
        b: The right operand; one of the two is a tensor.

    Returns:
        ``NotImplemented`` where neither knows what to do.
    """
    found = _OPERATORS.get(name)
    objects = overriding((a, b), {})
    if found is None or not objects:
        return NotImplemented
    return _answer(*_call_of(found, a, b, objects))


def _call_of(name: str, a: Any, b: Any, objects: list[Any]) -> Any:
    """Function, objects and arguments of an operator; where the left operand is no tensor, as PyTorch turns it."""
    if isinstance(a, Cell):
        return _function_of(name), objects, (a, b), None
    if name in _SYMMETRIC:
        return _function_of(name), objects, (b, a), None
    mirrored = {"__lt__": "__gt__", "__gt__": "__lt__", "__le__": "__ge__", "__ge__": "__le__"}
    if name in mirrored or name in ("__eq__", "__ne__"):
        return _function_of(mirrored.get(name, name)), objects, (b, a), None
    return _function_of(f"__r{name[2:]}"), objects, (b, a), None


def install(cls: Any) -> None:
    """Give a class of Tensor's the operators, methods and properties of Tensor that ask the class first."""
    CLASSES.add(cls)
    tensor = tensor_class()
    for base in tensor.__mro__[:-1]:
        for name, value in vars(base).items():
            if name in _OWN or (name[0] == "_" and not name.endswith("__")) or hasattr(value, "asks_first"):
                continue
            if getattr(cls, name, None) is getattr(tensor, name):  # neither it nor a base has its own
                found = _asking(name, value)
                if found is not None:
                    setattr(cls, name, found)


def _asking(name: str, value: Any) -> Any:
    if isinstance(value, property):
        get = value.__get__
        return property(lambda self: _ask(get, (self,), {}), value.fset, value.fdel, value.__doc__)
    if not callable(value) or isinstance(value, (type, staticmethod, classmethod)):
        return None
    forward = f"__{name[3:]}" if name.startswith("__r") and hasattr(tensor_class(), f"__{name[3:]}") else None

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        if forward is not None and isinstance(args[0], Cell):
            return _ask(_function_of(forward), (args[0], self), kwargs)
        if forward in _SYMMETRIC:
            return _ask(_function_of(forward), (self, *args), kwargs)
        return _ask(_function_of(name), (self, *args), kwargs)

    run.__name__ = run.__qualname__ = name
    run.__doc__ = value.__doc__
    run.asks_class = True  # type: ignore[attr-defined]
    return run


def _ask(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    objects = registered(args, kwargs)
    if not objects:
        return function(*args, **kwargs)
    return dispatch(function, objects, args, kwargs)
