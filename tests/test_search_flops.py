# SPDX-License-Identifier: Apache-2.0
"""The searched programs reach the arithmetic of the best hand-written form, counted by XLA after compilation.

Wanted counts are those of hand forms (or below them): an increase is a lost rewrite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.programs.algebra import PROGRAMS, A, B, N, array, x
from egraph_opt.capture import capture
from egraph_opt.cost import cost_model, count_graph
from egraph_opt.engine import RuleSet
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph
from egraph_opt.search import Search, SearchOptions, search


def plan(program: Callable[..., Any], args: Sequence[Any], budget: float = 20.0) -> Search:
    """Search with enough time for a busy machine; nodes and gates are what tests look at."""
    graph = capture(program, args).graph
    rules = RuleSet.shipped().admitted(Numerics.REASSOCIATE)
    return search(graph, SearchOptions(rules, Numerics.REASSOCIATE, budget, cost_model("roofline")))


def xla_flops(function: Callable[..., Any], args: Sequence[Any]) -> float:
    analysis = jax.jit(function).lower(*args).compile().cost_analysis()
    return float(analysis["flops"])


@pytest.mark.alike
@pytest.mark.parametrize("name", PROGRAMS)
def test_reaches_the_hand_form(name: str) -> None:
    program, args, wanted = PROGRAMS[name]
    found = plan(program, args)
    best = lower_graph(found.candidates[0].graph)
    leaves = jax.tree.leaves(args)
    flops = xla_flops(lambda *leaves: best(leaves), leaves)
    assert flops <= wanted
    assert count_graph(found.candidates[0].graph).flops <= 1.1 * wanted
    for want, got in zip(jax.tree.leaves(program(*args)), jax.jit(best)(leaves), strict=True):
        assert np.allclose(want, got, rtol=2e-4, atol=2e-4 * float(np.max(np.abs(want)))), name
    assert found.saturation.nodes <= 12_000


def test_narrow_products_keep_their_wide_sum() -> None:
    def program(a: Any, b: Any, z: Any) -> Any:
        return jnp.matmul(a, b, preferred_element_type=jnp.float32) @ z

    args = A.astype(jnp.bfloat16), B.astype(jnp.bfloat16), x
    best = plan(program, args).candidates[0].graph
    assert count_graph(best).flops <= 6.6e4 + 2 * N * N
    run = lower_graph(best)
    text = str(jax.make_jaxpr(lambda *leaves: run(leaves))(*args))
    assert text.count("dot_general") == 2
    assert np.allclose(program(*args), run(args)[0], rtol=1e-2, atol=1e-2)


def total(terms: Sequence[Any]) -> Any:
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result


def test_thirty_products_factor_to_three() -> None:
    matrices = [array(64, 64, seed=i) for i in range(33)]

    def program(*M: Any) -> Any:
        left = [M[0] @ M[1 + i] for i in range(10)] + [M[11] @ M[12 + i] for i in range(10)]
        return total(left + [M[22 + i] @ M[32] for i in range(10)])

    found = plan(program, matrices)
    best = found.candidates[0].graph
    assert 1 <= sum(1 for node in best if node.op == "einsum" and len(node.operands) == 2) <= 3  # three may be joined
    assert count_graph(best).flops <= 3 * 2 * 64**3 + 30 * 64**2
    assert found.saturation.nodes < 2000


@pytest.mark.parametrize(
    "program",
    [
        lambda a, b, c: a @ b + c @ b,
        lambda a, b, c: b @ a + b @ c,
        lambda a, b, c: c @ b - 2 * (a @ b),
        lambda a, b, c: b @ a + b @ b,
        lambda a, b, c: a @ c + c @ c,
    ],
)
def test_factors_in_any_order_of_operands(program: Callable[..., Any]) -> None:
    best = plan(program, [array(64, 64, seed=i) for i in range(3)]).candidates[0].graph
    assert sum(1 for node in best if node.op == "einsum" and len(node.operands) == 2) == 1


@pytest.mark.parametrize("count", [14, 40])
def test_sums_do_not_grow(count: int) -> None:
    found = plan(lambda *M: total(M), [array(64, 64, seed=i) for i in range(count)])
    assert found.saturation.nodes < 3 * count


def test_products_do_not_grow() -> None:
    def program(*M: Any) -> Any:
        result = M[0]
        for factor in M[1:]:
            result = result * factor
        return result

    found = plan(program, [array(64, 64, seed=i) for i in range(24)])
    assert found.saturation.nodes < 2000


def test_mixed_sums_of_products_factor() -> None:
    matrices = [array(64, 64, seed=i) for i in range(40)]

    def program(*M: Any) -> Any:
        first = total([M[i] * M[i + 1] * M[i + 2] for i in range(12)]) @ M[20]
        product = M[0] + M[1]
        for i in range(1, 8):
            product = product * (M[i] + M[i + 1])
        return first + product @ M[20] + total([M[0] * M[30 + i] for i in range(10)])

    best = plan(program, matrices).candidates[0].graph
    assert count_graph(best).flops <= 7.8e5
