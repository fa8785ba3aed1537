"""Graph to graph, same meaning: passes, each a pure function that returns the same graph where it has nothing to do."""

from tracec.ir.passes import Pipeline
from tracec.optimize.cse import cse
from tracec.optimize.dce import dce
from tracec.optimize.fold import fold
from tracec.optimize.remat import remat
from tracec.optimize.simplify import simplify

PIPELINE = Pipeline(
    fold,
    simplify,  # after fold: needs literal constants
    cse,  # after simplify: it makes equals of what was written differently
    dce,
    remat,  # last: cse would see through copies, and other passes change what is worth keeping
)

__all__ = ["PIPELINE", "cse", "dce", "fold", "remat", "simplify"]
