# SPDX-License-Identifier: Apache-2.0
"""Rotary embeddings: spellings that are recognised, programs that look like them, values and derivatives."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import egraph_opt
from egraph_opt.capture import capture
from egraph_opt.ir import Graph
from egraph_opt.ir.numerics import Numerics
from egraph_opt.kernels import all_kernels, recognise, replaced
from egraph_opt.kernels.found import Found
from egraph_opt.kernels.rotary import pattern
from egraph_opt.lower import lower_graph
from egraph_opt.normalise import normalise
from egraph_opt.ops.kernel import Lowering
from egraph_opt.verify.promote import promote_graph
from tests.onnx_frontend.nodes import Case
from tests.onnx_frontend.test_attention import ROTARY

B, T, H, D = 2, 5, 3, 8
h = D // 2
RANDOM = np.random.default_rng(0)


def drawn(*shape: int) -> Any:
    return jnp.asarray(RANDOM.standard_normal(shape), jnp.float32)


X, C, S = drawn(B, T, H, D), drawn(T, h), drawn(T, h)
HALF = tuple(t.astype(jnp.bfloat16) for t in (X, C, S))
CC, SS = (jnp.concatenate([t, t], -1) for t in (C, S))
POSITIONS = jnp.arange(T, dtype=jnp.float32)
BATCHED = jnp.stack([POSITIONS, POSITIONS + 2])
SPEEDS = jnp.linspace(0.1, 1.0, h, dtype=jnp.float32)


def first(a: Any, b: Any, c: Any, s: Any) -> Any:
    return a * c - b * s


def second(a: Any, b: Any, c: Any, s: Any) -> Any:
    return b * c + a * s


def quarter(x: Any) -> Any:
    a, b = jnp.split(x, 2, -1)
    return jnp.concatenate([-b, a], -1)


def whole_tables(x: Any, c: Any, s: Any) -> Any:
    return x * c[None, :, None, :] + quarter(x) * s[None, :, None, :]


def halves(x: Any, c: Any, s: Any, f: Any = first, g: Any = second) -> Any:
    a, b, c, s = x[..., :h], x[..., h:], c[:, None], s[:, None]
    return jnp.concatenate([f(a, b, c, s), g(a, b, c, s)], -1)


def pairs(x: Any, c: Any, s: Any, f: Any = first, g: Any = second) -> Any:
    a, b, c, s = x[..., ::2], x[..., 1::2], c[:, None], s[:, None]
    return jnp.stack([f(a, b, c, s), g(a, b, c, s)], -1).reshape(x.shape)


def by_complex(x: Any, turn: Any) -> Any:
    z = x.reshape(*x.shape[:-1], -1, 2)
    z = lax.complex(z[..., 0], z[..., 1]) * turn[:, None]
    return jnp.stack([z.real, z.imag], -1).reshape(x.shape)


def by_positions(x: Any, p: Any) -> Any:
    angles = p[:, None] * SPEEDS
    both = jnp.concatenate([angles, angles], -1)
    return whole_tables(x, jnp.cos(both), jnp.sin(both))


def by_batched_positions(x: Any, p: Any) -> Any:
    angles = p[:, :, None, None] / (10_000 ** (2 * jnp.arange(h) / D)).astype(jnp.float32)
    a, b = jnp.split(x, 2, -1)
    return jnp.concatenate(
        [first(a, b, jnp.cos(angles), jnp.sin(angles)), second(a, b, jnp.cos(angles), jnp.sin(angles))], -1
    )


def by_roll(x: Any, c: Any, s: Any) -> Any:
    sign = jnp.where(jnp.arange(D) < h, -1.0, 1.0).astype(x.dtype)
    return x * c[:, None] + jnp.roll(x, h, -1) * sign * s[:, None]


def every_second(x: Any, c: Any, s: Any) -> Any:
    turned = jnp.stack([-x[..., 1::2], x[..., ::2]], -1).reshape(x.shape)
    return x * jnp.repeat(c, 2, -1)[:, None] + turned * jnp.repeat(s, 2, -1)[:, None]


def by_neighbours(x: Any, c: Any, s: Any) -> Any:
    turned = jnp.where(jnp.arange(D) % 2 == 0, -jnp.roll(x, -1, -1), jnp.roll(x, 1, -1))
    return x * c[:, None] + turned * s[:, None]


def head_after_sizes(x: Any, c: Any, s: Any) -> Any:
    y, c, s = jnp.swapaxes(x, 2, 3), c[:, :, None], s[:, :, None]
    return jnp.concatenate([first(y[:, :, :h], y[:, :, h:], c, s), second(y[:, :, :h], y[:, :, h:], c, s)], 2)


def merged_heads(w: Any, c: Any, s: Any) -> Any:
    z, c, s = w.reshape(B, T, H, h, 2), c[:, None], s[:, None]
    parts = first(z[..., 0], z[..., 1], c, s), second(z[..., 0], z[..., 1], c, s)
    return jnp.stack(parts, -1).reshape(B, T, H * D)


def two_rows(x: Any, c: Any, s: Any) -> Any:
    z, c, s = x.reshape(B, T, H, 2, h), c[:, None], s[:, None]
    a, b = z[..., 0, :], z[..., 1, :]
    return jnp.stack([first(a, b, c, s), second(a, b, c, s)], -2).reshape(x.shape)


def padded(x: Any, c: Any, s: Any) -> Any:
    a, b, c, s = x[..., :h], x[..., h:], c[:, None], s[:, None]
    none = [(0, 0)] * 3
    return jnp.pad(first(a, b, c, s), [*none, (0, h)]) + jnp.pad(second(a, b, c, s), [*none, (h, 0)])


def some(x: Any, c: Any, s: Any) -> Any:
    q, rest = x[..., :4], x[..., 4:]
    return jnp.concatenate([q * c[:, None, :4] + quarter(q) * s[:, None, :4], rest], -1)


def some_by_parts(x: Any, c: Any, s: Any) -> Any:
    a, b, c, s = x[..., :2], x[..., 2:4], c[:, None, :2], s[:, None, :2]
    return jnp.concatenate([first(a, b, c, s), second(a, b, c, s), x[..., 4:]], -1)


def packed(x: Any, both: Any) -> Any:
    s, c = jnp.split(both, 2, -1)
    return halves(x, c, s)


def cached(x: Any, c: Any, s: Any, p: Any) -> Any:
    c, s = c[p][:, :, None], s[p][:, :, None]
    return x * c + quarter(x) * s


def mapped(x: Any, c: Any, s: Any) -> Any:
    def one(y: Any) -> Any:
        a, b = jnp.split(y, 2, -1)
        return jnp.concatenate([first(a, b, c, s), second(a, b, c, s)], -1)

    return jax.vmap(jax.vmap(one, 1, 1))(x)


def widened(x: Any, c: Any, s: Any) -> Any:
    return whole_tables(x.astype(jnp.bfloat16).astype(jnp.float32), c, s).astype(jnp.bfloat16).astype(jnp.float32)


SPELLINGS: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
    (whole_tables, (X, CC, SS), "rotary (half)"),
    (halves, (X, C, S), "rotary (half)"),
    (pairs, (X, C, S), "rotary (pairs)"),
    (lambda x, c, s: by_complex(x, lax.complex(c, s)), (X, C, S), "rotary (pairs)"),
    (by_complex, (X, lax.complex(C, S)), "rotary (pairs)"),
    (lambda x, p: by_complex(x, jnp.exp(1j * (p[:, None] * SPEEDS))), (X, POSITIONS), "rotary (pairs)"),
    (by_positions, (X, POSITIONS), "rotary (half)"),
    (lambda x: by_positions(x, jnp.arange(T, dtype=jnp.float32)), (X,), "rotary (half)"),
    (by_batched_positions, (X, BATCHED), "rotary (half)"),
    (by_roll, (X, CC, SS), "rotary (half)"),
    (every_second, (X, C, S), "rotary (pairs)"),
    (by_neighbours, (X, CC, SS), "rotary (pairs)"),
    (head_after_sizes, (X, C, S), "rotary (half)"),
    (merged_heads, (X.reshape(B, T, H * D), C, S), "rotary (pairs)"),
    (two_rows, (X, C, S), "rotary (half)"),
    (padded, (X, C, S), "rotary (half)"),
    (some, (X, CC, SS), "rotary (half, first 4)"),
    (some_by_parts, (X, C, S), "rotary (half, first 4)"),
    (halves, HALF, "rotary (half)"),
    (packed, (X, jnp.concatenate([S, C], -1)), "rotary (half)"),
    (cached, (X, CC, SS, jnp.stack([jnp.arange(T), jnp.arange(T)[::-1]])), "rotary (half)"),
    (mapped, (X, C, S), "rotary (half)"),
    (widened, (X, CC, SS), "rotary (half)"),
]
WIDE: dict[str, Any] = {"f": np.float64, "V": np.float64, "c": np.complex128}
WAY = Lowering(name="as written", function=pattern, differentiable=True)


def found_in(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Graph, list[Found]]:
    graph = normalise(capture(function, args, {}, fold_constants=True).graph)
    return graph, [one for one in recognise(graph) if one.kernel.name == "rotary"]


@pytest.mark.alike
@pytest.mark.parametrize(("function", "args", "label"), SPELLINGS)
def test_spellings_are_recognised_and_equal_in_double_precision(function: Any, args: Any, label: str) -> None:
    graph, found = found_in(function, args)
    assert [one.label for one in found] == [label]
    new = replaced(graph, [(one, WAY) for one in found])
    with jax.enable_x64(True):
        wide = [np.asarray(x, WIDE.get(x.dtype.kind, x.dtype)) for x in args]
        wide += [np.zeros(t.shape, t.dtype) for t in graph.input_types[len(args) :]]  # folded: read no more
        want, got = (lower_graph(promote_graph(g))(wide)[0] for g in (graph, new))
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("case", "label"),
    list(
        zip(
            ROTARY,
            ["rotary (half)", "rotary (pairs)", "rotary (half, first 8)", "rotary (pairs, first 6)"],
            strict=True,
        )
    ),
)
def test_operators_of_models_are_recognised(case: Case, label: str) -> None:
    model, names = case.model(), list(case.feeds)
    _, found = found_in(lambda *xs: model(**dict(zip(names, xs, strict=True))), tuple(case.feeds.values()))
    assert [one.label for one in found] == [label]


def angled(f: Any, g: Any, slow: Any = SPEEDS, fast: Any = SPEEDS) -> Callable[..., Any]:
    return lambda x, p: halves(x, f(p[:, None] * slow), g(p[:, None] * fast))


def across(x: Any, c: Any, s: Any) -> Any:
    a, b, c, s = x[..., :h], x[..., h:], c[:, None], s[:, None]
    return jnp.stack([first(a, b, c, s), second(a, b, c, s)], -1).reshape(x.shape)


def mixed(x: Any, p: Any) -> Any:
    angles = jnp.concatenate([p[:, None] * SPEEDS, p[:, None] * SPEEDS[::-1]], -1)
    return whole_tables(x, jnp.cos(angles), jnp.sin(angles))


def uneven(x: Any, c: Any, s: Any) -> Any:
    return halves(x, c, s, lambda a, b, c, s: a * c * jnp.bfloat16(1.01) - b * s)


AT = (X, POSITIONS)
DECOYS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (lambda x, c, s: halves(x, c, s, lambda a, b, c, s: a * c + b * s), (X, C, S)),
    (
        lambda x, c, s: halves(x, c, s, lambda *t: t[0] * t[2] + t[1] * t[3], lambda *t: t[1] * t[2] - t[0] * t[3]),
        (X, C, S),
    ),
    (lambda x, c, s: halves(x, c, s, second, first), (X, C, S)),
    (lambda x, c, s: halves(x, c, s, g=lambda a, b, c, s: b * s + a * c), (X, C, S)),
    (lambda x, c, s: halves(x, c, s, g=lambda a, b, c, s: b * c + b * s), (X, C, S)),
    (lambda x, c, s: halves(x, c, s, g=lambda a, b, c, s: b * c * c + a * s), (X, C, S)),
    (lambda x, c, s: pairs(x, c, s, lambda a, b, c, s: a * c + b * s), (X, C, S)),
    (lambda x, c, s: pairs(x, c, s, second, first), (X, C, S)),
    (lambda x, c, s: by_complex(x, lax.complex(c, -s)), (X, C, S)),
    (lambda x, c: by_complex(x, jnp.conj(c)), (X, lax.complex(C, S))),
    (lambda x, p: by_complex(x, lax.complex(jnp.sin(p[:, None] * SPEEDS), jnp.cos(p[:, None] * SPEEDS))), AT),
    (across, (X, C, S)),
    (uneven, HALF),
    (lambda x, c, s: x * c[:, None] - quarter(x) * s[:, None], (X, CC, SS)),
    (lambda x, c, s: x * c[:, None] + jnp.concatenate([-x[..., 3:], x[..., :3]], -1) * s[:, None], (X, CC, SS)),
    (lambda x, c, s: x * c[:, None] + quarter(x + 1) * s[:, None], (X, CC, SS)),
    (angled(jnp.sin, jnp.cos), AT),
    (lambda x: angled(jnp.sin, jnp.cos)(x, jnp.arange(T, dtype=jnp.float32)), (X,)),
    (angled(jnp.cos, jnp.sin, fast=2 * SPEEDS), AT),
    (lambda x: angled(jnp.cos, jnp.sin, fast=2 * SPEEDS)(x, jnp.arange(T, dtype=jnp.float32)), (X,)),
    (mixed, AT),
]


@pytest.mark.parametrize(("function", "args"), DECOYS)
def test_decoys_are_not(function: Any, args: Any) -> None:
    assert found_in(function, args)[1] == []


@pytest.mark.parametrize("number", [1, 2, 16])
def test_derivatives_go_through_it(number: int) -> None:
    function, args, _ = SPELLINGS[number]
    graph, found = found_in(function, args)
    lowered = lower_graph(replaced(graph, [(one, WAY) for one in found]))
    weights = jnp.cos(jnp.arange(X.size, dtype=jnp.float32)).reshape(X.shape)
    want, got = (
        jax.jit(jax.grad(lambda *xs, f=f: (f(*xs) * weights).sum(), (0, 1, 2)))(*args)
        for f in (function, lambda *xs: lowered(xs)[0])
    )
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_the_lowering_for_pairs_gives_the_same_with_its_derivatives() -> None:
    kernel = all_kernels()["rotary"]
    (way,) = kernel.lowerings
    x, c, s = drawn(64, 16, 64), drawn(64, 1, 32), drawn(64, 1, 32)
    _, (found,) = found_in(pairs, (x, c[:, 0], s[:, 0]))
    assert [low.name for low in found.lowerings("cpu", Numerics.REASSOCIATE)] == ["complex"]
    assert found.lowerings("gpu", Numerics.REASSOCIATE) == []
    with jax.enable_x64(True):
        wide = [np.asarray(t, np.float64) for t in (x, c, s)]
        for form, turned in (("half", 0), ("pairs", 32)):
            assert not way.fits("cpu", found.types, {"form": form, "turned": turned})
        cotangent = np.cos(wide[0])

        def both(f: Any) -> Any:
            value, back = jax.vjp(lambda *t: f(*t, form="pairs", turned=0), *wide)
            return value, *back(cotangent)

        for a, b in zip(*(jax.jit(both, static_argnums=0)(f) for f in (way.function, pattern)), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-12)


def test_the_idiom_is_told() -> None:
    report = egraph_opt.optimize(halves, measure=False, verify=False).plan(X, C, S).report
    assert "rotary (half): as written" in str(report)
