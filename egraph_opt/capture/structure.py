# SPDX-License-Identifier: Apache-2.0
"""Structure in known values: uniform arrays, identity matrices, repeated rows, small tables.

What is found here holds for every element, so each replacement is exact. A large value without structure keeps its
symbolic form.
"""

from __future__ import annotations

import numpy as np

from egraph_opt.capture.fold import Folder, Value
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.spec import LETTERS, canonical
from egraph_opt.ir.types import is_integer, is_numeric

SMALL_BYTES = 4096
TABLE_BYTES = 1 << 20
_LEAVES = frozenset({"constant", "iota"})


def structured(folder: Folder, x: int) -> int:
    """The structured form of an input-free node, or the node itself."""
    emitter = folder.emitter
    node = emitter.nodes[x]
    if node.op in _LEAVES or len(node.types) != 1 or (emitter.uniform_scalar(x) is not None and node.type.shape):
        return x
    if node.op == "einsum" and emitter.nodes[node.operands[0]].op in _LEAVES and len(node.operands) == 1:
        return x
    value = folder.value(x)
    if value is None:
        return x
    scalar = uniform_value(value)
    if scalar is not None:
        return emitter.uniform(scalar, node.type, emitter.sources(x))
    numerics = emitter.numerics
    if is_numeric(node.type.dtype) and (is_integer(node.type.dtype) or numerics > Numerics.EXACT):
        diagonal = diagonal_value(value)
        if diagonal is not None:
            one = emitter.constant(diagonal, node.type.dtype)
            return emitter.einsum(canonical([""], "aa", {"a": len(value)}), [one], emitter.sources(x))
    return _table(folder, x, value)


def bits(value: Value) -> Value:
    """The array as integers that are equal exactly where the bits are; complex numbers get a last axis of two."""
    if value.dtype.kind in "biu":
        return value
    if value.dtype.kind == "c":
        parts = np.ascontiguousarray(value).view(value.real.dtype).reshape(*value.shape, 2)
        return bits(parts)
    return value.view(f"u{value.dtype.itemsize}") if value.dtype.itemsize in (1, 2, 4, 8) else value


def uniform_value(value: Value) -> object | None:
    """The scalar that a non-empty array repeats bit by bit, if it repeats one."""
    if not value.size:
        return None
    first = value.flat[0]
    if value.ndim:
        if value.flat[-1] != first and first == first:
            return None
        exact = bits(value)
        corner = exact[(0,) * value.ndim]
        if not (exact == corner).all():
            return None
    return first.item()  # type: ignore[no-any-return]


def diagonal_value(value: Value) -> object | None:
    """The scalar on the diagonal of a square array that is that multiple of the identity matrix."""
    if value.ndim != 2 or value.shape[0] != value.shape[1]:
        return None
    first = value[0, 0]
    if not first or value[0, 1] or np.count_nonzero(value) != len(value):
        return None
    return first.item() if (np.diagonal(value) == first).all() else None


def repeated_axes(value: Value) -> tuple[int, ...]:
    """Axes along which nothing changes."""
    exact = bits(value)
    return tuple(axis for axis in range(value.ndim) if (exact == np.take(exact, [0], axis)).all())


def _table(folder: Folder, x: int, value: Value) -> int:
    """The value as program text where it is small, repeated over the axes along which it does not change."""
    emitter = folder.emitter
    node = emitter.nodes[x]
    if value.dtype.kind not in "iufcV":
        return x  # a mask stays the comparison it is: rules know comparisons
    limit = TABLE_BYTES if folder.is_table(x) else SMALL_BYTES
    axes = repeated_axes(value) if value.nbytes > limit or value.ndim > 1 else ()
    kept = [axis for axis in range(value.ndim) if axis not in axes]
    small = value[tuple(slice(None) if axis in kept else 0 for axis in range(value.ndim))]
    if small.nbytes > limit:
        return x
    table = emitter.array(np.ascontiguousarray(small), node.type.dtype, emitter.sources(x))
    return emitter.broadcast(table, "".join(LETTERS[axis] for axis in kept), value.shape, emitter.sources(x))
