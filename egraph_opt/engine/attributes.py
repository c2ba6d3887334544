# SPDX-License-Identifier: Apache-2.0
"""Attribute functions: static facts that rules ask for and Python computes.

A rule writes ``(= ?r (compose ?s ?t))`` or a guard ``(shrinks ?s 0)``. The engine collects the argument tuples that
matched, calls the function here, and stores its rows; a missing row means the rule does not apply. Functions are pure,
so a row never changes. One record each; adding a function is adding a row at the end of this file, or ``register``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from egraph_opt.errors import RuleError
from egraph_opt.ir import spec_algebra
from egraph_opt.ir.reshapes import parse_shape, shape_text, split_result
from egraph_opt.ir.spec import Scale, Spec, canonical, identity

Argument = str | int
Result = None | bool | str | Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AttributeFunction:
    """A function that rules may call.

    Args:
        name: as rules spell it.
        arguments: sort of each argument, ``"String"`` or ``"i64"``.
        outputs: names of the results, written ``name.output`` in rules; empty for a guard, ``("",)`` for one result.
        call: ``call(*arguments)``: None where the function is undefined; a bool for a guard; text for one result; a
            mapping from output name to text for several, outputs left out being undefined.
        doc: one line.
    """

    name: str
    arguments: tuple[str, ...]
    outputs: tuple[str, ...]
    call: Callable[..., Result]
    doc: str

    def tables(self) -> list[tuple[str, bool]]:
        """Names of the egglog tables and whether each is a function with a text result."""
        if not self.outputs:
            return [(self.name, False)]
        return [(f"{self.name}.{output}" if output else self.name, True) for output in self.outputs]


def _pure_cases(pure: spec_algebra.Pure) -> Result:
    """Rows of a product in normal form, by shape: plain, with a spec after it, or with specs all around."""
    core, before_x, before_y, post = pure
    if before_x is None and before_y is None:
        return {"plain": core} if post is None else {"core": core, "post": post}
    spec = Spec.parse(core)
    return {
        "inner": core,
        "before-x": before_x or identity(spec.shapes[0]),
        "before-y": before_y or identity(spec.shapes[1]),
        "after": post or identity(spec.shape),
    }


def _compose(outer: str, inner: str) -> Result:
    return spec_algebra.compose(outer, inner) if spec_algebra.mergeable(outer, inner) else None


def _compose_product(outer: str, inner: str) -> Result:
    pure = spec_algebra.compose_product(outer, inner)
    if pure.core == inner and pure.before_x is None and pure.before_y is None:
        return None
    return _pure_cases(pure)


def _is_one_way_copy(text: str) -> bool:
    """A copy that readers see through: what a diagonal is read from may be dearer than the diagonal."""
    spec = Spec.parse(text)
    return spec.is_copy and len(set(spec.inputs[0])) == len(spec.inputs[0]) and not _is_link(text)


def _is_link(spec: str) -> bool:
    """Whether the einsum can be undone: a transpose or an exact multiple."""
    return spec_algebra.inverse(spec) is not None


def _untranspose(link: str, product: str) -> Result:
    back = spec_algebra.inverse(link)
    if back is None or Spec.parse(link).scale != 1:
        return None
    return spec_algebra.compose_product(back, product).core


def _absorb_link(outer: str, inner: str, position: int) -> Result:
    return _pure_cases(spec_algebra.absorb(outer, inner, position)) if _is_link(inner) else None


def _absorb(outer: str, inner: str, position: int) -> Result:
    if not Spec.parse(inner).is_copy or _is_link(inner) or not spec_algebra.mergeable(outer, inner):
        return None
    pure = spec_algebra.absorb(outer, inner, position)
    if inner in (pure.before_x, pure.before_y) and pure.post is None:
        return None
    return _pure_cases(pure)


REGROUP_SLACK = 1.02
"""How much dearer another grouping may be: of ``u'(K'e) = (K u)'e`` that one may be better that shares ``K u``."""


def _regroup(outer: str, inner: str, position: int, keep: int) -> Result:
    found = spec_algebra.regroup(outer, inner, position, keep, REGROUP_SLACK)
    return {"pair": found[0], "rest": found[1]} if found else None


def _merge_frozen(outer: str, inner: str, position: int, keep: int) -> Result:
    found = spec_algebra.regroup(outer, inner, position, keep, math.inf)
    if not found or Spec.parse(found[1]).flops > Spec.parse(outer).flops + Spec.parse(inner).flops:
        return None
    return {"pair": found[0], "rest": found[1]}


def _split_result(shape: str, spec: str) -> Result:
    found = split_result(spec, parse_shape(shape))
    if found is None:
        return None
    x, y = (shape_text(s) if s is not None else "" for s in (*found.shapes, None)[:2])
    if x and y:
        return {"both": found.spec, "both-x": x, "both-y": y}
    if x:
        return {"left": found.spec, "left-x": x}
    return {"right": found.spec, "right-y": y} if y else {"none": found.spec}


def _letters(spec: str) -> Result:
    return str(Spec.parse(spec)).partition(";")[0]


