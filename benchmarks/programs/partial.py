# SPDX-License-Identifier: Apache-2.0
"""Results of which only a part is read, and reductions of products: what need not be computed at all."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import logsumexp

from egraph_opt.bench.case import case

from .draw import dense, integers, permutation, regular, spd

tanh = jnp.tanh


def _shapes(words, **fixed):
    """Arguments by words of letters: n is the size, the others are given."""

    def make(n):
        sizes = {"n": n, "h": max(1, n // 2), "b": 4, "k": max(2, n // 10), **fixed}
        return dense(*(tuple(sizes[c] for c in word) for word in words.split()))

    return make


def _with_index(words):
    return lambda n: (*_shapes(words)(n), jnp.asarray(n // 2, jnp.int32))


def dynamic_row(A, B, i):
    return lax.dynamic_index_in_dim(A @ B, i, 0, keepdims=False)


def dynamic_row_hand(A, B, i):
    return lax.dynamic_index_in_dim(A, i, 0, keepdims=False) @ B


def dynamic_block(A, B, i):
    return lax.dynamic_slice(tanh(A @ B), (i, jnp.zeros_like(i)), (2, 2))


def dynamic_block_hand(A, B, i):
    return tanh(lax.dynamic_slice_in_dim(A, i, 2) @ B[:, :2])


def gathered_rows(A, B, order):
    return jnp.take(A @ B, order, axis=0)


def gathered_rows_hand(A, B, order):
    return A[order] @ B


def masked_row(A, B, i):
    one = (jnp.arange(A.shape[0]) == i).astype(A.dtype)
    return jnp.sum(one[:, None] * (A @ B), 0)


def softmax_rows(A, B):
    return jax.nn.softmax(A @ B, axis=-1)[:4]


def layers_last_row(X, W, V):
    return jnp.maximum(jnp.maximum(X @ W, 0) @ V, 0)[-1]


def layers_last_row_hand(X, W, V):
    return jnp.maximum(jnp.maximum(X[-1] @ W, 0) @ V, 0)


def attention_last(Q, K, V):
    return (jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", Q, K), -1) @ V)[:, -1]


def attention_last_hand(Q, K, V):
    scores = jnp.einsum("bd,bkd->bk", Q[:, -1], K)
    return jnp.einsum("bk,bkd->bd", jax.nn.softmax(scores, -1), V)


def convolution_crop(x, w):
    return lax.conv_general_dilated(x, w, (1, 1), "VALID")[:, :, :2, :2]


def convolution_crop_hand(x, w):
    return lax.conv_general_dilated(x[:, :, :4, :4], w, (1, 1), "VALID")


def pooled_convolution(x, w):
    return jnp.mean(lax.conv_general_dilated(x, w, (1, 1), "VALID"), (2, 3))


def pooled_convolution_hand(x, w):
    return jnp.mean(x, (2, 3)) @ w[:, :, 0, 0].T


def solve_element(A, B):
    return jnp.linalg.solve(A, B)[:, 0]


def solve_element_hand(A, B):
    return jnp.linalg.solve(A, B[:, 0])


def inverse_column(A):
    return jnp.linalg.inv(A)[:, 1]


def inverse_column_hand(A):
    return jnp.linalg.solve(A, jnp.zeros(A.shape[0], A.dtype).at[1].set(1))


def last_of_scan(xs, W):
    def step(carry, x):
        carry = tanh(carry @ W + x)
        return carry, carry

    return lax.scan(step, jnp.zeros(W.shape[0], W.dtype), xs)[1][-1]


def last_of_scan_hand(xs, W):
    return lax.scan(lambda c, x: (tanh(c @ W + x), None), jnp.zeros(W.shape[0], W.dtype), xs)[0]


def sum_of_square(U, V):
    return jnp.sum((U @ V.T) ** 2)


def sum_of_square_hand(U, V):
    return jnp.sum((U.T @ U) * (V.T @ V))


def weighted_sum(A, B, u, v):
    return jnp.sum((A @ B) * jnp.outer(u, v))


def weighted_sum_hand(A, B, u, v):
    return (u @ A) @ (B @ v)


def distances(X, Y):
    return jnp.sum((X[:, None, :] - Y[None, :, :]) ** 2, -1)


def distances_hand(X, Y):
    return jnp.sum(X * X, 1)[:, None] + jnp.sum(Y * Y, 1)[None] - 2 * (X @ Y.T)


def total_distance(X, Y):
    return jnp.sum((X[:, None, :] - Y[None, :, :]) ** 2)


def total_distance_hand(X, Y):
    return Y.shape[0] * jnp.sum(X * X) + X.shape[0] * jnp.sum(Y * Y) - 2 * (X.sum(0) @ Y.sum(0))


def variance_of_linear(X, W):
    return jnp.var(X @ W, axis=0)


def mean_of_layers(X, W, V):
    return jnp.mean(X @ W @ V + 1.0, axis=0)


def kronecker_trace(A, B):
    return jnp.trace(jnp.kron(A, B))


def concatenated_sum(A, B, C):
    return jnp.sum(jnp.concatenate([A @ C, B @ C]), 0)


def concatenated_sum_hand(A, B, C):
    return (A.sum(0) + B.sum(0)) @ C


def picked_class(X, W, labels):
    logits = jax.nn.log_softmax(X @ W)
    hot = jax.nn.one_hot(labels, W.shape[1], dtype=X.dtype)
    return -jnp.sum(hot * logits) / X.shape[0]


def picked_class_hand(X, W, labels):
    logits = X @ W
    picked = jnp.take_along_axis(logits, labels[:, None], 1)[:, 0]
    return jnp.mean(logsumexp(logits, axis=1) - picked)


def best_class(X, W):
    return jnp.argmax(jax.nn.softmax(X @ W), -1)


def best_class_hand(X, W):
    return jnp.argmax(X @ W, -1)


def largest_probability(X):
    return jnp.max(jax.nn.softmax(X, -1), -1)


def largest_probability_hand(X):
    return 1 / jnp.sum(jnp.exp(X - jnp.max(X, -1, keepdims=True)), -1)


def embedded(table, ids, W):
    return (table @ W)[ids]


CASES = (
    case("row", "D", lambda A, B: (A @ B)[3], lambda A, B: A[3] @ B, _shapes("nn nn")),
    case("column", "D", lambda A, B: jnp.matmul(A, B)[:, -1], lambda A, B: A @ B[:, -1], _shapes("nn nn")),
    case("block", "D", lambda A, B: (A @ B)[:5, 1:4], lambda A, B: A[:5] @ B[:, 1:4], _shapes("nn nn")),
    case("every second row", "D", lambda A, B: (A @ B)[::2], lambda A, B: A[::2] @ B, _shapes("nn nn")),
    case("element of a chain", "D", lambda A, B, C: (A @ B @ C)[0, 1], lambda A, B, C: (A[0] @ B) @ C[:, 1],
         _shapes("nn nn nn")),
    case("element of a sum", "D", lambda A, B: (tanh(A) * B + jnp.exp(B))[1, 2],
         lambda A, B: tanh(A[1, 2]) * B[1, 2] + jnp.exp(B[1, 2]), _shapes("nn nn")),
    case("dynamic row", "D", dynamic_row, dynamic_row_hand, _with_index("nn nn")),
    case("dynamic block", "D", dynamic_block, dynamic_block_hand, _with_index("nn nn")),
    case("gathered rows", "D", gathered_rows, gathered_rows_hand,
         lambda n: (*dense((n, n), (n, n)), permutation(n)[: n // 4 + 1])),
    case("pairs of rows and columns", "D", lambda A, B, i, j: (A @ B)[i, j],
         lambda A, B, i, j: jnp.sum(A[i] * B[:, j].T, 1),
         lambda n: (*dense((n, n), (n, n)), permutation(n)[: n // 4 + 1], permutation(n, 1)[: n // 4 + 1])),
    case("one column of each row", "D", lambda A, B, i: jnp.take_along_axis(A @ B, i[:, None], 1),
         lambda A, B, i: jnp.sum(A * B[:, i].T, 1, keepdims=True), lambda n: (*dense((n, n), (n, n)), permutation(n))),
    case("masked row", "D", masked_row, lambda A, B, i: A[i] @ B, _with_index("nn nn")),
    case("rows of a softmax", "D", softmax_rows, lambda A, B: jax.nn.softmax(A[:4] @ B, -1), _shapes("nn nn")),
    case("last row of a network", "D", layers_last_row, layers_last_row_hand, _shapes("nn nn nn")),
    case("last query of an attention", "D", attention_last, attention_last_hand, _shapes("bnk bnk bnk")),
    case("crop of a convolution", "D", convolution_crop, convolution_crop_hand, _shapes("bknn kk33", **{"3": 3}), 40),
    case("first column of a solve", "D", solve_element, solve_element_hand,
         lambda n: (regular(n), *dense((n, n)))),
    case("column of an inverse", "D", inverse_column, inverse_column_hand, lambda n: (regular(n),)),
    case("einsum, one batch entry", "D", lambda X, Y: jnp.einsum("bij,bjk->bik", X, Y)[1],
         lambda X, Y: X[1] @ Y[1], _shapes("bnn bnn")),
    case("embedding, then product", "D", embedded, lambda table, ids, W: table[ids] @ W,
         lambda n: (*dense((n, n)), integers(n, n // 5 + 1), *dense((n, n)))),
    case("last of cumsum", "D", lambda A, B: jnp.cumsum(A @ B, 0)[-1], lambda A, B: A.sum(0) @ B,
         _shapes("nn nn")),
    case("first of sort", "D", lambda A: jnp.sort(A, axis=-1)[:, 0], lambda A: jnp.min(A, -1), _shapes("nn")),
    case("last of sort", "D", lambda A: jnp.sort(A, axis=-1)[..., -1], lambda A: jnp.max(A, -1), _shapes("nn")),
    case("first of argsort", "D", lambda A: jnp.argsort(A, axis=1)[:, 0], lambda A: jnp.argmin(A, 1), _shapes("nn")),
    case("top_k of one", "D", lambda A: lax.top_k(A, 1)[0][:, 0], lambda A: jnp.max(A, 1), _shapes("nn")),
    case("first few of sort", "D", lambda A: jnp.sort(A, axis=1)[:, :3], lambda A: -lax.top_k(-A, 3)[0], _shapes("nn")),
    case("places of the largest few", "D", lambda A: jnp.argsort(-A, axis=1)[:, :5], lambda A: lax.top_k(A, 5)[1],
         _shapes("nn")),
    case("by its own order", "D", lambda A: jnp.take_along_axis(A, jnp.argsort(A, axis=1), axis=1),
         lambda A: jnp.sort(A, axis=1), _shapes("nn")),
    case("rows of a product added up by id", "D",
         lambda A, B, i: jax.ops.segment_sum(A @ B, i, num_segments=8),
         lambda A, B, i: jax.ops.segment_sum(A, i, num_segments=8) @ B,
         lambda n: (*dense((n, n), (n, n)), integers(8, n))),
    case("a layer of read rows", "D", lambda A, B, i: A[i] @ B, lambda A, B, i: (A @ B)[i],
         lambda n: (*dense((n, n), (n, n)), integers(n, 8 * n))),
    case("messages of a graph", "D",
         lambda A, B, i, j: jax.ops.segment_sum(A[i] @ B, j, num_segments=A.shape[0]),
         lambda A, B, i, j: jax.ops.segment_sum(A[i], j, num_segments=A.shape[0]) @ B,
         lambda n: (*dense((n, n), (n, n)), integers(n, 8 * n), integers(n, 8 * n))),
    case("last of scan", "D", last_of_scan, last_of_scan_hand, _shapes("nn nn"), 100),
    case("slice of concatenate", "D", lambda A, B, C: (jnp.concatenate([A, B]) @ C)[: A.shape[0]],
         lambda A, B, C: A @ C, _shapes("nn nn nn")),
    case("sum of a product", "E", lambda A, B: jnp.sum(A @ B), lambda A, B: A.sum(0) @ B.sum(1),
         _shapes("nn nn")),
    case("row sums", "E", lambda A, B: jnp.sum(A @ B, axis=1), lambda A, B: A @ B.sum(1), _shapes("nn nn")),
    case("mean of layers", "E", mean_of_layers, lambda X, W, V: X.mean(0) @ W @ V + 1.0, _shapes("nn nn nn")),
    case("trace of a chain", "E", lambda A, B, C: jnp.trace(A @ B @ C), lambda A, B, C: jnp.sum((A @ B) * C.T),
         _shapes("nk kn nn")),
    case("trace of A'A", "E", lambda A: jnp.trace(A.T @ A), lambda A: jnp.sum(A * A), _shapes("nn")),
    case("diagonal of ADA'", "E", lambda A, d: jnp.diag(A @ jnp.diag(d) @ A.T), lambda A, d: (A * A) @ d,
         _shapes("nn n")),
    case("diagonal of X inv(S) X'", "E", lambda S, X: jnp.diag(X @ jnp.linalg.inv(S) @ X.T),
         lambda S, X: jnp.sum(X.T * jnp.linalg.solve(S, X.T), 0), lambda n: (spd(n), *dense((n // 5 + 1, n)))),
    case("sum of squares of UV'", "E", sum_of_square, sum_of_square_hand, _shapes("nk nk")),
    case("sum against an outer product", "E", weighted_sum, weighted_sum_hand, _shapes("nn nn n n")),
    case("broadcast, multiply, sum", "E", lambda A, B: (A[:, :, None] * B[None]).sum(1), lambda A, B: A @ B,
         _shapes("nn nn"), 100),
    case("pairwise distances", "E", distances, distances_hand, _shapes("nk nk")),
    case("sum of pairwise distances", "E", total_distance, total_distance_hand, _shapes("nk nk")),
    case("variance of a linear layer", "E", variance_of_linear,
         lambda X, W: jnp.mean(((X - X.mean(0)) @ W) ** 2, 0), _shapes("nn nn")),
    case("pooled pointwise convolution", "E", pooled_convolution, pooled_convolution_hand,
         _shapes("bknn kk11", **{"1": 1}), 30),
    case("trace of kron", "E", kronecker_trace, lambda A, B: jnp.trace(A) * jnp.trace(B), _shapes("kk kk")),
    case("sum of kron", "E", lambda A, B: jnp.sum(jnp.kron(A, B)), lambda A, B: A.sum() * B.sum(), _shapes("kk kk")),
    case("sum of a concatenation", "E", concatenated_sum, concatenated_sum_hand, _shapes("nn nn nn")),
    case("batched trace", "E", jax.vmap(lambda X, Y: jnp.trace(X @ Y)),
         lambda X, Y: jnp.sum(X * jnp.swapaxes(Y, 1, 2), (1, 2)), _shapes("bnn bnn")),
    case("Frobenius inner product", "E", lambda A, B, C: jnp.trace(A @ B @ B.T @ A.T) + jnp.vdot(A, C @ A),
         lambda A, B, C: jnp.sum((A @ B) ** 2) + jnp.sum(A * (C @ A)), _shapes("kn nn kk")),
    case("cross-entropy by one-hot", "E", picked_class, picked_class_hand,
         lambda n: (*dense((n, 20), (20, n)), integers(n, n))),
    case("argmax of softmax", "K", best_class, best_class_hand, _shapes("nk kn")),
    case("maximum of softmax", "K", largest_probability, largest_probability_hand, _shapes("nn")),
    case("maximum of exp", "K", lambda A: jnp.max(jnp.exp(A), 1), lambda A: jnp.exp(jnp.max(A, 1)), _shapes("nn")),
    case("minimum of a decreasing function", "K", lambda A: jnp.min(1.0 - 2.0 * tanh(A), 0),
         lambda A: 1.0 - 2.0 * tanh(jnp.max(A, 0)), _shapes("nn")),
)  # fmt: skip
