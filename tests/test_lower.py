# SPDX-License-Identifier: Apache-2.0
"""Lowered graphs: values, transformations, effects, metadata, and the spelling that XLA gets to see."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec

from egraph_opt.ir import Builder, Graph, Source, Spec, TensorType
from egraph_opt.ir.attrs import DType, Ref
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.spec import canonical
from egraph_opt.lower import lower_graph
from egraph_opt.ops import get_op


def f32(*shape: int) -> TensorType:
    return TensorType(shape, "float32")


def call(graph: Graph) -> Callable[..., Any]:
    """The graph's first output as a function of its inputs."""
    lowered = lower_graph(graph)
    return lambda *leaves: lowered(leaves)[0]


def network() -> Graph:
    """``sum(tanh(x @ w + b) ** 2) - sum(w)``."""
    e = Emitter()
    x, w, b = e.input(f32(4, 3)), e.input(f32(3, 5)), e.input(f32(5))
    sizes = {"i": 4, "j": 3, "k": 5}
    product = e.contract(["ij", "jk"], "ik", sizes, [x, w])
    shifted = e.sum_of([product, e.contract(["k"], "ik", sizes, [b])])
    active = e.elementwise("tanh", [shifted], (), f32(4, 5))
    loss = e.contract(["ik", "ik"], "", sizes, [active, active])
    total = e.contract(["jk"], "", sizes, [w])
    return e.build([e.sum_of([loss, e.scaled(total, -1)])])


def network_in_jax(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.sum(jnp.tanh(x @ w + b[None]) ** 2) - jnp.sum(w)


def leaves(graph: Graph, seed: int = 0) -> list[jax.Array]:
    random = np.random.default_rng(seed)
    return [jnp.asarray(random.normal(size=t.shape), t.dtype) for t in graph.input_types]


def assert_close(got: Any, want: Any) -> None:
    jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-6), got, want)


def primitives(function: Callable[..., Any], *args: Any) -> list[str]:
    return [equation.primitive.name for equation in jax.make_jaxpr(function)(*args).jaxpr.eqns]


TRANSFORMS: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "eager": lambda f: f,
    "jit": jax.jit,
    "grad": lambda f: jax.grad(f, argnums=(0, 1, 2)),
    "hessian": lambda f: jax.hessian(f, argnums=(1, 2)),
    "grad_of_grad": lambda f: jax.grad(lambda x, w, b: jnp.sum(jax.grad(f, argnums=1)(x, w, b) ** 2), argnums=(0, 1)),
    "jvp": lambda f: lambda *xs: jax.jvp(f, xs, xs),
    "vmap": lambda f: lambda *xs: jax.vmap(f)(*(jnp.stack([x, 2 * x]) for x in xs)),
    "vmap_one": lambda f: lambda x, w, b: jax.vmap(f, in_axes=(None, 0, None))(x, jnp.stack([w, -w]), b),
    "checkpoint": lambda f: jax.grad(jax.checkpoint(f)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transformations(name: str) -> None:
    graph = network()
    args = leaves(graph)
    transform = TRANSFORMS[name]
    assert_close(transform(call(graph))(*args), transform(network_in_jax)(*args))


@pytest.mark.parametrize("check", [True, False])
def test_shard_map(check: bool) -> None:
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    graph = network()
    args = leaves(graph)
    specs = (PartitionSpec("data"), PartitionSpec(), PartitionSpec())

    def local(*xs: jax.Array) -> jax.Array:
        return lax.psum(call(graph)(*xs), "data")

    mapped = jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(), check_vma=check)
    assert_close(jax.jit(mapped)(*args), network_in_jax(*args))
    assert_close(jax.grad(mapped)(*args), jax.grad(network_in_jax)(*args))


