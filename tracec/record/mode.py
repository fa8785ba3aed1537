"""Gradients on or off, and inference mode: contexts and decorators."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from tracec.ir.number import observe
from tracec.record.state import STATE

F = TypeVar("F", bound=Callable[..., Any])


class Mode:
    """Something that is on or off for a thread: a context manager, and a decorator of functions and generators.

    Within a generator it is on while the generator runs, and as it was around while others do.
    """

    _value = True

    def __init__(self) -> None:
        self._before: list[Any] = []

    def _switch(self) -> Any:
        """Switch on; how it was."""
        before, STATE.grad = STATE.grad, self._value
        return before

    def _restore(self, before: Any) -> None:
        STATE.grad = before

    def __enter__(self) -> None:
        before = STATE.grad, STATE.inference
        try:
            self._before.append(self._switch())
        except BaseException:  # an interrupt: what was not entered is not left
            STATE.grad, STATE.inference = before
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._restore(self._before.pop())

    def __call__(self, function: F) -> F:
        again = self._again
        if inspect.isclass(function):
            # As in PyTorch: a class is decorated by its constructor.
            made: Any = function
            made.__init__ = self(made.__init__)
            return function
        if inspect.isgeneratorfunction(function):
            return _within_generator(function, again)  # type: ignore[return-value]

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with again():
                return function(*args, **kwargs)

        return run  # type: ignore[return-value]

    def clone(self) -> Mode:
        """Another one like it."""
        return self._again()

    def _again(self) -> Mode:
        return type(self)()


def _within_generator(function: Callable[..., Any], again: Callable[[], Mode]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        resume: Callable[[], Any] = functools.partial(next, generator)
        while True:
            try:
                with again():
                    given = resume()
            except StopIteration as end:
                return end.value
            try:
                resume = functools.partial(generator.send, (yield given))
            except GeneratorExit:
                with again():
                    generator.close()
                raise
            except BaseException as error:
                resume = functools.partial(generator.throw, error)

    return run


class _Bare(Mode):
    """A mode that decorates without parentheses too."""

    def __new__(cls, function: Any = None) -> Any:
        made = super().__new__(cls)
        if function is None:
            return made
        made.__init__()  # type: ignore[misc]
        return made(function)


class no_grad(_Bare):
    """Within, or in a function decorated with it, operations are not remembered for gradients."""

    _value = False


class enable_grad(_Bare):
    """Within, or in a function decorated with it, operations are remembered for gradients again."""

    _value = True


class inference_mode(Mode):
    """As `no_grad`; besides, tensors made within may never be part of what is differentiated.

    Args:
        mode: Whether it is on; off, operations are remembered again.
    """

    def __new__(cls, mode: Any = True) -> Any:
        made = super().__new__(cls)
        if not callable(mode):
            return made
        made.__init__()  # type: ignore[misc]
        return made(mode)

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self.mode = bool(mode)

    def _switch(self) -> Any:
        before = STATE.grad, STATE.inference
        STATE.grad, STATE.inference = not self.mode, self.mode
        return before

    def _restore(self, before: Any) -> None:
        STATE.grad, STATE.inference = before

    def _again(self) -> Mode:
        return inference_mode(self.mode)


class set_grad_enabled(Mode):
    """Gradients on or off from here on, or within, or in a function decorated with it."""

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self.mode = self._value = bool(mode)
        self._outer: bool | None = STATE.grad
        STATE.grad = self._value

    def _switch(self) -> Any:
        before = STATE.grad if self._outer is None else self._outer
        self._outer, STATE.grad = None, self._value
        return before

    def __call__(self, function: F) -> F:
        # As a decorator it has no effect on what is around.
        if self._outer is not None:
            STATE.grad, self._outer = self._outer, None
        return super().__call__(function)

    def _again(self) -> Mode:
        return set_grad_enabled(self._value)


def is_grad_enabled() -> bool:
    """Whether operations are remembered for gradients."""
    return STATE.grad


def is_inference_mode_enabled() -> bool:
    """Whether new tensors are for inference only."""
    observe("a mode, is_inference_mode_enabled")
    return STATE.inference
