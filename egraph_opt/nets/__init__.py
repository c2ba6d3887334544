# SPDX-License-Identifier: Apache-2.0
"""Neural networks as a whole: products and convolutions that share an operand are merged, where that pays."""

from egraph_opt.nets.passes import LAWS as LAWS
from egraph_opt.nets.passes import merged as merged
