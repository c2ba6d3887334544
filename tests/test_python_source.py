# SPDX-License-Identifier: Apache-2.0
"""Source text of graphs: it runs, agrees with the lowered function, and reads like what a person would write."""

from typing import Any

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from jax import lax

from egraph_opt.capture import capture
from egraph_opt.errors import UnsupportedOpError
from egraph_opt.ir import Builder, Graph, Source, Spec, TensorType
from egraph_opt.ir.attrs import Ref
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.spec import canonical
from egraph_opt.lower import lower_graph
from egraph_opt.lower.python import to_python
from egraph_opt.ops import Example, Op, all_ops

UNINFERRED = ("result", "constant")
CASES = [
    pytest.param(op, op.examples[0], id=op.name)
    for op in all_ops().values()
    if op.examples and op.name not in UNINFERRED
]


def f32(*shape: int) -> TensorType:
    return TensorType(shape, "float32")


def sample(type: TensorType, seed: int) -> jax.Array:
    random = np.random.default_rng(seed)
    if type.dtype == "bool":
        return jnp.asarray(random.integers(0, 2, type.shape).astype(bool))
    if "int" in type.dtype:
        return jnp.asarray(random.integers(0, 3, type.shape).astype(type.dtype))
    return jnp.asarray(random.uniform(0.1, 0.9, type.shape), type.dtype)


def execute(text: str, args: list[Any]) -> list[Any]:
    names: dict[str, Any] = {}
    exec(text, names)
    result = names["optimized"](*args)
    return list(result) if isinstance(result, tuple) else [result]


def check(graph: Graph) -> str:
    text = to_python(graph)
    args = [sample(type, seed) for seed, type in enumerate(graph.input_types)]
    for got, want in zip(execute(text, args), lower_graph(graph)(args), strict=True):
        assert got.dtype == want.dtype, text
        assert got.shape == want.shape, text
        got, want = (jax.random.key_data(x) if "key" in str(x.dtype) else x for x in (got, want))
        np.testing.assert_allclose(*(np.asarray(x).astype(complex) for x in (got, want)), 1e-5, 1e-6, err_msg=text)
    return text


@pytest.mark.alike
@pytest.mark.parametrize(("op", "example"), CASES)
def test_every_operation(op: Op, example: Example) -> None:
    build = Builder()
    operands = [build.input(type) for type in example.operands]
    types = op.infer(example.operands, **dict(example.attrs))
    node = build.add(op.name, operands, example.attrs, types)
    several = len(types) > 1
    outputs = [build.add("result", [node], [("index", k)], t) for k, t in enumerate(types)] if several else [node]
    check(build.build(outputs))


@hypothesis.given(st.data())
def test_every_einsum(data: st.DataObject) -> None:
    words = [data.draw(st.text("abcd", max_size=3)) for _ in range(data.draw(st.integers(1, 2)))]
    output = data.draw(st.text("abcde", max_size=3))
    sizes = {c: data.draw(st.integers(2, 3)) for c in "abcde"}
    spec = canonical(words, output, sizes, data.draw(st.sampled_from([1, -1, 0.5])))
    e = Emitter()
    operands = [e.input(f32(*shape)) for shape in Spec.parse(spec).shapes]
    check(e.build([e.einsum(spec, operands)]))
    e = Emitter()
    operands = [e.input(f32(*shape)) for shape in Spec.parse(spec).shapes]
    check(e.build([e.add("einsum", operands, [("spec", spec)], f32(*Spec.parse(spec).shape))]))


