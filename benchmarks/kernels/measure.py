"""One case measured: checked against float64, then timed over rotating buffers, for tracec and its peers."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.kernels.cases import Case, make_inputs
from benchmarks.kernels.devices import Cpu, Gpu, Timing, sets_for

Row = dict[str, Any]


def leaves(outputs: Any) -> list[Any]:
    """Outputs as a list, empty for a function that only writes to what it is given."""
    if outputs is None:
        return []
    return list(outputs) if isinstance(outputs, tuple | list) else [outputs]


class Tracec:
    """What is measured."""

    name = "tracec"

    def __init__(self, device: Cpu | Gpu) -> None:
        import tracec
        import tracec.autograd
        import tracec.nn.functional

        self.xp, self.device = tracec, device

    def tensors(self, case: Case, arrays: Sequence[Any]) -> list[Any]:
        """Tensors over the arrays' memory."""
        return [self.xp.from_dlpack(a).requires_grad_(o.grad) for a, o in zip(arrays, case.operands, strict=True)]

    def function(self, case: Case) -> Callable[..., Any]:
        """The function that is timed."""
        # Without a CUDA graph of its own, so that a block of calls can be captured as one.
        disable = ("deterministic",) if case.any_order else ()
        return self.xp.compile(  # type: ignore[no-any-return]
            case.make(self.xp), cuda_graph=False, disable=disable, **self.device.options
        )

    def array(self, tensor: Any) -> Any:
        """The array that a tensor looks at."""
        return tensor.detach()._array


class Torch:
    """A peer: eager torch, or torch.compile."""

    def __init__(self, device: Cpu | Gpu, compiled: bool) -> None:
        import torch

        self.name = "torch.compile" if compiled else "torch"
        self.xp, self.device, self.compiled = torch, device, compiled

    def tensors(self, case: Case, arrays: Sequence[Any]) -> list[Any]:
        """Tensors over the arrays' memory."""
        return [self._tensor(a).requires_grad_(o.grad) for a, o in zip(arrays, case.operands, strict=True)]

    def _tensor(self, array: Any) -> Any:
        if array.dtype.name == "bfloat16":
            return self.xp.from_dlpack(array.view("int16")).view(self.xp.bfloat16)
        return self.xp.from_dlpack(array)

    def function(self, case: Case) -> Callable[..., Any]:
        """The function that is timed."""
        made = case.make(self.xp)
        if self.compiled:
            self.xp._dynamo.reset()
            made = self.xp.compile(made)
        if self.device.kind == "cpu":
            return made

        def on_current_stream(*tensors: Any) -> Any:
            # The stream that is timed is CuPy's.
            with self.xp.cuda.stream(self.xp.cuda.ExternalStream(self.device.xp.cuda.get_current_stream().ptr)):
                return made(*tensors)

        return on_current_stream


def error_of(device: Cpu | Gpu, found: Sequence[Any], expected: Sequence[Any]) -> float:
    """The largest difference, relative to the largest value of each output; infinite where a NaN is."""
    xp, worst = device.xp, 0.0
    for f, e in zip(found, expected, strict=True):
        if not e.size:
            continue
        f, e = f.astype("float64"), e.astype("float64")
        scale = float(xp.abs(e).max()) or 1.0
        difference = float(xp.abs(f - e).max()) / scale
        worst = max(worst, difference if difference == difference else float("inf"))
    return worst


