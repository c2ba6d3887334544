# SPDX-License-Identifier: Apache-2.0
"""Sums that are equal term by term: found among the classes of an explaining saturation, whatever their length.

The e-graph collects sums up to some length only, and longer ones are put in order when a result is decoded. A sum is
opened here through all sums and multiples that its terms are equal to; two with the same terms are one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from egraph_opt.explain.evidence import Equation, Evidence
from egraph_opt.explain.terms import Term
from egraph_opt.ir.spec import Scale, Spec

MOST = 20_000
"""Sums inside of one sum that are opened."""


def join_sums(evidence: Evidence, roots: Iterable[int]) -> None:
    """Join the sums in some terms that have the same terms with the same factors, up to the last digits of these."""
    near = evidence.table.reach(roots)
    tops = _tops(evidence, near)
    opened = _definitions(evidence)
    _cut_circles(evidence, tops, opened)
    known: dict[object, int] = {}
    for t in tops:
        terms = _terms(evidence, t, opened)
        if terms is None:
            continue
        kind = evidence.table.rows[t].types
        key = kind, frozenset((c, f"{float(scale):.11g}") for c, scale in terms.items())
        other = known.setdefault(key, t)
        if evidence.classes.find(other) != evidence.classes.find(t):
            left, right = (_tree(evidence, side, opened, terms) for side in (other, t))
            evidence.add(Equation("sum", left, right))


def _tops(evidence: Evidence, near: Collection[int]) -> list[int]:
    """Sums and multiples that more than a sum reads, one for each class."""
    rows, find = evidence.table.rows, evidence.classes.find
    read = {find(a) for t in near if rows[t].op != "add" for a in rows[t].args}
    read |= {find(t) for goal in evidence.goals for t in goal}
    found = {find(t): t for t in near if rows[t].op == "add" or _is_multiple(rows[t])}
    return [t for c, t in found.items() if c in read]


def _definitions(evidence: Evidence) -> dict[int, int]:
    """For each class that is a sum, or else a multiple, the first term that says so."""
    rows, find = evidence.table.rows, evidence.classes.find
    sums: dict[int, int] = {}
    multiples: dict[int, int] = {}
    for t, row in enumerate(rows):
        if row.op == "add":
            sums.setdefault(find(t), t)
        elif _is_multiple(row):
            multiples.setdefault(find(t), t)
    return {**multiples, **sums}


def _cut_circles(evidence: Evidence, tops: Iterable[int], opened: dict[int, int]) -> None:
    """Do not open sums that lead back to themselves: such a class is a term."""
    rows, find = evidence.table.rows, evidence.classes.find
    done: set[int] = set()
    path: set[int] = set()
    stack = [find(t) for t in tops]
    while stack:
        c = stack.pop()
        if c < 0:
            path.discard(~c)
            done.add(~c)
        elif c in path:
            opened.pop(c, None)
        elif c not in done and c in opened:
            path.add(c)
            stack += [~c, *(find(a) for a in rows[opened[c]].args)]


def _is_multiple(row: Term) -> bool:
    if row.op != "einsum" or len(row.args) != 1:
        return False
    spec = Spec.parse(row.attrs)
    return spec.inputs[0] == spec.output and spec.is_permutation


def _terms(evidence: Evidence, t: int, opened: Mapping[int, int]) -> dict[int, Scale] | None:
    """Classes that a sum is made of, with their factors; None where these are too many."""
    rows, find = evidence.table.rows, evidence.classes.find
    left: dict[int, Scale] = {find(t): 1}
    found: dict[int, Scale] = {}
    for _ in range(MOST):
        if not left:
            return found
        c, scale = left.popitem()
        if c not in opened:
            found[c] = found.get(c, 0) + scale
            continue
        row = rows[opened[c]]
        if row.op == "einsum":
            scale = scale * Spec.parse(row.attrs).scale
        for a in row.args:
            left[find(a)] = left.get(find(a), 0) + scale
    return None


def _tree(evidence: Evidence, t: int, opened: Mapping[int, int], terms: Mapping[int, Scale]) -> int:
    """A sum opened down to its terms, each spelled by the one term that stands for its class."""
    table, find = evidence.table, evidence.classes.find
    made: dict[int, int] = {c: c for c in terms}
    stack = [find(t)]
    while stack:
        c = stack[-1]
        if c in made:
            stack.pop()
            continue
        row = table.rows[opened[c]]
        missing = [find(a) for a in row.args if find(a) not in made]
        stack += missing
        if not missing:
            made[c] = table.add(row.op, row.attrs, [made[find(a)] for a in row.args], row.types)
    return made[find(t)]