def test_weak_types() -> None:
    e = Emitter()
    x = e.input(TensorType((), "float32", weak=True))
    y = e.elementwise("exp", [x], (), f32())
    graph = e.build([y, y, x, x], weak_outputs=[True, False, True, False])
    out = lower_graph(graph)([2.0])
    assert [v.weak_type for v in out] == [True, False, True, False]
    assert [v.weak_type for v in jax.jit(lower_graph(graph))([2.0])] == [True, False, True, False]


# Control flow


def scan_graph() -> Graph:
    """A scan over ``c = tanh(w @ c + x)`` that also returns each ``c``."""
    body = Emitter()
    w, c, x = body.input(f32(3, 3)), body.input(f32(3)), body.input(f32(3))
    inner = body.contract(["ij", "j"], "i", {"i": 3, "j": 3}, [w, c])
    out = body.elementwise("tanh", [body.sum_of([inner, x])], (), f32(3))
    e = Emitter()
    operands = [e.input(f32(3, 3)), e.input(f32(3)), e.input(f32(5, 3))]
    attrs = [("body", body.build([out, out])), ("num_consts", 1), ("num_carry", 1), ("length", 5)]
    attrs += [("reverse", False), ("unroll", 1)]
    types = get_op("scan").infer([e.type(n) for n in operands], **dict(attrs))
    node = e.add("scan", operands, attrs, types)
    return e.build([e.add("result", [node], [("index", k)], types[k]) for k in range(2)])


def test_scan() -> None:
    def reference(w: Any, c: Any, xs: Any) -> Any:
        return lax.scan(lambda c, x: (jnp.tanh(w @ c + x),) * 2, c, xs)

    graph = scan_graph()
    args = leaves(graph)
    lowered = lower_graph(graph)
    assert_close(tuple(lowered(args)), reference(*args))
    assert_close(
        jax.grad(lambda *xs: lowered(xs)[1].sum())(*args), jax.grad(lambda *xs: reference(*xs)[1].sum())(*args)
    )
    assert Graph.parse(str(graph)) == graph


def test_while() -> None:
    test, body = Emitter(), Emitter()
    low, n = test.input(f32()), test.input(f32())
    less = test.elementwise("lt", [n, low], (), TensorType((), "bool"))
    n = body.input(f32())
    e = Emitter()
    x, y = e.input(f32()), e.input(f32())
    attrs = [("cond", test.build([less])), ("body", body.build([body.scaled(n, 2.0)]))]
    node = e.add("while", [x, y], [*attrs, ("cond_nconsts", 1), ("body_nconsts", 0)], f32())
    graph = e.build([node])
    assert jax.jit(call(graph))(10.0, 1.0) == 16.0
    assert_close(jax.vmap(call(graph))(jnp.array([10.0, 3.0]), jnp.array([1.0, 1.0])), jnp.array([16.0, 4.0]))


@pytest.mark.parametrize("dtype", ["int32", "bool"])
def test_cond(dtype: str) -> None:
    branches = []
    for scale in (2.0, 3.0):
        b = Emitter()
        branches.append(b.build([b.scaled(b.input(f32(2)), scale)]))
    e = Emitter()
    index, x = e.input(TensorType((), dtype)), e.input(f32(2))
    graph = e.build([e.add("cond", [index, x], [("branches", tuple(branches))], f32(2))])
    ones = jnp.ones(2)
    for pick, want in ((0, 2.0), (1, 3.0)):
        assert_close(jax.jit(call(graph))(jnp.asarray(pick, dtype), ones), want * ones)
    assert_close(jax.grad(lambda v: call(graph)(jnp.asarray(1, dtype), v).sum())(ones), 3.0 * ones)


# Effects and opaque primitives


def opaque(build: Builder, function: Callable[..., Any], operands: Sequence[int], effect: int | None) -> int:
    """The only equation of ``function`` as an opaque node without results, or with the result it has."""
    structs = [jax.ShapeDtypeStruct(build.type(n).shape, build.type(n).dtype) for n in operands]
    (equation,) = jax.make_jaxpr(function)(*structs).jaxpr.eqns
    params = tuple((k, v) for k, v in equation.params.items())
    attrs = [("name", equation.primitive.name), ("primitive", Ref(equation.primitive)), ("params", params)]
    types = [TensorType(tuple(v.aval.shape), str(v.aval.dtype)) for v in equation.outvars]
    return build.add("opaque", operands, [*attrs, ("effect", effect)], types)


