# SPDX-License-Identifier: Apache-2.0
"""Sums split for rules about sums: two terms that a rule may match beside all others, wherever they stand.

A sum of n terms stands in the e-graph as one tree, so a pattern ``(Add (Log ?x) (Log ?y))`` sees neighbours only. For
patterns whose operands tell enough to be looked for, the sum is also written as the two terms that fit, and the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from egraph_opt.engine.naming import Names
from egraph_opt.engine.rule import Rule
from egraph_opt.engine.sexpr import Expr, Form
from egraph_opt.engine.snapshot import ENode
from egraph_opt.engine.words import ADD, words
from egraph_opt.ir.spec import Scale

MOST = 4
"""Splits of one sum for one pattern."""

MOST_TERMS = 12
"""Terms of the sums that are split."""

DEPTH = 3
"""How far below a term its e-nodes are compared with the pattern."""

Classes = Sequence[Sequence[ENode]]


@dataclass(frozen=True, slots=True)
class Split:
    """Operands of a sum in the left side of a rule; None for a variable, which stands for all other terms.

    Args:
        first: pattern of the first operand.
        second: of the second.
    """

    first: Form | None
    second: Form | None


def splits_of(rules: Iterable[Rule]) -> tuple[Split, ...]:
    """Sums in left sides that are worth looking for: one of their operands tells what operation it is about."""
    found: dict[str, Split] = {}
    for rule in rules:
        meaning = {
            str(fact[1]): fact[2]
            for fact in rule.facts
            if isinstance(fact, Form) and len(fact) == 3 and fact[0] == "=" and _is_term(fact[2])
        }
        for form in (f for fact in rule.facts for f in _sums(fact)):
            first, second = (_telling(meaning.get(str(x), x) if isinstance(x, str) else x) for x in form[1:3])
            if first is not None or second is not None:
                found.setdefault(f"{first} {second}", Split(first, second))
    return tuple(found.values())


def split_sum(
    splits: Sequence[Split],
    terms: Mapping[int, Scale],
    classes: Classes,
    done: set[object],
    names: Names,
    tree: Callable[[list[tuple[int, Scale]]], int],
) -> list[int]:
    """Trees of a sum with two terms side by side; where it has two terms only, they are neighbours anyway.

    Args:
        splits: what rules look for.
        terms: classes with their factors.
        classes: of the e-graph.
        done: what was written before; added to.
        names: numbers of the classes.
        tree: gives the number of a tree of numbered, scaled terms.
    """
    summands = {t: k for t, k in terms.items() if k != 0}
    if not 2 < len(summands) <= MOST_TERMS:
        return []
    found: list[int] = []
    for pair in (p for split in splits for p in pairs(split, [t for t, k in summands.items() if k == 1], classes)):
        rest = sorted((names.of(t), k) for t, k in summands.items() if t not in pair)
        mark = (tuple(None if t is None else names.of(t) for t in pair), tuple(rest))
        if mark in done:
            continue
        done.add(mark)
        others = tree(rest)
        sides = [others if t is None else names.of(t) for t in pair]
        both = names.make(ADD, "", (sides[0], sides[1]))
        found.append(both if None in pair else names.make(ADD, "", (both, others)))
    return found


def pairs(split: Split, terms: Sequence[int], classes: Classes) -> Iterator[tuple[int | None, int | None]]:
    """Terms that fit the operands; None in the place of a variable."""
    fit = [
        [None] if pattern is None else [t for t in terms if matches(pattern, t, classes)]
        for pattern in (split.first, split.second)
    ]
    found = ((a, b) for a in fit[0] for b in fit[1] if a != b)
    yield from (pair for pair, _ in zip(found, range(MOST), strict=False))


def matches(pattern: Expr, c: int, classes: Classes, depth: int = DEPTH) -> bool:
    """Whether an e-node of a class looks like a pattern, variables standing for anything."""
    if not _is_term(pattern) or depth == 0:
        return True
    assert isinstance(pattern, Form)
    for node in classes[c]:
        inner = pattern[1:] if len(pattern) == len(node.children) + 1 else pattern[2:]
        fits = node.constructor == pattern[0] and len(inner) == len(node.children)
        if fits and all(matches(p, q, classes, depth - 1) for p, q in zip(inner, node.children, strict=True)):
            return True
    return False


def _sums(expr: Expr) -> Iterator[Form]:
    if isinstance(expr, Form):
        if expr and expr[0] == ADD and len(expr) == 3:
            yield expr
        for item in expr:
            yield from _sums(item)


def _telling(expr: Expr) -> Form | None:
    """A pattern that says which operation it is about; None for one that fits nearly every term."""
    return expr if isinstance(expr, Form) and any(head not in _COMMON for head in _heads(expr)) else None


_COMMON = frozenset({ADD, "Einsum1", "Einsum2", "Constant", "Reshape"})


def _heads(expr: Expr) -> Iterator[str]:
    if isinstance(expr, Form):
        if _is_term(expr):
            yield str(expr[0])
        for item in expr[1:]:
            yield from _heads(item)


def _is_term(expr: Expr) -> bool:
    return isinstance(expr, Form) and bool(expr) and expr[0] in words()
