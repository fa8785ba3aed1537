"""Plans of routines that give positions of one tensor's elements, run in the emulator: sorts and selections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracec.codegen.cuda import render
from tracec.ir import TensorType
from tracec.ir.operator import OPERATORS
from tracec.ir.plan import LibraryCall, Memory, Plan, Value
from tracec.runtime.emulator import load
from tracec.runtime.emulator_launch import ORDERS
from tracec.runtime.nvrtc import compile_sources

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Positions:
    """A call of a routine, which is named like its operator.

    Attributes:
        routine: ``argsort`` or ``ranked``.
        type: Of the tensor.
        params: The operator's parameters.
    """

    routine: str
    type: TensorType
    params: dict[str, Any]

    def expected(self, x: Array) -> Array:
        """What the operator's eager rule gives."""
        found: Array = OPERATORS[self.routine].eager(np, x, **self.params)
        return found


def plan_of(calls: Sequence[Positions]) -> Plan:
    """A plan of these calls, each of an input of its own."""
    values: list[Value] = []
    steps: list[LibraryCall] = []
    for number, call in enumerate(calls):
        operator = OPERATORS[call.routine]
        params = operator.bind(call.params)
        found = operator.infer((call.type,), params)
        values += [Value(f"x{number}", call.type, "input", number), Value(f"y{number}", found, "output", number)]
        steps.append(LibraryCall(call.routine, (2 * number,), 2 * number + 1, params, call.routine))
    inputs = tuple(range(0, len(values), 2))
    return Plan((), tuple(steps), tuple(values), inputs, tuple(i + 1 for i in inputs), Memory(0, 0, 0))


def check(
    calls: Sequence[Positions], given: Sequence[Array], orders: Sequence[str] = ORDERS, checks: bool = True
) -> None:
    """Run calls in the emulator, in each order of threads, and compare with the operators' eager rules."""
    plan = plan_of(calls)
    program = render(plan, "sm_90")
    for order in orders:
        results = load(plan, program, order, checks)([x.copy() for x in given])
        for call, x, have in zip(calls, given, results, strict=True):
            np.testing.assert_array_equal(have, call.expected(x), err_msg=f"{call} {order}")


def spilling(calls: Sequence[Positions], arch: str) -> list[Any]:
    """The functions of these calls that need memory for registers, as the compiler says."""
    cubins = compile_sources([k.source for k in render(plan_of(calls), arch).kernels], arch)
    return [c.functions for c in cubins if c.resources.spill_bytes or c.resources.stack_bytes]