def test_effects_keep_order_and_count() -> None:
    seen: list[float] = []
    e = Emitter()
    x = e.input(f32())
    double = e.scaled(x, 2.0)

    def show(v: jax.Array) -> None:
        jax.debug.callback(lambda a: seen.append(float(a)), v, ordered=True)

    second = opaque(e, show, [double], 0)
    first = opaque(e, show, [x], 1)
    again = opaque(e, show, [x], 2)
    graph = e.build([e.scaled(x, 3.0)], effects=[first, second, again])
    assert graph.effects == tuple(sorted(graph.effects))
    jax.block_until_ready(jax.jit(lower_graph(graph))([jnp.float32(1.0)]))
    jax.effects_barrier()
    assert seen == [1.0, 2.0, 1.0]
    seen.clear()
    mixed = Graph(graph.nodes, graph.inputs, graph.outputs, graph.effects[::-1])
    jax.block_until_ready(jax.jit(lower_graph(mixed))([jnp.float32(1.0)]))
    jax.effects_barrier()
    assert seen == [1.0, 2.0, 1.0]
    seen.clear()
    swapped = Graph(graph.nodes, graph.inputs, graph.outputs, tuple(graph.effects[k] for k in (1, 0, 2)))
    jax.block_until_ready(jax.jit(lower_graph(swapped))([jnp.float32(1.0)]))
    jax.effects_barrier()
    assert seen == [2.0, 1.0, 1.0]


@jax.custom_vjp
def clipped(x: jax.Array) -> jax.Array:
    return jnp.sin(x)


clipped.defvjp(lambda x: (clipped(x), x), lambda x, t: (t * 7.0 * jnp.ones_like(x),))


@pytest.mark.parametrize(
    "function",
    [
        jax.jit(lambda x: jnp.sin(x) * 2),
        clipped,
        jax.checkpoint(lambda x: jnp.sin(jnp.sin(x))),
        lax.optimization_barrier,
        jax.custom_jvp(jnp.sin),
    ],
    ids=["jit", "custom_vjp", "checkpoint", "barrier", "custom_jvp"],
)
def test_opaque_is_bound_again(function: Callable[..., Any]) -> None:
    if isinstance(function, jax.custom_jvp):
        function.defjvp(lambda primals, tangents: (jnp.sin(*primals), 5.0 * tangents[0]))
    e = Emitter()
    x = e.input(f32(3))
    graph = e.build([opaque(e, function, [x], None)])
    value = jnp.arange(3.0)
    assert_close(jax.jit(call(graph))(value), function(value))
    assert_close(jax.grad(lambda v: call(graph)(v).sum())(value), jax.grad(lambda v: function(v).sum())(value))
    assert_close(jax.vmap(call(graph))(value[None]), function(value)[None])


def test_opaque_shard_map() -> None:
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = PartitionSpec("data")
    function = jax.shard_map(lambda x: lax.psum(x, "data") + x, mesh=mesh, in_specs=spec, out_specs=spec)
    e = Emitter()
    x = e.input(f32(2))
    graph = e.build([e.scaled(opaque(e, function, [x], None), 2.0)])
    assert_close(jax.jit(call(graph))(jnp.ones(2)), 4 * jnp.ones(2))


# Metadata


