# SPDX-License-Identifier: Apache-2.0
"""What pays in neural networks, applied to whole programs: each variant is priced, and the cheapest one is kept.

The e-graph finds less arithmetic; here the same arithmetic is done in fewer and larger pieces. That concerns any number
of nodes at once, so it is a pass over the program that the search chose, not a rule for pairs of nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from egraph_opt.cost import CostModel, frozen_nodes
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.nets.kernel_order import ordered_kernels
from egraph_opt.nets.products import shared_products
from egraph_opt.nets.shifts import shifted_windows
from egraph_opt.nets.sums import joined_sums
from egraph_opt.normalise import normalise

Pass = Callable[[Graph, Numerics, Collection[int], CostModel], Graph | None]

PASSES: dict[str, Pass] = {
    "join-sums": joined_sums,
    "join-products": shared_products,
    "shift-windows": shifted_windows,
    "order-kernels": ordered_kernels,
}
"""By name: each gives a graph to weigh against the one it was given, or None."""

CONV_OPERANDS, CONV_SUM, CONV_PRODUCT = "conv-operands", "conv-sum", "conv-product"
REQUANTISED = "requantise"
"""What reports call the passes before the search."""

LAWS = {
    REQUANTISED: "what was dequantised, moved and quantised alike is what it was",
    CONV_OPERANDS: "a convolution pads by itself, in any order of dimensions",
    CONV_SUM: "conv(x, a) + conv(x, b) = conv(x, a + b), conv(x, a) + conv(y, a) = conv(x + y, a)",
    CONV_PRODUCT: "a convolution whose window holds one element, or all of them, is a product",
    "shift-windows": "a window is a sum, or an extreme, of shifted copies",
    "order-kernels": "a prepared kernel stands in the order in which a convolution reads it",
    "join-sums": "x a + y b = [x y] [a; b]",
    "join-products": "x a, x b are parts of x [a b]",
}
"""What each pass does, in one line."""

VARIANTS = (("join-sums", "join-products"), ("join-products",))
"""Passes that are tried together, one after the other, on what the windows became."""


class Variant(NamedTuple):
    """A program equal to the one given: its price [s], and the passes that made it."""

    seconds: float
    graph: Graph
    used: tuple[str, ...]


def merged(
    graph: Graph, numerics: Numerics, fixed: Collection[int], cost: CostModel, price: Callable[[Graph], float]
) -> tuple[Graph, tuple[str, ...]]:
    """The cheapest variant of a program, and the passes that made it; the program itself where none is cheaper.

    Args:
        graph: a program in normal form.
        numerics: class of the changes.
        fixed: input positions whose values stay the same between calls, or between the trips of a loop.
        cost: prices of parts of programs.
        price: of a whole program.
    """
    start = Variant(price(graph), graph, ())
    for name in ("shift-windows", "order-kernels"):
        start = _tried(start, (name,), numerics, fixed, cost, price)
    best = start
    for names in VARIANTS:
        variant = _tried(start, names, numerics, fixed, cost, price)
        if variant.seconds < best.seconds:
            best = variant
    return best.graph, best.used


def _tried(
    variant: Variant,
    names: Sequence[str],
    numerics: Numerics,
    fixed: Collection[int],
    cost: CostModel,
    price: Callable[[Graph], float],
) -> Variant:
    """A variant after some more passes, if it is cheaper then."""
    graph, used = variant.graph, [*variant.used]
    for name in names:
        free = frozen_nodes(graph, fixed) if fixed else frozenset[int]()
        new = PASSES[name](graph, numerics, free, cost)
        if new is not None:
            graph = normalise(new, numerics)
            used.append(name)
    if len(used) == len(variant.used):
        return variant
    changed = Variant(price(graph), graph, tuple(used))
    return changed if changed.seconds < variant.seconds else variant
