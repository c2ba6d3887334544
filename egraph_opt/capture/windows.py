# SPDX-License-Identifier: Apache-2.0
"""Window sums of uniform arrays: the counts by which an average pool divides.

Left alone, ``reduce_window(ones)`` is folded by XLA at compile time, which takes minutes on some models. The counts
are a product of one row of numbers for each axis.
"""

from __future__ import annotations

from egraph_opt.capture.scope import Handler

HANDLERS: dict[str, Handler] = {}
