# SPDX-License-Identifier: Apache-2.0
"""Text for ``egraph-opt inspect``: what a program holds and where its time should go."""

from __future__ import annotations

from collections import Counter

import jax

from egraph_opt.cost import CostModel, cost_model, count_graph, count_node
from egraph_opt.ir import Graph
from egraph_opt.kernels import counted, recognise
from egraph_opt.normalise import normalise
from egraph_opt.report import duration, quantity

MAX_ROWS = 12


def inspect_graph(graph: Graph, name: str, cost: CostModel | None = None) -> str:
    """Inputs, outputs, op counts and the dearest nodes of a Graph."""
    cost = cost or cost_model(None, jax.default_backend())
    total = count_graph(graph)
    lines = [
        f"{name}: {len(graph)} nodes, {len(graph.inputs)} inputs, {len(graph.outputs)} outputs",
        f"  {quantity(total.flops, 'flop')}, {quantity(total.bytes, 'B')} of memory traffic, "
        f"{quantity(total.transcendentals, '')} transcendental evaluations, "
        f"predicted {duration(cost.graph_seconds(graph))} ({cost.name})",
        "inputs",
    ]
    lines += [f"  {n}: {t}" for n, t in list(zip(graph.names, graph.input_types, strict=True))[:MAX_ROWS]]
    if len(graph.inputs) > MAX_ROWS:
        lines.append(f"  ... and {len(graph.inputs) - MAX_ROWS} more")
    lines += ["outputs", *(f"  {t}" for t in graph.output_types[:MAX_ROWS])]
    lines.append("operations")
    counts: Counter[str] = graph.op_counts()
    for sub in graph.subgraphs():
        counts.update(sub.op_counts())
    del counts["input"]
    lines += [f"  {count:6} {op}" for op, count in counts.most_common(MAX_ROWS)]
    idioms = counted([one for g in (graph, *graph.subgraphs()) for one in recognise(normalise(g))])
    lines += ["idioms", *(f"  {text}" for text in idioms)] if idioms else []
    lines.append("dearest nodes, each priced alone")
    priced = [
        (cost.node_cost(node, [graph.nodes[q].types[0] for q in node.operands]), number)
        for number, node in enumerate(graph.nodes)
        if node.operands
    ]
    whole = sum(price for price, _ in priced) or 1.0
    for price, number in sorted(priced, reverse=True)[:MAX_ROWS]:
        node = graph.nodes[number]
        work = count_node(node, [graph.nodes[q].types[0] for q in node.operands])
        what = node.attr("spec").partition(";")[0] if node.op == "einsum" else node.op
        place = f"  # {node.sources[0]}" if node.sources else ""
        share, flops = 100 * price / whole, quantity(work.flops, "flop")
        lines.append(f"  {share:5.1f} %  {flops:>11}  %{number} {what} -> {node.types[0]}{place}")
    return "\n".join(lines)
