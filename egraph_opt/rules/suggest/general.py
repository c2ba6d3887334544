# SPDX-License-Identifier: Apache-2.0
"""The most general shapes at which both sides of a law make sense.

Terms are enumerated over few shapes, most of them square, so that they fit each other. Here every dimension of every
variable gets a name of its own, and only those are made equal that the operators need to be equal.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

from egraph_opt.rules.suggest.enumerate import Pair
from egraph_opt.rules.suggest.terms import Dims, Term

NAMES = "nmpqrstuvwxyz"


def generalised(pair: Pair) -> Pair:
    """The pair over variables of the most general shapes.

    A law that speaks of halves or doubles of a dimension stays as it is.
    """
    if any(dim.isupper() for side in (pair.left, pair.right) for term in side.walk() for dim in term.dims):
        return pair
    shapes = _Shapes()
    left, right = shapes.visit(pair.left), shapes.visit(pair.right)
    shapes.equal(left.dims, right.dims)
    letters: dict[str, str] = {}

    def named(dims: Dims) -> Dims:
        return tuple(letters.setdefault(shapes.find(d), _fresh(letters, shapes.find(d))) for d in dims)

    def remade(shaped: _Shaped) -> Term:
        args = tuple(map(remade, shaped.args))
        return Term(shaped.term.operator, args, named(shaped.dims), shaped.term.name)

    return Pair(remade(left), remade(right))


class _Shaped(NamedTuple):
    """A term with dimensions of its own for every occurrence of a subterm."""

    term: Term
    dims: Dims
    args: tuple[_Shaped, ...]


def is_elementwise(pair: Pair) -> bool:
    """Whether both sides act on each element alone, so that the law holds at every shape."""
    terms = [t for side in (pair.left, pair.right) for t in side.walk() if t.operator is not None]
    return all({*t.operator.words, t.operator.output} == {"*"} for t in terms if t.operator is not None)


def retyped(pair: Pair, dims: Dims) -> Pair:
    """An elementwise law over another shape."""

    def remade(term: Term) -> Term:
        return Term(term.operator, tuple(map(remade, term.args)), dims, term.name)

    return Pair(remade(pair.left), remade(pair.right))


def _fresh(letters: dict[str, str], root: str) -> str:
    if len(root) == 1:
        return root  # a dimension that an operator names itself
    return next(c for c in NAMES if c not in letters.values())


class _Shapes:
    """Equalities between dimensions."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self._variables: dict[str, Dims] = {}
        self._count = itertools.count()

    def find(self, dim: str) -> str:
        """The name that stands for all dimensions equal to this one."""
        while dim in self._parent:
            dim = self._parent[dim]
        return dim

    def equal(self, one: Dims, other: Dims) -> None:
        """Make two shapes equal; names of one letter are kept."""
        for x, y in zip(map(self.find, one), map(self.find, other), strict=True):
            if self.find(x) != self.find(y):
                x, y = (y, x) if len(x) == 1 else (x, y)
                self._parent[x] = y

    def visit(self, term: Term) -> _Shaped:
        """The term with the shapes that its operators need."""
        args = tuple(map(self.visit, term.args))
        if term.operator is None:
            dims = self._variables.get(term.name) or self._new(len(term.dims))
            self._variables[term.name] = dims
        elif not args:
            dims = self._new(len(term.dims))
        else:
            words, output = term.operator.spelled(len(term.dims))
            bound: dict[str, str] = {}
            for word, arg in zip(words, args, strict=True):
                for letter, dim in zip(word, arg.dims, strict=True):
                    self.equal((bound.setdefault(letter, dim),), (dim,))
            dims = tuple(bound.get(c, c) for c in output)
        return _Shaped(term, dims, args)

    def _new(self, rank: int) -> Dims:
        return tuple(f"d{next(self._count)}" for _ in range(rank))
