# SPDX-License-Identifier: Apache-2.0
"""Every search of the algebra programs is explained by a certificate that replays."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from benchmarks.programs.algebra import PROGRAMS, A, B, x
from egraph_opt.capture import capture
from egraph_opt.cost import cost_model
from egraph_opt.engine import RuleSet
from egraph_opt.explain import checker
from egraph_opt.explain.follow import Effort
from egraph_opt.explain.prove import Proof, prove
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.search import SearchOptions, search

LARGE = ("Hv, 1 layer", "Hv, 2 layers", "Hv, 3 layers", "Laplacian, 1 layer", "vJ", "vJ by jacrev", "Jv")
RULES = RuleSet.shipped().admitted(Numerics.REASSOCIATE)


def found(program: Callable[..., Any], args: Sequence[Any]) -> tuple[Graph, Graph, Proof]:
    before = capture(program, args).graph
    result = search(before, SearchOptions(RULES, Numerics.REASSOCIATE, 20.0, cost_model("roofline")))
    best = result.candidates[0]
    return before, best.graph, prove(before, best.graph, result, Effort(RULES, Numerics.REASSOCIATE))


@pytest.mark.alike
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in PROGRAMS]
)
def test_certificate_replays(name: str) -> None:
    program, args, _ = PROGRAMS[name]
    _, _, proof = found(program, args)
    assert proof.certificate is not None, proof.reason
    assert checker.check(proof.certificate) == len(proof.certificate["steps"])
    assert bool(proof.certificate["steps"]) == (proof.certificate["before"] != proof.certificate["after"])


def scanned(a: Any, b: Any, v: Any) -> Any:
    return jax.lax.scan(lambda c, _: (jnp.tanh(c - 0.1 * ((a @ b) @ c)), None), v, None, length=2)[0]


def branched(a: Any, b: Any, v: Any) -> Any:
    return jax.lax.cond(v[0] > 0, lambda: (a @ b) @ v, lambda: (b @ a) @ v)


@pytest.mark.parametrize("program", [scanned, branched])
def test_bodies_have_certificates_of_their_own(program: Callable[..., Any]) -> None:
    _, _, proof = found(program, (A, B, x))
    assert proof.certificate is not None, proof.reason
    bodies = [step for step in proof.certificate["steps"] if step["kind"] == "body"]
    assert bodies
    assert any(step["kind"] == "rule" for body in bodies for inner in body["certificates"] for step in inner["steps"])
    assert checker.check(proof.certificate) > 0


def test_wrong_result_has_no_certificate() -> None:
    before = capture(lambda a, b: a @ b, (A, B)).graph
    after = capture(lambda a, b: b @ a, (A, B)).graph
    result = search(before, SearchOptions(RULES, Numerics.REASSOCIATE, 20.0, cost_model("roofline")))
    proof = prove(before, after, result, Effort(RULES, Numerics.REASSOCIATE))
    assert proof.certificate is None
    assert "result 0" in proof.reason


def test_checker_is_one_short_file_without_the_engine() -> None:
    text = Path(checker.__file__).read_text("utf-8")
    assert len(text.splitlines()) <= 200
    nodes = list(ast.walk(ast.parse(text)))
    modules = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    assert {m for m in modules if m.partition(".")[0] not in sys.stdlib_module_names} == {
        "numpy",
        "egraph_opt.verify.rows",  # runs operations that are no einsums and sums
    }
