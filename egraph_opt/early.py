# SPDX-License-Identifier: Apache-2.0
"""Passes over whole programs before anything is searched: what is read of tensors, small weights, convolutions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from egraph_opt.adjoint import DIRECTIONS, WEIGHTED, directions_summed, weights_gathered
from egraph_opt.cost import CostModel
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.nets import (
    CONV_OPERANDS,
    CONV_PRODUCT,
    CONV_SUM,
    REQUANTISED,
    conv_operands,
    conv_products,
    conv_sums,
    requantised,
)
from egraph_opt.normalise import normalise
from egraph_opt.reads import READ_PART, folded, narrowed, ordered, picked

SLACK = 1.25
"""How much dearer a program may be that computes less in more parts: it gives the rules more to do."""


def rewritten(
    graph: Graph, numerics: Numerics, cost: CostModel
) -> tuple[Graph, Counter[str], list[tuple[Mapping[str, int], Graph, Graph]]]:
    """The program after these passes, which of them were of use, and each change: passes, program before and after.

    Args:
        graph: in normal form.
        numerics: class of the changes.
        cost: of programs; a pass that makes one dearer than it may be is undone.
    """
    changes: list[tuple[Mapping[str, int], Graph, Graph]] = []
    total: Counter[str] = Counter()
    for change in (_narrowed, _picked, _weighted, _directed, _rounded, _taken, _added, _multiplied):
        new, used = change(graph, numerics, cost)
        changes.append((used, graph, new))
        total += used
        graph = new
    return graph, total, changes


def used_pass(
    graph: Graph, new: Graph, name: str, numerics: Numerics, cost: CostModel, slack: float = 1.0
) -> tuple[Graph, Counter[str]]:
    """What a pass made, if it changed the program and is not too dear, with the name of the pass; else the program."""
    if new is not graph:
        new = normalise(new, numerics)
        if new != graph and cost.graph_seconds(new) <= slack * cost.graph_seconds(graph):
            return new, Counter((name,))
    return graph, Counter()


def _narrowed(graph: Graph, numerics: Numerics, cost: CostModel) -> tuple[Graph, Counter[str]]:
    """The program without what nobody reads of its tensors, and without orders that do not matter."""
    total: Counter[str] = Counter()
    for name, change in ((READ_PART, narrowed), ("read-order", ordered), ("read-fold", folded)):
        new = change(graph, numerics)
        if new is graph:
            continue
        new = normalise(new, numerics)
        if cost.graph_seconds(new) <= SLACK * cost.graph_seconds(graph):
            total[name] += new != graph
            graph = new
    return graph, +total


def _picked(graph: Graph, numerics: Numerics, cost: CostModel) -> tuple[Graph, Counter[str]]:
    return used_pass(graph, picked(graph, numerics), "read-elements", numerics, cost)


def _weighted(graph: Graph, numerics: Numerics, cost: CostModel) -> tuple[Graph, Counter[str]]:
    return used_pass(graph, weights_gathered(graph, numerics), WEIGHTED, numerics, cost, SLACK)


def _directed(graph: Graph, numerics: Numerics, cost: CostModel) -> tuple[Graph, Counter[str]]:
    return used_pass(graph, directions_summed(graph, numerics, cost.graph_seconds), DIRECTIONS, numerics, cost)


def _rounded(graph: Graph, numerics: Numerics, cost: CostModel) -> tuple[Graph, Counter[str]]:
    return used_pass(graph, requantised(graph), REQUANTISED, numerics, cost)


def _taken(graph: Graph, numerics: Numerics, cost: CostModel) -> tuple[Graph, Counter[str]]:
    return used_pass(graph, conv_operands(graph, numerics), CONV_OPERANDS, numerics, cost)


def _added(graph: Graph, numerics: Numerics, cost: CostModel) -> tuple[Graph, Counter[str]]:
    return used_pass(graph, conv_sums(graph, numerics, cost), CONV_SUM, numerics, cost)


def _multiplied(graph: Graph, numerics: Numerics, cost: CostModel) -> tuple[Graph, Counter[str]]:
    return used_pass(graph, conv_products(graph, numerics, cost), CONV_PRODUCT, numerics, cost)
