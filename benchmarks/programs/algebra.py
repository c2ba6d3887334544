# SPDX-License-Identifier: Apache-2.0
"""Matrix expressions and derivatives with a known best form: each with the arithmetic of the hand-written program.

Sizes are 128 unless said. The wanted count is the XLA count of the hand form, rounded up [flop]. Sources: textbook
identities of linear algebra; Barthels et al., "Linnea", ACM TOMS 47(3), 2021, and Sankaran et al., "Benchmarking the
linear algebra awareness of TensorFlow and PyTorch", 2022, for which of them frameworks miss; derivatives of one to
three layers of a tanh network, as physics-informed networks and Newton methods need them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from egraph_opt.bench.case import Built
from egraph_opt.bench.case import Case as BenchCase

N = 128
tanh = jnp.tanh


def array(*shape: int, seed: int = 0) -> jax.Array:
    """A well-scaled random array; different for different shapes and seeds."""
    key = jax.random.fold_in(jax.random.key(seed), sum((i + 7) * n for i, n in enumerate(shape)))
    return jax.random.normal(key, shape) / (shape[0] ** 0.5 if len(shape) > 1 else 1.0)


A, B, C = (array(N, N, seed=i) for i in range(3))
U, V = array(N, 4), array(N, 4, seed=1)
x, y, v = (array(N, seed=i) for i in range(3))
BATCH = array(8, 64, 64), array(8, 64, 64, seed=1), array(8, 64)
RANK4 = array(6, 5, 16, 16), array(16, 16, 6, 5, seed=1), array(6, 5)


def layer(a: Any, b: Any) -> Callable[[Any], Any]:
    """Two products with tanh after each: ``z -> tanh(tanh(a z) b)``."""
    return lambda z: tanh(tanh(a @ z) @ b)


Case = tuple[Callable[..., Any], Sequence[Any], float]

PROGRAMS: dict[str, Case] = {
    "(AB)x": (lambda A, B, x: (A @ B) @ x, (A, B, x), 6.56e4),
    "A'BA'By": (lambda A, B, y: A.T @ B @ A.T @ B @ y, (A, B, y), 1.32e5),
    "trace(AB)": (lambda A, B: jnp.trace(A @ B), (A, B), 3.3e4),
    "trace(ABC)": (lambda A, B, C: jnp.trace(A @ B @ C), (A, B, C), 4.24e6),
    "sum(AB)": (lambda A, B: jnp.sum(A @ B), (A, B), 3.3e4),
    "mean over rows of AB": (lambda A, B: jnp.mean(A @ B, 0), (A, B), 5.1e4),
    "diag(AB)": (lambda A, B: jnp.diagonal(A @ B), (A, B), 3.3e4),
    "diag(AB) by jnp.diag": (lambda A, B: jnp.diag(A @ B), (A, B), 3.3e4),
    "diag(ABC)": (lambda A, B, C: jnp.diag(A @ B @ C), (A, B, C), 4.24e6),
    "AB+AC": (lambda A, B, C: A @ B + A @ C, (A, B, C), 4.22e6),
    "BA-CA": (lambda A, B, C: B @ A - C @ A, (A, B, C), 4.22e6),
    "2AB+3AC": (lambda A, B, C: 2 * (A @ B) + 3 * (A @ C), (A, B, C), 4.26e6),
    "(AC)'+C'B'": (lambda A, B, C: (A @ C).T + C.T @ B.T, (A, B, C), 4.22e6),
    "(2A)(B/3)(x/2)": (lambda A, B, x: (A * 2.0) @ (B / 3.0) @ (x / 2.0), (A, B, x), 6.6e4),
    "(A-UU')x": (lambda A, U, x: (A - U @ U.T) @ x, (A, U, x), 3.51e4),
    "(A+UV')B": (lambda A, U, V, x: (A + U @ V.T) @ x, (A, U, V, x), 3.51e4),
    "(I+uv')x": (lambda x, y, v: (jnp.eye(N) + jnp.outer(x, y)) @ v, (x, y, v), 6.5e2),
    "B'AA'B": (lambda A, B: B.T @ A @ A.T @ B, (A, B), 8.4e6),
    "(A'B)'(A'B)": (lambda A, B: (A.T @ B).T @ (A.T @ B), (A, B), 8.4e6),
    "A'B+(B'A)'": (lambda A, B: A.T @ B + (B.T @ A).T, (A, B), 4.22e6),
    "H'yx'H": (lambda A, x, y: A.T @ jnp.outer(y, x) @ A, (A, x, y), 8.3e4),
    "diag(x)A": (lambda A, x: jnp.diag(x) @ A, (A, x), 1.65e4),
    "hessian of x'Ax": (lambda x, A: jax.hessian(lambda z: z @ A @ z)(x), (x, A), 1.65e4),
    "Jv": (lambda A, B, x, v: jax.jacfwd(layer(A, B))(x) @ v, (A, B, x, v), 1.33e5),
    "Jv by jacrev": (lambda A, B, x, v: jax.jacrev(layer(A, B))(x) @ v, (A, B, x, v), 1.34e5),
    "vJ": (lambda A, B, x, v: v @ jax.jacfwd(layer(A, B))(x), (A, B, x, v), 1.33e5),
    "vJ by jacrev": (lambda A, B, x, v: v @ jax.jacrev(layer(A, B))(x), (A, B, x, v), 1.34e5),
    "trace J": (lambda A, B, x: jnp.trace(jax.jacfwd(lambda z: tanh(A @ z) @ B)(x)), (A, B, x), 6.66e4),
    "Hv, 1 layer": (lambda A, x, v: jax.hessian(lambda z: jnp.sum(tanh(A @ z)))(x) @ v, (A, x, v), 9.97e4),
    "Laplacian, 1 layer": (
        lambda A, x: jnp.trace(jax.hessian(lambda z: jnp.sum(tanh(A @ z)))(x)),
        (A, x),
        6.7e4,
    ),
    "Hv, 2 layers": (
        lambda A, B, x, v: jax.hessian(lambda z: jnp.sum(layer(A, B)(z)))(x) @ v,
        (A, B, x, v),
        2.34e5,
    ),
    "Hv, 3 layers": (
        lambda A, B, C, x, v: jax.hessian(lambda z: jnp.sum(tanh(layer(A, B)(z) @ C)))(x) @ v,
        (A, B, C, x, v),
        4.2e5,
    ),
    "batched (XY)z": (lambda X, Y, z: jnp.einsum("bij,bj->bi", X @ Y, z), BATCH, 1.32e5),
    "batched (X'Y)'z": (
        lambda X, Y, z: jnp.einsum("bji,bj->bi", jnp.swapaxes(X, 1, 2) @ Y, z),
        BATCH,
        1.32e5,
    ),
    "batched trace": (lambda X, Y, z: jnp.trace(X @ Y, axis1=1, axis2=2), BATCH, 6.6e4),
    "vmapped (ab)z": (jax.vmap(lambda X, Y, z: (X @ Y) @ z), BATCH, 1.32e5),
    "rank 4": (lambda p, q, z: jnp.einsum("abcd,cdab->ab", p, q) * z, RANK4, 1.6e4),
    "rank-4 chain": (
        lambda p, q, z: jnp.tensordot(jnp.tensordot(p, q, ((2, 3), (0, 1))), z, ((2, 3), (0, 1))),
        RANK4,
        3.1e4,
    ),
}


def build(name: str) -> tuple[Callable[..., Any], Sequence[Any]]:
    """Function and arguments of one expression of the table."""
    function, args, _ = PROGRAMS[name]
    return function, args


FAMILIES = {
    "B": ("B'AA'B", "(A'B)'(A'B)", "A'B+(B'A)'"),
    "C": ("AB+AC", "BA-CA", "2AB+3AC", "(AC)'+C'B'", "(A-UU')x", "(A+UV')B", "(I+uv')x"),
    "E": ("trace(AB)", "trace(ABC)", "sum(AB)", "mean over rows of AB", "diag(AB)", "diag(AB) by jnp.diag", "diag(ABC)",
          "batched trace", "rank 4"),
    "F": ("diag(x)A",),
    "L": ("hessian of x'Ax", "Jv", "Jv by jacrev", "vJ", "vJ by jacrev", "trace J", "Hv, 1 layer", "Laplacian, 1 layer",
          "Hv, 2 layers", "Hv, 3 layers"),
}  # fmt: skip
"""Families of identities; the others are about the order of products."""


def _case(name: str) -> BenchCase:
    function, args, wanted = PROGRAMS[name]
    family = next((family for family, names in FAMILIES.items() if name in names), "A")
    return BenchCase(name, family, lambda small: Built(function, None, tuple(args)), wanted)


CASES = tuple(map(_case, PROGRAMS))
