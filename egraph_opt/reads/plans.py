# SPDX-License-Identifier: Apache-2.0
"""How a part of a node's value is computed: what of the operands it takes, and by which node."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from egraph_opt.ir import Node, Spec, TensorType
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.graph import Attrs
from egraph_opt.ir.slices import Range, parse_slice, slice_of_reshape, slice_text
from egraph_opt.ir.spec import canonical
from egraph_opt.ops import Trait, get_op
from egraph_opt.reads.region import Make, Part, Plan, Read, Region, dense, is_whole, last, ranges, shape_of, whole
from egraph_opt.reads.windows import convolution, shifted_convolution, windows

Types = Sequence[TensorType]


def plan(node: Node, types: Types, region: Region) -> Plan | None:
    """How a region of a node is computed; None where the node is computed whole.

    Args:
        node: with one result.
        types: of its operands.
        region: that is asked for; not empty.
    """
    if node.op in _PLANS:
        return _PLANS[node.op](node, types, region)
    if Trait.ELEMENTWISE in get_op(node.op).traits:
        return _elementwise(node, types, region)
    return None


def _elementwise(node: Node, types: Types, region: Region) -> Plan:
    needs = tuple(region if t.shape else () for t in types)
    shape = shape_of(region)

    def make(emitter: Emitter, operands: Sequence[int]) -> int:
        return emitter.elementwise(node.op, operands, node.attrs, node.type.with_shape(shape), node.sources)

    return Plan(region, needs, make)


def _add(node: Node, types: Types, region: Region) -> Plan:
    return Plan(region, (region,) * len(types), lambda emitter, operands: emitter.sum_of(operands, node.sources))


def _assume(node: Node, types: Types, region: Region) -> Plan:
    """What is stated of matrices holds for each of them, but not for a part of one."""
    if is_whole(region[-2:], node.type.shape[-2:]):
        return _elementwise(node, types, region)
    return Plan(region, (region,), lambda emitter, operands: operands[0])


def _einsum(node: Node, types: Types, region: Region) -> Plan | None:
    del types
    spec = Spec.parse(node.attr("spec"))
    chosen: dict[str, Part] = {}
    for letter, part in zip(spec.output, region, strict=True):
        if chosen.setdefault(letter, part) != part:
            return None
    if any(isinstance(part, Read) and spec.output.count(c) > 1 for c, part in chosen.items()):
        return None
    sizes = {c: chosen[c].length if c in chosen else n for c, n in spec.sizes.items()}
    needs = tuple(tuple(chosen.get(c, Range(0, spec.sizes[c])) for c in word) for word in spec.inputs)
    if any(isinstance(part, Read) and word.count(c) > 1 for word in spec.inputs for c, part in chosen.items()):
        return None
    text = canonical(spec.inputs, spec.output, sizes, spec.scale)
    return Plan(region, needs, lambda emitter, operands: emitter.einsum(text, operands, node.sources))


def _reshape(node: Node, types: Types, region: Region) -> Plan | None:
    """Ranges through any reshape that keeps them ranges; places that wait for an index where a dimension is kept."""
    old, new = types[0].shape, node.type.shape
    waiting = {axis: part for axis, part in enumerate(region) if isinstance(part, Read)}
    plain = [Range(0, n) if axis in waiting else part for axis, (part, n) in enumerate(zip(region, new, strict=True))]
    kept = _kept_axes(old, new)
    if not set(waiting) <= set(kept):
        return None
    found = slice_of_reshape(slice_text([p for p in plain if isinstance(p, Range)]), old, new)
    if found is None:
        return None
    needed: list[Part] = list(parse_slice(found[0]))
    for axis, part in waiting.items():
        needed[kept[axis]] = part
    shape = shape_of(region)
    return Plan(region, (tuple(needed),), lambda emitter, operands: emitter.reshape(operands[0], shape, node.sources))


def _kept_axes(old: Sequence[int], new: Sequence[int]) -> dict[int, int]:
    """Dimensions of a reshape's result that are dimensions of its operand."""
    found: dict[int, int] = {}
    left = right = 1
    i = 0
    for j, size in enumerate(new):
        while i < len(old) and (left < right or (old[i] == 1 and size != 1)):
            left *= old[i]
            i += 1
        if i < len(old) and left == right and old[i] == size:
            found[j] = i
            left *= old[i]
            i += 1
        right *= size
    return found


