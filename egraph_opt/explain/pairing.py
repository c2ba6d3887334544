# SPDX-License-Identifier: Apache-2.0
"""A change of a whole program in small steps: where its nodes compute what nodes of the program before it did.

Passes tell nothing but the program that they made. So both programs are run once on the same values; where a node of
the second has the value of one of the first, that is a step of its own, from one such place to the next. What is found
this way is a guess: the steps are verified with all others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from egraph_opt.adjoint import WEIGHTED
from egraph_opt.adjoint.weights import Gathering
from egraph_opt.errors import EgraphOptError
from egraph_opt.explain.adjoint import normal_form, normal_forms
from egraph_opt.explain.evidence import Equation, Evidence
from egraph_opt.ir import Graph, TensorType
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.types import is_floating
from egraph_opt.lower import lower_graph
from egraph_opt.reads.narrow import rebuilt
from egraph_opt.search import Stage
from egraph_opt.verify import sample_inputs

LOOKS = 32
"""Elements at random places by which values are told apart."""

CLOSE = {"float32": 3e-5, "float64": 1e-11}
"""Difference over the largest of these, up to which they count as equal; 1e-2 for other types."""

SEED = 11

NARROWED, GATHERED = ("read-part",), (WEIGHTED,)
"""Stages of one pass alone that makes a program node by node."""


def follow_nodes(stage: Stage, written: Sequence[int], evidence: Evidence, numerics: Numerics) -> list[int] | None:
    """Equations of a pass that makes a program node by node, the pass being run again; the terms of what it made.

    Returns:
        None where the stage is none of these.
    """
    before = stage.before
    if stage.passes == NARROWED and (narrowing := rebuilt(before, numerics)) is not None:
        emitter, place, built = narrowing.emitter, narrowing.whole(), narrowing.build()
    elif stage.passes == GATHERED:
        gathering = Gathering(before, numerics)
        built = gathering.run()
        emitter, place = gathering.emitter, gathering.place
    else:
        return None
    table = evidence.table
    image: list[int] = []
    for node in emitter.nodes:
        image.append(table.node(node, [image[q] for q in node.operands]))
    normal_forms(before, place, image, written, evidence, stage.passes)
    graph, terms = normal_form(built, table.graph(built), evidence, numerics)
    return terms if graph == stage.after else None


def follow_pass(stage: Stage, written: Sequence[int], evidence: Evidence, pairs: bool) -> list[int]:
    """Equations from the nodes of a program to those of the program that a pass made; the terms of the latter.

    Args:
        stage: the pass.
        written: terms of the nodes before.
        evidence: takes the equations.
        pairs: whether to look for nodes of equal values; else the results alone are paired, as in programs with
            effects, and with loops, which take longer to compile than results to verify.
    """
    table = evidence.table
    before, after = stage.before, stage.after
    after_terms = table.graph(after)
    home = set(written)
    known, looks = _Values({}, before), dict[int, Any]()
    if pairs and not before.effects and not any(True for _ in before.subgraphs()):
        leaves = sample_inputs(before, SEED)
        known, looks = _Values(_looks(before, leaves), before), _looks(after, leaves)
    image: list[int] = []
    for q, node in enumerate(after.nodes):
        term = table.node(node, [image[p] for p in node.operands])
        n = known.find(node.types, looks.get(q)) if term not in home else None
        if n is not None:
            evidence.add(Equation("pass", written[n], term, passes=stage.passes))
            term = written[n]
        image.append(term)
    for n, q in zip((*before.outputs, *before.effects), (*after.outputs, *after.effects), strict=True):
        evidence.add(Equation("pass", written[n], image[q], passes=stage.passes))
    return after_terms


class _Values:
    """Nodes of a program by their values."""

    def __init__(self, looks: Mapping[int, Any], graph: Graph) -> None:
        self._by_type: dict[Any, tuple[list[int], Any]] = {}
        grouped: defaultdict[Any, list[tuple[int, Any]]] = defaultdict(list)
        for n, look in looks.items():
            grouped[graph.nodes[n].type.strong()].append((n, look))
        for kind, members in grouped.items():
            self._by_type[kind] = [n for n, _ in members], np.stack([look for _, look in members])

    def find(self, types: tuple[TensorType, ...], look: Any) -> int | None:
        """The first node with a value; None where there is none."""
        kind = types[0].strong() if len(types) == 1 else None
        if look is None or kind is None or kind not in self._by_type:
            return None
        numbers, known = self._by_type[kind]
        bound = CLOSE.get(kind.dtype, 1e-2) * max(float(look[-1]), 1e-30)
        near = np.flatnonzero((np.abs(known - look) <= bound).all(axis=1))
        return numbers[near[0]] if near.size else None


def _looks(graph: Graph, leaves: Sequence[Any]) -> dict[int, Any]:
    """Some elements of floating nodes on sampled inputs, the largest last; nothing of zeros and what is not finite."""
    seen = [n for n, node in enumerate(graph.nodes) if len(node.types) == 1 and is_floating(node.type.dtype)]
    every = replace(graph, outputs=tuple(seen), weak_outputs=())
    try:
        values = lower_graph(every)(leaves)
    except (EgraphOptError, ValueError, TypeError):
        return {}  # what cannot be run here is paired by its terms alone
    found: dict[int, Any] = {}
    for n, value in zip(seen, jax.device_get(values), strict=True):
        flat = np.asarray(value).reshape(-1)
        if flat.size:
            places = np.random.default_rng(flat.size).integers(0, flat.size, LOOKS)
            look = flat[places].astype(np.float64)
            largest = float(np.max(np.abs(look)))
            if np.isfinite(largest) and largest > 0:
                found[n] = np.append(look, largest)
    return found
