# SPDX-License-Identifier: Apache-2.0
"""Operations that make one tensor of several or of copies, and the other way round."""

from __future__ import annotations

from egraph_opt.ops.captured import captured
from egraph_opt.ops.elementwise import LAX
from egraph_opt.ops.layout import f32
from egraph_opt.ops.op import Trait

captured(
    "stack",
    ((f32(3), f32(3)), {"axis": 0}),
    page="https://docs.jax.dev/en/latest/_autosummary/jax.numpy.stack.html",
    traits=(Trait.LAYOUT,),
    doc="operands along a new dimension",
)
captured(
    "unstack",
    ((f32(3, 2),), {"axis": 0}),
    page="https://docs.jax.dev/en/latest/_autosummary/jax.numpy.unstack.html",
    traits=(Trait.LAYOUT, Trait.LINEAR),
    arity=1,
    doc="slices along a dimension, one result each",
)
captured(
    "tile",
    ((f32(3, 2),), {"reps": (2, 1)}),
    page=LAX.format("tile"),
    traits=(Trait.LAYOUT, Trait.LINEAR),
    arity=1,
    doc="the tensor repeated along its dimensions",
)
