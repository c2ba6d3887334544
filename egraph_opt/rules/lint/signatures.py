# SPDX-License-Identifier: Apache-2.0
"""What may stand in a rule: every head with the sorts of its arguments, and how others' words are spelled here."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from egraph_opt.engine.attributes import FUNCTIONS
from egraph_opt.engine.words import vocabulary

TENSOR, TEXT, NUMBER = "T", "String", "i64"
MEANING = {TENSOR: "a tensor", TEXT: "text", NUMBER: "a number"}

FACTS: dict[str, tuple[tuple[str, ...], str]] = {
    "shape": ((TENSOR,), TEXT),
    "dtype": ((TENSOR,), TEXT),
    "frozen": ((TENSOR,), ""),
    "open-sum": ((TENSOR, TENSOR), ""),
    "is": ((TEXT, TENSOR), ""),
    "band": ((TENSOR,), TEXT),
    "ordering-max": ((TENSOR, TENSOR), TENSOR),
    "ordering-min": ((TENSOR, TENSOR), TENSOR),
}
"""Facts about tensors and functions of the engine: sorts of their arguments, and of their value where they have one."""

ACTIONS = ("union", "set", "delete", "subsume")

SPELLINGS = {
    "Mul": 'a product is an einsum: (Einsum2 ?s ?x ?y), with (= "ab,ab->ab" (letters ?s)) for two matrices',
    "Times": 'a product is an einsum: (Einsum2 ?s ?x ?y), with (= "ab,ab->ab" (letters ?s)) for two matrices',
    "MatMul": 'a matrix product is an einsum: (Einsum2 ?s ?x ?y), with (= "ab,bc->ac" (letters ?s))',
    "Dot": 'a matrix product is an einsum: (Einsum2 ?s ?x ?y), with (= "ab,bc->ac" (letters ?s))',
    "DotGeneral": 'a contraction is an einsum: (Einsum2 ?s ?x ?y), with (= "ab,bc->ac" (letters ?s))',
    "Einsum": "an einsum is Einsum1 or Einsum2, by its operands: (Einsum1 ?s ?x), (Einsum2 ?s ?x ?y)",
    "Transpose": 'a transpose is an einsum: (Einsum1 ?s ?x), with (= "ab->ba" (letters ?s))',
    "BroadcastInDim": 'a broadcast is an einsum: (Einsum1 ?s ?x), with (= "a->ab" (letters ?s))',
    "Broadcast": 'a broadcast is an einsum: (Einsum1 ?s ?x), with (= "a->ab" (letters ?s))',
    "Sum": 'a sum over axes is an einsum: (Einsum1 ?s ?x), with (= "ab->a" (letters ?s))',
    "ReduceSum": 'a sum over axes is an einsum: (Einsum1 ?s ?x), with (= "ab->a" (letters ?s))',
    "Trace": 'a trace is an einsum: (Einsum1 ?s ?x), with (= "aa->" (letters ?s))',
    "Diag": 'a diagonal is an einsum: (Einsum1 ?s ?x), with (= "aa->a" (letters ?s)) or (= "a->aa" (letters ?s))',
    "Sub": 'x - y is (Add ?x (Einsum1 ?s ?y)), with (= "-1" (scale-of ?s))',
    "Neg": '-x is an einsum with a factor: (Einsum1 ?s ?x), with (= "-1" (scale-of ?s))',
    "Scale": 'k x is an einsum with a factor: (Einsum1 ?s ?x), with (= "2" (scale-of ?s))',
    "Square": 'x^2 is a product: (Einsum2 ?s ?x ?x), with (= "ab,ab->ab" (letters ?s)) for a matrix',
    "Divide": "x / y is (Div ?x ?y); over a constant it is an einsum with a factor",
    "Concatenate": "one constructor for each count: (Concatenate2 ?t ?x ?y), (Concatenate3 ?t ?x ?y ?z)",
    "Identity": 'an identity matrix is an einsum of one: (Einsum1 ?s (Constant ?k)), with (= "->aa" (letters ?s))',
    "Eye": 'an identity matrix is an einsum of one: (Einsum1 ?s (Constant ?k)), with (= "->aa" (letters ?s))',
}
"""How things are spelled that have another name elsewhere."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A head.

    Args:
        arguments: sorts.
        result: sort of its value, "" for a condition.
        kind: "constructor", "function" or "fact".
    """

    arguments: tuple[str, ...]
    result: str
    kind: str


def signature(head: str) -> Signature | None:
    """The signature of a head; None when there is none of this name."""
    constructor = vocabulary().get(head)
    if constructor is not None:
        return Signature(constructor.arguments, TENSOR, "constructor")
    if head in FACTS:
        return Signature(*FACTS[head], "fact")
    name, _, output = head.partition(".")
    function = FUNCTIONS.get(name)
    if function is None or (output not in function.outputs and (output or function.outputs)):
        return None
    return Signature(function.arguments, TEXT if function.outputs else "", "function")


def unknown(head: str, actions: bool = False) -> str:
    """What is wrong with a head that has no signature, and what may have been meant."""
    if head in SPELLINGS:
        return f"there is no constructor {head}: {SPELLINGS[head]}"
    name, _, output = head.partition(".")
    if name in FUNCTIONS:
        outputs = [f"{name}.{o}" if o else name for o in FUNCTIONS[name].outputs]
        if not output:
            return f"{name} has several results; name one of {', '.join(outputs)}"
        return f"{name} has no result {output!r}{nearest(head, outputs or [name])}"
    kind = "constructor" if head[:1].isupper() else "action" if actions else "attribute function or fact"
    known = [*vocabulary(), *FACTS, *FUNCTIONS] + (list(ACTIONS) if actions else [])
    return f"there is no {kind} {head!r}{nearest(head, known)}"


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean ...?`` with the closest known words, or what there is when nothing is close and it is short."""
    words = list(dict.fromkeys(known))
    lower = {w.lower(): w for w in reversed(words)}
    close = [lower[w] for w in difflib.get_close_matches(word.lower(), lower, 2, 0.6)]
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; there are {', '.join(words)}" if len(words) <= 6 else ""
