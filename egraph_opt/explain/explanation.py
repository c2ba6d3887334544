# SPDX-License-Identifier: Apache-2.0
"""What was done to a program: the parts that changed, and the laws that lead from the user's lines to the result."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from egraph_opt.errors import EgraphOptError
from egraph_opt.explain.certificate import told
from egraph_opt.explain.chains import Chain, chains
from egraph_opt.explain.checker import CertificateError, Terms, check
from egraph_opt.explain.follow import Effort
from egraph_opt.explain.prove import Proof, prove
from egraph_opt.explain.summary import rules_of, summary
from egraph_opt.explain.terms import program_names
from egraph_opt.report import duration, quantity
from egraph_opt.result import Result

REPORT_SECONDS = 30.0
"""What the second search may take for the explanation in a report [s]."""

RECORDED = 6.0
"""It may take so many times the seconds of the first one in any case: all that is done again is recorded."""


@dataclass(frozen=True)
class Explanation:
    """An explanation that can be checked; ``str()`` of it is a text.

    Args:
        result: what is explained.
        proof: the certificate that the chosen program equals the original, or why there is none.
    """

    result: Result
    proof: Proof

    @property
    def certificate(self) -> dict[str, Any] | None:
        """The proof as plain data, for ``egraph_opt.explain.checker``; None where none was found."""
        return self.proof.certificate

    @cached_property
    def chains(self) -> list[Chain]:
        """For each changed part of the program the steps that lead to it."""
        return [] if self.certificate is None else chains(self.result, self.proof)

    def to_json(self) -> str:
        """The certificate as JSON text.

        Raises:
            EgraphOptError: no certificate was found.
        """
        if self.certificate is None:
            raise EgraphOptError(f"{self.result.report.name}: no certificate: {self.proof.reason}")
        return json.dumps(self.certificate, indent=1)

    def check(self) -> str:
        """Replay the certificate, for the programs of this result; what is wrong with it, "" when it holds."""
        if self.certificate is None:
            return f"no certificate: {self.proof.reason}"
        try:
            check(self.certificate)
        except CertificateError as error:
            return str(error)
        names = Terms(self.certificate["terms"]).names
        for side, graph in (("before", self.result.before), ("after", self.result.after)):
            if [names[t] for t in self.certificate[side]] != program_names(graph):
                return f"the certificate speaks of another program {side}"
        rules = {rule.name: rule for rule in rules_of(self.result)}
        for name, law in self.certificate["rules"].items():
            if name not in rules or told(rules[name]) != law:
                return f"the certificate tells another law as the rule {name}"
        return ""

    def __str__(self) -> str:
        report = self.result.report
        lines = [summary(self.result)]
        if report.improved:
            traffic = f"{quantity(report.bytes_before, 'B')} -> {quantity(report.bytes_after, 'B')} of memory traffic"
            unit = (lambda v: quantity(v, "flop")) if report.cost_model == "flops" else duration
            predicted = f"predicted cost {unit(report.predicted_before)} -> {unit(report.predicted_after)}"
            lines.append(f"the whole program: {traffic}, {predicted} by {report.cost_model}")
        if self.certificate is None:
            lines.append(f"without a certificate: {self.proof.reason}")
        elif not self.certificate["steps"]:
            lines.append("the program is the original, written in the same terms")
        else:
            count = len(self.certificate["steps"])
            lines.append(f"proven equal to the original; steps: {count}, parts changed: {len(self.chains)}")
            lines += [str(chain) for chain in self.chains]
        return "\n".join(lines)

    def to_html(self) -> str:
        """A fragment for the report."""
        if self.certificate is None:
            from html import escape

            return f'<p class="note">No certificate: {escape(self.proof.reason)}.</p>'
        return "".join(chain.to_html() for chain in self.chains)


def explain(result: Result, seconds: float = 60.0) -> Explanation:
    """Explain a result by a second, recorded search.

    Args:
        result: of ``optimize(...).plan(...)``.
        seconds: what the second search may take, longer where the first one took long [s].
    """
    seconds = max(seconds, RECORDED * result.search.saturation.seconds)
    effort = Effort(result.options.active_rules(), result.options.numerics, seconds)
    frozen = result.convention.frozen_positions
    return Explanation(result, prove(result.before, result.after, result.search, effort, frozen))


def fragment(result: Result) -> str:
    """HTML of the explanation for the report, which waits less long for it; "" for a kept original."""
    return explain(result, REPORT_SECONDS).to_html() if result.report.improved else ""
