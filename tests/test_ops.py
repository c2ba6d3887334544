# SPDX-License-Identifier: Apache-2.0
"""Every operation record against JAX: types, text, counts, broadcasting, capture, documentation."""

import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from egraph_opt.errors import DTypeError, ShapeError
from egraph_opt.ir import Builder, Graph, TensorType
from egraph_opt.lower import lower_graph
from egraph_opt.ops import Example, Op, Trait, all_ops, get_op, op_of_primitive
from egraph_opt.ops.checks import struct
from egraph_opt.ops.document import table

ROOT = Path(__file__).resolve().parents[1]
CASES = [
    pytest.param(op, example, id=f"{op.name}-{number}")
    for op in all_ops().values()
    for number, example in enumerate(op.examples)
]
COMPUTED = [case for case in CASES if case.values[0].name not in ("result", "constant")]
ELEMENTWISE = [op for op in all_ops().values() if Trait.ELEMENTWISE in op.traits]
BROADCAST = [op for op in ELEMENTWISE if op.arity != 1]


def by_name(ops: list[Op]) -> list[Any]:
    return [pytest.param(op, id=op.name) for op in ops]


def keywords(op: Op, example: Example) -> dict[str, Any]:
    return dict(example.attrs) | ({"run": lower_graph} if op.nested else {})


def traced_types(op: Op, operands: tuple[TensorType, ...], kwargs: dict[str, Any]) -> tuple[TensorType, ...]:
    results = jax.eval_shape(lambda *xs: op.lower(*xs, **kwargs), *map(struct, operands))
    leaves = results if isinstance(results, tuple | list) else [results]
    return tuple(TensorType(tuple(x.shape), str(x.dtype)) for x in leaves)


def sample(type: TensorType, seed: int) -> jax.Array:
    random = np.random.default_rng(seed)
    if type.dtype == "bool":
        return jnp.asarray(random.integers(0, 2, type.shape).astype(bool))
    if "int" in type.dtype:
        return jnp.asarray(random.integers(0, 3, type.shape).astype(type.dtype))
    return jnp.asarray(random.uniform(0.1, 0.9, type.shape), type.dtype)


@pytest.mark.parametrize(("op", "example"), COMPUTED)
def test_type_rule_agrees_with_jax(op: Op, example: Example) -> None:
    assert op.infer(example.operands, **dict(example.attrs)) == traced_types(
        op, example.operands, keywords(op, example)
    )


@pytest.mark.parametrize(("op", "example"), CASES)
def test_flops_are_not_negative(op: Op, example: Example) -> None:
    results = op.infer(example.operands, **dict(example.attrs))
    assert op.flops(example.operands, results, **dict(example.attrs)) >= 0
    assert op.transcendentals >= 0


@pytest.mark.parametrize(("op", "example"), CASES)
def test_attributes_are_those_declared(op: Op, example: Example) -> None:
    assert tuple(name for name, _ in example.attrs) == op.attrs
    assert op.arity in (None, len(example.operands)) or op.name == "result"
    hash(example.attrs)


@pytest.mark.parametrize(("op", "example"), COMPUTED)
def test_text_reads_back(op: Op, example: Example) -> None:
    graph = one_node(op, example)
    again = Graph.parse(str(graph))
    assert again == graph
    assert str(again) == str(graph)


def one_node(op: Op, example: Example) -> Graph:
    build = Builder()
    operands = [build.input(type) for type in example.operands]
    types = op.infer(example.operands, **dict(example.attrs))
    node = build.add(op.name, operands, example.attrs, types)
    if len(types) == 1:
        return build.build([node])
    return build.build([build.add("result", [node], [("index", k)], type) for k, type in enumerate(types)])


