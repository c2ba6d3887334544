# SPDX-License-Identifier: Apache-2.0
"""Identity masks: ``eq(iota, iota)`` and what is selected or converted with them.

``where(eye, x, 0)`` reads and writes a diagonal, bit for bit: outside the mask stands +0.0 whatever ``x`` holds there.
"""

from __future__ import annotations

import math

import numpy as np

from egraph_opt.capture.scope import Scope
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.spec import LETTERS, Spec, canonical
from egraph_opt.ir.types import is_integer, is_numeric


def identity_mask(scope: Scope, x: int) -> tuple[int, int, bool] | None:
    """The two dimensions of a bool tensor that a diagonal mask lies over, and whether it is True on the diagonal.

    The mask may be repeated over further dimensions.
    """
    node = scope.emitter.nodes[x]
    if not scope.folder.is_free(x) or node.type.dtype != "bool":
        return None
    if node.op == "einsum":
        return _repeated(scope, x)
    if node.op in ("eq", "ne"):
        found = _compared_iotas(scope, x)
        if found is not None:
            return (*found, node.op == "eq")
    if node.op == "not":
        inner = identity_mask(scope, node.operands[0])
        return None if inner is None else (inner[0], inner[1], not inner[2])
    if node.type.rank != 2 or node.type.shape[0] != node.type.shape[1]:
        return None
    value = scope.folder.value(x)
    if value is None:
        return None
    n = len(value)
    positive = bool(value[0, 0])
    marked = value if positive else ~value
    return (0, 1, positive) if np.count_nonzero(marked) == n and np.diagonal(marked).all() else None


def _repeated(scope: Scope, x: int) -> tuple[int, int, bool] | None:
    node = scope.emitter.nodes[x]
    spec = Spec.parse(node.attr("spec"))
    if len(node.operands) != 1 or not spec.is_copy or len(set(spec.output)) != len(spec.output):
        return None
    inner = identity_mask(scope, node.operands[0]) if len(set(spec.inputs[0])) == len(spec.inputs[0]) else None
    if inner is None:
        return None
    first, second, positive = inner
    return spec.output.index(spec.inputs[0][first]), spec.output.index(spec.inputs[0][second]), positive


def _compared_iotas(scope: Scope, x: int) -> tuple[int, int] | None:
    """Dimensions ``(i, j)`` of a comparison of the same ``iota`` along two dimensions, of any size."""
    places = []
    for operand in scope.emitter.nodes[x].operands:
        node = scope.emitter.nodes[operand]
        if node.op != "einsum" or len(node.operands) != 1:
            return None
        spec = Spec.parse(node.attr("spec"))
        plain = len(spec.inputs[0]) == 1 and len(set(spec.output)) == len(spec.output) and spec.is_copy
        if not plain or spec.scale != 1 or scope.emitter.nodes[node.operands[0]].op != "iota":
            return None
        places.append((node.operands[0], spec.output.index(spec.inputs[0])))
    (iota, i), (other, j) = places
    return (i, j) if iota == other and i != j else None


def selected_diagonal(scope: Scope, operands: list[int]) -> int | None:
    """``select_n(mask, a, b)`` with an identity mask and zero off the diagonal, as an einsum."""
    found = identity_mask(scope, operands[0])
    if found is None:
        return None
    first, second, positive = found
    off, on = (operands[1], operands[2]) if positive else (operands[2], operands[1])
    mask = scope.type(operands[0])
    type = scope.type(on)
    if not _is_positive_zero(scope, off) or not is_numeric(type.dtype) or type.shape not in ((), mask.shape):
        return None
    word = list(LETTERS[: mask.rank])
    word[second] = word[first]
    text = "".join(word)
    sizes = dict(zip(text, mask.shape, strict=True))
    spec = canonical([text if type.shape else ""], text, sizes)
    return scope.emitter.einsum(spec, [on], scope.sources)


def written_diagonal(scope: Scope, mask: int, dtype: str) -> int | None:
    """An identity mask converted to numbers: one written on a diagonal, maybe repeated over further dimensions.

    Products with it become renamings of indices, which do not spread infinities and NaN as a product with zeros does:
    for floats not ``EXACT``.
    """
    if not is_numeric(dtype) or not (is_integer(dtype) or scope.shared.numerics > Numerics.EXACT):
        return None
    found = identity_mask(scope, mask)
    type = scope.type(mask)
    if found is None or not found[2] or type.rank > len(LETTERS):
        return None
    word = list(LETTERS[: type.rank])
    word[found[1]] = word[found[0]]
    text = "".join(word)
    one = scope.emitter.constant(1, dtype)
    return scope.emitter.einsum(canonical([""], text, dict(zip(text, type.shape, strict=True))), [one], scope.sources)


def _is_positive_zero(scope: Scope, x: int) -> bool:
    scalar = scope.emitter.uniform_scalar(x)
    value = None if scalar is None else scope.emitter.scalar_value(scalar)
    if value is None or value != 0:
        return False
    return not isinstance(value, float) or math.copysign(1.0, value) > 0
