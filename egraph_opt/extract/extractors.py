# SPDX-License-Identifier: Apache-2.0
"""The list of extractors: tests, benchmarks and documentation are derived from it.

Adding one is one file with a function ``(table, budget, seed) -> Extraction`` and one row here.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from egraph_opt.extract.choice import Extraction
from egraph_opt.extract.exact import extract_exact
from egraph_opt.extract.greedy_dag import extract_greedy_dag
from egraph_opt.extract.local_search import extract_local_search
from egraph_opt.extract.neighbourhood import extract_neighbourhoods
from egraph_opt.extract.portfolio import extract
from egraph_opt.extract.restarts import extract_restarts
from egraph_opt.extract.table import Table
from egraph_opt.extract.tree import extract_tree


class Function(Protocol):
    """What every extractor can be called with."""

    def __call__(self, table: Table, budget: float = ..., *, seed: int = ...) -> Extraction:
        """Choose a node per class within ``budget`` seconds."""


@dataclass(frozen=True)
class Extractor:
    """One algorithm.

    Attributes:
        function: called with a table, optionally a budget [s] and a seed.
        optimal: what its result is the optimum of, given enough budget: the cost as a tree, the cost with sharing, or
            nothing.
        doc: one line for the documentation.
    """

    function: Function
    optimal: Literal["tree", "dag"] | None
    doc: str


EXTRACTORS: dict[str, Extractor] = {
    "tree": Extractor(extract_tree, "tree", "cheapest tree by a heap (Knuth)"),
    "greedy-dag": Extractor(extract_greedy_dag, None, "sets of classes below each class; the baseline"),
    "local-search": Extractor(extract_local_search, None, "one class at a time, priced by reference counts"),
    "restarts": Extractor(extract_restarts, None, "local search from perturbed trees"),
    "neighbourhoods": Extractor(extract_neighbourhoods, None, "balls of classes solved nearly exactly"),
    "exact": Extractor(extract_exact, "dag", "reduction, then branch and bound with cuts"),
    "portfolio": Extractor(extract, "dag", "all of these under one budget; what the pipeline uses"),
}
