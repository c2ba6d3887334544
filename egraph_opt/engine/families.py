# SPDX-License-Identifier: Apache-2.0
"""Families of rules: one rule as text for every operation with some traits.

A template is a rule with the constructor ``Op`` in it and ``:over "traits"``. It stands for one rule for each operation
that has all of the traits (``ops.op.Trait``, in lower case; a ``not-`` before one that it must lack), as many operands
as ``unary``, ``binary`` or ``ternary`` says, and no attributes in use.
"""

from __future__ import annotations

from collections.abc import Iterator

from egraph_opt.engine.sexpr import Expr, Form
from egraph_opt.errors import RuleError
from egraph_opt.ops import Op, Trait, all_ops

PLACEHOLDER = "Op"
ARITIES = {"unary": 1, "binary": 2, "ternary": 3}


def expanded(form: Form, path: str) -> Iterator[tuple[Form, str]]:
    """The rules that a form stands for, each with the constructor it is for, "" for a form that is no template.

    Raises:
        RuleError: the traits are not known, no operation has them, or ``Op`` does not occur.
    """
    places = [i for i, item in enumerate(form) if item == ":over"]
    if not places or places[0] + 1 == len(form):
        yield form, ""
        return
    start = places[0]
    words = str(form[start + 1]).strip('"')
    where = f"{path}:{form.line}"
    rest = Form((*form[:start], *form[start + 2 :]), form.line)
    if str(_replaced(rest, "")) == str(rest):
        raise RuleError(f"{where}: ':over' without {PLACEHOLDER}; write ({PLACEHOLDER} ?x) for the operation")
    for op in operations(words, where):
        replaced = _replaced(rest, op.constructor)
        assert isinstance(replaced, Form), "a form stays one"
        yield replaced, op.constructor


def operations(words: str, where: str) -> list[Op]:
    """Operations that a ``:over`` text selects.

    Raises:
        RuleError: a word is not known, or there are none.
    """
    traits = {trait.name.lower().replace("_", "-"): trait for trait in Trait}
    chosen = [op for op in all_ops().values() if op.arity and not _has_text(op)]
    for word in words.split():
        name = word.removeprefix("not-")
        if word in ARITIES:
            chosen = [op for op in chosen if op.arity == ARITIES[word]]
        elif name in traits:
            chosen = [op for op in chosen if (traits[name] in op.traits) == (word == name)]
        else:
            known = ", ".join([*ARITIES, *traits])
            raise RuleError(f"{where}: ':over' does not know {word!r}; there are {known}, and not- before a trait")
    if not chosen:
        raise RuleError(f"{where}: ':over' {words!r} selects no operation")
    return chosen


def _has_text(op: Op) -> bool:
    return any(value is not None for example in op.examples for _, value in example.attrs)


def _replaced(expr: Expr, constructor: str) -> Expr:
    if isinstance(expr, str):
        return expr
    items = [_replaced(item, constructor) for item in expr]
    if items and items[0] == PLACEHOLDER:
        items[0] = constructor
    return Form(tuple(items), expr.line)
