# SPDX-License-Identifier: Apache-2.0
"""Hand forms that the search reaches, by counted FLOP: a case that falls out is a lost rewrite."""

import pytest

from egraph_opt.bench.run import BenchOptions, run_case
from egraph_opt.bench.suites import select, suite
from egraph_opt.bench.table import WITHIN_FLOP

NO_CLOCK = BenchOptions(flops=True, budget=20.0)
"""Enough time for a busy machine: nodes and gains end these searches."""

LEAST = {"linnea": 23, "spores": 9, "linalg": 53, "partial": 48, "structure": 38, "derivatives": 84, "loops": 35}
"""Cases that reach their hand form; raise a figure when rules are added (docs/decisions/coverage.md)."""


def test_laab():
    rows = [run_case(selected, NO_CLOCK) for selected in select(["laab"])]
    assert not [row.outcome for row in rows if row.failed]
    assert not {row.name: row.excess for row in rows if row.excess > WITHIN_FLOP}


@pytest.mark.slow
@pytest.mark.parametrize("name", LEAST)
def test_as_many_as_before(name):
    rows = [run_case(selected, NO_CLOCK) for selected in select([name])]
    assert not [row.name for row in rows if row.failed]
    reached = [row.name for row in rows if row.excess <= WITHIN_FLOP]
    assert LEAST[name] <= len(reached) <= len(suite(name)), reached
