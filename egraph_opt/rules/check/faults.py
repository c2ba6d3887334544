# SPDX-License-Identifier: Apache-2.0
"""Looks for values of one class that differ, after a rule has run on a batch of instances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from egraph_opt.engine.facts import DTYPE, FROZEN, SHAPE
from egraph_opt.engine.rule import Rule
from egraph_opt.engine.sexpr import Form
from egraph_opt.engine.snapshot import ENode
from egraph_opt.engine.words import words
from egraph_opt.ir import TensorType
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.reshapes import shape_text
from egraph_opt.ir.spec import Spec
from egraph_opt.rules.check.asked import is_literal, unquote
from egraph_opt.rules.check.cases import Place
from egraph_opt.rules.check.draws import Array, Style
from egraph_opt.rules.check.evaluate import EvaluationError, Reading
from egraph_opt.rules.check.instances import Instance, leaves
from egraph_opt.rules.check.judge import ROUNDINGS, Wide, differ, differ_exactly, moved_by, same_bits
from egraph_opt.rules.check.premises import constructors
from egraph_opt.rules.check.trial import Candidate, Outcome, candidates
from egraph_opt.rules.check.valuation import Valuation, magnitude

Pair = tuple[Array, Array]

POLYNOMIAL = frozenset(
    {
        "einsum",
        "add",
        "reshape",
        "slice",
        "pad",
        "concatenate",
        "rev",
        "tile",
        "stack",
        "copy",
        "stop_gradient",
        "assume",
    }
)
"""Operations that compute sums of products, or nothing: rules about them alone hold in every ring."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that a rule says and that is not so.

    Args:
        case: number of the instance.
        node: position in it of the original node.
        made: what the rule made; its children are e-classes. None when it united two original nodes or set a fact.
        other: case and position of the other original node.
        problem: what is wrong, in one line.
    """

    case: int
    node: int
    made: ENode | None
    other: Place | None
    problem: str


def is_polynomial(rule: Rule) -> bool:
    """Whether a rule is about sums of products and moved elements alone."""
    return all(words()[name].op in POLYNOMIAL for name in constructors(rule))


def find_faults(outcome: Outcome, rule: Rule) -> Iterator[Fault]:
    """Everything that is wrong in a batch."""
    for candidate in candidates(outcome):
        problem = _compare(outcome.valuation, rule, candidate)
        if problem:
            yield Fault(*candidate.origin, candidate.made, candidate.other, problem)


def _compare(valuation: Valuation, rule: Rule, candidate: Candidate) -> str:
    """What is wrong with a candidate; "" when nothing is."""
    c, origin, made, other = candidate.cls, candidate.origin, candidate.made, candidate.other
    if made is not None and any(valuation.type(q) is None for q in made.children):
        return ""  # the fault is in the operand, and is reported there
    problem = _mistyped(valuation, candidate)
    if problem:
        return problem

    def both(reading: Reading) -> Pair | None:
        got = valuation.node(*other, reading) if other is not None else valuation.made(made, reading) if made else None
        want = valuation.node(*origin, reading) if c in valuation.members else valuation.of(c, reading)
        return (want, got) if want is not None and got is not None else None

    exact = rule.numerics is Numerics.EXACT
    try:
        pair = both(Reading.BITS if exact else Reading.PLAIN)
    except EvaluationError as error:
        return f"what it makes cannot be computed: {error}"
    if pair is None:
        return ""
    want, got = pair
    if want.shape != got.shape:
        return f"another shape: {list(got.shape)}, want {list(want.shape)}"
    if exact:
        return _described(want, got, ~same_bits(want, got), "bit for bit")
    ring = valuation.cases[origin[0]].style is Style.RING and is_polynomial(rule)
    if ring and (want.dtype.kind in "iub" or not _rounds(valuation.specs(origin[0], made))):
        return _described(want, got, differ_exactly(want, got), "in exact arithmetic")
    return _described(want, got, _beyond_rounding(valuation, rule, candidate, (want, got), both), "beyond rounding")


def _beyond_rounding(
    valuation: Valuation, rule: Rule, candidate: Candidate, pair: Pair, both: Callable[[Reading], Pair | None]
) -> Array:
    """Where a candidate is not the original, as far as rounding goes and as the rule's class has it."""
    origin, made, (want, got) = candidate.origin, candidate.made, pair
    type_ = _type(valuation, candidate)
    assert type_ is not None

    def again(converted: bool) -> Wide | None:
        reading = Reading.WIDE if converted else Reading.REAL
        found = both(reading)
        if found is None:
            return None
        left = ROUNDINGS * valuation.left_over(origin[0], made, want.shape, reading)
        moved = None if converted else both(Reading.MOVED)
        return Wide(*found, left + (moved_by(found, moved) if moved is not None else 0))

    scale = max(magnitude(want), magnitude(got), *map(valuation.scale, made.children if made else ()))
    narrow = valuation.narrow and valuation.cases[origin[0]].style is not Style.WIDE
    wrong = differ(want, got, type_.dtype, scale, rule.numerics, again, narrow)
    if rule.numerics is Numerics.FINITE:
        places = valuation.finite_places(*origin)
        wrong = wrong & (places if places.shape == wrong.shape else bool(places.all()))
        valuation.judged |= bool(places.any())
        valuation.left_out |= not places.all()
    return wrong


