# SPDX-License-Identifier: Apache-2.0
"""What is said of idioms: how many of each were recognised, and how they run in the chosen program, or why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import jax

from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.kernels.found import Found
from egraph_opt.kernels.use import counted
from egraph_opt.ops.kernel import KERNEL


def has_kernels(graph: Graph) -> bool:
    """Whether a program, or a sub-graph of it, runs something by a kernel."""
    return any(node.op == KERNEL for g in (graph, *graph.subgraphs()) for node in g.nodes)


def told(found: Sequence[Found], chosen: Graph, numerics: Numerics) -> list[str]:
    """One line for each kind of idiom: ``attention (causal) x12: run by triangle``.

    Args:
        found: what was recognised in the program.
        chosen: the program that runs.
        numerics: class of the rewrites that were allowed.
    """
    ways: dict[str, Counter[str]] = {}
    for node in chosen.nodes:
        if node.op == KERNEL:
            ways.setdefault(node.attr("name"), Counter())[node.attr("lowering")] += 1
    platform = jax.default_backend()
    groups: dict[str, list[Found]] = {}
    for one in found:
        groups.setdefault(one.label, []).append(one)
    lines = []
    for text in counted(found):
        one = next(group[0] for label, group in groups.items() if text == label or text.startswith(f"{label} x"))
        lines.append(f"{text}: {_how(one, ways.get(one.kernel.name, Counter()), platform, numerics)}")
    return lines


def _how(one: Found, ways: Counter[str], platform: str, numerics: Numerics) -> str:
    """How an idiom runs, or why it runs as it is written."""
    if ways:
        return "run by " + ", ".join(f"{way} x{count}" if count > 1 else way for way, count in ways.items())
    if not one.kernel.user and not one.kernel.runs_on(platform):
        others = [f"{low.name} is for {', '.join(low.devices)}" for low in one.kernel.lowerings]
        return "; ".join(["as written", "the compiler fuses it", *others])
    if one.overflows and numerics < Numerics.FINITE:
        return "as written; it overflows where its kernels do not, which numerics='finite' would allow"
    fitting = one.lowerings(platform, numerics)
    if fitting:
        return f"as written; {', '.join(low.name for low in fitting)} could run it and did not pay"
    elsewhere = [low for low in one.kernel.lowerings if low.devices and platform not in low.devices]
    here = [low.name for low in one.kernel.lowerings if low not in elsewhere]
    reason = f"the conditions of {', '.join(here)} fail for {', '.join(map(str, one.types))}" if here else ""
    other = ", ".join(f"{low.name} is for {', '.join(low.devices)}" for low in elsewhere)
    return "as written; " + "; ".join(filter(None, (reason, other)))
