# SPDX-License-Identifier: Apache-2.0
"""Two terms given as rows of text, evaluated by JAX on random values of what they hold: are they equal there?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from egraph_opt._compat import x64_enabled
from egraph_opt.errors import GraphError
from egraph_opt.ir import Graph
from egraph_opt.ir.types import TensorType
from egraph_opt.lower import lower_graph
from egraph_opt.verify.inputs import sample_inputs
from egraph_opt.verify.promote import promote_graph

Row = Sequence[Any]
TRIALS = 3
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2, "complex64": 1e-4}
WIDE_TOLERANCE = 1e-6
"""In double precision, where constants may still be rounded to single."""


def difference(rows: Sequence[Row], sides: tuple[int, int], given: Collection[int]) -> str:
    """Why two terms are not equal, "" where they are on random values.

    Args:
        rows: terms as operation, text of attributes, operands, texts of types; operands first.
        sides: the two terms.
        given: terms whose values are drawn, beside the inputs.
    """
    try:
        graph = _graph(rows, sides, given)
    except ValueError as error:
        return f"cannot be evaluated: {error}"
    return _difference(graph)


@lru_cache(maxsize=4096)
def _difference(graph: Graph) -> str:
    """The same for a Graph of two results; layers of a network ask the same again and again."""
    run = lower_graph(graph)
    if not all(_agree(run(sample_inputs(graph, seed)), TOLERANCE, 1e-9) for seed in range(TRIALS)):
        return "the two sides differ on random values"
    with x64_enabled():
        wide = promote_graph(graph)
        if not _agree(lower_graph(wide)(sample_inputs(wide)), {}, WIDE_TOLERANCE):
            return "the two sides differ on random values in double precision"
    return ""


def _agree(values: Sequence[Any], tolerance: dict[str, float], least: float) -> bool:
    x, y = jax.device_get(list(values))
    a, b = np.asarray(x), np.asarray(y)
    return a.shape == b.shape and a.dtype == b.dtype and _close(a, b, tolerance.get(str(a.dtype), least))


def _close(a: Any, b: Any, bound: float) -> bool:
    if a.dtype.kind not in "fcV" or not a.size:
        return bool(np.array_equal(a, b))
    x, y = (v.astype(np.complex128 if v.dtype.kind == "c" else np.float64) for v in (a, b))
    finite = np.abs(np.concatenate([x.ravel(), y.ravel()]))
    finite = finite[np.isfinite(finite)]
    size = float(finite.max()) if finite.size else 0.0
    return bool(np.allclose(x, y, rtol=bound, atol=bound * size, equal_nan=True))


def _graph(rows: Sequence[Row], sides: tuple[int, int], given: Collection[int]) -> Graph:
    """Graph that returns both terms and whose inputs are the given ones."""
    needed: set[int] = set()
    stack = [*sides]
    while stack:
        t = stack.pop()
        if t not in needed:
            needed.add(t)
            stack += () if t in given else rows[t][2]
    leaves = sorted(t for t in needed if t in given or rows[t][0] == "input")
    inner = sorted(needed.difference(leaves))
    if any(len(rows[t][3]) != 1 for t in leaves):
        raise GraphError("a value with several results is given")
    place = {t: n for n, t in enumerate([*leaves, *inner])}
    inputs = ", ".join(f"%{place[t]}: {_type(rows[t][3][0])}" for t in leaves)
    lines = [f"graph @main({inputs}) {{"]
    for t in inner:
        op, attrs, args, types = rows[t]
        call = f"{op}[{_attrs(op, attrs)}]" if attrs else op
        lines.append(
            f"  %{place[t]}: {' * '.join(map(_type, types))} = {call}({', '.join(f'%{place[a]}' for a in args)})"
        )
    return Graph.parse("\n".join([*lines, f"  return ({', '.join(f'%{place[t]}' for t in sides)})", "}"]))


def _type(text: str) -> str:
    dtype, _, dims = text.partition("[")
    return str(TensorType(tuple(map(int, filter(None, dims[:-1].split(",")))), dtype))


def _attrs(op: str, attrs: str) -> str:
    if op == "einsum":
        return f"spec={attrs!r}"
    if op == "reshape":
        return f"shape=({attrs},)" if attrs != "scalar" else "shape=()"
    if op == "constant" and "=" not in attrs:
        return f"value={attrs.partition(' ')[2]}"
    return attrs
