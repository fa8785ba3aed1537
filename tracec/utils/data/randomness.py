"""Random orders: the library's generator gives a seed, NumPy's Philox the numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracec.functions import randint


def draw_seed(generator: Any = None) -> int:
    """One integer of 31 bits from a generator of this library; from the default one if None."""
    return int(randint(0, 2**31 - 1, (1,), generator=generator).item())


def numbers_from(generator: Any = None) -> np.random.Generator:
    """NumPy's generator for one seed drawn from a generator of this library."""
    return np.random.Generator(np.random.Philox(draw_seed(generator)))
