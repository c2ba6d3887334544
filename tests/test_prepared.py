# SPDX-License-Identifier: Apache-2.0
"""E-graphs that are used again: same results as new ones, nothing left over, none kept after a failure."""

import threading

import jax.numpy as jnp
import pytest

from egraph_opt.capture import capture
from egraph_opt.cost import cost_model
from egraph_opt.engine import Limits, RuleSet, Saturation, prepared
from egraph_opt.errors import EngineError
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.search import SearchOptions, search

RULES = RuleSet.shipped().admitted(Numerics.REASSOCIATE)
SHAPES = [(8, 9), (9, 7), (7, 6)]


@pytest.fixture(autouse=True)
def none_kept() -> None:
    for session in prepared._KEPT.sessions.values():
        session.close()
    prepared._KEPT.sessions.clear()
    return


def chain() -> Graph:
    return capture(lambda a, b, c: (a @ b) @ c + (a @ b) @ c, [jnp.zeros(s) for s in SHAPES]).graph


def saturation(graph: Graph) -> Saturation:
    return Saturation(graph, RULES, Limits(seconds=5.0))


def test_a_used_e_graph_gives_what_a_new_one_gives() -> None:
    runs = []
    for _ in range(3):
        grown = saturation(chain())
        snapshot = grown.run()
        runs.append((snapshot.classes, grown.roots(), grown.report.growth, grown.provenance()))
        grown.close()
    assert runs[0] == runs[1] == runs[2]


def test_an_e_graph_is_used_again_for_the_same_constructors_only() -> None:
    first = saturation(capture(lambda a, b: b.T @ a - b, [jnp.zeros((6, 6))] * 2).graph)
    first.close()
    again = saturation(capture(lambda a, b: a @ b + a, [jnp.zeros((5, 5))] * 2).graph)
    assert again.session is first.session
    other = saturation(capture(lambda a: jnp.exp(a @ a) + a, [jnp.zeros((5, 5))]).graph)
    assert other.session is not first.session
    again.close()
    other.close()


def test_two_at_a_time_do_not_share() -> None:
    first, second = saturation(chain()), saturation(chain())
    assert first.session is not second.session
    assert first.run().classes == second.run().classes
    first.close()
    second.close()


def test_nothing_is_kept_after_a_failure() -> None:
    grown = saturation(chain())
    with pytest.raises(EngineError):
        grown.session.run("(no-such-thing)")
    grown.close()
    assert not prepared._KEPT.sessions


def test_few_are_kept() -> None:
    for op in (jnp.exp, jnp.sin, jnp.cos, jnp.tanh, jnp.log, jnp.abs, jnp.floor, jnp.ceil, jnp.sqrt):
        saturation(capture(lambda a, op=op: op(a @ a) + a, [jnp.zeros((5, 5))]).graph).close()
    assert len(prepared._KEPT.sessions) == prepared.KEPT


def test_each_thread_has_its_own() -> None:
    options = SearchOptions(RULES, Numerics.REASSOCIATE, 5.0, cost_model("roofline"))
    found: list[Graph] = []

    def run() -> None:
        found.extend(search(chain(), options).candidates[0].graph for _ in range(2))

    run()
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
