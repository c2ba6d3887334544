# SPDX-License-Identifier: Apache-2.0
"""Dense linear algebra over the last two dimensions, with the usual operation counts (Golub and Van Loan)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from egraph_opt.ir import TensorType
from egraph_opt.ops.captured import captured
from egraph_opt.ops.checks import check_count, check_kind, shape_error
from egraph_opt.ops.layout import f32, i32
from egraph_opt.ops.op import Flops, Trait

Types = Sequence[TensorType]
PAGE = "https://docs.jax.dev/en/latest/jax.lax.linalg.html"
EXPENSIVE = (Trait.EXPENSIVE,)


def counted(rule: Callable[[int, int], float]) -> Flops:
    """Count of a factorisation, given its rule for one matrix of m rows and n columns, ``m >= n``."""

    def flops(types: Types, results: Types, **attrs: Any) -> float:
        del results, attrs
        *batch, rows, columns = types[0].shape
        return math.prod(batch) * rule(max(rows, columns), min(rows, columns))

    return flops


def _qr(m: int, n: int) -> float:
    return 4 * n * n * (m - n / 3)  # factor, and form Q


def _svd(m: int, n: int) -> float:
    return 4 * m * m * n + 8 * m * n * n + 9 * n**3


def _solve_flops(types: Types, results: Types, *, left_side: bool, **attrs: Any) -> float:
    del results, attrs
    return float(types[1].size * types[1].shape[-2 if left_side else -1])


def _infer_cholesky(types: Types) -> tuple[TensorType, ...]:
    check_count("cholesky", types, 1)
    check_kind("cholesky", types, "fc")
    if types[0].rank < 2 or types[0].shape[-1] != types[0].shape[-2]:
        raise shape_error("cholesky", "square matrices", types)
    return (types[0].strong(),)


def _declare_factorisations() -> None:
    square, tall, batch = f32(4, 4), f32(5, 3), f32(2, 4, 4)
    captured(
        "cholesky",
        ((square,), {}),
        ((batch,), {}),
        page=PAGE,
        infer=_infer_cholesky,
        flops=counted(lambda m, n: n**3 / 3),
        traits=EXPENSIVE,
        arity=1,
        doc="lower factor; what lies above the diagonal is unspecified",
    )
    captured(
        "lu",
        ((square,), {}),
        ((tall,), {}),
        page=PAGE,
        flops=counted(lambda m, n: n * n * (m - n / 3)),
        traits=EXPENSIVE,
        arity=1,
        doc="both factors in one matrix, pivots, permutation",
    )
    captured("lu_pivots_to_permutation", ((i32(4),), {"permutation_size": 4}), page=PAGE, arity=1)
    captured(
        "qr",
        ((tall,), {"pivoting": False, "full_matrices": False, "use_magma": None}),
        page=PAGE,
        flops=counted(_qr),
        traits=EXPENSIVE,
        arity=1,
    )
    captured(
        "householder_product",
        ((tall, f32(3)), {}),
        page=PAGE,
        flops=counted(lambda m, n: 2 * n * n * (m - n / 3)),
        traits=EXPENSIVE,
        arity=2,
        doc="the orthogonal factor from its reflections",
    )
    captured("cholesky_update", ((square, f32(4)), {}), page=PAGE, flops=counted(lambda m, n: 2.0 * n * n), arity=2)


def _declare_spectra() -> None:
    square, tall = f32(4, 4), f32(5, 3)
    attrs = {"lower": True, "sort_eigenvalues": True, "subset_by_index": None, "algorithm": None}
    captured(
        "eigh",
        ((square,), attrs),
        page=PAGE,
        flops=counted(lambda m, n: 9.0 * n**3),
        traits=EXPENSIVE,
        arity=1,
        doc="eigenvectors, eigenvalues",
    )
    attrs = {"full_matrices": False, "compute_uv": True, "subset_by_index": None, "algorithm": None}
    captured(
        "svd",
        ((tall,), attrs),
        ((square,), attrs | {"compute_uv": False}),
        page=PAGE,
        flops=counted(_svd),
        traits=EXPENSIVE,
        arity=1,
        doc="singular values, left and right vectors",
    )
    attrs = {
        "compute_left_eigenvectors": False,
        "compute_right_eigenvectors": True,
        "enable_eigvec_derivs": False,
        "implementation": None,
    }
    captured("eig", ((square,), attrs), page=PAGE, flops=counted(lambda m, n: 25.0 * n**3), traits=EXPENSIVE, arity=1)
    captured(
        "schur",
        ((square,), {"compute_schur_vectors": True, "sort_eig_vals": False}),
        page=PAGE,
        flops=counted(lambda m, n: 25.0 * n**3),
        fixed=(("select_callable", None),),
        traits=EXPENSIVE,
        arity=1,
    )
    captured(
        "hessenberg",
        ((square,), {}),
        page=PAGE,
        flops=counted(lambda m, n: 10 * n**3 / 3),
        traits=EXPENSIVE,
        arity=1,
    )
    captured(
        "tridiagonal",
        ((square,), {"lower": True}),
        page=PAGE,
        flops=counted(lambda m, n: 4 * n**3 / 3),
        traits=EXPENSIVE,
        arity=1,
    )


def _declare_solves() -> None:
    attrs = {
        "left_side": True,
        "lower": True,
        "transpose_a": False,
        "conjugate_a": False,
        "unit_diagonal": False,
    }
    captured(
        "triangular_solve",
        ((f32(4, 4), f32(4, 2)), attrs),
        ((f32(4, 4), f32(2, 4)), attrs | {"left_side": False, "transpose_a": True}),
        page=PAGE,
        flops=_solve_flops,
        traits=EXPENSIVE,
        arity=2,
        doc="triangular matrix, right-hand sides",
    )
    captured(
        "tridiagonal_solve",
        ((f32(4), f32(4), f32(4), f32(4, 2)), {"perturb_singular": False}),
        page=PAGE,
        flops=lambda types, results, **attrs: 8.0 * results[0].size,
        traits=EXPENSIVE,
        arity=4,
        doc="lower, main and upper diagonal, right-hand sides",
    )


_declare_factorisations()
_declare_spectra()
_declare_solves()
