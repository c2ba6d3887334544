# SPDX-License-Identifier: Apache-2.0
"""Every family of StableHLO ops: a small JAX function is lowered, loaded back, and must give what it gave."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from egraph_opt.frontends import StableHLOModel
from egraph_opt.frontends.stablehlo import RULES

X = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
Y = np.random.default_rng(1).standard_normal((4, 6)).astype(np.float32)
POSITIVE = np.abs(X) + np.float32(0.1)
UNIT = np.tanh(X).astype(np.float32) * np.float32(0.9)
INTS = np.random.default_rng(2).integers(-50, 50, (4, 6)).astype(np.int32)
BITS = np.random.default_rng(3).integers(0, 2**31, (4, 6)).astype(np.uint32)
COMPLEX = (X + 1j * Y).astype(np.complex64)
SQUARE = (np.eye(5) * 3 + np.random.default_rng(4).standard_normal((5, 5))).astype(np.float32)
BATCH = np.stack([SQUARE, SQUARE.T + 1])
DEFINITE = (SQUARE @ SQUARE.T).astype(np.float32)
IMAGE = np.random.default_rng(5).standard_normal((2, 8, 8, 4)).astype(np.float32)
KERNEL = np.random.default_rng(6).standard_normal((3, 3, 4, 4)).astype(np.float32)
KEY = np.array([0, 42], np.uint32)
ROWS = np.array([0, 3, 3, 1], np.int32)
SPECIAL = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, -1.0, 2.5], np.float32)


def loaded(function: Callable[..., Any], *args: Any) -> StableHLOModel:
    """The function, lowered to StableHLO text and loaded back as a flat model."""
    text = jax.jit(function, keep_unused=True).lower(*args).as_text(debug_info=True)
    return StableHLOModel(text.encode(), Path("test.stablehlo"))


def widened(array: Any) -> np.ndarray:
    """The array in a type that numpy compares NaN in."""
    array = np.asarray(array)
    return array.astype(np.float32) if array.dtype.kind == "V" or array.dtype == jnp.bfloat16 else array


def check(function: Callable[..., Any], *args: Any, exact: bool = True) -> StableHLOModel:
    """Compare a function with itself loaded back; bit for bit unless told otherwise."""
    model = loaded(function, *args)
    want = jax.tree.leaves(jax.jit(function)(*args))
    got = jax.tree.leaves(model(*jax.tree.leaves(args)))
    assert [(x.dtype, x.shape) for x in got] == [(x.dtype, x.shape) for x in want]
    for have, expected in zip(got, want, strict=True):
        if exact:
            np.testing.assert_array_equal(widened(have), widened(expected))
        else:
            np.testing.assert_allclose(np.asarray(have), np.asarray(expected), rtol=1e-5, atol=1e-5)
    return model


def primitives(model: StableHLOModel, *args: Any) -> list[str]:
    """Names of the primitives a call of the model leaves in a trace."""
    return [eqn.primitive.name for eqn in jax.make_jaxpr(model)(*args).eqns]


UNARY = {
    "abs": (lax.abs, X),
    "abs_int": (lax.abs, INTS),
    "abs_complex": (lax.abs, COMPLEX),
    "acos": (lax.acos, UNIT),
    "acosh": (lax.acosh, POSITIVE + 1),
    "asin": (lax.asin, UNIT),
    "asinh": (lax.asinh, X),
    "atan": (lax.atan, X),
    "atanh": (lax.atanh, UNIT),
    "bessel_i1e": (lax.bessel_i1e, X),
    "cbrt": (lax.cbrt, X),
    "ceil": (lax.ceil, X),
    "clz": (lax.clz, BITS),
    "conj": (lax.conj, COMPLEX),
    "cos": (lax.cos, X),
    "cosh": (lax.cosh, X),
    "digamma": (lax.digamma, POSITIVE),
    "erf": (lax.erf, X),
    "erf_inv": (lax.erf_inv, UNIT),
    "erfc": (lax.erfc, X),
    "exp": (lax.exp, X),
    "expm1": (lax.expm1, X),
    "floor": (lax.floor, X),
    "imag": (lax.imag, COMPLEX),
    "is_finite": (lax.is_finite, SPECIAL),
    "isinf": (jnp.isinf, SPECIAL),
    "lgamma": (lax.lgamma, POSITIVE),
    "log": (lax.log, POSITIVE),
    "log1p": (lax.log1p, POSITIVE),
    "logistic": (lax.logistic, X),
    "neg": (lax.neg, X),
    "not_bool": (lax.bitwise_not, X > 0),
    "not_int": (lax.bitwise_not, INTS),
    "popcnt": (lax.population_count, BITS),
    "real": (lax.real, COMPLEX),
    "reduce_precision": (lambda x: lax.reduce_precision(x, 5, 4), X),
    "round_afz": (lambda x: lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO), X * 2),
    "round_even": (lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN), X * 2),
    "rsqrt": (lax.rsqrt, POSITIVE),
    "sign": (lax.sign, SPECIAL),
    "sin": (lax.sin, X),
    "sinh": (lax.sinh, X),
    "sqrt": (lax.sqrt, POSITIVE),
    "square": (lax.square, X),
    "tan": (lax.tan, UNIT),
    "tanh": (lax.tanh, X),
    "to_bf16": (lambda x: x.astype(jnp.bfloat16), X),
    "to_int4": (lambda x: x.astype(jnp.int4), np.clip(INTS, -8, 7)),
    "to_float8": (lambda x: x.astype(jnp.float8_e4m3fn), X),
    "to_bool": (lambda x: x.astype(bool), INTS),
    "to_complex": (lambda x: x.astype(jnp.complex64), X),
    "bitcast": (lambda x: lax.bitcast_convert_type(x, jnp.int32), X),
    "bitcast_narrower": (lambda x: lax.bitcast_convert_type(x, jnp.uint8), X),
}


@pytest.mark.alike
@pytest.mark.parametrize("name", UNARY)
def test_unary(name):
    check(*UNARY[name])


BINARY = {
    "add": (lax.add, X, Y),
    "add_bool": (lambda x, y: lax.bitwise_or(x, y), X > 0, Y > 0),
    "and": (lax.bitwise_and, INTS, INTS[::-1]),
    "atan2": (lax.atan2, X, Y),
    "complex": (lax.complex, X, Y),
    "div": (lax.div, X, Y),
    "div_int": (lax.div, INTS, np.where(INTS[::-1] == 0, 3, INTS[::-1])),
    "max": (lax.max, X, Y),
    "min": (lax.min, X, Y),
    "mul": (lax.mul, X, Y),
    "nextafter": (lax.nextafter, X, Y),
    "or": (lax.bitwise_or, INTS, INTS[::-1]),
    "polygamma": (lax.polygamma, np.ones_like(X), POSITIVE),
    "pow": (lax.pow, POSITIVE, Y),
    "rem": (lax.rem, X, Y),
    "shift_left": (lax.shift_left, BITS, BITS % 32),
    "shift_right_arithmetic": (lax.shift_right_arithmetic, INTS, np.abs(INTS) % 8),
    "shift_right_logical": (lax.shift_right_logical, BITS, BITS % 32),
    "sub": (lax.sub, X, Y),
    "xor": (lax.bitwise_xor, INTS, INTS[::-1]),
    "zeta": (lax.zeta, POSITIVE + 1, POSITIVE),
    "eq": (lax.eq, INTS, INTS[::-1]),
    "ne": (lax.ne, X, Y),
    "ge": (lax.ge, X, Y),
    "gt": (lax.gt, X, Y),
    "le": (lax.le, X, Y),
    "lt": (lax.lt, X, Y),
    "lt_total": (lambda x, y: lax.lt_to_p.bind(x, y), SPECIAL, SPECIAL[::-1].copy()),
    "le_total": (lambda x, y: lax.le_to_p.bind(x, y), SPECIAL, SPECIAL[::-1].copy()),
    "clamp": (lambda x, y: lax.clamp(np.float32(-1), x + y, np.float32(1)), X, Y),
    "select": (lambda x, y: lax.select(x > y, x, y), X, Y),
    "select_scalar": (lambda x, y: lax.select(jnp.sum(x) > 0, x, y), X, Y),
}


@pytest.mark.alike
@pytest.mark.parametrize("name", BINARY)
def test_binary(name):
    check(*BINARY[name])


LAYOUT = {
    "reshape": (lambda x: x.reshape(2, 12), X),
    "squeeze": (lambda x: x[None].reshape(4, 6, 1)[..., 0], X),
    "transpose": (lambda x: x.T, X),
    "broadcast": (lambda x: jnp.broadcast_to(x[:, None], (3, 4, 5, 6)), X),
    "slice": (lambda x: x[1:4:2, ::3], X),
    "concatenate": (lambda x: jnp.concatenate([x, 2 * x, x[:, :1]], 1), X),
    "pad": (lambda x: lax.pad(x, np.float32(7), [(1, -2, 0), (-1, 3, 2)]), X),
    "reverse": (lambda x: x[::-1, ::-1], X),
    "iota": (lambda x: x + lax.broadcasted_iota(jnp.float32, (4, 6), 1), X),
    "dynamic_slice": (lambda x, i: lax.dynamic_slice(x, (i, i + 4), (2, 3)), X, np.int32(1)),
    "dynamic_update_slice": (lambda x, i: lax.dynamic_update_slice(x, x[:2, :2] * 0, (i, i)), X, np.int32(3)),
    "constant_bf16": (lambda x: x.astype(jnp.bfloat16) + jnp.asarray([1.3, np.nan, -np.inf, 0, 1, 2], "bfloat16"), X),
    "constant_complex": (lambda x: x * np.arange(6).astype(np.complex64) * (2 + 1j), X),
    "constant_complex_large": (lambda x: x[:1, :1] * (np.arange(3000) * 1.1 + 1j).astype(np.complex64), X),
    "constant_int4": (lambda x: x.astype(jnp.int4) + jnp.asarray([-8, 7, 0, 1, 2, 3], jnp.int4), INTS % 2),
    "constant_bool": (lambda x: x & np.array([True, False, True, True, False, False]), X > 0),
    "constant_large": (lambda x: x[0, 0] * np.arange(5000, dtype=np.float32), X),
    "constant_large_bf16": (lambda x: x[0, 0].astype("bfloat16") * jnp.arange(200).astype("bfloat16"), X),
    "constant_uniform": (lambda x: x + np.full((4, 6), 2.5, np.float32), X),
    "constant_empty": (lambda x: jnp.concatenate([x, np.zeros((0, 6), np.float32)]), X),
}


@pytest.mark.alike
@pytest.mark.parametrize("name", LAYOUT)
def test_layout(name):
    check(*LAYOUT[name])


def conv(**options: Any) -> Callable[..., Any]:
    numbers = options.pop("dimension_numbers", ("NHWC", "HWIO", "NHWC"))
    strides, padding = options.pop("strides", (1, 1)), options.pop("padding", "SAME")
    return lambda x, k: lax.conv_general_dilated(x, k, strides, padding, dimension_numbers=numbers, **options)


CONTRACTION = {
    "matmul": (lambda x, y: x @ y.T, X, Y),
    "batched": (lambda x, y: jnp.einsum("bij,bkj->bik", x, y), BATCH, BATCH),
    "outer": (lambda x, y: jnp.outer(x, y), X[0], Y[0]),
    "highest": (lambda x, y: jnp.dot(x, y.T, precision="highest"), X, Y),
    "mixed": (
        lambda x, y: jnp.dot(x.astype("bfloat16"), y.T.astype("bfloat16"), preferred_element_type=jnp.float32),
        X,
        Y,
    ),
    "integers": (lambda x, y: jnp.dot(x, y.T), INTS, INTS),
    "conv": (conv(), IMAGE, KERNEL),
    "conv_nchw": (conv(dimension_numbers=("NCHW", "OIHW", "NCHW")), IMAGE, np.ones((4, 8, 3, 3), np.float32)),
    "conv_strided": (conv(strides=(2, 1), padding=((1, 0), (2, -1))), IMAGE, KERNEL),
    "conv_dilated": (conv(rhs_dilation=(2, 1), padding="VALID"), IMAGE, KERNEL),
    "conv_transposed": (conv(lhs_dilation=(2, 2), padding=((1, 1), (1, 1))), IMAGE, KERNEL),
    "conv_grouped": (conv(feature_group_count=2), IMAGE, KERNEL[:, :, :2, :]),
    "conv_batch_groups": (conv(batch_group_count=2), IMAGE, KERNEL),
    "conv_gradient": (
        lambda x, k: jax.grad(lambda x, k: (conv(strides=(2, 2))(x, k) ** 2).sum(), (0, 1))(x, k),
        IMAGE,
        KERNEL,
    ),
}


@pytest.mark.parametrize("name", CONTRACTION)
def test_contraction(name):
    check(*CONTRACTION[name])


def pooled(x: Any) -> Any:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")


REDUCTION = {
    "sum": (lambda x: x.sum(1), X),
    "prod": (lambda x: x.prod(0), X),
    "max": (lambda x: x.max(), X),
    "min": (lambda x: x.min(1), INTS),
    "all": (lambda x: (x > 0).all(1), X),
    "any": (lambda x: (x > 0).any(1), X),
    "xor": (lambda x: lax.reduce_xor(x, (0,)), BITS),
    "int_or": (lambda x: lax.reduce(x, np.uint32(0), lax.bitwise_or, (1,)), BITS),
    "nonzero_start": (lambda x: lax.reduce(x, np.int32(3), lax.add, (1,)), INTS),
    "computed_start": (lambda x: lax.reduce(x, x[0, 0], lax.max, (1,)), X),
    "argmax": (lambda x: jnp.argmax(x, 1), X),
    "argmin": (lambda x: jnp.argmin(x, 0), INTS),
    "argmax_nan": (lambda x: jnp.argmax(x), SPECIAL),
    "own_region": (lambda x: lax.reduce(x, np.float32(0), lambda a, b: a + b * b / 2, (1,)), X),
    "two_results": (
        lambda x, y: lax.reduce((x, y), (np.float32(0), np.float32(1)), lambda a, b: (a[0] + b[0], a[1] * b[1]), (1,)),
        X,
        Y,
    ),
    "mixed_pair": (
        lambda x, y: lax.reduce(
            (x, y), (np.float32(0), np.float32(0)), lambda a, b: (jnp.maximum(a[0], b[0]), a[1] + b[0]), (1,)
        ),
        X,
        Y,
    ),
    "cumsum": (lambda x: jnp.cumsum(x, 1), X),
    "cumsum_reverse": (lambda x: lax.cumsum(x, 0, reverse=True), X),
    "cumprod": (lambda x: jnp.cumprod(x, 1), X),
    "cummax": (lambda x: lax.cummax(x, 1), X),
    "maxpool": (pooled, IMAGE),
    "avgpool": (lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"), IMAGE),
    "window_dilated": (
        lambda x: lax.reduce_window(x, 0.0, lax.add, (2, 2), (1, 1), ((0, 1), (1, 0)), (2, 1), (1, 2)),
        X,
    ),
    "window_region": (lambda x: lax.reduce_window(x, np.float32(1), lax.mul, (2, 2), (1, 1), "VALID"), X),
    "maxpool_gradient": (lambda x: jax.grad(lambda x: (pooled(x) ** 2).sum())(x), IMAGE),
    "logsumexp": (lambda x: jax.nn.logsumexp(x, 1), X),
}


@pytest.mark.alike
@pytest.mark.parametrize("name", REDUCTION)
def test_reduction(name):
    check(*REDUCTION[name])


INDEXING = {
    "gather_rows": (lambda x, i: x[i], X, ROWS),
    "gather_pairs": (lambda x, i: x[i, i + 1], X, ROWS),
    "gather_out_of_range": (lambda x, i: x.at[i * 3].get(mode="clip"), X, ROWS),
    "gather_fill": (lambda x, i: x.at[i * 3 - 2].get(mode="fill", fill_value=-1), X, ROWS),
    "take_along_axis": (lambda x, i: jnp.take_along_axis(x, i[:, None], 1), X, ROWS),
    "gather_batched": (lambda x, i: jax.vmap(lambda r, k: r[k])(x, i), X, ROWS),
    "scatter_set": (lambda x, i: x.at[i].set(0), X, np.array([0, 3, 1], np.int32)),
    "scatter_add": (lambda x, i: x.at[i].add(1), X, ROWS),
    "scatter_drop": (lambda x, i: x.at[i * 3].add(1, mode="drop"), X, ROWS),
    "scatter_mul": (lambda x, i: x.at[i].multiply(2), X, ROWS),
    "scatter_min": (lambda x, i: x.at[i].min(0), X, ROWS),
    "scatter_max": (lambda x, i: x.at[i, i].max(0), X, ROWS),
    "scatter_batched": (lambda x, i: jax.vmap(lambda r, k: r.at[k].add(5))(x, i), X, ROWS),
    "scatter_apply": (lambda x, i: x.at[i].apply(jnp.sin), X, np.array([0, 3], np.int32)),
    "segment_sum": (lambda x, i: jax.ops.segment_sum(x, i, 5), X, ROWS),
    "embedding_gradient": (lambda x, i: jax.grad(lambda x: (x[i] ** 2).sum())(x), X, ROWS),
    "one_hot": (lambda i: jax.nn.one_hot(i, 5), ROWS),
}


@pytest.mark.alike
@pytest.mark.parametrize("name", INDEXING)
def test_indexing(name):
    check(*INDEXING[name])


SORTING = {
    "sort": (lambda x: jnp.sort(x, 1), X),
    "sort_axis": (lambda x: jnp.sort(x, 0), INTS),
    "sort_special": (lambda x: jnp.sort(x), SPECIAL),
    "sort_complex": (lambda x: lax.sort(x), COMPLEX),
    "argsort": (lambda x: jnp.argsort(x, 1), INTS % 4),
    "descending": (lambda x: jnp.sort(x, 1, descending=True), X),
    "two_keys": (lambda x, y: lax.sort((x, y), num_keys=2), INTS % 3, INTS),
    "key_and_values": (lambda x, y, z: lax.sort((x, y, z), num_keys=1), INTS % 3, INTS, X),
    "top_k": (lambda x: lax.top_k(x, 3), X),
    "approx_max_k": (lambda x: lax.approx_max_k(x, 2, 0), X),
    "approx_min_k": (lambda x: lax.approx_min_k(x, 2), X),
    "median": (lambda x: jnp.median(x, 1), X),
}


@pytest.mark.alike
@pytest.mark.parametrize("name", SORTING)
def test_sorting(name):
    model = check(*SORTING[name])
    names = primitives(model, *SORTING[name][1:])
    assert {"top_k", "sort", "approx_top_k"} & set(names)


def newton(x: Any) -> Any:
    return lax.while_loop(lambda s: jnp.abs(s * s - 2) > 1e-4, lambda s: s - (s * s - 2) / (2 * s), x)


CONTROL = {
    "while": (newton, np.float32(1.5)),
    "while_batched": (jax.vmap(newton), np.array([1.0, 2.0, 9.0], np.float32)),
    "fori": (lambda x: lax.fori_loop(0, 7, lambda i, c: c * 0.5 + i, x), X),
    "fori_from_two": (lambda x: lax.fori_loop(2, 7, lambda i, c: c * 0.5 + x[i - 2], x), X[:, 0].repeat(3)),
    "fori_empty": (lambda x: lax.fori_loop(5, 2, lambda i, c: c * i, x), X),
    "fori_computed": (lambda x, n: lax.fori_loop(0, n, lambda i, c: c * 0.5 + i, x), X, np.int32(5)),
    "scan": (lambda x: lax.scan(lambda c, r: (c + r, c * r), jnp.zeros(6), x), X),
    "scan_reverse": (lambda x: lax.scan(lambda c, r: (c + r, c * r), jnp.zeros(6), x, reverse=True), X),
    "scan_integers": (lambda x: lax.scan(lambda c, r: (c + 1, (c, r)), 0, x), X),
    "scan_no_inputs": (lambda x: lax.scan(lambda c, _: (c * 0.9, c.sum()), x, None, length=5), X),
    "scan_unrolled": (lambda x: lax.scan(lambda c, r: (c + r, c * r), jnp.zeros(6), x, unroll=2), X),
    "scan_nested": (lambda x: lax.scan(lambda c, r: lax.scan(lambda d, e: (d + e, d * e), c, r), 0.0, x), X),
    "map": (lambda x: lax.map(lambda r: jnp.outer(r, r), x), X),
    "cond": (lambda x: lax.cond(x.sum() > 0, lambda x: x + 1, lambda x: x * 2, x), X),
    "cond_constant": (lambda x: lax.cond(x.sum() > 0, lambda: (jnp.zeros(3), x), lambda: (jnp.ones(3), x)), X),
    "switch": (lambda i, x: lax.switch(i, [jnp.sin, jnp.cos, jnp.tan], x), np.int32(7), X),
    "switch_negative": (lambda i, x: lax.switch(i, [jnp.sin, jnp.cos, jnp.tan], x), np.int32(-2), X),
    "barrier": (lambda x: lax.optimization_barrier((x, x + 1)), X),
    "remat": (jax.grad(lambda x: jax.checkpoint(lambda x: jnp.sin(jnp.sin(x)).sum())(x)), X),
    "associative_scan": (lambda x: lax.associative_scan(jnp.add, x), X),
}


@pytest.mark.alike
@pytest.mark.parametrize("name", CONTROL)
def test_control(name):
    check(*CONTROL[name])


@pytest.mark.parametrize("name", ["fori", "fori_from_two", "scan", "scan_reverse", "scan_nested", "map"])
def test_counted_loops_become_scans(name):
    function, *args = CONTROL[name]
    names = primitives(loaded(function, *args), *args)
    assert "scan" in names
    assert "while" not in names


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_gets_back_its_inputs_and_outputs(reverse):
    def function(w, xs):
        return lax.scan(lambda c, x: (jnp.tanh(w @ c + x), c.sum()), jnp.zeros(4), xs, reverse=reverse)

    args = X[:, :4].copy(), IMAGE[0, :, 0, :]
    model = check(function, *args)
    (eqn,) = [e for e in jax.make_jaxpr(model)(*args).eqns if e.primitive.name == "scan"]
    assert eqn.params["reverse"] == reverse
    assert (eqn.params["num_consts"], eqn.params["num_carry"], len(eqn.invars), len(eqn.outvars)) == (1, 1, 3, 2)
    gradient = jax.grad(lambda *a: model(*a)[0].sum() + model(*a)[1].sum(), (0, 1))(*args)
    expected = jax.grad(lambda *a: function(*a)[0].sum() + function(*a)[1].sum(), (0, 1))(*args)
    for have, want in zip(gradient, expected, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6)


LINALG = {
    "cholesky": (jnp.linalg.cholesky, DEFINITE),
    "cholesky_upper": (lambda a: jnp.linalg.cholesky(a, upper=True), DEFINITE),
    "cholesky_failing": (jnp.linalg.cholesky, -DEFINITE),
    "solve": (lambda a: jnp.linalg.solve(a, a[0]), SQUARE),
    "solve_batched": (lambda a: jnp.linalg.solve(a, a + 1), BATCH),
    "inverse": (jnp.linalg.inv, SQUARE),
    "determinant": (jnp.linalg.slogdet, BATCH),
    "lu": (lax.linalg.lu, SQUARE),
    "qr": (jnp.linalg.qr, SQUARE[:, :3].copy()),
    "svd": (lambda a: jnp.linalg.svd(a, full_matrices=False), SQUARE[:, :3].copy()),
    "svd_full": (jnp.linalg.svd, SQUARE[:, :3].copy()),
    "singular_values": (lambda a: jnp.linalg.svd(a, compute_uv=False), BATCH),
    "eigh": (jnp.linalg.eigh, DEFINITE),
    "eigh_upper": (lambda a: jnp.linalg.eigh(a, UPLO="U"), DEFINITE),
    "eigvals": (jnp.linalg.eigvals, SQUARE),
    "eig_complex": (jnp.linalg.eig, SQUARE.astype(np.complex64)),
    "triangular": (lambda a: lax.linalg.triangular_solve(jnp.tril(a), a, left_side=True, lower=True), SQUARE),
    "triangular_right": (
        lambda a: lax.linalg.triangular_solve(jnp.tril(a), a, lower=True, transpose_a=True, unit_diagonal=True),
        SQUARE,
    ),
    "complex_solve": (lambda a: jnp.linalg.solve(a, a[0]), SQUARE.astype(np.complex64) * (1 + 2j)),
    "expm": (jax.scipy.linalg.expm, SQUARE * np.float32(0.1)),
    "schur": (jax.scipy.linalg.schur, SQUARE),
    "hessenberg": (lax.linalg.hessenberg, SQUARE),
    "tridiagonal": (lax.linalg.tridiagonal, DEFINITE),
    "tridiagonal_solve": (lambda a: lax.linalg.tridiagonal_solve(a[0], a[1] + 5, a[2], a[:, :2]), SQUARE),
    "cho_solve": (lambda a: jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(a), True), a[0]), DEFINITE),
}


@pytest.mark.alike
@pytest.mark.parametrize("name", LINALG)
def test_linalg(name):
    check(*LINALG[name], exact=False)


OTHER = {
    "threefry": (lambda k: jax.random.bits(k, (5,)), KEY),
    "normal": (lambda k: jax.random.normal(k, (4, 3)), KEY),
    "permutation": (lambda k: jax.random.permutation(k, 10), KEY),
    "rng_bit_generator": (lambda k: lax.rng_bit_generator(k, (3, 4)), np.arange(4, dtype=np.uint32)),
    "fft": (jnp.fft.fft, COMPLEX),
    "ifft2": (jnp.fft.ifft2, COMPLEX),
    "rfft": (jnp.fft.rfft, X),
    "irfft": (jnp.fft.irfft, COMPLEX),
    "gelu": (jax.nn.gelu, X),
    "softmax": (jax.nn.softmax, X),
    "interp": (lambda x: jnp.interp(x, jnp.arange(5.0), jnp.arange(5.0) ** 2), X),
    "searchsorted": (lambda x: jnp.searchsorted(jnp.sort(x[0]), x), X),
    "custom_jvp": (lambda x: jax.nn.relu(jax.nn.softplus(x) - 1), X),
}


@pytest.mark.alike
@pytest.mark.parametrize("name", OTHER)
def test_other(name):
    check(*OTHER[name])


def test_64_bit_types_work_while_they_are_off():
    with jax.enable_x64(True):
        x = jnp.asarray(X, jnp.float64)
        weights = np.random.default_rng(7).standard_normal((6, 1000))
        text = jax.jit(lambda x: x @ weights + np.arange(1000)).lower(x).as_text()
        want = np.asarray(x) @ weights + np.arange(1000)
    model = StableHLOModel(text.encode(), Path("wide.stablehlo"))
    np.testing.assert_allclose(np.asarray(model(np.asarray(x))), want, rtol=1e-14)


def test_every_rule_has_a_documented_name():
    page = (Path(__file__).parent.parent / "docs" / "stablehlo.md").read_text()
    missing = [name for name in RULES if f"`{name}`" not in page]
    assert not missing
