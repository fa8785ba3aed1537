"""What parameters and values of distributions may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tracec import functions as fn
from tracec import linalg
from tracec.distributions.utils import eps_of
from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.ir import dtype as dt
from tracec.record.tensor import Tensor


class Constraint:
    """A condition on values.

    Attributes:
        is_discrete: Whether values are whole numbers.
        event_dim: How many axes on the right the condition is on as a whole.
    """

    is_discrete: bool = False
    event_dim: int = 0

    def check(self, value: Tensor) -> Tensor:
        """Where values meet the condition: booleans, without the axes of `event_dim`."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__.lstrip('_')}()"


class _Dependent(Constraint):
    """A condition that depends on other values.

    Args:
        is_discrete: Whether values are whole numbers.
        event_dim: How many axes on the right the condition is on as a whole.
    """

    def __init__(self, *, is_discrete: bool = False, event_dim: int = 0) -> None:
        self.is_discrete, self.event_dim = is_discrete, event_dim

    def __call__(self, *, is_discrete: bool | None = None, event_dim: int | None = None) -> _Dependent:
        """The same, with more said of it."""
        return _Dependent(
            is_discrete=self.is_discrete if is_discrete is None else is_discrete,
            event_dim=self.event_dim if event_dim is None else event_dim,
        )

    def check(self, value: Tensor) -> Tensor:
        raise ArgumentError("constraints.dependent: cannot determine validity of dependent constraint")


def is_dependent(constraint: object) -> bool:
    """Whether a condition depends on other values."""
    return isinstance(constraint, _Dependent)


class dependent_property(property, _Dependent):
    """A property whose value is a condition that depends on the object; of the class it is a dependent one.

    Args:
        fn: The function that computes it; without one a decorator of it.
        is_discrete: Whether values are whole numbers.
        event_dim: How many axes on the right the condition is on as a whole.
    """

    def __init__(
        self, fn: Callable[[Any], Constraint] | None = None, *, is_discrete: bool = False, event_dim: int = 0
    ) -> None:  # fmt: skip
        property.__init__(self, fn)
        _Dependent.__init__(self, is_discrete=is_discrete, event_dim=event_dim)

    def __call__(self, fn: Callable[[Any], Constraint]) -> dependent_property:  # type: ignore[override]
        return dependent_property(fn, is_discrete=self.is_discrete, event_dim=self.event_dim)


def _whole(value: Tensor) -> Tensor:
    """Where values are whole numbers, which infinity is not."""
    return fn.eq(fn.remainder(value, 1), 0)


class _Real(Constraint):
    def check(self, value: Tensor) -> Tensor:
        return fn.eq(value, value)  # nan is none


class _Boolean(Constraint):
    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        return fn.logical_or(fn.eq(value, 0), fn.eq(value, 1))


class _Bounded(Constraint):
    """A condition that has bounds."""

    def __repr__(self) -> str:
        bounds = ", ".join(f"{name}={value}" for name, value in vars(self).items())
        return f"{type(self).__name__.lstrip('_')}({bounds})"


class _Interval(_Bounded):
    def __init__(self, lower_bound: Any, upper_bound: Any) -> None:
        self.lower_bound, self.upper_bound = lower_bound, upper_bound

    def check(self, value: Tensor) -> Tensor:
        return fn.logical_and(fn.ge(value, self.lower_bound), fn.le(value, self.upper_bound))


class _HalfOpenInterval(_Interval):
    def check(self, value: Tensor) -> Tensor:
        return fn.logical_and(fn.ge(value, self.lower_bound), fn.lt(value, self.upper_bound))


class _IntegerInterval(_Interval):
    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        return fn.logical_and(_whole(value), super().check(value))


class _GreaterThan(_Bounded):
    def __init__(self, lower_bound: Any) -> None:
        self.lower_bound = lower_bound

    def check(self, value: Tensor) -> Tensor:
        return fn.gt(value, self.lower_bound)


class _GreaterThanEq(_GreaterThan):
    def check(self, value: Tensor) -> Tensor:
        return fn.ge(value, self.lower_bound)


