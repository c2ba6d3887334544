# SPDX-License-Identifier: Apache-2.0
"""Replays a certificate without the engine: ``python -m egraph_opt.explain.checker CERT.json``."""

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from egraph_opt.explain.polynomial import CertificateError, Terms, UndecidedError, require, same_polynomial

FIELDS = {"rule": ("rule", "bindings", "conditions"), "sum": (), "normal-form": (), "body": ("certificates",)}
STEERING = {"ordering-max", "ordering-min", "!=", "open-sum", "frozen"}  # facts of the search, not of the law


class Closure:
    """Classes of equal terms, closed under equal operands giving equal results."""

    def __init__(self, terms: Terms) -> None:
        self.terms, self.parent, self.known = terms, [*range(len(terms.rows))], dict[Any, int]()
        self.uses: list[set[int]] = [set() for _ in terms.rows]
        for t, row in enumerate(terms.rows):
            self.known[self._key(t)] = t
            for a in row[2]:
                self.uses[a].add(t)

    def find(self, t: int) -> int:
        """The term that stands for the class."""
        while self.parent[t] != t:
            t = self.parent[t]
        return t

    def _key(self, t: int) -> Any:
        op, attrs, args, types = self.terms.rows[t]
        return op, attrs, tuple(self.find(a) for a in args), types

    def join(self, a: int, b: int) -> None:
        """Two terms are equal."""
        stack = [(a, b)]
        while stack:
            a, b = map(self.find, stack.pop())
            if a != b:
                self.parent[a] = b
                self.uses[b] |= self.uses[a]
                stack += [(t, self.known.setdefault(self._key(t), t)) for t in self.uses[a]]


def read_rules(texts: Iterable[str]) -> dict[str, tuple[Any, Any]]:
    """Facts and actions of each rule by name; of two rules of one name the first counts."""
    found: dict[str, tuple[Any, Any]] = {}
    for text in texts:
        stack: list[list[Any]] = [[]]
        for token in re.findall(r';[^\n]*|"(?:[^"\\]|\\.)*"|[()]|[^\s()";]+', text):
            if token == "(":
                stack.append([])
            elif token == ")":
                stack[-2].append(stack.pop())
            elif token[0] != ";":
                stack[-1].append(token)
        for head, first, second, *rest in stack[0]:
            options = dict(zip(rest[::2], rest[1::2], strict=True))
            name, when = options[":name"].strip('"'), options.get(":when", [])
            ways = {"=>": (first, second), "<=": (second, first)} if head == "birewrite" else {"": (first, second)}
            for end, (a, b) in ways.items():
                rewrite = ([["=", "?result", a], *when], [["union", "?result", b]])
                found.setdefault(name + end, (first, second) if head == "rule" else rewrite)
    return found


class Instance:
    """A rule under bindings."""

    def __init__(self, terms: Terms, facts: Any, bindings: dict[str, Any]) -> None:
        self.terms, self.bindings, self.seen = terms, bindings, set[str]()
        sides = [side for f in facts for side in ((f[1:], f[:0:-1]) if f[0] == "=" else [("true", f)])]
        pairs = [(a, b) for a, b in sides if type(b) is list]
        self.meaning = {a: b for a, b in pairs if type(a) is str and b[0][0].isupper()}
        calls = [(a, b) for a, b in pairs if not b[0][0].isupper() and b[0] not in STEERING]
        self.conditions = [[c[0], [*map(self._value, c[1:])], self._value(a)] for a, c in calls]

    def _value(self, atom: Any) -> Any:
        if atom[0] == "?":
            self.seen.add(atom)
            known = atom not in self.meaning or self.fits(self.meaning[atom], self.bindings[atom])
            require(known, f"{atom} is bound to something else than the rule says")
            return self.bindings[atom]
        return int(atom) if re.fullmatch(r"-?\d+", atom) else atom.strip('"')

    def fits(self, pattern: Any, t: int) -> bool:
        """Whether a term is what a pattern stands for."""
        pattern = self.meaning.get(pattern, pattern) if type(pattern) is str else pattern
        if type(pattern) is str:
            return type(self._value(pattern)) is int and self._value(pattern) == t
        op, attrs, args, _ = self.terms.rows[t]
        name = "".join(part.capitalize() for part in re.split("[-_]", op))
        text, inner = (pattern[1:2], pattern[2:]) if len(pattern) == len(args) + 2 else ([], pattern[1:])
        plain = all(part.endswith("=None") for part in attrs.split(", ") if part)
        same = pattern[0] in (name, f"{name}{len(args)}") and (self._value(text[0]) == attrs if text else plain)
        return same and len(inner) == len(args) and all(self.fits(p, a) for p, a in zip(inner, args, strict=True))


