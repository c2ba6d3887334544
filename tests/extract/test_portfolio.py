# SPDX-License-Identifier: Apache-2.0
"""The portfolio on e-graphs of real programs, its promises about time and proof, and pitfalls met before."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from egraph_opt.extract import EXTRACTORS, Table, evaluate, extract, load_table
from egraph_opt.extract.local_search import improve
from egraph_opt.extract.program import Program
from egraph_opt.extract.reduction import reduce
from egraph_opt.extract.smaller import trimmed
from egraph_opt.extract.testing import brute_force, larger_table, plain_program, random_table
from egraph_opt.extract.tree import cheapest_tree

DATA = Path(__file__).parent.parent / "data" / "egraphs"
FAR = 1e12

# The best costs known; those of the first three are proven.
BEST = {
    "lap1_8_20000_1.0_01": 80201.2,
    "nest24_8_20000_1.0_01": 28985001.4,
    "nest33_8_20000_1.0_01": 35280835.6,
    "nest23_6_5000_2.0_00": 19364521.0,
}


def test_best_costs_cover_the_data():
    assert sorted(BEST) == sorted(path.stem for path in DATA.glob("*.json"))


@pytest.mark.parametrize("name", BEST)
def test_cost_on_real_programs(name):
    """Within 1 % even when the machine is busy; greedy DAG is 10 to 40 % off on the nested gradients."""
    table = load_table(DATA / f"{name}.json")
    found = extract(table, budget=1.0)
    assert evaluate(table, found.choice) == pytest.approx(found.cost)
    assert found.cost <= BEST[name] * 1.01
    assert found.bound <= BEST[name] * (1 + 1e-6)
    costs = [cost for _, cost, _ in found.trace]
    assert costs == sorted(costs, reverse=True)
    assert found.trace[0][2] == "tree"
    assert (found.trace[-1][1], found.trace[-1][2]) == (found.cost, found.method)
    assert found.seconds < 10.0  # far from the budget only if the limit is not kept at all


@pytest.mark.alike
@pytest.mark.parametrize("name", BEST)
@pytest.mark.parametrize("extractor", ["tree", "greedy-dag", "local-search"])
def test_portfolio_is_never_worse_than_its_parts(name, extractor):
    table = load_table(DATA / f"{name}.json")
    part = EXTRACTORS[extractor].function(table)
    assert extract(table, budget=1.0).cost <= part.cost * (1 + 1e-9)


@pytest.mark.parametrize("name", BEST)
def test_reduction_is_strong_and_bounded(name):
    table = load_table(DATA / f"{name}.json")
    small, tree = trimmed(table)
    reduced = reduce(small.table, tree, BEST[name] * (1 + 1e-6))
    assert reduced is not None
    assert len(small.table.cost) < 0.6 * len(table.cost)
    assert len(reduced.table.cost) < 0.6 * len(small.table.cost)
    program = Program(reduced.table)
    bound = program.relax(FAR)
    assert bound is not None
    assert bound.value <= BEST[name] * (1 + 1e-6)


def test_nested_gradient_is_proven():
    found = extract(load_table(DATA / "nest24_8_20000_1.0_01.json"), budget=20.0)
    assert found.gap <= 1e-4
    assert found.cost == pytest.approx(28985001.4, rel=1e-4)


def test_no_budget_still_gives_a_choice():
    table = load_table(DATA / "lap1_8_20000_1.0_01.json")
    found = extract(table, budget=0.0)
    assert evaluate(table, found.choice) == pytest.approx(found.cost)


def test_ends_as_soon_as_it_is_proven():
    """A single derivation, or one that the reduction decides: no search, whatever the budget."""
    chain = Table([(0, 1.0, ()), *((c, 1.0, (c - 1,)) for c in range(1, 50))], [49], 50)
    found = extract(chain, budget=1000.0)
    assert (found.cost, found.gap) == (50.0, 0.0)
    dominated = Table([*chain.nodes, *((c, 2.0, (c - 1, c // 2)) for c in range(1, 50))], [49], 50)
    found = extract(dominated, budget=1000.0)
    assert (found.cost, found.gap) == (50.0, 0.0)
    assert found.seconds < 5.0


def test_one_thread_of_randomness_whatever_the_hash_seed():
    """Labels are strings, and sets of strings are ordered by the hash seed; choices must not depend on it."""
    program = (
        "from egraph_opt.extract.testing import larger_table\n"
        "from egraph_opt.extract import extract\n"
        "print([extract(larger_table(s), budget=60.0).choice for s in (0, 3, 8)])\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_shared_siblings_are_seen():
    """Greedy DAG builds a product and its transpose apart, as each class alone is cheaper so."""
    # 0: x; 1: product, 2: its transpose; either is 10 from scratch, 1 from the other; 3 reads both, through 4 and 5
    rows = [(0, 1.0, ()), (1, 10.0, (0,)), (1, 1.0, (2,)), (2, 10.0, (0,)), (2, 1.0, (1,))]
    rows += [(3, 1.0, (4, 5)), (4, 1.0, (1,)), (5, 1.0, (2,))]
    table = Table(rows, [3], 6)
    assert EXTRACTORS["greedy-dag"].function(table).cost == 24.0
    assert EXTRACTORS["local-search"].function(table).cost == 15.0
    assert extract(table).gap == 0.0


def test_two_roots_share():
    rows = [(0, 5.0, ()), (1, 4.0, ()), (1, 0.5, (0,)), (2, 4.0, ()), (2, 0.5, (0,))]
    assert extract(Table(rows, [1], 3)).cost == 4.0
    assert extract(Table(rows, [1, 2], 3)).cost == 6.0


@pytest.mark.alike
@pytest.mark.parametrize("seed", range(24))
def test_fixing_by_reduced_cost_keeps_an_optimum(seed):
    """The reduced cost of a class that is needed anyway must not count, or optimal nodes are thrown out."""
    table = larger_table(seed)
    tree = cheapest_tree(table)
    if any(tree.choice[root] < 0 for root in table.roots):
        return
    small, tree = trimmed(table)
    want = plain_program(table) if seed < 20 else EXTRACTORS["exact"].function(table).cost
    bound = Program(small.table).relax(FAR)
    assert bound is not None
    dead = np.flatnonzero(bound.value + bound.penalty > want * (1 + 1e-6)).tolist()
    reduced = reduce(small.table, tree, want * (1 + 1e-6), dead)
    assert reduced is not None
    assert plain_program(reduced.table) == pytest.approx(want, rel=1e-5)


def test_penalty_of_a_root_is_not_counted_twice():
    """One root with two nodes of 10 and 11: the relaxation is 10, the dear node costs 1 more, not 11 more."""
    table = Table([(0, 10.0, ()), (0, 11.0, ())], [0], 1)
    bound = Program(table).relax(FAR)
    assert bound is not None
    assert bound.value == pytest.approx(10.0)
    assert bound.value + bound.penalty[1] <= 11.0 + 1e-6


def test_a_limit_below_the_optimum_leaves_nothing():
    refused = 0
    for seed in range(200):
        table = random_table(seed)
        want = brute_force(table)
        if 0.0 < want < 1e9:
            small, tree = trimmed(table)
            reduced = reduce(small.table, tree, 0.5 * want)
            refused += reduced is None
    assert refused > 50


@pytest.mark.parametrize("space", [1e-9, 0.3])
def test_local_search_keeps_its_order(space, monkeypatch):
    """Classes are moved under others again and again; when there is no space left, all are spread out anew."""
    monkeypatch.setattr("egraph_opt.extract.local_search.SMALLEST_SPACE", space)
    for seed in range(300):
        table = random_table(seed)
        tree = cheapest_tree(table)
        if all(tree.choice[root] >= 0 for root in table.roots):
            found = improve(table, tree.choice, tree.order)
            everything = Table(table.nodes, tree.order, table.size)
            assert evaluate(everything, found.choice) is not None
            assert evaluate(table, found.choice) == pytest.approx(found.cost)


def test_a_ring_of_alternatives():
    """Every class is one more than the next around a ring, or a leaf: one leaf is needed."""
    size = 60
    rows = [(c, 10.0 + c, ()) for c in range(size)]
    rows += [(c, 1.0, ((c + 1) % size,)) for c in range(size)]
    table = Table(rows, list(range(size)), size)
    local = EXTRACTORS["local-search"].function(table)
    assert evaluate(table, local.choice) == pytest.approx(local.cost)
    found = extract(table, budget=10.0)
    assert evaluate(table, found.choice) == pytest.approx(found.cost) == 10.0 + size - 1
    assert found.gap <= 1e-4
