"""Points that fill a cube more evenly than random ones; SciPy has the direction numbers of the sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracec.errors import ArgumentError, PackageMissingError
from tracec.functions import from_numpy, randint
from tracec.functions.common import fail
from tracec.ir.dtype import DType
from tracec.record.out import write_out
from tracec.record.refusal import refuse
from tracec.record.state import STATE
from tracec.record.tensor import Tensor, get_default_dtype

try:
    from scipy.stats import qmc
except ModuleNotFoundError as error:
    raise PackageMissingError(
        f"tracec.quasirandom: Sobol' sequences are SciPy's, which is not installed ({error})",
        hint='pip install "tracec[quasirandom]"',
    ) from None

__all__ = ["SobolEngine"]


class SobolEngine:
    """Points of a Sobol' sequence, which is the same for everyone unless it is scrambled.

    Args:
        dimension: Coordinates of a point, up to 21201.
        scramble: Shuffle digits at random, which keeps the points as even and makes sums over them unbiased.
        seed: Of the scrambling; drawn from the default generator if None.

    Raises:
        ArgumentError: the dimension is out of range.

    Source: Joe, Kuo, "Constructing Sobol sequences with better two-dimensional projections", 2008; Owen, "Scrambling
    Sobol' and Niederreiter-Xing points", 1998.
    """

    MAXBIT = 30
    MAXDIM = 21201

    def __init__(self, dimension: int, scramble: bool = False, seed: int | None = None) -> None:
        if not 1 <= dimension <= self.MAXDIM:
            fail(
                ArgumentError,
                f"Supported range of dimensionality for SobolEngine is [1, {self.MAXDIM}], {dimension} given",
                "use random points for more",
            )
        self.dimension, self.scramble, self.seed = dimension, scramble, seed
        self.num_generated = 0
        own = int(randint(1 << 62, ())) if scramble and seed is None else seed
        self._sequence: Any = qmc.Sobol(
            dimension, scramble=scramble, bits=self.MAXBIT, seed=np.random.default_rng(own)
        )  # fmt: skip

    def draw(self, n: int = 1, out: Tensor | None = None, dtype: DType | None = None) -> Tensor:
        """The next points.

        Args:
            n: How many.
            out: Written to, and given back.
            dtype: The default one if None.

        Returns:
            Shape ``(n, dimension)``, from 0 to 1.

        Raises:
            ArgumentError: n is negative, or the sequence ends before.
        """
        if STATE.recorder is not None:
            refuse("SobolEngine: a compiled function cannot draw points", hint="draw them before, and hand them over")
        if n < 0:
            fail(ArgumentError, f"SobolEngine.draw: n={n} is negative", "ask for one point or more")
        self._check_left(n)
        points = np.empty((n, self.dimension))
        # The first one by itself: SciPy warns of a number of first points that is no power of 2, PyTorch does not.
        first = min(n, 1) if self.num_generated == 0 else 0
        for low, high in ((0, first), (first, n)):
            if low < high:
                points[low:high] = self._sequence.random(high - low)
        self.num_generated += n
        found = from_numpy(points).to(dtype or get_default_dtype())
        return found if out is None else write_out("SobolEngine.draw", out, found)

    def draw_base2(self, m: int, out: Tensor | None = None, dtype: DType | None = None) -> Tensor:
        """The next ``2 ** m`` points, of which there must be a power of 2 then.

        Raises:
            ArgumentError: there would be another number of points.
        """
        n = 1 << m
        total = self.num_generated + n
        if total & (total - 1):
            fail(
                ArgumentError,
                "SobolEngine.draw_base2: The balance properties of Sobol' points require n to be a power of 2. "
                f"{self.num_generated} points have been previously generated, then: n={self.num_generated}+2**{m}="
                f"{total}",
                "use draw()",
            )
        return self.draw(n, out, dtype)

    def reset(self) -> SobolEngine:
        """Begin again, with the same scrambling."""
        self._sequence.reset()
        self.num_generated = 0
        return self

    def fast_forward(self, n: int) -> SobolEngine:
        """Leave out the next points.

        Raises:
            ArgumentError: n is negative, or the sequence ends before.
        """
        if n < 0:
            fail(ArgumentError, f"SobolEngine.fast_forward: n={n} is negative", "use reset() to go back")
        self._check_left(n)
        if n:
            self._sequence.fast_forward(n)
        self.num_generated += n
        return self

    def _check_left(self, n: int) -> None:
        left = (1 << self.MAXBIT) - self.num_generated
        if n > left:
            fail(ArgumentError, f"SobolEngine: {n} points of a sequence that has {left} left", "reset() begins again")

    def __repr__(self) -> str:
        said = [f"dimension={self.dimension}"]
        if self.scramble:
            said.append("scramble=True")
        if self.seed is not None:
            said.append(f"seed={self.seed}")
        return f"{type(self).__name__}({', '.join(said)})"
