# SPDX-License-Identifier: Apache-2.0
"""Whatever a search finds for a random program has a certificate, every one of its candidates."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

from egraph_opt.capture import capture
from egraph_opt.cost import cost_model
from egraph_opt.engine import RuleSet
from egraph_opt.explain import checker
from egraph_opt.explain.follow import Effort
from egraph_opt.explain.prove import prove
from egraph_opt.ir.numerics import Numerics
from egraph_opt.search import SearchOptions, search

_spec = importlib.util.spec_from_file_location("certified_programs", Path(__file__).parents[1] / "programs.py")
assert _spec is not None
assert _spec.loader is not None
programs = sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(programs)

RULES = RuleSet.shipped().admitted(Numerics.REASSOCIATE)
SEEDS = [pytest.param(seed, marks=() if seed < 5 else pytest.mark.slow) for seed in range(60)]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_candidate_has_a_certificate(seed: int) -> None:
    program = programs.random_program(seed, double=False)
    before = capture(program.function, [jnp.asarray(x) for x in program.arguments]).graph
    found = search(before, SearchOptions(RULES, Numerics.REASSOCIATE, 0.6, cost_model("flops"), nodes=2000))
    for candidate in found.candidates:
        proof = prove(before, candidate.graph, found, Effort(RULES, Numerics.REASSOCIATE))
        assert proof.certificate is not None, proof.reason
        assert checker.check(proof.certificate) == len(proof.certificate["steps"])
