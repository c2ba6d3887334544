# SPDX-License-Identifier: Apache-2.0
"""Replays a certificate without the engine: ``python -m egraph_opt.explain.checker CERT.json``."""

import hashlib
import itertools
import json
import math
import re
import sys
from collections import Counter, defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

ROUNDING = {"bfloat16": 2**-7, "float16": 2**-10, "float32": 2**-22}  # where constants were folded
MOST, FACTS, RANDOM = 20_000, {"is", "band"}, np.random.default_rng()  # elements; conditions on values; draws


class CertificateError(Exception):
    """The certificate does not prove its claim; the message says where and why."""


def require(holds: object, reason: str, kind: type[Exception] = CertificateError) -> None:
    """Refuse with the reason unless it holds."""
    if not holds:
        raise kind(reason)


def digest(told: Any) -> str:
    """A text that no two JSON values share."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


class Terms:
    """Rows of operation, attributes, operands, types of the results; operands stand before their readers."""

    def __init__(self, rows: Any, bodies: Any = ()) -> None:
        self.rows, self.names, self.kinds = rows, list[str](), list[tuple[str, list[int]]]()
        self.bodies = {"; ".join(map(Terms(r).names.__getitem__, t)): (r, t) for r, t in bodies}
        for n, (op, attrs, args, types) in enumerate(rows):
            require(all(type(a) is int and 0 <= a < n for a in args), f"term {n}: an operand does not stand before it")
            ((dtype, sizes),) = re.findall(r"^([^[]+)\[([\d,]*)\]$", [*types, "none[]"][0])
            self.kinds.append((dtype, [int(n) for n in sizes.split(",") if n]))
            self.names.append(digest([op, attrs, [self.names[a] for a in args], types]))

    def classes(self, pairs: list[tuple[int, int]]) -> list[int]:
        """For each term a name that all have that are equal to it: by the pairs, or by equal operands."""
        name, known = [*range(len(self.rows))], dict[Any, int]()
        members, readers = [[t] for t in name], [set[int]() for _ in name]

        def twin(t: int) -> int:
            op, attrs, args, types = self.rows[t]
            for a in args:
                readers[name[a]].add(t)
            return known.setdefault((op, attrs, *(name[a] for a in args), *types), t)

        todo = [*((t, twin(t)) for t in name), *pairs]
        while todo:
            a, b = sorted((name[t] for t in todo.pop()), key=lambda c: len(members[c]))
            if a != b:
                members[b] += members[a]
                for t in members[a]:
                    name[t] = b
                todo += [(t, twin(t)) for t in readers[a]]
        return name

    def fits(self, pattern: Any, t: int, bound: Any) -> bool:
        """Whether a term is what a pattern stands for when its variables stand for terms and texts."""
        if type(pattern) is str:
            return bool(bound[pattern] == t)
        (name, op, text, inner), row = pattern, self.rows[t]
        same = [op, bound.get(text, text), len(inner), bound.get(name, t)] == [*row[:2], len(row[2]), t]
        return same and all(self.fits(p, a, bound) for p, a in zip(inner, row[2], strict=True))


class Polynomials:
    """Terms as sums of products of given ones, told apart by their values for random given terms."""

    def __init__(self, terms: Terms, given: list[int], dtype: str) -> None:
        self.terms, self.given, self.dtype, self.error = terms, given, dtype, 1e-12
        self.other, self.count = set[str](), itertools.count()

    def products(self, t: int, index: list[Any]) -> list[Any]:
        """A term at an index, as products: factor, terms at their indices, pairs of axes that are equal."""
        (op, attrs, args, _), (dtype, shape) = self.terms.rows[t], self.terms.kinds[t]
        require((dtype, shape) == (self.dtype, [n for n, _ in index]), f"term {t} is of another type than read as")
        if number := not shape and re.fullmatch(r"constant \w+ (-?\d[\d.]*(e[-+]?\d+)?)", f"{op} {attrs}"):
            self.error = max(self.error, ROUNDING.get(dtype, 0))
            return [(Fraction(number[1]), [], [])]
        if t in self.given or op not in ("einsum", "add"):
            self.other |= {op} - {"input"} if t not in self.given else set()
            return [(1, [(t, index)], [])]
        if op == "add":
            return [product for a in args for product in self.products(a, index)]
        ((spec, sizes, factor),) = re.findall(r"^([a-zA-Z,]*->[a-zA-Z]*);([\d,]*)\|?(.*)$", attrs)
        axes = [(int(n), next(self.count)) for n in sizes.split(",") if n]
        name = dict(zip(dict.fromkeys(re.sub("[,>-]", "", spec)), axes, strict=True))
        *words, result = [[name[c] for c in word] for word in re.split(",|->", spec)]
        require(shape == [n for n, _ in result], f"term {t} has another shape than its letters say")
        found: list[Any] = [(Fraction(factor or 1), [], [*zip([*axes, *result], [*axes, *index], strict=True)])]
        for a, word in zip(args, words, strict=True):
            many = self.products(a, word)
            require(len(found) * len(many) + next(self.count) <= MOST, "too many products", ArithmeticError)
            found = [(j * k, f + g, p + q) for j, f, p in found for k, g, q in many]
        return found

    def closed(self, factor: Fraction, words: list[Any], equal: list[Any]) -> tuple[Fraction, list[Any]]:
        """A product where equal axes have one name; those that are summed over and in no term are a factor."""
        same: dict[Any, Any] = {}

        def find(axis: Any) -> Any:
            return find(same[axis]) if axis in same else axis

        for a, b in equal:
            same |= {find(a): find(b)} if find(a) != find(b) else {}
        found = [(t, [find(axis) for axis in index]) for t, index in words]
        free = {find(axis) for axis, _ in equal}.difference(*(index for _, index in found))
        return factor * math.prod(n for n, _ in free), found

    def agree(self, a: int, b: int) -> bool:
        """Whether two terms of one type are the same polynomial."""
        end = [(n, next(self.count)) for n in self.terms.kinds[a][1]]
        found = [(t, *self.closed(k, [(-1, end), *f], p)) for t in (a, b) for k, f, p in self.products(t, end)]
        most, drawn, total = Counter[int](), dict[int, Any](), defaultdict[Any, Any](int)
        for _, _, words in found:  # where all axes of a product can differ, what is equal is so at any size
            most |= Counter(n for n, _ in {axis for _, index in words for axis in index})
        for side, factor, words in found:
            place, operands = dict[Any, int]({None: 0}), list[Any]()  # an axis that all have: no value is without axes
            for t, index in words:
                shape = [min(n, max(2, most[n])) for n, _ in index]
                require(math.prod(shape) <= MOST, "products of too many axes", ArithmeticError)
                values = drawn.setdefault(t, np.array(1 + (t >= 0) * RANDOM.integers(0, 2**30, shape), object))
                operands += [values[None], [0, *(place.setdefault(axis, len(place)) for axis in index)]]
            values = np.einsum(*operands, [*dict.fromkeys(operands[1])], optimize="greedy")
            key = (*operands[1], "at", *np.ravel(values))
            total[side, key] += factor
            total[-1, key] += abs(factor)
        return all(abs(total[a, key] - total[b, key]) <= self.error * total[-1, key] for _, key in [*total])


def check(certificate: Any) -> int:
    """Number of steps of a certificate that proves its two programs equal; else CertificateError tells why not."""
    try:
        told = {name: part for name, part in certificate.items() if name != "digest"}
        require(certificate["digest"] == digest(told), "it was changed: its digest is another one")
        terms = Terms(told["terms"], told.get("bodies", []))
        for t in (t for t, row in enumerate(terms.rows) if row[0] in ("einsum", "add")):  # looked into or not
            Polynomials(terms, terms.rows[t][2], terms.kinds[t][0]).products(t, [(n, 0) for n in terms.kinds[t][1]])
        for step in told["steps"]:
            verify(terms, told["rules"], step, f"step {step['number']}: ")
        same = terms.classes([(step["left"], step["right"]) for step in told["steps"]])
        for n, (a, b) in enumerate(zip(told["before"], told["after"], strict=True)):
            require(same[a] == same[b], f"result {n}: the steps do not join it with the original")
    except (AssertionError, AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise CertificateError(f"not well formed: {type(error).__name__}: {error}") from error
    return len(told["steps"])


def verify(terms: Terms, rules: Any, step: Any, place: str) -> None:
    """Refuse a step whose two sides need not be equal."""
    sides = step["left"], step["right"]
    (op, attrs, args, types), right = (terms.rows[t] for t in sides)
    require(types == right[3], f"{place}the two sides differ in type")
    if step["kind"] == "body":
        for inner in step["certificates"]:
            check(inner)
            names = Terms(inner["terms"]).names
            attrs = attrs.replace(*("; ".join(names[t] for t in inner[side]) for side in ("before", "after")))
        require([op, attrs, args] == right[:3], f"{place}a body changed without a certificate")
        return
    law, bound = (rules[step["rule"]], step["bindings"]) if step["kind"] == "rule" else ([], {})
    if law:
        require(all(map(terms.fits, law[:2], sides, [bound] * 2)), f"{place}no instance of its rule")
        values = [[name, [bound.get(x, x) for x in args], bound.get(value, value)] for name, args, value in law[2]]
        require(values == step["conditions"], f"{place}the conditions are not those of its rule")
    polynomials = Polynomials(terms, step["given"], terms.kinds[sides[0]][0])
    try:
        if polynomials.agree(*sides):
            return
    except ArithmeticError as reason:
        polynomials.other.add(str(reason))
    require(polynomials.other or FACTS & {c[0] for c in step.get("conditions", [])}, f"{place}different polynomials")
    from egraph_opt.verify.rows import difference  # the values of other operations are those that JAX computes

    require(not (fault := difference(terms.rows, sides, step["given"], terms.bodies, law[3:])), f"{place}{fault}")


def main(arguments: list[str]) -> None:
    """Check the file that is named; the exit status is 1 when the certificate does not hold."""
    try:
        steps = check(json.loads(Path(arguments[0]).read_text("utf-8")))
    except (CertificateError, OSError, ValueError, IndexError) as error:
        sys.exit(f"refused: {error}")
    sys.stdout.write(f"{arguments[0]}: {steps} steps, each verified; they join the original with the result\n")


if __name__ == "__main__":
    main(sys.argv[1:])
