# SPDX-License-Identifier: Apache-2.0
"""n-ary sums: flattened, collected, sorted and factored outside the e-graph.

Associativity and commutativity of addition as rules make 2^n e-nodes of n terms. Here a sum is read out of the snapshot
as a list of terms with coefficients, equal terms are collected, and two trees are put back: the canonical one (equal
sums become equal classes) and factored ones (``x a + x b = x (a + b)`` where that saves operations).
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from egraph_opt.engine.facts import OPEN_SUM
from egraph_opt.engine.naming import Names
from egraph_opt.engine.snapshot import ENode
from egraph_opt.engine.splits import Split, split_sum
from egraph_opt.engine.words import ADD
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.spec import Scale, Spec, identity
from egraph_opt.ir.spec_algebra import is_factor, swap, turned

MAX_TERMS = 200
MAX_MADE = 3_000
"""E-nodes that one step may make; the sums that are left have their turn in the next one."""

Terms = dict[int, Scale]
Parts = tuple[tuple[int, Scale], ...]
"""Numbers of terms with their factors."""

GroupKey = tuple[str, str, int]
"""Constructor, spec with the varying operand first, class of the shared one (-1 for one operand)."""


class Member(NamedTuple):
    """A term of a group, as a product.

    Args:
        varying: the operand that the terms of the group do not share.
        scale: factor of the product in the term.
        product: as the e-graph spells it.
        link: the einsum that makes the term of the product; "" where the product is the term.
    """

    varying: int
    scale: Scale
    product: ENode
    link: str


Group = dict[int, Member]
"""Term -> what it is as a product."""


class Reading(NamedTuple):
    """How a class was read as a sum: a number of it, and what it is the sum of, with factors; no parts for a term."""

    number: int
    parts: tuple[tuple[Reading, Scale], ...]


class Sums:
    """Keeps what was done over the iterations of one saturation; classes are remembered by a node number of theirs."""

    def __init__(self, numerics: Numerics = Numerics.REASSOCIATE, splits: Sequence[Split] = ()) -> None:
        self._numerics, self._splits = numerics, splits
        self._first: dict[int, list[tuple[int, Scale]]] = {}
        self._done: dict[int, set[object]] = defaultdict(set)
        self._class_of: dict[int, int] = {}
        self._taken: dict[int, list[tuple[GroupKey, Group]]] = {}

    def step(self, names: Names) -> list[tuple[int, int]]:
        """Pairs of numbers to unite; what is to be loaded first is added to the rows of ``names``."""
        if self._numerics < Numerics.REASSOCIATE:
            return []
        snapshot = self._snapshot = names.snapshot
        self._names = names
        self._flat: dict[int, Terms] = {}
        self._class_of.clear()
        self._taken.clear()
        unions: list[tuple[int, int]] = []
        for c, nodes in enumerate(snapshot.classes):
            if not any(node.constructor == ADD for node in nodes) or snapshot.types[c] is None:
                continue  # a class without a well-founded e-node is of no use to anyone
            if names.made > MAX_MADE:
                break
            terms = self._terms(c)
            if len(terms) > MAX_TERMS or not self._is_kept(terms):
                continue
            unions += [(self._names.of(c), tree) for tree in self._trees(c, terms)]
            self._class_of[self._names.of(c)] = c
        return unions

    def reading(self, number: int) -> Reading:
        """How the last step read the class of a number that it gave for a sum."""
        top = self._class_of[number]
        terms, number_of = self._flat[top], self._snapshot.of_number

        def read(c: int) -> Reading:
            name = self._names.of(c)
            parts = [(number_of.get(n), k) for n, k in self._first.get(name, ())]
            if not parts or (c != top and c in terms) or terms == {top: 1} or any(q is None for q, _ in parts):
                return Reading(name, ())
            return Reading(name, tuple([(read(q), k) for q, k in parts if q is not None]))

        return read(top)

    def products(self, tree: int) -> dict[int, tuple[str, str, tuple[int, ...], str]]:
        """What a factored tree of the last step took terms for: number of the term -> einsum on numbers, and its link.

        The link is the einsum that makes the term of the product, "" where they are the same.
        """
        of, found = self._names.of, {}
        for _, members in self._taken.get(tree, ()):
            for term, (_, _, node, link) in members.items():
                found[of(term)] = (node.constructor, node.text, tuple([of(q) for q in node.children]), link)
        return found

    def _is_kept(self, terms: Terms) -> bool:
        """Whether the sum may be written by its coefficients: x - x is zero for finite x only."""
        zeros = self._numerics >= Numerics.FINITE
        return all((zeros and k == 0) or is_factor(k) for k in terms.values())

    def _trees(self, c: int, terms: Terms) -> list[int]:
        """Numbers of the trees that class ``c`` equals and that were not proposed before."""
        shape = self._snapshot.types[c][0].shape  # type: ignore[index]
        named = tuple(sorted((self._names.of(t), k) for t, k in terms.items() if k != 0))
        done = self._done[self._names.of(c)]
        trees: list[int] = []
        if named not in done and named:
            done.add(named)
            trees.append(self._tree(list(named), shape, opened=True))
        sizes = (named, tuple([len(self._snapshot.classes[t]) for t in terms]))
        if sizes in done:
            return trees
        done.add(sizes)
        classes = self._snapshot.classes
        trees += split_sum(self._splits, terms, classes, done, self._names, lambda parts: self._tree(parts, shape))
        groups = self._groups(terms)
        mark = tuple(sorted((key, len(group)) for key, group in groups))
        if groups and mark not in done:
            done.add(mark)
            trees += [self._factored(terms, groups, start, shape) for start in range(min(2, len(groups)))]
        return trees

    def _terms(self, c: int) -> Terms:
        """Terms of a class with their coefficients, through sums and multiples of sums."""
        known = self._flat.get(c)
        if known is None:
            self._flat[c] = {c: 1}  # what a cycle leads back to is a term
            self._flat[c] = known = self._open(c)
        return known

    def _open(self, c: int) -> Terms:
        snapshot = self._snapshot
        name = self._names.of(c)
        if name not in self._first:
            found = self._definition(c)
            if found is None:
                return {c: 1}
            self._first[name] = [(self._names.of(q), k) for q, k in found]
        parts = [(snapshot.of_number.get(n), k) for n, k in self._first[name]]
        if any(q is None or q == c or snapshot.types[q] is None for q, _ in parts):
            return {c: 1}
        total: Terms = {}
        for q, k in parts:
            assert q is not None
            for term, coefficient in self._terms(q).items():
                total[term] = total.get(term, 0) + k * coefficient
            if len(total) > MAX_TERMS:
                return total
        return self._collected(total)

    def _collected(self, terms: Terms) -> Terms:
        """Terms that are multiples of one tensor as one term: of ``x + y + (-1) x`` the ``y`` is left.

        Other multiples stay as they are: to open all of them costs more e-nodes than it finds.
        """
        met: dict[int, list[int]] = defaultdict(list)
        bases = {term: found for term in terms if (found := self._base(term)) is not None}
        for term in terms:
            met[bases[term][0] if term in bases else term].append(term)
        total: Terms = {}
        for base, members in met.items():
            for term in members:
                if len(members) == 1 or term == base:
                    total[term] = total.get(term, 0) + terms[term]
                    continue
                scale = bases[term][1]
                self._first[self._names.of(term)] = [(self._names.of(base), scale)]
                self._flat[term] = {base: scale}
                total[base] = total.get(base, 0) + terms[term] * scale
        return total

    def _base(self, term: int) -> tuple[int, Scale] | None:
        """The class that a term is a plain multiple of, and the factor."""
        for node in self._snapshot.classes[term]:
            if node.constructor == "Einsum1" and node.children[0] != term:
                spec = Spec.parse(node.text)
                plain = spec.inputs[0] == spec.output and spec.is_permutation
                if plain and self._snapshot.types[node.children[0]] is not None:
                    return node.children[0], spec.scale
        return None

    def _definition(self, c: int) -> list[tuple[int, Scale]] | None:
        multiple = None
        for node in self._snapshot.classes[c]:
            if c in node.children or any(self._snapshot.types[q] is None for q in node.children):
                continue
            if node.constructor == ADD:
                return [(node.children[0], 1), (node.children[1], 1)]
            if node.constructor == "Einsum1" and multiple is None:
                spec = Spec.parse(node.text)
                child = node.children[0]
                plain = spec.inputs[0] == spec.output and spec.is_permutation
                if plain and any(other.constructor == ADD for other in self._snapshot.classes[child]):
                    multiple = [(child, spec.scale)]
        return multiple

    def _groups(self, terms: Terms) -> list[tuple[GroupKey, Group]]:
        """Products that several terms share an operand of, best saving first."""
        shared: dict[GroupKey, Group] = defaultdict(dict)
        for term in terms:
            for node, text, scale, link in self._products(term):
                if node.constructor == "Einsum2":
                    x, y = node.children
                    # a b and b c may stand in either order of classes: the varying operand comes first here.
                    shared["Einsum2", text, y].setdefault(term, Member(x, scale, node, link))
                    shared["Einsum2", swap(text), x].setdefault(term, Member(y, scale, node, link))
                elif node.children[0] != term and _is_plain_copy(text):
                    shared["Einsum1", text, -1].setdefault(term, Member(node.children[0], scale, node, link))
        found = []
        for key, group in shared.items():
            if len(group) > 1 and (saving := _saving(key[0], key[1], len(group))) > 0:
                found.append((-saving, *key, key, group))
        found.sort(key=lambda item: item[:4])
        return [(key, group) for *_, key, group in found]

    def _products(self, term: int) -> Iterator[tuple[ENode, str, Scale, str]]:
        """Einsums that a term is, and contractions that it is a transpose or a multiple of.

        Each with its spec, its result in the order of the term's dimensions; with its factor in the term; and with the
        einsum that makes the term of it.
        """
        classes, types = self._snapshot.classes, self._snapshot.types
        for node in classes[term]:
            if node.constructor not in ("Einsum1", "Einsum2") or any(types[q] is None for q in node.children):
                continue
            yield node, node.text, 1, ""
            spec = Spec.parse(node.text)
            if spec.is_permutation and not spec.is_identity:
                for inner in classes[node.children[0]]:
                    known = all(types[q] is not None for q in inner.children)
                    if inner.constructor == "Einsum2" and known and Spec.parse(inner.text).summed:
                        yield inner, turned(inner.text, node.text), spec.scale, node.text

    def _factored(self, terms: Terms, groups: list[tuple[GroupKey, Group]], start: int, shape: tuple[int, ...]) -> int:
        """Tree with groups taken out greedily, beginning with group ``start``."""
        left = dict(terms)
        parts: list[tuple[int, Scale]] = []
        taken: list[tuple[GroupKey, Group]] = []
        made: dict[tuple[str, str, Parts], list[tuple[Parts, int]]] = defaultdict(list)
        for key, group in groups[start:]:
            members = {term: varying for term, varying in group.items() if term in left}
            if len(members) < 2 or _saving(key[0], key[1], len(members)) <= 0:
                continue
            taken.append((key, members))
            inner: Terms = {}
            for term, member in members.items():
                inner[member.varying] = inner.get(member.varying, 0) + member.scale * left.pop(term)
            named = tuple(sorted((self._names.of(x), k) for x, k in inner.items() if k != 0))
            if not named:
                return self._tree(sorted((self._names.of(t), k) for t, k in terms.items()), shape)
            made[key[0], key[1], _without_factor(named)].append((named, key[2]))
        for (constructor, text, plain), groups_of in made.items():
            shapes = Spec.parse(text).shapes
            for named, shared in groups_of if len(groups_of) == 1 else ():
                operands = [self._tree(list(named), shapes[0]), *([self._names.of(shared)] if shared >= 0 else [])]
                parts.append((self._names.make(constructor, text, tuple(operands)), 1))
            if len(groups_of) > 1:  # (a + b) c - (a + b) d = (a + b) (c - d)
                other = sorted((self._names.of(q), 1 if named == plain else named[0][1]) for named, q in groups_of)
                operands = [self._tree(list(plain), shapes[0]), self._tree(other, shapes[1])]
                parts.append((self._names.make(constructor, text, tuple(operands)), 1))
        parts += [(self._names.of(t), k) for t, k in left.items() if k != 0]
        tree = self._tree(sorted(parts), shape)
        self._taken[tree] = taken
        return tree

    def _tree(self, parts: list[tuple[int, Scale]], shape: tuple[int, ...], opened: bool = False) -> int:
        """Left-leaning tree of scaled terms in the given order; ``opened``: rules may distribute over it."""
        numbers = [n if k == 1 else self._names.make("Einsum1", identity(shape, k), (n,)) for n, k in parts]
        total = numbers[0]
        for n in numbers[1:]:
            if opened:
                self._names.rows.setdefault(OPEN_SUM, []).append((total, n))
            total = self._names.make(ADD, "", (total, n))
        return total


def _without_factor(parts: Parts) -> Parts:
    """The terms over the first factor, where all factors are the same up to their signs."""
    first = parts[0][1]
    return (
        tuple([(n, 1 if k == first else -1) for n, k in parts]) if {abs(k) for _, k in parts} == {abs(first)} else parts
    )


@functools.cache
def _saving(constructor: str, text: str, count: int) -> float:
    """Operations saved when ``count`` terms share one operand [flop]; half an operation for a shared transpose."""
    spec = Spec.parse(text)
    operand = spec.count(spec.inputs[0])
    result = spec.count(spec.output)
    if constructor == "Einsum1":
        return max((count - 1) * (result - operand), 0.5)
    return (count - 1) * (spec.flops + result - operand)


@functools.cache
def _is_plain_copy(text: str) -> bool:
    spec = Spec.parse(text)
    return spec.is_copy and not spec.is_identity and spec.scale in (1, -1)
