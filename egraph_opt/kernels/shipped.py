# SPDX-License-Identifier: Apache-2.0
"""The shipped kernels, joined from the families' files."""

from __future__ import annotations

from egraph_opt.kernels import activations, cross_entropy, norms, softmax
from egraph_opt.kernels.attention import ATTENTION
from egraph_opt.kernels.integer_products import INTEGER_PRODUCT
from egraph_opt.kernels.record import Kernel, add
from egraph_opt.kernels.rotary import ROTARY

SHIPPED: tuple[Kernel, ...] = (
    ATTENTION,
    ROTARY,
    INTEGER_PRODUCT,
    *softmax.KERNELS,
    *cross_entropy.KERNELS,
    *norms.KERNELS,
    *activations.KERNELS,
)

for _kernel in SHIPPED:
    add(_kernel)