@pytest.mark.alike
@pytest.mark.parametrize(("op", "example"), COMPUTED)
def test_one_node_runs(op: Op, example: Example) -> None:
    operands = [sample(type, seed) for seed, type in enumerate(example.operands)]
    got = lower_graph(one_node(op, example))(operands)
    want = op.lower(*operands, **keywords(op, example))
    for a, b in zip(got, want if isinstance(want, tuple | list) else [want], strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.alike
@pytest.mark.parametrize("op", by_name(BROADCAST))
def test_scalars_broadcast(op: Op) -> None:
    """Every mixture of scalars and tensors is the operation on tensors all of one shape."""
    example = op.examples[0]
    kwargs = dict(example.attrs)
    count = len(example.operands)
    for scalar in itertools.product((False, True), repeat=count):
        types = [t.with_shape(() if s else (2, 3)) for t, s in zip(example.operands, scalar, strict=True)]
        operands = [sample(type, seed) for seed, type in enumerate(types)]
        (inferred,) = op.infer(types, **kwargs)
        got = op.lower(*operands, **kwargs)
        assert got.shape == inferred.shape == (() if all(scalar) else (2, 3))
        assert str(got.dtype) == inferred.dtype
        want = op.lower(*(jnp.broadcast_to(x, inferred.shape) for x in operands), **kwargs)
        np.testing.assert_array_equal(np.asarray(got), np.asarray(want))


@pytest.mark.parametrize("op", by_name(BROADCAST))
def test_unequal_shapes_are_refused(op: Op) -> None:
    example = op.examples[0]
    types = [t.with_shape((2, 3)) for t in example.operands]
    types[-1] = types[-1].with_shape((4,))
    with pytest.raises(ShapeError, match=rf"{op.name}: want equal shapes or rank 0, got .*\[2,3\] and \[4\]"):
        op.infer(types, **dict(example.attrs))


def test_messages() -> None:
    f, g = TensorType((2, 3), "float32"), TensorType((4,), "float32")
    with pytest.raises(ShapeError, match=r"^max: want equal shapes or rank 0, got \[2,3\] and \[4\]$"):
        get_op("max").infer([f, g])
    with pytest.raises(DTypeError, match=r"^tanh: want floating-point or complex, got int32$"):
        get_op("tanh").infer([TensorType((2,), "int32")])
    with pytest.raises(DTypeError, match=r"^div: want equal element types, got float32 and int32$"):
        get_op("div").infer([f, TensorType((2, 3), "int32")])
    with pytest.raises(ShapeError, match=r"^reshape: want 6 elements, got \[4\]$"):
        get_op("reshape").infer([f], shape=(4,))
    with pytest.raises(ShapeError, match=r"^max: want 2 operands, got 1$"):
        get_op("max").infer([f])


def test_constructors_are_unique() -> None:
    names = [op.constructor for op in all_ops().values()]
    assert len(set(names)) == len(names)
    assert all(name.isalnum() for name in names)


@pytest.mark.parametrize("op", by_name([op for op in ELEMENTWISE if Trait.ZERO_TO_ZERO in op.traits]))
def test_zero_to_zero(op: Op) -> None:
    for example in op.examples:
        zeros = [jnp.zeros(t.shape, t.dtype) for t in example.operands]
        assert not np.asarray(op.lower(*zeros, **dict(example.attrs))).any()


@pytest.mark.parametrize("op", by_name([op for op in ELEMENTWISE if Trait.MONOTONE in op.traits and op.arity == 1]))
def test_monotone(op: Op) -> None:
    (type,) = next(example for example in op.examples if example.operands[0].dtype == "float32").operands
    grid = jnp.linspace(1.0, 3.0, 50) if op.name == "acosh" else jnp.linspace(-0.9, 0.9, 51)
    grid = jnp.abs(grid) + jnp.arange(len(grid)) if op.name in ("log", "sqrt") else grid
    values = np.asarray(op.lower(grid.astype(type.dtype), **dict(op.examples[0].attrs)))
    assert (np.diff(values) >= -1e-6).all()
    assert Trait.INCREASING not in op.traits or (np.diff(values) > 0).all()


@pytest.mark.parametrize("op", by_name([op for op in all_ops().values() if Trait.COMMUTATIVE in op.traits]))
def test_commutative(op: Op) -> None:
    for example in op.examples:
        values = [sample(type, seed) for seed, type in enumerate(example.operands[:2])]
        there, back = op.lower(*values, **dict(example.attrs)), op.lower(*values[::-1], **dict(example.attrs))
        np.testing.assert_array_equal(np.asarray(there), np.asarray(back))


PROGRAMS = {
    "exp": lambda x: lax.exp(x),
    "select_n": lambda x: lax.select(x > 0, x, x),
    "convert_element_type": lambda x: x.astype(jnp.bfloat16),
    "iota": lambda x: lax.iota(jnp.int32, 4),
    "gather": lambda x: x[jnp.array([0, 2])],
    "scatter": lambda x: x.at[jnp.array([0, 2])].set(1.0),
    "scatter_add": lambda x: x.at[jnp.array([0, 2])].add(1.0),
    "reduce_max": lambda x: x.max(),
    "sort": lambda x: jnp.sort(x),
    "cumsum": lambda x: jnp.cumsum(x),
    "select_and_scatter_add": jax.grad(
        lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (2,), (1,), "VALID").sum(),
    ),
    "conv_general_dilated": lambda x: jnp.convolve(x, x, precision="highest"),
    "fft": lambda x: jnp.fft.rfft(x),
    "triangular_solve": lambda x: lax.linalg.triangular_solve(jnp.outer(x, x), x[:, None], left_side=True),
    "clamp": lambda x: lax.clamp(0.0, x, 1.0),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_equation_becomes_attributes(name: str) -> None:
    """The parameters of a traced equation give attributes with which the node runs like the equation."""
    x = jnp.arange(4.0) + 1
    (equation,) = [e for e in flat(jax.make_jaxpr(PROGRAMS[name])(x).jaxpr) if is_of(e, name)][:1]
    op = op_of_primitive(equation.primitive.name)
    assert op is not None
    attrs = op.from_params(equation.params)
    assert attrs is not None
    types = [TensorType(tuple(v.aval.shape), str(v.aval.dtype)) for v in equation.invars]
    want = [TensorType(tuple(v.aval.shape), str(v.aval.dtype)) for v in equation.outvars]
    assert list(op.infer(types, **dict(attrs))) == want
    assert list(traced_types(op, tuple(types), dict(attrs))) == want


def is_of(equation: Any, name: str) -> bool:
    op = op_of_primitive(equation.primitive.name)
    return op is not None and op.name == name


def flat(jaxpr: Any) -> Any:
    for equation in jaxpr.eqns:
        yield equation
        inner = equation.params.get("jaxpr")
        if inner is not None:
            yield from flat(inner.jaxpr if hasattr(inner, "jaxpr") else inner)


def test_unknown_parameters_stay_opaque() -> None:
    exp = get_op("exp")
    assert exp.from_params({"accuracy": None}) == ()
    assert exp.from_params({"accuracy": "highest"}) is None
    assert exp.from_params({"accuracy": None, "new": 1}) is None


def test_table_is_up_to_date() -> None:
    assert (ROOT / "docs/ops.md").read_text("utf-8") == table(), "run `python -m egraph_opt.ops.document > docs/ops.md`"
