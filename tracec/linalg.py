"""Linear algebra, under the names of ``torch.linalg``."""

import sys
from typing import TYPE_CHECKING

from tracec.errors import LinAlgError, name_missing
from tracec.functions.chains import multi_dot
from tracec.functions.decomposition import cholesky_ex, householder_product
from tracec.functions.decomposition import linalg_cholesky as cholesky
from tracec.functions.decomposition import linalg_qr as qr
from tracec.functions.diagonals import linalg_diagonal as diagonal
from tracec.functions.diagonals import linalg_vander as vander
from tracec.functions.eigenvalues import eig, eigh, eigvals, eigvalsh, svdvals
from tracec.functions.eigenvalues import linalg_svd as svd
from tracec.functions.elimination import ldl_factor, ldl_factor_ex, lu_factor, lu_factor_ex
from tracec.functions.elimination import linalg_ldl_solve as ldl_solve
from tracec.functions.elimination import linalg_lu as lu
from tracec.functions.elimination import linalg_lu_solve as lu_solve
from tracec.functions.inverses import cond, inv_ex, matrix_exp, matrix_power, matrix_rank, pinv, tensorinv
from tracec.functions.inverses import linalg_det as det
from tracec.functions.inverses import linalg_inv as inv
from tracec.functions.inverses import linalg_slogdet as slogdet
from tracec.functions.linalg import linalg_cross as cross
from tracec.functions.linalg import matmul, vecdot
from tracec.functions.norms import linalg_norm as norm
from tracec.functions.norms import matrix_norm, vector_norm
from tracec.functions.solving import lstsq, solve, solve_ex, solve_triangular, tensorsolve
from tracec.record.out import give_out
from tracec.record.public import make_public

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals",
    "eigvalsh", "householder_product", "inv", "inv_ex", "ldl_factor", "ldl_factor_ex", "ldl_solve", "lstsq", "lu",
    "lu_factor", "lu_factor_ex", "lu_solve", "matmul", "matrix_exp", "matrix_norm", "matrix_power", "matrix_rank",
    "multi_dot", "norm", "pinv", "qr", "slogdet", "solve", "solve_ex", "solve_triangular", "svd", "svdvals",
    "tensorinv", "tensorsolve", "vander", "vecdot", "vector_norm",
]  # fmt: skip

give_out(globals(), set(__all__) - {"LinAlgError", "diagonal", "lstsq", "matrix_exp", "vander"})
make_public(globals(), __all__)


if not TYPE_CHECKING:

    def __getattr__(name):
        raise name_missing(sys.modules[__name__], name)
