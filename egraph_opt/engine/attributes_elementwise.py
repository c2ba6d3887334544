# SPDX-License-Identifier: Apache-2.0
"""Attribute functions about elementwise functions, reductions along axes and what is constant along them."""

from __future__ import annotations

import math

from egraph_opt.engine.attributes import AttributeFunction, Result, ship
from egraph_opt.engine.words import attribute_text, constant_text, parse_constant
from egraph_opt.ir.attrs import freeze, parse_attrs
from egraph_opt.ir.reshapes import parse_shape
from egraph_opt.ir.spec import LETTERS, Scale, Spec, canonical, identity
from egraph_opt.ir.spec_algebra import is_factor

_S, _I = "String", "i64"


def _axes(text: str) -> tuple[int, ...]:
    return tuple(dict(parse_attrs(text))["axes"])


def _axes_text(axes: tuple[int, ...]) -> str:
    return attribute_text((("axes", freeze(axes)),))


def _letters_at(axes: str, word: str) -> set[str] | None:
    """Letters at axes; None where there are no such axes: what wrong rules make may be ill-typed."""
    places = _axes(axes)
    return {word[n] for n in places} if all(0 <= n < len(word) for n in places) else None


def _copies(spec: Spec) -> bool:
    """Whether it is a transpose or broadcast, times a factor."""
    return spec.is_copy and all(len(set(word)) == len(word) for word in (*spec.inputs, spec.output))


def _scale(text: str) -> Scale | None:
    """A factor that specs may hold, or None."""
    try:
        value = float(text) if any(c in text for c in ".e") else int(text)
    except ValueError:
        return None
    return value if is_factor(value) else None


def _once(text: str) -> Result:
    """A product whose operands carry the same letters, as an einsum of one of them."""
    spec = Spec.parse(text)
    x, y = spec.inputs
    return canonical((x,), spec.output, spec.sizes, spec.scale) if x == y else None


def _pointwise(text: str) -> bool:
    """Whether the product multiplies tensors of one shape element by element, without a factor."""
    spec = Spec.parse(text)
    x, y = spec.inputs
    return x == y == spec.output and len(set(x)) == len(x) and spec.scale == 1


def _product(shape: str) -> Result:
    sizes = parse_shape(shape)
    word = LETTERS[: len(sizes)]
    return canonical((word, word), word, dict(zip(word, sizes, strict=True)))


def _spread(text: str) -> Result:
    """How ``f(x) g(y)`` becomes one function of both: each broadcast to all letters, and the sums that follow.

    Defined where both together have more elements than all letters: one function then works on fewer of them.
    """
    spec = Spec.parse(text)
    x, y = spec.inputs
    letters = "".join(spec.sizes)
    distinct = all(len(set(word)) == len(word) for word in (x, y, spec.output))
    if not distinct or spec.broadcast or spec.scale != 1 or spec.count(x) + spec.count(y) <= spec.count(letters):
        return None
    kept = spec.output + "".join(c for c in letters if c not in spec.output)
    found = {
        "x": canonical((x,), kept, spec.sizes),
        "y": canonical((y,), kept, spec.sizes),
        "sum": canonical((kept,), spec.output, spec.sizes),
    }
    return found | {"plain-x": found["x"], "plain-y": found["y"]} if kept == spec.output else found


def _fit(shape: str, result: str, factor: str) -> Result:
    """The spec that gives a scalar, or a tensor of the shape itself, the shape of the result, times a factor."""
    have, want, scale = parse_shape(shape), parse_shape(result), _scale(factor)
    if scale is None or have not in ((), want):
        return None
    word = LETTERS[: len(want)]
    sizes = dict(zip(word, want, strict=True))
    return identity(want, scale) if have == want else canonical(("",), word, sizes, scale)


def _over(shape: str, constant: str) -> Result:
    """The einsum of a tensor of a shape that divides it by a constant, whose reciprocal must be an ordinary number."""
    dtype, value = parse_constant(constant)
    most = 1e4 if dtype == "float16" else 1e30
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 / most < abs(value) < most:
        return None
    factor = 1 / value
    return identity(parse_shape(shape), int(factor) if factor.is_integer() else factor)


def _ones(text: str) -> Result:
    """The einsum of a scalar one that a product of ones is."""
    spec = Spec.parse(text)
    inside = "".join(dict.fromkeys("".join(spec.inputs)))
    summed = math.prod(spec.sizes[c] for c in inside if c not in spec.output)
    plain = len(set(spec.output)) == len(spec.output) and is_factor(summed * spec.scale)
    return canonical(("",), spec.output, spec.sizes, summed * spec.scale) if plain else None


def _fold_copy(axes: str, text: str) -> Result:
    """A maximum along axes of a transposed, broadcast or scaled tensor: axes of the tensor itself, and what follows."""
    spec = Spec.parse(text)
    folded = _letters_at(axes, spec.output)
    if folded is None or not _copies(spec) or any(spec.sizes[c] == 0 for c in folded) or spec.scale == 0:
        return None
    word = spec.inputs[0]
    left = "".join(c for c in word if c not in folded)
    after = canonical((left,), "".join(c for c in spec.output if c not in folded), spec.sizes, spec.scale)
    inner = tuple(n for n, c in enumerate(word) if c in folded)
    kind = "same" if spec.scale > 0 else "other"
    return {kind: _axes_text(inner), f"{kind}-after": after} if inner else {"none": after}


