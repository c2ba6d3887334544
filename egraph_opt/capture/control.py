# SPDX-License-Identifier: Apache-2.0
"""Control flow: ``scan``, ``while`` and ``cond`` become nodes with sub-graphs.

At the boundary of a sub-graph tensors have their true shapes.
"""

from __future__ import annotations

from egraph_opt.capture.scope import Handler

HANDLERS: dict[str, Handler] = {}
