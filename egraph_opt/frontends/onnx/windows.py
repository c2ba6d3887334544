# SPDX-License-Identifier: Apache-2.0
"""Windows that slide over the spatial axes of a tensor: what the attributes of convolutions and pools say.

The attributes kernel_shape, strides, dilations, pads, auto_pad and ceil_mode become sizes and pads per axis here, once
for all operators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from egraph_opt.frontends.onnx.node import Node

Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows along the spatial axes.

    Args:
        kernel: number of elements of a window per axis.
        strides: from a window to the next.
        dilations: from an element of a window to the next.
        pads: elements before the first and behind the last, as the node has them.
        extra: elements behind the pads that the last window of ceil_mode still covers.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads
    extra: tuple[int, ...]

    @property
    def covered(self) -> Pads:
        """Pads with those elements that only ceil_mode adds."""
        return tuple((low, high + more) for (low, high), more in zip(self.pads, self.extra, strict=True))

    def counts(self, sizes: Sequence[int], count_pads: bool) -> np.ndarray:
        """How many elements of the input each window holds; its pads too where they count."""
        if not any(self.extra) and (count_pads or not np.any(self.pads)):
            return np.asarray(np.prod(self.kernel, dtype=np.int64))
        counts = np.ones((), np.int64)
        for axis, size in enumerate(sizes):
            low, high = self.pads[axis]
            total = low + size + high + self.extra[axis]
            span = (self.kernel[axis] - 1) * self.dilations[axis] + 1
            starts = np.arange(0, total - span + 1, self.strides[axis]) - low
            places = starts[:, None] + np.arange(self.kernel[axis]) * self.dilations[axis]
            first, last = (-low, size + high) if count_pads else (0, size)
            inside = ((places >= first) & (places < last)).sum(1)
            counts = counts[..., None] * inside
        return counts


def numbers(node: Node, name: str, count: int, default: int) -> tuple[int, ...]:
    """An attribute with one number per spatial axis."""
    values = tuple(int(v) for v in node.attr(name, (default,) * count))
    if len(values) != count:
        raise node.fault(f"attribute {name} has {len(values)} numbers; want {count}, one for each spatial axis")
    return values


def explicit_pads(node: Node, count: int) -> Pads:
    """The attribute pads: those before all axes, then those behind."""
    values = tuple(int(v) for v in node.attr("pads", (0,) * (2 * count)))
    if len(values) != 2 * count:
        raise node.fault(f"attribute pads has {len(values)} numbers; want {2 * count}, two for each spatial axis")
    return tuple(zip(values[:count], values[count:], strict=True))


def same_pads(total: int, upper: bool) -> tuple[int, int]:
    """Pads in two halves; an odd one goes to the end if ``upper``, else to the beginning."""
    return (total // 2, total - total // 2) if upper else (total - total // 2, total // 2)


def windows(node: Node, sizes: Sequence[int], kernel: Sequence[int] | None = None) -> Windows:
    """The windows of a node over spatial axes of these sizes.

    Args:
        node: a convolution or pool.
        sizes: of the input's spatial axes.
        kernel: the kernel's sizes where they are those of a weight.

    Raises:
        ModelError: attributes that contradict each other or the input.
    """
    count = len(sizes)
    shape = numbers(node, "kernel_shape", count, 0) if kernel is None or node.attr("kernel_shape") else tuple(kernel)
    if kernel is not None and shape != tuple(kernel):
        raise node.fault(f"kernel_shape is {list(shape)}, but the weight has {list(kernel)}")
    strides, dilations = numbers(node, "strides", count, 1), numbers(node, "dilations", count, 1)
    for name, values in (("kernel_shape", shape), ("strides", strides), ("dilations", dilations)):
        if any(value < 1 for value in values):
            raise node.fault(f"attribute {name} is {list(values)}; want positive numbers")
    spans = [(k - 1) * d + 1 for k, d in zip(shape, dilations, strict=True)]
    pads = _pads(node, sizes, spans, strides)
    extra = [0] * count
    for axis, (size, (low, high), span, stride) in enumerate(zip(sizes, pads, spans, strides, strict=True)):
        if isinstance(size, int) and size + low + high < span:
            raise node.fault(f"a window spans {span} elements, but axis {axis + 2} has {size} and {low + high} pads")
        if node.attr("ceil_mode", 0) and (rest := (size + low + high - span) % stride):
            starts = (size + low + high - span) // stride * stride + stride
            if starts < size + low:  # a window that would start in the pads is none
                extra[axis] = stride - rest
    return Windows(shape, strides, dilations, pads, tuple(extra))


def _pads(node: Node, sizes: Sequence[int], spans: Sequence[int], strides: Sequence[int]) -> Pads:
    auto = node.attr("auto_pad", "NOTSET")
    if auto == "VALID":
        return ((0, 0),) * len(sizes)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max((-(-size // stride) - 1) * stride + span - size, 0)
            for size, span, stride in zip(sizes, spans, strides, strict=True)
        ]
        return tuple(same_pads(total, auto == "SAME_UPPER") for total in totals)
    if auto not in ("NOTSET", ""):
        raise node.fault(f"auto_pad is {auto!r}; want NOTSET, SAME_UPPER, SAME_LOWER or VALID")
    return explicit_pads(node, len(sizes))