MATMULS = [
    ("ab,bc->ac;2,3,4", "arg0 @ arg1"),
    ("ab,b->a;2,3", "arg0 @ arg1"),
    ("ab,a->b;2,3", "arg1 @ arg0"),
    ("a,ab->b;2,3", "arg0 @ arg1"),
    ("a,a->;2", "arg0 @ arg1"),
    ("ab,cb->ac;2,3,4", "arg0 @ arg1.T"),
    ("ab,ac->bc;2,3,4", "arg0.T @ arg1"),
    ("ab,bc->ca;2,3,4", "arg1.T @ arg0.T"),
    ("abc,acd->abd;2,2,3,4", "arg0 @ arg1"),
    ("abc,adc->abd;2,2,3,4", 'jnp.einsum("abc,adc->abd", arg0, arg1)'),
    ("ab,ab->ab;2,3", "arg0 * arg1"),
    ("a,b->ab;2,3", "arg0[:, None] * arg1[None, :]"),
    ("ab,a->ab;2,3", "arg0 * arg1[:, None]"),
    ("ab,ab->;2,3", "(arg0 * arg1).sum()"),
    ("ab->ba;2,3", "arg0.T"),
    ("ab->a;2,3", "arg0.sum(axis=1)"),
    ("aa->a;3", "jnp.diagonal(arg0)"),
    ("aa->;3", "jnp.diagonal(arg0).sum()"),
    ("a->aa;3", "jnp.diag(arg0)"),
    ("a->a;3|-1.0", "-arg0"),
    ("a->a;3|0.5", "0.5 * arg0"),
]


@pytest.mark.parametrize(("spec", "want"), MATMULS)
def test_einsums_read_well(spec: str, want: str) -> None:
    e = Emitter()
    operands = [e.input(f32(*shape)) for shape in Spec.parse(spec).shapes]
    node = e.add("einsum", operands, [("spec", spec)], f32(*Spec.parse(spec).shape))
    assert f" = {want}\n" in check(e.build([node]))


def test_whole_text() -> None:
    e = Emitter()
    x, w, b = e.input(f32(4, 3), "x"), e.input(f32(3, 5), "params['w']"), e.input(f32(5), "params['b']")
    first, second = (Source("model.py", 14),), (Source("model.py", 15, "loss"),)
    sizes = {"i": 4, "j": 3, "k": 5}
    product = e.contract(["ij", "jk"], "ik", sizes, [x, w], first)
    shifted = e.sum_of([product, e.contract(["k"], "ik", sizes, [b], first)], first)
    active = e.elementwise("max", [shifted, e.constant(0.0, "float32")], (), f32(4, 5), first)
    loss = e.scaled(e.contract(["ik"], "", sizes, [active], second), 0.05, second)
    text = check(e.build([loss, active]))
    assert (
        text
        == '''\
import jax.numpy as jnp


def optimized(x, params_w, params_b):
    """(f32[4,3], f32[3,5], f32[5]) -> (f32[], f32[4,5])"""
    maximum = jnp.maximum(x @ params_w + params_b[None, :], 0.0)  # model.py:14
    scaled = 0.05 * maximum.sum()  # model.py:15 (loss)
    return (scaled, maximum)
'''
    )


def test_loops_and_branches() -> None:
    body = Emitter()
    w, c, x = body.input(f32(3, 3)), body.input(f32(3)), body.input(f32(3))
    out = body.elementwise(
        "tanh", [body.sum_of([body.contract(["ij", "j"], "i", {"i": 3, "j": 3}, [w, c]), x])], (), f32(3)
    )
    e = Emitter()
    operands = [e.input(f32(3, 3)), e.input(f32(3)), e.input(f32(5, 3))]
    attrs = [("body", body.build([out, out])), ("num_consts", 1), ("num_carry", 1), ("length", 5)]
    scan = e.add("scan", operands, [*attrs, ("reverse", True), ("unroll", 1)], [f32(3), f32(5, 3)])
    last, rows = (e.add("result", [scan], [("index", k)], t) for k, t in enumerate([f32(3), f32(5, 3)]))

    test, step = Emitter(), Emitter()
    low, n = test.input(f32()), test.input(f32())
    less = test.elementwise("lt", [n, low], (), TensorType((), "bool"))
    twice = step.scaled(step.input(f32()), 2.0)
    attrs = [("cond", test.build([less])), ("body", step.build([twice])), ("cond_nconsts", 1), ("body_nconsts", 0)]
    loop = e.add("while", [e.constant(9.0, "float32"), e.constant(1.0, "float32")], attrs, f32())

    branches = []
    for scale in (2.0, 3.0, 4.0):
        b = Emitter()
        branches.append(b.build([b.scaled(b.input(f32(3)), scale)]))
    pick = e.input(TensorType((), "int32"))
    chosen = e.add("cond", [pick, last], [("branches", tuple(branches))], f32(3))
    text = check(e.build([last, rows, loop, chosen]))
    assert "lax.scan(step, (arg1,), (arg2,), length=5, reverse=True)" in text
    assert "lax.while_loop(proceed, step2, (jnp.float32(1.0),))" in text
    assert "lax.switch(arg3, [branch, branch2, branch3])" in text


