"""Recurrent layers: each a loop over the steps, of which one is compiled."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from tracec import functions as F
from tracec.errors import ArgumentError, ArgumentTypeError, ShapeError
from tracec.functions.common import check_flag
from tracec.ir.dtype import DType
from tracec.ir.source import warn
from tracec.nn import init
from tracec.nn.cells import CELLS, State, Weights, run_steps
from tracec.nn.module import Module
from tracec.nn.parameter import Parameter
from tracec.nn.utils.rnn import PackedSequence
from tracec.record.tensor import Tensor


class Steps(NamedTuple):
    """Steps of sequences.

    Attributes:
        longest: Those of the longest one.
        most: Sequences that have the first one.
        sizes: Sequences that have each one; None where all have all.
    """

    longest: int
    most: int
    sizes: list[int] | None = None


class RNNBase(Module):
    """What recurrent layers share.

    Args:
        mode: ``LSTM``, ``GRU``, ``RNN_TANH`` or ``RNN_RELU``.
        input_size: Last size of the input.
        hidden_size: Width of the state.
        num_layers: Layers, each taking the states of the one before.
        bias: Whether there are biases.
        batch_first: The input is ``(N, L, input_size)`` instead of ``(L, N, input_size)``.
        dropout: Probability of dropping a state on its way to the next layer, in training.
        bidirectional: Also go through the steps backwards, and join both states.
        proj_size: Width that hidden states of an LSTM are projected to; 0 for none.
        device: Where the parameters live.
        dtype: Their element type.

    Attributes:
        weight_ih_l0: Shape ``(gates * hidden_size, input_size)``; one for each layer, and with ``_reverse`` for
            the way back. All parameters are uniform within ±1/sqrt(hidden_size) at first.
        weight_hh_l0: Shape ``(gates * hidden_size, hidden_size)``, or with proj_size as its last size.
        bias_ih_l0: Shape ``(gates * hidden_size,)``.
        bias_hh_l0: Shape ``(gates * hidden_size,)``.
        weight_hr_l0: Shape ``(proj_size, hidden_size)``, where there is a projection.
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        if mode not in CELLS:
            raise ArgumentError(f"RNNBase: mode={mode!r} is not known", hint=f"use one of {', '.join(CELLS)}")
        self.mode = mode
        for what, given in (("bias", bias), ("batch_first", batch_first)):
            check_flag(type(self).__name__, given, what)
        _check_options(type(self).__name__, mode, input_size, hidden_size, num_layers, dropout, proj_size)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, float(dropout), bidirectional
        self.proj_size = proj_size
        rows = CELLS[mode].gates * hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else self._width * self._ways
            for suffix in self._suffixes(layer):
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, width), "weight_hh": (rows, self._width)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for part, shape in shapes.items():
                    setattr(self, f"{part}_{suffix}", Parameter(F.empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    @property
    def _ways(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _width(self) -> int:
        """The last size of the hidden states."""
        return self.proj_size or self.hidden_size

    def _suffixes(self, layer: int) -> list[str]:
        return [f"l{layer}", f"l{layer}_reverse"][: self._ways]

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and way."""
        suffixes = [s for layer in range(self.num_layers) for s in self._suffixes(layer)]
        return [[p for p in self._weights(suffix) if p is not None] for suffix in suffixes]

    def flatten_parameters(self) -> None:
        """Nothing: parameters are read where they lie. In PyTorch it lays them out for cuDNN."""

    def reset_parameters(self) -> None:
        """Draw the first values again."""
        bound = 1 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def forward(self, input: Any, hx: Any = None) -> Any:
        """All steps.

        Args:
            input: Shape ``(L, N, input_size)``, ``(N, L, input_size)`` if ``batch_first``, or without N; or a
                `PackedSequence`.
            hx: First states, each of shape ``(num_layers * ways, N, width)``, or without N; zeros by default. Of an
                LSTM they are (hidden, memory).

        Returns:
            The last layer's hidden state at every step, ``(L, N, width * ways)`` laid out as the input, and the last
            states.

        Raises:
            ShapeError: the input or a state has the wrong shape.
        """
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        self._check_input(input, (2, 3))
        single = input.ndim == 2
        x = F.unsqueeze(input, 1) if single else F.transpose(input, 0, 1) if self.batch_first else input
        steps, batch = x.shape[0], x.shape[1]
        if not steps:
            raise ShapeError(
                f"{type(self).__name__}: input of shape {tuple(input.shape)} has no steps",
                hint="the sequence length is larger than 0",
            )
        first = self._first_states(x, hx, batch, single)
        rows, last = self._run(F.reshape(x, (steps * batch, x.shape[2])), Steps(steps, batch), first)
        out = F.reshape(rows, (steps, batch, rows.shape[1]))
        if single:
            return F.squeeze(out, 1), self._given_back([F.squeeze(s, 1) for s in last])
        return (F.transpose(out, 0, 1) if self.batch_first else out), self._given_back(last)

    def _forward_packed(self, packed: PackedSequence, hx: Any) -> Any:
        self._check_input(packed.data, (2,))
        sizes = packed.sizes()
        first = self._first_states(packed.data, hx, sizes[0], False)
        if hx is not None and packed.sorted_indices is not None:
            first = [F.index_select(s, 1, packed.sorted_indices) for s in first]
        rows, last = self._run(packed.data, Steps(len(sizes), sizes[0], sizes), first)
        if packed.unsorted_indices is not None:
            last = [F.index_select(s, 1, packed.unsorted_indices) for s in last]
        return packed.with_data(rows), self._given_back(last)

    def _given_back(self, states: list[Tensor]) -> Any:
        return tuple(states) if len(states) > 1 else states[0]

    def _check_input(self, x: Tensor, dims: tuple[int, ...]) -> None:
        name = type(self).__name__
        if not isinstance(x, Tensor):
            raise ArgumentTypeError(f"{name}: input must be a tensor, {type(x).__name__} given", hint="or packed")
        if x.ndim not in dims or x.shape[-1] != self.input_size:
            raise ShapeError(
                f"{name}: input of shape {tuple(x.shape)} for input_size {self.input_size}",
                hint="it is (L, N, input_size), (N, L, input_size) if batch_first, or (L, input_size)",
            )

    def _first_states(self, x: Tensor, hx: Any, batch: int, single: bool) -> list[Tensor]:
        """The states before the first step, each of shape (layers * ways, N, width)."""
        count = self.num_layers * self._ways
        widths = [self._width, self.hidden_size][: CELLS[self.mode].states]
        if hx is None:
            return [F.zeros(count, batch, width, dtype=x.dtype, device=x.device) for width in widths]
        given = [hx] if isinstance(hx, Tensor) else list(hx)
        if len(given) != len(widths):
            raise ArgumentError(
                f"{type(self).__name__}: {len(given)} first states, not {len(widths)}",
                hint="an LSTM takes (hidden, memory), the others one tensor",
            )
        for h, width in zip(given, widths, strict=True):
            wanted = (count, width) if single else (count, batch, width)
            if tuple(h.shape) != wanted:
                raise ShapeError(
                    f"{type(self).__name__}: first state of shape {tuple(h.shape)}, not {wanted}",
                    hint="it is (num_layers * ways, N, width), without N if the input is",
                )
        return [F.unsqueeze(h, 1) for h in given] if single else given

    def _run(self, rows: Tensor, all_: Steps, first: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """All layers over the rows of all steps."""
        last: list[State] = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                rows = F.dropout(rows, self.dropout, self.training)
            ways = []
            for way, suffix in enumerate(self._suffixes(layer)):
                at = layer * self._ways + way
                found, end = self._one_way(rows, all_, tuple(s[at] for s in first), self._weights(suffix), way == 1)
                ways.append(found)
                last.append(end)
            rows = ways[0] if len(ways) == 1 else F.cat(ways, 1)
        return rows, [F.stack([end[k] for end in last]) for k in range(len(first))]

    def _one_way(
        self, rows: Tensor, all_: Steps, first: State, weights: Weights, backwards: bool
    ) -> tuple[Tensor, State]:
        """One layer in one direction: its hidden states at all steps, and each sequence's last state."""
        cell = CELLS[self.mode]
        w_ih, w_hh, b_ih, b_hh, w_hr = weights
        steps, most, sizes = all_
        if steps == 1:
            state = cell.step(F.linear(rows, w_ih, b_ih), first, w_hh, b_hh, w_hr)
            return state[0], state
        if b_ih is not None and b_hh is not None and not cell.gates_bias:
            b_ih, b_hh = None, b_ih + b_hh
        # The inputs' share of all steps is one product; biases are added where a step reads it.
        shares = F.linear(rows, w_ih)
        held = (b_ih, w_hh, b_hh, w_hr)
        if sizes is None or min(sizes) == most:
            out, state = run_steps(self.mode, F.reshape(shares, (steps, most, -1)), None, first, held, backwards)
            return F.reshape(out, (steps * most, out.shape[2])), state
        # Shorter sequences are filled up: where one has no step, its state stays as it is.
        starts = [sum(sizes[:t]) for t in range(steps)]
        filled = F.tensor([starts[t] + min(n, sizes[t] - 1) for t in range(steps) for n in range(most)])
        there = F.tensor([[[n < size] for n in range(most)] for size in sizes])
        whole = F.tensor([t * most + n for t in range(steps) for n in range(sizes[t])])
        shares = F.reshape(F.index_select(shares, 0, filled.to(shares.device)), (steps, most, -1))
        out, state = run_steps(self.mode, shares, there.to(shares.device), first, held, backwards)
        return F.index_select(F.reshape(out, (steps * most, out.shape[2])), 0, whole.to(shares.device)), state

    def _weights(self, suffix: str) -> Any:
        # As attributes, which a parametrisation may compute.
        parts = {"weight_ih": True, "weight_hh": True, "bias_ih": self.bias, "bias_hh": self.bias}
        parts["weight_hr"] = bool(self.proj_size)
        return tuple(getattr(self, f"{part}_{suffix}") if there else None for part, there in parts.items())

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        options = (
            *(("proj_size", 0), ("num_layers", 1), ("bias", True)),
            *(("batch_first", False), ("dropout", 0.0), ("bidirectional", False)),
        )
        changed = [(name, getattr(self, name)) for name, usual in options if getattr(self, name) != usual]
        return text + "".join(f", {name}={value}" for name, value in changed)


def _check_options(
    name: str, mode: str, input_size: int, hidden_size: int, num_layers: int, dropout: float, proj_size: int
) -> None:
    given = {
        "input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers, "proj_size": proj_size
    }  # fmt: skip
    for what, value in given.items():
        if not isinstance(value, int):
            raise ArgumentTypeError(f"{name}: {what} is of type {type(value).__name__}", hint="give an int")
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout <= 1:
        raise ArgumentError(f"{name}: dropout={dropout!r} is not a probability", hint="give a number from 0 to 1")
    if dropout > 0 and num_layers == 1:
        warn(
            f"{name}: dropout={dropout} has no effect, it comes between layers and num_layers is 1",
            UserWarning,
        )
    for what in ("input_size", "hidden_size", "num_layers"):
        if given[what] < 1:
            raise ArgumentError(f"{name}: {what} must be greater than zero, {given[what]} given", hint="give 1 or more")
    if proj_size and mode != "LSTM":
        raise ArgumentError(f"{name}: proj_size={proj_size}", hint="only LSTM supports proj_size")
    if not 0 <= proj_size < hidden_size:
        raise ArgumentError(
            f"{name}: proj_size={proj_size} for hidden_size={hidden_size}", hint="it is smaller; 0 for no projection"
        )


class LSTM(RNNBase):
    """Long short-term memory. Gates are in the order i, f, g, o.

    It is called as ``lstm(input, (h, c))``, with an input of shape ``(L, N, input_size)``, and gives the states of the
    last layer at each step, shape ``(L, N, H)``, and the last states ``(h, c)``, each of shape ``(num_layers, N, H)``.
    Where it goes both ways, the former is twice as wide and the latter twice as long. States to begin with are zeros by
    default.

    Args:
        input_size: Last size of the input.
        hidden_size: Width of the state, H.
        *args: ``num_layers``, ``bias``, ``batch_first``, ``dropout``, ``bidirectional``, ``proj_size``, ``device`` and
            ``dtype``, as of `RNNBase`.
        **kwargs: The same by name.
    """

    def __init__(self, input_size: int, hidden_size: int, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", input_size, hidden_size, *args, **kwargs)


class GRU(RNNBase):
    """Gated recurrent unit. Gates are in the order r, z, n.

    It is called as ``gru(input, h)``; shapes as of `LSTM`.

    Args:
        input_size: Last size of the input.
        hidden_size: Width of the state, H.
        *args: ``num_layers``, ``bias``, ``batch_first``, ``dropout``, ``bidirectional``, ``device`` and ``dtype``, as
            of `RNNBase`.
        **kwargs: The same by name.
    """

    def __init__(self, input_size: int, hidden_size: int, *args: Any, **kwargs: Any) -> None:
        super().__init__("GRU", input_size, hidden_size, *args, **kwargs)


class RNN(RNNBase):
    """``tanh(W x + V h)``, or with ``nonlinearity="relu"`` the positive part of that.

    It is called as ``rnn(input, h)``; shapes as of `LSTM`.

    Args:
        input_size: Last size of the input.
        hidden_size: Width of the state, H.
        num_layers: Layers, each taking the states of the one before.
        nonlinearity: ``tanh`` or ``relu``.
        *args: ``bias``, ``batch_first``, ``dropout``, ``bidirectional``, ``device`` and ``dtype``, as of `RNNBase`.
        **kwargs: The same by name.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ArgumentError(f"RNN: nonlinearity={nonlinearity!r} is not known", hint="use 'tanh' or 'relu'")
        mode = f"RNN_{nonlinearity.upper()}"
        super().__init__(mode, input_size, hidden_size, num_layers, *args, **kwargs)
        self.nonlinearity = nonlinearity
