# SPDX-License-Identifier: Apache-2.0
"""Why a kernel does not run in the chosen program: it was not recognised, does not fit, or did not pay."""

from __future__ import annotations

import jax

from egraph_opt.explain.verdict import WhyNot
from egraph_opt.ir.numerics import Numerics
from egraph_opt.kernels import all_kernels
from egraph_opt.ops.kernel import KERNEL
from egraph_opt.result import Result


def why_not_kernel(result: Result, name: str) -> WhyNot | None:
    """The verdict on a kernel; None where no kernel has this name.

    Args:
        result: of planning.
        name: of the kernel.
    """
    if name not in all_kernels():
        return None
    numerics = Numerics.parse(result.report.numerics)
    graphs = (result.after, *result.after.subgraphs()) if result.report.improved else ()
    running = [n for g in graphs for n in g.nodes if n.op == KERNEL and n.attr("name") == name]
    if running:
        reason = f"it runs {len(running)} times in the chosen program, by {running[0].attr('lowering')}"
        return WhyNot(name, "used", reason, value=str(len(running)))
    found = [one for one in result.search.idioms if one.kernel.name == name]
    if not found:
        reason = "no piece of the program computes what its pattern computes"
        return WhyNot(name, "absent", reason, value="its pattern")
    lines = [text for text in result.report.idioms if text.startswith(name)]
    reason = "; ".join(lines) or f"recognised {len(found)} times"
    if not any(one.lowerings(jax.default_backend(), numerics) for one in found):
        return WhyNot(name, "condition", reason, condition="a lowering that fits", value="none does")
    return WhyNot(name, "rejected", reason, value=result.report.decision)
