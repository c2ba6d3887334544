# SPDX-License-Identifier: Apache-2.0
"""Orders of dimensions: intermediate values stand in the order in which the fewest tensors are copied."""

from egraph_opt.lower.orders.choose import ordered

__all__ = ["ordered"]
