# SPDX-License-Identifier: Apache-2.0
"""Why a program of one's own is not what was chosen: not equal, dearer, not found, or it is the one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from egraph_opt.capture import capture
from egraph_opt.errors import ArgumentError
from egraph_opt.explain.comparison import compare
from egraph_opt.explain.dearer import node_text
from egraph_opt.explain.replay import Replay
from egraph_opt.explain.verdict import WhyNot
from egraph_opt.ir import Graph
from egraph_opt.lower import lower_graph
from egraph_opt.normalise import normalise
from egraph_opt.result import Result
from egraph_opt.verify import sample_inputs
from egraph_opt.verify.promote import promote_graph

TOLERANCE = 1e-8
"""Of values in double precision, relative to the largest value of an output."""

KINDS = ("normal", "positive")
LISTED = 12
"""How many nodes of the program are listed."""


def why_not_program(result: Result, question: Graph | Callable[..., Any]) -> WhyNot:
    """Why a program is not the chosen one; see ``why_not``."""
    name, program = _captured(result, question)
    _check(result, name, program)
    distance = _distance(result.before, program)
    if not distance <= TOLERANCE:
        reason = f"another function: on sampled inputs it differs by {distance:.3g} of the largest value"
        return WhyNot(name, "not-equal", reason, value=f"{distance:.3g}")
    program = normalise(program, result.options.numerics)
    chosen = result.after if result.report.improved else result.search.before
    replay = Replay(result)
    try:
        if program in (chosen, normalise(chosen, result.options.numerics)):
            return compare(replay, name, "", chosen, chosen)
        places, before = replay.probe.add(program)
        roots = replay.probe.roots()
        outputs = [places[n] for n in (*program.outputs, *program.effects)]
        if outputs == roots:
            return compare(replay, name, "", program, chosen)
        inner = [n for n, node in enumerate(program.nodes) if node.op not in ("input", "constant")]
        present = tuple(_line(program, n) for n in inner if places[n] in before)
        missing = tuple(_line(program, n) for n in inner if places[n] not in before)
        stopped = result.report.stop_reason
        # What no rule reaches has a price all the same: where it is dearer, nothing was missed.
        answer = compare(replay, name, "", program, chosen)
        if answer.verdict != "dearer":
            answer = replace(answer, verdict="not-found", value=stopped)
        where = (
            f"; equal on sampled inputs: no rule that numerics={result.report.numerics!r} admits leads there (the"
            f" search ended: {stopped}), and the e-graph has {len(present)} of its {len(inner)} nodes"
        )
        return replace(answer, reason=answer.reason + where, present=present[:LISTED], missing=missing[:LISTED])
    finally:
        replay.close()


def _captured(result: Result, question: Graph | Callable[..., Any]) -> tuple[str, Graph]:
    if isinstance(question, Graph):
        return "the graph", question
    args, kwargs = result.convention.structs()
    options = result.options
    with result.convention.precision():
        graph = capture(
            question,
            args,
            kwargs,
            static_argnums=options.static_argnums,
            static_argnames=options.static_argnames,
            numerics=options.numerics,
        ).graph
    return getattr(question, "__name__", "").strip("<>") or "the program", graph


def _check(result: Result, name: str, program: Graph) -> None:
    want = result.before
    if program.input_types != want.input_types:
        mine, theirs = (", ".join(map(str, graph.input_types)) for graph in (program, want))
        raise ArgumentError(f"why_not: {name} takes ({mine}); want a program of the same arguments, ({theirs})")
    got = [graph.nodes[n].type for graph in (program,) for n in graph.outputs]
    wanted = [want.nodes[n].type for n in want.outputs]
    if got != wanted:
        mine, theirs = (", ".join(map(str, types)) for types in (got, wanted))
        raise ArgumentError(f"why_not: {name} returns ({mine}); want the types of the original, ({theirs})")


def _distance(original: Graph, program: Graph) -> float:
    """Largest difference of the outputs in double precision, relative to the largest value of each."""
    found = 0.0
    with jax.enable_x64(True):
        wide = promote_graph(original), promote_graph(program)
        for kind in KINDS:
            inputs = sample_inputs(wide[0], kind=kind)
            for want, got in zip(*(lower_graph(graph)(inputs) for graph in wide), strict=True):
                a, b = (np.asarray(v).astype(np.complex128) for v in (want, got))
                if np.array_equal(a, b, equal_nan=True):
                    continue
                finite = np.isfinite(a) & np.isfinite(b)
                if not np.array_equal(np.isfinite(a), np.isfinite(b)):
                    return float("inf")
                scale = np.max(np.abs(a[finite]), initial=1e-30)
                found = max(found, float(np.max(np.abs(a - b)[finite], initial=0.0) / scale))
    return found


def _line(graph: Graph, number: int) -> str:
    sources = ", ".join(map(str, graph.nodes[number].sources))
    return f"{node_text(graph, number)}{f'  # {sources}' if sources else ''}"
