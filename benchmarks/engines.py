"""The engines: each turns a workload into a call without arguments that returns when its result is ready."""

import importlib
import os
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np

from benchmarks.workload import Context, Function, Workload


class Engine(Protocol):
    """What can run workloads."""

    name: str

    def supports(self, workload: Workload) -> bool:
        """Say whether the workload is written for this engine."""

    def start(self) -> None:
        """Import what the engine needs."""

    def load(self, workload: Workload) -> Function:
        """Return a call that computes the workload once and gives its outputs, with inputs already in place."""

    def wait(self, outputs: Any) -> None:
        """Return when the outputs are computed."""

    def arrays(self, outputs: Any) -> list[np.ndarray]:
        """Copy outputs to NumPy."""


def flat(outputs: Any) -> Iterable[Any]:
    """Return outputs as a sequence, whether one or several."""
    return outputs if isinstance(outputs, tuple | list) else (outputs,)


class PyTorchStyle:
    """A module with PyTorch's names, eager or with its ``compile``.

    Args:
        name: The engine's name.
        module: ``torch`` or ``tracec``.
        device: Where it computes.
        compiled: Options of ``compile``; None where it runs eagerly.
    """

    def __init__(self, name: str, module: str, device: str, compiled: dict[str, Any] | None) -> None:
        self.name, self.module, self.compiled, self.device = name, module, compiled, device
        self.xp: Any = None
        self._loaded: Any = None

    def supports(self, workload: Workload) -> bool:
        return True

    def start(self) -> None:
        self.xp = importlib.import_module(self.module)
        if self.module == "tracec":
            for name in ("nn", "nn.functional", "optim"):
                importlib.import_module(f"tracec.{name}")
        elif self.device == "cuda":
            # Products of float32 in float32, as the others compute them, and not in TF32.
            self.xp.backends.cuda.matmul.allow_tf32 = False
            self.xp.backends.cudnn.allow_tf32 = False

    def load(self, workload: Workload) -> Function:
        if self.module == "torch" and self.compiled is not None:
            self.reset_torch()
        function = workload.build(Context(self.xp, self.device))
        if self.compiled is not None:
            function = self.xp.compile(function, **self.compiled)
        inputs = [self.xp.from_numpy(x).to(self.device) for x in workload.inputs()]
        self._loaded = function
        return lambda: function(*inputs)

    def stages(self) -> dict[str, float]:
        """Return the seconds of each stage of what was compiled of the workload that was loaded last, where told."""
        if self.module != "tracec" or self.compiled is None:
            return {}
        found: dict[str, float] = {}
        for recording in self._loaded.explain().recordings:
            for stage, seconds in recording.stages.items():
                found[stage] = found.get(stage, 0.0) + seconds
        return found

    def reset_torch(self) -> None:
        """Forget what earlier workloads compiled: torch gives up on a function seen in too many versions."""
        import torch

        torch._dynamo.reset()

    def wait(self, outputs: Any) -> None:
        if self.device == "cuda":
            self.xp.cuda.synchronize()

    def arrays(self, outputs: Any) -> list[np.ndarray]:
        return [out.detach().cpu().numpy() for out in flat(outputs)]


class Jax:
    """``jax.jit`` of the NumPy-style function, or a train step written for jax."""

    name = "jax"

    def __init__(self, device: str) -> None:
        self.device = device

    def supports(self, workload: Workload) -> bool:
        return workload.array is not None or workload.jax is not None

    def start(self) -> None:
        # Otherwise it takes three quarters of the GPU's memory at once.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        import jax

        jax.config.update("jax_platforms", self.device)
        jax.config.update("jax_default_matmul_precision", "highest")
        jax.devices()  # a jax without CUDA says so here

    def load(self, workload: Workload) -> Function:
        import jax
        import jax.numpy as jnp

        if workload.jax:
            function = workload.jax()
        else:
            assert workload.array
            function = jax.jit(workload.array(jnp, jax.scipy.special.erf))
        inputs = [jax.device_put(x) for x in workload.inputs()]
        return lambda: function(*inputs)

    def wait(self, outputs: Any) -> None:
        import jax

        jax.block_until_ready(outputs)

    def arrays(self, outputs: Any) -> list[np.ndarray]:
        return [np.array(out) for out in flat(outputs)]