def _slice(node: Node, types: Types, region: Region) -> Plan | None:
    """What is sliced of a slice is read of the operand at once."""
    starts, strides = node.attr("start_indices"), node.attr("strides") or (1,) * len(region)
    needed: list[Part] = []
    for part, start, stride, limit, size in zip(
        region, starts, strides, node.attr("limit_indices"), types[0].shape, strict=True
    ):
        if isinstance(part, Read):
            if not Range(start, limit, stride).is_all(size):
                return None
            needed.append(part)
        else:
            begin = start + part.start * stride
            needed.append(Range(begin, start + last(part) * stride + 1, part.stride * stride))
    return Plan(region, (tuple(needed),), lambda emitter, operands: operands[0])


def _concatenate(node: Node, types: Types, region: Region) -> Plan | None:
    axis = node.attr("dimension")
    if isinstance(region[axis], Read):
        return None
    taken = dense(region[axis], node.type.shape[axis])
    needs: list[Region | None] = []
    begin = 0
    for t in types:
        end = begin + t.shape[axis]
        low, high = max(taken.start, begin), min(taken.limit, end)
        part = Range(low - begin, high - begin)
        needs.append((*region[:axis], part, *region[axis + 1 :]) if low < high else None)
        begin = end
    computed = (*region[:axis], taken, *region[axis + 1 :])
    kind = node.type.with_shape(shape_of(computed))

    def make(emitter: Emitter, operands: Sequence[int]) -> int:
        if len(operands) == 1:
            return operands[0]
        return emitter.add("concatenate", operands, node.attrs, kind, node.sources)

    return Plan(computed, tuple(needs), make)


def _pad(node: Node, types: Types, region: Region) -> Plan | None:
    plain = ranges(region)
    config = node.attr("padding_config")
    if plain is None or any(inner or low < 0 or high < 0 for low, high, inner in config):
        return None
    computed, needed, padding = [], [], []
    for part, (low, _, _), size, total in zip(plain, config, types[0].shape, node.type.shape, strict=True):
        taken = dense(part, total)
        begin, end = max(taken.start - low, 0), min(taken.limit - low, size)
        if begin >= end:
            return None
        computed.append(taken)
        needed.append(Range(begin, end))
        padding.append((max(low - taken.start, 0), max(taken.limit - low - size, 0), 0))
    kind = node.type.with_shape(shape_of(tuple(computed)))
    attrs: Attrs = (("padding_config", tuple(padding)),)

    def make(emitter: Emitter, operands: Sequence[int]) -> int:
        if all(entry == (0, 0, 0) for entry in padding):
            return operands[0]
        return emitter.add("pad", operands, attrs, kind, node.sources)

    return Plan(tuple(computed), (tuple(needed), ()), make)


def _rev(node: Node, types: Types, region: Region) -> Plan | None:
    needed: list[Part] = []
    for axis, (part, size) in enumerate(zip(region, types[0].shape, strict=True)):
        if axis not in node.attr("dimensions"):
            needed.append(part)
        elif isinstance(part, Read):
            return None
        else:
            needed.append(Range(size - 1 - last(part), size - part.start, part.stride))
    return Plan(region, (tuple(needed),), _again(node, region))


def _reduction(node: Node, types: Types, region: Region) -> Plan:
    rest = iter(region)
    axes = node.attr("axes")
    needed = tuple(Range(0, n) if axis in axes else next(rest) for axis, n in enumerate(types[0].shape))
    return Plan(region, (needed,), _again(node, region))


_TOTALS = {"cummax": "reduce_max", "cummin": "reduce_min"}


def _along(node: Node, types: Types, region: Region) -> Plan:
    """Cumulative operations and sorts: the axis is computed up to the last place that is read, or whole."""
    axis = node.attr("dimension" if node.op == "sort" else "axis")
    size = types[0].shape[axis]
    part: Part = region[axis]
    reached = Range(0, size)
    if node.op != "sort" and isinstance(part, Range):
        reached = Range(part.start, size) if node.attr("reverse") else Range(0, last(part) + 1)
    computed = (*region[:axis], reached, *region[axis + 1 :])
    if node.op in _TOTALS and isinstance(part, Range) and part.length == 1:
        return Plan(region, (computed,), _folded(node, axis, region))
    return Plan(computed, (computed,) * len(types), _again(node, computed))


def _folded(node: Node, axis: int, region: Region) -> Make:
    """The only place of a cumulative operation that is read: a reduction of all up to it."""
    shape = shape_of(region)
    kind = node.type.with_shape((*shape[:axis], *shape[axis + 1 :]))

    def make(emitter: Emitter, operands: Sequence[int]) -> int:
        folded = emitter.add(_TOTALS[node.op], operands, (("axes", (axis,)),), kind, node.sources)
        return emitter.reshape(folded, shape, node.sources)

    return make


