# SPDX-License-Identifier: Apache-2.0
"""Nodes know the user's lines and named scopes, whatever is inlined and merged; a program has one text."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from egraph_opt.capture import capture

X = np.ones((3, 3), np.float32)
HERE = Path(__file__).name


def line(of: str) -> int:
    """Number of the line of this file that ends with a mark."""
    return next(
        i for i, text in enumerate(Path(__file__).read_text("utf-8").splitlines(), 1) if text.endswith(f"# {of}")
    )


def lines(graph: Any, op: str) -> set[tuple[str, int, str]]:
    return {(Path(s.file).name, s.line, s.scope) for n in graph if n.op == op for s in n.sources}


@jax.jit
def helper(a: Any) -> Any:
    return jnp.sin(a)  # helper


def test_lines_and_scopes() -> None:
    def f(a: Any) -> Any:
        with jax.named_scope("block"):
            b = jnp.tanh(a)  # tanh
            with jax.named_scope("inner"):
                c = jnp.trace(b)  # trace
        return b * c + helper(a)  # end

    graph = capture(f, (X,)).graph
    assert lines(graph, "tanh") == {(HERE, line("tanh"), "block")}
    assert (HERE, line("trace"), "block/inner") in lines(graph, "einsum")
    assert {(file, n) for file, n, _ in lines(graph, "sin")} == {(HERE, line("helper"))}


def test_functions_of_jax_have_the_line_of_their_call() -> None:
    """JAX keeps one trace of ``jnp.trace`` for all callers; the lines in it are the first caller's."""
    first = capture(lambda a: jnp.trace(a), (X,)).graph  # first
    second = capture(lambda a: jnp.trace(a), (X,)).graph  # second
    assert {n for _, n, _ in lines(first, "einsum")} == {line("first")}
    assert {n for _, n, _ in lines(second, "einsum")} == {line("second")}


def test_merged_nodes_hold_all_lines() -> None:
    def f(a: Any) -> Any:
        b = jnp.exp(a)  # one
        return b + 2.0 * jnp.exp(a)  # two

    assert {n for _, n, _ in lines(capture(f, (X,)).graph, "exp")} == {line("one"), line("two")}


def test_lines_inside_loops() -> None:
    def body(i: Any, s: Any) -> Any:
        return jnp.sin(s) + i  # body

    graph = capture(lambda a: lax.fori_loop(0, 3, body, a), (X,)).graph
    (inner,) = graph.subgraphs()
    assert {n for _, n, _ in lines(inner, "sin")} == {line("body")}


def test_every_source_has_a_traceback() -> None:
    captured = capture(lambda a: jnp.sin(a) @ a, (X,))
    assert {s for n in captured.graph for s in n.sources} <= set(captured.tracebacks)


PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
from jax import lax
from egraph_opt.capture import capture
def f(p, k):
    jax.debug.print("x {}", p["b"][0])
    y = jax.nn.softmax(p["a"] @ p["b"][:, None] + jnp.eye(3)) + jax.random.normal(k, (3, 3))
    return lax.scan(lambda c, r: (c + r, jax.pure_callback(np.sin, r, r)), y[0], y), jnp.linalg.inv(y)
print(capture(f, ({"a": np.ones((3, 3), "f"), "b": np.ones(3, "f")}, jax.random.key(0))).graph)
"""


def test_text_does_not_depend_on_the_hash_seed() -> None:
    texts = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
        )
        texts.add(done.stdout)
    assert len(texts) == 1
    assert "scan" in texts.pop()
