# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers: RNN, GRU and LSTM, in all their directions.

The products with the inputs are taken for all steps at once, ahead of the loop; inside of it stays one product with
the state a step (two in a GRU that resets before its product).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator

Function = Callable[[Array], Array]


def _number(x: Array, value: float) -> np.ndarray:
    return np.asarray(value, x.dtype)


ACTIVATIONS: dict[str, tuple[Callable[..., Array], float | None, float | None]] = {
    "relu": (lambda x, _a, _b: jnp.maximum(x, _number(x, 0)), None, None),
    "tanh": (lambda x, _a, _b: jnp.tanh(x), None, None),
    "sigmoid": (lambda x, _a, _b: lax.logistic(x), None, None),
    "affine": (lambda x, a, b: a * x + b, 1.0, 0.0),
    "leakyrelu": (lambda x, a, _b: jnp.where(x >= 0, x, a * x), 0.01, None),
    "thresholdedrelu": (lambda x, a, _b: jnp.where(x >= a, x, _number(x, 0)), 1.0, None),
    "scaledtanh": (lambda x, a, b: a * jnp.tanh(b * x), 1.0, 1.0),
    "hardsigmoid": (lambda x, a, b: jnp.clip(a * x + b, _number(x, 0), _number(x, 1)), 0.2, 0.5),
    "elu": (lambda x, a, _b: jnp.where(x >= 0, x, a * jnp.expm1(jnp.minimum(x, _number(x, 0)))), 1.0, None),
    "softsign": (lambda x, _a, _b: x / (_number(x, 1) + jnp.abs(x)), None, None),
    "softplus": (lambda x, _a, _b: jnp.maximum(x, _number(x, 0)) + jnp.log1p(jnp.exp(-jnp.abs(x))), None, None),
}
"""Name in small letters -> the function, the default of its alpha and of its beta; None where it has none."""


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction of a layer.

    Args:
        projected: products of the inputs with the weights, x[t,b,g].
        recurrent: weights of the state, r[g,h].
        bias: of the state's product, kept apart where it does not simply add to the input's; None otherwise.
        states: initial states, each [b,h].
        functions: the activations.
        reverse: whether it runs from the last step to the first.
        peephole: weights of the cell in the gates; None without.
    """

    projected: Array
    recurrent: Array
    bias: Array | None
    states: tuple[Array, ...]
    functions: tuple[Function, ...]
    reverse: bool
    peephole: Array | None


Step = Callable[[Direction, Array, tuple[Array, ...]], tuple[Array, ...]]


@operator("RNN")
def _rnn(node: Node, *args: Array | None) -> Any:
    def step(way: Direction, x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        (h,) = states
        return (way.functions[0](x + _product(h, way.recurrent)),)

    return _layer(node, args, 1, ("Tanh",), step)


@operator("GRU")
def _gru(node: Node, *args: Array | None) -> Any:
    after = bool(node.attr("linear_before_reset", 0))

    def step(way: Direction, x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        (h,) = states
        size = h.shape[1]
        f, g = way.functions
        if after:
            inner = _product(h, way.recurrent)
            gates = f(x[:, : 2 * size] + inner[:, : 2 * size])
            z, r = gates[:, :size], gates[:, size:]
            last = inner[:, 2 * size :] if way.bias is None else inner[:, 2 * size :] + way.bias
            new = g(x[:, 2 * size :] + r * last)
        else:
            gates = f(x[:, : 2 * size] + _product(h, way.recurrent[: 2 * size]))
            z, r = gates[:, :size], gates[:, size:]
            new = g(x[:, 2 * size :] + _product(r * h, way.recurrent[2 * size :]))
        return ((_number(z, 1) - z) * new + z * h,)

    return _layer(node, args, 3, ("Sigmoid", "Tanh"), step, bias_apart=after)


@operator("LSTM")
def _lstm(node: Node, *args: Array | None) -> Any:
    coupled = bool(node.attr("input_forget", 0))

    def step(way: Direction, x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        h, c = states
        size = h.shape[1]
        f, g, last = way.functions
        i, o, forget, cell = (part for part in jnp.split(x + _product(h, way.recurrent), 4, axis=1))
        p = None if way.peephole is None else [way.peephole[k * size : (k + 1) * size] for k in range(3)]
        i = f(i if p is None else i + p[0] * c)
        forget = _number(i, 1) - i if coupled else f(forget if p is None else forget + p[2] * c)
        c = forget * c + i * g(cell)
        o = f(o if p is None else o + p[1] * c)
        return o * last(c), c

    return _layer(node, args, 4, ("Sigmoid", "Tanh", "Tanh"), step, state_count=2)


def _product(h: Array, weights: Array) -> Array:
    """h[b,k] and weights[g,k] to [b,g]."""
    return lax.dot_general(h, weights, (((1,), (1,)), ((), ())))


def _layer(
    node: Node,
    args: Sequence[Array | None],
    gates: int,
    activations: Sequence[str],
    step: Step,
    *,
    state_count: int = 1,
    bias_apart: bool = False,
) -> Any:
    given: list[Any] = list(args) + [None] * (8 - len(args))
    x, w, r, b, lengths, *rest = given
    starts, peephole = rest[:state_count], rest[2] if state_count == 2 else None
    batch_first = bool(node.attr("layout", 0))
    if batch_first:
        x = jnp.swapaxes(x, 0, 1)
        starts = [None if s is None else jnp.swapaxes(s, 0, 1) for s in starts]
    reverses = _directions(node)
    size = r.shape[2]
    _check(node, x, w, r, gates, len(reverses))
    functions = _functions(node, activations, len(reverses))
    ways = []
    for d, reverse in enumerate(reverses):
        projected, own = _project(x, w[d], None if b is None else b[d], gates * size, bias_apart)
        states = tuple(jnp.zeros((x.shape[1], size), x.dtype) if s is None else jnp.asarray(s[d]) for s in starts)
        cell_weights = None if peephole is None else peephole[d]
        ways.append(Direction(projected, jnp.asarray(r[d]), own, states, functions[d], reverse, cell_weights))
    results = [_run(way, step, lengths) for way in ways]
    y = jnp.stack([outputs for _, outputs in results], axis=1)  # [t,d,b,h]
    finals = [jnp.stack([finals[k] for finals, _ in results]) for k in range(state_count)]
    if batch_first:
        y = jnp.transpose(y, (2, 0, 1, 3))
        finals = [jnp.swapaxes(final, 0, 1) for final in finals]
    return (y, *finals)


def _project(x: Array, w: Array, b: Array | None, width: int, bias_apart: bool) -> tuple[Array, Array | None]:
    """Products of all inputs with the weights, the biases added; and the bias that has to stay inside the loop."""
    projected = lax.dot_general(jnp.asarray(x), jnp.asarray(w), (((2,), (1,)), ((), ())))
    if b is None:
        return projected, None
    if not bias_apart:
        return projected + (b[:width] + b[width:]), None
    split = 2 * width // 3  # the last gate's bias of the state is scaled by the reset gate
    inner = jnp.concatenate([b[width : width + split], jnp.zeros(width - split, b.dtype)])
    return projected + (b[:width] + inner), b[width + split :]


def _run(way: Direction, step: Step, lengths: Array | None) -> tuple[tuple[Array, ...], Array]:
    """Final states and the hidden state of each step; behind a sequence's end its state stays, its output is zero."""
    if lengths is None:

        def simple(states: tuple[Array, ...], x: Array) -> tuple[tuple[Array, ...], Array]:
            new = step(way, x, states)
            return new, new[0]

        return lax.scan(simple, way.states, way.projected, reverse=way.reverse)

    def body(states: tuple[Array, ...], at: tuple[Array, Array]) -> tuple[tuple[Array, ...], Array]:
        x, time = at
        new = step(way, x, states)
        inside = (time < lengths)[:, None]
        kept = tuple(jnp.where(inside, now, old) for now, old in zip(new, states, strict=True))
        return kept, jnp.where(inside, new[0], _number(new[0], 0))

    times = jnp.arange(way.projected.shape[0], dtype=np.int32)
    return lax.scan(body, way.states, (way.projected, times), reverse=way.reverse)


