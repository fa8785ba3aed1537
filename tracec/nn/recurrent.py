"""Recurrent layers, as loops over the steps."""

from __future__ import annotations

import math
from typing import Any

from tracec import functions as F
from tracec.errors import ArgumentError, ShapeError
from tracec.ir.dtype import DType
from tracec.nn import init
from tracec.nn.module import Module
from tracec.nn.parameter import Parameter
from tracec.record.tensor import Tensor

Weights = tuple[Tensor, Tensor, Tensor | None, Tensor | None]


class _Recurrent(Module):
    """What recurrent layers share.

    Args:
        input_size: Last size of the input.
        hidden_size: Width of the state.
        num_layers: Layers, each taking the states of the one before.
        bias: Whether there are biases.
        batch_first: The input is ``(N, L, input_size)`` instead of ``(L, N, input_size)``.
        dropout: Probability of dropping a state on its way to the next layer, in training.
        bidirectional: Also go through the steps backwards, and join both states.
        device: Where the parameters live.
        dtype: Their element type.

    Attributes:
        weight_ih_l0: Shape ``(gates * hidden_size, input_size)``; one for each layer, and with ``_reverse`` for
            the way back. All parameters are uniform within ±1/sqrt(hidden_size) at first.
        weight_hh_l0: Shape ``(gates * hidden_size, hidden_size)``.
        bias_ih_l0: Shape ``(gates * hidden_size,)``.
        bias_hh_l0: Shape ``(gates * hidden_size,)``.
    """

    gates = 1
    states = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if hidden_size < 1 or num_layers < 1:
            raise ArgumentError(f"{name}: hidden_size={hidden_size}, num_layers={num_layers}", hint="give 1 or more")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, dropout, bidirectional
        rows = self.gates * hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * self._ways
            for suffix in self._suffixes(layer):
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, width), "weight_hh": (rows, hidden_size)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                for part, shape in shapes.items():
                    setattr(self, f"{part}_{suffix}", Parameter(F.empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    @property
    def _ways(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> list[str]:
        return [f"l{layer}", f"l{layer}_reverse"][: self._ways]

    def reset_parameters(self) -> None:
        """Draw the first values again."""
        bound = 1 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def cell(self, x: Tensor, state: tuple[Tensor, ...], weights: Weights) -> tuple[Tensor, ...]:
        """The state after a step; its first tensor is the layer's result."""
        raise NotImplementedError

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """All steps.

        Args:
            input: Shape ``(L, N, input_size)``, or without N.
            hx: First states, each of shape ``(num_layers * ways, N, hidden_size)``; zeros by default.

        Returns:
            The last layer's state at every step, ``(L, N, hidden_size * ways)``, and the last states.

        Raises:
            ShapeError: the input's last size is not ``input_size``.
        """
        name = type(self).__name__
        if input.ndim not in (2, 3) or input.shape[-1] != self.input_size:
            raise ShapeError(
                f"{name}: input of shape {tuple(input.shape)} for input_size {self.input_size}",
                hint="it is (L, N, input_size), (N, L, input_size) if batch_first, or (L, input_size)",
            )
        single = input.ndim == 2
        axis = 1 if self.batch_first and not single else 0
        steps = [x.unsqueeze(0) if single else x for x in input.unbind(axis)]
        first = self._first_states(input, hx, steps[0].shape[0], single)
        last: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                steps = [F.dropout(x, self.dropout, self.training) for x in steps]
            steps, ends = self._layer(layer, steps, first)
            last += ends
        out = F.stack([x.squeeze(0) for x in steps] if single else steps, axis)
        states = tuple(F.stack([s[k].squeeze(0) if single else s[k] for s in last]) for k in range(self.states))
        return out, states if self.states > 1 else states[0]

    def _first_states(self, input: Tensor, hx: Any, batch: int, single: bool) -> list[tuple[Tensor, ...]]:
        count = self.num_layers * self._ways
        if hx is None:
            zero = F.zeros(batch, self.hidden_size, dtype=input.dtype, device=input.device)
            return [(zero,) * self.states] * count
        given = tuple(hx) if self.states > 1 else (hx,)
        wanted = (count, self.hidden_size) if single else (count, batch, self.hidden_size)
        for h in given:
            if tuple(h.shape) != wanted:
                raise ShapeError(
                    f"{type(self).__name__}: first state of shape {tuple(h.shape)}, not {wanted}",
                    hint="it is (num_layers * ways, N, hidden_size)",
                )
        return [tuple(h[i].unsqueeze(0) if single else h[i] for h in given) for i in range(count)]

    def _layer(
        self, layer: int, steps: list[Tensor], first: list[tuple[Tensor, ...]]
    ) -> tuple[list[Tensor], list[tuple[Tensor, ...]]]:
        ways, ends = [], []
        for way, suffix in enumerate(self._suffixes(layer)):
            weights = self._weights(suffix)
            state = first[layer * self._ways + way]
            found = []
            for x in reversed(steps) if way else steps:
                state = self.cell(x, state, weights)
                found.append(state[0])
            ways.append(found[::-1] if way else found)
            ends.append(state)
        return (ways[0] if len(ways) == 1 else [F.cat(pair, 1) for pair in zip(*ways, strict=True)]), ends

    def _weights(self, suffix: str) -> Weights:
        biases = [getattr(self, f"{b}_{suffix}") if self.bias else None for b in ("bias_ih", "bias_hh")]
        return getattr(self, f"weight_ih_{suffix}"), getattr(self, f"weight_hh_{suffix}"), biases[0], biases[1]

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        options = ("num_layers", 1), ("bias", True), ("batch_first", False), ("dropout", 0.0), ("bidirectional", False)
        changed = [(name, getattr(self, name)) for name, usual in options if getattr(self, name) != usual]
        return text + "".join(f", {name}={value}" for name, value in changed)


def lstm_cell(x: Tensor, state: tuple[Tensor, ...], weights: Weights) -> tuple[Tensor, ...]:
    """One step of a long short-term memory.

    Source: Hochreiter, Schmidhuber, "Long Short-Term Memory", 1997; with the forget gate of Gers et al., 2000.
    """
    hidden, memory = state
    w_ih, w_hh, b_ih, b_hh = weights
    i, f, g, o = (F.linear(x, w_ih, b_ih) + F.linear(hidden, w_hh, b_hh)).chunk(4, 1)
    memory = F.sigmoid(f) * memory + F.sigmoid(i) * F.tanh(g)
    return F.sigmoid(o) * F.tanh(memory), memory


def gru_cell(x: Tensor, state: tuple[Tensor, ...], weights: Weights) -> tuple[Tensor, ...]:
    """One step of a gated recurrent unit.

    Source: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014.
    """
    (hidden,) = state
    w_ih, w_hh, b_ih, b_hh = weights
    r_x, z_x, n_x = F.linear(x, w_ih, b_ih).chunk(3, 1)
    r_h, z_h, n_h = F.linear(hidden, w_hh, b_hh).chunk(3, 1)
    update = F.sigmoid(z_x + z_h)
    new = F.tanh(n_x + F.sigmoid(r_x + r_h) * n_h)
    return (new + update * (hidden - new),)


class LSTM(_Recurrent):
    """Long short-term memory; its states are (hidden, memory). Gates are in the order i, f, g, o."""

    gates, states = 4, 2

    def cell(self, x: Tensor, state: tuple[Tensor, ...], weights: Weights) -> tuple[Tensor, ...]:
        return lstm_cell(x, state, weights)


class GRU(_Recurrent):
    """Gated recurrent unit. Gates are in the order r, z, n."""

    gates = 3

    def cell(self, x: Tensor, state: tuple[Tensor, ...], weights: Weights) -> tuple[Tensor, ...]:
        return gru_cell(x, state, weights)


class RNN(_Recurrent):
    """``tanh(W x + V h)``."""

    def cell(self, x: Tensor, state: tuple[Tensor, ...], weights: Weights) -> tuple[Tensor, ...]:
        w_ih, w_hh, b_ih, b_hh = weights
        return (F.tanh(F.linear(x, w_ih, b_ih) + F.linear(state[0], w_hh, b_hh)),)


class LSTMCell(Module):
    """One step of an `LSTM`.

    Args:
        input_size: Last size of the input.
        hidden_size: Width of the state.
        bias: Whether there are biases.
    """

    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        self.weight_ih = Parameter(F.empty(4 * hidden_size, input_size))
        self.weight_hh = Parameter(F.empty(4 * hidden_size, hidden_size))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(F.empty(4 * hidden_size)) if bias else None)
        bound = 1 / math.sqrt(hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, ...]:
        """Shape ``(N, input_size)`` to the states, each ``(N, hidden_size)``."""
        zero = F.zeros(input.shape[0], self.hidden_size, dtype=input.dtype, device=input.device)
        return lstm_cell(input, hx or (zero, zero), (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh))

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")
