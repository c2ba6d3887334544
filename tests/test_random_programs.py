# SPDX-License-Identifier: Apache-2.0
"""Random programs through all of the optimiser: every graph on the way, and every e-node, computes the same."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt.capture import capture
from egraph_opt.cost import cost_model
from egraph_opt.engine import Limits, RuleSet
from egraph_opt.engine.testing import faults
from egraph_opt.ir import Graph, Spec
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph
from egraph_opt.normalise import normalise
from egraph_opt.search import SearchOptions, search

_spec = importlib.util.spec_from_file_location("random_programs", Path(__file__).with_name("programs.py"))
assert _spec is not None
assert _spec.loader is not None
programs = sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(programs)

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::numpy.exceptions.ComplexWarning")

SPECIAL = np.float32([np.nan, np.inf, -np.inf, 0.0, -0.0, -0.0, 0.0, 1.0, 3e38])
NEVER_OVERFLOWING = SPECIAL[:-1]
EPSILON = {2: 2e-2, 4: 2e-5, 8: 1e-9}
"""What another order of a sum may change, by bytes of the element type; relative to the largest value."""


def searched(graph: Graph, numerics: Numerics, cost: str) -> list[Graph]:
    rules = RuleSet.shipped().admitted(numerics)
    found = search(graph, SearchOptions(rules, numerics, 0.4, cost_model(cost, "cpu"), nodes=2000))
    assert not found.notes
    return [candidate.graph for candidate in found.candidates]


def assert_equal(want: Sequence[Any], got: Sequence[Any], zeros: bool = False, epsilon: float = 0.0) -> None:
    """Types, integers, NaN and infinities are the same, all else nearly; with ``zeros`` their signs are, too."""
    assert len(want) == len(got)
    for one, other in zip(map(np.asarray, want), map(np.asarray, got), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        if one.dtype.kind == "c":
            assert_equal([one.real, one.imag], [other.real, other.imag], zeros, epsilon)
            continue
        if one.dtype.kind in "biu":
            np.testing.assert_array_equal(other, one)
            continue
        size = EPSILON[one.dtype.itemsize]
        w, g = one.astype(np.float64), other.astype(np.float64)
        finite = np.isfinite(w) & np.isfinite(g)
        np.testing.assert_array_equal(np.where(finite, 0, g), np.where(finite, 0, w))
        scale = np.max(np.abs(w[finite]), initial=1.0)
        np.testing.assert_allclose(g[finite], w[finite], rtol=0, atol=max(size, epsilon) * scale)
        if zeros:
            both = (w == 0) & (g == 0)
            np.testing.assert_array_equal(np.signbit(g[both]), np.signbit(w[both]))


def check_double(seed: int) -> None:
    """Capture, text, normal form, all e-nodes and all candidates, in double precision."""
    with jax.enable_x64(True):
        program = programs.random_program(seed)
        arguments = [jnp.asarray(x) for x in program.arguments]
        captured = capture(program.function, arguments)
        leaves = [*arguments, *captured.constants]
        want = jax.jit(lambda *values: captured.original(*values))(*leaves)
        graph, normal = captured.graph, normalise(captured.graph)
        text = str(graph)
        assert "Ref" in text or "opaque" in text or Graph.parse(text) == graph
        graphs = dict.fromkeys([graph, normal, *searched(graph, Numerics.REASSOCIATE, ("flops", "roofline")[seed % 2])])
        for each in graphs:
            assert_equal(want, jax.jit(lower_graph(each))(leaves))
        limits = Limits(seconds=5, nodes=600, iterations=8)
        found, _, _ = faults(normal, leaves, limits=limits, run=lower_graph)
        assert not found, "\n".join(found[:5])


def with_special(random: np.random.Generator, value: Any, rate: float, special: Any) -> Any:
    """Some values replaced by special ones."""
    if value.dtype.kind in "biu":
        return value
    drawn = random.choice(special, value.shape)
    if value.dtype.kind == "c":
        drawn = drawn + 1j * random.choice(special, value.shape)
    return np.where(random.random(value.shape) < rate, drawn.astype(value.dtype), value)


def adds_up(graph: Graph) -> bool:
    """Whether a node sums over a dimension: whether its partial sums overflow is up to XLA's order of additions."""
    specs = (node.attr("spec") for node in graph.nodes if node.op == "einsum")
    return any(Spec.parse(spec).summed for spec in specs)


def check_exact(seed: int) -> None:
    """Under ``exact`` NaN, infinities and the signs of zeros stay; run op by op, as XLA's fusions do not keep them."""
    program = programs.random_program(seed, double=False)
    captured = capture(program.function, [jnp.asarray(x) for x in program.arguments], numerics=Numerics.EXACT)
    graph = captured.graph
    graphs = dict.fromkeys([graph, normalise(graph, Numerics.EXACT), *searched(graph, Numerics.EXACT, "flops")])
    random = np.random.default_rng(seed)
    special = NEVER_OVERFLOWING if adds_up(graph) else SPECIAL
    for rate in (0.0, 0.08, 0.5):
        leaves = [
            *(jnp.asarray(with_special(random, x, rate, special)) for x in program.arguments),
            *captured.constants,
        ]
        want = captured.original(*leaves)
        for each in graphs:
            assert_equal(want, lower_graph(each)(leaves), zeros=True)


def check_optimized(seed: int) -> None:
    """``optimize`` gives values, types and weak types of the original, called and transformed."""
    program = programs.random_program(seed, double=False)
    function, arguments = program.function, [jnp.asarray(x) for x in program.arguments]
    optimized = egraph_opt.optimize(
        function, numerics=("exact", "reassociate", "finite")[seed % 3], budget=0.3, measure=False, cost="flops"
    )
    want, got = jax.jit(function)(*arguments), optimized(*arguments)
    assert jax.tree.map(jax.typeof, want) == jax.tree.map(jax.typeof, got)
    assert_equal(jax.tree.leaves(want), jax.tree.leaves(got), epsilon=2e-3)
    assert optimized.plan(*arguments).to_python()
    if program.kind == "plain":
        grads = [
            jax.jit(jax.grad(lambda *args, f=f: programs.total(f(*args))))(*arguments) for f in (function, optimized)
        ]
        assert_equal(grads[:1], grads[1:], epsilon=2e-3)
        batched = [jnp.stack([x, x]) for x in arguments]
        want, got = (jax.jit(jax.vmap(f))(*batched) for f in (function, optimized))
        assert_equal(want, got, epsilon=2e-3)


def seeds(count: int) -> list[Any]:
    """Seeds, two thirds of them for slow runs."""
    return [pytest.param(seed, marks=[pytest.mark.slow] * (3 * seed >= count)) for seed in range(count)]


@pytest.mark.alike
@pytest.mark.parametrize("seed", seeds(60))
def test_every_graph_in_double_precision(seed: int) -> None:
    check_double(seed)


@pytest.mark.alike
@pytest.mark.parametrize("seed", seeds(30))
def test_exact_keeps_special_values(seed: int) -> None:
    check_exact(seed)


@pytest.mark.alike
@pytest.mark.parametrize("seed", seeds(18))
def test_optimize_and_transformations(seed: int) -> None:
    check_optimized(seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
@pytest.mark.parametrize("check", [check_double, check_exact, check_optimized])
def test_many_more(check: Any, block: int) -> None:
    for seed in range(1000 + 50 * block, 1050 + 50 * block):
        check(seed)
    jax.clear_caches()