def check(certificate: Any) -> int:
    """Number of steps of a certificate, as parsed from JSON, that proves its two programs equal.

    Raises:
        CertificateError: it does not.
    """
    try:
        return _check(certificate)
    except (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise CertificateError(f"not well formed: {type(error).__name__}: {error}") from error


def _check(certificate: Any) -> int:
    require(
        certificate.keys() == {"terms", "before", "after", "rules", "steps"}, "want terms, before, after, rules, steps"
    )
    terms, ends = Terms(certificate["terms"]), [certificate["before"], certificate["after"]]
    for end in ends:
        require(end.keys() == {"results", "program"} and end["results"], "want results and a program")
        require(end["program"] == terms.program(end["results"]), "a program is not the one that its results are")
    require(len(ends[0]["results"]) == len(ends[1]["results"]), "another number of results")
    here = Path(__file__).resolve().parents[1]
    folder = here / "_rules" if (here / "_rules").is_dir() else here.parent / "rules"
    known = read_rules(p.read_text("utf-8") for p in sorted(folder.glob("*.egg")))
    own, used = read_rules(certificate["rules"]), {step.get("rule") for step in certificate["steps"]}
    require(all(name in used and known.get(name) != law for name, law in own.items()), "a rule is told in vain")
    closure, needed = Closure(terms), {t for end in ends for t in end["results"]}
    for n, step in enumerate(certificate["steps"]):
        try:
            require(type(step["number"]) is int and step["number"] == n, f"numbered {step['number']}")
            require(step.keys() == {"number", "kind", "left", "right", *FIELDS[step["kind"]]}, "wrong fields")
            a, b = step["left"], step["right"]
            require(type(a) is type(b) is int and min(a, b) >= 0, "no such term")
            require(terms.rows[a][3] == terms.rows[b][3], "the two sides differ in type")
            require(closure.find(a) != closure.find(b), "it says nothing new")
            _verify(terms, step, a, b, {**known, **own})
            closure.join(a, b)
            needed |= {a, b, *(t for t in step.get("bindings", {}).values() if type(t) is int)}
        except CertificateError as reason:
            raise CertificateError(f"step {n}: {reason}") from None
    require(len(terms.order(needed)) == len(terms.rows), "some term is used nowhere")
    for n, (a, b) in enumerate(zip(*(end["results"] for end in ends), strict=True)):
        require(terms.rows[a][3] == terms.rows[b][3], f"result {n}: another type")
        require(closure.find(a) == closure.find(b), f"result {n}: the steps do not join it with the original")
    return len(certificate["steps"])


def _verify(terms: Terms, step: Any, a: int, b: int, laws: Any) -> None:
    if step["kind"] == "body":
        return _verify_body(terms.rows[a], terms.rows[b], step["certificates"])
    alone, shared = terms.apart(a, b)
    if step["kind"] == "rule":
        require(step["rule"] in laws, f"no rule is named {step['rule']!r}")
        facts, actions = laws[step["rule"]]
        rule = Instance(terms, facts, step["bindings"])
        unions = [action[1:] for action in actions if action[0] == "union"]
        require(any(rule.fits(x, a) and rule.fits(y, b) for x, y in unions), "no instance of its rule")
        require(step["conditions"] == rule.conditions, "the conditions are not those of its rule")
        for name, args, value in rule.conditions:
            require(name not in ("shape", "dtype") or terms.fact(args[0], name) == value, f"the {name} is another one")
        require(step["bindings"].keys() == rule.seen, "something is bound that the rule does not name")
    else:
        sums = any(terms.rows[t][0] == "add" for t in alone)
        require(sums == (step["kind"] == "sum"), "sums are rewritten by steps of their own kind")
    try:
        require(same_polynomial(terms, a, b), "the two sides are different polynomials")
    except UndecidedError:
        from egraph_opt.explain.numeric import difference  # what is no polynomial is evaluated

        fault = difference([terms.rows[t] for t in range(max(a, b) + 1)], a, b, shared)
        require(not fault, fault)


def _verify_body(left: Any, right: Any, certificates: Any) -> None:
    """A loop or branch whose bodies are replaced by ones that certificates of their own prove equal."""
    require(left[::2] == right[::2] and certificates, "more than the bodies differs")
    attrs = left[1]
    for inner in certificates:
        check(inner)
        old, new = ("{" + "; ".join(inner[side]["program"]) + "}" for side in ("before", "after"))
        require(old != new and attrs.count(old), "a certificate of some other body")
        attrs = attrs.replace(old, new)
    require(attrs == right[1], "a body changed without a certificate")


def main(arguments: list[str]) -> None:
    """Check the file that is named; the exit status is 1 when the certificate does not hold."""
    try:
        steps = check(json.loads(Path(arguments[0]).read_text("utf-8")))
    except (CertificateError, OSError, ValueError, IndexError) as error:
        sys.exit(f"refused: {error}")
    sys.stdout.write(f"{arguments[0]}: {steps} steps, each verified; they join the original with the result\n")


if __name__ == "__main__":
    main(sys.argv[1:])
