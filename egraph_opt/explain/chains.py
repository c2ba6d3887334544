# SPDX-License-Identifier: Apache-2.0
"""A certificate in words: changed parts of a program, and the steps from each to what it became."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import PurePath

import jax

from egraph_opt import adjoint, kernels, loops, memory, nets, reads
from egraph_opt.cost import cost_model, count_node
from egraph_opt.engine import Rule
from egraph_opt.explain.congruence import Congruence
from egraph_opt.explain.prove import Proof
from egraph_opt.explain.summary import rules_of
from egraph_opt.explain.terms import TermTable
from egraph_opt.ir import Node, TensorType
from egraph_opt.ir.attrs import parse_attrs
from egraph_opt.ops import all_ops
from egraph_opt.report import duration, quantity
from egraph_opt.result import Result

LAWS = {
    "sum": "a sum is collected or factored",
    "normal-form": "the same, written in normal form",
    "body": "the body of a loop or branch is replaced by an equal one",
    "loop": "loops and branches are written in another form",
    **adjoint.SCALING_LAWS,
    **kernels.LAWS,
    **loops.LAWS,
    **memory.LAWS,
    **nets.LAWS,
    **reads.LAWS,
}
LONGEST = 160


@dataclass(frozen=True, slots=True)
class Work:
    """What some nodes cost, each as if it were run alone: arithmetic [flop], traffic [byte], predicted time [s]."""

    flops: float = 0.0
    bytes: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """One law applied.

    Args:
        number: of the step in the certificate.
        name: rule, or kind of law.
        law: in words.
        place: of the rule, "" for other laws.
        lines: user lines of what is rewritten.
        before: the term.
        after: what it becomes.
        bindings: what the rule's variables stand for.
        evidence: its side conditions with their values.
        goes: work of the nodes that go, each alone.
        comes: work of those that come.
    """

    number: int
    name: str
    law: str
    place: str
    lines: tuple[str, ...]
    before: str
    after: str
    bindings: tuple[tuple[str, str], ...]
    evidence: tuple[str, ...]
    goes: Work
    comes: Work

    def __str__(self) -> str:
        lines = [f"  {self.number}. {self.name}: {self.law}" + (f"  [{self.place}]" if self.place else "")]
        lines += [f"     at {', '.join(self.lines)}"] if self.lines else []
        lines += [f"     {self.before}", f"     = {self.after}"]
        lines += [f"     with {', '.join(f'{v} = {b}' for v, b in self.bindings)}"] if self.bindings else []
        lines += [f"     because {e}" for e in self.evidence]
        lines += [f"     here: {_change(self.goes, self.comes)}"] if self.goes != self.comes else []
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Chain:
    """One part of the program that changed.

    Args:
        lines: user lines of the part.
        before: the part in the original.
        after: what stands for it in the result.
        steps: in the order in which they lead there.
        goes: work of the nodes that only the original has there.
        comes: work of those that only the result has.
    """

    lines: tuple[str, ...]
    before: str
    after: str
    steps: tuple[Step, ...]
    goes: Work
    comes: Work

    def __str__(self) -> str:
        head = f"{', '.join(self.lines) or 'made by the program as a whole'}: {self.before}  became  {self.after}"
        return "\n".join([head, f"  in all: {_change(self.goes, self.comes)}", *map(str, self.steps)])

    def to_html(self) -> str:
        """As a part of a page: the steps fold out."""
        items = "".join(f"<li><pre>{escape(str(step).strip())}</pre></li>" for step in self.steps)
        title = escape(", ".join(self.lines) or self.before)
        change = f"<code>{escape(self.before)}</code> became <code>{escape(self.after)}</code>"
        change += f"; {escape(_change(self.goes, self.comes))}"
        return f"<details><summary>{title}: {len(self.steps)} steps</summary><p>{change}</p><ol>{items}</ol></details>"


class _Reader:
    """The terms and steps of a certificate, beside the program that it is about."""

    def __init__(self, result: Result, proof: Proof) -> None:
        assert proof.certificate is not None
        self.certificate, self.graph = proof.certificate, result.before
        self.nodes: Mapping[int, Sequence[int]] = proof.nodes or {}
        self.rules: dict[str, Rule] = {rule.name: rule for rule in rules_of(result)}
        self.cost = cost_model(result.options.cost, jax.default_backend())
        self.table = TermTable()
        for op, attrs, args, types in self.certificate["terms"]:
            self.table.add(op, attrs, args, map(_type, types))
        self.classes = Congruence(self.table)
        for step in self.certificate["steps"]:
            self.classes.merge(step["left"], step["right"], step["number"])
        self.lines: dict[int, dict[str, None]] = {}
        for t, nodes in self.nodes.items():
            for n in nodes:
                found = self.lines.setdefault(self.classes.find(t), {})
                found.update(dict.fromkeys(map(str, self.graph.nodes[n].sources)))

    def lines_of(self, t: int) -> tuple[str, ...]:
        """User lines that compute what the term is equal to."""
        return tuple(self.lines.get(self.classes.find(t), ()))

    def reach(self, t: int) -> set[int]:
        """A term and all that it holds."""
        return set(self.table.reach([t]))

    def text(self, t: int, held: set[int], top: bool = True) -> str:
        """A term in one line; what is held is named only."""
        op, attrs, args, _ = self.table.rows[t]
        if op == "input":
            return self.graph.names[int(attrs.removeprefix("index="))]
        if op == "constant" and not args and len(attrs) < 30:
            return attrs.partition(" ")[2] or attrs
        if t in held and not top:
            return f"t{t}"
        inner = ", ".join(self.text(a, held, False) for a in args)
        label = attrs.partition(";")[0] + ("|" + attrs.partition("|")[2] if "|" in attrs else "")
        return f"{op}[{label if op == 'einsum' else attrs}]({inner})" if attrs else f"{op}({inner})"

    def work(self, terms: set[int]) -> Work:
        """What some terms cost."""
        flops = nbytes = seconds = 0.0
        for t in terms:
            row = self.table.rows[t]
            if row.op not in all_ops() or "{" in row.attrs or "ref(" in row.attrs or row.op in ("input", "constant"):
                continue
            attrs = {"einsum": (("spec", row.attrs),), "reshape": (("shape", row.types[0].shape),)}.get(row.op)
            node = Node(row.op, row.args, attrs or parse_attrs(row.attrs), row.types)
            types = [self.table.rows[a].types[0] for a in row.args]
            count = count_node(node, types)
            flops, nbytes = flops + count.flops, nbytes + count.bytes
            seconds += self.cost.node_cost(node, types) if self.cost.name != "flops" else 0.0
        return Work(flops, nbytes, seconds)

    def step(self, number: int) -> Step:
        """A step of the certificate in words."""
        step = self.certificate["steps"][number]
        left, right = self.reach(step["left"]), self.reach(step["right"])
        held = left & right
        rule = self.rules.get(step.get("rule", ""))
        bindings = [
            (v, self.text(b, held | {b}, top=False) if isinstance(b, int) else str(b))
            for v, b in step.get("bindings", {}).items()
        ]
        evidence = [
            f"({name} {' '.join(map(str, args))}) is {value}" for name, args, value in step.get("conditions", ())
        ]
        return Step(
            number,
            step.get("rule", ", ".join(step.get("passes", [step["kind"]]))),
            rule.law if rule else "; ".join(LAWS.get(name, "") for name in step.get("passes", [step["kind"]])),
            f"{PurePath(rule.path).name}:{rule.line}" if rule else "",
            self.lines_of(step["left"]),
            _short(self.text(step["left"], held)),
            _short(self.text(step["right"], held)),
            tuple(bindings),
            tuple(evidence),
            self.work(left - held),
            self.work(right - held),
        )


def chains(result: Result, proof: Proof) -> list[Chain]:
    """The changed parts: where result and original stop being the same operation on equal operands."""
    reader = _Reader(result, proof)
    rows = reader.table.rows
    pairs = list(zip(*(reader.certificate[side] for side in ("before", "after")), strict=True))
    seen: set[tuple[int, int]] = set()
    found: list[Chain] = []
    told: set[int] = set()
    while pairs:
        a, b = pairs.pop(0)
        if a == b or (a, b) in seen:
            continue
        seen.add((a, b))
        x, y = rows[a], rows[b]
        inner = list(zip(x.args, y.args, strict=False))
        same = (x.op, x.attrs, len(x.args)) == (y.op, y.attrs, len(y.args))
        if same and all(reader.classes.find(p) == reader.classes.find(q) for p, q in inner):
            pairs += inner
            continue
        steps = [n for n in reader.classes.explain((a, b)) if n not in told]
        told.update(steps)
        old, new = reader.reach(a), reader.reach(b)
        texts = [_short(reader.text(t, old & new)) for t in (a, b)]
        goes, comes = reader.work(old - new), reader.work(new - old)
        found.append(Chain(reader.lines_of(a), texts[0], texts[1], tuple(map(reader.step, steps)), goes, comes))
    return found


def _change(goes: Work, comes: Work) -> str:
    both = [f"{quantity(goes.flops, 'flop')} -> {quantity(comes.flops, 'flop')}"]
    both.append(f"{quantity(goes.bytes, 'B')} -> {quantity(comes.bytes, 'B')}")
    if goes.seconds or comes.seconds:
        both.append(f"predicted {duration(goes.seconds)} -> {duration(comes.seconds)}")
    return ", ".join(both)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."


def _type(text: str) -> TensorType:
    dtype, _, dims = text.partition("[")
    return TensorType(tuple(map(int, filter(None, dims[:-1].split(",")))), dtype)
