# SPDX-License-Identifier: Apache-2.0
"""The attention kernel: its pattern, its lowerings and what is said of its keywords."""

from __future__ import annotations

import math

from egraph_opt.kernels import attention_costs as costs
from egraph_opt.kernels import attention_ways as ways
from egraph_opt.kernels.attention_pattern import SAMPLE, Static, pattern
from egraph_opt.kernels.record import Kernel
from egraph_opt.ops.kernel import Lowering


def _describe(static: Static) -> str:
    return ", ".join(
        [
            *_band(static["ahead"], static["behind"]),
            *([] if static["cap"] is None else [f"cap {static['cap']:.4g}"]),
            *(name for name in ("bias", "mask") if static[name]),
            *(["NaN guard"] if static["guard"] else []),
        ]
    )


def _band(ahead: int | None, behind: int | None) -> list[str]:
    """What is said of a band: a window has so many keys."""
    said = []
    if ahead is not None and (behind is None or ahead == 0):
        said.append("causal" if not ahead else f"causal, {ahead:+d} keys")
    if behind is not None and ahead is None:
        said.append("keys ahead" if not behind else f"keys ahead, {behind:+d} keys")
    elif behind is not None and ahead is not None:
        said.append(f"window {behind + 1}" if not ahead else f"window {-behind:+d} to {ahead:+d}")
    return said


ATTENTION = Kernel(
    name="attention",
    pattern=pattern,
    shapes=("b g t h", "b s h", "b s e"),
    result="b g t e",
    lowerings=(
        Lowering(
            name="banded",
            function=ways.banded,
            when=ways.can_band,
            seconds=costs.banded_seconds,
            temporary_bytes=costs.banded_bytes,
            differentiable=True,
        ),
        Lowering(
            name="triangle",
            function=ways.triangle,
            when=ways.can_triangle,
            seconds=costs.triangle_seconds,
            temporary_bytes=costs.triangle_bytes,
            differentiable=True,
        ),
        Lowering(
            name="chunked",
            function=ways.chunked,
            when=lambda types, static: ways.is_long(types),
            seconds=costs.chunked_seconds,
            temporary_bytes=costs.chunked_bytes,
            differentiable=True,
        ),
        Lowering(
            name="cudnn",
            function=ways.cudnn,
            devices=("gpu",),
            when=ways.can_cudnn,
            seconds=costs.cudnn_seconds,
            temporary_bytes=costs.cudnn_bytes,
            differentiable=True,
        ),
    ),
    samples=(
        SAMPLE,
        SAMPLE | {"ahead": 0},
        SAMPLE | {"ahead": 0, "fill": -1e9},
        SAMPLE | {"wide": False, "guard": True, "ahead": 2},
        SAMPLE | {"ahead": 0, "behind": 3, "cap": 30.0},
        SAMPLE | {"ahead": 1, "behind": 1, "fill": -math.inf},
    ),
    describe=_describe,
    doc="softmax(scale q k' + bias, masked) v",
    families=frozenset({"exp"}),
)
