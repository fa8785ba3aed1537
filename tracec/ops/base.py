"""The constructor that every primitive goes through; families in `tracec.ops.families` supply its defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tracec.ir.lower import Lowering
from tracec.ir.operator import NotDifferentiable, Operator, Sample, register
from tracec.ir.types import TensorType
from tracec.ops.arrays import quiet


def primitive(
    name: str,
    *,
    family: str,
    type_rule: Callable[..., TensorType],
    eager: Callable[..., Any],
    vjp: Callable[..., tuple[Any, ...]] | NotDifferentiable,
    batch: Callable[..., Any],
    lower: Lowering | None,
    samples: tuple[Sample, ...],
    arity: int | None,
    jvp: Callable[..., Any] | NotDifferentiable | None = None,
    promotion: str = "same",
    doc: str = "",
) -> Operator:
    """Define a primitive operator and enter it in the table.

    The arguments are the fields of `tracec.ir.operator.Operator`, which says what each takes and gives.
    The eager rule is made silent about floating-point errors.
    """
    return register(
        Operator(
            name=name,
            family=family,
            type_rule=type_rule,
            eager=quiet(eager),
            vjp=vjp,
            jvp=jvp,
            batch=batch,
            lower=lower,
            promotion=promotion,
            samples=samples,
            arity=arity,
            doc=doc,
        )
    )
