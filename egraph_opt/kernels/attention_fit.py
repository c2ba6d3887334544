# SPDX-License-Identifier: Apache-2.0
"""The numbers of attention, found by trying: scale, cap, what hidden scores become, whether NaN is guarded against.

The scale is read off how the result answers to small queries, which no cap, mask, bias or spelling hides. The rest has
few candidates. What fits is compared with the pattern itself on draws with rows that see no key.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from egraph_opt.ir import Graph
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.types import is_floating
from egraph_opt.kernels.attention import ATTENTION
from egraph_opt.kernels.attention_roles import Roles, arguments, result, roles
from egraph_opt.kernels.dims import Dims, resized
from egraph_opt.kernels.match import LARGEST
from egraph_opt.kernels.record import Static, frozen
from egraph_opt.kernels.region import FAMILIES, Piece
from egraph_opt.kernels.values import Array, Likeness, likeness, value
from egraph_opt.ops.kernel import KERNEL
from egraph_opt.ops.opened import opened

SIZES = {"b": 2, "g": 2, "t": 4, "s": 5, "h": 3, "e": 2}
"""Sizes at which attention is compared."""

STEP = 1e-2
"""Size of the small queries."""

HIDDEN = -1e4
"""What hides a score is at most this."""

TOLERANCE = 1e-5
MOST_MASKS = 3
MOST_CAPS = 40


@dataclass(frozen=True, slots=True)
class Fit:
    """Numbers with which a piece is attention.

    Args:
        scale: of the scores.
        cap: which they stay below, or None.
        fill: what hidden scores become.
        guard: whether rows that see nothing are 0.
        wide: whether the softmax is in single precision at least.
        hiding: masks that are true where a score does not count.
        likeness: how far the values are the same.
    """

    scale: float
    cap: float | None
    fill: float
    guard: bool
    wide: bool
    hiding: frozenset[int]
    likeness: Likeness

    def static(self, bias: bool, mask: bool, ahead: int | None = None, behind: int | None = None) -> Static:
        """The pattern's keywords."""
        return frozen(
            {
                "scale": self.scale,
                "cap": self.cap,
                "fill": self.fill,
                "guard": self.guard,
                "wide": self.wide,
                "ahead": ahead,
                "behind": behind,
                "bias": bias,
                "mask": mask,
            }
        )


def fit(made: Piece, scores: tuple[int, int], values: int, parts: Roles) -> Fit | None:
    """The numbers of a piece; None where none make it attention."""
    kinds = [made.graph.output_types[0], *(made.graph.input_types[leaf] for leaf in (parts.q, parts.k, parts.v))]
    if not all(is_floating(type.dtype) for type in kinds):
        return None
    dims = Dims(made.graph)
    sizes = {c: SIZES[part] for part, group in parts.groups.items() for c in group}
    sizes = {c: n for c, n in sizes.items() if c not in dims.fixed}
    small = resized(made.graph, dims, sizes)
    theirs = roles(small, scores, values)
    if theirs is None or max(math.prod(t.shape) for n in small.nodes for t in n.types) > LARGEST:
        return None
    if len(parts.masks) > MOST_MASKS or theirs.masks != parts.masks:
        return None
    wide = _is_wide(made.graph, parts)
    draws = list(_draws(small, theirs))
    found = [value(small, leaves) for leaves in draws]
    if any(f is None for f in found):
        return None
    for hiding, fill in itertools.product(_subsets(parts.masks), _fills(made, parts)):
        way = replace(theirs, hiding=hiding)
        made_of = _Arguments(small, way)
        scale = _scale(small, way, made_of, draws[0], fill)
        if scale is None:
            continue
        for cap, guard in itertools.product(_caps(made, scale), (False, True)):
            one = Fit(scale, cap, fill, guard, wide, hiding, Likeness.SAME)
            like = _alike(way, one, made_of, draws, found)
            if like and _is_pattern(small, way, one, draws, found):
                return replace(one, likeness=like)
    return None


def _subsets(masks: Sequence[int]) -> Iterator[frozenset[int]]:
    for count in range(len(masks) + 1):
        yield from map(frozenset, itertools.combinations(masks, count))


def _fills(made: Piece, parts: Roles) -> list[float]:
    """What hidden scores may become: very negative numbers of the piece."""
    if not parts.masks:
        return [-math.inf]
    return sorted({c for c in made.scalars() if c <= HIDDEN}, reverse=True)[:4]


def _caps(made: Piece, scale: float) -> list[float | None]:
    """Caps that scores may have: numbers of the piece, as they stand, turned over, or with the scale in them.

    They come before none at all, which a cap that is large enough looks like.
    """
    if sum(FAMILIES.get(node.op) == "exp" for node in made.graph.nodes) < 2:
        return [None]
    numbers = {abs(c) for c in made.scalars() if c and math.isfinite(c) and abs(c) < -HIDDEN}
    tried = {_rounded(c) for n in numbers for c in (n, n / 2, 1 / n, 2 / n, abs(scale) / n, 2 * abs(scale) / n)}
    return [*sorted(tried, reverse=True)[:MOST_CAPS], None]


def _is_wide(graph: Graph, parts: Roles) -> bool:
    own = graph.input_types[parts.q].dtype
    kinds = {node.type.dtype for node in graph.nodes if FAMILIES.get(node.op) == "exp"}
    return own in ("float32", "float64") or own not in kinds