def _make_spec(letters: str, shapes: Sequence[str], scale: str = "1") -> Result:
    """The spec of plain letters over operands of given shapes; None where they do not fit."""
    left, _, output = letters.partition("->")
    words = left.split(",")
    sizes: dict[str, int] = {}
    for word, shape in zip(words, map(parse_shape, shapes), strict=True):
        if len(word) != len(shape):
            return None
        for letter, size in zip(word, shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                return None
    if not set(output) <= set(sizes):
        return None
    return canonical(words, output, sizes, _number(scale))


def _number(text: str) -> Scale:
    return float(text) if any(c in text for c in ".einf") else int(text)


def _rescale(spec: str, factor: str) -> Result:
    parsed = Spec.parse(spec)
    scale = parsed.scale * _number(factor)
    return canonical(parsed.inputs, parsed.output, parsed.sizes, scale) if spec_algebra.is_factor(scale) else None


def _shrinks_sum(spec: str) -> Result:
    parsed = Spec.parse(spec)
    return parsed.count(parsed.output) <= parsed.count(parsed.inputs[0])


_S, _I = "String", "i64"

FUNCTIONS: dict[str, AttributeFunction] = {
    f.name: f
    for f in (
        AttributeFunction("compose", (_S, _S), ("",), _compose, "spec of einsum after einsum"),
        AttributeFunction(
            "compose-product",
            (_S, _S),
            ("plain", "core", "post", "inner", "before-x", "before-y", "after"),
            _compose_product,
            "spec of an einsum after a product, where the product changes",
        ),
        AttributeFunction(
            "absorb",
            (_S, _S, _I),
            ("plain", "core", "post", "inner", "before-x", "before-y", "after"),
            _absorb,
            "spec of a product one of whose operands is a copying einsum",
        ),
        AttributeFunction(
            "absorb-link",
            (_S, _S, _I),
            ("plain", "core", "post"),
            _absorb_link,
            "spec of a product one of whose operands is a transpose or an exact multiple",
        ),
        AttributeFunction("link", (_S,), (), _is_link, "the spec is a transpose or an exact multiple"),
        AttributeFunction(
            "one-way-copy",
            (_S,),
            (),
            _is_one_way_copy,
            "the spec sums nothing, reads no diagonal and cannot be undone",
        ),
        AttributeFunction("untranspose", (_S, _S), ("",), _untranspose, "product spec whose transpose is undone"),
        AttributeFunction(
            "regroup",
            (_S, _S, _I, _I),
            ("pair", "rest"),
            _regroup,
            "another grouping of three operands, if hardly dearer",
        ),
        AttributeFunction(
            "merge-frozen",
            (_S, _S, _I, _I),
            ("pair", "rest"),
            _merge_frozen,
            "another grouping of three operands whose new pair is free: what is left is no dearer",
        ),
        AttributeFunction(
            "split-result",
            (_S, _S),
            ("both", "both-x", "both-y", "left", "left-x", "right", "right-y", "none"),
            _split_result,
            "spec of an einsum whose result is reshaped by splitting, and how its operands are reshaped",
        ),
        AttributeFunction("letters", (_S,), ("",), _letters, "a spec without sizes and factor: `ab,bc->ac`"),
        AttributeFunction(
            "scale-of", (_S,), ("",), lambda s: str(Spec.parse(s).scale), "the factor of a spec: `2`, `-0.5`"
        ),
        AttributeFunction("rescale", (_S, _S), ("",), _rescale, "the spec with its factor multiplied"),
        AttributeFunction(
            "spec1", (_S, _S), ("",), lambda letters, x: _make_spec(letters, (x,)), "spec from letters and a shape"
        ),
        AttributeFunction(
            "spec2",
            (_S, _S, _S),
            ("",),
            lambda letters, x, y: _make_spec(letters, (x, y)),
            "spec of a product from letters and two shapes",
        ),
        AttributeFunction(
            "constant-value",
            (_S,),
            ("",),
            lambda text: text.partition(" ")[2],
            "the number of a scalar constant's text",
        ),
        AttributeFunction(
            "constant-text", (_S, _S), ("",), lambda dtype, value: f"{dtype} {value}", "text of a scalar constant"
        ),
        AttributeFunction("swap", (_S,), ("",), spec_algebra.swap, "the product with its operands exchanged"),
        AttributeFunction(
            "further-sum", (_S, _S), ("",), spec_algebra.further_sum, "sum from one result of two operands to another"
        ),
        AttributeFunction("relate", (_S, _S), ("",), spec_algebra.relate, "permutation between two results"),
        AttributeFunction("is-identity", (_S,), (), lambda s: Spec.parse(s).is_identity, "the spec changes nothing"),
        AttributeFunction("is-copy", (_S,), (), lambda s: Spec.parse(s).is_copy, "the spec sums nothing"),
        AttributeFunction("shrinks", (_S, _I), (), spec_algebra.shrinks, "the result is smaller than the operand"),
        AttributeFunction(
            "writes-diagonal",
            (_S,),
            (),
            lambda s: len(set(Spec.parse(s).output)) < len(Spec.parse(s).output),
            "the result is zero off a diagonal",
        ),
        AttributeFunction("not-larger", (_S,), (), _shrinks_sum, "the result is no larger than the operand"),
    )
}


_OWN: set[str] = set()


def register(function: AttributeFunction) -> None:
    """Add a function that rules may then call; registering one again replaces it, unless it is shipped.

    Raises:
        RuleError: a shipped function has this name.
    """
    if function.name not in _OWN and function.name in FUNCTIONS:
        raise RuleError(f"attribute function {function.name!r} is shipped; give yours another name")
    _OWN.add(function.name)
    FUNCTIONS[function.name] = function


def ship(*functions: AttributeFunction) -> None:
    """Add shipped functions of another theme."""
    FUNCTIONS.update({function.name: function for function in functions})


def is_shipped(name: str) -> bool:
    """Whether a function comes with the package."""
    return name in FUNCTIONS and name not in _OWN