def _read(node: Node, types: Types, region: Region) -> Plan | None:
    """A read along one axis: other dimensions are narrowed; where all of it is asked for, so is that axis."""
    axis = node.attr("axis")
    size = node.type.shape[axis]
    read = Read.of(node, size)
    part = region[axis]
    if str(getattr(dict(node.attrs).get("mode"), "name", "")) == "FILL_OR_DROP":
        return None
    if isinstance(part, Read):
        return None
    computed = (*region[:axis], Range(0, size), *region[axis + 1 :])
    needed = (*region[:axis], read, *region[axis + 1 :])
    return Plan(computed, (needed, None), lambda emitter, operands: operands[0])


def _gather(node: Node, types: Types, region: Region) -> Plan | None:
    """Places that nobody reads are not looked up; what stands at each is read whole."""
    plain, numbers = ranges(region), node.attr("dimension_numbers")
    if plain is None or numbers.operand_batching_dims:
        return None
    batch = [d for d in range(len(region)) if d not in numbers.offset_dims]
    computed = tuple(
        part if d in batch else Range(0, n) for d, (part, n) in enumerate(zip(plain, node.type.shape, strict=True))
    )
    indices = (*(computed[d] for d in batch), Range(0, types[1].shape[-1]))
    return Plan(computed, (whole(types[0].shape), indices), _again(node, computed))


def _solve(node: Node, types: Types, region: Region) -> Plan | None:
    """Right-hand sides that nobody reads the solutions of."""
    if not node.attr("left_side") or types[1].rank < 2 or types[1].shape != node.type.shape:
        return None
    computed = (*whole(node.type.shape[:-1]), region[-1])
    return Plan(computed, (whole(types[0].shape), computed), _again(node, computed))


def _system(node: Node, types: Types, region: Region) -> Plan:
    """Systems of equations: matrices of a batch, and right-hand sides, that nobody reads the solutions of."""
    batch = types[0].rank - 2
    rows = whole(node.type.shape[batch : batch + 1])
    computed = (*region[:batch], *rows, *region[batch + 1 :])
    needs = [(*region[:batch], *whole(t.shape[batch:])) for t in types[:-1]]
    return Plan(computed, (*needs, computed), _again(node, computed))


def _factors(node: Node, types: Types, region: Region) -> Plan:
    """Factors of the matrices of a batch."""
    batch = types[0].rank - 2
    computed = (*region[:batch], *whole(node.type.shape[batch:]))
    return Plan(computed, ((*region[:batch], *whole(types[0].shape[batch:])),), _again(node, computed))


def _band(node: Node, types: Types, region: Region) -> Plan:
    """Bands of parts of matrices, their diagonals counted from the part's own corner."""
    *_, rows, columns = region
    if not (isinstance(rows, Range) and isinstance(columns, Range) and rows.stride == columns.stride == 1):
        return _factors(node, types, region)
    shift = columns.start - rows.start
    attrs = (("lower", node.attr("lower") + shift), ("upper", node.attr("upper") - shift))
    kind = node.type.with_shape(shape_of(region))
    return Plan(region, (region,), lambda emitter, operands: emitter.add(node.op, operands, attrs, kind, node.sources))


def _again(node: Node, region: Region) -> Make:
    """The same operation on smaller operands."""
    kind = node.type.with_shape(shape_of(region))
    return lambda emitter, operands: emitter.add(node.op, operands, node.attrs, kind, node.sources)


_PLANS: dict[str, Callable[[Node, Types, Region], Plan | None]] = {
    "add": _add,
    "assume": _assume,
    "einsum": _einsum,
    "reshape": _reshape,
    "slice": _slice,
    "concatenate": _concatenate,
    "pad": _pad,
    "rev": _rev,
    "sort": _along,
    "dynamic_slice_in_dim": _read,
    "take": _read,
    "gather": _gather,
    "conv_general_dilated": convolution,
    "shifted_conv": shifted_convolution,
    "triangular_solve": _solve,
    "band_part": _band,
    **dict.fromkeys(("reduce_window_sum", "reduce_window_max", "reduce_window_min", "shifted_window"), windows),
    **dict.fromkeys(("solve", "lu_solve", "tridiagonal_system"), _system),
    **dict.fromkeys(("cholesky", "lu_factors", "lu_permutation"), _factors),
    **dict.fromkeys(("reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or"), _reduction),
    **dict.fromkeys(("argmax", "argmin"), _reduction),
    **dict.fromkeys(("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"), _along),
}
