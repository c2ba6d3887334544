# SPDX-License-Identifier: Apache-2.0
"""The search around the e-graph: loops, frozen inputs, source lines, failures that leave the original."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from egraph_opt import search as search_module
from egraph_opt.capture import capture
from egraph_opt.cost import FlopCount, cost_model, count_graph
from egraph_opt.engine import RuleSet, Saturation
from egraph_opt.errors import EngineError
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph
from egraph_opt.search import Search, SearchOptions, search
from egraph_opt.split import split

N = 64


def options(numerics: Numerics = Numerics.REASSOCIATE, cost: Any = None) -> SearchOptions:
    return SearchOptions(RuleSet.shipped().admitted(numerics), numerics, 20.0, cost or cost_model("roofline"))


def found_for(fn: Any, *args: Any, frozen: tuple[int, ...] = (), numerics: Numerics = Numerics.REASSOCIATE) -> Search:
    return search(capture(fn, args, numerics=numerics).graph, options(numerics), frozen)


def dots(graph: Graph) -> list[str]:
    return [n.attr("spec") for n in graph if n.op == "einsum" and len(n.operands) == 2]


A = np.random.default_rng(0).standard_normal((N, N)).astype(np.float32) / 8
B = np.random.default_rng(1).standard_normal((N, N)).astype(np.float32) / 8
x = np.ones(N, np.float32)


def test_invariant_work_in_a_loop_is_priced_once() -> None:
    """``A.T @ A`` is hoisted by XLA: 200 products with it cost less than 400 with ``A`` and ``A.T``."""

    def program(a: Any, z: Any) -> Any:
        return lax.scan(lambda c, _: (c - 0.1 * (a.T @ a) @ c, None), z, None, length=200)[0]

    best = found_for(program, A, x).candidates[0].graph
    (body,) = (node.attr("body") for node in best if node.op == "scan")
    sizes = sorted(spec.partition(";")[2] for spec in dots(body))
    assert sizes == ["64,64", "64,64,64"], "the square of A, which XLA hoists, and one thin product with it"
    once = found_for(lambda a, z: z - 0.1 * (a.T @ a) @ z, A, x).candidates[0].graph
    assert count_graph(once).flops < 4.2 * N * N, "outside a loop the two thin products are cheaper"


def test_loop_bodies_are_optimised() -> None:
    def program(a: Any, b: Any, z: Any) -> Any:
        return lax.fori_loop(0, 5, lambda i, c: jnp.tanh((jnp.outer(c, c) @ a @ b) @ c), z)

    found = found_for(program, A, B, x)
    before, after = count_graph(found.before), count_graph(found.candidates[0].graph)
    assert after.flops <= before.flops
    best = found.candidates[0].graph
    run = lower_graph(best)
    assert np.allclose(run([A, B, x])[0], program(A, B, x), rtol=1e-4, atol=1e-5)


def test_work_on_frozen_inputs_is_free() -> None:
    """With ``A`` and ``B`` frozen their product is made once; without, it is never made."""

    def program(a: Any, b: Any, z: Any) -> Any:
        return a @ (b @ z)

    thin = found_for(program, A, B, x).candidates[0].graph
    assert len(dots(thin)) == 2
    frozen = found_for(program, A, B, x, frozen=(0, 1)).candidates[0].graph
    parts = split(frozen, (0, 1))
    assert [spec.partition(";")[2] for spec in dots(parts.prepare)] == ["64,64,64"]
    assert len(dots(parts.run)) == 1
    prepared = lower_graph(parts.prepare)([A, B])
    assert np.allclose(lower_graph(parts.run)([x, *prepared])[0], A @ (B @ x), rtol=1e-4)


def test_contractions_meet_across_reshapes() -> None:
    def program(batch: Any, w: Any, u: Any) -> Any:
        rows = batch.reshape(4 * 16, 8) @ w
        heads = rows.reshape(4, 16, 2, 32)
        return jnp.einsum("bthd,dk->bhtk", heads, u)

    args = np.ones((4, 16, 8), np.float32), B[:8], A[:32, :4]
    found = found_for(program, *args)
    best = found.candidates[0].graph
    assert count_graph(best).flops < 0.5 * count_graph(found.before).flops
    assert np.allclose(lower_graph(best)(list(args))[0], program(*args), rtol=1e-4, atol=1e-4)


def test_products_with_a_diagonal_term_are_opened() -> None:
    """``(I - k h) p`` with a thin ``k`` is ``p - k (h p)``."""

    def program(k: Any, h: Any, p: Any) -> Any:
        return (jnp.eye(N) - k @ h) @ p

    best = found_for(program, A[:, :4], B[:4], A).candidates[0].graph
    assert count_graph(best).flops < 5 * 4 * N * N


def test_source_lines_survive() -> None:
    def program(a: Any, b: Any, z: Any) -> Any:
        product = a @ b
        return product @ z

    best = found_for(program, A, B, x).candidates[0].graph
    lines = {source.line for node in best if node.op == "einsum" for source in node.sources}
    first = program.__code__.co_firstlineno
    assert lines & {first + 1, first + 2}
    assert all(node.sources for node in best if node.op == "einsum")


def test_a_program_with_nothing_to_gain_is_kept() -> None:
    found = found_for(lambda a, b: jnp.tanh(a @ b), A, B)
    assert found.candidates[0].graph == found.before


def test_exact_regroups_nothing() -> None:
    def program(a: Any, b: Any, z: Any) -> Any:
        return jnp.trace(a @ b) * ((a @ b) @ z + (a.T @ z)[::-1] * 0.1)

    found = found_for(program, A, B, x, numerics=Numerics.EXACT)
    assert all(sorted(dots(c.graph)) == sorted(dots(found.before)) for c in found.candidates)


def test_other_cost_models_choose() -> None:
    graph = capture(lambda a, b, z: (a @ b) @ z, (A, B, x)).graph
    best = search(graph, options(cost=FlopCount())).candidates[0]
    assert count_graph(best.graph).flops == 4 * N * N


def test_a_failing_engine_leaves_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Saturation) -> Any:
        raise EngineError("egglog panicked: planted")

    monkeypatch.setattr(search_module.Saturation, "run", broken)
    found = found_for(lambda a, b, z: (a @ b) @ z, A, B, x)
    assert [c.graph for c in found.candidates] == [found.before]
    assert found.notes == ["search ended early: egglog panicked: planted"]


def test_outputs_that_are_inputs_and_repeated_outputs() -> None:
    def program(a: Any, z: Any) -> Any:
        return z, a @ z, z, a @ z, 2.0

    found = found_for(program, A, x)
    run = lower_graph(found.candidates[0].graph)
    for want, got in zip(program(A, x), run([A, x]), strict=True):
        assert np.allclose(want, got, rtol=1e-4, atol=1e-5)


def test_products_that_capture_saves_are_counted() -> None:
    captured = capture(lambda a, z: jnp.diag(z) @ a, (A, x))
    assert captured.saved_products == 2 * N**3
    assert capture(lambda a, b: a @ b, (A, B)).saved_products == 0
    twice = capture(lambda a, b: (a.T @ b).T @ (a.T @ b), (A, B))
    assert twice.saved_products == 2 * N**3
    loop = capture(lambda a, z: lax.fori_loop(0, 9, lambda i, c: a @ (a @ c), z), (A, x))
    assert loop.saved_products == 0
