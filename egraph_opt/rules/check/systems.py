# SPDX-License-Identifier: Apache-2.0
"""Systems of equations in the check of rules: their values by elimination in any precision, and random instances.

A rule about inverses says nothing of matrices that have none: an instance one of whose systems is singular, or so
nearly singular that rounding decides, is drawn again. What a rule makes of it must then be finite, whatever it solves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from egraph_opt.ir import Node, TensorType
from egraph_opt.rules.check.layout_choices import Attrs, Known, Proposal, Shape
from egraph_opt.rules.check.profile import MisfitError, Profile

Array = np.ndarray[Any, Any]

WORST = 200.0
"""Largest condition number of the systems of an instance."""

MATRIX_DTYPES = ("float32", "float64", "complex64", "complex128")

MATRICES = ("general", "general", "general", "lower", "upper", "unit_lower", "unit_upper")


def eliminated(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """Gauss elimination with pivoting of the largest, in the precision of the operands.

    Args:
        a: matrices ``[..., n, n]``.
        b: right-hand sides ``[..., n, m]``.

    Returns:
        The solution, the diagonal of the eliminated matrices, and the signs of the row exchanges.
    """
    factors, order, exchanges = factored(a)
    n = a.shape[-1]
    x = np.take_along_axis(b, order[..., None], -2)
    for k in range(n):
        x[..., k + 1 :, :] -= factors[..., k + 1 :, k, None] * x[..., k, None, :]
    for k in range(n - 1, -1, -1):
        known = (factors[..., k, k + 1 :, None] * x[..., k + 1 :, :]).sum(-2)
        x[..., k, :] = (x[..., k, :] - known) / factors[..., k, k, None]
    signs = np.where((exchanges != np.arange(n)).sum(-1) % 2, -1.0, 1.0)
    return x, np.diagonal(factors, axis1=-2, axis2=-1), signs


def factored(a: Array) -> tuple[Array, Array, Array]:
    """LU factors in one matrix, the order of the rows in it, and the row that each step exchanged its own with.

    Args:
        a: matrices ``[..., n, n]``.
    """
    n = a.shape[-1]
    count = math.prod(a.shape[:-2])
    flat, each = a.reshape(count, n, n).copy(), np.arange(count)
    order = np.tile(np.arange(n, dtype=np.int32), (count, 1))
    exchanges = np.zeros((count, n), np.int32)
    for k in range(n):
        best = k + np.argmax(np.abs(flat[:, k:, k]), 1)
        exchanges[:, k] = best
        for rows in (flat, order):
            rows[:, k], rows[each, best] = rows[each, best], rows[:, k].copy()
        pivot = flat[:, k, k]
        flat[:, k + 1 :, k] /= np.where(pivot == 0, 1, pivot)[:, None]
        flat[:, k + 1 :, k + 1 :] -= flat[:, k + 1 :, k, None] * flat[:, k, None, k + 1 :]
    return flat.reshape(a.shape), order.reshape(a.shape[:-1]), exchanges.reshape(a.shape[:-1])


def meant(node: Node, a: Array) -> Array:
    """The matrix of a solve: its triangle or band, transposed where that is asked for."""
    held = dict(node.attrs)
    if node.op == "tridiagonal_system":
        a = np.triu(np.tril(a, 1), -1)
    if node.op == "triangular_solve":
        kind = f"{'unit_' * held['unit_diagonal']}{'lower' if held['lower'] else 'upper'}"
        held = {"matrix": kind, "transposed": held["transpose_a"]}
        a = np.conj(a) if node.attr("conjugate_a") else a
    kind = str(held.get("matrix", "general"))
    if kind.endswith("lower"):
        a = np.tril(a)
    elif kind.endswith("upper"):
        a = np.triu(a)
    if kind.startswith("unit"):
        one = np.eye(a.shape[-1], dtype=bool)
        a = np.where(one, np.ones_like(a), a)
    return np.swapaxes(a, -1, -2) if held.get("transposed") else a


def _solve(node: Node, a: Array, *rest: Array) -> Array:
    b = rest[-1]
    columns = b.reshape(*b.shape[: a.ndim - 1], math.prod(b.shape[a.ndim - 1 :]))
    return eliminated(meant(node, a), columns)[0].reshape(b.shape)


def _triangular_solve(node: Node, a: Array, b: Array) -> Array:
    matrix = meant(node, a)
    if node.attr("left_side"):
        return eliminated(matrix, b)[0]
    return np.swapaxes(eliminated(np.swapaxes(matrix, -1, -2), np.swapaxes(b, -1, -2))[0], -1, -2)


def _log_abs_det(node: Node, a: Array) -> Any:
    del node
    _, diagonal, _ = eliminated(a, a[..., :1])
    return np.log(np.abs(diagonal)).sum(-1)


def _sign_det(node: Node, a: Array) -> Any:
    del node
    _, diagonal, signs = eliminated(a, a[..., :1])
    sizes = np.abs(diagonal)
    return (diagonal / np.where(sizes == 0, 1, sizes)).prod(-1) * signs


def _lu_sign_det(node: Node, factors: Array, exchanges: Array) -> Any:
    del node
    signs = np.sign(np.diagonal(factors, axis1=-2, axis2=-1)).prod(-1)
    return np.where((exchanges != np.arange(factors.shape[-1])).sum(-1) % 2, -signs, signs)


def _lu_log_abs_det(node: Node, factors: Array) -> Any:
    del node
    return np.log(np.abs(np.diagonal(factors, axis1=-2, axis2=-1))).sum(-1)


def _cholesky(node: Node, a: Array) -> Array:
    """Lower factors; NaN where there are none."""
    del node
    factors = np.zeros_like(a)
    for k in range(a.shape[-1]):
        row = factors[..., k, :k]
        factors[..., k, k] = np.sqrt(a[..., k, k] - (row * row.conj()).sum(-1))
        rest = a[..., k + 1 :, k] - (factors[..., k + 1 :, :k] * row.conj()[..., None, :]).sum(-1)
        factors[..., k + 1 :, k] = rest / factors[..., k, k, None]
    return factors


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "solve": _solve,
    "lu_solve": _solve,
    "triangular_solve": _triangular_solve,
    "tridiagonal_system": _solve,
    "cholesky": _cholesky,
    "log_abs_det": _log_abs_det,
    "sign_det": _sign_det,
    "lu_factors": lambda node, a: factored(a)[0],
    "lu_permutation": lambda node, a: factored(a)[1],
    "lu_pivots": lambda node, a: factored(a)[2],
    "lu_log_abs_det": _lu_log_abs_det,
    "lu_sign_det": _lu_sign_det,
}

DTYPES = {"lu_solve": ("", "", "int32", ""), "lu_sign_det": ("", "int32")}
"""Element types of operands that are not those of the matrices."""

SYSTEMS = frozenset(FUNCTIONS) - {"cholesky", "lu_permutation", "lu_pivots"}


def made_regular(nodes: Sequence[Node], inputs: dict[int, Array], fixed: Collection[int]) -> None:
    """Move inputs that are matrices of systems away from singular ones, by a multiple of the identity matrix.

    Args:
        nodes: of the instance.
        inputs: values of its inputs; they are changed.
        fixed: inputs that must stay as they are.
    """
    for node in nodes:
        if node.op not in SYSTEMS:
            continue
        q = node.operands[0]
        while nodes[q].op in ("copy", "stop_gradient", "assume"):
            q = nodes[q].operands[0]
        value = inputs.get(q)
        if value is None or q in fixed or nodes[q].type.dtype not in MATRIX_DTYPES or value.ndim < 2:
            continue
        n = value.shape[-1]
        if n == value.shape[-2]:
            shift = 1 + n * float(np.max(np.abs(value), initial=0.0))
            inputs[q] = value + (np.eye(n) * shift).astype(value.dtype)


def are_regular(nodes: Sequence[Node], values: Mapping[int, Array]) -> bool:
    """Whether no system of an instance is singular or nearly so."""
    for node in nodes:
        if node.op not in SYSTEMS and node.op != "cholesky":
            continue
        matrix = meant(node, values[node.operands[0]])
        wide = matrix.astype(np.complex128 if matrix.dtype.kind == "c" else np.float64)
        if not np.isfinite(wide).all():
            return False
        if wide.size and not np.all(np.linalg.cond(wide) < WORST):
            return False
    return True


def _columns(profile: Profile) -> Shape:
    return tuple(profile.size() for _ in range(profile.rng.choice((0, 1, 1, 1, 2))))


def _square(profile: Profile) -> Shape:
    n = profile.size()
    return (*(profile.size() for _ in range(profile.rng.choice((0, 0, 1, 2)))), n, n)


def _shapes(profile: Profile, matrix: TensorType | None, right: Shape | None) -> tuple[Shape, Shape]:
    """Shapes of a matrix and a right-hand side."""
    if matrix is not None:
        return matrix.shape, right if right is not None else (*matrix.shape[:-1], *_columns(profile))
    if right is None:
        system = _square(profile)
        return system, (*system[:-1], *_columns(profile))
    if not right:
        raise MisfitError("a scalar is no right-hand side")
    row = profile.rng.randrange(len(right)) if profile.chance(0.4) else 0
    return (*right[: row + 1], right[row]), right


def _choose_solve(profile: Profile, known: Known, want: Shape | None, attrs: Attrs | None) -> Proposal:
    right = known[-1].shape if known[-1] is not None else want
    system, right = _shapes(profile, known[0], right)
    drawn = {"matrix": profile.rng.choice(MATRICES), "transposed": profile.chance(0.5)}
    return Proposal(attrs or drawn, [system, right])


def _choose_triangular(profile: Profile, known: Known, want: Shape | None, attrs: Attrs | None) -> Proposal:
    flags = ("left_side", "lower", "transpose_a", "conjugate_a", "unit_diagonal")
    found = attrs or {flag: profile.chance(0.5) for flag in flags}
    right = known[1].shape if known[1] is not None else want
    system = known[0].shape if known[0] is not None else _square(profile)
    if known[0] is None and right is not None:
        if len(right) < 2:
            raise MisfitError("a vector is no right-hand side")
        n = right[-2] if found["left_side"] else right[-1]
        system = (*right[:-2], n, n)
    if right is None:
        n, m = system[-1], profile.size()
        right = (*system[:-2], *((n, m) if found["left_side"] else (m, n)))
    return Proposal(found, [system, right])


def _choose_lu_solve(profile: Profile, known: Known, want: Shape | None, attrs: Attrs | None) -> Proposal:
    matrix = known[0] or known[1]
    right = known[-1].shape if known[-1] is not None else want
    system, right = _shapes(profile, matrix, right)
    return Proposal(attrs or {"transposed": profile.chance(0.5)}, [system, system, system[:-1], right])


def _choose_factors(profile: Profile, known: Known, want: Shape | None, attrs: Attrs | None) -> Proposal:
    del attrs
    square = want is not None and len(want) > 1 and want[-1] == want[-2]
    return Proposal({}, [known[0].shape if known[0] else want if square and want is not None else _square(profile)])


def _choose_determinant(profile: Profile, known: Known, want: Shape | None, attrs: Attrs | None) -> Proposal:
    del attrs
    n = profile.size()
    system = known[0].shape if known[0] else (*want, n, n) if want is not None else _square(profile)
    return Proposal({}, [system, system[:-1]][: len(known)])


CHOOSERS: dict[str, Callable[..., Proposal]] = {
    "solve": _choose_solve,
    "lu_solve": _choose_lu_solve,
    "triangular_solve": _choose_triangular,
    "lu_factors": _choose_factors,
    "cholesky": _choose_factors,
    **dict.fromkeys(("lu_permutation", "lu_pivots"), _choose_factors),
    **dict.fromkeys(("log_abs_det", "sign_det", "lu_log_abs_det", "lu_sign_det"), _choose_determinant),
}
