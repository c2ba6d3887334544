# SPDX-License-Identifier: Apache-2.0
"""Operations whose shapes have many parameters (convolutions, windows, gathers, scatters): their examples, varied.

Sizes, element types and attributes of an example are changed; the type rule of the operation says what still fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from jax.lax import GatherScatterMode

from egraph_opt.engine.words import attribute_text, infer_word, words
from egraph_opt.ir import TensorType
from egraph_opt.ir.attrs import freeze
from egraph_opt.ops import get_op
from egraph_opt.rules.check.layout_choices import Known, filling
from egraph_opt.rules.check.profile import COMPLEX, FLOATS, MisfitError, Profile

STEPS = {
    "window_strides": (1, 2),
    "padding": (0, 1, 2),
    "lhs_dilation": (1, 2),
    "rhs_dilation": (1, 2),
    "base_dilation": (1, 2),
    "window_dilation": (1, 2),
}
"""Attributes that hold a number, or a pair of them, for each axis, and the numbers that are tried."""


def by_example(
    profile: Profile, name: str, known: Known, dtype: str | None, text: str | None
) -> tuple[str, list[TensorType]]:
    """Attribute text and operand types like those of an example.

    Args:
        profile: random choices.
        name: constructor.
        known: types of the operands that are fixed.
        dtype: element type asked of the result.
        text: the attributes, where they are fixed.

    Raises:
        MisfitError: no example has operands like those that are fixed.
    """
    op = get_op(words()[name].op)
    example = profile.rng.choice(op.examples)
    if len(example.operands) != len(known):
        raise MisfitError(f"no example of {op.name} with {len(known)} operands")
    if any(t is not None and t.rank != e.rank for t, e in zip(known, example.operands, strict=True)):
        raise MisfitError(f"the examples of {op.name} have operands of other ranks")
    own = attribute_text(example.attrs) if words()[name].constructor.has_text else ""
    texts = [text] if text else [_varied(profile, dict(example.attrs)), own] if own else [own]
    operands: list[TensorType] = []
    for found in texts:
        for types in (*_resized(profile, example.operands, known, dtype), example.operands):
            operands = [known[i] or t for i, t in enumerate(types)]
            if infer_word(name, found, operands) is not None:
                return found, operands
    return texts[-1], operands


def _varied(profile: Profile, attrs: dict[str, Any]) -> str:
    """Attributes of an example, some of them changed."""
    found = dict(attrs)
    for key, numbers in STEPS.items():
        if key in found and isinstance(found[key], tuple) and profile.chance(0.4):
            found[key] = tuple(
                tuple(profile.rng.choice(numbers) for _ in n) if isinstance(n, tuple) else profile.rng.choice(numbers)
                for n in found[key]
            )
    if "mode" in found:
        # No promises: what happens where they are broken is anybody's guess.
        found["mode"] = profile.rng.choice((GatherScatterMode.CLIP, GatherScatterMode.FILL_OR_DROP))
        if "fill_value" in found:
            fills = found["mode"] is GatherScatterMode.FILL_OR_DROP
            found["fill_value"] = filling(profile) if fills else None
    return attribute_text(tuple((key, freeze(value)) for key, value in found.items()))


def _resized(
    profile: Profile, operands: Sequence[TensorType], known: Known, dtype: str | None
) -> Iterator[list[TensorType]]:
    """Operands of an example of the wanted or the main element type, with other sizes and with its own.

    Sizes are equal where they are equal in the example, and so are element types; indices stay what they are.
    """
    square = profile.chance(0.3)
    one = profile.size()
    other = {n: one if square else profile.size() for t in operands for n in t.shape}
    numbers = next((t.dtype for t in operands if t.dtype in (*FLOATS, *COMPLEX)), None)
    found = next((t.dtype for t, e in zip(known, operands, strict=True) if t and e.dtype == numbers), None)
    for fixed, example in zip(known, operands, strict=True):
        other |= dict(zip(example.shape, fixed.shape, strict=True)) if fixed else {}
    for main in dict.fromkeys((found or dtype or profile.main, numbers)):
        for sizes in (other, {n: n for n in other}):
            yield [
                TensorType(tuple(sizes[n] for n in t.shape), main if main and t.dtype == numbers else t.dtype)
                for t in operands
            ]
