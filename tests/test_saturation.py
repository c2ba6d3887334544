# SPDX-License-Identifier: Apache-2.0
"""The engine: limits with an incumbent, statistics, provenance, round trips, failures."""

from __future__ import annotations

import pytest

from egraph_opt.engine import Limits, RuleSet, Saturation
from egraph_opt.engine.decode import Prices, choose, decode, sources_of
from egraph_opt.engine.rule import parse_rules
from egraph_opt.errors import EngineError
from egraph_opt.ir import Graph, Source, TensorType
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.normalise import normalise

RULES = RuleSet.shipped().admitted(Numerics.REASSOCIATE)
F32 = "float32"


def chain(length: int, n: int = 8) -> Graph:
    emitter = Emitter()
    matrices = [emitter.input(TensorType((n, n), F32)) for _ in range(length)]
    product = matrices[0]
    for number, matrix in enumerate(matrices[1:]):
        line = (Source("chain.py", number + 1),)
        product = emitter.contract(["ab", "bc"], "ac", {"a": n, "b": n, "c": n}, [product, matrix], line)
    return emitter.build([product])


def saturate(graph: Graph, rules: RuleSet = RULES, **limits: float) -> Saturation:
    saturation = Saturation(graph, rules, Limits(**{"seconds": 30.0, **limits}))  # type: ignore[arg-type]
    saturation.run()
    return saturation


def test_a_chain_saturates_with_all_groupings() -> None:
    saturation = saturate(chain(5))
    assert saturation.report.stop_reason == "saturated"
    (root,) = saturation.roots()
    usable = [n for n in saturation.current.classes[root] if n.constructor == "Einsum2"]
    assert 4 <= len(usable) <= 5, "one product for each place of the last multiplication, or one more through a link"
    assert saturation.report.rules["regroup-left-y"].matches > 0


def test_loading_and_decoding_without_rules_is_the_identity() -> None:
    graph = normalise(chain(6))
    saturation = saturate(graph, RuleSet(()))
    snapshot = saturation.current
    assert snapshot.size == len(graph)
    chosen = {c: nodes[0] for c, nodes in enumerate(snapshot.classes)}
    lines = sources_of(graph, saturation.numbers, snapshot)
    choice = choose(saturation.roots(), chosen, snapshot.types)
    again = decode(graph, choice, saturation.encoder, Numerics.EXACT, lines)
    assert again == graph
    assert [node.sources for node in again] == [node.sources for node in graph]


def test_provenance_names_the_rule_of_each_new_node() -> None:
    saturation = saturate(normalise(chain(4)))
    why = saturation.provenance()
    leaves = [node for nodes in saturation.current.classes for node in nodes if not node.children]
    assert not any(leaf in why for leaf in leaves), "inputs are made by no rule"
    assert set(why.values()) <= {rule.name for rule in RULES if rule.ruleset == "contract"}
    (root,) = saturation.roots()
    assert {why.get(node) for node in saturation.current.classes[root]} & {"regroup-left-y", "regroup-right-y"}


def test_node_limit_ends_the_search_with_a_usable_e_graph() -> None:
    saturation = saturate(chain(14), nodes=150)
    assert saturation.report.stop_reason == "nodes"
    assert saturation.report.nodes < 1500, "one bounded step beyond the limit"
    rows, enodes = Prices(saturation.encoder, lambda node, types: 1.0).rows(saturation.current)
    assert len(rows) == len(enodes) > 0


def test_time_limit_keeps_the_input() -> None:
    saturation = saturate(chain(10), seconds=0.0)
    assert saturation.report.stop_reason == "time"
    assert saturation.current.size >= 19


def test_iteration_limit() -> None:
    saturation = saturate(chain(12), iterations=2)
    assert saturation.report.stop_reason == "iterations"
    assert len(saturation.report.growth) == 2


def test_a_price_that_no_longer_falls_ends_the_search() -> None:
    looks: list[int] = []

    def price(saturation: Saturation) -> float:
        looks.append(saturation.current.size)
        return 1.0

    saturation = Saturation(chain(24), RULES, Limits(seconds=60, stall_nodes=10, stall_looks=2), price)
    saturation.run()
    assert saturation.report.stop_reason == "stalled"
    assert len(looks) == 3


def test_a_rule_that_egglog_refuses_is_an_engine_error() -> None:
    rules = RuleSet(tuple(parse_rules(';; l\n;; numerics: exact\n(rewrite (Add ?x) ?x :name "bad")', "bad.egg")))
    emitter = Emitter()
    x, y = (emitter.input(TensorType((3,), F32)) for _ in range(2))
    with pytest.raises(EngineError, match="Arity mismatch"):
        Saturation(emitter.build([emitter.sum_of([x, y])]), rules, Limits())


def test_growth_is_the_same_every_time() -> None:
    first, second = (saturate(chain(9)).report.growth for _ in range(2))
    assert first == second
