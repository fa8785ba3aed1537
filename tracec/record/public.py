"""The wrapper of public functions: ``out=``, NumPy's names of arguments, and ``__torch_function__``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from tracec.record.aliases import aliases_of, rename
from tracec.record.misfits import ERRORS, misfit
from tracec.record.opaque import SIZED, unwrapped
from tracec.record.out import signature_with_out, write_out
from tracec.record.overriding import CLASSES, dispatch, is_asked, overriding, registered
from tracec.record.state import STATE
from tracec.record.tape import Operation

#: What functions are while autocast is off; see `tracec.record.autocast.under_autocast`.
WITHOUT_AUTOCAST: dict[Callable[..., Any], Callable[..., Any]] = {}


def public(
    function: Callable[..., Any], out: bool = False, name: str = "", module: str = ""
) -> Callable[..., Any]:  # fmt: skip
    """The function as users see it.

    Args:
        function: It computes.
        out: Whether it is to take ``out=``, where it does not by itself.
        name: Its name, where it has another one.
        module: The module in which users find it, by which it is pickled.

    Returns:
        A function that also takes ``axis`` for ``dim`` and ``keepdims`` for ``keepdim``, and gives way to arguments
        whose classes have a ``__torch_function__``.
    """
    if getattr(function, "asks_first", False):
        return function
    own = inspect.signature(function)
    aliases = aliases_of(own)
    out = out and "out" not in own.parameters
    name = name or function.__name__
    plain = WITHOUT_AUTOCAST.get(function)

    @functools.wraps(function)
    def _run(*args: Any, **kwargs: Any) -> Any:
        into = None
        if SIZED:
            args, kwargs = unwrapped(args), {k: unwrapped(v) for k, v in kwargs.items()}
        if kwargs:
            if aliases:
                rename(name, aliases, kwargs)
            if out:
                into = kwargs.pop("out", None)
        if not CLASSES or not (found := registered(args, kwargs)):
            try:
                value = (plain if plain is not None and STATE.autocast is None else function)(*args, **kwargs)
                if getattr(value, "_history", None) is not None or isinstance(value, tuple):
                    _name(value, name, args)
                return value if into is None else write_out(name, into, value)
            except Exception as error:  # one that is no tensor may break the function anywhere
                found = overriding(args, kwargs)
                if not found or is_asked(_run, found):
                    if isinstance(error, ERRORS) and (told := misfit(name, own, args, kwargs, error)) is not None:
                        raise told from error
                    raise
        return dispatch(_run, found, args, kwargs if into is None else {**kwargs, "out": into})

    if name != function.__name__:
        _run.__name__ = _run.__qualname__ = name
    if module:
        _run.__module__ = module
    _run.asks_first = True  # type: ignore[attr-defined]
    if out:
        _run.__signature__ = signature_with_out(own)  # type: ignore[attr-defined]
    return _run


def _name(value: Any, name: str, args: tuple[Any, ...]) -> None:
    """Let the operation that made a result go by the function's name, where it has none of its own."""
    history = getattr(value, "_history", None)
    if history is None:
        if isinstance(value, tuple):
            for part in value[:_PARTS]:
                _name(part, name, args)
        return
    if type(history) is not Operation or history.within is not None:
        return
    for given in args:  # a generator expression would take longer than all the rest
        if given is value:  # made by another function
            return
    history.within = name


#: Results of a function that are looked at for what made them.
_PARTS = 3


def make_public(namespace: dict[str, Any], names: Iterable[str]) -> None:
    """Let those functions of a module that are named be what users see."""
    for name in names:
        if inspect.isfunction(namespace[name]):
            namespace[name] = public(namespace[name], name=name, module=namespace["__name__"])
