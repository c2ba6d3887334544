# SPDX-License-Identifier: Apache-2.0
"""Reductions of windows in ONNX: pooling where its operators fit, strided slices folded axis by axis elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from egraph_opt.errors import UnsupportedOpError
from egraph_opt.ir import Node, TensorType
from egraph_opt.lower.onnx import steps
from egraph_opt.lower.onnx.reduction import Fold, either
from egraph_opt.lower.onnx.row import Row
from egraph_opt.lower.onnx.values import Value, extreme
from egraph_opt.lower.onnx.writer import Writer

MOST_TAPS = 256
"""Slices that a window may be made of, all axes together, where there is no pooling."""

MOST_SPATIAL = 3
"""Dimensions that runtimes pool over."""


class _Window(NamedTuple):
    """How the windows of one dimension lie."""

    size: int
    stride: int
    low: int
    high: int
    dilation: int

    @property
    def is_trivial(self) -> bool:
        return self[:4] == (1, 1, 0, 0)

    def count(self, n: int) -> int:
        """Number of windows over ``n`` elements."""
        return max(0, (n + self.low + self.high - (self.size - 1) * self.dilation - 1) // self.stride + 1)


class _Kind(NamedTuple):
    """What is made of a window."""

    reduce: str
    fold: Fold
    identity: Any  # of an element type


def _windows(kind: _Kind) -> Row:
    def write(w: Writer, node: Node, args: list[Value]) -> Value:
        return steps.widely(w, args, lambda x: _write(w, kind, node, x))

    return Row(write)


def _write(w: Writer, kind: _Kind, node: Node, x: Value) -> Value:
    neutral = steps.number(w, kind.identity(x.dtype), x.dtype)
    x = steps.dilate(w, x, neutral, [n - 1 for n in node.attr("base_dilation")])
    windows = [
        _Window(size, stride, low, high, dilation)
        for size, stride, (low, high), dilation in zip(
            node.attr("window_dimensions"), node.attr("window_strides"), node.attr("padding"),
            node.attr("window_dilation"), strict=True,
        )
    ]  # fmt: skip
    low = [min(a.low, 0) for a in windows]
    high = [min(a.high, 0) for a in windows]
    x = steps.pad(w, x, neutral, low, high)  # negative amounts cut
    windows = [a._replace(low=max(a.low, 0), high=max(a.high, 0)) for a in windows]
    axes = [axis for axis, a in enumerate(windows) if not a.is_trivial]
    if not axes:
        return x
    shape = tuple(a.count(n) for a, n in zip(windows, x.type.shape, strict=True))
    if x.type.size == 0 or 0 in shape:
        return steps.filled(w, kind.identity(x.dtype), TensorType(shape, x.dtype))
    if all(_is_whole(windows[axis], x.type.shape[axis]) for axis in axes):
        return steps.reshape(w, steps.reduced(w, kind.reduce, x, axes), shape)
    if _has_pooling(kind, x.dtype, [windows[axis] for axis in axes]):
        return _pooled(w, kind, x, windows, axes, neutral, shape)
    return _taps(w, kind, x, windows, neutral)


def _is_whole(window: _Window, n: int) -> bool:
    """Whether there is one window, over everything."""
    return window.count(n) == 1 and window.dilation == 1 and window.size - window.low >= n


def _has_pooling(kind: _Kind, dtype: str, windows: Sequence[_Window]) -> bool:
    if len(windows) > MOST_SPATIAL or dtype not in ("float32", "float64"):
        return False
    if kind.reduce == "ReduceSum":  # runtimes have the average in float32, and without dilation
        return dtype == "float32" and all(a.dilation == 1 for a in windows)
    return True


def _pooled(
    w: Writer, kind: _Kind, x: Value, windows: list[_Window], axes: list[int], neutral: Value, shape: tuple[int, ...]
) -> Value:
    """Pooling over ``axes``, the other dimensions being batch and channels."""
    if any(max(windows[axis].low, windows[axis].high) >= windows[axis].size for axis in axes):
        x = steps.pad(w, x, neutral, [a.low for a in windows], [a.high for a in windows])
        windows = [a._replace(low=0, high=0) for a in windows]
    rest = [axis for axis in range(x.type.rank) if axis not in axes]
    order = [*rest, *axes]
    outer = tuple(shape[axis] for axis in rest)
    x = steps.transpose(w, x, order)
    lead = outer if len(rest) == 2 else (steps.size_of(outer), 1)
    spatial = [windows[axis] for axis in axes]
    x = steps.reshape(w, x, (*lead, *x.type.shape[len(rest) :]))
    attrs: dict[str, Any] = {
        "kernel_shape": [a.size for a in spatial],
        "strides": [a.stride for a in spatial],
        "pads": [*(a.low for a in spatial), *(a.high for a in spatial)],
    }
    if any(a.dilation != 1 for a in spatial):
        attrs["dilations"] = [a.dilation for a in spatial]
    inner = (*lead, *(shape[axis] for axis in axes))
    if kind.reduce == "ReduceSum":
        average = w.apply("AveragePool", [x], shape=inner, count_include_pad=1, **attrs)
        found = _undone(w, average, steps.size_of(attrs["kernel_shape"]), shape, outer, order)
    else:
        negated = kind.reduce == "ReduceMin"
        x = w.apply("Neg", [x]) if negated else x
        found = w.apply("MaxPool", [x], shape=inner, **attrs)
        found = _back(w, w.apply("Neg", [found]) if negated else found, shape, outer, order)
    return found


def _back(w: Writer, x: Value, shape: tuple[int, ...], outer: tuple[int, ...], order: Sequence[int]) -> Value:
    """The dimensions in their own order."""
    x = steps.reshape(w, x, (*outer, *(shape[axis] for axis in order[len(outer) :])))
    return steps.transpose(w, x, [order.index(axis) for axis in range(len(order))])


def _undone(
    w: Writer, average: Value, count: int, shape: tuple[int, ...], outer: tuple[int, ...], order: Sequence[int]
) -> Value:
    """The sum that an average was made of; the average is remembered, for whoever divides the sum again."""
    average = _back(w, average, shape, outer, order)
    found = w.apply("Mul", [average, steps.number(w, count, average.dtype)])
    w.root.multiples[found.name] = (average, count)
    return found


def _taps(w: Writer, kind: _Kind, x: Value, windows: list[_Window], neutral: Value) -> Value:
    if sum(a.size for a in windows) > MOST_TAPS:
        raise UnsupportedOpError(f"a window of {[a.size for a in windows]} of {x.dtype}")
    x = steps.pad(w, x, neutral, [a.low for a in windows], [a.high for a in windows])
    for axis, a in enumerate(windows):
        if a.is_trivial:
            continue
        count, result = a._replace(low=0, high=0).count(x.type.shape[axis]), None
        for place in range(a.size):
            first = place * a.dilation
            tap = steps.part(w, x, axis, first, first + (count - 1) * a.stride + 1, a.stride)
            result = tap if result is None else kind.fold(w, result, tap)
        assert result is not None
        x = result
    return x


WINDOWS = {
    "reduce_window_sum": _windows(_Kind("ReduceSum", lambda w, a, b: w.apply("Add", [a, b]), lambda dtype: 0)),
    "reduce_window_max": _windows(_Kind("ReduceMax", either("Max", "Or"), lambda dtype: extreme(dtype, False))),
    "reduce_window_min": _windows(_Kind("ReduceMin", either("Min", "And"), lambda dtype: extreme(dtype, True))),
}
