# SPDX-License-Identifier: Apache-2.0
"""Programs that explode under careless rules: the search ends near its budget, and e-graphs stay small."""

from __future__ import annotations

import functools
import itertools
import operator
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from egraph_opt.capture import capture
from egraph_opt.cost import cost_model
from egraph_opt.engine import RuleSet
from egraph_opt.ir.numerics import Numerics
from egraph_opt.search import SearchOptions, search

BUDGET, WALL = 2.0, 20.0
DIMS = [int(n) for n in np.random.default_rng(0).integers(2, 200, 41)]
Shapes = list[tuple[int, ...]]


def chain(*factors: Any) -> Any:
    return functools.reduce(operator.matmul, factors)


def total(terms: Any) -> Any:
    return functools.reduce(operator.add, terms)


RING12 = "ab,bc,cd,de,ef,fg,gh,hi,ij,jk,kl,la->"
DENSE12 = "ab,bc,ca,ad,be,cf,de,ef,fd,ag,gb,gc->g"

PROGRAMS: dict[str, tuple[Callable[..., Any], Shapes, int]] = {
    # name: program, shapes, bound of the e-nodes
    "60 products": (lambda *m: total(m[i] @ m[i + 60] for i in range(60)), [(16, 16)] * 120, 1_000),
    "60 products of 8 matrices": (lambda *m: total(m[i % 8] @ m[3 * i % 7] for i in range(60)), [(9, 9)] * 8, 10_000),
    "300 products of 20 matrices": (
        lambda *m: total(m[i % 20] @ m[(7 * i + i // 20) % 20] for i in range(300)),
        [(8, 8)] * 20,
        20_000,
    ),
    "chain of 40, any shapes": (chain, list(itertools.pairwise(DIMS)), 10_000),
    "chain of 40, square": (chain, [(16, 16)] * 40, 20_000),
    "power 64": (lambda x: chain(*[x] * 64), [(9, 9)], 20_000),
    "power of a sum": (lambda x, y: chain(*[x + y] * 9), [(9, 9)] * 2, 10_000),
    "polynomial": (lambda m, x: total(chain(*[m] * k) @ x for k in range(1, 14)), [(9, 9), (9,)], 20_000),
    "einsum of 12, a ring": (lambda *m: jnp.einsum(RING12, *m), [(7, 7)] * 12, 5_000),
    "einsum of 12, dense": (lambda *m: jnp.einsum(DENSE12, *m), [(4, 4)] * 12, 10_000),
    "outer product of 10": (lambda *m: jnp.einsum("a,b,c,d,e,f,g,h,i,j->abcdefghij", *m), [(2,)] * 10, 2_000),
    "product of 24": (lambda *m: functools.reduce(operator.mul, m), [(10, 10)] * 24, 2_000),
    "sum of 2000": (lambda x: total(jnp.tanh(x * float(i)) for i in range(2000)), [(6,)], 10_000),
    "sum of 2000 multiples": (lambda *m: total(m[i % 5] * float(i % 7) for i in range(2000)), [(6,)] * 5, 1_000),
}


@pytest.mark.alike
@pytest.mark.parametrize("name", PROGRAMS)
def test_search_ends(name: str) -> None:
    program, shapes, bound = PROGRAMS[name]
    graph = capture(program, [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]).graph
    rules = RuleSet.shipped().admitted(Numerics.REASSOCIATE)
    start = time.perf_counter()
    found = search(graph, SearchOptions(rules, Numerics.REASSOCIATE, BUDGET, cost_model("flops", "cpu")))
    assert time.perf_counter() - start < WALL
    assert max(found.saturation.growth) <= bound
    assert not found.notes
