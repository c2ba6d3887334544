# SPDX-License-Identifier: Apache-2.0
"""Einsums, sums and reshapes as polynomials in unknown tensors: whether two terms are equal whatever these are."""

import heapq
import itertools
import json
import math
import re
from collections.abc import Collection, Iterable
from typing import Any

RING = ("einsum", "add", "reshape")
MOST = 20_000  # monomials, or ways to name the letters of one
EPS = {"bfloat16": 2**-7, "float16": 2**-10, "float32": 2**-22}


class CertificateError(Exception):
    """The certificate does not prove its claim; the message says where and why."""


class UndecidedError(Exception):
    """The terms are not polynomials that can be compared."""


def require(holds: object, reason: str) -> None:
    """Refuse with the reason unless it holds."""
    if not holds:
        raise CertificateError(reason)


class Terms:
    """The table of terms, children first: operation, attributes, children, types of the results."""

    def __init__(self, table: Any) -> None:
        self.rows: list[Any] = [(op, attrs, tuple(args), tuple(types)) for op, attrs, args, types in table]
        require(json.loads(json.dumps(self.rows)) == table and len({*self.rows}) == len(table), "terms: two are equal")
        for n, (op, attrs, args, _) in enumerate(self.rows):
            require(all(type(a) is int and 0 <= a < n for a in args), f"term {n}: a child does not stand before it")
            shape, inner = self.shape(n), [self.shape(a) for a in args]
            fits = op not in RING or {self.fact(a, "dtype") for a in args} == {self.fact(n, "dtype")}
            if op == "einsum":
                words, out, sizes, _ = spec(attrs)
                fits &= [*inner, shape] == [tuple(sizes[c] for c in w) for w in (*words, out)]
            elif op == "reshape":
                fits &= math.prod(inner[0]) == math.prod(shape) and attrs == self.fact(n, "shape") and len(args) == 1
            elif op == "add":
                fits &= {*inner} == {shape}
            require(fits, f"term {n}: {op}[{attrs}] does not fit the types of its operands and result")

    def shape(self, n: int) -> tuple[int, ...]:
        """Sizes of the dimensions of the first result."""
        match = re.fullmatch(r".+\[([\d,]*)\]", [*self.rows[n][3], "none[]"][0])
        require(match, f"term {n}: no type")
        return tuple(int(d) for d in match[1].split(",") if d) if match else ()

    def fact(self, n: int, name: str) -> str:
        """Shape or element type as rules see it."""
        dtype, _, shape = [*self.rows[n][3], "none[]"][0].partition("[")
        return dtype if name == "dtype" else shape[:-1] or "scalar"

    def apart(self, a: int, b: int) -> tuple[set[int], set[int]]:
        """What one of two terms holds alone, and the first terms that both hold."""
        holders, heap = {a: 1}, [-a, -b]
        holders[b] = holders.get(b, 0) | 2
        alone, shared = set[int](), set[int]()
        while heap:  # operands have smaller numbers: when a term's turn comes, all its readers had theirs
            t = -heapq.heappop(heap)
            if t in alone or t in shared:
                continue
            (shared if holders[t] == 3 else alone).add(t)
            for q in self.rows[t][2] if t in alone else ():
                holders[q] = holders.get(q, 0) | holders[t]
                heapq.heappush(heap, -q)
        return alone, shared

    def order(self, roots: Iterable[int]) -> dict[int, int]:
        """What the roots reach, children first, with its place in that order."""
        done: dict[int, int] = {}
        stack = [(r, False) for r in [*roots][::-1]]
        while stack:
            t, ready = stack.pop()
            if ready:
                done.setdefault(t, len(done))
            elif t not in done:
                stack += [(t, True), *((a, False) for a in self.rows[t][2][::-1])]
        return done

    def program(self, roots: list[int]) -> list[str]:
        """The program with these results, one line a node."""
        place = self.order(roots)
        nodes = [(place[t], self.rows[t]) for t in place]
        lines = [f"%{n} {'*'.join(s)} = {op}[{a}]{[place[q] for q in args]}" for n, (op, a, args, s) in nodes]
        return [*lines, f"return {[place[r] for r in roots]}"]


