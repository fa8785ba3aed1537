"""Two tensors in each other's place."""

from __future__ import annotations

from tracec.errors import ArgumentTypeError
from tracec.record.cell import Changes
from tracec.record.refusal import refuse
from tracec.record.state import STATE
from tracec.record.tensor import Tensor


def swap_tensors(t1: Tensor, t2: Tensor) -> None:
    """Let each of two tensors be what the other is: class, elements, gradient and attributes.

    Whoever holds one sees what the other one was; `torch.nn.Module.load_state_dict` of programs that swap parameters
    in place of copying into them is built on it.

    Args:
        t1: A tensor.
        t2: Another one.

    Raises:
        ArgumentTypeError: they are no tensors.
        RecordError: in a compiled function, which could not do it again.
    """
    for name, t in (("t1", t1), ("t2", t2)):
        if not isinstance(t, Tensor):
            raise ArgumentTypeError(f"swap_tensors: {name} is of type {type(t).__name__}", hint="give two tensors")
    if STATE.recorder is not None:
        refuse("swap_tensors: tensors cannot be exchanged in a compiled function", hint="do it before")
    Changes.count += 1
    t1.__class__, t2.__class__ = t2.__class__, t1.__class__
    own = dict(t1.__dict__)
    t1.__dict__.clear()
    t1.__dict__.update(t2.__dict__)
    t2.__dict__.clear()
    t2.__dict__.update(own)
