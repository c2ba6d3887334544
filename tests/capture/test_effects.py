# SPDX-License-Identifier: Apache-2.0
"""Effects, callbacks, references, nested calls, custom derivatives: nothing is dropped, merged or reordered."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import io_callback

from egraph_opt.capture import capture
from egraph_opt.errors import UnsupportedOpError
from egraph_opt.lower import lower_graph

X = np.arange(6, dtype=np.float32).reshape(2, 3)
OUT = jax.ShapeDtypeStruct((2, 3), np.float32)


def opaque(captured: Any) -> list[str]:
    return [n.attr("name") for n in captured.graph if n.op == "opaque"]


def run(captured: Any, *leaves: Any) -> list[Any]:
    results = jax.jit(lower_graph(captured.graph))([*leaves, *captured.constants])
    jax.block_until_ready(results)
    jax.effects_barrier()
    return results


def test_ordered_callbacks_keep_order_and_count() -> None:
    log: list[float] = []

    def note(a: Any) -> Any:
        log.append(float(np.sum(a)))
        return np.asarray(a)

    def f(a: Any) -> Any:
        b = io_callback(note, OUT, a, ordered=True)
        c = io_callback(note, OUT, a, ordered=True)
        io_callback(note, OUT, b + 2 * c, ordered=True)
        return b + c

    captured = capture(f, (X,))
    assert len(captured.graph.effects) == 3
    assert [captured.graph.nodes[n].attr("effect") for n in captured.graph.effects] == [0, 1, 2]
    run(captured, X)
    assert log == [15.0, 15.0, 45.0]


def test_equal_prints_stay_two(check: Any, capfd: pytest.CaptureFixture[str]) -> None:
    def f(a: Any) -> Any:
        jax.debug.print("hello")
        jax.debug.print("hello")
        jax.debug.print("sum {}", a.sum())
        return a

    captured = capture(f, (X,))
    assert opaque(captured) == ["debug_print"] * 3
    capfd.readouterr()
    run(captured, X)
    assert capfd.readouterr().out.split() == ["hello", "hello", "sum", "15.0"]


def test_pure_callbacks_are_no_effects(check: Any) -> None:
    def f(a: Any) -> Any:
        twice = jax.pure_callback(lambda v: np.asarray(v) * 2, OUT, a)
        unused = jax.pure_callback(lambda v: np.asarray(v) * 3, OUT, a)
        del unused
        return twice

    captured = check(f, X)
    assert captured.graph.effects == ()
    assert opaque(captured) == ["pure_callback"]


@pytest.mark.parametrize("flow", ["scan", "while", "cond"])
def test_effects_inside_control_flow(flow: str) -> None:
    log: list[float] = []

    def note(a: Any) -> None:
        log.append(float(a))

    def f(a: Any) -> Any:
        if flow == "scan":
            return lax.scan(lambda c, r: (io_callback(note, None, r[0], ordered=True), (c + r, None))[1], a[0], a)[0]
        if flow == "while":
            step = lambda s: (io_callback(note, None, s[0], ordered=True), (s[0] + 1.0, s[1]))[1]  # noqa: E731
            return lax.while_loop(lambda s: s[0] < 3, step, (0.0, a))[1]
        return lax.cond(
            a[0, 0] < 1,
            lambda: (io_callback(note, None, 1.0, ordered=True), a)[1],
            lambda: (io_callback(note, None, 2.0, ordered=True), -a)[1],
        )

    captured = capture(f, (X,))
    assert [captured.graph.nodes[n].op for n in captured.graph.effects] == [flow]
    run(captured, X)
    assert log == {"scan": [0.0, 3.0], "while": [0.0, 1.0, 2.0], "cond": [1.0]}[flow]


def test_references(check: Any) -> None:
    def f(a: Any) -> Any:
        ref = jax.new_ref(a)
        before = ref[...]
        ref[0] = jnp.ones(3)
        ref[...] += 1.0
        return before, ref[...]

    captured = check(f, X)
    assert len(captured.graph.effects) >= 4


def test_strict_refuses_unknown_primitives() -> None:
    with pytest.raises(UnsupportedOpError, match=r"test_effects\.py:\d+: primitive 'pure_callback' has no op"):
        capture(lambda a: jax.pure_callback(lambda v: v, OUT, a), (X,), strict=True)
    capture(lambda a: jnp.tanh(a @ a.T), (X,), strict=True)


@jax.custom_vjp
def clip_gradient(a: Any) -> Any:
    return a


clip_gradient.defvjp(lambda a: (a, None), lambda _, t: (jnp.clip(t, -1, 1),))


def test_custom_derivatives_are_reported(check: Any) -> None:
    assert check(lambda a: clip_gradient(a) * 2, X).custom_derivatives == ("clip_gradient",)
    assert check(lambda a: jax.nn.relu(a), X).has_custom_derivatives
    assert not check(lambda a: jax.nn.softmax(a) + jax.nn.silu(a) + jax.nn.gelu(a), X).has_custom_derivatives
    assert not check(jax.grad(lambda a: (clip_gradient(a) * 5).sum()), X).has_custom_derivatives
    inside = check(lambda a: lax.scan(lambda c, r: (clip_gradient(c) + r, None), a[0], a)[0], X)
    assert inside.has_custom_derivatives


def test_rule_of_a_body_that_is_not_reported_is_its_derivative() -> None:
    """What is not reported differentiates alike, at ties too."""
    for x in (X, np.zeros((2, 3), np.float32), np.array([[1, 1, 0], [30, -80, 30]], np.float32)):
        captured = capture(jax.nn.softmax, (x,))
        lowered = lower_graph(captured.graph)
        weights = np.arange(6, dtype=np.float32).reshape(2, 3)
        got = jax.grad(lambda a: (lowered([a])[0] * weights).sum())(x)  # noqa: B023
        want = jax.grad(lambda a: (jax.nn.softmax(a) * weights).sum())(x)  # noqa: B023
        np.testing.assert_allclose(got, want, atol=1e-6)


def test_checkpoints(check: Any) -> None:
    """Forward passes are inlined; a rematerialised backward pass stays behind its barrier."""
    f = jax.checkpoint(lambda a: jnp.sin(jnp.sin(a)))
    forward = check(f, X)
    assert forward.has_checkpoint
    assert opaque(forward) == []
    backward = check(jax.value_and_grad(lambda a: f(a).sum()), X)
    assert opaque(backward) == ["optimization_barrier"]
    assert backward.graph.op_counts()["sin"] == 3  # twice forward, once again: not shared
    shared = check(jax.value_and_grad(lambda a: jax.checkpoint(f, prevent_cse=False)(a).sum()), X)
    assert shared.has_checkpoint


def test_platform_dependent(check: Any) -> None:
    check(lambda a: lax.platform_dependent(a, cpu=lambda a: a + 1, default=lambda a: a - 1), X)


def test_linear_solve_is_opened(check: Any) -> None:
    captured = check(lambda a: lax.custom_linear_solve(lambda v: 2 * v, a, lambda mv, b: b / 2), X)
    assert opaque(captured) == []
    assert captured.custom_derivatives == ("custom_linear_solve",)


def test_metadata_contexts_are_kept() -> None:
    from jax.experimental.xla_metadata import set_xla_metadata

    def f(a: Any) -> Any:
        with set_xla_metadata(mark="here"):
            return jnp.sin(a) + 1

    captured = capture(f, (X,))
    text = jax.jit(lower_graph(captured.graph)).lower([X]).as_text()
    assert 'mark = "here"' in text
    np.testing.assert_allclose(run(captured, X)[0], np.sin(X) + 1, rtol=1e-6)
