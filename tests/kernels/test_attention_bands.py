# SPDX-License-Identifier: Apache-2.0
"""Attention in a window and with a cap: the lowerings against the pattern, where they may be used, what they save."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import egraph_opt
from egraph_opt._compat import x64_enabled
from egraph_opt.capture import capture
from egraph_opt.ir import TensorType
from egraph_opt.ir.numerics import Numerics
from egraph_opt.kernels import recognise, replaced
from egraph_opt.kernels.attention import ATTENTION
from egraph_opt.kernels.attention_pattern import SAMPLE, pattern
from egraph_opt.kernels.attention_ways import band_of, banded, chunked, triangle
from egraph_opt.lower import lower_graph
from egraph_opt.normalise import normalise

WINDOW = SAMPLE | {"ahead": 0, "behind": 20}
CASES: dict[str, tuple[Any, dict[str, Any], int, int]] = {
    "banded": (banded, WINDOW, 133, 150),
    "banded, capped, finite fill": (banded, WINDOW | {"cap": 2.0, "fill": -1e9}, 160, 160),
    "banded, around": (banded, WINDOW | {"ahead": 7, "behind": 9}, 133, 133),
    "banded, one key": (banded, WINDOW | {"behind": 0}, 130, 130),
    "banded, last queries": (banded, WINDOW | {"ahead": 70, "behind": -40}, 133, 210),
    "banded, bias": (banded, WINDOW | {"bias": True}, 133, 150),
    "banded, mask": (banded, WINDOW | {"mask": True, "guard": True}, 133, 150),
    "triangle": (triangle, WINDOW, 133, 150),
    "triangle, around, capped": (triangle, WINDOW | {"ahead": 30, "behind": 9, "cap": 2.0}, 133, 133),
    "triangle, keys ahead, bias": (triangle, WINDOW | {"ahead": None, "behind": 2, "bias": True}, 133, 150),
    "chunked, capped, mask": (chunked, WINDOW | {"cap": 2.0, "mask": True}, 133, 150),
}


def operands(static: dict[str, Any], count: int, keys: int, rows: int) -> list[Any]:
    """In float64; each row of a mask has a key in any window that is not a single one."""
    random = np.random.default_rng(0)
    args = [jnp.asarray(random.standard_normal(x)) for x in ((2, 2, count, 4), (2, keys, 4), (2, keys, 3))]
    if static["bias"]:
        args.append(jnp.asarray(random.standard_normal((1, 2, rows, keys))))
    if static["mask"]:
        args.append(jnp.asarray((np.arange(keys) % 3 != 1) & (random.random((2, 1, rows, keys)) > 0.1)))
    return args


FAST = {"banded, around", "banded, last queries", "banded, mask"}


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_lowerings_are_the_pattern_and_so_are_their_derivatives(name: str, monkeypatch: Any) -> None:
    lowering, static, count, keys = CASES[name]
    monkeypatch.setattr("egraph_opt.kernels.attention_ways.BLOCK_BYTES", 2 * 32 * 64 * 8 * 3)
    with x64_enabled():
        args = operands(static, count, keys, 1 if lowering is banded else count)
        floats = tuple(range(4 if static["bias"] else 3))
        weights = jnp.cos(jnp.arange(2 * 2 * count * 3.0)).reshape(2, 2, count, 3)

        def both(function: Any) -> Any:
            made = functools.partial(function, **static)
            return lambda *xs: (made(*xs), jax.grad(lambda *ys: (made(*ys) * weights).sum(), floats)(*xs))

        have, want = (jax.jit(both(f))(*args) for f in (lowering, pattern))
        assert np.isfinite(want[0]).all()
        np.testing.assert_allclose(have[0], want[0], rtol=1e-9, atol=1e-12)
        for a, b in zip(have[1], want[1], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-11)


def test_rows_of_a_mask_without_keys_are_nan_or_zero_as_in_the_pattern() -> None:
    random = np.random.default_rng(1)
    args = [jnp.asarray(random.standard_normal(x), jnp.float32) for x in ((1, 1, 128, 4), (1, 128, 4), (1, 128, 4))]
    mask = jnp.asarray(np.arange(128) > 40)[None, None, None]
    for guard, lowering in ((False, triangle), (True, banded)):
        static = WINDOW | {"mask": True, "guard": guard}
        want, have = (jax.jit(functools.partial(f, **static))(*args, mask) for f in (pattern, lowering))
        assert (want[0, 0, 0] == 0).all() if guard else jnp.isnan(want[0, 0, 0]).all()
        np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-5)


def _types(count: int, keys: int, *more: tuple[int, ...]) -> list[TensorType]:
    shapes = ((2, 2, count, 64), (2, keys, 64), (2, keys, 64), *more)
    return [TensorType(shape, "float32") for shape in shapes]


def _ways(types: list[TensorType], **static: Any) -> list[str]:
    return [low.name for low in ATTENTION.lowerings if low.fits("cpu", types, SAMPLE | static)]


def test_keys_outside_of_a_band_are_left_out_only_where_they_have_no_share() -> None:
    square = _types(512, 512)
    assert _ways(square, ahead=0, behind=63) == ["banded", "triangle", "chunked"]
    assert _ways(square, ahead=0, behind=300) == ["triangle", "chunked"]  # a window as wide as half of the keys
    assert _ways(square, behind=63) == ["triangle", "chunked"]
    assert _ways(square, ahead=-1, behind=63) == ["chunked"]  # the first row sees none
    assert _ways(square, ahead=30, behind=-31) == ["chunked"]  # no row sees any
    assert _ways(square, ahead=30, behind=-20) == ["chunked"]  # the last ones see none
    assert _ways(_types(512, 300), ahead=0, behind=63) == ["chunked"]
    assert _ways(square, ahead=0, behind=63, fill=-1e4) == ["chunked"]
    # Where all keys of a row are hidden by finite numbers, the mean of all is a matter of the others too.
    for kind in ("bias", "mask"):
        more = _types(512, 512, (2, 1, 1, 512))
        assert _ways(more, ahead=0, behind=63, fill=-1e9, **{kind: True}) == ["chunked"]
        assert _ways(more, ahead=0, behind=63, **{kind: True}) == ["banded", "triangle", "chunked"]
        assert _ways(_types(512, 512, (1, 1, 512, 512)), ahead=0, behind=63, **{kind: True}) == ["triangle", "chunked"]


def gemma(q: Any, k: Any, v: Any) -> Any:
    """Grouped queries, capped scores, a window of 128 keys."""
    count = q.shape[1]
    k, v = (jnp.repeat(x, 2, axis=2) for x in (k, v))
    s = jnp.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(q.shape[-1])
    s = 50.0 * jnp.tanh(s / 50.0)
    rows, columns = jnp.arange(count)[:, None], jnp.arange(count)[None, :]
    s = jnp.where((columns <= rows) & (rows - columns < 128), s, jnp.finfo(s.dtype).min)
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(s, -1), v)


def test_a_window_holds_and_computes_no_scores_outside_of_it() -> None:
    random = np.random.default_rng(0)
    args = [jnp.asarray(random.standard_normal(x), jnp.float32) for x in ((1, 1024, 4, 32), *[(1, 1024, 2, 32)] * 2)]
    graph = normalise(capture(gemma, args, {}).graph)
    (found,) = [one for one in recognise(graph) if one.kernel is ATTENTION]
    assert found.label == "attention (causal, window 128, cap 50, GQA 4:2)"
    lowering = found.lowerings("cpu", Numerics.REASSOCIATE)[0]
    assert lowering.name == "banded"
    forms = [jax.jit(lower_graph(g)).lower(args).compile() for g in (graph, replaced(graph, [(found, lowering)]))]
    want, have = (form(args)[0] for form in forms)
    np.testing.assert_allclose(have, want, rtol=2e-4, atol=2e-5)
    naive, banded_ = (form.memory_analysis().temp_size_in_bytes for form in forms)
    assert 3 * banded_ < naive
    (block, width), blocks = band_of(dict(found.static)), 1024 // 64
    assert blocks * block * width < 0.2 * 1024 * 1024


@pytest.mark.slow
def test_a_window_is_run_by_its_band() -> None:
    random = np.random.default_rng(0)
    args = [jnp.asarray(random.standard_normal(x), jnp.float32) for x in ((1, 1024, 4, 32), *[(1, 1024, 2, 32)] * 2)]
    for objective in ("memory", "time"):
        run = egraph_opt.optimize(gemma, objective=objective, measure=False)
        result = run.plan(*args)
        (said,) = [text for text in result.report.idioms if "causal, window 128, cap 50, GQA 4:2" in text]
        assert said.endswith(("run by banded", "run by triangle"))
        np.testing.assert_allclose(result(*args), gemma(*args), rtol=2e-4, atol=2e-5)
        have, want = (jax.grad(lambda q, f=f: (f(q, *args[1:]) ** 2).sum())(args[0]) for f in (run, gemma))
        np.testing.assert_allclose(have, want, rtol=1e-3, atol=1e-4)
