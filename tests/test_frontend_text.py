# SPDX-License-Identifier: Apache-2.0
"""StableHLO that JAX itself does not write: modules given as text, with the expected values worked out by numpy."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import source_info_util

from egraph_opt.errors import ModelError, UnsupportedOpError
from egraph_opt.frontends import StableHLOModel

X = np.array([[3.0, -1.0, 2.0], [0.5, 4.0, -2.0]], np.float32)
Y = np.array([[1.0, 1.0, 0.0], [-2.0, 0.25, 7.0]], np.float32)


def module(body: str, arguments: str, result: str) -> str:
    return f"module @m {{\n  func.func public @main({arguments}) -> {result} {{\n{body}\n  }}\n}}\n"


def run(body: str, arguments: str, result: str, *args):
    return StableHLOModel(module(body, arguments, result).encode(), Path("m.mlir"))(*args)


T23 = "tensor<2x3xf32>"
ONE, TWO = f"%x: {T23}", f"%x: {T23}, %y: {T23}"

CASES = {
    "dot": (
        f"%0 = stablehlo.dot %x, %y : ({T23}, tensor<3xf32>) -> tensor<2xf32>\n return %0 : tensor<2xf32>",
        f"%x: {T23}, %y: tensor<3xf32>",
        "tensor<2xf32>",
        (X, Y[0]),
        X @ Y[0],
    ),
    "einsum": (
        f'%0 = "stablehlo.einsum"(%x, %y) {{einsum_config = "ij,kj->ik"}} : ({T23}, {T23}) -> tensor<2x2xf32>\n'
        " return %0 : tensor<2x2xf32>",
        TWO,
        "tensor<2x2xf32>",
        (X, Y),
        X @ Y.T,
    ),
    "broadcast": (
        f'%0 = "stablehlo.broadcast"(%x) {{broadcast_sizes = array<i64: 2>}} : ({T23}) -> tensor<2x2x3xf32>\n'
        " return %0 : tensor<2x2x3xf32>",
        ONE,
        "tensor<2x2x3xf32>",
        (X,),
        np.stack([X, X]),
    ),
    "map": (
        f'%0 = "stablehlo.map"(%x, %y) ({{\n ^bb0(%a: tensor<f32>, %b: tensor<f32>):\n'
        " %1 = stablehlo.multiply %a, %b : tensor<f32>\n %2 = stablehlo.add %1, %a : tensor<f32>\n"
        f" stablehlo.return %2 : tensor<f32>\n }}) {{dimensions = array<i64: 0, 1>}} : ({T23}, {T23}) -> {T23}\n"
        f" return %0 : {T23}",
        TWO,
        T23,
        (X, Y),
        X * Y + X,
    ),
    "if": (
        f'%0 = "stablehlo.if"(%p) ({{\n stablehlo.return %x : {T23}\n }}, {{\n stablehlo.return %y : {T23}\n }})'
        f" : (tensor<i1>) -> {T23}\n return %0 : {T23}",
        f"%p: tensor<i1>, {TWO}",
        T23,
        (np.array(False), X, Y),
        Y,
    ),
    "reverse_sort": (
        f'%0 = "stablehlo.sort"(%x) <{{dimension = 1 : i64, is_stable = true}}> ({{\n'
        " ^bb0(%a: tensor<f32>, %b: tensor<f32>):\n"
        " %1 = stablehlo.compare GT, %a, %b, TOTALORDER : (tensor<f32>, tensor<f32>) -> tensor<i1>\n"
        f" stablehlo.return %1 : tensor<i1>\n }}) : ({T23}) -> {T23}\n return %0 : {T23}",
        ONE,
        T23,
        (X,),
        -np.sort(-X, 1),
    ),
    "sort_by_size": (
        f'%0 = "stablehlo.sort"(%x) <{{dimension = 1 : i64}}> ({{\n ^bb0(%a: tensor<f32>, %b: tensor<f32>):\n'
        " %1 = stablehlo.abs %a : tensor<f32>\n %2 = stablehlo.abs %b : tensor<f32>\n"
        " %3 = stablehlo.compare LT, %1, %2 : (tensor<f32>, tensor<f32>) -> tensor<i1>\n"
        f" stablehlo.return %3 : tensor<i1>\n }}) : ({T23}) -> {T23}\n return %0 : {T23}",
        ONE,
        T23,
        (X,),
        np.array([[-1, 2, 3], [0.5, -2, 4]], np.float32),
    ),
    "scatter_with_its_own_region": (
        "%i = stablehlo.constant dense<[[1], [0], [1]]> : tensor<3x1xi32>\n"
        '%0 = "stablehlo.scatter"(%x, %i, %u) <{scatter_dimension_numbers = #stablehlo.scatter<'
        "update_window_dims = [1], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], "
        "index_vector_dim = 1>}> ({\n ^bb0(%a: tensor<f32>, %b: tensor<f32>):\n"
        " %1 = stablehlo.add %a, %a : tensor<f32>\n %2 = stablehlo.add %1, %b : tensor<f32>\n"
        f" stablehlo.return %2 : tensor<f32>\n }}) : ({T23}, tensor<3x1xi32>, tensor<3x3xf32>) -> {T23}\n"
        f" return %0 : {T23}",
        f"%x: {T23}, %u: tensor<3x3xf32>",
        T23,
        (X, np.arange(9, dtype=np.float32).reshape(3, 3)),
        np.stack([2 * X[0] + [3, 4, 5], 2 * (2 * X[1] + [0, 1, 2]) + [6, 7, 8]]),
    ),
    "composite": (
        f'%0 = stablehlo.composite "my.twice" %x {{decomposition = @twice}} : ({T23}) -> {T23}\n return %0 : {T23}\n'
        f" }}\n func.func private @twice(%a: {T23}) -> {T23} {{\n"
        f" %1 = stablehlo.add %a, %a : {T23}\n return %1 : {T23}",
        ONE,
        T23,
        (X,),
        2 * X,
    ),
    "tuple": (
        f"%0 = stablehlo.tuple %x, %y : tuple<{T23}, {T23}>\n"
        f"%1 = stablehlo.get_tuple_element %0[1] : (tuple<{T23}, {T23}>) -> {T23}\n return %1 : {T23}",
        TWO,
        T23,
        (X, Y),
        Y,
    ),
    "chlo_broadcast_add": (
        f"%0 = chlo.broadcast_add %x, %y : ({T23}, tensor<3xf32>) -> {T23}\n return %0 : {T23}",
        f"%x: {T23}, %y: tensor<3xf32>",
        T23,
        (X, Y[0]),
        X + Y[0],
    ),
    "chlo_broadcast_compare": (
        "%0 = chlo.broadcast_compare %x, %y {comparison_direction = #chlo<comparison_direction LT>} : "
        f"({T23}, tensor<f32>) -> tensor<2x3xi1>\n return %0 : tensor<2x3xi1>",
        f"%x: {T23}, %y: tensor<f32>",
        "tensor<2x3xi1>",
        (X, np.float32(1)),
        X < 1,
    ),
    "chlo_broadcast_select": (
        f"%p = stablehlo.constant dense<true> : tensor<i1>\n"
        f"%0 = chlo.broadcast_select %p, %x, %y : (tensor<i1>, {T23}, {T23}) -> {T23}\n return %0 : {T23}",
        TWO,
        T23,
        (X, Y),
        X,
    ),
    "chlo_is_inf": (
        f"%0 = chlo.is_inf %x : {T23} -> tensor<2x3xi1>\n return %0 : tensor<2x3xi1>",
        ONE,
        "tensor<2x3xi1>",
        (X,),
        np.isinf(X),
    ),
    "cholesky": (
        "%0 = stablehlo.cholesky %x, lower = true : tensor<2x2xf32>\n return %0 : tensor<2x2xf32>",
        "%x: tensor<2x2xf32>",
        "tensor<2x2xf32>",
        (np.array([[4, 2], [2, 5]], np.float32),),
        np.array([[2, 0], [1, 2]], np.float32),
    ),
    "triangular_solve": (
        '%0 = "stablehlo.triangular_solve"(%x, %y) {left_side = true, lower = true, unit_diagonal = false, '
        "transpose_a = #stablehlo<transpose NO_TRANSPOSE>} : (tensor<2x2xf32>, tensor<2x1xf32>) -> tensor<2x1xf32>\n"
        " return %0 : tensor<2x1xf32>",
        "%x: tensor<2x2xf32>, %y: tensor<2x1xf32>",
        "tensor<2x1xf32>",
        (np.array([[2, 0], [1, 4]], np.float32), np.array([[2], [9]], np.float32)),
        np.array([[1], [2]], np.float32),
    ),
    "batch_norm_inference": (
        '%0 = "stablehlo.batch_norm_inference"(%x, %s, %o, %m, %v) {epsilon = 0.0 : f32, feature_index = 1 : i64} : '
        f"({T23}, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) -> {T23}\n return %0 : {T23}",
        f"%x: {T23}, %s: tensor<3xf32>, %o: tensor<3xf32>, %m: tensor<3xf32>, %v: tensor<3xf32>",
        T23,
        (X, Y[0], Y[1], X[0], np.array([1, 4, 0.25], np.float32)),
        (X - X[0]) / np.array([1, 2, 0.5], np.float32) * Y[0] + Y[1],
    ),
    "torch_index_select": (
        '%0 = "stablehlo.torch_index_select"(%x, %i) {dim = 1 : i64, batch_dims = 0 : i64} : '
        f"({T23}, tensor<2xi32>) -> tensor<2x2xf32>\n return %0 : tensor<2x2xf32>",
        f"%x: {T23}, %i: tensor<2xi32>",
        "tensor<2x2xf32>",
        (X, np.array([2, 0], np.int32)),
        X[:, [2, 0]],
    ),
    "reversed_window": (
        "%0 = stablehlo.convolution(%x, %k) dim_numbers = [b, f, 0]x[o, i, 0]->[b, f, 0], window = {reverse = [true]} "
        "{batch_group_count = 1 : i64, feature_group_count = 1 : i64} : "
        "(tensor<1x1x4xf32>, tensor<1x1x2xf32>) -> tensor<1x1x3xf32>\n return %0 : tensor<1x1x3xf32>",
        "%x: tensor<1x1x4xf32>, %k: tensor<1x1x2xf32>",
        "tensor<1x1x3xf32>",
        (np.array([[[1, 2, 3, 5]]], np.float32), np.array([[[1, 10]]], np.float32)),
        np.array([[[12, 23, 35]]], np.float32),
    ),
    "select_and_scatter_minimum": (
        "%z = stablehlo.constant dense<1.0> : tensor<f32>\n"
        '%0 = "stablehlo.select_and_scatter"(%x, %s, %z) <{window_dimensions = array<i64: 1, 3>}> ({\n'
        " ^bb0(%a: tensor<f32>, %b: tensor<f32>):\n"
        " %1 = stablehlo.compare LE, %a, %b : (tensor<f32>, tensor<f32>) -> tensor<i1>\n"
        " stablehlo.return %1 : tensor<i1>\n }, {\n ^bb0(%a: tensor<f32>, %b: tensor<f32>):\n"
        " %1 = stablehlo.add %a, %b : tensor<f32>\n stablehlo.return %1 : tensor<f32>\n })"
        f" : ({T23}, tensor<2x1xf32>, tensor<f32>) -> {T23}\n return %0 : {T23}",
        f"%x: {T23}, %s: tensor<2x1xf32>",
        T23,
        (X, np.array([[5], [7]], np.float32)),
        np.array([[1, 6, 1], [1, 1, 8]], np.float32),
    ),
    "dynamic_ops_with_known_shapes": (
        "%s = stablehlo.constant dense<[3, 2]> : tensor<2xi32>\n"
        f"%0 = stablehlo.dynamic_reshape %x, %s : ({T23}, tensor<2xi32>) -> tensor<3x2xf32>\n"
        "%b = stablehlo.constant dense<[2, 3, 2]> : tensor<3xi32>\n"
        "%1 = stablehlo.dynamic_broadcast_in_dim %0, %b, dims = [1, 2] : (tensor<3x2xf32>, tensor<3xi32>) -> "
        "tensor<2x3x2xf32>\n return %1 : tensor<2x3x2xf32>",
        ONE,
        "tensor<2x3x2xf32>",
        (X,),
        np.stack([X.reshape(3, 2)] * 2),
    ),
    "sharding_marker": (
        f'%0 = stablehlo.custom_call @Sharding(%x) {{backend_config = ""}} : ({T23}) -> {T23}\n return %0 : {T23}',
        ONE,
        T23,
        (X,),
        X,
    ),
    "total_order": (
        "%0 = stablehlo.compare GT, %x, %y, TOTALORDER : (tensor<3xf32>, tensor<3xf32>) -> tensor<3xi1>\n"
        " return %0 : tensor<3xi1>",
        "%x: tensor<3xf32>, %y: tensor<3xf32>",
        "tensor<3xi1>",
        (np.array([0.0, np.nan, -1], np.float32), np.array([-0.0, np.inf, -2], np.float32)),
        np.array([True, True, True]),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_text(name):
    body, arguments, result, args, expected = CASES[name]
    np.testing.assert_allclose(np.asarray(run(body, arguments, result, *args)), expected, rtol=1e-6)


def test_batch_norm_training_and_its_gradient_agree():
    kinds = f"({T23}, tensor<3xf32>, tensor<3xf32>)"
    attributes = "{epsilon = 0.1 : f32, feature_index = 1 : i64}"
    forward = (
        f'%0:3 = "stablehlo.batch_norm_training"(%x, %s, %o) {attributes} : {kinds} -> '
        f"({T23}, tensor<3xf32>, tensor<3xf32>)\n return %0#0, %0#1, %0#2 : {T23}, tensor<3xf32>, tensor<3xf32>"
    )
    head = f"%x: {T23}, %s: tensor<3xf32>"
    results = f"({T23}, tensor<3xf32>, tensor<3xf32>)"
    training = StableHLOModel(module(forward, f"{head}, %o: tensor<3xf32>", results).encode(), Path("training.mlir"))
    backward = (
        f'%0:3 = "stablehlo.batch_norm_grad"(%x, %s, %m, %v, %g) {attributes} : '
        f"({T23}, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, {T23}) -> {results}\n"
        f" return %0#0, %0#1, %0#2 : {T23}, tensor<3xf32>, tensor<3xf32>"
    )
    gradient = StableHLOModel(
        module(backward, f"{head}, %m: tensor<3xf32>, %v: tensor<3xf32>, %g: {T23}", results).encode(),
        Path("gradient.mlir"),
    )
    scale = np.array([1.0, 2.0, -1.0], np.float32)
    _, mean, variance = training(X, scale, Y[0])
    want = jax.vjp(lambda *a: training(*a)[0], X, scale, Y[0])[1](jnp.asarray(Y))
    for have, expected in zip(gradient(X, scale, mean, variance, Y), want, strict=True):
        np.testing.assert_allclose(np.asarray(have), np.asarray(expected), rtol=1e-4, atol=1e-5)


def test_uniform_random_numbers_lie_in_their_range():
    body = (
        "%a = stablehlo.constant dense<2.0> : tensor<f32>\n%b = stablehlo.constant dense<3.0> : tensor<f32>\n"
        "%s = stablehlo.constant dense<[50]> : tensor<1xi64>\n"
        "%0 = stablehlo.rng %a, %b, %s, distribution = UNIFORM : "
        "(tensor<f32>, tensor<f32>, tensor<1xi64>) -> tensor<50xf32>\n return %0 : tensor<50xf32>"
    )
    numbers = np.asarray(run(body, "", "tensor<50xf32>"))
    assert numbers.shape == (50,)
    assert (numbers >= 2).all()
    assert (numbers < 3).all()


REFUSED = {
    "unknown_op": (
        f'%0 = "stablehlo.all_gather"(%x) {{all_gather_dim = 0 : i64, replica_groups = dense<0> : tensor<1x1xi64>}} : '
        f'({T23}) -> {T23} loc("model.py":7:1)\n return %0 : {T23}',
        "m.mlir: op 'stablehlo.all_gather' at model.py:7 is not known; docs/stablehlo.md lists the ops that are",
    ),
    "unknown_custom_call": (
        f"%0 = stablehlo.custom_call @my_kernel(%x) : ({T23}) -> {T23}\n return %0 : {T23}",
        "m.mlir: custom call 'my_kernel' at m.mlir:3 is not known; docs/stablehlo.md lists the ones that are",
    ),
    "misspelt_op": (
        f"%0 = stablehlo.fool %x : {T23}\n return %0 : {T23}",
        "m.mlir: op 'stablehlo.fool' at m.mlir:3 is not known; docs/stablehlo.md lists the ops that are",
    ),
    "unknown_dialect": (
        f'%0 = "foo.bar"(%x) : ({T23}) -> {T23}\n return %0 : {T23}',
        "m.mlir: op 'foo.bar' at m.mlir:3 is not known; docs/stablehlo.md lists the ops that are",
    ),
    "unavailable_dialect": (
        f"%0 = linalg.map %x : {T23}\n return %0 : {T23}",
        "m.mlir: op 'linalg.map' at m.mlir:3 is not known; docs/stablehlo.md lists the ops that are",
    ),
    "quantised": (
        f"%0 = stablehlo.uniform_quantize %x : ({T23}) -> tensor<2x3x!quant.uniform<i8:f32, 0.5>>\n"
        f"%1 = stablehlo.uniform_dequantize %0 : (tensor<2x3x!quant.uniform<i8:f32, 0.5>>) -> {T23}\n"
        f" return %1 : {T23}",
        "m.mlir: quantised types (!quant.uniform) are not known; export the model without quantisation",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    body, message = REFUSED[name]
    with pytest.raises(UnsupportedOpError) as caught:
        run(body, ONE, T23, X)
    assert str(caught.value) == message


def test_refused_form_names_the_reason():
    body = (
        "%s = stablehlo.constant dense<[2]> : tensor<1xi64>\n"
        "%0 = stablehlo.rng %a, %a, %s, distribution = NORMAL : "
        "(tensor<f32>, tensor<f32>, tensor<1xi64>) -> tensor<2xf32>\n return %0 : tensor<2xf32>"
    )
    with pytest.raises(UnsupportedOpError) as caught:
        run(body, "%a: tensor<f32>", "tensor<2xf32>", np.float32(1))
    assert str(caught.value) == (
        "m.mlir: op 'stablehlo.rng' at m.mlir:4: only the uniform distribution is known; "
        "use rng_bit_generator; see docs/stablehlo.md"
    )


def test_a_text_cut_within_a_known_op_is_no_unknown_op():
    text = module(
        "%c = stablehlo.constant dense<0.0> : tensor<f32>\n"
        f"%0 = stablehlo.reduce(%x init: %c) applies stablehlo.add across dimensions = [0, 1] : ({T23}, tensor<f32>) "
        "-> tensor<f32>\n return %0 : tensor<f32>",
        ONE,
        "tensor<f32>",
    )
    with pytest.raises(ModelError, match=r"'stablehlo\.reduce' expected"):
        StableHLOModel(text[: text.index("add across") + 2].encode(), Path("m.mlir"))


def test_a_dead_module_is_refused():
    with pytest.raises(ModelError, match="public functions and none named main"):
        StableHLOModel(b"module {}", Path("m.mlir"))


def test_source_lines_survive():
    text = module(f'%0 = stablehlo.sine %x : {T23} loc("net/layer/sin"("model.py":12:3))\n return %0 : {T23}', ONE, T23)
    model = StableHLOModel(text.encode(), Path("m.mlir"))
    (eqn,) = jax.make_jaxpr(model)(X).eqns
    assert str(eqn.source_info.name_stack) == "net/layer"
    assert source_info_util.summarize(eqn.source_info).startswith("model.py:12")