def test_metadata_points_to_user_code() -> None:
    def user(x: jax.Array) -> Any:
        with jax.named_scope("layer"):
            return jnp.tanh(x)

    (equation,) = jax.make_jaxpr(user)(jnp.ones(3)).jaxpr.eqns
    traceback = equation.source_info.traceback
    source = Source(__file__, user.__code__.co_firstlineno + 2, "layer")
    e = Emitter()
    x = e.input(f32(3))
    graph = e.build([e.elementwise("tanh", [x], (), f32(3), (Source("other.py", 1), source))])
    lowered = lower_graph(graph, {source: traceback})
    with jax.named_scope("outer"):
        module = jax.jit(lowered).lower([jnp.ones(3)])
    text = module.compile().as_text()
    assert re.search(r'op_name="[^"]*layer/other\.py\.L1\+test_lower\.py\.L\d+/tanh"', text)
    assert f'test_lower.py":{source.line}' in module.as_text(debug_info=True)


def test_own_frames_are_hidden() -> None:
    text = jax.jit(lower_graph(network())).lower(leaves(network())).as_text(debug_info=True)
    assert "egraph_opt/lower/" not in text
    assert "egraph_opt/ops/" not in text


# Spelling of einsums


@st.composite
def specs(draw: st.DrawFn) -> str:
    """Random canonical specs of one or two operands: repeated letters, sums, broadcasts, diagonals, scales."""
    words = [draw(st.text("abcde", max_size=4)) for _ in range(draw(st.integers(1, 2)))]
    output = draw(st.text("abcdef", max_size=4))
    sizes = {c: draw(st.integers(2, 3)) for c in sorted(set("".join(words) + output))}
    scale = draw(st.sampled_from([1, 1, -1, 2.0, -0.5]))
    return canonical(words, output, sizes, scale)


def numpy_einsum(spec: str, *operands: np.ndarray) -> np.ndarray:
    """The meaning of a spec, in loops of numpy: result letters that repeat or that nobody else has are spread."""
    body, _, scale = spec.partition("|")
    letters, _, sizes = body.partition(";")
    left, output = letters.split("->")
    names = list(dict.fromkeys(left.replace(",", "") + output))
    extents = dict(zip(names, map(int, filter(None, sizes.split(","))), strict=True))
    unique = "".join(dict.fromkeys(output))
    held = "".join(c for c in unique if c in left)
    inner = np.einsum(f"{left}->{held}", *operands)
    wide = np.zeros([extents[c] for c in output], inner.dtype)
    for place in np.ndindex(*(extents[c] for c in unique)):
        at = dict(zip(unique, place, strict=True))
        wide[tuple(at[c] for c in output)] = inner[tuple(at[c] for c in held)]
    return wide * (float(scale) if scale else 1)


@hypothesis.example("abba->;2,3", "float32", 0)
@hypothesis.example("abcabc->cba;2,3,2", "float32", 0)
@hypothesis.given(specs(), st.sampled_from(["float32", "int32"]), st.integers(0, 9))
def test_einsum_agrees_with_numpy(spec: str, dtype: str, seed: int) -> None:
    if dtype == "int32":
        spec = spec.replace("|2.0", "|2").replace("|-0.5", "|-3")
    random = np.random.default_rng(seed)
    shapes = Spec.parse(spec).shapes
    operands = [random.integers(-3, 4, shape).astype(dtype) for shape in shapes]
    got = get_op("einsum").lower(*map(jnp.asarray, operands), spec=spec)
    (inferred,) = get_op("einsum").infer([TensorType(s, dtype) for s in shapes], spec=spec)
    assert got.shape == inferred.shape
    assert str(got.dtype) == inferred.dtype == dtype
    np.testing.assert_array_equal(np.asarray(got), numpy_einsum(spec, *operands))


