# SPDX-License-Identifier: Apache-2.0
"""The suites: modules of cases, shipped inside an installed package or beside it in a checkout."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from egraph_opt.bench.case import Case
from egraph_opt.errors import ArgumentError

PACKAGE = "egraph_opt._benchmarks"
SUITES = {
    "laab": "the 17 scored tests of the LAAB linear algebra awareness benchmark, and its blocked case",
    "linnea": "the 25 application expressions of Linnea, their properties declared",
    "spores": "inner loops of ALS, GLM, SVM, MLR and PNMF",
    "linalg": "contractions, factoring, solves, decompositions, determinants",
    "partial": "results of which only a part is read, and reductions of products",
    "structure": "diagonal, triangular, banded, permutation, Kronecker, circulant, low rank",
    "derivatives": "Jacobians, Hessians, Laplacians, residuals of physics-informed networks",
    "loops": "scan, while and cond; elementwise algebra",
    "algebra": "matrix expressions and derivatives of small networks, with the count to be reached",
    "neural": "networks and their training steps",
    "science": "scientific computing",
    "tensat": "the graphs of the TENSAT paper",
}
"""Names of the modules with what is in them, in the order of runs."""


SCORED = tuple(SUITES)[: list(SUITES).index("neural")]
"""Suites whose cases have a hand form, or the count of one."""

FAMILIES = {
    "A": "order of products",
    "B": "sharing through transposes",
    "C": "factoring and expanding",
    "D": "partial access",
    "E": "reductions of products",
    "F": "structure, solves, decompositions",
    "G": "contraction of many operands",
    "H": "sum-product expressions",
    "K": "elementwise algebra",
    "L": "derivatives",
    "M": "loops and branches",
}
"""What the identities of a family are about."""


@dataclass(frozen=True, slots=True)
class Selected:
    """A case and the suite it is from."""

    suite: str
    case: Case


def folder() -> Path:
    """Where the suites lie."""
    inside = Path(__file__).resolve().parents[1] / "_benchmarks"
    return inside if inside.is_dir() else Path(__file__).resolve().parents[2] / "benchmarks" / "programs"


def _package() -> str:
    """Make the folder importable under a name that no other package has."""
    if PACKAGE not in sys.modules:
        path = folder()
        spec = importlib.util.spec_from_file_location(
            PACKAGE, path / "__init__.py", submodule_search_locations=[str(path)]
        )
        if spec is None or spec.loader is None or not (path / "__init__.py").is_file():
            raise ArgumentError(f"bench: no suites in {path}; install the package again")
        module = importlib.util.module_from_spec(spec)
        sys.modules[PACKAGE] = module
        spec.loader.exec_module(module)
    return PACKAGE


@cache
def suite(name: str) -> tuple[Case, ...]:
    """All cases of a suite.

    Raises:
        ArgumentError: no such suite.
    """
    if name not in SUITES:
        raise ArgumentError(f"bench {name}: no such suite; {_nearest(name, SUITES)}")
    cases: tuple[Case, ...] = importlib.import_module(f"{_package()}.{name}").CASES
    return cases


def select(names: Sequence[str], quick: bool = False) -> list[Selected]:
    """Cases of the given suites and names.

    Args:
        names: suites, single cases, or "suite/case"; nothing stands for a quick run of all suites.
        quick: only the first case of each family and suite; single cases are kept.

    Raises:
        ArgumentError: a name that is none of them.
    """
    chosen: list[Selected] = []
    for name in names or SUITES:
        if name in SUITES:
            every = [Selected(name, case) for case in suite(name)]
            chosen += _first_of_families(every) if quick or not names else every
        else:
            chosen += _single(name)
    return list(dict.fromkeys(chosen))


def _single(name: str) -> list[Selected]:
    known = [Selected(s, case) for s in SUITES for case in suite(s)]
    found = [one for one in known if name in (one.case.name, f"{one.suite}/{one.case.name}")]
    if not found:
        near = _nearest(name, [*SUITES, *(one.case.name for one in known)])
        raise ArgumentError(f"bench {name}: no such suite or case; {near}; --list shows all")
    return found


def _first_of_families(cases: Sequence[Selected]) -> Iterator[Selected]:
    seen: set[str] = set()
    for one in cases:
        if one.case.family not in seen:
            seen.add(one.case.family)
            yield one


def _nearest(name: str, known: Sequence[str] | dict[str, str]) -> str:
    near = get_close_matches(name, list(known), 3, 0.5)
    return f"nearest: {', '.join(near)}" if near else f"suites are {', '.join(SUITES)}"