class _IntegerGreaterThanEq(_GreaterThan):
    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        return fn.logical_and(_whole(value), fn.ge(value, self.lower_bound))


class _LessThan(_Bounded):
    def __init__(self, upper_bound: Any) -> None:
        self.upper_bound = upper_bound

    def check(self, value: Tensor) -> Tensor:
        return fn.lt(value, self.upper_bound)


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


class _Multinomial(_Bounded):
    is_discrete = True
    event_dim = 1

    def __init__(self, upper_bound: Any) -> None:
        self.upper_bound = upper_bound

    def check(self, value: Tensor) -> Tensor:
        return fn.logical_and(fn.all(fn.ge(value, 0), dim=-1), fn.eq(fn.sum(value, dim=-1), self.upper_bound))


class _Matrix(Constraint):
    """A condition on matrices."""

    event_dim = 2


def _everywhere(found: Tensor) -> Tensor:
    """Whether it holds for all elements of each matrix."""
    return fn.all(fn.flatten(found, -2), dim=-1)


class _LowerTriangular(_Matrix):
    def check(self, value: Tensor) -> Tensor:
        return _everywhere(fn.eq(fn.tril(value), value))


class _LowerCholesky(_LowerTriangular):
    def check(self, value: Tensor) -> Tensor:
        positive = fn.all(fn.gt(fn.diagonal(value, 0, -2, -1), 0), dim=-1)
        return fn.logical_and(super().check(value), positive)


class _CorrCholesky(_LowerCholesky):
    def check(self, value: Tensor) -> Tensor:
        # Rows of length 1, up to the rounding of as many squares as they have.
        tolerance = eps_of(value) * value.shape[-1] * 10
        length = fn.sum(fn.square(value), dim=-1)
        near = fn.all(fn.le(fn.abs(length - 1), tolerance), dim=-1)
        return fn.logical_and(near, super().check(value))


class _Square(_Matrix):
    def check(self, value: Tensor) -> Tensor:
        return fn.full(value.shape[:-2], value.shape[-2] == value.shape[-1], dtype=dt.bool_, device=value.device)


class _Symmetric(_Square):
    def check(self, value: Tensor) -> Tensor:
        if value.shape[-2] != value.shape[-1]:
            return super().check(value)
        return _everywhere(fn.isclose(value, fn.transpose(value, -2, -1), atol=1e-6))


class _PositiveSemidefinite(_Symmetric):
    def check(self, value: Tensor) -> Tensor:
        symmetric = super().check(value)
        if not bool(fn.all(symmetric)):
            return symmetric
        return fn.all(fn.ge(linalg.eigvalsh(value), 0), dim=-1)


class _PositiveDefinite(_Symmetric):
    def check(self, value: Tensor) -> Tensor:
        symmetric = super().check(value)
        if not bool(fn.all(symmetric)):
            return symmetric
        return fn.eq(linalg.cholesky_ex(value)[1], 0)


class _IndependentConstraint(Constraint):
    """A condition on several values as one.

    Args:
        base_constraint: The condition.
        reinterpreted_batch_ndims: How many axes of such values are one.
    """

    def __init__(self, base_constraint: Constraint, reinterpreted_batch_ndims: int) -> None:
        self.base_constraint, self.reinterpreted_batch_ndims = base_constraint, reinterpreted_batch_ndims
        self.is_discrete = base_constraint.is_discrete
        self.event_dim = base_constraint.event_dim + reinterpreted_batch_ndims

    def check(self, value: Tensor) -> Tensor:
        found = self.base_constraint.check(value)
        if found.ndim < self.reinterpreted_batch_ndims:
            raise ArgumentError(
                f"constraints.independent: expected value.dim() >= {self.event_dim} but got {value.ndim}"
            )
        for _ in range(self.reinterpreted_batch_ndims):
            found = fn.all(found, dim=-1)
        return found

    def __repr__(self) -> str:
        return f"IndependentConstraint({self.base_constraint!r}, {self.reinterpreted_batch_ndims})"