SPELLINGS = [
    ("ab,bc->ac;2,3,4", ["dot_general"]),
    ("ab,bc->ca;2,3,4", ["dot_general"]),
    ("ab,cb->ca;2,3,4", ["dot_general"]),
    ("ab,a->b;2,3", ["dot_general"]),
    ("a,ab->b;2,3", ["dot_general"]),
    ("abc,abd->abcd;2,2,3,4", ["broadcast_in_dim", "broadcast_in_dim", "mul"]),
    ("abc,acd->abd;2,2,3,4", ["dot_general"]),
    ("ab,bc->abc;2,3,4", ["broadcast_in_dim", "broadcast_in_dim", "mul"]),
    ("ab,ab->ab;2,3", ["mul"]),
    (",ab->ab;2,3", ["mul"]),
    ("a,a->;3", ["mul", "reduce_sum"]),
    ("ab,ab->a;2,3", ["mul", "reduce_sum"]),
    ("ab->ba;2,3", ["transpose"]),
    ("ab->b;2,3", ["reduce_sum"]),
    ("aa->a;3", ["iota", "gather"]),
    ("baa->ba;2,3", ["iota", "gather"]),
    ("a->ba;2,3", ["broadcast_in_dim"]),
    ("ab->ab;2,3|-1.0", ["neg"]),
    ("ab->ab;2,3|2.0", ["mul"]),
]


@pytest.mark.parametrize(("spec", "want"), SPELLINGS)
def test_spelling(spec: str, want: list[str]) -> None:
    left = spec.split("->")[0].split(",")
    sizes = dict(zip(dict.fromkeys(re.sub("[^a-z]", "", spec)), map(int, re.findall(r"\d+", spec)), strict=False))
    operands = [jnp.ones([sizes[c] for c in word]) for word in left]
    assert primitives(lambda *xs: get_op("einsum").lower(*xs, spec=spec), *operands) == want


def test_a_diagonal_that_scales_a_matrix_is_read_once() -> None:
    """A strided slice would be computed again for each element of the product, with a cache line for each."""
    program = lambda a: a * jnp.diagonal(a)[None, :]  # noqa: E731
    a = jnp.asarray(np.random.default_rng(0).standard_normal((64, 64)), jnp.float32)
    graph = Graph.parse(
        "graph @main(%0: f32[64,64]) {\n  %1: f32[64] = einsum[spec='aa->a;64'](%0)\n"
        "  %2: f32[64,64] = einsum[spec='ab,b->ab;64,64'](%0, %1)\n  return (%2)\n}"
    )
    lowered = lower_graph(graph)
    text = jax.jit(lambda x: lowered([x])).lower(a).compile().as_text()
    assert text is not None
    kernels = [part for part in text.split("\n\n") if "multiply(" in part]
    assert len(kernels) == 1
    assert "gather(" in text
    assert not any(word in kernels[0] for word in ("gather(", "slice(", "iota("))
    np.testing.assert_array_equal(lowered([a])[0], program(a))


def test_diagonals_do_not_spread_nan() -> None:
    x = jnp.array([[1.0, jnp.nan], [jnp.inf, -0.0]])
    got = get_op("einsum").lower(x, spec="aa->a;2")
    assert np.asarray(got).tobytes() == np.array([1.0, -0.0], np.float32).tobytes()
    got = get_op("einsum").lower(jnp.array([jnp.inf, jnp.nan]), spec="a->aa;2")
    np.testing.assert_array_equal(np.asarray(got), [[np.inf, 0], [0, np.nan]])


def test_integers_wrap_around() -> None:
    x = jnp.array([1, 200], jnp.uint8)
    np.testing.assert_array_equal(np.asarray(get_op("einsum").lower(x, spec="a->a;2|-1")), [255, 56])
    np.testing.assert_array_equal(np.asarray(get_op("einsum").lower(x, spec="a->a;2|300")), [44, 96])


@pytest.mark.parametrize("spec", ["a->;4096", "a,a->;4096"])
def test_narrow_sums_accumulate_wide(spec: str) -> None:
    ones = [jnp.ones(4096, jnp.bfloat16)] * len(spec.split("->")[0].split(","))
    assert get_op("einsum").lower(*ones, spec=spec) == 4096
    assert get_op("einsum").lower(*ones, spec=spec).dtype == jnp.bfloat16


