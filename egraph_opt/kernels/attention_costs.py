# SPDX-License-Identifier: Apache-2.0
"""What the lowerings of attention cost: seconds on a device, and bytes that are held at once."""

from __future__ import annotations

import math
from typing import Any

from egraph_opt.ir.types import itemsize
from egraph_opt.kernels.attention_pattern import Static
from egraph_opt.kernels.attention_ways import BLOCK_BYTES, Types, band_of, block_of, score_bytes, seen_by, steps


def _products(types: Types) -> float:
    b, g, t, h = types[0].shape
    return 2.0 * b * g * t * types[1].shape[1] * (h + types[2].shape[2])


def _scores(types: Types) -> float:
    b, g, t, _ = types[0].shape
    return float(b * g * t * types[1].shape[1])


def _seconds(types: Types, static: Static, share: float, starts: float, held: float, device: Any) -> float:
    """Products and exponentials of a share of the scores, which stay where so many bytes fit."""
    dtype = types[0].dtype
    scores = share * _scores(types)
    exponentials = scores * (1.0 if static["cap"] is None else 2.0)
    busy = share * _products(types) / device.product_rate(dtype) + exponentials / device.transcendentals
    traffic = 6.0 * scores * itemsize(dtype) / device.bandwidth_for(held)
    return float(8.0 * starts * device.launch_seconds + max(busy, traffic) + 0.5 * min(busy, traffic))


def chunked_seconds(types: Types, static: Static, device: Any) -> float:
    """All scores, block after block."""
    block = block_of(types, static)
    blocks = -(-types[0].shape[2] // block)
    return _seconds(types, static, 1.0, blocks, _block_bytes(types, static), device)


def triangle_seconds(types: Types, static: Static, device: Any) -> float:
    """The scores of each part with the keys that it sees."""
    count, keys = types[0].shape[2], types[1].shape[1]
    size = -(-count // steps(count))
    starts = range(0, count, size)
    seen = [seen_by(n, min(n + size, count), keys, static) for n in starts]
    rows = sum((min(n + size, count) - n) * (high - low) for n, (low, high) in zip(starts, seen, strict=True))
    blocks = max(len(seen), count // block_of(types, static))
    return _seconds(types, static, rows / (count * keys), blocks, _block_bytes(types, static), device)


def banded_seconds(types: Types, static: Static, device: Any) -> float:
    """The scores of each block with its window."""
    (b, g, t, _), keys = types[0].shape, types[1].shape[1]
    block, width = band_of(static)
    blocks = -(-t // block)
    step = g * block * width * score_bytes(types, static)
    loops = blocks * math.ceil(b / max(1.0, BLOCK_BYTES // step))
    share = blocks * block * width / (t * keys)
    return _seconds(types, static, share, loops, 2.0 * max(step, BLOCK_BYTES), device)


def cudnn_seconds(types: Types, static: Static, device: Any) -> float:
    """One launch; causal ones do half the work."""
    share = 0.55 if static["ahead"] is not None else 1.0
    return float(device.launch_seconds + 2.0 * share * _products(types) / device.product_rate(types[0].dtype))


def _block_bytes(types: Types, static: Static) -> float:
    """Scores of a block, twice, and its queries and results."""
    b, g, _, h = types[0].shape
    block = block_of(types, static)
    row = 2.0 * types[1].shape[1] + h + types[2].shape[2]
    return b * g * block * row * score_bytes(types, static)


def _result_bytes(types: Types) -> float:
    b, g, t, _ = types[0].shape
    return float(b * g * t * types[2].shape[2] * itemsize(types[2].dtype))


def chunked_bytes(types: Types, static: Static) -> float:
    """What a block holds, and queries and results in blocks."""
    return _block_bytes(types, static) + types[0].nbytes + _result_bytes(types)


def triangle_bytes(types: Types, static: Static) -> float:
    """Blocks as above; parts of the result until they are put together, and blocks of a part."""
    return _block_bytes(types, static) + 2.0 * (types[0].nbytes + _result_bytes(types))


def banded_bytes(types: Types, static: Static) -> float:
    """Queries, keys, values and results in blocks, and the scores of some blocks."""
    block, width = band_of(static)
    b, g = types[0].shape[:2]
    step = g * block * width * score_bytes(types, static)
    held = 2.0 * step * max(1.0, min(float(b), BLOCK_BYTES // step))
    return held + sum(t.nbytes for t in types[:3]) + _result_bytes(types)


def cudnn_bytes(types: Types, static: Static) -> float:
    """Sums of exponentials, and queries in another layout."""
    del static
    b, g, t, _ = types[0].shape
    return 4.0 * b * g * t + types[0].nbytes