def spec(text: str) -> tuple[list[str], str, dict[str, int], float]:
    """Operand words, result word, sizes and factor of an einsum's text."""
    match = re.fullmatch(r"([a-zA-Z,]*)->([a-zA-Z]*);([\d,]*)(?:\|(-?[\d.]+(?:e[-+]?\d+)?))?", text)
    require(match, f"{text!r} is no einsum")
    assert match is not None
    names, sizes = dict.fromkeys(match[1].replace(",", "") + match[2]), [int(n) for n in match[3].split(",") if n]
    require(len(names) == len(sizes), f"{text!r}: want one size a letter")
    number = match[4] or "1"
    factor = int(number) if re.fullmatch(r"-?\d+", number) else float(number)
    return match[1].split(","), match[2], dict(zip(names, sizes, strict=True)), factor


class Polynomial:
    """A term as a sum of products of opaque terms: what these stand for does not matter."""

    def __init__(self, terms: Terms, term: int, opaque: Collection[int]) -> None:
        self.terms, self.opaque, self.error, self.sizes = terms, opaque, 1e-12, list[int]()
        self.total: dict[Any, tuple[float, float]] = {}
        for factor, out, factors, equal in self.expand(term):
            self.same: dict[int, tuple[int, ...]] = {}
            for a, b in equal:
                self.unify(a, b)
            words = [[self.parts([s]) for s in index] for index in (out, *(i for _, i in factors))]
            free = {s for a, b in equal for s in self.parts([*a, *b])} - {s for w in words for dim in w for s in dim}
            factor *= math.prod(self.sizes[s] for s in free)  # summed over, and in no factor
            self.budget = MOST
            key = self.named({}, list(zip((-1, *(f for f, _ in factors)), self.merged(words), strict=True)))
            old, weight = self.total.get(key, (0, 0))
            self.total[key] = old + factor, weight + abs(factor)

    def letter(self, size: int) -> int:
        """A new index of this size."""
        self.sizes.append(size)
        return len(self.sizes) - 1

    def expand(self, t: int) -> list[tuple[float, list[int], list[Any], list[Any]]]:
        """Products: factor, index of the result, opaque terms with their indices, pairs of indices that are equal."""
        op, attrs, args, _ = self.terms.rows[t]
        value = (
            re.fullmatch(r"(bfloat16|u?int\d+|float\d+) (-?[\d.]+(?:e[-+]?\d+)?)", attrs) if op == "constant" else None
        )
        if value and not self.terms.shape(t) and t not in self.opaque:
            self.error = max(self.error, EPS.get(value[1], 0))
            return [(int(value[2]) if "int" in value[1] else float(value[2]), [], [], [])]
        if op not in RING or t in self.opaque:
            out = [self.letter(n) for n in self.terms.shape(t)]
            return [(1, out, [(t, out)], [])]
        found, many = [], [self.expand(a) for a in args]
        if op == "add":
            found = [product for products in many for product in products]
        elif op == "reshape":
            for factor, out, factors, equal in many[0]:
                new = [self.letter(n) for n in self.terms.shape(t)]
                found.append((factor, new, factors, [*equal, (out, new)]))
        else:
            words, result, sizes, scale = spec(attrs)
            for combination in itertools.product(*many):
                name = {c: self.letter(n) for c, n in sizes.items()}
                pairs = [
                    ([name[c]], [s])
                    for w, p in zip(words, combination, strict=True)
                    for c, s in zip(w, p[1], strict=True)
                ]
                new, twice = [], []
                for c in result:
                    new.append(self.letter(sizes[c]))
                    twice.append(([name[c]], [new[-1]]))
                factors = [f for p in combination for f in p[2]]
                equal = [*pairs, *twice, *(e for p in combination for e in p[3])]
                found.append((scale * math.prod(p[0] for p in combination), new, factors, equal))
                if len(found) > MOST:
                    raise UndecidedError("too many products")
        return found

    def parts(self, word: Iterable[int]) -> list[int]:
        """The indices that these ones were split into or found equal to; those of size 1 are left out."""
        found = []
        for s in word:
            found += self.parts(self.same[s]) if s in self.same else [s] if self.sizes[s] != 1 else []
        return found

    def unify(self, first: list[int], second: list[int]) -> None:
        """Make two row-major indices equal, splitting the larger of two sizes by the smaller one."""
        a, b = self.parts(first), self.parts(second)
        while a and b:
            x, y = (a[0], b[0]) if self.sizes[a[0]] >= self.sizes[b[0]] else (b[0], a[0])
            if x != y and self.sizes[x] == self.sizes[y]:
                self.same[x] = (y,)
            elif x != y:
                if not self.sizes[y] or self.sizes[x] % self.sizes[y]:
                    raise UndecidedError("a reshape that neither splits nor joins dimensions")
                self.same[x] = (y, self.letter(self.sizes[x] // self.sizes[y]))
            a, b = self.parts(a), self.parts(b)
            a, b = a[1:], b[1:]

    def merged(self, words: list[list[list[int]]]) -> list[list[list[int]]]:
        """The indices with those made one that always stand side by side."""
        while True:
            after: dict[int, set[int]] = {}
            before: dict[int, set[int]] = {}
            for dim in (dim for word in words for dim in word):
                for a, b in zip([-1, *dim], [*dim, -1], strict=True):
                    after.setdefault(a, set()).add(b)
                    before.setdefault(b, set()).add(a)
            pairs = [(a, min(n)) for a, n in after.items() if a >= 0 and len(n) == 1 and min(n) >= 0]
            pair = next(((a, b) for a, b in pairs if before[b] == {a}), None)
            if pair is None:
                return words
            new = self.letter(self.sizes[pair[0]] * self.sizes[pair[1]])
            words = [[[new if s == pair[0] else s for s in dim if s != pair[1]] for dim in word] for word in words]

    def named(self, names: dict[int, int], left: list[Any]) -> tuple[Any, ...]:
        """The product written in the one way that does not depend on the names of its indices."""
        self.budget -= 1
        if self.budget < 0:
            raise UndecidedError("too many equal factors")
        choices: dict[Any, Any] = {}
        for place, (leaf, word) in enumerate(left):
            new = dict(names)
            code = leaf, tuple(tuple((new.setdefault(s, len(new)), self.sizes[s]) for s in dim) for dim in word)
            choices.setdefault((code, str(word)), (new, place))
        least = min((code for code, _ in choices), default=None)
        ways = [(new, left[:p] + left[p + 1 :]) for (code, _), (new, p) in choices.items() if code == least]
        return min(((least, *self.named(*way)) for way in ways), default=())


def same_polynomial(terms: Terms, left: int, right: int) -> bool:
    """Whether two terms are one polynomial in the terms that both hold."""
    alone, shared = terms.apart(left, right)
    doubt = ""
    for opaque in (shared, set[int]()):
        try:
            a, b = (Polynomial(terms, side, opaque) for side in (left, right))
        except UndecidedError as reason:
            doubt = str(reason)
            continue
        pairs = [(a.total.get(key, (0, 0)), b.total.get(key, (0, 0))) for key in {**a.total, **b.total}]
        if all(abs(x[0] - y[0]) <= max(a.error, b.error) * max(x[1], y[1]) for x, y in pairs):
            return True
    other = {terms.rows[t][0] for t in alone} - {*RING, "constant"}
    if doubt or other:
        raise UndecidedError(doubt or f"{', '.join(sorted(other))}: no polynomial")
    return False
