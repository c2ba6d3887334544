# SPDX-License-Identifier: Apache-2.0
"""Every operation's examples: written as ONNX and run by onnxruntime, or refused with one line that names it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from egraph_opt.capture import capture
from egraph_opt.errors import UnsupportedOpError
from egraph_opt.ir import Builder
from egraph_opt.lower import lower_graph
from egraph_opt.ops import all_ops

from .common import ops_of, run, same, written

LEAST_WRITTEN = 110
"""Operations that have a spelling in ONNX, leaves included; the rest is linear algebra, special functions, bits."""

POSITIVE = {"log", "sqrt", "rsqrt", "pow", "acosh"}
BOUNDED = {"asin", "acos", "atanh"}
EXAMPLES = [
    pytest.param(name, example, id=f"{name}-{number}")
    for name, op in sorted(all_ops().items())
    for number, example in enumerate(op.examples)
    if name != "result"
]


def graph_of(name, example):
    build = Builder()
    inputs = [build.input(type) for type in example.operands]
    types = all_ops()[name].infer(example.operands, **dict(example.attrs))
    node = build.add(name, inputs, example.attrs, types)
    parts = [build.add("result", [node], (("index", i),), type) for i, type in enumerate(types)]
    return build.build(parts if len(types) > 1 else [node])


def array(random, type, name):
    kind = np.dtype(type.dtype).kind
    if kind == "b":
        return random.integers(0, 2, type.shape).astype(bool)
    if kind in "iu":
        low = 0 if kind == "u" else -3
        return np.asarray(random.integers(low, 4, type.shape), type.dtype)
    values = random.standard_normal(type.shape)
    values = np.abs(values) + (name == "acosh") if name in POSITIVE else values
    return np.asarray(np.tanh(values) if name in BOUNDED else values).astype(type.dtype)


def is_refused(graph):
    """Whether the operation is refused; the line names it and says what to do."""
    try:
        written(graph)
    except UnsupportedOpError as error:
        line = str(error)
    else:
        return False
    node = graph.nodes[len(graph.inputs)]
    assert repr(node.op if node.op != "opaque" else node.attr("name")) in line or "input 'x" in line
    assert line.endswith("it cannot be written as ONNX; save the program as .jaxexport")
    assert "\n" not in line
    return True


@pytest.mark.alike
@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_example(name, example):
    graph = graph_of(name, example)
    if is_refused(graph):
        return
    if "bfloat16" in {type.dtype for type in (*graph.input_types, *graph.output_types)}:
        return  # numpy arrays of it cannot be passed to onnxruntime: test_narrow_floats converts inside
    random = np.random.default_rng(0)
    arrays = [array(random, type, name) for type in graph.input_types]
    if name == "while":
        arrays[2] = np.asarray(arrays[0] - 1)  # the example's body runs for ever while the first is below the carry
    same(graph, arrays)


def test_most_operations_have_a_spelling():
    found = {"input", "result"}
    for name, op in all_ops().items():
        if name not in found and any(not is_refused(graph_of(name, example)) for example in op.examples):
            found.add(name)
    assert len(found) >= LEAST_WRITTEN, sorted(found)
    assert {"einsum", "add", "conv_general_dilated", "gather", "scatter_add", "scan", "while", "cond"} <= found


SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.5, 1e-7, -3e-5, 30.0, -30.0, np.inf, -np.inf, np.nan], np.float32
)
UNARY = [
    "exp", "exp2", "expm1", "log", "log1p", "tanh", "logistic", "sqrt", "rsqrt", "cbrt", "erf", "floor", "ceil",
    "sign", "abs", "is_finite", "sin", "cos", "atan", "asinh",
]  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_special_values(name):
    value = np.where(np.isfinite(SPECIAL), SPECIAL, 0.5) if name in ("sin", "cos") else SPECIAL
    graph = capture(getattr(lax, name), [value]).graph
    same(graph, [value.astype(np.float32)])


@pytest.mark.parametrize("name", ["max", "min", "atan2", "eq", "ne", "lt", "le", "gt", "ge", "rem", "div", "pow"])
def test_special_pairs(name):
    x, y = (z.reshape(-1).astype(np.float32) for z in np.meshgrid(SPECIAL, SPECIAL))
    same(capture(getattr(lax, name), [x, y]).graph, [x, y])


def test_small_numbers_keep_their_digits():
    x = np.array([1e-10, -3e-8, 2e-5], np.float32)
    for name in ("expm1", "log1p"):
        (got,) = run(written(capture(getattr(lax, name), [x]).graph), [x])
        np.testing.assert_allclose(got, getattr(np, name)(x.astype(np.float64)), rtol=1e-6)


WHOLE = [np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32)]


@pytest.mark.parametrize("dtype", WHOLE, ids=str)
@pytest.mark.parametrize("name", ["div", "rem", "max", "shift_left", "shift_right_logical", "shift_right_arithmetic"])
def test_integers_at_their_limits(name, dtype):
    info = np.iinfo(dtype)
    some = np.array([0, 1, 2, 7, info.max, info.min, info.max - 1, info.min + 1, 31 % info.bits, info.bits], dtype)
    some = np.concatenate([some, -some[:3]]).astype(dtype)
    x, y = (z.reshape(-1).astype(dtype) for z in np.meshgrid(some, some))
    same(capture(getattr(lax, name), [x, y]).graph, [x, y])


@pytest.mark.parametrize("dtype", WHOLE, ids=str)
def test_integers_wrap_around(dtype):
    x = np.array([[0, 1, 100, np.iinfo(dtype).max]], dtype)

    def program(x):
        return (
            x * x + x - 3 * (x.T @ x),
            x.sum(axis=1),
            -x,
            jnp.where(x > 1, x, -x),
            jnp.pad(x, 1),
            lax.cumsum(x, 1),
            x.prod(),
        )

    same(capture(program, [x]).graph, [x])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"])
def test_narrow_floats(dtype):
    x = np.linspace(-3, 3, 12).reshape(3, 4).astype(np.float32)

    def program(x):
        y = x.astype(dtype)
        z = (y @ y.T, jnp.tanh(y).sum(axis=0), jnp.expm1(y) * 2 - y, jnp.where(y > 0, y, y[::-1])) \
            if "8_" not in dtype else (y,)  # fmt: skip
        return [part.astype(jnp.float32) for part in z]

    model = same(capture(program, [x]).graph, [x], tolerance=1e4 if "float16" in dtype else 1)
    assert model.opset_import[0].version == (19 if "float8" in dtype else 18)


def test_wide_floats():
    with jax.enable_x64(True):
        x, i = np.linspace(-3, 3, 12).reshape(3, 4), np.array([2, 0])
        graph = capture(lambda x, i: (jnp.tanh(x) @ x.T, x[i] / 3, x.argmax(axis=1), i * 2**40), [x, i]).graph
        same(graph, [x, i])


@pytest.mark.parametrize("dtype", ["bool", "int32", "uint8"])
def test_bits(dtype):
    x, y = (np.arange(24).reshape(2, 3, 4) * k % 7 - 3 for k in (3, 5))
    x, y = (z > 0 if dtype == "bool" else z.astype(dtype) for z in (x, y))

    def program(x, y):
        found = [x & y, x | y, x ^ y, ~x, x < y, x <= y, x > y, x >= y, lax.max(x, y), lax.min(x, y)]
        found += [lax.reduce_and(x, (0, 2)), lax.reduce_or(x, (1,)), lax.reduce_xor(x, (0, 1))]
        return found if dtype == "bool" else [*found, lax.population_count(x)]

    same(capture(program, [x, y]).graph, [x, y])


def test_broadcasts_are_left_to_the_operators():
    x, b, s = np.ones((4, 5), np.float32), np.ones(5, np.float32), np.ones(4, np.float32)
    model = same(capture(lambda x, b, s: jnp.tanh((x + b) * s[:, None] - 2.0 * jnp.exp(b)), [x, b, s]).graph, [x, b, s])
    assert "Expand" not in ops_of(model)


def test_no_reads_beyond_promises():
    """What is never asked for is not in the file."""
    graph = capture(lambda x, y: (jnp.tanh(x),), [np.ones(3, np.float32), np.ones(3, np.float32)]).graph
    assert ops_of(written(graph)) == ["Tanh"]
    assert lower_graph(graph)([np.ones(3, np.float32)] * 2)