def _type(valuation: Valuation, candidate: Candidate) -> TensorType | None:
    k, n = candidate.origin
    in_class = candidate.cls in valuation.members
    return valuation.cases[k].instance.nodes[n].type if in_class else valuation.type(candidate.cls)


def _mistyped(valuation: Valuation, candidate: Candidate) -> str:
    made, other = candidate.made, candidate.other
    want = _type(valuation, candidate)
    if other is not None:
        got: TensorType | None = valuation.cases[other[0]].instance.nodes[other[1]].type
    else:
        assert made is not None
        got = valuation.made_type(made)
        if got is None:
            types = " and ".join(str(valuation.type(q)) for q in made.children)
            return f"what it makes is ill-typed: {made.constructor} {made.text!r} of {types}"
    return "" if want == got else f"another type: {got}, want {want}"


def false_fact(rule: Rule, number: int, made: Instance) -> Fault | None:
    """A fact that a rule sets of an instance and that is not true there."""
    for action in rule.actions:
        if not isinstance(action, Form) or len(action) < 2:
            continue
        term = action[1]
        if action[0] == FROZEN and str(term) in made.tensors:
            n = made.tensors[str(term)]
            if leaves(made, n) - made.frozen:
                return Fault(number, n, None, None, f"it says that {term} is frozen, but an input of it is not")
        if action[0] == "set" and isinstance(term, Form) and term[0] in (SHAPE, DTYPE) and str(term[1]) in made.tensors:
            n, said = made.tensors[str(term[1])], str(action[2])
            type_ = made.nodes[n].type
            true = shape_text(type_.shape) if term[0] == SHAPE else type_.dtype
            claimed = unquote(said) if is_literal(said) else made.texts.get(said)
            if claimed is not None and claimed != true:
                return Fault(number, n, None, None, f"it says ({term[0]} {term[1]}) is {claimed!r}; it is {true!r}")
    return None


def _rounds(texts: list[str]) -> bool:
    """Whether a factor is no short binary fraction, so that products with it round."""
    for text in texts:
        scale = Spec.parse(text).scale
        if isinstance(scale, float) and (scale * 1024) % 1 != 0:
            return True
    return False


def _described(want: Array, got: Array, wrong: Array, how: str) -> str:
    """The first place where two values differ, or "" when they agree."""
    places = np.argwhere(np.atleast_1d(wrong))
    if not len(places):
        return ""
    place = tuple(int(i) for i in places[0][: want.ndim])
    at = f" at [{', '.join(map(str, place))}]" if place else ""
    pair = np.asarray(want[place]), np.asarray(got[place])
    before, after = map(_number, pair)
    if before == after:
        before, after = (repr(value.item()) for value in pair)  # they differ in the last bits
    return f"values differ {how}: {before} before, {after} after{at}"


def _number(value: Any) -> str:
    item = float(value.astype(np.float32)) if value.dtype.kind == "V" else value.item()
    return f"{item:.9g}" if isinstance(item, float) else str(item)
