# SPDX-License-Identifier: Apache-2.0
"""Gathers and scatters whose indices are known: slices, rows, strided reads and diagonals.

``jnp.diag(x)``, ``x[:, 2]`` by an index array and ``x[jnp.arange(3)]`` all arrive as ``gather``. Where every index is
in bounds and moves along one batch axis in equal steps, the gather is a slice and one einsum that copies: exact. Its
transpose, a scatter into zeros, is the copy back and a ``pad``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from egraph_opt.capture.bands import is_circulant, stated_circulant
from egraph_opt.capture.general import general
from egraph_opt.capture.products import contract
from egraph_opt.capture.scope import Handler, Scope, squeeze
from egraph_opt.capture.segments import segments
from egraph_opt.capture.slicing import at, emit, kept_axes, one, sliced
from egraph_opt.ir import TensorType
from egraph_opt.ir.attrs import freeze
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.spec import LETTERS
from egraph_opt.ir.types import is_numeric

Indices = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Walk:
    """How known indices walk through one dimension: ``length`` places from ``start`` on, ``step`` apart.

    ``letter`` is that of the batch axis along which the walk goes, or the dimension's own.
    """

    start: int
    step: int
    length: int
    letter: str

    @property
    def low(self) -> int:
        """Least place."""
        return self.start if self.step > 0 else self.start + self.step * (self.length - 1)

    @property
    def high(self) -> int:
        """One beyond the greatest place."""
        return self.low + abs(self.step) * (self.length - 1) + 1


@dataclass(frozen=True)
class Numbers:
    """Dimension numbers of a gather or a scatter under common names.

    Args:
        window: positions of window dimensions in the gathered (or scattered) tensor.
        dropped: dimensions of the operand that the window lacks.
        starts: dimension of the operand for each number of an index vector.
        batching: pairs of a dimension of the operand and an axis of the indices that go together.
    """

    window: tuple[int, ...]
    dropped: tuple[int, ...]
    starts: tuple[int, ...]
    batching: tuple[tuple[int, int], ...]


def walks(
    shape: Sequence[int], sizes: Sequence[int], indices: Indices, numbers: Numbers, clip: bool
) -> list[Walk] | None:
    """The walk of each dimension of the operand, or None where one is irregular or leaves the bounds.

    Args:
        shape: of the operand.
        sizes: of the window, in the operand's dimensions.
        indices: known index vectors, along the last axis.
        numbers: which index goes where.
        clip: whether indices are clamped to the bounds.
    """
    batch = indices.shape[:-1]
    found = [Walk(0, 1, n, LETTERS[len(batch) + d]) for d, n in enumerate(sizes)]
    for dimension, axis in numbers.batching:
        found[dimension] = Walk(0, 1, batch[axis], LETTERS[axis])
    for place, d in enumerate(numbers.starts):
        start = indices[..., place].astype(np.int64)
        last = shape[d] - sizes[d]
        if clip:
            start = np.clip(start, 0, last)
        if start.size == 0 or start.min() < 0 or start.max() > last:
            return None
        walk = _walk(start, sizes[d], found[d].letter)
        if walk is None:
            return None
        found[d] = walk
    return found


def _walk(start: Indices, size: int, letter: str) -> Walk | None:
    """The walk of one dimension whose first places are ``start`` over the batch axes."""
    first = start[(0,) * start.ndim]
    moving = [axis for axis in range(start.ndim) if (np.take(start, [0], axis) != start).any()]
    if not moving:
        return Walk(int(first), 1, size, letter)
    if len(moving) > 1 or size != 1:
        return None
    (axis,) = moving
    line = start[tuple(slice(None) if a == axis else 0 for a in range(start.ndim))]
    steps = np.diff(line)
    if steps[0] == 0 or (steps != steps[0]).any():
        return None
    return Walk(int(first), int(steps[0]), len(line), LETTERS[axis])


def _words(numbers: Numbers, batch: Sequence[int], found: Sequence[Walk]) -> tuple[str, str, dict[str, int]]:
    """Letters of the walked operand and of the gathered tensor, without those of size 1, and their sizes."""
    sizes = dict(zip(LETTERS, batch, strict=False)) | {w.letter: w.length for w in found}
    kept = iter(w.letter for d, w in enumerate(found) if d not in numbers.dropped)
    rest = iter(LETTERS[: len(batch)])
    rank = len(numbers.window) + len(batch)
    gathered = [next(kept) if i in numbers.window else next(rest) for i in range(rank)]
    return (
        "".join(w.letter for w in found if w.length != 1),
        "".join(c for c in gathered if sizes[c] != 1),
        sizes,
    )


def _window_moves(numbers: Numbers, found: Sequence[Walk], rank: int) -> bool:
    """Whether a dimension that stays in the window moves along a batch axis: its place would have two letters."""
    batch = set(LETTERS[:rank])
    return any(w.letter in batch and d not in numbers.dropped for d, w in enumerate(found))


def _gather(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    x, y = operands
    params, shape = eqn.params, tuple(eqn.invars[0].aval.shape)
    known = scope.folder.value(y)
    if known is None:
        return _taken(scope, eqn, x, y)
    if not _copies(scope, x):
        return None
    indices = known.reshape(eqn.invars[1].aval.shape)
    dims = params["dimension_numbers"]
    pairs = tuple(zip(dims.operand_batching_dims, dims.start_indices_batching_dims, strict=True))
    dropped = (*dims.collapsed_slice_dims, *dims.operand_batching_dims)
    numbers = Numbers(tuple(dims.offset_dims), dropped, tuple(dims.start_index_map), pairs)
    found = walks(shape, params["slice_sizes"], indices, numbers, _clips(params))
    if found is None and is_circulant(indices) and shape == indices.shape[:1]:
        return [stated_circulant(scope, q) for q in general(scope, eqn, operands)]
    if found is None or len(shape) + indices.ndim > len(LETTERS) or _window_moves(numbers, found, indices.ndim - 1):
        return None
    low, high = [w.low for w in found], [w.high for w in found]
    part = sliced(scope, x, shape, low, high, [abs(w.step) for w in found])
    if part is None:
        return None
    part = _reversed(scope, part, found)
    word, output, sizes = _words(numbers, indices.shape[:-1], found)
    return one(None if part is None else contract(scope, [word], output, sizes, [part]))


def _taken(scope: Scope, eqn: Any, x: int, y: int) -> Sequence[int] | None:
    """A gather along one axis by unknown indices: ``take``, or a dynamic slice where there is but one index."""
    params, dims = eqn.params, eqn.params["dimension_numbers"]
    shape, places = tuple(eqn.invars[0].aval.shape), tuple(eqn.invars[1].aval.shape)[:-1]
    live = [d for d, n in enumerate(params["slice_sizes"]) if n != shape[d]]
    count = math.prod(places)
    if dims.operand_batching_dims or len(live) != 1 or count == 0 or not set(live) <= set(dims.start_index_map):
        return None
    (axis,) = live
    filled = getattr(params["mode"], "name", "") not in ("CLIP", "PROMISE_IN_BOUNDS")
    if params["slice_sizes"][axis] != 1 or (filled and (count == 1 or len(dims.start_index_map) > 1)):
        return None
    column = dims.start_index_map.index(axis)  # along the other axes the index is clamped to 0
    index = _column(scope, y, eqn.invars[1].aval, column)
    kept, mark = kept_axes(shape), LETTERS[len(shape)]
    output = _order(shape, len(places), dims, axis, mark)
    if index is None or output is None:
        return None
    part, place = at(scope, x, shape, kept), kept.index(axis)
    kind = TensorType(tuple(count if d == axis else shape[d] for d in kept), scope.type(x).dtype)
    if count == 1:
        index = scope.emitter.reshape(index, (), scope.sources)
        part = scope.add("dynamic_slice_in_dim", [part, index], (("slice_size", 1), ("axis", place)), kind)
    else:
        index = scope.emitter.reshape(index, (count,), scope.sources)
        fill = freeze(params["fill_value"])
        attrs = (("axis", place), ("mode", params["mode"]), ("fill_value", fill))
        part = scope.add("take", [part, index], attrs, kind)
    word = "".join(mark if d == axis else LETTERS[d] for d in kept if d != axis or count > 1)
    result = part
    if word != output.replace(mark, mark if count > 1 else ""):
        sizes = {LETTERS[d]: n for d, n in enumerate(shape)} | {mark: count}
        moved = contract(scope, [word], output.replace(mark, mark if count > 1 else ""), sizes, [part])
        if moved is None:
            return None
        result = moved
    return [scope.emitter.reshape(result, squeeze(eqn.outvars[0].aval.shape), scope.sources)]


def _column(scope: Scope, y: int, aval: Any, column: int) -> int | None:
    """One number of each index vector."""
    shape = tuple(aval.shape)
    if shape[-1] == 1:
        return y
    start, limit = (0,) * (len(shape) - 1) + (column,), (*shape[:-1], column + 1)
    return sliced(scope, y, shape, start, limit)


def _order(shape: tuple[int, ...], batch: int, dims: Any, axis: int, mark: str) -> str | None:
    """Letters of a gathered tensor, without dimensions of size 1; the batch is one letter: its axes are together."""
    kept = iter(d for d in range(len(shape)) if d not in dims.collapsed_slice_dims)
    word = ""
    for place in range(len(dims.offset_dims) + batch):
        if place not in dims.offset_dims:
            word += mark
        elif (d := next(kept)) != axis and shape[d] != 1:
            word += LETTERS[d]
    together = mark * word.count(mark)
    return word.replace(together, mark) if together in word and batch else (word if not batch else None)


def _scatter(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    """A scatter to known distinct places: into zeros, where adding is exact but for the sign of zero, or of a slice."""
    x, y, updates = operands
    params, shape = eqn.params, tuple(eqn.invars[0].aval.shape)
    known, empty = scope.folder.value(y), _is_zero(scope, x)
    if known is None and empty and eqn.primitive.name != "scatter":
        return one(segments(scope, eqn, operands))
    if known is None or not _copies(scope, updates):
        return None
    if empty and eqn.primitive.name != "scatter" and scope.shared.numerics < Numerics.REASSOCIATE:
        return None
    indices = known.reshape(eqn.invars[1].aval.shape)
    dims = params["dimension_numbers"]
    pairs = tuple(zip(dims.operand_batching_dims, dims.scatter_indices_batching_dims, strict=True))
    dropped = (*dims.inserted_window_dims, *dims.operand_batching_dims)
    numbers = Numbers(tuple(dims.update_window_dims), dropped, tuple(dims.scatter_dims_to_operand_dims), pairs)
    window = iter(eqn.invars[2].aval.shape[i] for i in dims.update_window_dims)
    found = walks(shape, [1 if d in dropped else next(window) for d in range(len(shape))], indices, numbers, False)
    if empty and found is None and is_circulant(indices) and shape == indices.shape[:1]:
        return [stated_circulant(scope, q) for q in general(scope, eqn, operands)]
    if found is None or len(shape) + indices.ndim > len(LETTERS) or _window_moves(numbers, found, indices.ndim - 1):
        return None
    if not empty and any(w.step != 1 for w in found):
        return None
    word, source, sizes = _words(numbers, indices.shape[:-1], found)
    if not set(source) <= set(word):
        return None  # one place is written several times
    part = contract(scope, [source], word, sizes, [updates])
    if part is not None and not empty:
        return one(_replaced(scope, x, part, shape, found, eqn.primitive.name != "scatter"))
    part = None if part is None else _reversed(scope, part, found)
    return one(None if part is None else _padded(scope, part, shape, found, str(eqn.outvars[0].aval.dtype)))


def _replaced(
    scope: Scope, x: int, part: int, shape: tuple[int, ...], found: Sequence[Walk], added: bool
) -> int | None:
    """``x`` with a slice that is ``part``, or to which it is added."""
    if added:
        there = sliced(scope, x, shape, [w.low for w in found], [w.high for w in found])
        if there is None:
            return None
        part = scope.emitter.sum_of([there, part], scope.sources)
    if all(w.length == n for w, n in zip(found, shape, strict=True)):
        return part
    axes = kept_axes(shape)
    starts = [scope.emitter.constant(found[i].low, "int32") for i in axes]
    held = [at(scope, x, shape, axes), at(scope, part, [w.length for w in found], axes), *starts]
    return emit(scope, "dynamic_update_slice", held, {}, squeeze(shape), scope.type(x).dtype)


def _reversed(scope: Scope, x: int, found: Sequence[Walk]) -> int | None:
    """``x``, walked over, with the dimensions that are walked backwards turned round."""
    kept = [w for w in found if w.length != 1]
    back = tuple(i for i, w in enumerate(kept) if w.step < 0)
    return emit(scope, "rev", [x], {"dimensions": back}, scope.type(x).shape, scope.type(x).dtype) if back else x


def _padded(scope: Scope, x: int, shape: tuple[int, ...], found: Sequence[Walk], dtype: str) -> int | None:
    """``x`` at its places in zeros of a shape."""
    config = [(w.low, n - w.high, abs(w.step) - 1 if w.length > 1 else 0) for w, n in zip(found, shape, strict=True)]
    if not any(any(c) for c in config):
        return x
    axes = kept_axes(shape)
    held = [at(scope, x, [w.length for w in found], axes), scope.emitter.constant(0, dtype)]
    params = {"padding_config": tuple(config[i] for i in axes)}
    return emit(scope, "pad", held, params, squeeze(shape), dtype)


def _copies(scope: Scope, x: int) -> bool:
    dtype = scope.type(x).dtype
    return is_numeric(dtype) or dtype == "bool"


def _clips(params: Any) -> bool:
    return getattr(params["mode"], "name", "") == "CLIP"


def _is_zero(scope: Scope, x: int) -> bool:
    scalar = scope.emitter.uniform_scalar(x)
    return scalar is not None and scope.emitter.scalar_value(scalar) == 0


HANDLERS: dict[str, Handler] = {
    "gather": _gather,
    "scatter": _scatter,
    "scatter-add": _scatter,
}
