"""Checkpoints: values that gradients need are computed again on the way back, instead of being kept.

A checkpointed function runs forward as it is, but what its operations would keep is dropped. When gradients first ask
for one of these values, the function runs again on its arguments, and the values that are asked for are taken from
that run, in the order in which they were dropped. In a compiled function the second run is part of the graph, marked
as computed again so that it is not merged with the first.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from tracec.autograd import backward
from tracec.autograd.function import Function
from tracec.cuda.random import get_rng_state, set_rng_state
from tracec.errors import ArgumentError, CheckpointError, GradientError
from tracec.functions.common import fail
from tracec.ir.node import originating
from tracec.ir.source import Source, caller, warn
from tracec.record.custom import Custom, Rule
from tracec.record.mode import enable_grad, is_grad_enabled
from tracec.record.random import States
from tracec.record.state import STATE
from tracec.record.tape import edge_of
from tracec.record.tensor import Tensor
from tracec.utils._pytree import TreeSpec, tree_flatten, tree_map, tree_unflatten

Contexts = Callable[[], tuple[AbstractContextManager[Any], AbstractContextManager[Any]]]


def noop_context_fn() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Two contexts that do nothing."""
    return nullcontext(), nullcontext()


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Contexts = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """Call a function, and compute again on the way back what its gradients need.

    Args:
        function: The function; it has to do the same when it runs again.
        *args: Its arguments.
        use_reentrant: Go back by a second, nested way back, as PyTorch first did: gradients flow through tensors among
            ``args`` alone, and `autograd.grad` is refused. False is better, and what is done without a choice.
        context_fn: Gives two contexts, for the first run and for the second.
        determinism_check: ``default`` refuses values of other shapes, dtypes or devices in the second run; ``none``
            does not.
        debug: PyTorch's argument for longer errors; here they name the line anyway.
        early_stop: End the second run when all that is needed is there.
        **kwargs: ``preserve_rng_state`` (True: random numbers are the same in the second run), and, unless
            ``use_reentrant`` is set, the function's keyword arguments.

    Returns:
        What the function returns.

    Raises:
        ArgumentError: an option is unknown, or does not go with ``use_reentrant``.
        CheckpointError: (on the way back) the second run was not like the first.
    """
    if use_reentrant is None:
        warn(
            "checkpoint: the use_reentrant parameter should be passed explicitly. use_reentrant=False is recommended, "
            "and used here.",
            UserWarning,
        )
    if determinism_check not in ("default", "none"):
        fail(
            ArgumentError,
            f"checkpoint: determinism_check={determinism_check!r} is not known",
            "use 'default' or 'none'",
        )
    preserve = bool(kwargs.pop("preserve_rng_state", True))
    if not use_reentrant:
        frame = _Frame(function, context_fn, determinism_check == "default", early_stop, preserve)
        return frame.run(args, kwargs)
    if kwargs:
        fail(
            ArgumentError,
            f"checkpoint: Unexpected keyword arguments: {','.join(kwargs)}",
            "use_reentrant=False takes them",
        )
    if context_fn is not noop_context_fn or debug:
        fail(
            ArgumentError,
            "checkpoint: Passing `context_fn` or `debug` is only supported when use_reentrant=False.",
            "set use_reentrant=False",
        )
    check_backward_validity(args)
    return CheckpointFunction.apply(function, preserve, *args)


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """Call functions one after the other, all but the last of some segments of them checkpointed.

    Args:
        functions: A Sequential, or a list of functions of one argument.
        segments: How many parts to make.
        input: The argument of the first.
        use_reentrant: See `checkpoint`.
        **kwargs: ``preserve_rng_state``.
    """
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        fail(
            ArgumentError,
            f"checkpoint_sequential: Unexpected keyword arguments: {','.join(kwargs)}",
            "it takes preserve_rng_state",
        )
    each = list(functions.children()) if hasattr(functions, "children") else list(functions)
    if not 0 < segments <= max(len(each), 1):
        fail(ArgumentError, f"checkpoint_sequential: {segments} segments of {len(each)} functions", "use fewer")

    def part(start: int, stop: int) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            for f in each[start:stop]:
                x = f(x)
            return x

        return run

    size = len(each) // segments
    for start in range(0, size * (segments - 1), size):
        input = checkpoint(
            part(start, start + size), input, use_reentrant=use_reentrant, preserve_rng_state=preserve
        )  # fmt: skip
    return part(size * (segments - 1), len(each))(input)


#: Stands for a tensor among arguments.
_KEPT = object()


class _Stop(Exception):
    """All that is needed has been computed."""