class Cupy:
    """The NumPy-style function on CuPy's arrays, operation by operation."""

    name = "cupy"

    def __init__(self, device: str) -> None:
        self.device = device

    def supports(self, workload: Workload) -> bool:
        return workload.array is not None

    def start(self) -> None:
        if self.device != "cuda":
            raise ImportError("it computes on CUDA devices only")
        import cupyx.scipy.special  # noqa: F401

    def load(self, workload: Workload) -> Function:
        import cupy
        from cupyx.scipy.special import erf

        assert workload.array
        function = workload.array(cupy, erf)
        inputs = [cupy.asarray(x) for x in workload.inputs()]
        return lambda: function(*inputs)

    def wait(self, outputs: Any) -> None:
        import cupy

        cupy.cuda.runtime.deviceSynchronize()

    def arrays(self, outputs: Any) -> list[np.ndarray]:
        return [out.get() for out in flat(outputs)]


ENGINES: dict[str, Callable[[str], Engine]] = {
    "tracec": lambda device: (
        PyTorchStyle("tracec", "tracec", "cpu", {"target": "cuda", "launcher": "emulator"})
        if device == "emulator"
        else PyTorchStyle("tracec", "tracec", device, {})
    ),
    "tracec.eager": lambda device: PyTorchStyle("tracec.eager", "tracec", device, None),
    "torch": lambda device: PyTorchStyle("torch", "torch", device, None),
    "torch.compile": lambda device: PyTorchStyle("torch.compile", "torch", device, {}),
    # What torch.compile does on a GPU when it is asked for CUDA graphs, which tracec uses unasked.
    "torch.graphs": lambda device: PyTorchStyle("torch.graphs", "torch", device, {"mode": "reduce-overhead"}),
    "jax": Jax,
    "cupy": Cupy,
}

COMPILED = ("tracec", "torch.compile", "torch.graphs", "jax")


def reference(workload: Workload, steps: int, device: str = "cpu") -> list[list[np.ndarray]]:
    """Return float64 outputs: NumPy's for a forward workload, torch's losses of the first steps for training.

    For a GPU they are computed there, by CuPy and torch: its inputs are larger. A torch without CUDA takes the CPU.
    """
    inputs = [x.astype(np.float64) if x.dtype == np.float32 else x for x in workload.inputs()]
    if workload.array:
        if device == "cuda":
            import cupy
            from cupyx.scipy.special import erf as erf_there

            outputs = workload.array(cupy, erf_there)(*map(cupy.asarray, inputs))
            return [[out.get() for out in flat(outputs)]]
        from scipy.special import erf

        return [[np.asarray(out) for out in flat(workload.array(np, erf)(*inputs))]]
    import torch

    place = device if torch.cuda.is_available() else "cpu"
    step = workload.build(Context(torch, place, double=True))
    tensors = [torch.from_numpy(x).to(place) for x in inputs]
    return [[step(*tensors).detach().cpu().numpy()] for _ in range(steps)]


def relative_error(got: list[list[np.ndarray]], want: list[list[np.ndarray]]) -> float:
    """Return the largest difference, relative to the largest value of each reference output."""
    worst = 0.0
    for outputs, references in zip(got, want, strict=True):
        for out, ref in zip(outputs, references, strict=True):
            scale = float(np.abs(ref).max()) or 1.0
            difference = float(np.abs(out - ref).max()) / scale
            # A NaN compares false with everything: make it the worst of all instead.
            worst = max(worst, difference if difference == difference else float("inf"))
    return worst