def widened(narrow: str, wide: str, output: str = "ac") -> Graph:
    e = Emitter()
    types = [TensorType((3, 4), narrow), TensorType((4, 5), narrow)]
    x, y = (
        e.elementwise("convert_element_type", [e.input(t)], (("new_dtype", DType(wide)),), TensorType(t.shape, wide))
        for t in types
    )
    return e.build([e.contract(["ab", "bc"], output, {"a": 3, "b": 4, "c": 5}, [x, y])])


@pytest.mark.parametrize(("narrow", "wide"), [("bfloat16", "float32"), ("float16", "float32"), ("int8", "int32")])
@pytest.mark.parametrize("output", ["ac", "ca"])
def test_narrow_products_are_recovered(narrow: str, wide: str, output: str) -> None:
    graph = widened(narrow, wide, output)
    random = np.random.default_rng(0)
    args = [jnp.asarray(random.integers(-9, 9, t.shape), t.dtype) for t in graph.input_types]
    (equation,) = jax.make_jaxpr(call(graph))(*args).jaxpr.eqns
    assert equation.primitive.name == "dot_general"
    assert {str(v.aval.dtype) for v in equation.invars} == {narrow}
    assert str(equation.params["preferred_element_type"]) == wide
    want = np.einsum(f"ab,bc->{output}", *(np.asarray(a).astype(wide) for a in args))
    np.testing.assert_array_equal(np.asarray(call(graph)(*args)), want)


@pytest.mark.parametrize(("narrow", "wide"), [("bfloat16", "float16"), ("int8", "float32"), ("uint8", "int32")])
def test_inexact_narrow_products_stay_wide(narrow: str, wide: str) -> None:
    graph = widened(narrow, wide)
    args = [jnp.ones(t.shape, t.dtype) for t in graph.input_types]
    assert primitives(call(graph), *args) == ["convert_element_type"] * 2 + ["dot_general"]


@pytest.mark.parametrize("precision", [None, "high", "highest"])
def test_precision_reaches_every_product(precision: str | None) -> None:
    inner = scan_graph()
    graph = Graph(inner.nodes, inner.inputs, inner.outputs, precision=precision)
    text = str(jax.make_jaxpr(lower_graph(graph))(leaves(graph)))
    assert (f"Precision.{precision.upper()}" in text) if precision else ("Precision" not in text)


def test_negated_terms_are_subtracted() -> None:
    e = Emitter()
    x, y = e.input(f32(3)), e.input(f32(3))
    minus = partial(e.scaled, scale=-1)
    graph = e.build([e.sum_of([x, minus(y)]), e.sum_of([minus(x), y]), e.sum_of([minus(x), minus(y)])])
    args = leaves(graph)
    assert primitives(lambda *xs: lower_graph(graph)(xs), *args) == ["sub", "neg", "sub", "sub"]
    a, b = args
    assert_close(lower_graph(graph)(args), [a - b, b - a, -a - b])


def test_what_no_root_needs_is_left_out() -> None:
    e = Emitter()
    x = e.input(f32(3))
    dead = Builder.add(e, "exp", [x], (), f32(3))
    graph = e.build([e.scaled(x, 2.0)])
    kept = Graph((*graph.nodes, e.nodes[dead]), graph.inputs, graph.outputs)
    assert primitives(call(kept), jnp.ones(3)) == ["mul"]


def test_products_are_made_in_the_order_that_is_read() -> None:
    e = Emitter()
    x, y = e.input(f32(2, 3)), e.input(f32(3, 4))
    product = e.add("einsum", [x, y], [("spec", "ab,bc->ac;2,3,4")], f32(2, 4))
    turned = e.add("einsum", [product], [("spec", "ab->ba;2,4")], f32(4, 2))
    args = [jnp.arange(6.0).reshape(2, 3), jnp.arange(12.0).reshape(3, 4)]
    graph = e.build([turned])
    assert primitives(call(graph), *args) == ["dot_general"]
    assert_close(call(graph)(*args), (args[0] @ args[1]).T)
    both = e.build([turned, product])
    assert primitives(lambda *xs: lower_graph(both)(xs), *args) == ["dot_general", "transpose"]