class _Dropped:
    """A value that was not kept.

    Attributes:
        number: Its place among those of its frame.
        form: Its shape, dtype and device.
    """

    __slots__ = ("__weakref__", "form", "number")

    def __init__(self, number: int, form: tuple[Any, ...]) -> None:
        self.number, self.form = number, form


class _Frame:
    """One call of a checkpointed function.

    Args:
        function: The function.
        context_fn: Gives contexts for both runs.
        check: Whether values of the second run are compared with the first's.
        early_stop: Whether it ends when all is there.
        preserve: Whether random numbers are the same.
    """

    def __init__(
        self, function: Callable[..., Any], context_fn: Contexts, check: bool, early_stop: bool, preserve: bool
    ) -> None:
        self.function, self.check, self.early_stop = function, check, early_stop
        self.contexts = context_fn()
        self.surroundings = _Surroundings(preserve)
        self.dropped: list[weakref.ref[_Dropped]] = []
        self.found: dict[int, Custom] = {}
        self.source: Source | None = caller()
        self._kept: Custom | None = None
        self._rest: tuple[list[Any], TreeSpec] | None = None

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The first run."""
        if not is_grad_enabled():
            with self.contexts[0]:
                return self.function(*args, **kwargs)
        self._keep(args, kwargs)
        before, STATE.packing = STATE.packing, (self._drop, self._take)
        try:
            with self.contexts[0]:
                return self.function(*args, **kwargs)
        finally:
            STATE.packing = before

    def _keep(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Keep the arguments; later writes into tensors do not change them."""
        leaves, spec = tree_flatten((args, kwargs))
        tensors = [x for x in leaves if isinstance(x, Tensor)]
        self._rest = [_KEPT if isinstance(x, Tensor) else x for x in leaves], spec
        if tensors:
            self._kept = _kept(tensors, [edge_of(x) for x in tensors])

    def _arguments(self) -> Any:
        assert self._rest is not None
        rest, spec = self._rest
        tensors = iter(() if self._kept is None else self._kept.kept())
        return tree_unflatten([next(tensors) if x is _KEPT else x for x in rest], spec)

    def _drop(self, x: Tensor) -> _Dropped:
        made = _Dropped(len(self.dropped), _form(x))
        self.dropped.append(weakref.ref(made))
        return made

    def _take(self, dropped: _Dropped) -> Tensor:
        if dropped.number not in self.found:
            self._run_again()
        if dropped.number not in self.found:
            self._refuse(
                f"A different number of tensors was saved during the original forward and recomputation: value "
                f"{dropped.number} of {len(self.dropped)} was not computed again."
            )
        found: Tensor = self.found.pop(dropped.number).kept()[0]
        return found

    def _run_again(self) -> None:
        args, kwargs = self._arguments()
        needed = [r() for r in self.dropped]
        last = max((k for k, d in enumerate(needed) if d is not None), default=-1)
        count = 0

        def pack(x: Tensor) -> None:
            nonlocal count
            if count < len(needed):
                self._found(count, needed[count], x)
            count += 1
            if self.early_stop and count > last:
                raise _Stop

        def unpack(_: Any) -> Tensor:
            fail(GradientError, "checkpoint: the second run goes back itself through what it computes", "do so outside")

        before, STATE.packing = STATE.packing, (pack, unpack)
        try:
            with enable_grad(), self.surroundings.again(), originating("remat"), self.contexts[1]:
                self.function(*args, **kwargs)
        except _Stop:
            return
        finally:
            STATE.packing = before
        if self.check and count != len(needed):
            self._refuse(
                "A different number of tensors was saved during the original forward and recomputation. Number of "
                f"tensors saved during forward: {len(needed)}. Number of tensors saved during recomputation: {count}."
            )

    def _found(self, number: int, dropped: _Dropped | None, x: Tensor) -> None:
        if dropped is None:
            return
        if self.check and _form(x) != dropped.form:
            self._refuse(
                "Recomputed values for the following tensors have different metadata than during the forward pass. "
                f"tensor at position {number}: saved metadata: {_told(dropped.form)}, recomputed metadata: "
                f"{_told(_form(x))}"
            )
        # What the second run writes in place later must not change it: the first run's operation saw it before that.
        self.found[number] = _kept([x], [None])

    def _refuse(self, message: str) -> None:
        where = f" (checkpoint at {self.source})" if self.source else ""
        fail(
            CheckpointError,
            f"checkpoint: {message}{where}",
            "a checkpointed function has to do the same when it runs again: it must not depend on state that changed",
        )


