"""The chi-squared distribution."""

from __future__ import annotations

from typing import Any

from tracec.distributions import constraints
from tracec.distributions.gamma import Gamma
from tracec.distributions.utils import broadcast_all


class Chi2(Gamma):
    """The distribution of the sum of the squares of ``df`` standard normal variables.

    Args:
        df: Degrees of freedom.
        validate_args: Whether to check arguments.
    """

    arg_constraints = {"df": constraints.positive}

    def __init__(self, df: Any, validate_args: bool | None = None) -> None:
        (self.df,) = broadcast_all(df)
        super().__init__(0.5 * self.df, 0.5, validate_args)