class Measure:
    """Measures cases on one device.

    Args:
        device: The device.
        base: Noise that inputs are cut out of, on the device.
        peers: What to time besides tracec.
    """

    def __init__(self, device: Cpu | Gpu, base: Any, peers: Sequence[str]) -> None:
        self.device, self.base = device, base
        self.subject = Tracec(device)
        self.peers = [Torch(device, name == "torch.compile") for name in peers]
        tracec = self.subject.xp
        names = ("float16", "bfloat16", "float32", "float64")
        self.dtypes = {name: getattr(tracec, name).numpy for name in names}
        self._copies: dict[int, Timing] = {}

    def copy(self, nbytes: int) -> Timing:
        """A copy of that traffic, measured once."""
        if nbytes not in self._copies:
            self._copies[nbytes] = self.device.copy(nbytes)
            self.device.free()
        return self._copies[nbytes]

    def case(self, case: Case) -> Row:
        """Everything about one case."""
        row: Row = {"family": case.family, "name": case.name, "title": case.title}
        row["shapes"] = [list(o.shape) for o in case.operands[:4]]
        row["dtype"] = case.operands[0].dtype
        try:
            self._fill(case, row)
        except Exception as error:
            row["failed"] = f"{type(error).__name__}: {str(error)[:300]}"
        gc.collect()
        self.device.free()
        return row

    def _fill(self, case: Case, row: Row) -> None:
        traffic = case.moved or sum(o.nbytes for o in case.operands)
        count = sets_for(traffic, self.device.kind)
        sets = [make_inputs(self.device.xp, self.base, case.operands, self.dtypes, k) for k in range(count)]
        function = self.subject.function(case)
        row["error"] = self._error(function, case, sets[0], row)
        timing, outputs = self._timed(self.subject, function, case, sets)
        moved = case.moved or sum(o.nbytes for o in case.operands) + sum(a.nbytes for a in outputs)
        copied = self.copy(moved)
        row |= {"bytes": moved, **asdict(timing), "copy_seconds": copied.seconds, "sets": count}
        row["of_copy"] = copied.seconds / timing.seconds
        row["gb_per_s"] = moved / timing.seconds / 1e9
        if (counted := self.device.traffic(lambda: function(*self.subject.tensors(case, sets[0])))) is not None:
            row["traffic"] = counted / max(moved, 1)
        row["peers"] = {}
        for peer in self.peers:
            try:
                found, _ = self._timed(peer, peer.function(case), case, sets)
                row["peers"][peer.name] = asdict(found)
            except Exception as error:
                row["peers"][peer.name] = {"failed": f"{type(error).__name__}: {str(error)[:200]}"}

    def _timed(self, engine: Any, function: Any, case: Case, sets: Sequence[Any]) -> tuple[Timing, list[Any]]:
        """The timing of an engine's function, and its outputs of the first set."""
        given = [engine.tensors(case, arrays) for arrays in sets]
        # As many results are alive as there are sets of inputs, so that what is written rotates too.
        ring = [function(*tensors) for tensors in given]

        def call(k: int) -> Callable[[], None]:
            tensors = given[k]

            def run() -> None:
                ring[k] = function(*tensors)

            return run

        timing = self.device.time([call(k) for k in range(len(given))])
        return timing, leaves(ring[0])

    def _error(self, function: Any, case: Case, arrays: Sequence[Any], row: Row) -> float:
        """The error of the compiled results on these arrays, which stay as they are; also what the first call took."""
        tracec, subject = self.subject.xp, self.subject
        own = [a.copy() for a in arrays]  # functions may write to what they are given
        tensors = subject.tensors(case, own)
        tracec.manual_seed(5)
        start = time.perf_counter()
        leaves(function(*tensors))  # eager, recorded and compiled
        self.device.synchronize()
        row["first_call_s"] = time.perf_counter() - start
        row["compiled"] = "eager: " not in function.explain()
        written = [subject.array(t) for t in tensors]
        for array, before in zip(written, arrays, strict=True):
            array[...] = before
        tracec.manual_seed(5)
        found = [subject.array(t) for t in leaves(function(*tensors))]
        self.device.synchronize()
        if case.family == "update":
            found += written
        integers = [bool(o.below) for o in case.operands]
        wide = [a.copy() if i or not case.exact else a.astype("float64") for a, i in zip(arrays, integers, strict=True)]
        expected_tensors = subject.tensors(case, wide)
        tracec.manual_seed(5)
        expected = [subject.array(t) for t in leaves(case.make(tracec)(*expected_tensors))]
        if case.family == "update":
            expected += [subject.array(t) for t in expected_tensors]
        return error_of(self.device, found, expected)