def test_precision_and_narrow_products() -> None:
    e = Emitter()
    x, y = e.input(f32(2, 3)), e.input(f32(3, 2))
    product = e.contract(["ab", "bc"], "ac", {"a": 2, "b": 3, "c": 2}, [x, y])
    assert 'jnp.matmul(arg0, arg1, precision="highest")' in check(e.build([product], precision="highest"))


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(0.1, "float32"), (float("inf"), "float32"), (-3, "int32"), (4294967295, "uint32"), (1.5, "bfloat16")],
)
def test_constants(value: Any, dtype: str) -> None:
    e = Emitter()
    type = TensorType((3,), dtype)
    x = e.input(type)
    constant = e.constant(value, dtype)
    array = e.array(np.asarray(jnp.asarray([value, 1, 0], dtype)), dtype)
    check(e.build([constant, array, e.elementwise("max", [x, constant], (), type), e.uniform(value, type)]))


def opaque(function: Any, type: TensorType, effect: int | None = None) -> Graph:
    struct = jax.ShapeDtypeStruct(type.shape, type.dtype)
    (equation,) = jax.make_jaxpr(function)(struct).jaxpr.eqns
    build = Builder()
    params = tuple(equation.params.items())
    attrs = [("name", equation.primitive.name), ("primitive", Ref(equation.primitive)), ("params", params)]
    types = [TensorType(tuple(v.aval.shape), str(v.aval.dtype)) for v in equation.outvars]
    return build.build([build.add("opaque", [build.input(type)], [*attrs, ("effect", effect)], types)])


def test_opaque_with_plain_parameters() -> None:
    text = check(opaque(lax.optimization_barrier, f32(3)))
    assert "lax.optimization_barrier_p.bind(arg0)[0]" in text


def test_random_keys() -> None:
    text = check(opaque(lambda seed: jax.random.key(seed), TensorType((), "int32")))
    assert "jax.random.key(arg0, impl='threefry2x32')" in text


def test_packed_factors_whose_primitive_is_private() -> None:
    graph = capture(lambda a: jnp.linalg.qr(a, mode="raw"), [jnp.arange(12.0).reshape(2, 3, 2) + jnp.eye(3, 2)]).graph
    assert "jnp.linalg.qr(a, mode='raw')" in check(graph)


def test_what_cannot_be_written_is_named() -> None:
    graph = opaque(lambda x: jax.pure_callback(np.sin, jax.ShapeDtypeStruct((3,), "float32"), x), f32(3))
    with pytest.raises(UnsupportedOpError, match=r"^primitive 'pure_callback': .*cannot be written as source text"):
        to_python(graph)


def test_names_are_identifiers_and_do_not_clash() -> None:
    e = Emitter()
    inputs = [e.input(f32(2), name) for name in ("class", "jnp", "a.b[0]", "a_b_0", "tanh", "1st", "optimized", "")]
    text = check(e.build([e.sum_of(inputs), e.elementwise("tanh", [inputs[0]], (), f32(2))]))
    assert "def optimized(class_, jnp2, a_b_0, a_b_0_2, tanh, x1st, optimized2, arg7):" in text


def test_a_transposed_product_that_only_a_reshape_reads() -> None:
    graph = capture(lambda x: jnp.outer(x, x).T[..., None], [jnp.ones(3)]).graph
    assert "reshape" in to_python(graph, "f")


def test_only_results_of_primitives_that_return_lists_are_read_where_they_are_used() -> None:
    for function in (
        lambda x: 2 * jnp.sort(x)[1],
        lambda x: jnp.exp(jax.lax.optimization_barrier(x + 1.0)) * 3,
        lambda x: jnp.sort(jnp.sort(x) * 2.0, descending=True) - x,
    ):
        check(capture(function, (jnp.asarray([3.0, 1.0, 2.0], jnp.float32),)).graph)
