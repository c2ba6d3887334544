# SPDX-License-Identifier: Apache-2.0
"""Notes of a report: work on frozen arguments that is not counted, and sizes put in for open dimensions.

Written by the pipeline after the decision. A prepared program and a plain call differ in cost, so the report must say
which of them its figures are about.
"""

from __future__ import annotations

from collections.abc import Sequence

from egraph_opt.calling import Convention
from egraph_opt.cost import count_graph, frozen_nodes
from egraph_opt.frontends import LoadedModel
from egraph_opt.ir import Graph
from egraph_opt.report import quantity

LEAST_SHARE = 0.01
"""Share of a program's arithmetic in its weights alone that is worth a note."""


def frozen_notes(convention: Convention, chosen: Graph) -> list[str]:
    """What the reader must know about frozen arguments, or could gain by them.

    Args:
        convention: the original, and what was frozen.
        chosen: Graph of the chosen program.
    """
    if convention.places:
        names = ", ".join(convention.places)
        once = _work_on(chosen, convention.frozen_positions)
        if not once:
            return [f"nothing is computed from the frozen arguments ({names}) alone: a plain call costs the same"]
        return [
            f"work on frozen arguments ({names}) is prepared once and not counted: {quantity(once, 'flop')};"
            f" result.prepare({names}) does it and returns a function of the other arguments,"
            " a plain call or a saved file does it every time"
        ]
    if convention.holds_weights:
        once = _work_on(chosen, convention.frozen_positions)
        text = f"work on the model's weights is done once and not counted: {quantity(once, 'flop')}"
        return [text] if once >= 1 else []
    model = convention.function
    if isinstance(model, LoadedModel) and model.frozen_argnums:
        names = ", ".join(f"arg{n}" for n in model.frozen_argnums)
        leaves = convention.positions_of([f"arg{n}" for n in model.frozen_argnums])
        once, total = _work_on(chosen, leaves), count_graph(chosen).flops
        if once > LEAST_SHARE * total:
            return [
                f"{quantity(once, 'flop')} of {quantity(total, 'flop')} read only {names}, which looks like weights:"
                f" optimize(model, frozen=('{names}',)).plan(...).prepare(weights) pays for them once"
            ]
    return []


def shape_notes(convention: Convention) -> list[str]:
    """What was put in for dimensions that a file leaves open: the plan, and what is saved, is for these sizes."""
    model = convention.function
    if not isinstance(model, LoadedModel) or convention.captured.in_tree != model.in_tree or not model.open_dims:
        return []
    shapes = [type.shape for type in convention.captured.graph.input_types]
    sizes = ", ".join(f"{name}={shapes[leaf][axis]}" for name, (leaf, axis) in model.open_dims.items())
    return [f"the file leaves dimensions open; planned for {sizes}, and a saved program takes these sizes alone"]


def _work_on(graph: Graph, positions: Sequence[int]) -> float:
    """Arithmetic of the nodes that read only these inputs [flop]."""
    free = frozen_nodes(graph, positions)
    whole, rest = count_graph(graph), count_graph(graph, free)
    return max(whole.flops + whole.transcendentals - rest.flops - rest.transcendentals, 0.0)
