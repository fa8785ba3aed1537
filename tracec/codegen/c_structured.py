"""Loops and branches of the entry: a function for each body, called with pointers that move from run to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracec.codegen.c_source import Statement, value
from tracec.ir.plan import Branch, Plan, Repeat, Structure, While

Pointers = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Runs:
    """A loop.

    Attributes:
        body: The function that it calls.
        length: How often.
        at: Which slice a run is about.
        scratch: Bytes of the arena in front of the body's.
        pointers: The body's inputs and outputs.
    """

    body: str
    length: int
    at: str
    scratch: int
    pointers: Pointers


@dataclass(frozen=True, slots=True)
class Choice:
    """A branch.

    Attributes:
        condition: What is looked at.
        then, other: The functions that it calls one of.
        scratch: Bytes of the arena in front of theirs.
        pointers: Their inputs and outputs.
    """

    condition: str
    then: str
    other: str
    scratch: int
    pointers: Pointers


@dataclass(frozen=True, slots=True)
class Going:
    """A loop that goes on as long as a condition holds.

    Attributes:
        condition, body, finish: The functions that it calls.
        scratch: Bytes of the arena in front of theirs.
        flag: Where the condition is.
        carried: What a run takes.
        asked, given, last: Inputs and outputs of the functions.
    """

    condition: str
    body: str
    finish: str
    scratch: int
    flag: str
    carried: Pointers
    asked: Pointers
    given: Pointers
    last: Pointers


def call(plan: Plan, step: Structure, bodies: Sequence[str], *, blas: bool) -> Statement:
    """The step in the entry of a plan, around calls of the functions of its bodies.

    Args:
        plan: The plan.
        step: The loop or branch.
        bodies: The functions.
        blas: Whether they call BLAS.
    """
    match step:
        case Repeat():
            return Statement("c/repeat.j2", _repeat(plan, step, bodies[0]), tuple(bodies), blas)
        case Branch():
            return Statement("c/branch.j2", _branch(plan, step, bodies), tuple(bodies), blas)
        case While():
            return Statement("c/while.j2", _while(plan, step, bodies), tuple(bodies), blas)


def _repeat(plan: Plan, step: Repeat, body: str) -> Runs:
    inputs = [_input(plan, step, k) for k in range(len(step.inputs))]
    outputs = [_output(plan, step, k) for k in range(len(step.places))]
    at = f"{step.length - 1} - run" if step.reverse else "run"
    return Runs(body, step.length, at, _arena(plan, step), (*inputs, *outputs))


def _branch(plan: Plan, step: Branch, bodies: Sequence[str]) -> Choice:
    condition, *inputs = (_operand(plan, step, k) for k in range(len(step.inputs)))
    outputs = [value(plan, step.output, place) for place in step.places]
    then, other = bodies
    return Choice(f"*(char *){_bracketed(condition)}", then, other, _arena(plan, step), (*inputs, *outputs))


def _while(plan: Plan, step: While, bodies: Sequence[str]) -> Going:
    n, m = step.carries, step.carries + step.read
    operands = [_operand(plan, step, k) for k in range(len(step.inputs))]
    buffers = [[value(plan, step.scratch, at) for at in pair] for pair in step.buffers]
    before = tuple(
        f"run == 0 ? (void *){_bracketed(operands[k])} : run & 1 ? {a} : {b}" for k, (a, b) in enumerate(buffers)
    )
    after = (f"run & 1 ? {b} : {a}" for a, b in buffers)
    carried = tuple(f"carried[{k}]" for k in range(n))
    flag = value(plan, step.scratch, step.flag)
    asked = (*carried, *operands[n:m], flag)
    given = (*carried, *operands[m:], *after)
    last = (*carried, *(value(plan, step.output, place) for place in step.places))
    condition, body, finish = bodies
    return Going(condition, body, finish, _arena(plan, step), flag, before, asked, given, last)


def _arena(plan: Plan, step: Structure) -> int:
    return plan.values[step.scratch].offset


def _operand(plan: Plan, step: Structure, k: int) -> str:
    return "0" if step.inputs[k] < 0 else value(plan, step.inputs[k], step.offsets[k])


def _input(plan: Plan, step: Repeat, k: int) -> str:
    base = _operand(plan, step, k)
    if step.inputs[k] < 0:
        return base
    if k < step.carries:
        first, second = (value(plan, step.scratch, at) for at in step.buffers[k])
        return f"run == 0 ? (void *){_bracketed(base)} : run & 1 ? {first} : {second}"
    if k < step.carries + step.scanned:
        return _moving(base, step.body.values[step.body.inputs[k]].type.nbytes)
    return base


def _output(plan: Plan, step: Repeat, k: int) -> str:
    place = value(plan, step.output, max(step.places[k], 0))
    if k >= step.carries:
        return _moving(place, step.strides[k]) if step.strides[k] else place
    first, second = (value(plan, step.scratch, at) for at in step.buffers[k])
    buffer = f"run & 1 ? {second} : {first}"
    if step.places[k] < 0:
        return buffer
    return f"run == {step.length - 1} ? (void *){_bracketed(place)} : {buffer}"


def _bracketed(address: str) -> str:
    """An address that a cast in front takes whole."""
    return f"({address})" if " + " in address and not address.startswith("(void *)(") else address


def _moving(base: str, stride: int) -> str:
    """An address that moves from run to run."""
    return f"{base if base.startswith('(char *)') else f'(char *){base}'} + at * {stride}"
