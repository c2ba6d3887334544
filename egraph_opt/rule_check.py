# SPDX-License-Identifier: Apache-2.0
"""``egraph-opt rules check``: saturates programs under rules and evaluates every e-node of every class.

A wrong rule puts two values into one class. It is found by evaluation in double precision on random inputs, through the
real engine, so guards and actions are those of a real search; the rule is then named by leaving out one at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from egraph_opt.capture import capture
from egraph_opt.engine import Limits, RuleSet
from egraph_opt.engine.testing import faults
from egraph_opt.ir import Graph

SHAPES: dict[str, tuple[int, ...]] = {
    "a": (5, 5), "b": (5, 5), "c": (5, 5), "u": (5, 2), "v": (2, 5), "x": (5,), "y": (5,), "p": (3, 5, 5), "s": (),
}  # fmt: skip

PROGRAMS: dict[str, Callable[..., Any]] = {
    "chain": lambda a, b, u, v, x: v @ a @ b @ u @ v @ a.T @ x,
    "transposes": lambda a, b, y: (a.T @ b).T @ (b.T @ a).T @ y + b @ a.T @ y,
    "low rank": lambda a, u, v, x: (a - u @ v) @ (a + v.T @ u.T) @ x,
    "traces": lambda a, b, c: jnp.trace(a @ b @ c) + jnp.trace(b @ c) - 2 * jnp.trace(a),
    "diagonals": lambda a, b, x: jnp.diag(a @ b) + jnp.diag(x) @ a @ x + (a + 3.0 * jnp.eye(5)) @ jnp.diag(a),
    "sums": lambda a, b, c, x: (2.0 * a - b) @ x - 0.5 * (c @ x) + 3.0 * ((a - c) @ x),
    "factors": lambda a, b, c: a @ b + a @ c + b @ c + a * b + a * c,
    "scales": lambda a, b, s: (0.25 * a) @ (s * b) * 4.0 - 3.0 * (a @ b) / 7.0,
    "batches": lambda a, p, x: jnp.einsum("nij,jk,k->ni", p, a, x) + (p @ a @ a).sum(2),
    "reshapes": lambda a, b, p: (
        (jnp.kron(a, b) @ jnp.kron(b, a)).sum() + (p.reshape(15, 5) @ a).reshape(3, 25) @ b.ravel()
    ),
    "reshaped sums": lambda a, b, p: ((p.reshape(15, 5) @ a + p.reshape(15, 5)).reshape(3, 5, 5) * b).reshape(75),
    "elementwise": lambda a, b, x: jnp.exp(a) * jnp.tanh(b) + jnp.maximum(a, b) / (1 + x * x) + jnp.log(jnp.exp(x)),
    "divergence": lambda a, b, x: jnp.trace(jax.jacfwd(lambda z: jnp.tanh(b @ jnp.tanh(a @ z)))(x)),
    "product with a Hessian": lambda a, x, y: jax.hessian(lambda z: jnp.sum(jnp.tanh(a @ z)))(x) @ y,
    "gradient": lambda a, b, x: jax.grad(lambda w: jnp.sum(jnp.tanh(b @ jnp.tanh(w @ x))))(a),
}

LIMITS = Limits(seconds=20, nodes=2_000, iterations=12)


@dataclass(slots=True)
class RuleCheck:
    """What a check found.

    Args:
        wrong: for each fault the program, the rules that make it, and what disagrees.
        matches: of each rule over all programs.
    """

    wrong: list[str] = field(default_factory=list)
    matches: Counter[str] = field(default_factory=Counter)


def check_rules(rules: RuleSet, progress: Callable[[str], None] = lambda text: None) -> RuleCheck:
    """Run all programs.

    Args:
        rules: what to check, of every numerics class; inputs are finite.
        progress: told which program is next.
    """
    found = RuleCheck()
    random = np.random.default_rng(1)
    with jax.enable_x64(True):
        for name, program in PROGRAMS.items():
            progress(f"checking {name}")
            letters = program.__code__.co_varnames[: program.__code__.co_argcount]
            inputs = [random.standard_normal(SHAPES[letter]) for letter in letters]
            graph = capture(program, inputs).graph
            lines, _, saturation = faults(graph, inputs, rules, LIMITS)
            for rule, statistics in saturation.report.rules.items():
                found.matches[rule] += statistics.matches
            if lines:
                suspects = [rule.name for rule in rules if not _wrong_without(rule.name, graph, inputs, rules)]
                found.wrong.append(f"{name}: {', '.join(suspects) or 'several rules together'}: {lines[0]}")
    return found


def _wrong_without(name: str, graph: Graph, inputs: list[Any], rules: RuleSet) -> bool:
    return bool(faults(graph, inputs, rules.without([name]), LIMITS)[0])
