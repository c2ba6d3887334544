# SPDX-License-Identifier: Apache-2.0
"""Arguments: trees, keywords, static parts, names, weak types, donation, and errors for calls that do not fit."""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from egraph_opt.capture import Arguments, capture
from egraph_opt.errors import ArgumentError, ShapeError

X = np.ones((2, 3), np.float32)


class Layer(NamedTuple):
    w: Any
    b: Any


@jax.tree_util.register_pytree_node_class
@dataclass
class Module:
    weight: Any
    activation: Any

    def tree_flatten(self) -> Any:
        return (self.weight,), self.activation

    @classmethod
    def tree_unflatten(cls, activation: Any, children: Any) -> "Module":
        return cls(*children, activation)

    def __call__(self, x: Any) -> Any:
        return self.activation(x @ self.weight)


def test_trees_and_names(check: Any) -> None:
    def f(params: Any, *, x: Any, extra: Any = None) -> Any:
        return {"y": x @ params["layers"][0].w + params["layers"][0].b, "none": extra}

    params = {"layers": [Layer(X.T, 1.0)], "unused": None}
    captured = check(f, params, kwargs={"x": X})
    assert captured.leaf_names == ("params['layers'][0].w", "params['layers'][0].b", "x")
    assert captured.graph.names == captured.leaf_names
    assert captured.in_tree == jax.tree.structure(((params,), {"x": X}))
    assert captured.out_tree == jax.tree.structure({"y": 0, "none": None})


def test_names_of_many_positional_arguments() -> None:
    captured = capture(lambda first, *rest, **named: first + sum(rest) + named["z"], (1.0, X, X), {"z": X})
    assert captured.leaf_names == ("first", "rest[0]", "rest[1]", "z")


def test_custom_nodes_with_static_parts(check: Any) -> None:
    captured = check(lambda m, x: m(x), Module(X.T, jnp.tanh), X)
    assert captured.graph.op_counts()["tanh"] == 1
    assert len(captured.leaf_names) == 2


def test_leaves_that_are_no_arrays_are_static(check: Any) -> None:
    captured = check(lambda p, mode: p["act"](p["w"]) if mode == "on" else p["w"], {"w": X, "act": jnp.sin}, "on")
    assert captured.arguments.static == (jnp.sin, "on")
    assert captured.in_tree == jax.tree.structure((({"w": X, "act": None}, None), {}))


def test_static_arguments() -> None:
    def f(x: Any, n: int, mode: str = "a") -> Any:
        return x * n if mode == "a" else x.reshape(n, -1)

    assert capture(f, (X, 3), static_argnums=1).graph.op_counts() == {"input": 1, "einsum": 1}
    for options in ({"static_argnames": ("n", "mode")}, {"static_argnums": (1, 2)}, {"static_argnames": "n"}):
        captured = capture(f, (X,), {"n": 3, "mode": "b"}, **options)
        assert captured.graph.output_types[0].shape == (3, 2)
    assert capture(f, (X, 3)).graph.input_types[1].weak
    with pytest.raises(ArgumentError, match="static_argnums=5"):
        capture(f, (X, 3), static_argnums=5)


def test_static_trees_are_kept_whole() -> None:
    captured = capture(lambda x, sizes: x.reshape(sizes), (X, (3, 2)), static_argnums=1)
    assert len(captured.graph.inputs) == 1
    assert captured.arguments.static[0].value == (3, 2)


def test_shapes_serve_as_arguments() -> None:
    shape = jax.ShapeDtypeStruct((2, 3), jnp.bfloat16)
    assert str(capture(lambda x: x * 2, (shape,)).graph.output_types[0]) == "bf16[2,3]"


def test_numpy_and_python_scalars(check: Any) -> None:
    captured = check(lambda a, b, c, d: (a + b, c * 2, d), 1, 2.5, np.float32(3), True)
    assert [str(t) for t in captured.graph.input_types] == ["i32[]~", "f32[]~", "f32[]", "bool[]"]


def test_equinox_modules(check: Any) -> None:
    equinox = pytest.importorskip("equinox")
    net = equinox.nn.MLP(3, 2, 4, 1, key=jax.random.key(0))
    captured = check(lambda net, x: jax.vmap(net)(x), net, X)
    assert len(captured.leaf_names) == 5
    assert captured.leaf_names[0] == "net.layers[0].weight"


def test_donation_is_reported_and_not_done(check: Any) -> None:
    captured = check(jax.jit(lambda a, b: a + b, donate_argnums=1), X, X * 2)
    assert captured.donated_invars == (False, True)


def test_partial_and_bound_functions(check: Any) -> None:
    check(functools.partial(lambda n, x: x * n, 3), X)
    check(Module(jnp.asarray(X.T), jnp.tanh), X)


def test_inside_a_trace() -> None:
    """Capture may be asked for from within another trace: only types matter."""

    @jax.jit
    def f(x: Any) -> Any:
        assert capture(lambda a: jnp.sin(a) + x, (x,)).graph.op_counts()["sin"] == 1
        return x

    f(X)


def test_calls_that_do_not_fit() -> None:
    with pytest.raises(ArgumentError, match=r"missing a required argument: 'b'"):
        capture(lambda a, b: a, (X,))
    with pytest.raises(ArgumentError, match="want a function, got int"):
        capture(3, ())  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="names: want numbers"):
        capture(lambda names: names, (np.array(["a"]),))
    (n,) = jax.export.symbolic_shape("n")
    with pytest.raises(ShapeError, match="x: want sizes that are numbers"):
        capture(lambda x: x * 2, (jax.ShapeDtypeStruct((n,), np.float32),))


def test_errors_of_the_function_pass_unchanged() -> None:
    def f(x: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        capture(f, (X,))
    with pytest.raises(TypeError, match="dot_general"):
        capture(lambda x: x @ x, (X,))


def test_flatten_and_unflatten() -> None:
    def f(x: Any, mode: str, *, p: Any) -> Any: ...

    arguments = Arguments.flatten(f, (X, "m"), {"p": {"a": 1.0, "f": jnp.sin}})
    args, kwargs = arguments.unflatten([1, 2])
    assert args == (1, "m")
    assert kwargs == {"p": {"a": 2, "f": jnp.sin}}
