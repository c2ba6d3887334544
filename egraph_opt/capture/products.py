# SPDX-License-Identifier: Apache-2.0
"""Sums and products: everything that the Graph holds as ``einsum`` and ``add``.

Letters stand for dimensions by position; dimensions of size 1 have none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from egraph_opt.capture.scope import Handler, Scope, is_placed, squeeze, tensor_type
from egraph_opt.ir.spec import LETTERS
from egraph_opt.ir.types import is_integer, is_numeric


def letters(shape: Sequence[int], names: Sequence[str] = LETTERS) -> str:
    """One letter for each dimension that is not of size 1."""
    return "".join(c for c, n in zip(names, shape, strict=False) if n != 1)


def contract(
    scope: Scope, words: Sequence[str], output: str, sizes: Mapping[str, int], operands: Sequence[int]
) -> int | None:
    """An einsum over any letters, or None where it has too many; a sum over nothing is zero."""
    used = dict.fromkeys("".join(words) + output)
    if len(used) > len(LETTERS):
        return None
    held = {c: sizes[c] for c in used}
    if any(n == 0 for n in held.values()):
        type = scope.type(operands[0]).with_shape(tuple(held[c] for c in output))
        return scope.emitter.uniform(0, type, scope.sources)
    return scope.emitter.contract(words, output, held, operands, scope.sources)


def spread(scope: Scope, x: int, shape: Sequence[int], result: Sequence[int]) -> int:
    """``x``, whose true shape is ``shape``, broadcast by position to ``result`` (squeezed); rank 0 may be anywhere."""
    target = squeeze(result)
    if scope.type(x).shape == target:
        return x
    word = letters(shape)
    number = contract(scope, [word], letters(result), dict(zip(LETTERS, result, strict=False)), [x])
    assert number is not None, "a tensor has at most 52 dimensions"
    return number


def _ring(eqn: Any) -> bool:
    return is_numeric(str(eqn.outvars[0].aval.dtype)) and eqn.outvars[0].aval.ndim <= len(LETTERS)


def _shapes(eqn: Any) -> list[tuple[int, ...]]:
    return [tuple(a.aval.shape) for a in eqn.invars]


def _mul(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    shape = tuple(eqn.outvars[0].aval.shape)
    if str(eqn.outvars[0].aval.dtype) == "bool":
        pair = [spread(scope, x, s, shape) for x, s in zip(operands, _shapes(eqn), strict=True)]
        return [scope.emitter.elementwise("and", pair, (), tensor_type(eqn.outvars[0].aval).with_shape(squeeze(shape)))]
    if not _ring(eqn):
        return None
    words = [letters(s) for s in _shapes(eqn)]
    number = contract(scope, words, letters(shape), dict(zip(LETTERS, shape, strict=False)), operands)
    return None if number is None else [number]


def _add(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    if not _ring(eqn):
        return None
    if is_integer(str(eqn.outvars[0].aval.dtype)):
        kept = [i for i, x in enumerate(operands) if not _is_zero(scope, x)]
        if len(kept) == 1:  # exact for integers; x + 0.0 is not x for x = -0.0
            return [spread(scope, operands[kept[0]], _shapes(eqn)[kept[0]], eqn.outvars[0].aval.shape)]
    return [_sum(scope, eqn, operands)]


def _is_zero(scope: Scope, x: int) -> bool:
    scalar = scope.emitter.uniform_scalar(x)
    return scalar is not None and scope.emitter.scalar_value(scalar) == 0


def _sum(scope: Scope, eqn: Any, operands: list[int]) -> int:
    shape = eqn.outvars[0].aval.shape
    return scope.emitter.sum_of(
        [spread(scope, x, s, shape) for x, s in zip(operands, _shapes(eqn), strict=True)], scope.sources
    )


def _sub(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    if not _ring(eqn):
        return None
    x, y = operands
    return [_sum(scope, eqn, [x, scope.emitter.scaled(y, -1, scope.sources)])]


def _neg(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    return [scope.emitter.scaled(operands[0], -1, scope.sources)] if _ring(eqn) else None


def _times(scope: Scope, x: int, y: int) -> int:
    shape = scope.type(x).shape
    word = LETTERS[: len(shape)]
    number = contract(scope, [word, word], word, dict(zip(word, shape, strict=True)), [x, y])
    assert number is not None
    return number


def _square(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    return [_times(scope, operands[0], operands[0])] if _ring(eqn) else None


def _integer_pow(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    exponent = eqn.params["y"]
    if not _ring(eqn) or exponent not in (1, 2, 3, 4):
        return None
    x = operands[0]
    if exponent == 1:
        return [x]
    square = _times(scope, x, x)
    # The grouping in which XLA multiplies.
    return [square if exponent == 2 else _times(scope, x if exponent == 3 else square, square)]


def _dot_general(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    params = eqn.params
    if is_placed(params.get("out_sharding")) or not _ring(eqn) or not _ask_precision(scope, params.get("precision")):
        return None
    (left_sum, right_sum), (left_batch, right_batch) = params["dimension_numbers"]
    shapes = _shapes(eqn)
    if len(shapes[0]) + len(shapes[1]) > len(LETTERS):
        return None
    left = list(LETTERS[: len(shapes[0])])
    right = list(LETTERS[len(left) : len(left) + len(shapes[1])])
    for i, j in (*zip(left_sum, right_sum, strict=True), *zip(left_batch, right_batch, strict=True)):
        right[j] = left[i]
    output = [left[i] for i in left_batch]
    output += [c for i, c in enumerate(left) if i not in left_batch and i not in left_sum]
    output += [c for j, c in enumerate(right) if j not in right_batch and j not in right_sum]
    sizes = {**dict(zip(left, shapes[0], strict=True)), **dict(zip(right, shapes[1], strict=True))}
    words = ["".join(c for c in word if sizes[c] != 1) for word in (left, right, output)]
    return _product(scope, eqn, words, sizes, operands)


def _product(
    scope: Scope, eqn: Any, words: list[str], sizes: Mapping[str, int], operands: list[int]
) -> Sequence[int] | None:
    """The product in the element type of its accumulation; a narrower result is rounded at the end."""
    result = str(eqn.outvars[0].aval.dtype)
    kinds = [str(a.aval.dtype) for a in eqn.invars]
    itemsize = max(a.aval.dtype.itemsize for a in eqn.invars)
    narrowing = eqn.outvars[0].aval.dtype.itemsize < itemsize
    wide = kinds[0] if narrowing else result
    if narrowing and (kinds[0] != kinds[1] or is_integer(kinds[0]) != is_integer(result)):
        return None
    pair = [_convert(scope, x, wide) for x in operands]
    number = contract(scope, words[:2], words[2], sizes, pair)
    return None if number is None else [_convert(scope, number, result)]


def _convert(scope: Scope, x: int, dtype: str) -> int:
    from egraph_opt.capture.pointwise import convert

    return convert(scope, x, dtype)


def _ask_precision(scope: Scope, precision: Any) -> bool:
    """Note the precision of a product; False where it is no plain precision (a named algorithm)."""
    pair = precision if isinstance(precision, tuple) else (precision,)
    names = [str(getattr(p, "name", p)).lower() for p in pair if p is not None]
    if not set(names) <= {"default", "high", "highest"}:
        return False
    for name in names:
        if name != "default":
            scope.shared.ask_precision(name)
    return True


def _transpose(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    return transposed(scope, operands[0], _shapes(eqn)[0], eqn.params["permutation"])


def transposed(scope: Scope, x: int, shape: Sequence[int], permutation: Sequence[int]) -> Sequence[int] | None:
    """``x`` of a true shape, with its dimensions reordered."""
    if len(shape) > len(LETTERS) or not _moves(scope, x):
        return None
    output = "".join(LETTERS[i] for i in permutation if shape[i] != 1)
    number = contract(scope, [letters(shape)], output, dict(zip(LETTERS, shape, strict=False)), [x])
    return None if number is None else [number]


def _moves(scope: Scope, x: int) -> bool:
    """Whether copies of the element type are einsums: all but extended types."""
    dtype = scope.type(x).dtype
    return is_numeric(dtype) or dtype == "bool"


def _broadcast_in_dim(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    shape = tuple(eqn.outvars[0].aval.shape)
    if len(operands) != 1 or len(shape) > len(LETTERS) or not _moves(scope, operands[0]):
        return None
    if is_placed(eqn.params.get("sharding")):
        return None
    source = _shapes(eqn)[0]
    word = "".join(LETTERS[d] for d, n in zip(eqn.params["broadcast_dimensions"], source, strict=True) if n != 1)
    number = contract(scope, [word], letters(shape), dict(zip(LETTERS, shape, strict=False)), operands)
    return None if number is None else [number]


def _reduce_sum(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    shape = _shapes(eqn)[0]
    if not _ring(eqn) or len(shape) > len(LETTERS) or is_placed(eqn.params.get("out_sharding")):
        return None
    axes = set(eqn.params["axes"])
    output = "".join(c for i, c in enumerate(LETTERS[: len(shape)]) if shape[i] != 1 and i not in axes)
    number = contract(scope, [letters(shape)], output, dict(zip(LETTERS, shape, strict=False)), operands)
    return None if number is None else [number]


HANDLERS: dict[str, Handler] = {
    "mul": _mul,
    "add": _add,
    "add_any": _add,
    "sub": _sub,
    "neg": _neg,
    "square": _square,
    "integer_pow": _integer_pow,
    "dot_general": _dot_general,
    "transpose": _transpose,
    "broadcast_in_dim": _broadcast_in_dim,
    "reduce_sum": _reduce_sum,
}
