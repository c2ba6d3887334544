# SPDX-License-Identifier: Apache-2.0
"""Source text of einsums: ``a @ b``, ``a * b[:, None]``, ``x.sum(axis=0)`` where that says it, else ``jnp.einsum``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from egraph_opt.ir import Spec
from egraph_opt.ir.spec_algebra import purify
from egraph_opt.ir.types import is_integer
from egraph_opt.lower.literals import ADD, ATOM, MUL, UNARY, Expr, call, dtype_text, scalar_text, typed_text
from egraph_opt.ops.contract import NARROW_FLOATS, factors, typed_scale


def product_text(x: Expr, y: Expr, spec: Spec, dtype: str, options: dict[str, str]) -> Expr:
    """Text of a two-operand einsum; ``options`` are keywords of the matrix product (precision, result type)."""
    if not spec.is_pure:
        return _impure_text(x, y, spec, dtype, options)
    first, second = spec.inputs
    if not spec.summed:
        left, right = aligned(x, first, spec), aligned(y, second, spec)
        return Expr(f"{left.at(MUL)} * {right.at(MUL + 1)}", MUL)
    if set(first) == set(second) and len(first) > 1 and not dtype.startswith(NARROW_FLOATS) and not options:
        product = Expr(f"({x.at(MUL)} * {permuted(y, second, first).at(MUL + 1)})")
        kept = "".join(c for c in first if c in spec.output)
        axes = tuple(place for place, c in enumerate(first) if c not in spec.output)
        return permuted(_sum(product, axes, len(first), dtype), kept, spec.output)
    plain = None if options else _matmul(x, y, spec)
    if plain is not None:
        return plain
    letters = f"{first},{second}->{spec.output}"
    if options and _matmul(x, y, spec) == _at(x, y):
        return call("jnp.matmul", x.text, y.text, **options)
    return call("jnp.einsum", f'"{letters}"', x.text, y.text, **options)


def _impure_text(x: Expr, y: Expr, spec: Spec, dtype: str, options: dict[str, str]) -> Expr:
    pure = purify(spec.inputs, spec.output, spec.sizes, spec.scale)
    x = single_text(x, Spec.parse(pure.before_x), dtype) if pure.before_x else x
    y = single_text(y, Spec.parse(pure.before_y), dtype) if pure.before_y else y
    core = product_text(x, y, Spec.parse(pure.core), dtype, options)
    return single_text(core, Spec.parse(pure.post), dtype) if pure.post else core


def _matmul(x: Expr, y: Expr, spec: Spec) -> Expr | None:
    """``x @ y`` with transposed or exchanged operands where that is all; None where it is not."""
    if spec.inputs[0] == spec.inputs[1]:
        return _at(x, y) if len(spec.inputs[0]) == 1 and not spec.output else None
    if all(len(w) == 3 for w in (*spec.inputs, spec.output)):
        (p, q), out = spec.inputs, spec.output
        batched = p[0] == q[0] == out[0] and p[2] == q[1] and out[1:] == p[1] + q[2]
        return _at(x, y) if batched else None
    if any(len(w) > 2 for w in spec.inputs):
        return None
    pairs = [((x, spec.inputs[0]), (y, spec.inputs[1])), ((y, spec.inputs[1]), (x, spec.inputs[0]))]
    for left, right in (pair for flips in ((0, 0), (0, 1), (1, 0), (1, 1)) for pair in _flipped(pairs, flips)):
        p, q = left[1], right[1]
        if p and q and p[-1] == q[0] and p[:-1] + q[1:] == spec.output and p[-1] not in spec.output:
            return _at(left[0], right[0])
    return None


Factor = tuple[Expr, str]


def _flipped(pairs: list[tuple[Factor, Factor]], flips: tuple[int, int]) -> Iterator[tuple[Factor, Factor]]:
    """The pairs with the matrices that ``flips`` names transposed; pairs where it names a vector are left out."""
    for first, second in pairs:
        if not any(flip and len(word) < 2 for flip, (_, word) in zip(flips, (first, second), strict=True)):
            yield _flip(first, flips[0]), _flip(second, flips[1])


def _flip(factor: Factor, flip: int) -> Factor:
    return (Expr(f"{factor[0].at(ATOM)}.T"), factor[1][::-1]) if flip else factor


def _at(x: Expr, y: Expr) -> Expr:
    return Expr(f"{x.at(MUL)} @ {y.at(MUL + 1)}", MUL)


def aligned(x: Expr, word: str, spec: Spec) -> Expr:
    """A factor of an elementwise product over the result's letters."""
    order = "".join(c for c in spec.output if c in word)
    x = permuted(x, word, order)
    if order == spec.output or not word:
        return x
    return Expr(f"{x.at(ATOM)}[{', '.join(':' if c in order else 'None' for c in spec.output)}]")


