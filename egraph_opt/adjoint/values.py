# SPDX-License-Identifier: Apache-2.0
"""Values of nodes in a finite field, at small sizes: nodes that agree are the same polynomial in the same leaves.

Sums and products of random values modulo a prime agree by accident once in two thousand million. Three devices make
that hold for tensors of the true sizes. A sum over an index is weighted at random, which no law of sums and products
can tell, so that the size of a dimension never meets a factor by accident. Every value is computed once more with the
absolute values of all factors: where that agrees too, no term cancels, so what is finite stays finite. And once more
with other random values: up to a factor, any two numbers agree, and one quotient in sixty is a fraction that looks
like one.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from egraph_opt.ir import Builder, Graph, Node
from egraph_opt.ir.attrs import Array
from egraph_opt.ir.spec import Scale, Spec
from egraph_opt.ops import Trait, get_op

Residues = npt.NDArray[np.uint64]
"""Plain value, absolute value and another plain one along the first axis, then the dimensions of the tensor, shrunk."""

PRIME = (1 << 31) - 1
_P = np.uint64(PRIME)

CHANNELS = 3

SMALL = 3
"""Size that dimensions shrink to: some matrices of order two commute by accident."""

KEPT = 8
"""Dimensions that are cut, joined or padded keep their size up to this one; beyond it the operation is a leaf."""

MOST = 1 << 13
"""Elements of a shrunken product; a larger one is a leaf."""


class Values:
    """Values of the nodes of a builder, computed when they are asked for.

    Args:
        builder: holds the nodes.
        graph: the program that is rewritten: which sizes its slices touch.
    """

    def __init__(self, builder: Builder, graph: Graph) -> None:
        self._builder = builder
        self._known: dict[int, Residues] = {}
        self._kept = {1}
        for node in graph.nodes:
            if node.op in ("slice", "concatenate", "pad"):
                for t in (*node.types, *(graph.nodes[q].types[0] for q in node.operands)):
                    self._kept.update(n for n in t.shape if n <= KEPT)

    def of(self, number: int) -> Residues:
        """Value of a node."""
        stack = [number]
        while stack:
            top = stack[-1]
            node = self._builder.nodes[top]
            missing = [q for q in node.operands if q not in self._known]
            if missing:
                stack += missing
                continue
            stack.pop()
            if top not in self._known:
                self._known[top] = self._compute(top, node, [self._known[q] for q in node.operands])
        return self._known[number]

    def _small(self, n: int) -> int:
        return n if n in self._kept else min(n, SMALL)

    def _compute(self, number: int, node: Node, operands: Sequence[Residues]) -> Residues:
        known = _EVALUATED.get(node.op)
        found = known(self, node, operands) if known is not None else None
        if found is not None:
            return found
        kind = (node.op, node.attrs, tuple(t.dtype for t in node.types))
        if node.operands and len(node.types) == 1 and Trait.ELEMENTWISE in get_op(node.op).traits:
            return _hashed(_seed(kind), operands)
        # Two calls with side effects are never known to return the same.
        own = str(number) if dict(node.attrs).get("effect") is not None else ""
        key = b"".join([_seed(kind).to_bytes(8, "little"), own.encode(), *(x.tobytes() for x in operands)])
        return _drawn(key, tuple(map(self._small, node.types[0].shape)))

    def _einsum(self, node: Node, operands: Sequence[Residues]) -> Residues | None:
        spec = Spec.parse(node.attr("spec"))
        if any(len(set(word)) < len(word) for word in (*spec.inputs, spec.output)):
            return None  # the weight of a written diagonal would be infinite where it is read
        small = {c: self._small(n) for c, n in spec.sizes.items()}
        if np.prod([1, *small.values()]) > MOST:
            return None
        letters = spec.output + spec.summed
        weights = {c: self._weights(spec.sizes[c]) for c in spec.summed}
        result: Any = None
        for word, x in zip(spec.inputs, operands, strict=True):
            for c in [c for c in word if c in weights]:
                x = x * weights.pop(c).reshape(CHANNELS, *[-1 if d == c else 1 for d in word]) % _P
            order = [0, *(1 + word.index(c) for c in letters if c in word)]
            x = x.transpose(order).reshape(CHANNELS, *(small[c] if c in word else 1 for c in letters))
            result = x if result is None else result * x % _P
        if spec.summed:
            result = result.sum(tuple(range(1 + len(spec.output), 1 + len(letters)))) % _P
        if spec.scale != 1:
            result = result * _residue(spec.scale).reshape(CHANNELS, *[1] * len(spec.output)) % _P
        return np.ascontiguousarray(np.broadcast_to(result, (CHANNELS, *(small[c] for c in spec.output))))

    def _weights(self, n: int) -> Residues:
        return np.ones((CHANNELS, n), np.uint64) if n in self._kept else _weights(n, self._small(n))

    def _add(self, node: Node, operands: Sequence[Residues]) -> Residues:
        return functools.reduce(np.add, operands) % _P

    def _constant(self, node: Node, operands: Sequence[Residues]) -> Residues | None:
        value = node.attr("value")
        flat = [value]
        if isinstance(value, Array):
            if not self._kept.issuperset(node.type.shape) or value.value.dtype.kind not in "fiu":
                return None
            flat = value.value.astype(np.float64).ravel().tolist()
        if not all(type(v) in (int, float) and abs(v) < 1e30 for v in flat):
            return None
        return np.ascontiguousarray(np.array([_residue(v) for v in flat]).T.reshape(CHANNELS, *node.type.shape))

    def _reshape(self, node: Node, operands: Sequence[Residues]) -> Residues | None:
        old, new = self._builder.nodes[node.operands[0]].type.shape, node.type.shape
        plain = [n for n in old if n != 1] == [n for n in new if n != 1]
        return operands[0].reshape(CHANNELS, *map(self._small, new)) if plain else None

    def _slice(self, node: Node, operands: Sequence[Residues]) -> Residues | None:
        shape, (starts, limits, strides) = self._builder.nodes[node.operands[0]].type.shape, slice_bounds(node)
        cut = [slice(None)]
        for n, a, b, s in zip(shape, starts, limits, strides, strict=True):
            whole = (a, b, s) == (0, n, 1)
            if not whole and n not in self._kept:
                return None
            cut.append(slice(None) if whole else slice(a, b, s))
        return np.ascontiguousarray(operands[0][tuple(cut)])


_EVALUATED: dict[str, Callable[[Values, Node, Sequence[Residues]], Residues | None]] = {
    "einsum": Values._einsum,
    "add": Values._add,
    "constant": Values._constant,
    "reshape": Values._reshape,
    "slice": Values._slice,
}
"""Operations that are computed; None where one of them is a leaf after all."""


def slice_bounds(node: Node) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """Starts, limits and strides of a slice."""
    starts = node.attr("start_indices")
    return starts, node.attr("limit_indices"), node.attr("strides") or (1,) * len(starts)


@functools.lru_cache(4096)
def _residue(value: Scale) -> Residues:
    """A number, its absolute value and itself again in the field."""
    found = []
    for v in (value, abs(value), value):
        above, below = v.as_integer_ratio()
        found.append(above % PRIME * pow(below, -1, PRIME) % PRIME)
    return np.array(found, np.uint64)


@functools.lru_cache(256)
def _weights(n: int, small: int) -> Residues:
    return _drawn(f"weights of {n}".encode(), (small,))


def _drawn(key: bytes, shape: tuple[int, ...]) -> Residues:
    """Random values, the same for the same key."""
    seed = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")
    x, other = np.random.Generator(np.random.PCG64(seed)).integers(1, PRIME, (2, *shape), np.uint64)
    return np.stack([x, x, other])


@functools.lru_cache(4096)
def _seed(kind: Any) -> int:
    return int.from_bytes(hashlib.blake2b(repr(kind).encode(), digest_size=8).digest(), "little")


def _hashed(seed: int, operands: Sequence[Residues]) -> Residues:
    """A random function of each element."""
    h = np.full(1, seed, np.uint64)
    for x in operands:
        for channel in x:
            h = (h ^ channel) * np.uint64(0x9E3779B97F4A7C15)
            h = h ^ (h >> np.uint64(29))
    h = h * np.uint64(0xBF58476D1CE4E5B9)
    shape = np.broadcast_shapes(*(x.shape[1:] for x in operands))
    x, other = ((k ^ (k >> np.uint64(32))).reshape(shape) % _P for k in (h, h * np.uint64(0x94D049BB133111EB)))
    return np.stack([x, x, other])
