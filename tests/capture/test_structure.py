# SPDX-License-Identifier: Apache-2.0
"""Structure that capture recognises: identities, diagonals, known indices, window counts. All of it exact."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from egraph_opt.capture import capture, fold
from egraph_opt.ir.numerics import Numerics

RNG = np.random.default_rng(0)
A = RNG.standard_normal((4, 4)).astype(np.float32)
ODD = A.copy()
ODD[0, 1], ODD[2, 3], ODD[1, 0] = np.nan, np.inf, -0.0
T = RNG.standard_normal((3, 4, 5)).astype(np.float32)
LEAVES = ("input", "constant", "iota")


def ops(captured: Any) -> list[str]:
    return [n.op for n in captured.graph if n.op not in LEAVES]


def specs(captured: Any) -> list[str]:
    return [n.attr("spec").partition(";")[0] for n in captured.graph if n.op == "einsum"]


ONE_EINSUM: dict[str, tuple[Callable[..., Any], Any, str]] = {
    "trace": (jnp.trace, ODD, "aa->"),
    "diag-read": (jnp.diag, ODD, "aa->a"),
    "diag-write": (jnp.diag, ODD[0], "a->aa"),
    "diagonal-batched": (jax.vmap(jnp.diag), T[:, :, :4], "abb->ab"),
    "trace-batched": (jax.vmap(jnp.trace), T[:, :, :4], "abb->a"),
    "where-eye": (lambda a: jnp.where(jnp.eye(4, dtype=bool), a, 0), ODD, "aa->aa"),
    "where-not-eye": (lambda a: jnp.where(~jnp.eye(4, dtype=bool), 0, a), ODD, "aa->aa"),
    "where-not-equal": (lambda a: jnp.where(jnp.arange(4)[:, None] != jnp.arange(4), 0, a), ODD, "aa->aa"),
    "where-eye-batched": (jax.vmap(lambda a: jnp.where(jnp.eye(4, dtype=bool), a, 0)), T[:, :, :4], "abb->abb"),
    "times-eye": (lambda a: a * jnp.eye(4), A, "aa->aa"),
    "times-one-hot-eye": (lambda a: a * jax.nn.one_hot(jnp.arange(4), 4), A, "aa->aa"),
    "hessian-of-cubes": (jax.hessian(lambda v: (v**3).sum()), A[0], "a->aa"),
}


@pytest.mark.parametrize("name", ONE_EINSUM)
def test_one_einsum(check: Any, name: str) -> None:
    fn, argument, spec = ONE_EINSUM[name]
    captured = check(fn, argument)
    assert ops(captured) == ["einsum"]
    assert specs(captured) == [spec]


SLICES: dict[str, tuple[Callable[..., Any], list[str]]] = {
    "diag-above": (lambda a: jnp.diag(a, 1), ["slice", "einsum"]),
    "diag-below": (lambda a: jnp.diag(a, -2), ["slice", "einsum"]),
    "where-above": (lambda a: jnp.where(jnp.eye(4, k=1, dtype=bool), a, 0), ["slice", "einsum", "pad"]),
    "rows": (lambda a: a[jnp.arange(3)], ["slice"]),
    "rows-backwards": (lambda a: a[jnp.arange(3)[::-1]], ["slice", "rev"]),
    "columns-by-two": (lambda a: a[:, jnp.arange(0, 4, 2)], ["slice"]),
    "one-row": (lambda a: a[2], ["slice", "reshape"]),
    "take": (lambda a: jnp.take(a, 2, axis=1), ["slice", "reshape"]),
    "dynamic-beyond": (lambda a: lax.dynamic_slice(a, (7, -3), (2, 2)), ["slice"]),
    "dynamic-row": (lambda a: lax.dynamic_index_in_dim(a, 1), ["slice"]),
}


@pytest.mark.parametrize("name", SLICES)
def test_slices(check: Any, name: str) -> None:
    fn, expected = SLICES[name]
    captured = check(fn, ODD)
    assert sorted(ops(captured)) == sorted(expected)


@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (0, 2), (2, 0)])
@pytest.mark.parametrize("offset", [-1, 0, 2])
def test_diagonals_of_rectangles(check: Any, axes: tuple[int, int], offset: int) -> None:
    captured = check(lambda t: jnp.diagonal(t, offset, *axes), T)
    assert "gather" not in ops(captured)


def test_product_of_index_arrays(check: Any) -> None:
    captured = check(lambda t: t[jnp.arange(2)[:, None], :, jnp.arange(1, 4)[None]], T)
    assert "gather" not in ops(captured)


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (4, 4)])
@pytest.mark.parametrize("k", [-2, 0, 1])
def test_rectangular_identities(check: Any, shape: tuple[int, int], k: int) -> None:
    x = RNG.standard_normal((3, shape[0])).astype(np.float32)
    captured = check(lambda x: x @ jnp.eye(*shape, k=k), x)
    assert not {"eq", "iota", "convert_element_type"} & {n.op for n in captured.graph}


def test_large_identities_are_not_computed(check: Any) -> None:
    """Beyond the limit on known values the comparison itself tells."""
    captured = check(lambda s: jnp.where(jnp.eye(3000, dtype=bool), s, 0).sum(), np.float32(2))
    assert specs(captured) == ["->"]


def test_scatter_into_zeros(check: Any) -> None:
    """The transpose of reading a diagonal, or rows, is writing them."""
    check_ops = ops(check(jax.grad(lambda a: (jnp.diag(a, 1) * 3).sum()), A))
    assert "scatter_add" not in check_ops
    check_ops = ops(check(jax.grad(lambda a: (a[jnp.arange(0, 4, 2)] ** 2).sum()), A))
    assert "scatter_add" not in check_ops
    repeated = check(jax.grad(lambda a: (a[jnp.zeros(3, jnp.int32)] ** 2).sum()), A)
    assert "scatter_add" in ops(repeated)


def test_out_of_bounds_reads_stay(check: Any) -> None:
    captured = check(lambda a: a.at[jnp.arange(2, 6)].get(mode="fill", fill_value=7.0), A)
    assert "gather" in ops(captured)
    captured = check(lambda a: a.at[jnp.arange(2, 6)].get(mode="clip"), A)
    assert "gather" in ops(captured)


def test_masks_stay_comparisons(check: Any) -> None:
    captured = check(lambda a: (jnp.tril(a), jnp.where(jnp.tri(4, dtype=bool), a, -jnp.inf)), ODD)
    counts = captured.graph.op_counts()
    assert (counts["band_part"], counts["select_n"], counts["ge"]) == (1, 1, 1)


def test_other_branches_stay_selections(check: Any) -> None:
    for other in (1.0, -0.0, jnp.nan):
        captured = check(lambda a, other=other: jnp.where(jnp.eye(4, dtype=bool), a, other), ODD)
        assert "select_n" in ops(captured)


def test_exact_numerics_keep_products_with_identities() -> None:
    """``nan * 0`` is not 0: renaming indices instead of multiplying is not bit-identical."""
    exact = capture(lambda a: a @ jnp.eye(4), (A,), numerics=Numerics.EXACT)
    assert specs(exact) == ["ab,bc->ac"]
    integers = capture(lambda a: a @ jnp.eye(4, dtype=jnp.int32), (A.astype(np.int32),), numerics=Numerics.EXACT)
    assert ops(integers) == []


def test_closed_over_values_are_not_looked_at(check: Any) -> None:
    eye, ones = np.eye(4, dtype=np.float32), jnp.ones((4, 4))
    captured = check(lambda a: a @ eye * ones, A)
    assert ops(captured) == ["einsum", "einsum"]
    assert len(captured.constants) == 2
    folded = check(lambda a: a @ eye * ones, A, fold_constants=True)
    assert ops(folded) == []


def test_folded_constants_give_indices_and_small_tables(check: Any) -> None:
    index, weights = jnp.array([1, 2]), RNG.standard_normal((4, 4)).astype(np.float32)
    captured = check(lambda a: a[index] @ weights, A, fold_constants=True)
    assert "gather" not in ops(captured)
    assert {n.type.shape for n in captured.graph if n.op == "constant"} == {(4, 4)}
    large = RNG.standard_normal((2000, 4)).astype(np.float32)
    assert "constant" not in check(lambda a: large @ a, A, fold_constants=True).graph.op_counts()


def test_the_same_array_is_one_input(check: Any) -> None:
    w = jnp.full((4,), 2.0)
    captured = check(lambda a: jax.jit(lambda b: b * w)(a) + lax.scan(lambda c, r: (c + r * w, None), w, a)[0] + w, A)
    assert len(captured.constants) == 1
    assert len(captured.graph.inputs) == 2


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_window_counts_are_tables(check: Any, padding: str) -> None:
    """Average pooling divides by ``reduce_window(ones)``, which XLA would fold for minutes on large models."""
    window: Any = ((1, 3, 3), (1, 2, 1), padding)

    def pool(t: Any) -> Any:
        return lax.reduce_window(t, 0.0, lax.add, *window) / lax.reduce_window(jnp.ones_like(t), 0.0, lax.add, *window)

    captured = check(pool, T)
    assert captured.graph.op_counts()["reduce_window_sum"] == 1
    huge = capture(lambda t: pool(t), (jax.ShapeDtypeStruct((64, 512, 512), np.float32),))
    assert huge.graph.op_counts()["reduce_window_sum"] == 1


def test_window_counts_with_dilations(check: Any) -> None:
    def count(t: Any) -> Any:
        return lax.reduce_window(
            jnp.full_like(t, 0.5), 0.0, lax.add, (1, 2, 3), (1, 1, 2), ((0, 0), (1, 0), (2, 2)), (1, 2, 1), (1, 1, 2)
        )

    assert "reduce_window_sum" not in ops(check(count, T))


def test_input_free_values(check: Any) -> None:
    """Small tables are program text; large ones without structure keep their symbolic form."""
    small = check(lambda a: a * jnp.sqrt(jnp.arange(4.0)) + jnp.exp(1.0), A)
    assert small.graph.op_counts()["constant"] == 2
    wide = capture(lambda a: a * jnp.arange(5000.0) ** 1.5, (np.ones((2, 5000), np.float32),))
    assert {"iota", "pow"} <= set(wide.graph.op_counts())


def test_integers_that_wrap_are_folded_as_xla_has_them(check: Any) -> None:
    def f(a: Any) -> Any:
        i = jnp.arange(4, dtype=jnp.int32) + 2**30
        u = jnp.arange(4, dtype=jnp.uint8) - 3
        return a + i * i, u, jnp.right_shift(-i, 3), lax.shift_right_logical(-i, 3), (i - 2**30) // -2, i % 7

    check(f, np.ones(4, np.int32), tolerance=0)


def test_masks_of_truth_values_are_masks(check: Any) -> None:
    captured = check(lambda a: jnp.where(jnp.tril(jnp.ones((4, 4), bool)), a, -jnp.inf), A)
    assert captured.graph.op_counts()["select_n"] == 1


def test_forgotten_values_are_computed_again(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "MAX_HELD_BYTES", 100)
    i = lambda: jnp.arange(16)  # noqa: E731
    check(
        lambda a: a * jnp.where(i()[:, None] * 3 + 1 > i() % 5, 1.0, 2.0) @ jnp.eye(16), np.ones((16, 16), np.float32)
    )
