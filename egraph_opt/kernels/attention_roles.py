# SPDX-License-Identifier: Apache-2.0
"""Which dimension of attention is which, and how a program's tensors become the arguments of the pattern.

``s`` are summed in the second product, ``h`` in the first, ``b`` shared by queries, keys and values, ``g`` and ``t``
those that queries alone have, ``e`` those that values alone have. Any number of dimensions may play a part: they are
merged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from egraph_opt.ir import Graph
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.spec import LETTERS, canonical
from egraph_opt.ir.types import is_floating
from egraph_opt.kernels.dims import Dims

Group = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Roles:
    """The parts that leaves and dimensions play.

    Args:
        q: leaf of the queries.
        k: of the keys.
        v: of the values.
        biases: leaves that are added to scores.
        masks: leaves that tell which scores count.
        hiding: those of the masks that are true where a score does not count.
        leaves: classes of dimensions of each leaf.
        root: classes of the result.
        groups: classes that play each part, by its letter.
        sizes: of the classes.
        shapes: of leaves whose dimensions are taken apart before they are laid out.
        merged: shape of the result, where its dimensions are put together in the end.
        detail: what to say of the layout.
    """

    q: int
    k: int
    v: int
    biases: tuple[int, ...]
    masks: tuple[int, ...]
    hiding: frozenset[int]
    leaves: tuple[Group, ...]
    root: Group
    groups: dict[str, Group]
    sizes: dict[int, int]
    shapes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    merged: tuple[int, ...] | None = None
    detail: str = ""

    def is_plane(self, leaf: int) -> bool:
        """Whether a mask is one matrix of queries and keys."""
        return len(self.leaves[leaf]) == 2 and set(self.leaves[leaf]) == {*self.groups["t"], *self.groups["s"]}

    def turned(self, leaf: int) -> bool:
        """Whether keys come first in such a matrix."""
        return self.leaves[leaf] == (*self.groups["s"], *self.groups["t"])


def roles(graph: Graph, scores: tuple[int, int], values: int) -> Roles | None:
    """The parts of a piece; None where it is no attention.

    Args:
        graph: the piece.
        scores: leaves that the first product reads.
        values: leaf that the second product reads.
    """
    dims = Dims(graph)
    leaves = [dims.of(n) for n in graph.inputs]
    root = dims.of(graph.outputs[0])
    v = leaves[values]
    s = tuple(c for c in v if c not in root)
    pair = [(a, b) for a, b in (scores, scores[::-1]) if set(s) <= set(leaves[b]) and not set(s) & set(leaves[a])]
    if not s or len(pair) != 1 or len({scores[0], scores[1], values}) != 3:
        return None
    (query, key), q, k = pair[0], leaves[pair[0][0]], leaves[pair[0][1]]
    b = tuple(c for c in q if c in k and c in v)
    h = tuple(c for c in k if c in q and c not in b and c not in root)
    e = tuple(c for c in v if c not in s and c not in k and c not in q)
    own = tuple(c for c in q if c not in h and c not in b)
    pairs = ((k, (*b, *s, *h)), (v, (*b, *s, *e)), (root, (*b, *own, *e)))
    if not h or any(sorted(have) != sorted(want) for have, want in pairs):
        return None
    if any(len(set(w)) != len(w) for w in (q, k, v, root)):
        return None
    rest = [i for i in range(len(leaves)) if i not in (query, key, values)]
    kinds = [graph.input_types[i].dtype for i in rest]
    if not all(d == "bool" or is_floating(d) for d in kinds) or any(set(leaves[i]) - {*b, *own, *s} for i in rest):
        return None
    t = _rows(own, [leaves[i] for i in rest])
    return Roles(
        query,
        key,
        values,
        tuple(i for i, d in zip(rest, kinds, strict=True) if d != "bool"),
        tuple(i for i, d in zip(rest, kinds, strict=True) if d == "bool"),
        frozenset(),
        tuple(leaves),
        root,
        {"b": b, "g": tuple(c for c in own if c not in t), "t": t, "s": s, "h": h, "e": e},
        {c: dims.size(c) for word in (*leaves, root) for c in word},
    )


def _rows(own: Group, others: Sequence[Group]) -> Group:
    """Of the dimensions that queries alone have, that of the rows: the one most masks have, else the last."""
    if not own:
        return ()
    return (max(reversed(own), key=lambda c: sum(c in word for word in others)),)


def arguments(emitter: Emitter, leaves: Sequence[int], parts: Roles) -> list[int]:
    """The arguments of the pattern, made of the leaves."""
    leaves = [emitter.reshape(x, parts.shapes.get(i, emitter.type(x).shape)) for i, x in enumerate(leaves)]
    made = [
        _merged(emitter, leaves[leaf], parts, leaf, shape)
        for leaf, shape in ((parts.q, "bgth"), (parts.k, "bsh"), (parts.v, "bse"))
    ]
    for members, op in ((parts.biases, "add"), (parts.masks, "and")):
        planes = [_shown(emitter, leaves[leaf], leaf in parts.hiding) for leaf in members]
        if planes:
            made.append(_joined(emitter, planes, members, parts, op))
    return made


def result(emitter: Emitter, node: int, parts: Roles) -> int:
    """The piece's result, made of the pattern's."""
    order = tuple(c for part in "bgte" for c in parts.groups[part])
    opened = emitter.reshape(node, tuple(parts.sizes[c] for c in order))
    made = _placed(emitter, opened, order, parts.root, parts)
    return made if parts.merged is None else emitter.reshape(made, parts.merged)


def _shown(emitter: Emitter, mask: int, hides: bool) -> int:
    return emitter.elementwise("not", [mask], (), emitter.type(mask)) if hides else mask


def _merged(emitter: Emitter, x: int, parts: Roles, leaf: int, shape: str) -> int:
    order = tuple(c for part in shape for c in parts.groups[part])
    return _reshaped(emitter, _placed(emitter, x, parts.leaves[leaf], order, parts), parts, shape)


def _reshaped(emitter: Emitter, x: int, parts: Roles, shape: str) -> int:
    sizes = [1] * len(shape)
    for i, part in enumerate(shape):
        for c in parts.groups[part]:
            sizes[i] *= parts.sizes[c]
    return emitter.reshape(x, tuple(sizes))


def _joined(emitter: Emitter, planes: Sequence[int], members: Sequence[int], parts: Roles, op: str) -> int:
    """Biases added up, or masks that must all hold, over batches, groups, queries and keys; 1 where none depends."""
    held = {c for leaf in members for c in parts.leaves[leaf]}
    there = [part for part in "bgts" if held.intersection(parts.groups[part])]
    order = tuple(c for part in there for c in parts.groups[part])
    total = -1
    for plane, leaf in zip(planes, members, strict=True):
        one = _placed(emitter, plane, parts.leaves[leaf], order, parts)
        if total < 0:
            total = one
        elif op == "add":
            total = emitter.sum_of([total, one])
        else:
            total = emitter.elementwise(op, [total, one], (), emitter.type(one))
    flat = [1, 1, 1, 1]
    for c, i in ((c, "bgts".index(part)) for part in there for c in parts.groups[part]):
        flat[i] *= parts.sizes[c]
    return emitter.reshape(total, tuple(flat))


def _placed(emitter: Emitter, x: int, have: Group, want: Group, parts: Roles) -> int:
    """A tensor with its dimensions in another order, repeated along those that it lacks."""
    letters = dict(zip(dict.fromkeys((*have, *want)), LETTERS, strict=False))
    sizes = {letters[c]: parts.sizes[c] for c in letters}
    spec = canonical(["".join(letters[c] for c in have)], "".join(letters[c] for c in want), sizes)
    return emitter.einsum(spec, [x])
