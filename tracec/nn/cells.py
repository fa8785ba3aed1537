"""Single steps of recurrent layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from tracec import functions as F
from tracec.errors import ArgumentError, ShapeError
from tracec.functions.common import check_tensor
from tracec.ir.body import Body
from tracec.ir.dtype import DType
from tracec.ir.extent import is_varying
from tracec.nn import init
from tracec.nn.module import Module
from tracec.nn.parameter import Parameter
from tracec.ops.loops import ScanParams
from tracec.record.backend import module
from tracec.record.bodies import run_loop, trace_body
from tracec.record.mode import no_grad
from tracec.record.state import STATE
from tracec.record.tensor import Tensor

State = tuple[Tensor, ...]
Weights = tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]
#: What a step makes of the input's share, the state, and the state's weight, bias and projection.
Step = Callable[[Tensor, State, Tensor, Tensor | None, Tensor | None], State]


def lstm_step(share: Tensor, state: State, w_hh: Tensor, b_hh: Tensor | None, w_hr: Tensor | None) -> State:
    """One step of a long short-term memory.

    Source: Hochreiter, Schmidhuber, "Long Short-Term Memory", 1997; with the forget gate of Gers et al., 2000, and
    the projection of Sak, Senior, Beaufays, 2014.
    """
    hidden, memory = state
    i, f, g, o = F.chunk(share + F.linear(hidden, w_hh, b_hh), 4, 1)
    memory = F.sigmoid(f) * memory + F.sigmoid(i) * F.tanh(g)
    hidden = F.sigmoid(o) * F.tanh(memory)
    return (hidden if w_hr is None else F.linear(hidden, w_hr)), memory


def gru_step(share: Tensor, state: State, w_hh: Tensor, b_hh: Tensor | None, w_hr: Tensor | None) -> State:
    """One step of a gated recurrent unit.

    Source: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014.
    """
    (hidden,) = state
    r_x, z_x, n_x = F.chunk(share, 3, 1)
    r_h, z_h, n_h = F.chunk(F.linear(hidden, w_hh, b_hh), 3, 1)
    update = F.sigmoid(z_x + z_h)
    new = F.tanh(n_x + F.sigmoid(r_x + r_h) * n_h)
    return (new + update * (hidden - new),)


def tanh_step(share: Tensor, state: State, w_hh: Tensor, b_hh: Tensor | None, w_hr: Tensor | None) -> State:
    """One step of a plain recurrent layer.

    Source: Elman, "Finding Structure in Time", 1990.
    """
    return (F.tanh(share + F.linear(state[0], w_hh, b_hh)),)


def relu_step(share: Tensor, state: State, w_hh: Tensor, b_hh: Tensor | None, w_hr: Tensor | None) -> State:
    """`tanh_step` with the positive part for tanh."""
    return (F.relu(share + F.linear(state[0], w_hh, b_hh)),)


class Cell(NamedTuple):
    """What a kind of recurrent layer is.

    Attributes:
        step: Computes the state after a step; its first tensor is the result.
        gates: How many times ``hidden_size`` the weights have rows.
        states: Tensors of the state.
        gates_bias: Whether the state's bias goes through a gate, so that it is not just added to the input's share.
    """

    step: Step
    gates: int
    states: int
    gates_bias: bool = False


CELLS = {
    "LSTM": Cell(lstm_step, 4, 2),
    "GRU": Cell(gru_step, 3, 1, gates_bias=True),
    "RNN_TANH": Cell(tanh_step, 1, 1),
    "RNN_RELU": Cell(relu_step, 1, 1),
}


def run_steps(
    kind: str, shares: Tensor, there: Tensor | None, first: State, held: Sequence[Tensor | None], backwards: bool
) -> tuple[Tensor, State]:
    """All steps of a layer, as one loop.

    Args:
        kind: Which of `CELLS`.
        shares: The input's share of each step, shape ``(L, N, gates * hidden_size)``.
        there: Shape ``(L, N, 1)``: whether a sequence has a step; None where all have all.
        first: The state before the first step.
        held: The share's bias, the state's weight and bias, and the projection; None for what there is not.
        backwards: Whether the last step comes first.

    Returns:
        The hidden states, shape ``(L, N, width)``, and the state after the last step.
    """
    weights = [w for w in held if w is not None]
    n = len(first)
    slices = [shares] if there is None else [shares, there]

    def step(given: Sequence[Tensor]) -> tuple[list[Tensor], None]:
        state, share = tuple(given[:n]), given[n]
        rest = iter(given[n + len(slices) :])
        bias, w_hh, b_hh, w_hr = (None if w is None else next(rest, w) for w in held)
        assert w_hh is not None
        new = CELLS[kind].step(share if bias is None else share + bias, state, w_hh, b_hh, w_hr)
        if there is not None:
            new = tuple(F.where(given[n + 1], a, b) for a, b in zip(new, state, strict=True))
        return [*new, new[0]], None

    loop, captured, first = _loop(step, (kind, *(w is None for w in held)), first, slices, weights, backwards)
    results = run_loop(loop, [*first, *slices, *captured])
    return results[n], tuple(results[:n])


_BODIES: dict[Any, Body] = {}
_MOST_BODIES = 1000


def _loop(
    step: Any, kind: tuple[Any, ...], first: State, slices: Sequence[Tensor], weights: Sequence[Tensor], backwards: bool
) -> tuple[ScanParams, Sequence[Tensor], State]:
    """The loop over a step, the operands that are the same in all runs, and the first state in its type.

    The step of operands of the same types is the same graph. Under autocast weights are cast outside, once a call.
    """
    length = slices[0].shape[0]
    one = [x._type.with_shape(x.shape[1:]) for x in slices]
    same = [] if STATE.autocast is not None else list(weights)
    types = [*(s._type for s in first), *one, *(w._type for w in same)]
    key = (kind, len(first), *types)
    is_kept = STATE.autocast is None and not any(is_varying(t.shape) for t in types)
    body = _BODIES.get(key) if is_kept else None
    captured: Sequence[Tensor] = same
    if body is None:
        # On zeros, so that no memory is read; what is captured keeps its history.
        arrays = [module(t.device).zeros(t.shape, t.dtype.numpy) for t in types]
        with nullcontext() if STATE.autocast is not None else no_grad():
            traced = trace_body("RNN", step, types, arrays)
        outputs = tuple(o.type for o in traced.graph.outputs[: len(first)])
        if outputs != tuple(types[: len(first)]):
            # Mixed precision: the state becomes what a step makes of it.
            cast = tuple(s.to(o.dtype) for s, o in zip(first, outputs, strict=True))
            return _loop(step, kind, cast, slices, weights, backwards)
        body = Body(traced.graph)
        captured = [*same, *traced.captured]
        if is_kept:
            if len(_BODIES) >= _MOST_BODIES:
                _BODIES.clear()
            _BODIES[key] = body
    return ScanParams(body, len(first), len(slices), length, backwards), captured, first


class RNNCellBase(Module):
    """What cells share.

    Args:
        input_size: Last size of the input.
        hidden_size: Width of the state.
        bias: Whether there are biases.
        num_chunks: Gates: how many times ``hidden_size`` the weights have rows.
        device: Where the parameters live.
        dtype: Their element type.

    Attributes:
        weight_ih: Shape ``(gates * hidden_size, input_size)``; uniform within ±1/sqrt(hidden_size) at first, as all.
        weight_hh: Shape ``(gates * hidden_size, hidden_size)``.
        bias_ih: Shape ``(gates * hidden_size,)``.
        bias_hh: Shape ``(gates * hidden_size,)``.
    """

    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = num_chunks * hidden_size
        self.weight_ih = Parameter(F.empty(rows, input_size, device=device, dtype=dtype))
        self.weight_hh = Parameter(F.empty(rows, hidden_size, device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            made = Parameter(F.empty(rows, device=device, dtype=dtype)) if bias else None
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the first values again."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size else 0.0
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def _stepped(self, kind: str, input: Tensor, hx: Any) -> State:
        """The state after one step over ``(N, input_size)`` or ``(input_size,)``."""
        name, cell = type(self).__name__, CELLS[kind]
        check_tensor(name, input)
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            raise ShapeError(
                f"{name}: input of shape {tuple(input.shape)} for input_size {self.input_size}",
                hint="it is (N, input_size) or (input_size,)",
            )
        single = input.ndim == 1
        wanted = (*input.shape[:-1], self.hidden_size)
        if hx is None:
            state: State = (F.zeros(wanted, dtype=input.dtype, device=input.device),) * cell.states
        else:
            state = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        for h in state:
            if tuple(h.shape) != wanted or len(state) != cell.states:
                raise ShapeError(
                    f"{name}: states of shapes {[tuple(h.shape) for h in state]}, not {cell.states} of {wanted}",
                    hint="an LSTMCell takes (hidden, memory), the others one tensor",
                )
        x = F.unsqueeze(input, 0) if single else input
        state = tuple(F.unsqueeze(h, 0) for h in state) if single else state
        found = cell.step(F.linear(x, self.weight_ih, self.bias_ih), state, self.weight_hh, self.bias_hh, None)
        return tuple(F.squeeze(h, 0) for h in found) if single else found

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class LSTMCell(RNNCellBase):
    """One step of an `LSTM`."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: DType | None = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> State:
        """Shape ``(N, input_size)`` and states (hidden, memory) to the next ones, each ``(N, hidden_size)``."""
        return self._stepped("LSTM", input, hx)


class GRUCell(RNNCellBase):
    """One step of a `GRU`."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: DType | None = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Shape ``(N, input_size)`` and the state to the next one, ``(N, hidden_size)``."""
        return self._stepped("GRU", input, hx)[0]


class RNNCell(RNNCellBase):
    """One step of an `RNN`; ``nonlinearity`` is ``tanh`` or ``relu``."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ArgumentError(f"RNNCell: nonlinearity={nonlinearity!r} is not known", hint="use 'tanh' or 'relu'")
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Shape ``(N, input_size)`` and the state to the next one, ``(N, hidden_size)``."""
        return self._stepped(f"RNN_{self.nonlinearity.upper()}", input, hx)[0]

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}")
