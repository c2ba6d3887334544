# SPDX-License-Identifier: Apache-2.0
"""Replays a certificate without the engine: ``python -m egraph_opt.explain.checker CERT.json [RULE FILES]``."""

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
            self.known[self.key(t)] = t
            for a in row[2]:
                self.uses[a].add(t)

    def find(self, t: int) -> int:
        """The term that stands for the class."""
        while self.parent[t] != t:
            t = self.parent[t]
        return t

    def key(self, t: int) -> Any:
        """A term with its operands' classes."""
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
                stack += [(t, self.known.setdefault(self.key(t), t)) for t in self.uses[a]]


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
        equal = [(a, b) for f in facts if f[0] == "=" for a, b in (f[1:], f[:0:-1]) if type(b) is list]
        self.meaning = {a: b for a, b in equal if b[0][0].isupper()}
        calls = [(call, value) for value, call in equal if call[0][0].islower()]
        calls += [(f, "true") for f in facts if f[0] != "=" and not f[0][0].isupper()]
        self.conditions = [
            [c[0], [self.value(a) for a in c[1:]], self.value(v)] for c, v in calls if c[0] not in STEERING
        ]

    def value(self, atom: Any) -> Any:
        """What an atom of a rule stands for."""
        if atom[0] == "?":
            self.seen.add(atom)
            return self.bindings[atom]
        return int(atom) if re.fullmatch(r"-?\d+", atom) else atom.strip('"')

    def matches(self, pattern: Any, t: int) -> bool:
        """Whether a term is the instance of a pattern."""
        pattern = self.meaning.get(pattern, pattern) if type(pattern) is str else pattern
        if type(pattern) is str:
            return type(self.value(pattern)) is int and self.value(pattern) == t
        op, attrs, args, _ = self.terms.rows[t]
        name = "".join(part.capitalize() for part in re.split("[-_]", op))
        text, inner = (pattern[1:2], pattern[2:]) if len(pattern) == len(args) + 2 else ([], pattern[1:])
        plain = all(part.endswith("=None") for part in attrs.split(", ") if part)
        fits = pattern[0] in (name, f"{name}{len(args)}") and len(inner) == len(args)
        fits = fits and (self.value(text[0]) == attrs if text else plain)
        return fits and all(self.matches(p, a) for p, a in zip(inner, args, strict=True))


def check(certificate: Any, rules: Iterable[str] = ()) -> int:
    """Number of steps of a certificate, of the parsed JSON, that proves its two programs equal.

    Args:
        certificate: terms, the programs before and after, steps, and the rules that no file of the package holds.
        rules: texts of rule files beside those of the package.

    Raises:
        CertificateError: it does not.
    """
    try:
        return _check(certificate, rules)
    except (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise CertificateError(f"not well formed: {type(error).__name__}: {error}") from error


def _check(certificate: Any, rules: Iterable[str]) -> int:
    require(
        certificate.keys() == {"terms", "before", "after", "rules", "steps"}, "want terms, before, after, rules, steps"
    )
    terms = Terms(certificate["terms"])
    ends = [certificate[side] for side in ("before", "after")]
    for side, end in zip(("before", "after"), ends, strict=True):
        require(end.keys() == {"results", "program"}, f"{side}: want results and program")
        require(end["program"] == terms.program(end["results"]), f"{side}: the program is not that of the terms")
    require(len(ends[0]["results"]) == len(ends[1]["results"]), "another number of results")
    here = Path(__file__).resolve().parents[1]
    folder = here / "_rules" if (here / "_rules").is_dir() else here.parent / "rules"
    laws = read_rules([*(p.read_text("utf-8") for p in sorted(folder.glob("*.egg"))), *rules, *certificate["rules"]])
    spare = read_rules(certificate["rules"]).keys() - {step.get("rule") for step in certificate["steps"]}
    require(not spare, f"rules that no step uses: {sorted(spare)}")
    closure, used = Closure(terms), {t for end in ends for t in end["results"]}
    for n, step in enumerate(certificate["steps"]):
        try:
            require(type(step["number"]) is int and step["number"] == n, f"numbered {step['number']}")
            require(step.keys() == {"number", "kind", "left", "right", *FIELDS[step["kind"]]}, "wrong fields")
            a, b = step["left"], step["right"]
            require(type(a) is type(b) is int and min(a, b) >= 0, "no term")
            require(terms.rows[a][3] == terms.rows[b][3], "the two sides differ in type")
            require(closure.find(a) != closure.find(b), "it says nothing new")
            _verify(terms, step, a, b, laws, rules)
            used |= {a, b, *(t for t in step.get("bindings", {}).values() if type(t) is int)}
            closure.join(a, b)
        except CertificateError as reason:
            raise CertificateError(f"step {n}: {reason}") from None
    require(len(terms.order(used)) == len(terms.rows), "some term is used nowhere")
    for n, (a, b) in enumerate(zip(*(end["results"] for end in ends), strict=True)):
        require(terms.rows[a][3] == terms.rows[b][3], f"result {n}: another type")
        require(closure.find(a) == closure.find(b), f"result {n}: the steps do not join it with the original")
    return len(certificate["steps"])


def _verify(terms: Terms, step: Any, a: int, b: int, laws: Any, rules: Iterable[str]) -> None:
    if step["kind"] == "body":
        left, right = terms.rows[a], terms.rows[b]
        require(left[::2] == right[::2] and step["certificates"], "more than the bodies differs")
        attrs = left[1]
        for inner in step["certificates"]:
            check(inner, rules)
            old, new = ("{" + "; ".join(inner[side]["program"]) + "}" for side in ("before", "after"))
            require(attrs.count(old), "a certificate of some other body")
            attrs = attrs.replace(old, new)
        require(attrs == right[1], "a body changed without a certificate")
        return
    if step["kind"] == "rule":
        require(step["rule"] in laws, f"no rule is named {step['rule']!r}")
        facts, actions = laws[step["rule"]]
        instance = Instance(terms, facts, step["bindings"])
        unions = [action[1:] for action in actions if action[0] == "union"]
        require(any(instance.matches(x, a) and instance.matches(y, b) for x, y in unions), "no instance of its rule")
        require(step["conditions"] == instance.conditions, "the conditions are not those of its rule")
        for name, args, value in instance.conditions:
            require(name not in ("shape", "dtype") or terms.fact(args[0], name) == value, f"the {name} is another one")
        require(step["bindings"].keys() == instance.seen, "something is bound that the rule does not name")
    try:
        require(same_polynomial(terms, a, b), "the two sides are different polynomials")
    except UndecidedError as reason:
        require(step["kind"] != "sum", f"{reason}")
        from egraph_opt.explain.numeric import difference  # what is no polynomial is evaluated

        shared = {*terms.order([a])} & {*terms.order([b])}
        fault = difference([terms.rows[t] for t in range(max(a, b) + 1)], a, b, shared)
        require(not fault, fault)


def main(arguments: list[str]) -> int:
    """Check a file; the exit status is 0 when the certificate holds."""
    try:
        texts = [Path(name).read_text("utf-8") for name in arguments]
        steps = check(json.loads(texts[0]), texts[1:])
    except (CertificateError, OSError, ValueError, IndexError) as error:
        sys.stderr.write(f"refused: {error}\n")
        return 1
    sys.stdout.write(f"{arguments[0]}: {steps} steps, each verified; they join the original with the result\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
