"""``@compile``: record a function once, then run what was built from the record.

    call ──> key of the arguments ──> specialisation whose guards hold ──> run
                     │ none
                     └─> record (the call itself runs eagerly) ──> optimise ──> plan ──> generate ──> load

The first call with a new key computes eagerly and is recorded; the program built from the record serves
the calls after it. What the function writes (parameters, gradients, optimiser state, buffers, random
state) is an output of the program, written in place where that is safe.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from tracec.compiled import Compiled
from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.options import MOST_SPECIALISATIONS, Options

#: Modes → whether launches may be captured as a CUDA graph. All but ``async`` are PyTorch's.
_MODES = {
    "default": True, "reduce-overhead": True, "max-autotune": True, "max-autotune-no-cudagraphs": False, "async": True,
}  # fmt: skip


def compile(
    model: Callable[..., Any] | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: str = "inductor",
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool | str | Sequence[str] = (),
    target: str | None = None,
    launcher: str = "gpu",
    cuda_graph: bool = True,
    on_record: str = "allow",
    max_specializations: int = MOST_SPECIALISATIONS,
    verify: bool | None = None,
) -> Any:
    """Make a function, method or Module record itself and run compiled.

    Args:
        model: What to compile; without it, a decorator comes back.
        fullgraph: Whether a call that cannot be compiled raises, rather than warns and runs eagerly.
        dynamic: Whether one program serves many sizes. None: from the second size of an axis on, the function is
            recorded once with that size as a symbol. True: from the first call on. False: each size by itself.
        backend: The name of one of PyTorch's compilers; there is one here, which stands for all of them.
        mode: ``async`` compiles on threads, while calls run eagerly; a program serves calls once it is there. Of
            PyTorch's modes ``max-autotune-no-cudagraphs`` is ``cuda_graph=False``; the others are alike.
        options: Settings of PyTorch's compiler, which has others than this one: they are not looked at.
        disable: Names of optimisations to leave out, for comparing and for finding faults; True compiles nothing and
            gives ``model`` back.
        target: ``cpu`` or ``cuda``; None goes by where the tensors are.
        launcher: For ``cuda``: ``gpu``, or ``emulator`` to run the very same kernels on the CPU, checked.
        cuda_graph: Whether the launches of a call on a GPU may be captured as one CUDA graph and replayed.
        on_record: What happens when a call is recorded after the first: ``allow``, ``warn`` with the reason, or
            ``raise`` it, before anything is run.
        max_specializations: Recordings to keep. When there are as many, calls that none of them serves run eagerly;
            one warning tells what kept changing.
        verify: Whether each call that a program serves is compared with an eager one, which runs before it and is
            undone. What differs raises a ReplayError that names the first value, the line that makes it, the stage of
            the compiler that is at fault, and a script that shows it. None goes by the environment: with
            ``TRACEC_VERIFY=2`` it is on.

    Returns:
        A callable that gives what ``model`` gives. It has ``lower``, ``explain`` and the attributes of ``model``.

    Raises:
        ArgumentError: a name in ``disable``, the target, the backend, the mode or another option is unknown.
        ArgumentTypeError: ``model`` cannot be called, the backend is no name, or ``max_specializations`` is no integer.
    """
    if mode is not None and mode not in _MODES:
        raise ArgumentError(f"compile: mode {mode!r} is unknown", hint=f"use one of {', '.join(map(repr, _MODES))}")
    if not isinstance(backend, str):
        raise ArgumentTypeError(
            f"compile: backend must be a name, {type(backend).__name__} given",
            hint="leave it away: there is one compiler",
        )
    if model is None:
        return functools.partial(
            compile, fullgraph=fullgraph, mode=mode, disable=disable, target=target, launcher=launcher,
            cuda_graph=cuda_graph, on_record=on_record, max_specializations=max_specializations, verify=verify,
            dynamic=dynamic,
        )  # fmt: skip
    if not callable(model):
        raise ArgumentTypeError(
            f"compile: takes a callable, {type(model).__name__} given",
            hint="compile the function itself, not its result",
        )
    if disable is True:
        return model
    names = frozenset([disable] if isinstance(disable, str) else disable or ())
    cuda_graph = cuda_graph and (mode is None or _MODES[mode])
    chosen = Options(
        target, names, launcher, cuda_graph, fullgraph, on_record, max_specializations, verify, mode == "async",
        dynamic,
    )  # fmt: skip
    return Compiled(model, chosen.checked())
