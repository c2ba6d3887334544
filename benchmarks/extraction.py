# SPDX-License-Identifier: Apache-2.0
"""Cost, bound and time of the extractors on a folder of e-graphs, as a Markdown table.

    python benchmarks/extraction.py tests/data/egraphs
    python benchmarks/extraction.py FOLDER --extractors greedy-dag,portfolio --budget 5 --seeds 3

Costs are relative to the best that any listed extractor found on the e-graph; with several seeds the worst is shown.
"""

import argparse
import sys
import time
from pathlib import Path

from egraph_opt.errors import ExtractionError
from egraph_opt.extract import EXTRACTORS, Extraction, Table, load_table
from egraph_opt.extract.reduction import reduce
from egraph_opt.extract.smaller import trimmed


def reduction_cell(table: Table, limit: float) -> str:
    """Nodes left after trimming and reduction against an incumbent, and the seconds that the reduction takes."""
    small, tree = trimmed(table)
    started = time.perf_counter()
    reduced = reduce(small.table, tree, limit * (1 + 1e-9))
    seconds = time.perf_counter() - started
    assert reduced is not None, "the incumbent itself is within the limit"
    return f"{len(small.table.cost)} -> {len(reduced.table.cost)} | {seconds:.2f}"


def cell(runs: list[Extraction], best: float) -> str:
    """Worst excess over the best cost, gap and seconds of some runs."""
    worst = max(runs, key=lambda run: run.cost)
    excess = worst.cost / best - 1.0 if best else 0.0
    gap = max(run.gap for run in runs)
    proof = "proven" if gap <= 1e-4 else f"gap {gap:.1g}" if gap < 1.0 else "-"
    return f"{100 * max(0.0, excess):.3f} % | {proof} | {max(run.seconds for run in runs):.2f}"


def main() -> int:
    """Print the table of a folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of e-graphs in JSON")
    parser.add_argument("--extractors", default="tree,greedy-dag,local-search,portfolio", help=f"of {list(EXTRACTORS)}")
    parser.add_argument("--budget", type=float, default=0.3, help="seconds per extraction")
    parser.add_argument("--seeds", type=int, default=1, help="runs with different seeds")
    options = parser.parse_args()
    names = options.extractors.split(",")
    heads = ["e-graph", "nodes", "trimmed -> reduced", "s", "best cost"]
    heads += [head for name in names for head in (name, "proof", "s")]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for path in sorted(options.folder.glob("*.json")):
        try:
            table = load_table(path)
        except ExtractionError as error:
            print(error, file=sys.stderr)
            return 2
        runs = {
            name: [EXTRACTORS[name].function(table, options.budget, seed=seed) for seed in range(options.seeds)]
            for name in names
        }
        best = min(run.cost for group in runs.values() for run in group)
        cells = [path.stem, str(len(table.cost)), reduction_cell(table, best), f"{best:.8g}"]
        print("| " + " | ".join(cells + [cell(group, best) for group in runs.values()]) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