def _arg_copy(axes: str, text: str) -> Result:
    """The place of a maximum of a transposed, broadcast or scaled tensor: attributes for the tensor, what follows."""
    folded = _fold_copy(axes, text)
    if not isinstance(folded, dict) or "none" in folded:
        return None
    attrs = dict(parse_attrs(axes))
    kind = next(iter(folded))
    spec = Spec.parse(folded[f"{kind}-after"])
    attrs["axes"] = freeze(_axes(folded[kind]))
    return {
        kind: attribute_text(tuple(attrs.items())),
        f"{kind}-after": str(Spec(spec.inputs, spec.output, spec.sizes)),
    }


def _without_axes(axes: str, text: str) -> Result:
    """A broadcast along axes, without these axes."""
    spec = Spec.parse(text)
    gone = _letters_at(axes, spec.output)
    if gone is None or not _copies(spec) or gone & set(spec.inputs[0]) or any(spec.sizes[c] == 0 for c in gone):
        return None
    return canonical(spec.inputs, "".join(c for c in spec.output if c not in gone), spec.sizes, spec.scale)


def _adds_something(text: str) -> bool:
    """Whether no element of a result is zero for want of anything to add: such a one cannot be divided."""
    spec = Spec.parse(text)
    return len(set(spec.output)) == len(spec.output) and 0 not in spec.sizes.values()


def _divide_after(text: str, copied: str, position: int) -> Result:
    """How a divisor that is constant along what an einsum sums is broadcast to the einsum's result."""
    spec, copy = Spec.parse(text), Spec.parse(copied)
    word = spec.inputs[position]
    if not _copies(copy) or len(copy.output) != len(word) or len(set(word)) != len(word) or not _adds_something(text):
        return None
    name = dict(zip(copy.output, word, strict=True))
    inner = "".join(name[c] for c in copy.inputs[0])
    if not set(inner) <= set(spec.output) or spec.count(spec.output) >= spec.count(word):
        return None
    return canonical((inner,), spec.output, spec.sizes, copy.scale)


def _positive(text: str) -> bool:
    """No negative factor, no zeros off a diagonal, no empty sum."""
    spec = Spec.parse(text)
    return spec.scale > 0 and len(set(spec.output)) == len(spec.output) and all(spec.sizes[c] for c in spec.summed)


def _not_empty(axes: str, shape: str) -> bool:
    sizes = parse_shape(shape)
    return all(n < len(sizes) and sizes[n] > 0 for n in _axes(axes))


def _exponents(first: str, second: str, add: bool) -> Result:
    """The exponent of ``x^a x^b``, or of ``(x^a)^b`` where it is one power: ``(x^2)^0.5`` is no ``x``."""
    dtype, a = parse_constant(first)
    _, b = parse_constant(second)
    if not isinstance(a, int | float) or not isinstance(b, int | float):
        return None
    value = float(a) + float(b) if add else float(a) * float(b)
    if not add and a % 2 == 0 and value % 2 != 0:
        return None
    return constant_text(dtype, value) if math.isfinite(value) else None


ship(
    AttributeFunction("once", (_S,), ("",), _once, "spec of one operand where both carry the same letters"),
    AttributeFunction("pointwise", (_S,), (), _pointwise, "the product is one of elements, of tensors of one shape"),
    AttributeFunction(
        "spread",
        (_S,),
        ("x", "y", "sum", "plain-x", "plain-y"),
        _spread,
        "specs that broadcast both operands of a product to all of its letters, where these are fewer elements",
    ),
    AttributeFunction("product", (_S,), ("",), _product, "spec of the product of two tensors of a shape, by elements"),
    AttributeFunction("positive", (_S,), (), _positive, "the einsum makes positive tensors of positive ones"),
    AttributeFunction("fit", (_S, _S, _S), ("",), _fit, "spec from a scalar or a shape to that shape, with a factor"),
    AttributeFunction("over", (_S, _S), ("",), _over, "spec that divides a tensor of a shape by a constant"),
    AttributeFunction("ones", (_S,), ("",), _ones, "spec of a scalar one that is a product of ones"),
    AttributeFunction(
        "fold-copy",
        (_S, _S),
        ("same", "same-after", "other", "other-after", "none"),
        _fold_copy,
        "axes and spec after it of a maximum of a copy; `other` where a negative factor makes it a minimum",
    ),
    AttributeFunction(
        "arg-copy",
        (_S, _S),
        ("same", "same-after", "other", "other-after"),
        _arg_copy,
        "the same for the place of a maximum, whose indices are copied and not scaled",
    ),
    AttributeFunction(
        "without-axes", (_S, _S), ("",), _without_axes, "spec of a copy that is constant along axes, without these"
    ),
    AttributeFunction(
        "divide-after",
        (_S, _S, _I),
        ("",),
        _divide_after,
        "spec of a divisor that is constant along what an einsum sums, broadcast to the einsum's smaller result",
    ),
    AttributeFunction(
        "adds-something", (_S,), (), _adds_something, "no element of the result is zero for want of anything to add"
    ),
    AttributeFunction("not-empty", (_S, _S), (), _not_empty, "no axis is empty"),
    AttributeFunction("sum-of-numbers", (_S, _S), ("",), lambda a, b: _exponents(a, b, True), "sum of two constants"),
    AttributeFunction(
        "product-of-numbers", (_S, _S), ("",), lambda a, b: _exponents(a, b, False), "product of two constants"
    ),
)
