# SPDX-License-Identifier: Apache-2.0
"""Source text of systems of equations, LU factors and determinants."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from egraph_opt.ir import Node, TensorType
from egraph_opt.lower.literals import ATOM, MUL, Expr, call
from egraph_opt.ops.solves import GENERAL, TRIANGLES

Types = Sequence[TensorType]
Template = Callable[[Node, list[Expr], Types], Expr | None]


def _columns(b: Expr, rank: int, type: TensorType) -> tuple[Expr, str]:
    """Right-hand sides as JAX's solvers take them, and what brings the solution back into their shape.

    Args:
        b: the right-hand sides.
        rank: of the systems.
        type: of the right-hand sides.
    """
    if type.rank == rank or (type.rank, rank) == (1, 2):
        return b, ""
    if type.rank == rank - 1:
        return Expr(f"{b.at(ATOM)}[..., None]", ATOM), "[..., 0]"
    lead = ", ".join(map(str, type.shape[: rank - 1]))
    return call(f"{b.at(ATOM)}.reshape", f"{lead}, -1"), f".reshape({', '.join(map(str, type.shape))})"


def _swapped(a: Expr, type: TensorType) -> Expr:
    return Expr(f"{a.at(ATOM)}.T", ATOM) if type.rank == 2 else call("jnp.swapaxes", a.text, "-1", "-2")


def _triangle(a: str, b: str, triangle: str, transposed: bool) -> Expr:
    lower, unit = TRIANGLES[triangle]
    options = {
        **({"trans": "1"} if transposed else {}),
        **({"lower": "True"} if lower else {}),
        **({"unit_diagonal": "True"} if unit else {}),
    }
    return call("jax.scipy.linalg.solve_triangular", a, b, **options)


def _solve(node: Node, args: list[Expr], types: Types) -> Expr:
    a, (b, after) = args[0], _columns(args[1], types[0].rank, types[1])
    if node.attr("matrix") == GENERAL:
        a = _swapped(a, types[0]) if node.attr("transposed") else a
        found = call("jnp.linalg.solve", a.text, b.text)
    else:
        found = _triangle(a.text, b.text, node.attr("matrix"), node.attr("transposed"))
    return Expr(found.text + after, ATOM)


def _lu_solve(node: Node, args: list[Expr], types: Types) -> Expr:
    factors, places = args[1].text, args[2].at(ATOM)
    b, after = _columns(args[3], types[0].rank, types[3])
    turned = node.attr("transposed")
    order = f"jnp.argsort({args[2].text})" if turned else places

    def permuted(x: Expr) -> str:
        if types[0].rank == 2:
            return f"{x.at(ATOM)}[{order}]"
        return call("jnp.take_along_axis", x.text, f"{order}[..., None]", "-2").text

    if turned:
        found = permuted(_triangle(factors, _triangle(factors, b.text, "upper", True).text, "unit_lower", True))
    else:
        found = _triangle(factors, _triangle(factors, permuted(b), "unit_lower", False).text, "upper", False).text
    return Expr(found + after, ATOM)


def _part(function: str, index: int) -> Template:
    """One of the results of a function of a matrix."""

    def template(node: Node, args: list[Expr], types: Types) -> Expr:
        del node, types
        return Expr(f"{function}({args[0].text})[{index}]", ATOM)

    return template


def _log_of_factors(node: Node, args: list[Expr], types: Types) -> Expr:
    del node, types
    # A zero on the diagonal makes the sum minus infinity, as it should be.
    diagonal = call("jnp.diagonal", args[0].text, axis1="-2", axis2="-1")
    return call("jnp.sum", f"jnp.log(jnp.abs({diagonal.text}))", axis="-1")


def _sign_of_factors(node: Node, args: list[Expr], types: Types) -> Expr:
    del node
    diagonal = call("jnp.diagonal", args[0].text, axis1="-2", axis2="-1")
    swaps = f"jnp.sum({args[1].text} != jnp.arange({types[0].shape[-1]}), axis=-1)"
    signs = call("jnp.prod", call("jnp.sign", diagonal.text).text, axis="-1")
    return Expr(f"{signs.text} * (1 - 2 * ({swaps} % 2))", MUL)


SOLVES: dict[str, Template] = {
    "solve": _solve,
    "lu_solve": _lu_solve,
    "lu_factors": _part("lax.linalg.lu", 0),
    "lu_pivots": _part("lax.linalg.lu", 1),
    "lu_permutation": _part("lax.linalg.lu", 2),
    "log_abs_det": _part("jnp.linalg.slogdet", 1),
    "sign_det": _part("jnp.linalg.slogdet", 0),
    "lu_log_abs_det": _log_of_factors,
    "lu_sign_det": _sign_of_factors,
}
