# SPDX-License-Identifier: Apache-2.0
"""Time and memory from capture to lowering of a whole AdamW training step of GPT-2 small, layers written out.

    python -m benchmarks.gpt2_step
    python -m benchmarks.gpt2_step --layers 2 --budget 2

Nothing is verified, timed or compiled: these are the costs of the optimiser itself. The bar for 12 layers is 15 s and
2 GB beyond the arrays of the caller. Memory is the highest resident size of this process over what it was when the
arrays were there, so each run wants a process of its own.
"""

import argparse
import json
import resource
import sys
import time
from collections import Counter
from pathlib import Path

import jax

from benchmarks.programs.neural import gpt2_adamw_step
from egraph_opt.bench.run import versions
from egraph_opt.capture import capture
from egraph_opt.cost import cost_model, count_graph
from egraph_opt.engine import RuleSet
from egraph_opt.ir.numerics import Numerics
from egraph_opt.lower import lower_graph
from egraph_opt.search import SearchOptions, search

BAR_SECONDS = 15.0
BAR_BYTES = 2e9


def peak_bytes() -> float:
    """Highest resident size so far [byte]."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1.0 if sys.platform == "darwin" else 1024.0)


def resident_bytes() -> float:
    """Resident size now where the system tells it, else the highest so far [byte]."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_bytes()
    return float(pages * resource.getpagesize())


class Stages:
    """Seconds and peak memory at the end of each stage."""

    def __init__(self) -> None:
        self.start_bytes, self._last = resident_bytes(), time.perf_counter()
        self.figures: dict[str, float] = {}

    def done(self, stage: str) -> None:
        """Note the end of a stage."""
        now = time.perf_counter()
        self.figures[f"seconds_{stage}"] = round(now - self._last, 2)
        self.figures[f"peak_mb_{stage}"] = round((peak_bytes() - self.start_bytes) / 1e6)
        self._last = time.perf_counter()


def main() -> int:
    """Print one JSON object; the status is 1 when the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--budget", type=float, default=2.0, help="seconds of search")
    options = parser.parse_args()
    function, args = gpt2_adamw_step(layers=options.layers)
    jax.block_until_ready(args)
    equations = len(jax.make_jaxpr(function)(*args).eqns)
    stages = Stages()
    captured = capture(function, args)
    stages.done("capture")
    rules = RuleSet.shipped().admitted(Numerics.REASSOCIATE)
    cost = cost_model("roofline", jax.default_backend())
    found = search(captured.graph, SearchOptions(rules, Numerics.REASSOCIATE, options.budget, cost))
    stages.done("search")
    best = found.candidates[0].graph
    lowered = lower_graph(best, captured.tracebacks)
    stages.done("lower")
    leaves = [*captured.arguments.leaves, *captured.constants]
    jax.jit(lambda leaves: lowered(leaves)).lower(leaves)
    stages.done("stablehlo")
    seconds = sum(stages.figures[f"seconds_{stage}"] for stage in ("capture", "search", "lower"))
    beyond = 1e6 * stages.figures["peak_mb_lower"]
    row = {
        **versions(),
        "layers": options.layers,
        "equations": equations,
        "argument_mb": round(sum(leaf.nbytes for leaf in jax.tree.leaves(args)) / 1e6),
        **stages.figures,
        "seconds_by_stage_of_search": {k: round(v, 2) for k, v in found.seconds.items()},
        "nodes": [len(captured.graph), len(best)],
        "flops": [count_graph(captured.graph).flops, count_graph(best).flops],
        "einsums": [Counter(node.op for node in graph)["einsum"] for graph in (captured.graph, best)],
        "enodes": found.saturation.nodes,
        "stopped": found.saturation.stop_reason,
        "gap": found.extraction.gap if found.extraction else None,
        "notes": found.notes,
        "seconds": round(seconds, 2),
        "beyond_arrays_mb": round(beyond / 1e6),
    }
    print(json.dumps(row, indent=2))
    return int(seconds > BAR_SECONDS or beyond > BAR_BYTES)


if __name__ == "__main__":
    sys.exit(main())
