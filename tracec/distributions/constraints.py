"""What parameters and values of distributions may be."""

from __future__ import annotations

from typing import Any

from tracec import functions as fn
from tracec.record.tensor import Tensor


class Constraint:
    """A condition on values.

    Attributes:
        is_discrete: Whether values are whole numbers.
        event_dim: How many axes on the right the condition is on as a whole.
    """

    is_discrete = False
    event_dim = 0

    def check(self, value: Tensor) -> Tensor:
        """Where values meet the condition: booleans, without the axes of `event_dim`."""
        raise NotImplementedError

    def __repr__(self) -> str:
        name = type(self).__name__.removeprefix("_")
        return "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")


class _Real(Constraint):
    def check(self, value: Tensor) -> Tensor:
        return fn.eq(value, value)  # nan is none


class _Boolean(Constraint):
    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        return fn.logical_or(fn.eq(value, 0), fn.eq(value, 1))


class _Interval(Constraint):
    def __init__(self, lower: Any, upper: Any) -> None:
        self.lower_bound, self.upper_bound = lower, upper

    def check(self, value: Tensor) -> Tensor:
        return fn.logical_and(fn.ge(value, self.lower_bound), fn.le(value, self.upper_bound))

    def __repr__(self) -> str:
        return f"Interval(lower_bound={self.lower_bound}, upper_bound={self.upper_bound})"


class _HalfOpenInterval(_Interval):
    def check(self, value: Tensor) -> Tensor:
        return fn.logical_and(fn.ge(value, self.lower_bound), fn.lt(value, self.upper_bound))


class _IntegerInterval(_Interval):
    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        return fn.logical_and(fn.eq(fn.floor(value), value), super().check(value))


class _GreaterThan(Constraint):
    def __init__(self, lower: Any) -> None:
        self.lower_bound = lower

    def check(self, value: Tensor) -> Tensor:
        return fn.gt(value, self.lower_bound)

    def __repr__(self) -> str:
        return f"GreaterThan(lower_bound={self.lower_bound})"


class _GreaterThanEq(_GreaterThan):
    def check(self, value: Tensor) -> Tensor:
        return fn.ge(value, self.lower_bound)


class _IntegerGreaterThanEq(_GreaterThan):
    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        return fn.logical_and(fn.eq(fn.floor(value), value), fn.ge(value, self.lower_bound))


class _Simplex(Constraint):
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        near = fn.lt(fn.abs(fn.sum(value, dim=-1) - 1.0), 1e-6)
        return fn.logical_and(fn.all(fn.ge(value, 0), dim=-1), near)


class _OneHot(Constraint):
    is_discrete = True
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        binary = fn.all(_Boolean().check(value), dim=-1)
        return fn.logical_and(binary, fn.eq(fn.sum(value, dim=-1), 1))


class _Multinomial(Constraint):
    is_discrete = True
    event_dim = 1

    def __init__(self, most: int) -> None:
        self.upper_bound = most

    def check(self, value: Tensor) -> Tensor:
        return fn.logical_and(fn.all(fn.ge(value, 0), dim=-1), fn.eq(fn.sum(value, dim=-1), self.upper_bound))


class _LowerCholesky(Constraint):
    event_dim = 2

    def check(self, value: Tensor) -> Tensor:
        lower = fn.all(fn.flatten(fn.eq(fn.tril(value), value), -2), dim=-1)
        return fn.logical_and(lower, fn.all(fn.gt(fn.diagonal(value, 0, -2, -1), 0), dim=-1))


class _PositiveDefinite(Constraint):
    event_dim = 2

    def check(self, value: Tensor) -> Tensor:
        # Symmetry and a positive diagonal, which a decomposition that fails will say the rest of.
        near = fn.isclose(value, fn.transpose(value, -2, -1), atol=1e-6)
        symmetric = fn.all(fn.flatten(near, -2), dim=-1)
        return fn.logical_and(symmetric, fn.all(fn.gt(fn.diagonal(value, 0, -2, -1), 0), dim=-1))


class _Independent(Constraint):
    def __init__(self, base: Constraint, more: int) -> None:
        self.base_constraint, self.reinterpreted_batch_ndims = base, more
        self.is_discrete, self.event_dim = base.is_discrete, base.event_dim + more

    def check(self, value: Tensor) -> Tensor:
        found = self.base_constraint.check(value)
        for _ in range(self.reinterpreted_batch_ndims):
            found = fn.all(found, dim=-1)
        return found


real = _Real()
boolean = _Boolean()
positive = _GreaterThan(0.0)
nonnegative = _GreaterThanEq(0.0)
nonnegative_integer = _IntegerGreaterThanEq(0)
positive_integer = _IntegerGreaterThanEq(1)
unit_interval = _Interval(0.0, 1.0)
simplex = _Simplex()
one_hot = _OneHot()
lower_cholesky = _LowerCholesky()
positive_definite = _PositiveDefinite()
interval = _Interval
half_open_interval = _HalfOpenInterval
integer_interval = _IntegerInterval
greater_than = _GreaterThan
greater_than_eq = _GreaterThanEq
multinomial = _Multinomial
independent = _Independent
real_vector = _Independent(real, 1)
