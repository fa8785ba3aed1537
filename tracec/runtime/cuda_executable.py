"""A plan loaded onto a GPU, called with CuPy arrays."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from tracec.errors import CompileError, OutOfMemoryError
from tracec.ir.launch import Argument, CudaLaunch, Number, Tickets, Workspace
from tracec.ir.operator import OPERATORS
from tracec.ir.plan import LibraryCall, Plan, Value
from tracec.runtime import cublas, launcher
from tracec.runtime.arena import ALIGNMENT, PER_THREAD, Arena, arena_of, tickets, told_apart
from tracec.runtime.cuda_clock import Clock
from tracec.runtime.cuda_graph import Graphs
from tracec.runtime.spare import Spare

#: Queues one step on a stream, given its handle.
Step = Callable[[int], object]


class _Bound(threading.local):
    """The devices whose contexts are a thread's: the driver launches nothing from others."""

    def __init__(self) -> None:
        self.devices: set[int] = set()


_BOUND = _Bound()


class CudaExecutable:
    """Runs a plan on a GPU, in the stream that is CuPy's current one; nothing is waited for.

    Kernel parameters are addresses of slots: a call writes the addresses of its inputs, outputs and arena into
    the slots, and every launch reads what it needs from there.

    Args:
        cupy: The module.
        device: Number of the device.
        plan: The plan.
        program: Its kernels and launches, as `tracec.codegen.cuda` renders them.
        functions: For each kernel its loaded functions.
        graphs: Whether launches may be captured as one CUDA graph.
        seconds: Where a call, which then waits for its end, is to put the time that each step takes.
    """

    def __init__(
        self, cupy: Any, device: int, plan: Plan, program: Any, functions: Sequence[Sequence[Any]], graphs: bool,
        seconds: list[float] | None = None,
    ) -> None:  # fmt: skip
        self.plan = plan
        self._clock = None if seconds is None else Clock(cupy, seconds)
        self._program = program
        self._cupy, self._device, self._functions = cupy, device, functions
        self._lock = threading.RLock()  # slots and spare outputs are for one call at a time
        self._stream_of = cupy.cuda.get_current_stream
        self._current_device = cupy.cuda.runtime.getDevice
        self._is_only_device = cupy.cuda.runtime.getDeviceCount() == 1
        #: The number of the stream of the last call, and its arena.
        self._arena: tuple[int, Arena | None] = (0, None)
        workspaces = sorted({a.offset for s in program.steps for a in _arguments(s) if isinstance(a, Workspace)})
        self._workspace_slots = {offset: len(plan.values) + k for k, offset in enumerate(workspaces)}
        self._ticket_slot = len(plan.values) + len(workspaces)
        self._slots = (ctypes.c_uint64 * (self._ticket_slot + 1))()
        self._arena_peak = -(-plan.memory.peak_bytes // ALIGNMENT) * ALIGNMENT
        self._arena_bytes = self._arena_peak + program.workspace_bytes
        if any(isinstance(a, Tickets) for s in program.steps for a in _arguments(s)):
            self._arena_bytes = max(self._arena_bytes, ALIGNMENT)
        self._in_arena = [(k, v.offset) for k, v in enumerate(plan.values) if v.place == "arena"]
        self._parts = [(k, v.index, v.offset) for k, v in enumerate(plan.values) if v.place == "part"]
        self._outputs = list(dict.fromkeys(v for v in plan.outputs if plan.values[v].place == "output"))
        types = [plan.values[v].type for v in self._outputs]
        self._spares = [Spare(cupy, t.shape, t.dtype.numpy, t.nbytes) for t in types]
        self._inputs = list(enumerate(plan.inputs))
        self._results = [
            (True, plan.values[v].index) if plan.values[v].place == "input" else (False, self._outputs.index(v))
            for v in plan.outputs
        ]
        #: Whether what is made for a call is what it gives.
        self._gives_made = self._results == [(False, k) for k in range(len(self._outputs))]
        self._host = [p for p, v in self._inputs if plan.values[v].type.device == "cpu"]
        self._alignment = self._needed_alignment(program)
        self._written = {v for v in plan.outputs if plan.values[v].place == "input"}
        self._tables: list[tuple[frozenset[int], Callable[[], None]]] = []
        self._numbers: list[Any] = []  # what functions are given behind their buffers, as long as they are launched
        self._capturable = True
        self._uses_cublas = False
        self._steps = self._queued(program, launcher.queue_function() if self._clock is None else None)
        only = self._steps[0][1] if len(self._steps) == 1 else None
        #: The one batch that all steps are.
        self._batch = only if isinstance(only, launcher.Batch) else None
        self._placed: list[int] | None = None
        self._base = 0
        launches = sum(isinstance(s, (CudaLaunch, LibraryCall)) for s in program.steps)
        sizes = [plan.values[v].type.nbytes for v in (*plan.inputs, *self._outputs)]
        fixed = [k for k, v in enumerate(plan.inputs) if v in self._written]
        movable = {k: size for k, size in enumerate(sizes) if k not in fixed}
        use_graphs = graphs and self._capturable and launches > 1
        self._graphs = Graphs(cupy, movable, len(plan.inputs), self._prepare) if use_graphs else None
        self._own = (*plan.inputs, *self._outputs)

    # -- calls ---------------------------------------------------------------------------------------------

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """Run the plan.

        Args:
            inputs: C-contiguous arrays of the plan's input types. Those that the plan donates are written to.

        Returns:
            The outputs; one that is written in place of an input is that very array.

        Raises:
            OutOfMemoryError: the device has no memory for outputs or intermediate values.
        """
        cupy = self._cupy
        if not self._is_only_device and self._current_device() != self._device:
            with cupy.cuda.Device(self._device):
                return self(inputs)
        if self._device not in _BOUND.devices:
            cupy.cuda.runtime.memGetInfo()  # binds it, as all that is not asked of the driver itself does
            _BOUND.devices.add(self._device)
        arrays = inputs
        if self._host:
            arrays = list(inputs)
            for position in self._host:
                arrays[position] = cupy.asarray(arrays[position])
        addresses = [a.data.ptr for a in arrays]
        moved: Sequence[tuple[int, Any]] = ()
        for position, need in self._alignment:
            if addresses[position] % need:
                arrays = list(arrays)
                moved = self._aligned(arrays, addresses)
                break
        stream = self._stream_of().ptr
        number = stream if stream != PER_THREAD else told_apart(stream)
        of, arena = self._arena
        if arena is None or of != number:
            arena = arena_of(self._device, number)
            self._arena = number, arena
        made = []
        with self._lock, arena.lock:
            try:
                for spare in self._spares:
                    array, address = spare.array(number)
                    made.append(array)
                    addresses.append(address)
                base = arena.base(cupy, self._arena_bytes, stream) if self._arena_bytes else 0
                if self._uses_cublas:  # before anything is queued: it may want memory
                    cublas.handle_of(self._device, stream)
                if self._graphs is None or not self._graphs.replay(stream, number, addresses, arena, base, self._queue):
                    self._queue(stream, addresses, base)
            except cupy.cuda.memory.OutOfMemoryError as error:
                raise self._out_of_memory(error) from None
        for position, array in moved:
            if self.plan.inputs[position] in self._written:
                inputs[position][...] = array
        for position in self._host:
            if self.plan.inputs[position] in self._written:
                inputs[position][...] = cupy.asnumpy(arrays[position])
        return made if self._gives_made else [inputs[k] if given else made[k] for given, k in self._results]

    def describe(self) -> str:
        """How calls run, for readers: launches, and how often they were replayed as a graph."""
        launches = sum(isinstance(s, CudaLaunch) for s in self._program.steps)
        calls = sum(isinstance(s, LibraryCall) for s in self._program.steps)
        text = f"on cuda:{self._device}: {launches} launches" + (f" and {calls} library calls" if calls else "")
        fewer = sum(bool(kernel.less) for kernel in self._program.kernels)
        about = f"; {fewer} kernels with less in registers, which would be spilled" if fewer else ""
        about = f"{self.plan.about_slices}{about}"
        if self._graphs is None:
            return f"{text} a call, queued one by one{about}"
        if self._graphs.refused is not None:
            return f"{text} a call, queued one by one: {self._graphs.refused}{about}"
        return f"{text} a call; CUDA graphs: {self._graphs.captures} captured, {self._graphs.replays} replays{about}"

    def synchronize(self) -> None:
        """Wait until all that was queued on its device is done."""
        with self._cupy.cuda.Device(self._device):
            self._cupy.cuda.runtime.deviceSynchronize()

    def _prepare(self, stream: int) -> None:
        """Make ready what cannot be made while launches are captured."""
        if self._uses_cublas:
            cublas.handle_of(self._device, stream)

    def _queue(self, stream: int, addresses: Sequence[int], base: int) -> None:
        """Queue every step."""
        if base != self._base or addresses != self._placed:
            self._place(list(addresses), base)
        if self._batch is not None:
            status = self._batch.queue(stream)
            if status:
                raise self._refused(0, self._batch.refused(status))
            return
        number = 0
        clock = self._clock
        if clock is not None:
            clock.begin(len(self._steps))
        try:
            for number, step in self._steps:  # noqa: B007 (told where it fails)
                step(stream)
                if clock is not None:
                    clock.end_step()
        except launcher.Refused as refused:
            raise self._refused(number, refused) from None
        except self._cupy.cuda.driver.CUDADriverError as error:
            raise self._not_launched(number, error) from None
        if clock is not None:
            clock.end()

    def _place(self, addresses: list[int], base: int) -> None:
        """Write the addresses that are others than in the call before, and what is made of them."""
        slots, before = self._slots, self._placed
        everything = before is None or base != self._base
        self._placed = None  # until all of it is done
        if everything or before is None:
            moved = set(range(len(slots)))
            for v, address in zip(self._own, addresses, strict=True):
                slots[v] = address
            for v, offset in self._in_arena:
                slots[v] = base + offset
            slots[self._ticket_slot] = tickets(base) if base else 0
            workspace = base + self._arena_peak
            for offset, slot in self._workspace_slots.items():
                slots[slot] = workspace + offset
        else:
            moved = set()
            for v, address, old in zip(self._own, addresses, before, strict=True):
                if address != old:
                    slots[v] = address
                    moved.add(v)
        for v, whole, offset in self._parts:
            if whole in moved:
                slots[v] = slots[whole] + offset
                moved.add(v)
        for needed, write in self._tables:
            if not moved.isdisjoint(needed):
                write()
        self._placed, self._base = addresses, base

    def _aligned(self, arrays: list[Any], addresses: list[int]) -> list[tuple[int, Any]]:
        """Copies in place of arrays that do not lie where packs can be read: looks into the midst of others."""
        moved = []
        for position, need in self._alignment:
            if addresses[position] % need:
                arrays[position] = arrays[position].copy()
                addresses[position] = arrays[position].data.ptr
                moved.append((position, arrays[position]))
        return moved

    def _needed_alignment(self, program: Any) -> list[tuple[int, int]]:
        """For each input that kernels read in packs, of how many bytes."""
        need: dict[int, int] = {}
        for step in program.steps:
            if not isinstance(step, CudaLaunch):
                continue
            entry = program.kernels[step.kernel].entries[step.entry]
            for run in step.args:
                for argument, size in zip(run, entry.alignment, strict=False):
                    if isinstance(argument, int):
                        whole = self.plan.whole(argument)
                        need[whole] = max(need.get(whole, 1), size)
        return [(p, need[v]) for p, v in self._inputs if need.get(v, 1) > self.plan.values[v].type.dtype.itemsize]

    # -- steps ---------------------------------------------------------------------------------------------

    def _queued(self, program: Any, queue: Any) -> list[tuple[int, Step]]:
        """What queues the program's steps, each with the number of its first: launches together, as far as they go.

        Args:
            program: The program.
            queue: Queues many launches; None where each is to be queued by itself.
        """
        found: list[tuple[int, Step]] = []
        for apart, steps in groupby(enumerate(program.steps), lambda s: not isinstance(s[1], CudaLaunch)):
            if apart:
                found += [(number, self._library(step)) for number, step in steps]
                continue
            numbered = [(n, self._launch(s, program.kernels[s.kernel].entries[s.entry])) for n, s in steps]
            if queue is not None:
                batch = launcher.Batch([x for _, x in numbered], queue, program.overlaps)
                found.append((numbered[0][0], batch))
            else:
                found += [(number, self._alone(one)) for number, one in numbered]
        return found

    def _launch(self, step: CudaLaunch, entry: Any) -> launcher.Launch:
        function = self._functions[step.kernel][step.entry]
        if entry.table is None:
            values = [self._address(self._slot(a)) for a in step.args[0]]
            values += map(self._number, step.numbers)
            parameters = (ctypes.c_void_p * max(len(values), 1))(*values)
        else:
            block = ctypes.create_string_buffer(entry.table.nbytes)
            parameters = (ctypes.c_void_p * 1)(ctypes.addressof(block))
            places = [[self._slot(a) for a in run] for run in step.args]
            needed = frozenset(slot for run in places for slot in run)
            self._tables.append((needed, self._table_writer(step, places, entry.table, block)))
        return launcher.Launch(function.ptr, parameters, step.grid, entry.block, entry.shared_bytes)

    def _alone(self, one: launcher.Launch) -> Step:
        """What queues a launch through CuPy."""
        launch, handle, address = self._cupy.cuda.driver.launchKernel, one.function, ctypes.addressof(one.parameters)
        gx, gy, gz = one.grid
        bx, by, bz = one.block
        shared = one.shared_bytes

        def run(stream: int, keep: Any = one.parameters) -> None:
            launch(handle, gx, gy, gz, bx, by, bz, shared, stream, address, 0)

        return run

    def _table_writer(
        self, step: CudaLaunch, places: Sequence[Sequence[int]], table: Any, block: Any
    ) -> Callable[[], None]:
        slots = self._slots

        def write() -> None:
            data = table.pack(step.sizes, [[slots[s] for s in run] for run in places])
            ctypes.memmove(block, data, len(data))

        return write

    def _library(self, step: LibraryCall) -> Step:
        if step.routine == "gemm":
            a, b = step.inputs
            self._uses_cublas = True
            return cublas.gemm(dict(step.params), a, b, step.output, self._slots, self._device)
        self._capturable = False  # CuPy takes memory as it runs
        operator, params = OPERATORS[step.operator], dict(step.params)

        def run(stream: int) -> None:
            operands = step.operands((self._view(v) for v in step.inputs), self._cupy)
            out = self._view(step.output)
            out[...] = operator.eager(self._cupy, *operands, **params).reshape(out.shape)

        return run

    def _view(self, v: int) -> Any:
        """The array that lies at a value's place now."""
        cupy, kind = self._cupy, self.plan.values[v].type
        memory = cupy.cuda.UnownedMemory(self._slots[v], max(kind.nbytes, 1), self, self._device)
        return cupy.ndarray(kind.shape, kind.dtype.numpy, cupy.cuda.MemoryPointer(memory, 0))

    def _slot(self, argument: Argument) -> int:
        if isinstance(argument, Tickets):
            return self._ticket_slot
        return self._workspace_slots[argument.offset] if isinstance(argument, Workspace) else argument

    def _number(self, number: Number) -> int:
        """Where a number lies."""
        self._numbers.append(launcher.C_TYPES[number.type](number.value))
        return ctypes.addressof(self._numbers[-1])

    def _address(self, slot: int) -> int:
        return ctypes.addressof(self._slots) + slot * ctypes.sizeof(ctypes.c_uint64)

    # -- errors --------------------------------------------------------------------------------------------

    def _refused(self, number: int, refused: launcher.Refused) -> CompileError:
        """Which launch of a batch the driver refused, given the number of the batch's first step."""
        error = self._cupy.cuda.driver.CUDADriverError(refused.status)
        return self._not_launched(number + refused.number, error)

    def _not_launched(self, number: int, error: Exception) -> CompileError:
        """Which step the driver refused, or found a fault of earlier ones at."""
        step = self._program.steps[number]
        entry = None
        if isinstance(step, CudaLaunch):
            entry = self._program.kernels[step.kernel].entries[step.entry]
        what = f"{entry.name} ({step.grid} blocks of {entry.threads} threads)" if entry else "a library routine"
        return CompileError(
            f"launch: {what} on cuda:{self._device}: {str(error).splitlines()[0]}",
            hint="if an illegal access is reported, a kernel before it did it: launcher='emulator' finds which; "
            "please report this with what the emulator says",
        )

    def _out_of_memory(self, error: Exception) -> OutOfMemoryError:
        """What the plan would keep, the largest first, with the lines that made it."""
        free, total = self._cupy.cuda.runtime.memGetInfo()
        own = (v for v in self.plan.values if v.place != "part")
        largest = sorted(own, key=lambda v: v.type.nbytes, reverse=True)[:8]
        lines = "\n  ".join(_describe(v) for v in largest if v.type.nbytes)
        outputs = sum(self.plan.values[v].type.nbytes for v in self._outputs)
        return OutOfMemoryError(
            f"compile: no memory on cuda:{self._device} for {outputs} bytes of results and {self._arena_bytes} of "
            f"intermediate values ({free} of {total} bytes are free)",
            where=f"largest values:\n  {lines}",
            hint="use smaller batches or a narrower dtype, or free tensors that are not needed; "
            "tracec.cuda.empty_cache() gives back what is kept for reuse",
        )


def _describe(value: Value) -> str:
    place = {"input": "given", "output": "result", "arena": "intermediate"}.get(value.place, value.place)
    source = f"    {value.source}: {value.source.text}".rstrip(": ") if value.source is not None else ""
    return f"{value.type.nbytes:>14,} bytes  {value.name}: {value.type} ({place}){source}"


def _arguments(step: Any) -> list[Argument]:
    return [a for run in step.args for a in run] if isinstance(step, CudaLaunch) else []
