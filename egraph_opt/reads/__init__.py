# SPDX-License-Identifier: Apache-2.0
"""What is read of each tensor: programs that compute no more of a tensor than somebody reads."""

from egraph_opt.reads.folds import folded as folded
from egraph_opt.reads.narrow import narrowed as narrowed
