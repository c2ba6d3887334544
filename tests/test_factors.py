# SPDX-License-Identifier: Apache-2.0
"""Sums that are products of sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import egraph_opt
from egraph_opt.cost import count_graph
from egraph_opt.explain.checker import check


def array(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


N, B = 40, 5
A, C, D, E = (array(N, N, seed=k) for k in range(4))
x, h = array(N, seed=7), array(N, seed=8)
batch = array(B, N, N, seed=9)
PRODUCT = 2.0 * N**3


@pytest.mark.parametrize(
    ("program", "args", "wanted"),
    [
        (lambda A, B, C, D: A @ C + A @ D + B @ C + B @ D, (A, C, D, E), PRODUCT + 2 * N * N),
        (lambda A, B, C, D: A @ C - A @ D - B @ C + B @ D, (A, C, D, E), PRODUCT + 4 * N * N),
        (lambda A, B, C, D: 3 * A @ C + 3 * A @ D + B @ C + B @ D, (A, C, D, E), PRODUCT + 4 * N * N),
        (lambda A, B, C, D: A @ C + B @ C + D @ A + D @ B, (A, C, D, E), 2 * PRODUCT + 3 * N * N),
        (
            lambda A, B, C, D: A @ C + A @ D + B @ C + B @ D,
            (batch, 2 * batch + 1, C, D),
            B * PRODUCT + 2 * B * N * N,
        ),
        (lambda A, B, x, h: A @ A @ x + A @ B @ x + B @ A @ x + B @ B @ x, (A, C, x, h), 5 * N * N),
    ],
    ids=["four", "signs", "factors", "from both sides", "batch", "square"],
)
def test_factored(program: Callable[..., Any], args: tuple[Any, ...], wanted: float) -> None:
    result = egraph_opt.optimize(lambda *a: (program(*a), 1.0 + a[-1]), measure=False, cost="flops").plan(*args)
    assert count_graph(result.after).flops <= 1.01 * (wanted + args[-1].size) + N
    want, got = program(*args), result(*args)[0]
    assert np.allclose(want, got, rtol=1e-3, atol=1e-4 * float(np.max(np.abs(want))))


def test_factoring_is_told_in_the_certificate() -> None:
    def program(A: Any, B: Any, C: Any, D: Any) -> Any:
        return A @ C - A @ D - B @ C + B @ D

    result = egraph_opt.optimize(program, measure=False, cost="flops").plan(A, C, D, E)
    certificate = result.explain().certificate
    assert certificate is not None
    assert check(certificate) > 0