class _Parts(Constraint):
    """Several conditions, each on a part of a value along an axis."""

    def __init__(self, cseq: Sequence[Constraint], dim: int) -> None:
        if not all(isinstance(c, Constraint) for c in cseq):
            raise ArgumentTypeError(f"{type(self).__name__.lstrip('_')}: takes constraints, {cseq!r} given")
        self.cseq, self.dim = list(cseq), dim

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        return any(c.is_discrete for c in self.cseq)


class _Cat(_Parts):
    """Conditions on parts that lie one after the other.

    Args:
        cseq: The conditions.
        dim: The axis.
        lengths: Lengths of the parts; by default 1 each.
    """

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0, lengths: Sequence[int] | None = None) -> None:
        super().__init__(cseq, dim)
        self.lengths = [1] * len(self.cseq) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.cseq):
            raise ArgumentError(f"constraints.cat: {len(self.lengths)} lengths of {len(self.cseq)} constraints")

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        return max(c.event_dim for c in self.cseq)

    def check(self, value: Tensor) -> Tensor:
        parts = fn.split(value, self.lengths, self.dim)
        return fn.cat([c.check(v) for c, v in zip(self.cseq, parts, strict=True)], self.dim)


class _Stack(_Parts):
    """Conditions on parts that lie beside each other.

    Args:
        cseq: The conditions.
        dim: The axis.
    """

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0) -> None:
        super().__init__(cseq, dim)

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        most = max(c.event_dim for c in self.cseq)
        return most + 1 if self.dim + most < 0 else most

    def check(self, value: Tensor) -> Tensor:
        parts = fn.unbind(value, self.dim)
        return fn.stack([c.check(v) for c, v in zip(self.cseq, parts, strict=True)], self.dim)


class MixtureSameFamilyConstraint(Constraint):
    """The condition of a mixture's values: that of its components', of each of them.

    Args:
        base_constraint: The components' condition.

    Raises:
        ArgumentTypeError: it is none.
    """

    def __init__(self, base_constraint: Constraint) -> None:
        if not isinstance(base_constraint, Constraint):
            raise ArgumentTypeError(
                f"MixtureSameFamilyConstraint: takes a constraint, {type(base_constraint).__name__} given"
            )
        self.base_constraint = base_constraint
        self.is_discrete, self.event_dim = base_constraint.is_discrete, base_constraint.event_dim

    def check(self, value: Tensor) -> Tensor:
        found = self.base_constraint.check(fn.unsqueeze(value, -1 - self.event_dim))
        # Components are along the last axis of what is left.
        return fn.all(found, dim=-1)

    def __repr__(self) -> str:
        return f"MixtureSameFamilyConstraint({self.base_constraint!r})"


dependent = _Dependent()
real = _Real()
boolean = _Boolean()
positive = _GreaterThan(0.0)
nonnegative = _GreaterThanEq(0.0)
nonnegative_integer = _IntegerGreaterThanEq(0)
positive_integer = _IntegerGreaterThanEq(1)
unit_interval = _Interval(0.0, 1.0)
simplex = _Simplex()
one_hot = _OneHot()
lower_triangular = _LowerTriangular()
lower_cholesky = _LowerCholesky()
corr_cholesky = _CorrCholesky()
square = _Square()
symmetric = _Symmetric()
positive_semidefinite = _PositiveSemidefinite()
positive_definite = _PositiveDefinite()
interval = _Interval
half_open_interval = _HalfOpenInterval
integer_interval = _IntegerInterval
greater_than = _GreaterThan
greater_than_eq = _GreaterThanEq
less_than = _LessThan
multinomial = _Multinomial
independent = _IndependentConstraint
cat = _Cat
stack = _Stack
real_vector = _IndependentConstraint(real, 1)

__all__ = [
    "Constraint", "MixtureSameFamilyConstraint", "boolean", "cat", "corr_cholesky", "dependent", "dependent_property",
    "greater_than", "greater_than_eq", "half_open_interval", "independent", "integer_interval", "interval",
    "is_dependent", "less_than", "lower_cholesky", "lower_triangular", "multinomial", "nonnegative",
    "nonnegative_integer", "one_hot", "positive", "positive_definite", "positive_integer", "positive_semidefinite",
    "real", "real_vector", "simplex", "square", "stack", "symmetric", "unit_interval",
]  # fmt: skip
