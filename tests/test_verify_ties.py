# SPDX-License-Identifier: Apache-2.0
"""Programs that round, on inputs where a rounding is a tie: honest rearrangements pass, wrong programs do not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from egraph_opt import assume
from egraph_opt.capture import capture
from egraph_opt.ir import Graph
from egraph_opt.lower import lower_graph
from egraph_opt.verify import compare
from egraph_opt.verify.ties import may_be_tied, untied

HONEST = {
    "rounded": (lambda x, a, b: jnp.round(x * a + x * b), lambda x, a, b: jnp.round(x * (a + b))),
    "as integers": (
        lambda x, a, b: jnp.floor(x * a + x * b + 0.5).astype(jnp.int32),
        lambda x, a, b: jnp.floor(x * (a + b) + 0.5).astype(jnp.int32),
    ),
    "added up": (lambda x, a, b: jnp.round(x * a + x * b).sum() / 7, lambda x, a, b: jnp.round(x * (a + b)).sum() / 7),
}
WRONG = {
    "downwards": lambda x, a, b: jnp.floor(x * (a + b)),
    "upwards": lambda x, a, b: jnp.ceil(x * (a + b)),
    "away from zero at ties only": lambda x, a, b: jnp.floor(x * (a + b) + 0.51),
    "not rounded": lambda x, a, b: x * (a + b),
    "a step more": lambda x, a, b: jnp.round(x * (a + b)) + 1,
    "a term too few": lambda x, a, b: jnp.round(x * a),
}


def tied() -> list[np.ndarray]:
    """Inputs whose sums are half way between two integers up to rounding, which falls to either side."""
    random = np.random.default_rng(0)
    a, b = (random.uniform(1, 2, 200).astype(np.float32) for _ in range(2))
    half = random.integers(1, 50, 200) + 0.5
    return [(half / (a.astype(np.float64) + b)).astype(np.float32), a, b]


def graph_of(function) -> Graph:
    return capture(function, tied()).graph


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_rearrangement_passes(name: str) -> None:
    original, other = map(graph_of, HONEST[name])
    both = (np.asarray(jax.jit(lower_graph(one))(tied())[0]) for one in (original, other))
    assert not np.array_equal(*both)
    verdict = compare(original, other, tied())
    assert verdict.ok, verdict.reason
    assert verdict.error_candidate == verdict.error_original


@pytest.mark.parametrize("name", WRONG)
def test_wrong_programs_are_refused(name: str) -> None:
    assert not compare(graph_of(HONEST["rounded"][0]), graph_of(WRONG[name]), tied()).ok


def test_inputs_stay_where_nothing_is_near_a_tie_and_where_nothing_helps() -> None:
    calm = [np.full(200, value, np.float32) for value in (1.1, 1.0, 2.0)]
    run = jax.jit(lower_graph(graph_of(HONEST["rounded"][0])))
    assert untied(run, calm) is calm
    always = jax.jit(lower_graph(capture(lambda x, a, b: jnp.round(1e9 * (x * a + b)) % 2, tied()).graph))
    given = tied()
    assert untied(always, given) is given


def test_programs_that_are_compared_as_they_are() -> None:
    assert may_be_tied(graph_of(lambda x, a, b: jax.lax.fori_loop(0, 3, lambda i, y: jnp.round(y * a), x)))
    assert not may_be_tied(graph_of(lambda x, a, b: x * a + b))
    square = capture(lambda x: jnp.round(assume(x, "orthogonal")), [np.eye(3, dtype=np.float32)]).graph
    assert not may_be_tied(square)
