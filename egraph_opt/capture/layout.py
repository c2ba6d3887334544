# SPDX-License-Identifier: Apache-2.0
"""Layout and reductions on squeezed tensors: axes are renumbered, dimensions of size 1 that play no part are left out.

Where an axis of size 1 does play a part (it is padded, or concatenated along) it is put back by a reshape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from egraph_opt.capture.products import spread, transposed
from egraph_opt.capture.scope import Handler, Scope, is_placed, squeeze
from egraph_opt.capture.slicing import at, emit, kept_axes, one, sliced
from egraph_opt.ir import TensorType
from egraph_opt.ir.spec import LETTERS
from egraph_opt.ir.types import is_numeric


def _shape(eqn: Any, operand: int = 0) -> tuple[int, ...]:
    return tuple(eqn.invars[operand].aval.shape)


def _dtype(eqn: Any) -> str:
    return str(eqn.outvars[0].aval.dtype)


def _same_elements(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    """Squeeze and expand_dims: the squeezed tensor is the same."""
    return [scope.emitter.reshape(operands[0], squeeze(eqn.outvars[0].aval.shape), scope.sources)]


def _reshape(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    if len(operands) != 1 or is_placed(eqn.params.get("sharding")):
        return None
    x = operands[0]
    if eqn.params.get("dimensions") is not None:
        moved = transposed(scope, x, _shape(eqn), eqn.params["dimensions"])
        if moved is None:
            return None
        x = moved[0]
    return [scope.emitter.reshape(x, squeeze(eqn.outvars[0].aval.shape), scope.sources)]


def _iota(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    params = eqn.params
    if operands or is_placed(params.get("sharding")):
        return None
    shape, axis, dtype = tuple(eqn.outvars[0].aval.shape), params["dimension"], _dtype(eqn)
    n = shape[axis]
    if n == 1:
        type = TensorType(squeeze(shape), dtype)
        return [scope.emitter.uniform(0, type, scope.sources)]
    line = emit(scope, "iota", [], {"dtype": params["dtype"], "shape": (n,), "dimension": 0}, (n,), dtype)
    if line is None:
        return None
    return [spread(scope, line, tuple(n if i == axis else 1 for i in range(len(shape))), shape)]


def _slice(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    params = eqn.params
    return one(
        sliced(scope, operands[0], _shape(eqn), params["start_indices"], params["limit_indices"], params["strides"])
    )


def _split(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    shape, axis = _shape(eqn), eqn.params["axis"]
    results, begin = [], 0
    for size in eqn.params["sizes"]:
        start = [begin if i == axis else 0 for i in range(len(shape))]
        limit = [begin + size if i == axis else n for i, n in enumerate(shape)]
        begin += size
        if size == 0:
            return None
        number = sliced(scope, operands[0], shape, start, limit)
        if number is None:
            return None
        results.append(number)
    return results


def _pad(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    config = eqn.params["padding_config"]
    shape = _shape(eqn)
    if not any(any(c) for c in config):
        return operands[:1]
    axes = kept_axes(shape, [i for i, c in enumerate(config) if any(c)])
    result = [eqn.outvars[0].aval.shape[i] for i in axes]
    params = {"padding_config": tuple(tuple(int(n) for n in config[i]) for i in axes)}
    held = [at(scope, operands[0], shape, axes), operands[1]]
    return one(emit(scope, "pad", held, params, result, _dtype(eqn)))


def _concatenate(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    axis = eqn.params["dimension"]
    parts = [(x, _shape(eqn, i)) for i, x in enumerate(operands) if _shape(eqn, i)[axis]]
    if len(parts) == 1:
        return [parts[0][0]]
    axes = kept_axes(parts[0][1], [axis])
    held = [at(scope, x, shape, axes) for x, shape in parts]
    result = [eqn.outvars[0].aval.shape[i] for i in axes]
    return one(emit(scope, "concatenate", held, {"dimension": axes.index(axis)}, result, _dtype(eqn)))


def _stack(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    """A concatenation along a new axis; equal operands are a broadcast."""
    axis, shape = eqn.params["axis"], _shape(eqn)
    whole = (*shape[:axis], 1, *shape[axis:])
    if len(set(operands)) == 1:
        return [spread(scope, operands[0], whole, eqn.outvars[0].aval.shape)] if _copies(eqn) else None
    axes = kept_axes(whole, [axis])
    held = [at(scope, x, whole, axes) for x in operands]
    result = [len(operands) if i == axis else whole[i] for i in axes]
    return one(emit(scope, "concatenate", held, {"dimension": axes.index(axis)}, result, _dtype(eqn)))


def _unstack(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    shape, axis = _shape(eqn), eqn.params["axis"]
    results = []
    for index in range(shape[axis]):
        start = [index if i == axis else 0 for i in range(len(shape))]
        limit = [index + 1 if i == axis else n for i, n in enumerate(shape)]
        number = sliced(scope, operands[0], shape, start, limit)
        if number is None:
            return None
        results.append(number)
    return results


def _tile(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    """Copies beside each other are a broadcast along new dimensions, merged with the old ones."""
    shape, reps = _shape(eqn), tuple(eqn.params["reps"])
    if len(reps) != len(shape) or 2 * len(shape) > len(LETTERS) or not _copies(eqn):
        return None
    between = [n for pair in zip(reps, shape, strict=True) for n in pair]
    around = [n for d in shape for n in (1, d)]
    wide = spread(scope, operands[0], around, between)
    return [scope.emitter.reshape(wide, squeeze(eqn.outvars[0].aval.shape), scope.sources)]


def _copies(eqn: Any) -> bool:
    """Whether copies of the element type are einsums: all but extended types."""
    return is_numeric(_dtype(eqn)) or _dtype(eqn) == "bool"


def _name(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    """A label for the policy of a checkpoint around: to be respected under differentiation only."""
    scope.shared.has_checkpoint = True
    return operands


def _rev(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    shape = _shape(eqn)
    axes = kept_axes(shape)
    dimensions = tuple(axes.index(d) for d in eqn.params["dimensions"] if shape[d] != 1)
    if not dimensions:
        return operands
    return one(emit(scope, "rev", operands, {"dimensions": dimensions}, squeeze(shape), _dtype(eqn)))


def _reduce(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    """Reductions whose value over one element is that element."""
    shape = _shape(eqn)
    if len(operands) != 1 or is_placed(eqn.params.get("out_sharding")):
        return None
    kept = kept_axes(shape)
    axes = tuple(kept.index(a) for a in eqn.params["axes"] if shape[a] != 1)
    if not axes:
        return operands
    params = {**eqn.params, "axes": axes}
    return one(emit(scope, eqn.primitive.name, operands, params, squeeze(eqn.outvars[0].aval.shape), _dtype(eqn)))


def _argument(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    """Argmax and argmin: the place along one axis, 0 where the axis has one element."""
    shape, (axis,) = _shape(eqn), eqn.params["axes"]
    result = squeeze(eqn.outvars[0].aval.shape)
    if shape[axis] == 1:
        return [scope.emitter.uniform(0, TensorType(result, _dtype(eqn)), scope.sources)]
    params = {**eqn.params, "axes": (kept_axes(shape).index(axis),)}
    return one(emit(scope, eqn.primitive.name, operands, params, result, _dtype(eqn)))


def _cumulative(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    shape, axis = _shape(eqn), eqn.params["axis"]
    if shape[axis] == 1:
        return operands
    params = {**eqn.params, "axis": kept_axes(shape).index(axis)}
    return one(emit(scope, eqn.primitive.name, operands, params, squeeze(shape), _dtype(eqn)))


def _starts(scope: Scope, shape: Sequence[int], sizes: Sequence[int], indices: Sequence[int]) -> list[int] | None:
    """Clamped start indices, where all that matter are known."""
    starts = []
    for n, size, index in zip(shape, sizes, indices, strict=True):
        if n == size:
            starts.append(0)
            continue
        value = scope.folder.value(index)
        if value is None:
            return None
        starts.append(min(max(int(value), 0), n - size))
    return starts


def _dynamic_slice(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    shape, sizes = _shape(eqn), tuple(eqn.params["slice_sizes"])
    x, *indices = operands
    if len(indices) != len(shape):
        return None
    starts = _starts(scope, shape, sizes, indices)
    if starts is not None:
        return one(sliced(scope, x, shape, starts, [a + b for a, b in zip(starts, sizes, strict=True)]))
    axes = kept_axes(shape)
    part, left = at(scope, x, shape, axes), [shape[i] for i in axes]
    for axis, i in enumerate(axes):
        if sizes[i] != shape[i]:
            left[axis] = sizes[i]
            attrs = (("slice_size", sizes[i]), ("axis", axis))
            kind = TensorType(tuple(left), _dtype(eqn))
            part = scope.emitter.add("dynamic_slice_in_dim", [part, indices[i]], attrs, kind, scope.sources)
    return [scope.emitter.reshape(part, squeeze(left), scope.sources)]


def _dynamic_update_slice(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    shape, sizes = _shape(eqn), _shape(eqn, 1)
    x, update, *indices = operands
    if shape == sizes:
        return [update]
    if len(indices) != len(shape):
        return None
    axes = kept_axes(shape)
    held = [at(scope, x, shape, axes), at(scope, update, sizes, axes), *(indices[i] for i in axes)]
    return one(emit(scope, "dynamic_update_slice", held, {}, squeeze(shape), _dtype(eqn)))


def _device_put(scope: Scope, eqn: Any, operands: list[int]) -> Sequence[int] | None:
    """A move to no particular place."""
    if any(d is not None for key in ("devices", "srcs") for d in eqn.params.get(key, ())):
        return None
    return operands


HANDLERS: dict[str, Handler] = {
    "squeeze": _same_elements,
    "expand_dims": _same_elements,
    "reshape": _reshape,
    "iota": _iota,
    "slice": _slice,
    "split": _split,
    "pad": _pad,
    "concatenate": _concatenate,
    "rev": _rev,
    "stack": _stack,
    "unstack": _unstack,
    "tile": _tile,
    "name": _name,
    "device_put": _device_put,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "argmax": _argument,
    "argmin": _argument,
    **dict.fromkeys(("reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "reduce_xor"), _reduce),
    **dict.fromkeys(("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"), _cumulative),
}
