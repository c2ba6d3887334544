# SPDX-License-Identifier: Apache-2.0
"""The order of rewrites: programs in which a greedy rewriter with the same rules is stuck and the e-graph is not."""

import pytest

from egraph_opt.bench.run import BenchOptions, Row, run_case
from egraph_opt.bench.suites import select

OPTIONS = BenchOptions(against=("greedy",), flops=True, budget=20.0)

STUCK = {
    "algebra/(A-UU')x": 3.0,
    "algebra/(A+UV')B": 5.0,
    "algebra/Hv, 2 layers": 20.0,
    "derivatives/J v, residual network": 20.0,
    "derivatives/neural tangent kernel": 10.0,
    "laab/am_distributivity2": 100.0,
    "linalg/A'ABx": 20.0,
    "linalg/low-rank adapter": 5.0,
    "linalg/polynomial times vector": 100.0,
    "linalg/reflection": 50.0,
}
"""Arithmetic of the greedy rewriter over that of the e-graph, at least."""

SLOW = {
    "derivatives/log-determinant of a planar flow": 100.0,
    "linalg/Woodbury": 100.0,
    "linalg/log det(AB)": 1.9,
    "linalg/push-through": 20.0,
    "linnea/02 generalised least squares": 1.8,
}


def run(name: str) -> Row:
    (selected,) = select([name])
    row = run_case(selected, OPTIONS)
    assert not row.failed, row.outcome
    return row


@pytest.mark.parametrize("name", [*STUCK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_greedy_stays_stuck(name: str) -> None:
    row = run(name)
    assert row.stuck
    assert row.greedy is not None
    assert row.flop[0] is not None
    assert row.flop[1] is not None
    assert (STUCK | SLOW)[name] * row.flop[1] <= row.greedy <= 1.01 * row.flop[0]


@pytest.mark.parametrize("name", ["algebra/(AB)x", "algebra/A'BA'By", "algebra/trace(AB)"])
def test_greedy_reaches_what_single_steps_reach(name: str) -> None:
    row = run(name)
    assert not row.stuck
    assert row.greedy == pytest.approx(row.flop[1], rel=0.01)
