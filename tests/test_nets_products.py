# SPDX-License-Identifier: Apache-2.0
"""Products that share an operand, and sums of products, as one product: found, left where it does not pay, right."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from benchmarks.programs.tensat import Size, build
from egraph_opt.capture import capture
from egraph_opt.cost import cost_model, frozen_nodes, kernels
from egraph_opt.cost.work import Kind
from egraph_opt.explain import checker
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph
from egraph_opt.nets.passes import merged
from egraph_opt.nets.products import shared_products
from egraph_opt.nets.sums import joined_sums
from egraph_opt.normalise import normalise

ROOFLINE = cost_model("roofline", "cpu")


class Starts:
    """A cost model that counts kernels: whatever can be merged is."""

    name = "kernels"

    def node_cost(self, node: Any, operand_types: Any) -> float:
        del node, operand_types
        return 1.0

    def graph_seconds(self, graph: Graph, free: Collection[int] = frozenset()) -> float:
        return float(products(graph, free)) + 1e-3 * len(kernels(graph, free))


def products(graph: Graph, free: Collection[int] = frozenset()) -> int:
    """Matrix products that run on every call."""
    return sum(kernel.kind is Kind.CONTRACTION for kernel in kernels(graph, free))


def array(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray[Any, Any]:
    values = np.random.default_rng(seed + sum(shape)).normal(size=shape) * 0.2
    return values.astype(dtype)


def joined(
    function: Callable[..., Any], args: Sequence[Any], fixed: Sequence[int] = (), cost: Any = ROOFLINE
) -> tuple[Graph, Graph, tuple[str, ...]]:
    """The program, the cheapest variant of it, the passes; both have equal values."""
    graph = normalise(capture(function, args, {}).graph)

    def price(graph: Graph) -> float:
        return float(cost.graph_seconds(graph, frozen_nodes(graph, fixed)))

    new, used = merged(graph, Numerics.REASSOCIATE, frozenset(fixed), cost, price)
    agree(graph, new, jax.tree.leaves(args))
    assert price(new) <= price(graph)
    return graph, new, used


def agree(graph: Graph, new: Graph, leaves: Sequence[Any]) -> None:
    assert graph.output_types == new.output_types
    both = jax.jit(lambda leaves: (lower_graph(graph)(leaves), lower_graph(new)(leaves)))
    for want, got in zip(*both(leaves), strict=True):
        if np.issubdtype(np.asarray(want).dtype, np.integer):
            assert np.array_equal(want, got)
            continue
        bound = {"bfloat16": 2e-2, "float16": 2e-3, "float32": 2e-5}.get(str(want.dtype), 1e-12)
        scale = float(np.max(np.abs(np.asarray(want, np.float64)), initial=1e-30))
        difference = np.abs(np.asarray(want, np.float64) - np.asarray(got, np.float64))
        assert float(np.max(difference, initial=0.0)) <= bound * scale


def counts(function: Callable[..., Any], args: Sequence[Any], fixed: Sequence[int]) -> tuple[int, int]:
    """Products before and after, by the roofline."""
    graph, new, _ = joined(function, args, fixed)
    return products(graph, frozen_nodes(graph, fixed)), products(new, frozen_nodes(new, fixed))


def lstm(x: Any, h: Any, c: Any, *weights: Any) -> Any:
    i, f, g, o = (x @ w + h @ u + b for w, u, b in zip(weights[:4], weights[4:8], weights[8:], strict=True))
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def attention(x: Any, q: Any, k: Any, v: Any) -> Any:
    heads = (jnp.einsum("btd,dhe->bhte", x, w) for w in (q, k, v))
    q, k, v = heads
    return jax.nn.softmax(q @ k.swapaxes(-1, -2)) @ v


WIDE = [array(96, 160, seed=k) for k in range(16)]


@pytest.mark.parametrize(
    ("program", "args", "fixed", "before", "after"),
    [
        (lambda x, *w: [jnp.tanh(x @ v) for v in w], (array(96), *WIDE[:8]), range(1, 9), 8, 1),
        (lambda x, *w: [jnp.tanh(x @ v.T) for v in w], (array(3, 160), *WIDE[:5]), range(1, 6), 5, 1),
        (lstm, (array(1, 96), *[array(1, 160)] * 2, *WIDE[:4], *[array(160, 160, seed=k) for k in range(4)],
                *[array(160, seed=k) for k in range(4)]), range(3, 15), 8, 1),
        (lstm, (array(7, 96), *[array(7, 160)] * 2, *WIDE[:4], *[array(160, 160, seed=k) for k in range(4)],
                *[array(160, seed=k) for k in range(4)]), range(3, 15), 8, 1),
        (attention, (array(2, 9, 32), *[array(32, 4, 8, seed=k) for k in range(3)]), (1, 2, 3), 5, 3),
        (lambda x, g, u, d: (jax.nn.silu(x @ g) * (x @ u)) @ d, (array(8, 96), *WIDE[:2], WIDE[2].T), (1, 2, 3), 3, 2),
        # Groups of unequal widths, and a vector among them.
        (lambda x, a, b, c: (x @ a, x @ b, jnp.einsum("mk,kij->imj", x, c)),
         (array(5, 40), array(40, 30), array(40), array(40, 12).reshape(40, 3, 4)), (1, 2, 3), 3, 1),
        # One weight, vectors that do not wait for each other.
        (lambda w, *x: [jnp.tanh(w @ v) for v in x], (WIDE[0], *[array(160, seed=k) for k in range(6)]), (0,), 6, 1),
    ],
)  # fmt: skip
def test_products_are_merged_at_once(
    program: Callable[..., Any], args: Sequence[Any], fixed: Sequence[int], before: int, after: int
) -> None:
    assert counts(program, args, tuple(fixed)) == (before, after)


@pytest.mark.parametrize(
    ("program", "args", "fixed"),
    [
        # Weights that may change with every call would be copied.
        (lambda x, *w: [jnp.tanh(x @ v) for v in w], (array(96), *WIDE[:3]), ()),
        # Each product waits for the one before it.
        (lambda x, w: jnp.tanh(jnp.tanh(jnp.tanh(x @ w) @ w) @ w), (array(64), array(64, 64)), (1,)),
        # Large activations would be copied to share a weight.
        (lambda x, y, w: (jnp.sin(x @ w), jnp.cos(y @ w)), (array(800, 64), array(800, 64), array(64, 8)), (2,)),
    ],
)
def test_products_are_left_where_merging_does_not_pay(
    program: Callable[..., Any], args: Sequence[Any], fixed: Sequence[int]
) -> None:
    graph, new, used = joined(program, args, fixed)
    assert new == graph
    assert used == ()


def test_groups_that_need_each_other_are_not_both_merged() -> None:
    def program(x: Any, y: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
        u = jnp.tanh(x @ a)
        v = jnp.tanh(y @ b)
        return x @ (c * v), y @ (d * u)  # merged with x @ a, and with y @ b, each would wait for the other

    args = (array(6), array(6, seed=1), *[array(6, 6, seed=k) for k in range(4)])
    graph, new, used = joined(program, args, (), Starts())
    assert used == ("join-products",)
    assert products(new) == products(graph) - 1


def test_part_of_a_merged_product_is_computed_alone() -> None:
    """What the program itself has merged is split again where only part of it is used."""

    def program(x: Any, w: Any) -> Any:
        return jnp.tanh((x @ w)[:, :10])

    result = egraph_opt.optimize(program, measure=False).plan(array(20, 30), array(30, 90))
    assert result.report.flops_after <= 2 * 20 * 30 * 10 + 20 * 10


@pytest.mark.parametrize("narrow", ["bfloat16", "float16"])
def test_narrow_operands_stay_narrow(narrow: str) -> None:
    def program(x: Any, a: Any, b: Any) -> Any:
        return [jnp.dot(x, w, preferred_element_type=jnp.float32) for w in (a, b)]

    args = [jnp.asarray(array(*shape, seed=k), narrow) for k, shape in enumerate([(4, 32), (32, 8), (32, 16)])]
    _, new, used = joined(program, args, (1, 2))
    assert used == ("join-products",)
    wide = [n for n in new.nodes if n.op == "concatenate" and n.type.dtype == "float32"]
    assert wide == []


WORDS = {
    "matrix": ("mk", ["kn", "nk", "knj"]),
    "vector": ("k", ["kn", "nk", "jkn"]),
    "batch": ("bmk", ["bkn", "kn", "kbn", "nbk", "k", "bk"]),
    "two sums": ("mkl", ["kln", "lkn", "nlk", "kl"]),
    "rows apart": ("mkj", ["kn", "nk"]),
}


@pytest.mark.alike
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", list(WORDS))
@pytest.mark.parametrize("dtype", ["float64", "int32"])
def test_random_products_keep_their_values(kind: str, seed: int, dtype: str) -> None:
    """Any layout, sizes of one, several summed dimensions; sums of products among them; integers exactly."""
    rng = np.random.default_rng(seed)
    shared, others = WORDS[kind]
    args: list[Any] = []
    specs: list[str] = []
    base = {c: int(rng.choice([1, 2, 3, 5])) for c in "bmkl"}

    def tensor(word: str, sizes: dict[str, int]) -> Any:
        shape = tuple(sizes[c] for c in word)
        values = rng.integers(-9, 9, shape) if dtype == "int32" else rng.normal(size=shape)
        return values.astype(dtype)

    args.append(tensor(shared, base | {"j": 2}))
    for _ in range(int(rng.integers(2, 5))):
        word = str(rng.choice(others))
        sizes = base | {c: int(rng.choice([1, 2, 4])) for c in "nj"}
        own = [c for c in word if c not in shared]
        sizes |= {"j": 2} if "j" in shared else {}
        rows = [c for c in shared if c not in word or c == "b"]
        specs.append(f"{shared},{word}->{''.join(rng.permutation([*rows, *own]))}")
        args.append(tensor(word, sizes))

    def program(x: Any, *ws: Any) -> Any:
        found = [jnp.einsum(spec, x, w) for spec, w in zip(specs, ws, strict=True)]
        sums: dict[Any, Any] = {}
        for value in found:
            sums[value.shape] = sums.get(value.shape, 0) + value
        return [v * 3 for v in found[1:]], list(sums.values())

    fixed = tuple(range(1, len(args))) if seed % 2 else ()
    graph = normalise(capture(program, args, {}).graph)
    free = frozen_nodes(graph, fixed)
    for change in (shared_products, joined_sums):
        new = change(graph, Numerics.REASSOCIATE, free, Starts())
        if new is not None:
            changed = normalise(new)
            agree(graph, changed, args)


def test_random_products_are_merged_at_all() -> None:
    """The random programs above say something: most of them change."""
    x, ws = array(3, 4), [array(4, n, seed=n) for n in (1, 2, 5)]
    graph = normalise(capture(lambda x, *ws: [x @ w for w in ws], (x, *ws), {}).graph)
    new = shared_products(graph, Numerics.REASSOCIATE, frozenset(), Starts())
    assert new is not None
    assert products(new) == 1


def test_below_reassociation_nothing_is_merged() -> None:
    x, ws = array(3, 4), [array(4, n, seed=n) for n in (2, 5)]
    graph = normalise(capture(lambda x, *ws: [x @ w for w in ws], (x, *ws), {}).graph, Numerics.EXACT)
    for change in (shared_products, joined_sums):
        assert change(graph, Numerics.EXACT, frozenset(), Starts()) is None


def test_nasrnn_has_one_product_a_cell() -> None:
    program, args = build("nasrnn", Size(thinner=4, repeats=5))
    optimised = egraph_opt.optimize(program, frozen=("weights",), measure=False, verify=False)
    result = optimised.plan(*args)
    count = len(args[0])
    assert products(result.before, frozen_nodes(result.before, range(count))) == 72  # the first state is a weight
    assert products(result.after, frozen_nodes(result.after, range(count))) == 5
    assert set(result.report.rules_fired) >= {"join-sums", "join-products"}
    prepared = result.prepare(args[0])
    want, got = program(*args), prepared(*args[1:])
    assert np.allclose(want, got, rtol=1e-4, atol=1e-5)


def test_merged_products_have_a_certificate() -> None:
    program, args = build("nasrnn", Size(thinner=32, repeats=2))
    result = egraph_opt.optimize(program, frozen=("weights",), measure=False, verify=False).plan(*args)
    certificate = result.explain().certificate
    assert certificate is not None
    assert any(step["kind"] == "pass" and "join-products" in step["passes"] for step in certificate["steps"])
    assert checker.check(certificate) == len(certificate["steps"])
