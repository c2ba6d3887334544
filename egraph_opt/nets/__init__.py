# SPDX-License-Identifier: Apache-2.0
"""Neural networks as a whole: products that share an operand are merged, convolutions spelled as what is faster."""

from egraph_opt.nets.conv_operands import conv_operands as conv_operands
from egraph_opt.nets.convs import conv_products as conv_products
from egraph_opt.nets.kernel_sums import conv_sums as conv_sums
from egraph_opt.nets.passes import CONV_OPERANDS as CONV_OPERANDS
from egraph_opt.nets.passes import CONV_PRODUCT as CONV_PRODUCT
from egraph_opt.nets.passes import CONV_SUM as CONV_SUM
from egraph_opt.nets.passes import LAWS as LAWS
from egraph_opt.nets.passes import REQUANTISED as REQUANTISED
from egraph_opt.nets.passes import merged as merged
from egraph_opt.nets.requantised import requantised as requantised
