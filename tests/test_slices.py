# SPDX-License-Identifier: Apache-2.0
"""The algebra of slices against numpy: a slice after an operation equals what is done on slices of its operands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from egraph_opt.ir import slices
from egraph_opt.ir.slices import Range, parse_slice, slice_text

ROUNDS = 400


def draw(rng: np.random.Generator, size: int) -> Range:
    """A range that takes something, often all."""
    if size == 0 or rng.random() < 0.3:
        return Range(0, size)
    start = int(rng.integers(size))
    return Range(start, int(rng.integers(start + 1, size + 1)), int(rng.choice([1, 1, 2, 3])))


def cut(x: Any, text: str) -> Any:
    return x[tuple(slice(r.start, r.limit, r.stride) for r in parse_slice(text))]


def numbered(shape: Sequence[int], start: int = 0) -> Any:
    return np.arange(start, start + int(np.prod(shape))).reshape(shape)


def divided(rng: np.random.Generator, size: int, parts: int) -> tuple[int, ...]:
    """A shape of so many dimensions with ``size`` elements."""
    if parts == 1:
        return (size,)
    first = int(rng.choice([d for d in range(1, size + 1) if size % d == 0]))
    return (first, *divided(rng, size // first, parts - 1))


def test_text_reads_back() -> None:
    ranges = (Range(1, 4), Range(0, 7, 2))
    assert parse_slice(slice_text(ranges)) == ranges
    assert slice_text(ranges[:1]) == "start_indices=(1,), limit_indices=(4,), strides=None"


@pytest.mark.parametrize("seed", range(3))
def test_slices_of_reshapes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    moved = 0
    for _ in range(ROUNDS):
        size = int(rng.choice([1, 2, 4, 6, 12, 24]))
        old, new = (divided(rng, size, int(rng.integers(1, 4))) for _ in range(2))
        x = numbered(old)
        text = slice_text([draw(rng, n) for n in new])
        found = slices.slice_of_reshape(text, old, new)
        if found is not None:
            np.testing.assert_array_equal(cut(x, found[0]).reshape(found[1]), cut(x.reshape(new), text))
            moved += 1
    assert moved > ROUNDS / 3


def test_no_slice_is_read_before_a_reshape_of_nothing() -> None:
    text = slices.slice_text([slices.Range(0, 0), slices.Range(7, 7)])
    assert slices.slice_of_reshape(text, (0,), (0, 7)) is None


@pytest.mark.parametrize("seed", range(3))
def test_slices_of_slices_reversals_and_reductions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(ROUNDS):
        shape = tuple(int(n) for n in rng.integers(1, 6, 2))
        x = numbered(shape)
        inner = slice_text([draw(rng, n) for n in shape])
        outer = slice_text([draw(rng, n) for n in cut(x, inner).shape])
        np.testing.assert_array_equal(cut(x, slices.slice_of_slice(outer, inner)), cut(cut(x, inner), outer))
        turned = [d for d in range(2) if rng.random() < 0.5]
        before = slices.slice_of_reversal(inner, turned, shape)
        np.testing.assert_array_equal(np.flip(cut(x, before), turned), cut(np.flip(x, turned), inner))
        axis = int(rng.integers(2))
        kept = slice_text([draw(rng, shape[1 - axis])])
        whole = slices.slice_of_reduction(kept, (axis,), shape)
        np.testing.assert_array_equal(cut(x, whole).max(axis), cut(x.max(axis), kept))


@pytest.mark.parametrize("seed", range(3))
def test_slices_of_concatenations_and_cumulative_sums(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = set()
    for _ in range(ROUNDS):
        axis = int(rng.integers(2))
        shape = [int(n) for n in rng.integers(1, 6, 2)]
        other = [int(rng.integers(1, 6)) if d == axis else n for d, n in enumerate(shape)]
        x, y = numbered(shape), numbered(other, 100)
        joined = np.concatenate([x, y], axis)
        text = slice_text([draw(rng, n) for n in joined.shape])
        found = slices.slice_of_concatenation(text, axis, tuple(shape), tuple(other))
        if found is None:
            assert cut(joined, text).shape == joined.shape
        else:
            parts = [
                cut(z, found[key])
                for z, key in ((x, "left"), (y, "right"), (x, "both-x"), (y, "both-y"))
                if key in found
            ]
            np.testing.assert_array_equal(np.concatenate(parts, axis), cut(joined, text))
            kinds |= set(found)
        reverse = bool(rng.integers(2))
        text = slice_text([draw(rng, n) for n in shape])
        total = np.flip(np.cumsum(np.flip(x, axis), axis), axis) if reverse else np.cumsum(x, axis)
        scan = slices.slice_of_scan(text, axis, reverse, tuple(shape))
        if scan is not None and "total" in scan:
            np.testing.assert_array_equal(cut(x, scan["total"]).sum(axis, keepdims=True), cut(total, text))
        elif scan is not None:
            rest = cut(x, scan["rest"])
            again = np.flip(np.cumsum(np.flip(rest, axis), axis), axis) if reverse else np.cumsum(rest, axis)
            np.testing.assert_array_equal(cut(again, scan["then"]), cut(total, text))
        kinds |= set(scan or ())
    assert kinds == {"left", "right", "both-x", "both-y", "total", "rest", "then"}
