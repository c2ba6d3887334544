# SPDX-License-Identifier: Apache-2.0
"""Which loops are recurrent layers: an LSTM or a GRU, told by what a step computes.

A step is compared with each cell by value, at random points. That is sound because only analytic operations are let in
(products, sums, logistic, tanh, and what moves elements), with plain constants: two analytic functions that agree on
random points agree everywhere. Any choice, comparison or clamp in the step ends the search.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from egraph_opt.ir import Graph, Node, Spec
from egraph_opt.ir.attrs import thaw
from egraph_opt.lower import lower_graph

ANALYTIC = frozenset(
    {"input", "constant", "einsum", "add", "logistic", "tanh", "slice", "concatenate", "reshape", "split", "result"}
)
"""Operations that a step may hold."""

PLAIN = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)
"""Constants and factors that it may hold: none so small that random points would not show it."""

POINTS = 2
CLOSE = 2e-5
"""Rounding of a step in float32, of values around 1."""

GATES = {"LSTM": 4, "GRU": 3}
"""Operators and their gates. A plain RNN is left out: onnxruntime's takes longer than a loop of the same steps."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A loop as a recurrent layer, in terms of the loop's operands.

    Args:
        op: name of the operator.
        order: for each of the operator's gates, its place among the loop's.
        carry: place of the hidden state, and of the cell, in what the loop carries.
        recurrent: which constant holds the weights of the state.
        turned: whether these are [h,g*h] rather than [g*h,h].
        bias: which constant is added to the state's product, or None; [h] of the last gate alone, or [g*h].
        after_product: whether a GRU's reset gate scales the product rather than the state.
    """

    op: str
    order: tuple[int, ...]
    carry: tuple[int, ...]
    recurrent: int
    turned: bool
    bias: int | None
    after_product: bool = False


def layer_of(node: Node) -> Layer | None:
    """The recurrent layer that a ``scan`` of projected inputs is, or None."""
    body: Graph = node.attr("body")
    count, carried = node.attr("num_consts"), node.attr("num_carry")
    types = body.input_types
    states, scanned = types[count : count + carried], types[count + carried :]
    if carried not in (1, 2) or len(scanned) != 1 or any(type.dtype != "float32" for type in types):
        return None
    shapes = {type.shape for type in states}
    if len(shapes) != 1 or states[0].rank != 2 or scanned[0].rank != 2 or not states[0].size:
        return None
    if not _is_analytic(body):
        return None
    (batch, hidden), width = states[0].shape, scanned[0].shape
    if width[0] != batch:
        return None
    ops = [op for op, gates in GATES.items() if width[1] == gates * hidden and (op == "LSTM") == (carried == 2)]
    if not ops:
        return None
    points = [_point(body, seed) for seed in range(POINTS)]
    found = _layers(ops[0], [type.shape for type in types[:count]], hidden)
    return next((layer for layer in found if all(_agrees(layer, point, count, carried) for point in points)), None)


def _is_analytic(body: Graph) -> bool:
    for node in body.nodes:
        if node.op not in ANALYTIC:
            return False
        if node.op == "constant" and not np.isin(np.asarray(thaw(node.attr("value"))), PLAIN).all():
            return False
        if node.op == "einsum" and Spec.parse(node.attr("spec")).scale not in PLAIN:
            return False
    return True


Point = tuple[list[np.ndarray], list[np.ndarray]]


def _point(body: Graph, seed: int) -> Point:
    """Random operands of a step, such that what goes into its gates is around 1, and what it makes of them."""
    rng = np.random.default_rng(seed)
    operands = []
    for type in body.input_types:
        inner = type.shape[-1] if type.rank == 2 and min(type.shape) > 1 else 1
        operands.append((rng.standard_normal(type.shape) / np.sqrt(max(inner, 1))).astype(np.float32))
    operands[-1] = rng.standard_normal(operands[-1].shape).astype(np.float32)
    with jax.default_device(jax.devices("cpu")[0]), jax.default_matmul_precision("highest"):
        results = jax.jit(lower_graph(body))(operands)
    return operands, [np.asarray(x, np.float64) for x in results]


def _layers(op: str, shapes: Sequence[tuple[int, ...]], hidden: int) -> Iterator[Layer]:
    """The layers that constants of these shapes allow."""
    gates = GATES[op]
    wide, turned = (gates * hidden, hidden), (hidden, gates * hidden)
    weights = [
        (i, way) for i, shape in enumerate(shapes) for way in (False, True) if shape == (turned if way else wide)
    ]
    widths = (gates * hidden, hidden) if op == "GRU" else (gates * hidden,)
    biases = [None, *(i for i, shape in enumerate(shapes) if len(shape) == 1 and shape[0] in widths)]
    carries = [(0, 1), (1, 0)] if op == "LSTM" else [(0,)]
    afters = (False, True) if op == "GRU" else (False,)
    orders = list(itertools.permutations(range(gates)))
    for (place, way), bias, carry, after, order in itertools.product(weights, biases, carries, afters, orders):
        yield Layer(op, order, carry, place, way, bias, after)


def _agrees(layer: Layer, point: Point, count: int, carried: int) -> bool:
    operands, results = point
    wide = [x.astype(np.float64) for x in operands]
    states = [wide[count + place] for place in layer.carry]
    weights = wide[layer.recurrent].T if layer.turned else wide[layer.recurrent]
    bias = None if layer.bias is None else spread(wide[layer.bias], len(weights))
    new = _CELLS[layer.op](layer, wide[-1], states, weights, bias)
    wanted: list[Any] = [None] * carried
    for place, value in zip(layer.carry, new, strict=True):
        wanted[place] = value
    wanted += [new[0]] * (len(results) - carried)
    return all(np.abs(a - b).max() <= CLOSE * (1 + np.abs(b).max()) for a, b in zip(results, wanted, strict=True))


def spread(bias: np.ndarray, width: int) -> np.ndarray:
    """A bias of all gates; one of the last gate alone gets zeros before it."""
    return bias if len(bias) == width else np.concatenate([np.zeros(width - len(bias), bias.dtype), bias])


def _gates(layer: Layer, x: np.ndarray) -> list[np.ndarray]:
    parts = np.split(x, GATES[layer.op], axis=-1)
    return [parts[place] for place in layer.order]


def _logistic(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def _lstm(layer: Layer, x: Any, states: Any, weights: Any, bias: Any) -> list[np.ndarray]:
    h, c = states
    i, o, forget, cell = _gates(layer, x + h @ weights.T + (0 if bias is None else bias))
    c = _logistic(forget) * c + _logistic(i) * np.tanh(cell)
    return [_logistic(o) * np.tanh(c), c]


def _gru(layer: Layer, x: Any, states: Any, weights: Any, bias: Any) -> list[np.ndarray]:
    (h,) = states
    added = 0 if bias is None else bias
    z, r, last = _gates(layer, x)
    hz, hr, hn = _gates(layer, h @ weights.T + added)
    z, r = _logistic(z + hz), _logistic(r + hr)
    inner = r * hn if layer.after_product else _gates(layer, (r * h) @ weights.T + added)[2]
    return [(1 - z) * np.tanh(last + inner) + z * h]


_CELLS = {"LSTM": _lstm, "GRU": _gru}
