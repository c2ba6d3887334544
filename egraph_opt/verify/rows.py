# SPDX-License-Identifier: Apache-2.0
"""Two terms given as rows of text, evaluated by JAX on random values of what they hold: are they equal there?"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from itertools import count
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
Body = tuple[Sequence[Row], Sequence[int]]
TRIALS = 3
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2, "complex64": 1e-4}
LEAST = 0.25
"""Share of a value that must be finite for positive given terms, where others are dropped."""
LOOPED = 100.0
"""Rounding may grow so many times over the trips of a loop; in double precision it may not."""
WIDE_TOLERANCE = 1e-6
"""In double precision, where constants may still be rounded to single."""


def difference(
    rows: Sequence[Row],
    sides: tuple[int, int],
    given: Collection[int],
    bodies: Mapping[str, Body] | None = None,
    notes: Collection[str] = (),
) -> str:
    """Why two terms are not equal, "" where they are on random values.

    Args:
        rows: terms as operation, text of attributes, operands, texts of types; operands first.
        sides: the two terms.
        given: terms whose values are drawn, beside the inputs.
        bodies: of control flow, by the name that attributes give between braces: rows, and which of them are results.
        notes: "finite" in it: the terms are compared where the first one is finite.
    """
    try:
        graph = _graph(rows, sides, given, bodies or {})
    except ValueError as error:
        return f"cannot be evaluated: {error}"
    return _difference(graph, "finite" in notes)


@lru_cache(maxsize=4096)
def _difference(graph: Graph, loose: bool = False) -> str:
    """The same for a Graph of two results; layers of a network ask the same again and again."""
    loops = any(node.op in ("scan", "while", "cond") for node in graph.nodes)
    compiled = jax.jit if loops else _as_it_is  # what has no loops is run faster one operation at a time
    run = compiled(lower_graph(graph))
    growth = LOOPED if loops else 1.0
    own = {dtype: growth * bound for dtype, bound in TOLERANCE.items()}
    draws = [(seed, kind) for seed in range(TRIALS) for kind in (("normal", "positive") if loose else ("normal",))]
    least = {"normal": 0.0, "positive": LEAST} if loose else {}
    if not all(_agree(run(sample_inputs(graph, *draw)), own, 1e-9, least.get(draw[1])) for draw in draws):
        return "the two sides differ on random values"
    with x64_enabled():
        wide = promote_graph(graph)
        inputs = sample_inputs(wide, kind="positive" if loose else "normal")
        if not _agree(compiled(lower_graph(wide))(inputs), {}, WIDE_TOLERANCE, LEAST if loose else None):
            return "the two sides differ on random values in double precision"
    return ""


def _as_it_is(function: Any) -> Any:
    return function


def _agree(values: Sequence[Any], tolerance: dict[str, float], bound: float, least: float | None) -> bool:
    """Whether two values are equal; with ``least`` where the first one is finite, which that share of it must be."""
    x, y = jax.device_get(list(values))
    a, b = np.asarray(x), np.asarray(y)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if least is not None and a.dtype.kind in "fcV":
        finite = np.isfinite(a)
        if finite.sum() < least * finite.size:
            return False
        a, b = a[finite], b[finite]
    return _close(a, b, tolerance.get(str(a.dtype), bound))


def _close(a: Any, b: Any, bound: float) -> bool:
    if a.dtype.kind not in "fcV" or not a.size:
        return bool(np.array_equal(a, b))
    x, y = (v.astype(np.complex128 if v.dtype.kind == "c" else np.float64) for v in (a, b))
    finite = np.abs(np.concatenate([x.ravel(), y.ravel()]))
    finite = finite[np.isfinite(finite)]
    size = float(finite.max()) if finite.size else 0.0
    return bool(np.allclose(x, y, rtol=bound, atol=bound * size, equal_nan=True))


def _graph(rows: Sequence[Row], sides: tuple[int, int], given: Collection[int], bodies: Mapping[str, Body]) -> Graph:
    """Graph that returns both terms and whose inputs are the given ones."""
    needed: set[int] = set()
    stack = [*sides]
    while stack:
        t = stack.pop()
        if t not in needed:
            needed.add(t)
            stack += () if t in given else rows[t][2]
    leaves = sorted(t for t in needed if t in given or rows[t][0] == "input")
    if any(len(rows[t][3]) != 1 for t in leaves):
        raise GraphError("a value with several results is given")
    if any(rows[t][0] != "input" for t in leaves) and any(rows[t][0] == "while" for t in needed.difference(leaves)):
        raise GraphError("a loop that may not end on random values")
    names: dict[str, str] = {}
    inner = sorted(needed.difference(leaves))
    texts = [_text("main", rows, [rows[t][3][0] for t in leaves], dict(zip(leaves, count())), inner, sides, names)]
    while len(texts) <= len(names):  # bodies may hold others
        told = [*names][len(texts) - 1]
        kinds, _, key = told.partition(": ")
        if key not in bodies:
            raise GraphError("a body is not told")
        body, ends = bodies[key]
        inputs = {n: _index(row[1]) for n, row in enumerate(body) if row[0] == "input"}
        rest = [n for n in range(len(body)) if n not in inputs]
        texts.append(_text(names[told], body, [k for k in kinds.split(", ") if k], inputs, rest, ends, names))
    return Graph.parse("\n".join(texts))


def _text(
    name: str,
    rows: Sequence[Row],
    kinds: Sequence[str],
    leaves: Mapping[int, int],
    inner: Sequence[int],
    ends: Sequence[int],
    names: dict[str, str],
) -> str:
    """Text of a Graph of inputs of some kinds, which ``leaves`` stand for; ``names`` takes the bodies in it."""
    place = dict(leaves)
    inputs = ", ".join(f"%{n}: {_type(kind)}" for n, kind in enumerate(kinds))
    lines = [f"graph @{name}({inputs}) {{"]
    # What the program states of a value holds where that is drawn, too.
    stated = [t for t, row in enumerate(rows) if row[0] == "assume" and row[2][0] in place]
    for t in (*stated, *(t for t in inner if t not in stated)):
        op, attrs, args, types = rows[t]
        call = f"{op}[{_attrs(op, attrs, names)}]" if attrs else op
        number = len(lines) - 1 + len(kinds)
        lines.append(
            f"  %{number}: {' * '.join(map(_type, types))} = {call}({', '.join(f'%{place[a]}' for a in args)})"
        )
        place[t] = number
        if t in stated:
            place[args[0]] = number
    return "\n".join([*lines, f"  return ({', '.join(f'%{place[t]}' for t in ends)})", "}"])


def _index(attrs: str) -> int:
    return int(attrs.removeprefix("index="))


def _type(text: str) -> str:
    dtype, _, dims = text.partition("[")
    return str(TensorType(tuple(map(int, filter(None, dims[:-1].split(",")))), dtype))


def _attrs(op: str, attrs: str, names: dict[str, str]) -> str:
    if op == "einsum":
        return f"spec={attrs!r}"
    if op == "reshape":
        return f"shape=({attrs},)" if attrs != "scalar" else "shape=()"
    if op == "constant" and "=" not in attrs:
        return f"value={attrs.partition(' ')[2]}"
    return re.sub(r"\{([^}]*)\}", lambda found: names.setdefault(found[1], f"g{len(names)}"), attrs)
