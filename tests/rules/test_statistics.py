# SPDX-License-Identifier: Apache-2.0
"""``rules stats``: matches, unions and e-nodes of each rule, and the rule that made a program grow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt.capture import capture
from egraph_opt.cli import main
from egraph_opt.cost import FlopCount
from egraph_opt.engine import Limits, RuleSet, Saturation
from egraph_opt.engine.rule import parse_rules
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.rules.statistics import rule_statistics
from egraph_opt.search import SearchOptions

X = np.ones((3, 3), np.float32)


def graph_of(program: Callable[..., Any], *args: Any) -> Graph:
    return capture(program, args or (X,)).graph


def rule(name: str, left: str, right: str) -> RuleSet:
    text = f';; a law\n;; numerics: reassociate\n(rewrite {left} {right} :name "{name}")'
    return RuleSet(tuple(parse_rules(text, "pack.egg")))


def options(rules: RuleSet) -> SearchOptions:
    return SearchOptions(rules, Numerics.REASSOCIATE, 60.0, FlopCount())


def counts(program: Callable[..., Any], rules: RuleSet) -> dict[str, tuple[int, int]]:
    """Unions and e-nodes; a match may come again when its classes change."""
    found = rule_statistics(graph_of(program), options(rules))
    assert all(row.matches >= max(1, row.unions) for row in found.rows)
    return {row.name: (row.unions, row.nodes) for row in found.rows}


def test_a_rule_that_makes_a_node() -> None:
    found = counts(lambda x: jnp.exp(jnp.tanh(x)), rule("r", "(Tanh ?x)", "(Sinh ?x)"))
    assert found == {"r": (1, 1)}


def test_a_rule_that_merges_what_is_there() -> None:
    found = counts(lambda x: jnp.tanh(x) + jnp.sinh(x), rule("r", "(Tanh ?x)", "(Sinh ?x)"))
    assert found == {"r": (1, 0)}


def test_a_rule_that_says_what_is_known() -> None:
    rules = rule("r", "(Tanh ?x)", "(Sinh ?x)") + rule("back", "(Sinh ?x)", "(Tanh ?x)")
    found = counts(lambda x: jnp.exp(jnp.tanh(x)), rules)
    assert found["r"] == (1, 1)
    assert found["back"] == (0, 0)


def test_counting_changes_nothing() -> None:
    graph = graph_of(lambda a, b: a @ b.T @ a + (a - b) @ a + jnp.trace(a @ b), X, X)
    growth = []
    for count in (False, True):
        saturation = Saturation(graph, RuleSet.shipped(), Limits(seconds=60), count_unions=count)
        snapshot = saturation.run()
        saturation.close()
        growth.append((saturation.report.growth, snapshot.size, len(snapshot.classes)))
    assert growth[0] == growth[1]
    assert sum(r.unions for r in saturation.report.rules.values()) > 0


def test_the_culprit_of_a_growth_stands_first() -> None:
    rules = rule("endless", "(Exp ?x)", "(Exp (Sin ?x))") + rule("harmless", "(Tanh ?x)", "(Sinh ?x)")
    found = rule_statistics(graph_of(lambda x: jnp.exp(jnp.tanh(x))), options(rules))
    assert found.stop_reason == "iterations"
    assert found.culprit is not None
    assert found.culprit.name == "endless"
    made = sum(row.nodes for row in found.rows)
    assert str(found).splitlines()[0] == (
        f"grew most: endless made {found.rows[0].nodes} of {made} e-nodes that rules made"
    )
    assert found.rows[0].nodes > 10
    assert len(found.growth) == 30


def test_nobody_is_blamed_for_what_saturates() -> None:
    found = rule_statistics(graph_of(lambda x: jnp.exp(jnp.tanh(x))), options(rule("r", "(Tanh ?x)", "(Sinh ?x)")))
    assert found.stop_reason == "saturated"
    assert found.culprit is None
    assert "grew most" not in str(found)


def test_of_a_result() -> None:
    result = egraph_opt.optimize(lambda a, b, x: a @ b @ x, measure=False).plan(X, X, X[0])
    found = result.rule_statistics()
    rows = {row.name: row for row in found.rows}
    assert {name: rows[name].used for name in result.report.rules_fired} == result.report.rules_fired
    assert "regroup-of-nothing" not in found.silent
    assert set(found.silent).isdisjoint(rows)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "m.jaxexport"
    kind = jax.ShapeDtypeStruct((5, 5), np.float32)
    model.write_bytes(jax.export.export(jax.jit(lambda a, b, x: a @ b @ x[0]))(kind, kind, kind).serialize())
    output = tmp_path / "stats.json"
    assert main(["rules", "stats", str(model), "--json", str(output)]) == 0
    text = capsys.readouterr().out
    figures = json.loads(output.read_text())
    assert {row["name"] for row in figures["rows"]} <= {rule.name for rule in RuleSet.shipped()}
    assert all(row["name"] in text for row in figures["rows"])
    assert figures["growth"]
    assert main(["rules", "stats"]) == 2
    assert "required: MODEL" in capsys.readouterr().err
