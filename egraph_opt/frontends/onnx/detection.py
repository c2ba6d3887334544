# SPDX-License-Identifier: Apache-2.0
"""NonMaxSuppression: how many boxes are kept depends on their values, so it runs on the host."""

from __future__ import annotations

import numpy as np

from egraph_opt.frontends.onnx.node import Array, Node
from egraph_opt.frontends.onnx.operator import operator


@operator("NonMaxSuppression", since=10)
def _suppress(
    node: Node,
    boxes: Array,
    scores: Array,
    most: Array | None = None,
    overlap: Array | None = None,
    least: Array | None = None,
) -> Array:
    corners = _corners(node.concrete(boxes, "its input 'boxes'"), bool(node.attr("center_point_box", 0)))
    values = node.concrete(scores, "its input 'scores'")
    count = 0 if most is None else node.ints(2, most)[0]
    allowed = 0.0 if overlap is None else float(node.static(3, overlap).reshape(()))
    bound = -np.inf if least is None else float(node.static(4, least).reshape(()))
    found = [
        (batch, kind, box)
        for batch in range(values.shape[0])
        for kind in range(values.shape[1])
        for box in _kept(corners[batch], values[batch, kind], count, allowed, bound)
    ]
    return np.array(found, np.int64).reshape(-1, 3)


def _corners(boxes: np.ndarray, centered: bool) -> np.ndarray:
    """Boxes as the low and the high corner."""
    first, second = boxes[..., :2], boxes[..., 2:]
    if centered:
        first, second = first - second / 2, first + second / 2
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], axis=-1)


def _kept(boxes: np.ndarray, scores: np.ndarray, count: int, allowed: float, bound: float) -> list[int]:
    order = [int(i) for i in np.argsort(-scores, kind="stable") if scores[i] > bound]
    kept: list[int] = []
    for box in order:
        if len(kept) >= count:
            break
        if all(_overlap(boxes[box], boxes[other]) <= allowed for other in kept):
            kept.append(box)
    return kept


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Shared area over joint area."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    joint = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared
    return shared / joint if joint > 0 else 0.0