def permuted(x: Expr, word: str, order: str) -> Expr:
    """The operand with its dimensions in another order."""
    if word == order:
        return x
    if word == order[::-1]:
        return Expr(f"{x.at(ATOM)}.T")
    return call(f"{x.at(ATOM)}.transpose", *(str(word.index(c)) for c in order))


def thin_text(x: Expr, spec: Spec) -> Expr | None:
    """Text of a plain broadcast that a full operand beside it completes; None for any other einsum."""
    word, output = spec.inputs[0], spec.output
    distinct = len(set(output)) == len(output) and len(set(word)) == len(word)
    return aligned(x, word, spec) if distinct and spec.scale == 1 and not spec.summed and word != output else None


def single_text(x: Expr, spec: Spec, dtype: str, constant: Any = None) -> Expr:
    """Text of a one-operand einsum: diagonal, sum, order, scale, broadcast, diagonal written, as lowering does it.

    Args:
        x: the operand.
        spec: the einsum.
        dtype: element type.
        constant: value of the operand where it is a scalar constant.
    """
    word, output = spec.inputs[0], spec.output
    distinct = len(set(output)) == len(output)
    if constant is not None and not word and output and spec.scale == 1:
        if distinct:
            return call("jnp.full", shape_text(spec.shape), scalar_text(constant, dtype), dtype=dtype_text(dtype))
        if len(output) == 2 and constant == 1:
            return call("jnp.eye", str(spec.shape[0]), dtype=dtype_text(dtype))
    x, word = _diagonal(x, word)
    kept = "".join(c for c in word if c in output)
    if kept != word:
        x = _sum(x, tuple(place for place, c in enumerate(word) if c not in output), len(word), dtype)
    order = "".join(c for c in dict.fromkeys(output) if c in kept)
    x = _scaled(permuted(x, kept, order), spec, dtype)
    if order == output:
        return x
    if output == order * 2 and len(order) == 1:
        return call("jnp.diag", x.text)
    if order:
        x = _spread(x, order, output)
    wide = call("jnp.broadcast_to", x.text, shape_text(spec.shape))
    return wide if distinct else _masked(wide, output, spec)


def _diagonal(x: Expr, word: str) -> tuple[Expr, str]:
    if len(set(word)) == len(word):
        return x, word
    if len(word) == 2:
        return call("jnp.diagonal", x.text), word[0]
    kept = "".join(dict.fromkeys(word))
    return call("jnp.einsum", f'"{word}->{kept}"', x.text), kept


def _sum(x: Expr, axes: tuple[int, ...], rank: int, dtype: str) -> Expr:
    options = {}
    if len(axes) < rank:
        options["axis"] = str(axes[0]) if len(axes) == 1 else str(axes)
    if is_integer(dtype):
        options["dtype"] = dtype_text(dtype)  # jnp.sum widens integers otherwise
    return call(f"{x.at(ATOM)}.sum", **options)


def _scaled(x: Expr, spec: Spec, dtype: str) -> Expr:
    if spec.scale == 1:
        return x
    if spec.scale == -1:
        return Expr(f"-{x.at(UNARY)}", UNARY)
    scale = typed_scale(spec.scale, dtype).item() if is_integer(dtype) else spec.scale
    if is_integer(dtype) and abs(scale) >= 2**31:  # more than JAX takes as a Python number
        return Expr(f"{typed_text(scale, dtype)} * {x.at(MUL + 1)}", MUL)
    for factor in factors(scale, dtype):
        x = Expr(f"{Expr(scalar_text(factor, dtype), UNARY).at(MUL)} * {x.at(MUL + 1)}", MUL)
    return x


def _spread(x: Expr, order: str, output: str) -> Expr:
    seen: set[str] = set()
    index = []
    for letter in output:
        index.append(":" if letter in order and letter not in seen else "None")
        seen.add(letter)
    while index and index[0] == "None":
        index.pop(0)  # leading dimensions are added by broadcasting
    return x if all(part == ":" for part in index) else Expr(f"{x.at(ATOM)}[{', '.join(index)}]")


def _masked(wide: Expr, output: str, spec: Spec) -> Expr:
    masks = []
    for letter in dict.fromkeys(output):
        places = [place for place, c in enumerate(output) if c == letter]
        for place in places[1:]:
            index = ", ".join(":" if axis in (places[0], place) else "None" for axis in range(len(output)))
            masks.append(f"jnp.eye({spec.sizes[letter]}, dtype=bool)[{index}]")
    return call("jnp.where", " & ".join(masks), wide.text, "0")


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as a tuple."""
    return str(shape)


def signed_sum(terms: list[tuple[Expr, bool]]) -> Expr:
    """Sum of terms, each with whether it is subtracted."""
    text = ""
    for number, (term, negative) in enumerate(terms):
        if number == 0:
            text = f"-{term.at(UNARY)}" if negative else term.at(ADD)
        else:
            text += f" {'-' if negative else '+'} {term.at(ADD + 1)}"
    return Expr(text, ADD)
