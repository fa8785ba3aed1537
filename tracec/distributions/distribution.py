"""What all distributions share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NoReturn

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.constraints import Constraint
from tracec.errors import ArgumentError, ArgumentTypeError, UnsupportedError
from tracec.record.check import check_none
from tracec.record.mode import no_grad
from tracec.record.tensor import Size, Tensor

Shape = Sequence[int]


class Distribution:
    """A distribution over tensors, one for each place of its batch.

    Args:
        batch_shape: Shape of the batch of distributions.
        event_shape: Shape of one value.
        validate_args: Whether parameters and values are checked; by default what `set_default_validate_args` says.
            A compiled function checks at each call.

    Attributes:
        arg_constraints: Parameter → what it may be.
        has_rsample: Whether gradients flow through `rsample`.
        has_enumerate_support: Whether `enumerate_support` can list all values.

    Raises:
        ArgumentError: a parameter is not what it may be.
    """

    arg_constraints: ClassVar[Mapping[str, Constraint]] = {}
    has_rsample = False
    has_enumerate_support = False
    _validate_args = True

    def __init__(
        self, batch_shape: Shape = (), event_shape: Shape = (), validate_args: bool | None = None
    ) -> None:  # fmt: skip
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        for name, given in self._given().items() if self._validate_args else ():
            constraint = self.arg_constraints[name]
            if not constraints.is_dependent(constraint):
                self._require(
                    constraint.check(given),
                    f"parameter {name} of shape {tuple(given.shape)} has invalid values: expected to satisfy the "
                    f"constraint {constraint!r}",
                )

    def _given(self) -> dict[str, Tensor]:
        """The parameters that were given: of probabilities and logits one."""
        return {k: self.__dict__[k] for k in self.arg_constraints if k in self.__dict__}

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Say whether distributions check their arguments by default."""
        if not isinstance(value, bool):
            raise ArgumentTypeError(f"set_default_validate_args: takes a bool, {type(value).__name__} given")
        Distribution._validate_args = value

    def _require(
        self, valid: Tensor, message: str, hint: str = "look at the values, or pass validate_args=False"
    ) -> None:
        """Refuse values, in a compiled function at each call.

        Raises:
            ArgumentError: not all of ``valid`` is True.
        """

        name = type(self).__name__

        def refuse(_: Any) -> NoReturn:
            raise ArgumentError(f"{name}: {message}", hint=hint)

        check_none(fn.logical_not(valid), refuse)

    @property
    def batch_shape(self) -> Size:
        """Shape of the batch of distributions."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """Shape of one value."""
        return self._event_shape

    @property
    def support(self) -> Constraint:
        """What values may be."""
        raise _none(self, "support")

    @property
    def mean(self) -> Tensor:
        """The mean."""
        raise _none(self, "mean")

    @property
    def mode(self) -> Tensor:
        """The most likely value."""
        raise _none(self, "mode")

    @property
    def variance(self) -> Tensor:
        """The variance."""
        raise _none(self, "variance")

    @property
    def stddev(self) -> Tensor:
        """The root of the variance."""
        return fn.sqrt(self.variance)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draw values, through which no gradients flow.

        Args:
            sample_shape: Shape of the values drawn from each distribution.

        Returns:
            Shape ``sample_shape + batch_shape + event_shape``.
        """
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Draw values as functions of the parameters, so that gradients flow through."""
        raise _none(self, "rsample")

    def log_prob(self, value: Tensor) -> Tensor:
        """Logarithm of the density, or probability, at a value; shape of the batch."""
        raise _none(self, "log_prob")

    def cdf(self, value: Tensor) -> Tensor:
        """Probability of values up to this one."""
        raise _none(self, "cdf")

    def icdf(self, value: Tensor) -> Tensor:
        """The value up to which this probability lies."""
        raise _none(self, "icdf")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values, along a new first axis.

        Args:
            expand: Whether to repeat them for each distribution of the batch.
        """
        raise _none(self, "enumerate_support")

    def entropy(self) -> Tensor:
        """The entropy in nats."""
        raise _none(self, "entropy")

    def perplexity(self) -> Tensor:
        """The exponential of the entropy."""
        return fn.exp(self.entropy())

    def expand(self, batch_shape: Shape, _instance: Distribution | None = None) -> Distribution:
        """The distribution with its parameters repeated over a larger batch.

        Args:
            batch_shape: Shape of the larger batch.
            _instance: What classes of programs give that make the distribution themselves, which is then this one.
        """
        if _instance is None:
            made = self._expand(tuple(batch_shape))
            made._validate_args = self._validate_args
            return made
        # By the library's own class: that of the program has other arguments.
        own = next(c for c in type(self).__mro__ if c.__module__.startswith("tracec.distributions"))
        plain: Distribution = object.__new__(own)
        vars(plain).update(vars(self))
        vars(_instance).update(vars(plain.expand(batch_shape)))
        return _instance

    def _get_checked_instance(self, cls: type[Distribution], _instance: Distribution | None = None) -> Distribution:
        """What ``expand`` of a program's class fills: a distribution of its class, not made yet, or what it is given.

        Raises:
            UnsupportedError: a class made of that one has arguments of its own, and no ``expand`` of its own.
        """
        if _instance is not None:
            return _instance
        if type(self).__init__ is not cls.__init__:
            raise UnsupportedError(
                f"Subclass {type(self).__name__} of {cls.__name__} that defines a custom __init__ method must also "
                "define a custom .expand() method."
            )
        return object.__new__(type(self))

    def _expand(self, shape: tuple[int, ...]) -> Distribution:
        """The same for this class, made with ``validate_args=False``."""
        given = self._given()
        own = {k: len(v.shape) - len(self.batch_shape) for k, v in given.items()}
        parameters = {k: v.expand(*shape, *v.shape[len(v.shape) - own[k] :]) for k, v in given.items()}
        return type(self)(**parameters, **self._options(), validate_args=False)

    def _options(self) -> dict[str, Any]:
        """Arguments of the class besides the parameters."""
        return {}

    def _extended_shape(self, sample_shape: Shape = ()) -> tuple[int, ...]:
        return (*sample_shape, *self._batch_shape, *self._event_shape)

    def _validate_sample(self, value: Tensor) -> None:
        """Refuse values that are none of this distribution.

        Raises:
            ArgumentError: the shape does not fit, or a value lies outside of the support.
            ArgumentTypeError: it is no tensor.
        """
        name = type(self).__name__
        if not isinstance(value, Tensor):
            raise ArgumentTypeError(
                f"{name}: the value argument to log_prob must be a Tensor, {type(value).__name__} given"
            )
        if not self._validate_args:
            return
        own = tuple(self._event_shape)
        if own and tuple(value.shape[len(value.shape) - len(own) :]) != own:
            raise ArgumentError(
                f"{name}: the right-most size of value must match event_shape: {tuple(value.shape)} vs {own}"
            )
        for i, j in zip(reversed(tuple(value.shape)), reversed(self._extended_shape()), strict=False):
            if i != 1 and j != 1 and i != j:
                raise ArgumentError(
                    f"{name}: value is not broadcastable with batch_shape+event_shape: {tuple(value.shape)} vs "
                    f"{self._extended_shape()}"
                )
        self._require(
            self.support.check(value),
            f"expected value argument of shape {tuple(value.shape)} to be within the support ({self.support!r}), but "
            "found invalid values",
        )

    def __repr__(self) -> str:
        parts = (f"{k}: {v if v.numel() == 1 else tuple(v.shape)}" for k, v in self._given().items())
        return f"{type(self).__name__}({', '.join(parts)})"


def _none(d: Distribution, what: str) -> UnsupportedError:
    return UnsupportedError(f"{type(d).__name__}: there is no {what} of this distribution")
