# SPDX-License-Identifier: Apache-2.0
"""A counterexample of a rule: shrunk, printed small, and written as a Python file that shows both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from egraph_opt.engine.decode import as_node
from egraph_opt.engine.rule import Rule
from egraph_opt.engine.snapshot import ENode
from egraph_opt.errors import EgraphOptError
from egraph_opt.frontends import write_atomically
from egraph_opt.ir import Graph, Node, TensorType
from egraph_opt.ir.graph import Builder
from egraph_opt.rules.check.cases import Case
from egraph_opt.rules.check.draws import Array
from egraph_opt.rules.check.evaluate import EvaluationError
from egraph_opt.rules.check.expression import value_text, written
from egraph_opt.rules.check.faults import Fault, find_faults
from egraph_opt.rules.check.replay import graph_text
from egraph_opt.rules.check.trial import Outcome
from egraph_opt.rules.check.valuation import Valuation

SMALL_DRAWS = 30
"""Small instances among which the smallest wrong one is looked for."""


@dataclass(frozen=True, slots=True)
class Counterexample:
    """An instance of a rule where it is wrong.

    Args:
        rule: the rule.
        seed: of the check.
        problem: what is wrong, in one line.
        before: the original term as a graph of its inputs.
        after: what the rule says is equal, over the same inputs; None for a false fact.
        inputs: values of the inputs.
    """

    rule: Rule
    seed: int
    problem: str
    before: Graph
    after: Graph | None
    inputs: tuple[Array, ...]

    def __str__(self) -> str:
        names = self.before.names
        lines = [
            f"  {name}: {type_} = {value_text(value)}"
            for name, type_, value in zip(names, self.before.input_types, self.inputs, strict=True)
        ]
        lines.append(f"  before: {written(self.before)}")
        if self.after is not None:
            lines.append(f"  after:  {written(self.after)}")
        return "\n".join(lines)

    def python(self) -> str:
        """A Python file that computes both sides, prints them and exits with 1 while they differ."""
        rule = self.rule
        values = ",\n    ".join(f"array({str(v.dtype)!r}, {v.shape!r}, {_list(v)})" for v in self.inputs)
        after = f'"""\n{graph_text(self.after)}\n"""' if self.after is not None else "None"
        return (
            "# SPDX-License-Identifier: Apache-2.0\n"
            f'"""Counterexample to rule {rule.name!r} of {rule.path}:{rule.line}, found with seed {self.seed}.\n\n'
            f'{self.problem}\n\nRunning this file prints both sides and exits with 1 while they differ.\n"""\n\n'
            "import sys\n\nfrom egraph_opt.rules.check.replay import array, replay\n\n"
            "inf, nan = float('inf'), float('nan')\n\n"
            f'RULE = r"""\n;; {rule.law}\n;; numerics: {rule.numerics.name.lower()}\n{rule}\n"""\n\n'
            f'BEFORE = """\n{graph_text(self.before)}\n"""\n\nAFTER = {after}\n\nINPUTS = (\n    {values},\n)\n\n'
            'if __name__ == "__main__":\n'
            f'    sys.exit(replay(RULE, BEFORE, AFTER, INPUTS, "{rule.numerics.name.lower()}", {self.problem!r}))\n'
        )

    def write(self, folder: Path) -> Path:
        """Write the Python file into a folder, which is made if needed.

        Raises:
            OutputError: it cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        safe = "".join(c if c.isalnum() else "_" for c in self.rule.name)
        path = folder / f"{safe}.py"
        write_atomically(path, self.python().encode())
        return path


class Checker(Protocol):
    """What makes and runs instances of one rule."""

    rule: Rule

    def cases(self, count: int, small: bool = False) -> list[Case]:
        """Instances with values."""

    def run(self, cases: Sequence[Case]) -> Outcome:
        """The rule on a batch."""

    def fault(self, outcome: Outcome) -> Fault | None:
        """The first thing that is wrong."""


def shrink(checker: Checker, outcome: Outcome, fault: Fault, seed: int) -> Counterexample:
    """The smallest wrong instance that a few draws and simpler values give.

    Args:
        checker: of the rule.
        outcome: a batch in which the rule is wrong.
        fault: what is wrong there.
        seed: of the check.
    """
    best = outcome, fault
    known = [outcome.valuation.cases[fault.case]]
    batches: list[Callable[[], list[Case]]] = [lambda: checker.cases(SMALL_DRAWS, small=True)] * 2 + [lambda: known]
    smallest = None
    for draw in batches:
        for case in _wrong_cases(checker, draw(), seed):
            alone = checker.run([case])
            found = checker.fault(alone)
            if found is not None and (smallest is None or _size(alone, found) < smallest):
                best, smallest = (alone, found), _size(alone, found)
        if smallest is not None:
            break
    best = _simplified(checker, *best)
    return _counterexample(checker.rule, *best, seed)


def _wrong_cases(checker: Checker, cases: Sequence[Case], seed: int) -> list[Case]:
    """The smallest few cases of a batch in which something is wrong."""
    if not cases:
        return []
    outcome = checker.run(cases)
    wrong = {fault.case for fault in find_faults(outcome, checker.rule)}
    if not wrong and (first := checker.fault(outcome)):
        wrong = {first.case}
    return sorted((cases[k] for k in wrong), key=_length)[:4]


def _length(case: Case) -> int:
    return len(case.instance.nodes) + case.instance.elements


def _size(outcome: Outcome, fault: Fault) -> tuple[int, int]:
    case = outcome.valuation.cases[fault.case]
    return _length(case), sum(len(value_text(v)) for v in case.inputs.values())


def _simplified(checker: Checker, outcome: Outcome, fault: Fault) -> tuple[Outcome, Fault]:
    """The same instance with plainer numbers, as long as it stays wrong; the engine need not run again."""
    case = outcome.valuation.cases[fault.case]
    if len(outcome.valuation.cases) > 1 or case.instance.derived:
        return outcome, fault
    for n, value in list(case.inputs.items())[:6]:
        if n in case.instance.structured:
            continue  # plainer numbers may lack the structure
        for simpler in _simpler(value):
            if str(simpler.tolist()) == str(case.inputs[n].tolist()):
                continue
            other = case.with_inputs({**case.inputs, n: simpler})
            try:
                again = outcome.with_cases([other])
                found = checker.fault(again)
            except EvaluationError:
                continue
            if found is not None:
                case, outcome, fault = other, again, found
                break
    return outcome, fault


def _simpler(value: Array) -> Iterator[Array]:
    """Plainer values of the same type, the plainest first."""
    shape, dtype = value.shape, value.dtype
    for number in (1, 0, 2, -1):
        if (dtype.kind == "u" and number < 0) or (dtype.kind == "b" and number not in (0, 1)):
            continue
        yield np.full(shape, number).astype(dtype)
    yield np.arange(1, value.size + 1).reshape(shape).astype(dtype)
    if dtype.kind in "fcV":
        plain = value.astype(np.complex128 if dtype.kind == "c" else np.float64)
        with np.errstate(all="ignore"):
            yield np.round(plain).astype(dtype)
            yield np.round(plain, 1).astype(dtype)


def _counterexample(rule: Rule, outcome: Outcome, fault: Fault, seed: int) -> Counterexample:
    valuation = outcome.valuation
    used = [fault.case] if fault.other is None else sorted({fault.case, fault.other[0]})
    inputs = [(k, n) for k in used for n in valuation.cases[k].instance.inputs]
    before = _Writer(valuation, inputs).graph((fault.case, fault.node))
    after = None
    if fault.other is not None:
        after = _Writer(valuation, inputs).graph(fault.other)
    elif fault.made is not None:
        after = _Writer(valuation, inputs).graph(fault.made, before.output_types[0])
    values = tuple(valuation.cases[k].inputs[n] for k, n in inputs)
    return Counterexample(rule, seed, fault.problem, before, after, values)


class _Writer:
    """Writes terms over the inputs of a case as a graph."""

    def __init__(self, valuation: Valuation, inputs: Sequence[tuple[int, int]]) -> None:
        self._valuation, self._builder = valuation, Builder()
        self._place: dict[tuple[int, int], int] = {}
        names: set[str] = set()
        for k, n in inputs:
            instance = valuation.cases[k].instance
            name = next((v[1:] for v, place in instance.tensors.items() if place == n and v[1:].isidentifier()), "")
            name = name or f"in{len(self._place)}"
            while name in names:  # of two instances that became one
                name += "_"
            names.add(name)
            self._place[k, n] = self._builder.input(instance.nodes[n].type, name)

    def graph(self, root: ENode | tuple[int, int], fallback: TensorType | None = None) -> Graph:
        """Graph of an original node ``(case, position)`` or of an e-node."""
        number = self._made(root, fallback) if isinstance(root, ENode) else self._original(*root)
        return self._builder.build([number])

    def _original(self, k: int, n: int) -> int:
        if (k, n) not in self._place:
            node = self._valuation.cases[k].instance.nodes[n]
            self._place[k, n] = self._add(node, [self._original(k, q) for q in node.operands])
        return self._place[k, n]

    def _class(self, c: int) -> int:
        if c in self._valuation.members:
            return self._original(*self._valuation.members[c][0])
        definition = self._valuation.definition(c)
        if definition is None:
            raise EgraphOptError("a class that nothing defines")
        return self._made(definition, None)

    def _made(self, enode: ENode, fallback: TensorType | None) -> int:
        operands = [self._class(q) for q in enode.children]
        type_ = self._valuation.made_type(enode) or fallback
        assert type_ is not None
        return self._add(as_node(enode, (type_,), self._valuation.encoder), operands, type_)

    def _add(self, node: Node, operands: Sequence[int], type_: TensorType | None = None) -> int:
        return self._builder.add(node.op, operands, node.attrs, type_ or node.types)


def _list(value: Array) -> str:
    plain = value.astype(np.float64) if value.dtype.kind == "V" else value
    return repr(plain.ravel().tolist())
