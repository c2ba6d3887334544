# SPDX-License-Identifier: Apache-2.0
"""Systems of equations: LU and triangular solves become ``lu_solve`` and ``solve``, determinants nodes of factors.

JAX wraps a solve in ``custom_linear_solve``, which says by its product which system is solved: an einsum of a matrix.
Where the factors at hand are LU factors of that matrix the equation is ``lu_solve``, whatever ``vmap`` made of its
layout. Any other is opened: what its solver does stands in the program, and its derivative is the original's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from egraph_opt.capture.calls import SOLVE
from egraph_opt.capture.places import function_place, is_jax_internal
from egraph_opt.capture.products import letters
from egraph_opt.capture.scope import Handler, Scope, Shared, tensor_type
from egraph_opt.ir import Spec, TensorType
from egraph_opt.ir.spec import LETTERS, canonical
from egraph_opt.ir.spec_algebra import compose_product
from egraph_opt.ir.types import is_complex
from egraph_opt.ops.solves import DTYPES, real

LOG_DETERMINANT = "_slogdet_lu"
"""The function of JAX whose body factors a matrix and reads sign and logarithm of its determinant off the factors."""


def recognised(scope: Scope, eqn: Any, inner: Any, operands: Sequence[int]) -> list[int] | None:
    """Results of an equation whose inner jaxpr is known to solve a system or to compute a determinant."""
    name = eqn.primitive.name
    if name == SOLVE:
        found = _linear_solve(scope, eqn, operands)
        return None if found is None else [found]
    if name == "custom_jvp_call":
        function, file = function_place(inner.jaxpr)
        if function == LOG_DETERMINANT and is_jax_internal(file):
            return _log_determinant(scope, inner.jaxpr, operands)
    return None


def solver_operands(eqn: Any, operands: Sequence[int]) -> list[int]:
    """Operands of the solver inside a ``custom_linear_solve``: its own constants and the right-hand sides."""
    counts = eqn.params["const_lengths"]
    first = counts.matvec + counts.vecmat
    last = first + counts.solve + counts.transpose_solve
    return [*operands[first : first + counts.solve], *operands[last:]]


def _linear_solve(scope: Scope, eqn: Any, operands: Sequence[int]) -> int | None:
    """``lu_solve`` for a solve by LU factors of the matrix of its product, or None."""
    counts, jaxprs = eqn.params["const_lengths"], eqn.params["jaxprs"]
    right = operands[sum(counts) :]
    if counts.matvec != 1 or counts.solve != 2 or len(right) != 1 or not _is_factorable(scope, operands[0]):
        return None
    matrix, factors = operands[0], operands[counts.matvec + counts.vecmat]
    if scope.emitter.nodes[factors].op != "lu_factors" or _plain(scope, factors) != _plain(scope, matrix):
        return None
    avals = [eqn.invars[0].aval, eqn.invars[sum(counts)].aval]
    spec = _product_spec(jaxprs.matvec, avals)
    return None if spec is None else _by_factors(scope, spec, matrix, right[0])


def _plain(scope: Scope, x: int) -> int:
    """A matrix, or what was factored, without transposes and without marks that no derivative is to be taken."""
    node = scope.emitter.nodes[x]
    moved = node.op == "einsum" and len(node.operands) == 1 and Spec.parse(node.attr("spec"))
    still = moved and moved.is_permutation and moved.scale == 1
    return _plain(scope, node.operands[0]) if still or node.op in ("stop_gradient", "lu_factors") else x


def _product_spec(product: Any, avals: Sequence[Any]) -> Spec | None:
    """The einsum of matrix and unknown that a jaxpr computes; None where it is something else."""
    from egraph_opt.capture.interpreter import run

    scope = Scope(Shared())
    inputs = [scope.squeezed(scope.new_input(tensor_type(aval))) for aval in avals]
    (result,) = run(scope, product.jaxpr, product.consts, inputs)
    nodes = scope.emitter.nodes
    after, node = [], nodes[result]
    while node.op == "einsum" and len(node.operands) == 1:
        after.append(node.attr("spec"))
        node = nodes[node.operands[0]]
    if node.op != "einsum" or sorted(node.operands) != sorted(inputs) or len(set(inputs)) != 2:
        return None
    text = node.attr("spec")
    for outer in reversed(after):
        pure = compose_product(outer, text)
        if pure.before_x or pure.before_y or pure.post:
            return None
        text = pure.core
    spec = Spec.parse(text)
    if node.operands[0] != inputs[0]:
        spec = Spec((spec.inputs[1], spec.inputs[0]), spec.output, spec.sizes)
    return spec


def _by_factors(scope: Scope, spec: Spec, matrix: int, right: int) -> int | None:
    """``x`` for which the einsum of ``matrix`` and ``x`` is ``right``."""
    word, unknown = spec.inputs
    columns = [c for c in word if c in unknown and c not in spec.output]
    rows = [c for c in word if c not in unknown]
    if len(columns) != 1 or len(rows) != 1 or spec.output != unknown.replace(columns[0], rows[0]):
        return None
    (j,), (i,) = columns, rows
    batch = "".join(c for c in unknown if c in word and c != j)
    rest = "".join(c for c in unknown if c not in word)
    transposed = word.index(j) < word.index(i)
    pair = j + i if transposed else i + j
    emit, sources, sizes = scope.emitter, scope.sources, spec.sizes
    system = emit.contract([word], batch + pair, dict(sizes), [matrix], sources)
    b = emit.contract([spec.output], batch + i + rest, dict(sizes), [right], sources)
    factors = emit.add("lu_factors", (system,), (), scope.type(system).strong(), sources)
    rows_type = TensorType(scope.type(system).shape[:-1], "int32")
    permutation = emit.add("lu_permutation", (system,), (), rows_type, sources)
    attrs = (("transposed", transposed),)
    x = emit.add("lu_solve", (system, factors, permutation, b), attrs, scope.type(b).strong(), sources)
    return emit.contract([batch + j + rest], unknown, dict(sizes), [x], sources)


def _is_factorable(scope: Scope, x: int) -> bool:
    kind = scope.type(x)
    return kind.dtype in DTYPES and kind.rank >= 2


def _log_determinant(scope: Scope, jaxpr: Any, operands: Sequence[int]) -> list[int] | None:
    """Sign and logarithm, where the matrices stand in the last two dimensions: factored as they come."""
    first = jaxpr.eqns[0] if jaxpr.eqns else None
    place = next((k for k, v in enumerate(jaxpr.invars) if first is not None and first.invars == [v]), None)
    if first is None or place is None:
        return None
    held, matrix = jaxpr.invars[place], operands[place]
    if first.primitive.name == "transpose":  # batched along any axis
        names, order = LETTERS[: held.aval.ndim], first.params["permutation"]
        word = letters(held.aval.shape, names)
        turned = letters([held.aval.shape[d] for d in order], [names[d] for d in order])
        spec = _turn(word, turned, dict(zip(names, held.aval.shape, strict=True)))
        matrix = scope.emitter.einsum(spec, [matrix], scope.sources)
        (held,), first = first.outvars, jaxpr.eqns[1]
    if first.primitive.name != "lu" or first.invars != [held]:
        return None
    shape = held.aval.shape
    if [tuple(v.aval.shape) for v in jaxpr.outvars] != [shape[:-2]] * 2 or not _is_square(shape):
        return None
    factors, pivots, _ = _factors(scope, matrix)
    kind = scope.type(matrix)
    sign = kind.with_shape(kind.shape[:-2]).strong()
    log = TensorType(sign.shape, real(kind.dtype))
    emit = scope.emitter
    return [
        emit.add("lu_sign_det", (factors, pivots), (), sign, scope.sources),
        emit.add("lu_log_abs_det", (factors,), (), log, scope.sources),
    ]


def _factors(scope: Scope, matrix: int) -> list[int]:
    """Factors, pivots and permutation of a squeezed matrix."""
    kind = scope.type(matrix).strong()
    rows = TensorType(kind.shape[:-1], "int32")
    pairs = (("lu_factors", kind), ("lu_pivots", rows), ("lu_permutation", rows))
    return [scope.emitter.add(op, (matrix,), (), type, scope.sources) for op, type in pairs]


def _is_square(shape: Sequence[int]) -> bool:
    return len(shape) > 1 and shape[-1] == shape[-2] > 1


def _lu(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    shape = eqn.invars[0].aval.shape
    if not _is_square(shape) or not _is_factorable(scope, operands[0]):
        return None
    return _factors(scope, operands[0])


def _triangular_solve(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    params, (matrix, right) = eqn.params, operands
    shape = tuple(eqn.invars[1].aval.shape)
    dtype = scope.type(right).dtype
    if not _is_square(eqn.invars[0].aval.shape) or dtype not in DTYPES:
        return None
    if params["conjugate_a"] and is_complex(dtype):
        return None
    triangle = ("unit_" if params["unit_diagonal"] else "") + ("lower" if params["lower"] else "upper")
    left, names = params["left_side"], LETTERS[: len(shape)]
    word = letters(shape, names)
    turned = letters([*shape[:-2], shape[-1], shape[-2]], [*names[:-2], names[-1], names[-2]])
    sizes = dict(zip(names, shape, strict=True))
    b = right if left else scope.emitter.einsum(_turn(word, turned, sizes), [right], scope.sources)
    attrs = (("matrix", triangle), ("transposed", params["transpose_a"] == left))
    x = scope.emitter.add("solve", (matrix, b), attrs, scope.type(b).strong(), scope.sources)
    return [x if left else scope.emitter.einsum(_turn(turned, word, sizes), [x], scope.sources)]


def _turn(word: str, turned: str, sizes: Mapping[str, int]) -> str:
    return canonical([word], turned, {c: sizes[c] for c in word})


HANDLERS: Mapping[str, Handler] = {"lu": _lu, "triangular_solve": _triangular_solve}