def _kept(tensors: list[Tensor], histories: list[Any]) -> Custom:
    """Tensors as they are now, for later: writes into them do not change what is kept."""
    made = Custom(Rule(), (), (tensors[0]._type,))
    made.keep(tensors, histories)
    return made


def _form(x: Tensor) -> tuple[Any, ...]:
    return tuple(x.shape), x.dtype, str(x.device)


def _told(form: tuple[Any, ...]) -> str:
    return f"shape {form[0]}, dtype {form[1]}, device {form[2]}"


class _Surroundings:
    """What the first run depends on beside its arguments, to run alike again.

    Args:
        preserve: Whether random numbers are the same.
    """

    def __init__(self, preserve: bool) -> None:
        self._autocast = STATE.autocast
        self._states = States() if preserve else None

    @contextmanager
    def again(self) -> Iterator[None]:
        """Within, the types that autocast chose, and the random numbers that came after."""
        autocast, states = STATE.autocast, None if self._states is None else States()
        STATE.autocast = self._autocast
        if self._states is not None:
            self._states.restore()
        try:
            yield
        finally:
            STATE.autocast = autocast
            if states is not None:
                states.restore()


class CheckpointFunction(Function):
    """A function that runs without remembering, and again, with its own way back, when gradients come."""

    @staticmethod
    def forward(ctx: Any, run_function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        """What the function returns."""
        ctx.run_function = run_function
        ctx.surroundings = _Surroundings(preserve)
        ctx.others = [None if isinstance(a, Tensor) else a for a in args]
        ctx.at = [k for k, a in enumerate(args) if isinstance(a, Tensor)]
        ctx.save_for_backward(*(args[k] for k in ctx.at))
        return run_function(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """The gradients of the arguments; those of other leaves are added to their ``grad``."""
        if not STATE.gathering:
            fail(
                GradientError,
                "checkpoint: When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or passing "
                "an `inputs` parameter to .backward().",
                "set use_reentrant=False, or call .backward() without passing the `inputs` argument",
            )
        given = list(ctx.others)
        for k, x in zip(ctx.at, ctx.saved_tensors, strict=True):
            given[k] = x.detach().requires_grad_(ctx.needs_input_grad[k + 2])
        with enable_grad(), ctx.surroundings.again(), originating("remat"):
            out = ctx.run_function(*given)
        outputs = out if isinstance(out, tuple) else (out,)
        pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if isinstance(o, Tensor) and o.requires_grad]
        if not pairs:
            fail(
                GradientError,
                "checkpoint: none of output has requires_grad=True, this checkpoint() is not necessary",
                "call the function itself",
            )
        backward([o for o, _ in pairs], [g for _, g in pairs])
        return (None, None, *(x.grad if isinstance(x, Tensor) else None for x in given))


def check_backward_validity(inputs: Sequence[Any]) -> None:
    """Warn where no gradient can flow through a reentrant checkpoint."""
    if not any(isinstance(x, Tensor) and x.requires_grad for x in inputs):
        warn("checkpoint: None of the inputs have requires_grad=True. Gradients will be None", UserWarning)


def detach_variable(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Tensors cut off their history, leaves that require grad where those did."""
    return tuple(x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in inputs)


def get_device_states(*args: Any) -> tuple[list[int], list[Tensor]]:
    """The states of the generators of the CUDA devices that tensors among the arguments are on.

    Returns:
        The devices' numbers, in order, and the state of each.
    """
    found = [x for a in args for x in tree_flatten(a)[0] if isinstance(x, Tensor) and x.is_cuda]
    devices = sorted({x.get_device() for x in found})
    return devices, [get_rng_state(device) for device in devices]


def set_device_states(devices: Sequence[int], states: Sequence[Tensor], *, device_type: str | None = None) -> None:
    """Set the generators of CUDA devices to what `get_device_states` gave; with none, nothing happens.

    Raises:
        ArgumentError: there is not one state for each device, or the devices are of another kind.
    """
    if device_type not in (None, "cuda", "cpu"):
        fail(ArgumentError, f"set_device_states: device_type {device_type!r}", "devices with generators are 'cuda'")
    if len(devices) != len(states):
        fail(
            ArgumentError,
            f"set_device_states: {len(states)} states for {len(devices)} devices",
            "give what get_device_states returned",
        )
    if device_type != "cpu":
        for device, state in zip(devices, states, strict=True):
            set_rng_state(state, device)


__all__ = [
    "CheckpointError", "CheckpointFunction", "check_backward_validity", "checkpoint", "checkpoint_sequential",
    "detach_variable", "get_device_states", "noop_context_fn", "set_device_states", "tree_map",
]  # fmt: skip
