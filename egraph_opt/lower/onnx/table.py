# SPDX-License-Identifier: Apache-2.0
"""The table of the operations that have a spelling in ONNX; einsum, add and the leaves are written by ``block``."""

from __future__ import annotations

from egraph_opt.lower.onnx.bits import BITS
from egraph_opt.lower.onnx.control import control
from egraph_opt.lower.onnx.convolution import CONVOLUTION
from egraph_opt.lower.onnx.elementwise import ELEMENTWISE
from egraph_opt.lower.onnx.layout import LAYOUT
from egraph_opt.lower.onnx.places import PLACES
from egraph_opt.lower.onnx.reduction import REDUCTION
from egraph_opt.lower.onnx.row import Row
from egraph_opt.lower.onnx.shifted import SHIFTED
from egraph_opt.lower.onnx.sorting import SORTING
from egraph_opt.lower.onnx.structured import STRUCTURED
from egraph_opt.lower.onnx.windows import WINDOWS

WRITERS: dict[str, Row] = {
    **ELEMENTWISE, **BITS, **LAYOUT, **PLACES, **SORTING, **REDUCTION, **WINDOWS, **CONVOLUTION,
    **SHIFTED, **STRUCTURED,
}  # fmt: skip
WRITERS.update(control(WRITERS))
