# SPDX-License-Identifier: Apache-2.0
"""Inputs on which programs that round, quantised ones for instance, can be compared.

What lies half way between two integers goes to either with the last bit of what it is made of: two honest programs
then differ by a whole step. The original itself shows whether that happens on some inputs, for it moves by a step as
well when they are changed in their last bits. Inputs beside them take their place then; how close results must be on
those stays as it is, so a wrong program gains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from egraph_opt.ir import Graph, Node
from egraph_opt.ir.types import is_floating, is_integer
from egraph_opt.ops.declared import ASSUME
from egraph_opt.verify.evaluate import Function, evaluate
from egraph_opt.verify.verdict import ULPS, epsilon, is_inexact

ROUNDING = frozenset({"round", "floor", "ceil"})
"""Operations that go from one whole number to the next."""

MOVES = 3
"""How often the last bits are changed."""

LAST_BITS = 4.0
"""By how many units, up or down: what is nearer to a tie than a rearrangement's rounding moves under that."""

DRAWS = 6
"""Inputs that are tried."""

BESIDE = 1e-3
"""Elements become larger or smaller by at most so much, each by itself, so that roundings go both ways; zeros stay."""


def may_be_tied(graph: Graph) -> bool:
    """Whether a program goes from float values to whole numbers, on inputs of which nothing is stated."""
    parts = (graph, *graph.subgraphs())
    nodes = [(part, node) for part in parts for node in part.nodes]
    return any(_rounds(*pair) for pair in nodes) and not any(node.op == ASSUME for _, node in nodes)


def untied(run: Function, leaves: list[Any]) -> list[Any]:
    """The same inputs where no rounding is near a tie, others beside them where one is; these again if all are.

    Args:
        run: the original.
        leaves: its inputs.
    """
    random = np.random.default_rng(0)
    tried = leaves
    for _ in range(DRAWS):
        if _is_calm(run, tried, random):
            return tried
        tried = [_changed(leaf, lambda x: 1.0 + _share(x) * random.uniform(-1.0, 1.0, x.shape)) for leaf in leaves]
    return leaves


def _rounds(graph: Graph, node: Node) -> bool:
    if node.op == "convert_element_type":
        given = graph.nodes[node.operands[0]].types[0].dtype
        return is_floating(given) and is_integer(node.types[0].dtype)
    return node.op in ROUNDING


def _is_calm(run: Function, leaves: Sequence[Any], random: np.random.Generator) -> bool:
    """Whether results stay as they are, to the precision of their type, when inputs change in their last bits."""
    results = evaluate(run, leaves)
    for _ in range(MOVES):
        for value, other in zip(results, evaluate(run, _moved(leaves, random)), strict=True):
            if not is_inexact(value.dtype):
                if not np.array_equal(value, other):
                    return False
                continue
            wide = np.complex128 if value.dtype.kind == "c" else np.float64
            have, want = other.astype(wide), value.astype(wide)
            finite = np.isfinite(have) & np.isfinite(want)
            scale = float(np.max(np.abs(want), where=finite, initial=0.0))
            if float(np.max(np.abs(have - want), where=finite, initial=0.0)) > ULPS * epsilon(value.dtype) * scale:
                return False
    return True


def _moved(leaves: Sequence[Any], random: np.random.Generator) -> list[Any]:
    """The inputs with each element a few units of its last bit larger or smaller."""

    def factor(leaf: Any) -> Any:
        return 1.0 + LAST_BITS * epsilon(leaf.dtype) * random.choice([-1.0, 1.0], leaf.shape)

    return [_changed(leaf, factor) for leaf in leaves]


def _share(leaf: Any) -> float:
    return max(BESIDE, 8 * epsilon(leaf.dtype))


def _changed(leaf: Any, factor: Callable[[Any], Any]) -> Any:
    """A float array times what ``factor`` gives for it; anything else as it is."""
    if not isinstance(leaf, np.ndarray) or not is_inexact(leaf.dtype):
        return leaf
    wide = leaf.astype(np.complex128 if leaf.dtype.kind == "c" else np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        changed = (wide * factor(leaf)).astype(leaf.dtype)
    return np.where(np.isfinite(changed.astype(wide.dtype)), changed, leaf).astype(leaf.dtype)
