# SPDX-License-Identifier: Apache-2.0
"""Two terms evaluated on random values of what they share: for laws that are no polynomial identities."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import jax
import numpy as np

from egraph_opt.ir import Graph
from egraph_opt.ir.types import TensorType
from egraph_opt.lower import lower_graph
from egraph_opt.verify import sample_inputs

Row = tuple[str, str, tuple[int, ...], tuple[str, ...]]
TRIALS = 3
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2, "complex64": 1e-4}


def difference(rows: Sequence[Row], left: int, right: int, shared: Collection[int]) -> str:
    """Why two terms are not equal, "" where they are on random values.

    Args:
        rows: terms as operation, attributes, operands, types; operands first.
        left: one term.
        right: the other one.
        shared: terms whose values are drawn.
    """
    try:
        graph = _graph(rows, left, right, shared)
    except ValueError as error:
        return f"cannot be evaluated: {error}"
    run = lower_graph(graph)
    for seed in range(TRIALS):
        values = jax.device_get(run(sample_inputs(graph, seed)))
        for a, b in zip(values[: len(values) // 2], values[len(values) // 2 :], strict=True):
            if a.shape != b.shape or a.dtype != b.dtype or not _close(np.asarray(a), np.asarray(b)):
                return "the two sides differ on random values"
    return ""


def _close(a: Any, b: Any) -> bool:
    if a.dtype.kind not in "fcV" or not a.size:
        return bool(np.array_equal(a, b))
    x, y = (v.astype(np.complex128 if v.dtype.kind == "c" else np.float64) for v in (a, b))
    finite = np.abs(np.concatenate([x.ravel(), y.ravel()]))
    finite = finite[np.isfinite(finite)]
    bound = TOLERANCE.get(str(a.dtype), 1e-9)
    size = float(finite.max()) if finite.size else 0.0
    return bool(np.allclose(x, y, rtol=bound, atol=bound * size, equal_nan=True))


def _graph(rows: Sequence[Row], left: int, right: int, shared: Collection[int]) -> Graph:
    """Graph that returns both terms and whose inputs are the shared ones."""
    place: dict[int, int] = {}
    lines: list[str] = []
    inputs: list[str] = []
    stack = [right, left]
    needed: set[int] = set()
    while stack:
        t = stack.pop()
        if t not in needed:
            needed.add(t)
            stack += [] if t in shared else rows[t][2]
    for t in sorted(needed & set(shared)):
        place[t] = len(place)
        inputs.append(f"%{place[t]}: {_type(rows[t][3][0])}")
    for t in sorted(needed - set(shared)):
        op, attrs, args, types = rows[t]
        place[t] = len(place)
        call = f"{op}[{_attrs(op, attrs)}]" if attrs else op
        kinds = " * ".join(map(_type, types))
        lines.append(f"  %{place[t]}: {kinds} = {call}({', '.join(f'%{place[a]}' for a in args)})")
    head = f"graph @main({', '.join(inputs)}) {{"
    return Graph.parse("\n".join([head, *lines, f"  return (%{place[left]}, %{place[right]})", "}"]))


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
