# SPDX-License-Identifier: Apache-2.0
"""Attribute functions about products with one-hot rows; the algebra is in ``ir.selections``."""

from __future__ import annotations

import math

from egraph_opt.engine.attributes import AttributeFunction, Result, ship
from egraph_opt.ir import selections
from egraph_opt.ir.reshapes import parse_shape, shape_text
from egraph_opt.ir.spec import Spec

_S, _I = "String", "i64"
READ = ("attributes", "ids", "shape", "out")
ADDED = ("attributes", "ids", "into", "shape", "out")
DROP = "mode=GatherScatterMode.FILL_OR_DROP, fill_value=0"
PROMISED = "mode=GatherScatterMode.PROMISE_IN_BOUNDS"


def _flat(ids: str) -> str:
    """Shape of indices as one dimension, given the spec that broadcasts them."""
    return shape_text((math.prod(Spec.parse(ids).shapes[0]),))


def _read(text: str, position: int, found: tuple[str, list[str]] | None, ids: str, mode: str) -> Result:
    row = None if found is None else selections.read(text, position, *found)
    return (
        None
        if row is None
        else {"attributes": f"axis={row.axis}, {mode}", "ids": ids, "shape": row.shape, "out": row.out}
    )


def _added(text: str, position: int, found: tuple[str, list[str]] | None, ids: str, clips: bool) -> Result:
    row = None if found is None else selections.added(text, position, *found)
    if row is None:
        return None
    return {
        "attributes": f"size={row.size}, clips={clips}",
        "ids": ids,
        "into": row.into,
        "shape": row.shape,
        "out": row.out,
    }


def _read_compared(text: str, position: int, ids: str, count: str) -> Result:
    found = selections.compared(text, position, ids, count)
    return None if found is None else _read(text, position, found, _flat(ids), DROP)


def _added_compared(text: str, position: int, ids: str, count: str) -> Result:
    found = selections.compared(text, position, ids, count)
    return None if found is None else _added(text, position, found, _flat(ids), False)


def _summed(text: str, ids: str, count: str) -> Result:
    found = selections.compared(text, 0, ids, count)
    row = None if found is None else selections.summed(text, *found)
    return None if row is None else {"out": row[0], "size": str(row[1])}


def _read_taken(text: str, position: int, attrs: str, ids: str) -> Result:
    axis, mode = selections.take_attributes(attrs)
    return _read(text, position, selections.taken(text, position, axis), shape_text(parse_shape(ids)), mode)


def _added_taken(text: str, position: int, attrs: str, ids: str) -> Result:
    axis, mode = selections.take_attributes(attrs)
    if not mode.startswith(PROMISED):
        return None
    found = selections.taken(text, position, axis)
    if found is None or not Spec.parse(text).sizes[found[0]]:
        return None
    return _added(text, position, found, shape_text(parse_shape(ids)), True)


ship(
    AttributeFunction(
        "one-hot-sum",
        (_S,) * 3,
        ("out", "size"),
        _summed,
        "spec of a sum over the places of a one-hot tensor, over what is one for indices below a size",
    ),
    AttributeFunction(
        "one-hot-read",
        (_S, _I, _S, _S),
        READ,
        _read_compared,
        "a product with one-hot rows as places of the other operand",
    ),
    AttributeFunction(
        "one-hot-added", (_S, _I, _S, _S), ADDED, _added_compared, "a product with one-hot rows as sums by index"
    ),
    AttributeFunction(
        "eye-read",
        (_S, _I, _S, _S),
        READ,
        _read_taken,
        "a product with rows of an identity as places of the other operand",
    ),
    AttributeFunction(
        "eye-added", (_S, _I, _S, _S), ADDED, _added_taken, "a product with rows of an identity as sums by index"
    ),
    AttributeFunction(
        "whole-numbers", (_S,), (), lambda dtype: dtype.startswith(("int", "uint")), "an element type of integers"
    ),
)
