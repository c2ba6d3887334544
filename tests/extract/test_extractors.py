# SPDX-License-Identifier: Apache-2.0
"""Every extractor against brute force and against an independent integer program."""

from functools import cache
from math import inf

import pytest

from egraph_opt.errors import ExtractionError
from egraph_opt.extract import EXTRACTORS, evaluate, extract, selected
from egraph_opt.extract.local_search import improve
from egraph_opt.extract.program import Program
from egraph_opt.extract.reduction import reduce
from egraph_opt.extract.restarts import restart
from egraph_opt.extract.smaller import trim
from egraph_opt.extract.testing import brute_force, larger_table, plain_program, random_table
from egraph_opt.extract.tree import cheapest_tree

BLOCKS, PER_BLOCK = 20, 100
BUDGETS = {"neighbourhoods": 0.002}  # it goes on until the budget is spent
FAR = 1e12  # a deadline that never comes


@cache
def optimum(seed: int) -> float:
    return brute_force(random_table(seed))


def seeds(block: int) -> list[int]:
    """The seeds of a block whose tables have a choice."""
    everything = range(block * PER_BLOCK, (block + 1) * PER_BLOCK)
    return [seed for seed in everything if optimum(seed) < inf]


def tree_cost(table, choice) -> float:
    """Price of the root classes with nothing shared."""
    price = [0.0] * table.size
    for c in selected(table, choice):
        node = choice[c]
        price[c] = table.cost[node] + sum(price[kid] for kid in table.kids[node])
    return sum(price[root] for root in table.roots)


@pytest.mark.parametrize("block", range(BLOCKS))
@pytest.mark.parametrize("name", EXTRACTORS)
def test_extractor_keeps_its_promise(name, block):
    extractor = EXTRACTORS[name]
    for seed in seeds(block):
        table, want = random_table(seed), optimum(seed)
        found = extractor.function(table, BUDGETS.get(name, 5.0), seed=seed)
        case = f"{name} on random_table({seed})"
        assert evaluate(table, found.choice) == pytest.approx(found.cost), case
        assert found.cost >= want - 1e-6 * (1 + want), case
        assert found.bound <= want + 1e-6 * (1 + want), case
        if extractor.optimal == "dag":
            assert found.cost == pytest.approx(want, rel=1e-4), case
        if extractor.optimal == "tree":
            least = sum(cheapest_tree(table).value[root] for root in table.roots)
            assert tree_cost(table, found.choice) == pytest.approx(least), case


@pytest.mark.alike
@pytest.mark.parametrize("block", range(BLOCKS))
def test_every_class_has_an_acyclic_choice(block):
    """Also the classes that are not needed: callers may ask for them, and the next stage may turn to them."""
    for seed in seeds(block):
        table = random_table(seed)
        choice = extract(table, 5.0).choice
        derivable = [c for c, node in enumerate(cheapest_tree(table).choice) if node >= 0]
        everything = type(table)(table.nodes, derivable, table.size)
        assert evaluate(everything, choice) is not None, seed


@pytest.mark.alike
@pytest.mark.parametrize("block", range(BLOCKS))
def test_reduction_keeps_an_optimum(block):
    for seed in seeds(block):
        table, want = random_table(seed), optimum(seed)
        small, tree = trim(table, cheapest_tree(table))
        local = improve(small.table, tree.choice, tree.order)
        assert want - 1e-9 <= local.cost <= evaluate(small.table, tree.choice) + 1e-9, seed
        for limit in (inf, local.cost, want):
            reduced = reduce(small.table, tree, limit * (1 + 1e-9))
            assert reduced is not None, (seed, limit)
            assert brute_force(reduced.table) == pytest.approx(want), (seed, limit)
            again = cheapest_tree(reduced.table)
            choice = improve(reduced.table, again.choice, again.order).choice
            full = small.expand(reduced.expand(choice))
            assert evaluate(table, full) == pytest.approx(evaluate(reduced.table, choice)), (seed, limit)


@pytest.mark.parametrize("block", range(5))
def test_program_alone(block):
    """No reduction, no incumbent worth the name: the relaxation bounds and branching finds the optimum."""
    for seed in seeds(block):
        table, want = random_table(seed), optimum(seed)
        small, tree = trim(table, cheapest_tree(table))
        if not small.table.roots:
            assert want == 0.0
            continue
        cost = evaluate(small.table, tree.choice)
        program = Program(small.table)
        bound = program.relax(FAR)
        assert bound is not None, seed
        assert bound.value <= want + 1e-6 * (1 + want), seed
        proof = program.branch(improve(small.table, tree.choice, tree.order), FAR, 0.0)
        assert want - 1e-6 <= proof.best.cost <= cost + 1e-6, seed
        assert proof.best.cost == pytest.approx(want, rel=1e-6), seed
        assert proof.bound <= want + 1e-6 * (1 + want), seed


@pytest.mark.parametrize("block", range(5))
def test_restarts_do_not_get_worse(block):
    for seed in seeds(block):
        table, want = random_table(seed), optimum(seed)
        tree = cheapest_tree(table)
        start = improve(table, tree.choice, tree.order)
        found = restart(table, start, FAR, patience=4, seed=seed)
        assert want - 1e-9 <= found.cost <= start.cost, seed
        assert evaluate(table, found.choice) == pytest.approx(found.cost), seed


@pytest.mark.alike
@pytest.mark.parametrize("seed", [pytest.param(n, marks=[pytest.mark.slow] * (n >= 20)) for n in range(150)])
def test_larger_tables_against_a_plain_program(seed):
    table = larger_table(seed)
    want = plain_program(table)
    if want == inf:
        with pytest.raises(ExtractionError, match="no acyclic choice"):
            extract(table)
        return
    found = extract(table, 20.0, gap=1e-7)
    assert evaluate(table, found.choice) == pytest.approx(found.cost)
    assert found.cost == pytest.approx(want, rel=1e-5)
    assert found.bound <= want * (1 + 1e-6)
    assert found.gap <= 1e-6