def _directions(node: Node) -> tuple[bool, ...]:
    """For each direction whether it is reversed."""
    text = node.attr("direction", "forward")
    ways = {"forward": (False,), "foward": (False,), "reverse": (True,), "bidirectional": (False, True)}
    if text not in ways:  # the standard's own default in GRU version 1 lacks a letter
        raise node.fault(f"direction is {text!r}; want forward, reverse or bidirectional")
    return ways[text]


def _check(node: Node, x: Array, w: Array, r: Array, gates: int, count: int) -> None:
    size = r.shape[-1]
    if x.ndim != 3 or w.shape != (count, gates * size, x.shape[2]) or r.shape != (count, gates * size, size):
        raise node.fault(
            f"got X {list(x.shape)}, W {list(w.shape)} and R {list(r.shape)}; want [steps, batch, input],"
            f" [{count}, {gates} * hidden, input] and [{count}, {gates} * hidden, hidden]"
        )
    if node.attr("hidden_size", size) != size:
        raise node.fault(f"hidden_size is {node.attr('hidden_size')}, but R says {size}")


def _functions(node: Node, defaults: Sequence[str], directions: int) -> list[tuple[Function, ...]]:
    """The activations of each direction; their parameters are used up in order by those that have some."""
    count = len(defaults)
    names = [name.decode() if isinstance(name, bytes) else name for name in node.attr("activations", ())]
    names = names[: count * directions] or [*defaults] * directions
    if len(names) != count * directions:
        raise node.fault(f"got {len(names)} activations; want {count * directions}")
    alphas, betas = list(node.attr("activation_alpha", ())), list(node.attr("activation_beta", ()))
    clip = node.attr("clip")
    functions = []
    for place, name in enumerate(names):
        if name.lower() not in ACTIVATIONS:
            raise node.fault(f"activation {name!r} is not one of the standard's")
        function, alpha, beta = ACTIVATIONS[name.lower()]
        a = alphas.pop(0) if alpha is not None and alphas else alpha
        b = betas.pop(0) if beta is not None and betas else beta
        # onnxruntime bounds what goes into the gates, and not the cell that comes out of an LSTM
        functions.append(_bound(function, a, b, None if place % count == 2 else clip))
    return [tuple(functions[d * count : (d + 1) * count]) for d in range(directions)]


def _bound(function: Callable[..., Array], alpha: float | None, beta: float | None, clip: float | None) -> Function:
    def run(x: Array) -> Array:
        if clip:
            x = jnp.clip(x, _number(x, -clip), _number(x, clip))
        return function(x, *(None if value is None else _number(x, value) for value in (alpha, beta)))

    return run