def _draws(graph: Graph, parts: Roles) -> Iterator[list[Array]]:
    """Leaves: plain; with rows that see nothing; large scores; biases that hide."""
    for number in range(4):
        random = np.random.default_rng([11, number])
        leaves: list[Array] = []
        for i, type in enumerate(graph.input_types):
            if type.dtype == "bool":
                leaves.append(_settled(random.integers(0, 2, type.shape) > 0, _keys(parts, i), number))
                continue
            x = random.standard_normal(type.shape)
            if i in parts.biases and number == 3:
                x = np.where(random.integers(0, 3, type.shape) == 0, -1e9, x)
            elif i in (parts.q, parts.k) and number == 2:
                x = 30.0 * x
            leaves.append(x)
        yield leaves


def _keys(parts: Roles, leaf: int) -> int | None:
    """Where the keys stand among the dimensions of a mask."""
    s = parts.groups["s"]
    return parts.leaves[leaf].index(s[0]) if len(s) == 1 and s[0] in parts.leaves[leaf] else None


def _settled(mask: Array, axis: int | None, number: int) -> Array:
    """A mask with both values in each row of keys; in one draw the first two rows have one value only."""
    if axis is None:
        return mask
    rows = np.moveaxis(mask, axis, -1).copy()
    rows[..., 0], rows[..., 1] = True, False
    if number == 1:
        flat = rows.reshape(-1, rows.shape[-1])
        flat[0], flat[1:2] = True, False
    return np.moveaxis(rows, -1, axis)


class _Arguments:
    """The pattern's arguments as arrays, made of leaves."""

    def __init__(self, graph: Graph, parts: Roles) -> None:
        emitter = Emitter()
        inputs = [emitter.input(t) for t in graph.input_types]
        self._graphs = [emitter.build([n]) for n in arguments(emitter, inputs, parts)]

    def __call__(self, leaves: Sequence[Array]) -> list[Array]:
        found = [value(graph, leaves) for graph in self._graphs]
        assert all(f is not None for f in found), "layouts have values in numpy"
        return [f for f in found if f is not None]


def _reference(args: Sequence[Array], parts: Roles, one: Fit) -> Array:
    """Attention of arguments in numpy."""
    q, k, v, *more = args
    scores = one.scale * np.einsum("bgth,bsh->bgts", q, k)
    if one.cap is not None:
        scores = one.cap * np.tanh(scores / one.cap)
    if parts.biases:
        scores = scores + more[0]
    if parts.masks:
        scores = np.where(more[-1], scores, one.fill)
    with np.errstate(all="ignore"):
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares = shares / shares.sum(-1, keepdims=True)
    if one.guard:
        shares = np.where(np.isnan(shares), 0.0, shares)
    return np.asarray(np.einsum("bgts,bse->bgte", shares, v))


def _back(made: Array, parts: Roles) -> Array:
    """The pattern's result as the piece's."""
    order = [c for part in "bgte" for c in parts.groups[part]]
    opened_ = made.reshape([parts.sizes[c] for c in order])
    return np.transpose(opened_, [order.index(c) for c in parts.root])


def _scale(graph: Graph, parts: Roles, made_of: _Arguments, leaves: Sequence[Array], fill: float) -> float | None:
    """Scale of the scores, from the result's slope at queries of zero, extrapolated from three step sizes."""
    slopes = []
    unit = Fit(1.0, None, fill, False, True, parts.hiding, Likeness.SAME)
    for step in (STEP, STEP / 2, STEP / 4):
        ends, wants = [], []
        for sign in (1, -1):
            moved = [sign * step * x if i == parts.q else x for i, x in enumerate(leaves)]
            found = value(graph, moved)
            if found is None:
                return None
            ends.append(found)
            wants.append(_back(_reference(made_of(moved), parts, unit), parts))
        want, have = wants[0] - wants[1], ends[0] - ends[1]
        there = np.isfinite(want) & np.isfinite(have)  # rows that see no key have no slope
        want, have = want[there], have[there]
        if not want.any():
            return None
        slopes.append(float((have * want).sum() / (want * want).sum()))
    rough = [(4 * b - a) / 3 for a, b in itertools.pairwise(slopes)]
    scale = (16 * rough[1] - rough[0]) / 15
    return _rounded(scale) if math.isfinite(scale) and scale != 0 else None


def _rounded(scale: float) -> float:
    """The plainest number close by: a whole one, an inverse root of one, else as it is in single precision."""
    for plain in (round(scale), 1 / math.sqrt(max(1, round(1 / scale**2)))):
        if plain and abs(scale - plain) <= 1e-6 * abs(scale):
            return float(plain)
    return float(np.float32(scale))


def _alike(
    parts: Roles,
    one: Fit,
    made_of: _Arguments,
    draws: Sequence[Sequence[Array]],
    found: Sequence[Array | None],
) -> Likeness:
    least = Likeness.SAME
    for leaves, have in zip(draws, found, strict=True):
        want = _back(_reference(made_of(leaves), parts, one), parts)
        assert have is not None, "values were looked at before"
        least = min(least, likeness(have, want, TOLERANCE))
        if not least:
            break
    return least


def _is_pattern(
    graph: Graph, parts: Roles, one: Fit, draws: Sequence[Sequence[Array]], found: Sequence[Array | None]
) -> bool:
    """Whether the pattern, put in the place of the piece, gives its values."""
    emitter = Emitter()
    inputs = [emitter.input(t) for t in graph.input_types]
    args = arguments(emitter, inputs, parts)
    static = one.static(bool(parts.biases), bool(parts.masks))
    body = ATTENTION.body([emitter.type(n) for n in args], static)
    if body is None:
        return False
    attrs = (("name", ATTENTION.name), ("lowering", ""), ("static", static), ("body", body))
    node = emitter.add(KERNEL, args, attrs, body.output_types)
    whole = opened(emitter.build([result(emitter, node, parts)]))
    for leaves, have in zip(draws, found, strict=True):
        want = value(whole, leaves)
        if want is None or have is None or not likeness(have, want, TOLERANCE):
            return False
    return True
