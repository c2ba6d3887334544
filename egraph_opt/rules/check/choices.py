# SPDX-License-Identifier: Apache-2.0
"""Random operand types and attributes of an operation that fit what is known of its operands and its result.

What is chosen here is a proposal: the type rule of the operation decides. So a chooser may be rough, as long as it
finds something that fits often enough; operations without one are drawn from their examples.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from egraph_opt.engine.words import EINSUM, RESHAPE, attribute_text, infer_word, words
from egraph_opt.errors import EgraphOptError
from egraph_opt.ir import TensorType
from egraph_opt.ir.attrs import DType, freeze, parse_attrs
from egraph_opt.ir.reshapes import parse_shape, shape_text
from egraph_opt.ir.spec import Spec
from egraph_opt.ops import Trait, get_op
from egraph_opt.rules.check import band_choices, layout_choices, systems
from egraph_opt.rules.check.example_choices import by_example
from egraph_opt.rules.check.profile import DTYPES, FLOATS, MisfitError, Profile
from egraph_opt.rules.check.random_specs import draw_spec

CONVERSIONS = ("convert_element_type", "bitcast_convert_type")
MIXED = frozenset({*CONVERSIONS, *systems.DTYPES, "select_n", "pow", "take", "dynamic_slice_in_dim", "segment_sum"})
"""Operations whose operands are of several element types, or whose result says nothing of theirs."""

CHOOSERS = {**layout_choices.CHOOSERS, **systems.CHOOSERS, **band_choices.CHOOSERS}

Known = Sequence[TensorType | None]
Choice = tuple[str, list[TensorType]]


@dataclass(frozen=True, slots=True)
class Want:
    """What the surroundings ask of a term; None where anything will do."""

    shape: tuple[int, ...] | None = None
    dtype: str | None = None


@dataclass(frozen=True, slots=True)
class Hints:
    """What conditions ask of a spec: its letters, its factor; and of the operands: their element type, their shapes."""

    letters: str | None = None
    scale: str | None = None
    dtype: str | None = None
    shapes: tuple[tuple[int, ...] | None, ...] = ()


def choose(profile: Profile, name: str, known: Known, want: Want, text: str | None, hints: Hints) -> Choice:
    """Attribute text and operand types of one operation.

    Args:
        profile: random choices.
        name: constructor.
        known: types of the operands that are fixed.
        want: what is asked of the result.
        text: the attributes, where they are fixed.
        hints: what conditions ask.

    Raises:
        MisfitError: this draw does not fit.
    """
    op = get_op(words()[name].op)
    if op.name in ("constant", "iota"):
        return text or (_constant if op.name == "constant" else _iota)(profile, want), []
    dtypes = _operand_dtypes(profile, name, known, want, hints.dtype)
    known = _with_shapes(known, hints.shapes, dtypes)
    if op.name == "einsum":
        shapes = [t.shape if t else None for t in known]
        spec = text or draw_spec(profile, shapes, want.shape, dtypes[0], hints.letters, hints.scale)
        return spec, [TensorType(s, d) for s, d in zip(Spec.parse(spec).shapes, dtypes, strict=True)]
    first = next((t.shape for t in known if t and t.shape), None)
    if op.name == "add":
        shape = first if first is not None else want.shape if want.shape is not None else profile.shape()
        return "", [TensorType(shape, d) for d in dtypes]
    if op.name == "reshape":
        return _reshape(profile, known[0], want, text, dtypes[0])
    if Trait.ELEMENTWISE in op.traits:
        return _elementwise(profile, name, known, want, text, dtypes)
    if op.name in CHOOSERS:
        attrs = dict(parse_attrs(text)) if text else None
        rough = CHOOSERS[op.name](profile, known, want.shape, attrs)
        found = text or attribute_text(tuple((k, freeze(v)) for k, v in rough.attrs.items()))
        pairs = zip(rough.shapes, dtypes, strict=True)
        return found, [known[i] or TensorType(s, d) for i, (s, d) in enumerate(pairs)]
    return by_example(profile, name, known, want.dtype, text)


def _with_shapes(known: Known, shapes: Sequence[tuple[int, ...] | None], dtypes: Sequence[str]) -> Known:
    """Types of operands of which conditions say the shape count as known."""
    if not any(shape is not None for shape in shapes):
        return known
    asked = (None if s is None else TensorType(s, d) for s, d in zip(shapes, dtypes, strict=True))
    return [t or a for t, a in zip(known, asked, strict=True)]


def is_by_example(name: str) -> bool:
    """Whether an operation is drawn from its examples, as those are whose shapes have many parameters."""
    op = get_op(name)
    plain = name in ("constant", "iota", "einsum", "add", "reshape") or name in CHOOSERS
    return not plain and Trait.ELEMENTWISE not in op.traits


def _constant(profile: Profile, want: Want) -> str:
    if want.shape:
        raise MisfitError("a constant is a scalar")
    dtype = want.dtype or profile.main
    numbers: tuple[Any, ...] = (0.0, 1.0, -1.0, 2.0, 0.5, -0.0, 3.0, 100.0)
    if dtype == "bool":
        numbers = (True, False)
    elif "int" in dtype:
        numbers = (0, 1, 2, 3, 5) if dtype.startswith("u") else (0, 1, -1, 2, 3, -5)
    return f"{dtype} {profile.rng.choice(numbers)!r}"


def _iota(profile: Profile, want: Want) -> str:
    shape = want.shape
    if shape is None:
        shape = (profile.size(),) if profile.chance(0.6) else profile.shape(least=1)
    if not shape:
        raise MisfitError("a scalar counts nothing")
    numbers = [d for d in DTYPES if d != "bool" and "complex" not in d]
    dtype = want.dtype or (profile.main if profile.main in numbers else profile.rng.choice(numbers))
    return attribute_text((("dtype", DType(dtype)), ("shape", shape), ("dimension", profile.rng.randrange(len(shape)))))


def _reshape(profile: Profile, known: TensorType | None, want: Want, text: str | None, dtype: str) -> Choice:
    target = parse_shape(text) if text else want.shape
    if known is not None and target is None:
        target = known.shape if profile.chance(0.2) else refactored(profile, known.shape)
    if target is None:
        target = profile.shape()
    source = known.shape if known else target if profile.chance(0.15) else refactored(profile, target)
    return shape_text(target), [TensorType(source, dtype)]


def refactored(profile: Profile, shape: Sequence[int]) -> tuple[int, ...]:
    """Another shape of as many elements: dimensions merged, split, with ones added or taken away."""
    dims = list(shape)
    for _ in range(profile.rng.choice((1, 1, 2, 3))):
        kind = profile.rng.choice(("merge", "split", "split", "one", "squeeze"))
        place = profile.rng.randrange(len(dims)) if dims else 0
        if kind == "merge" and len(dims) > 1 and place:
            dims[place - 1 : place + 1] = [dims[place - 1] * dims[place]]
        elif kind == "split" and dims and dims[place] > 1:
            parts = [d for d in range(2, dims[place] + 1) if dims[place] % d == 0]
            part = profile.rng.choice(parts)
            dims[place : place + 1] = [part, dims[place] // part]
        elif kind == "one" and len(dims) < 5:
            dims.insert(place, 1)
        elif kind == "squeeze" and 1 in dims:
            dims.remove(1)
    return tuple(dims)


_CONVERSIONS = ("float64", "float32", "bfloat16", "int32", "bool", "uint8", "int64", "complex64")


def _elementwise(profile: Profile, name: str, known: Known, want: Want, text: str | None, dtypes: list[str]) -> Choice:
    shapes = [t.shape for t in known if t is not None and t.shape]
    shape = want.shape if want.shape is not None else shapes[0] if shapes else profile.shape()
    operands = [known[i] or TensorType(shape, d) for i, d in enumerate(dtypes)]
    free = [i for i, t in enumerate(known) if t is None]
    if len(operands) > 1 and free and profile.chance(0.12):
        i = profile.rng.choice(free)
        operands[i] = TensorType((), operands[i].dtype)
    return text or _attributes(profile, name, operands, want), operands


def _attributes(profile: Profile, name: str, operands: Sequence[TensorType], want: Want) -> str:
    """Attributes of an elementwise operation."""
    op = get_op(words()[name].op)
    if not words()[name].constructor.has_text:
        return ""
    values: dict[str, Any] = {}
    if op.name == "convert_element_type":
        values = {"new_dtype": DType(want.dtype or profile.rng.choice(_CONVERSIONS))}
    elif op.name == "integer_pow":
        values = {"y": profile.rng.choice((2, 3, 2, 4, -1, -2, 5, 1, 0))}
    else:
        values = dict(profile.rng.choice(op.examples).attrs)
    return attribute_text(tuple((k, freeze(v)) for k, v in values.items()))


def _operand_dtypes(profile: Profile, name: str, known: Known, want: Want, hinted: str | None) -> list[str]:
    """An element type for each operand."""
    op = get_op(words()[name].op)
    count = len(known)
    if op.name == "select_n":
        fixed = next((t.dtype for t in known[1:] if t), None)
        first = known[0].dtype if known[0] else "bool" if count == 3 else "int32"
        return [first] + [fixed or want.dtype or profile.dtype()] * (count - 1)
    fixed = next((t.dtype for t in known if t), None)
    if op.name == "pow" and count == 2:
        base = known[0].dtype if known[0] else want.dtype or profile.main
        other = known[1].dtype if known[1] else "int32" if known[0] is None and profile.chance(0.2) else base
        return [base, other]
    if op.name in ("take", "dynamic_slice_in_dim"):
        return [known[0].dtype if known[0] else want.dtype or profile.dtype(), known[1].dtype if known[1] else "int32"]
    if op.name in systems.DTYPES:
        held = fixed if fixed not in (None, "int32") else want.dtype or profile.dtype()
        return [d or str(held) for d in systems.DTYPES[op.name]]
    if fixed is not None:
        return [fixed] * count
    if op.name in CONVERSIONS:
        return [profile.dtype() if profile.chance(0.6) else profile.other]
    table = results(name)
    if not table:
        return [want.dtype or profile.dtype()] * count
    taken = fitting(name, want)
    if hinted is not None and hinted in taken:
        return [hinted] * count
    if profile.main in taken and (profile.chance(0.9) or len(set(table.values())) == len(table)):
        return [profile.main] * count
    floats = [d for d in taken if d in FLOATS[:2]]
    return [profile.rng.choice(floats if floats and profile.chance(0.5) else taken)] * count


def fitting(name: str, want: Want) -> list[str]:
    """Element types of operands that an operation takes, where they are all of one, and that make what is wanted.

    Raises:
        MisfitError: there are none.
    """
    found = [d for d, result in results(name).items() if want.dtype in (None, result)]
    if not found:
        raise MisfitError(f"{words()[name].op} makes no {want.dtype}")
    return found


@functools.cache
def results(name: str) -> dict[str, str]:
    """Element type of the result by that of the operands, for operations that take operands of one element type."""
    word = words()[name]
    op = get_op(word.op)
    if op.name in ("einsum", "add"):
        return {d: d for d in DTYPES if d != "bool" or op.name == "einsum"}
    if Trait.ELEMENTWISE not in op.traits and op.name not in CHOOSERS and op.name != "reshape":
        return {}
    found: dict[str, str] = {}
    count = len(word.constructor.arguments) - word.constructor.has_text
    for example in op.examples:
        shapes = [t.shape for t in example.operands]
        if len(shapes) != count:
            shapes = shapes[:1] * count
        text = attribute_text(example.attrs) if word.constructor.has_text else ""
        for dtype in DTYPES:
            type_ = result_type(name, text, [TensorType(s, dtype) for s in shapes])
            if type_ is not None:
                found[dtype] = type_.dtype
    return found


def result_type(name: str, text: str, operands: Sequence[TensorType]) -> TensorType | None:
    """Type of a constructor's result; None when it is ill-typed or has several."""
    return _result_type(name, text, tuple(operands))


@functools.lru_cache(maxsize=20_000)
def _result_type(name: str, text: str, operands: tuple[TensorType, ...]) -> TensorType | None:
    try:
        if name in EINSUM.values():
            return get_op("einsum").infer(operands, spec=text)[0].strong()
        if name == RESHAPE:
            return get_op("reshape").infer(operands, shape=parse_shape(text))[0].strong()
        types = infer_word(name, text, operands)
    except (EgraphOptError, ValueError, KeyError):
        return None
    return types[0] if types is not None and len(types) == 1 else None
