# SPDX-License-Identifier: Apache-2.0
"""A small typed face of HiGHS: columns and rows in, a relaxation or an integer solution out, under a deadline.

The only file that touches ``highspy``. One thread, as callers count on reproducible results and on the other cores
being theirs.
"""

from collections.abc import Sequence
from math import inf
from typing import Any, NamedTuple

import highspy
import numpy as np
from numpy.typing import NDArray

from egraph_opt import clock

Highs: Any = highspy.Highs  # its methods carry no types
Floats = NDArray[np.float64]

OVERSHOOT = 0.15  # share of its time limit by which branch and bound may come late


class Row(NamedTuple):
    """``lower <= sum(coefficient * column) <= upper``."""

    columns: Sequence[int]
    coefficients: Sequence[float]
    lower: float
    upper: float


class Relaxation(NamedTuple):
    """Solution of the linear relaxation: its value, a value and a reduced cost per column."""

    value: float
    point: Floats
    reduced_costs: Floats


class Solver:
    """A minimisation problem over columns between 0 and 1 (or wider), growing by rows."""

    def __init__(self, costs: Sequence[float], lower: Sequence[float]) -> None:
        """Start with one column per cost, at least ``lower`` and at most 1."""
        self._highs: Any = Highs()
        self._highs.setOptionValue("output_flag", False)
        self._highs.setOptionValue("threads", 1)
        count = len(costs)
        empty = np.zeros(0, np.int32)
        self._highs.addCols(
            count, np.array(costs), np.array(lower), np.ones(count), 0, np.zeros(1, np.int32), empty, np.zeros(0)
        )

    def add_column(self, upper: float) -> int:
        """Add a free-of-charge column between 0 and ``upper``; -> its number."""
        number: int = self._highs.getNumCol()
        self._highs.addVar(0.0, upper)
        return number

    def add_rows(self, rows: Sequence[Row]) -> None:
        """Add constraints; the next solve starts from the last basis."""
        if not rows:
            return
        limit = highspy.kHighsInf
        starts = np.cumsum([0, *[len(row.columns) for row in rows[:-1]]], dtype=np.int32)
        columns = np.array([j for row in rows for j in row.columns], dtype=np.int32)
        values = np.array([v for row in rows for v in row.coefficients], dtype=np.float64)
        lower = np.array([max(row.lower, -limit) for row in rows])
        upper = np.array([min(row.upper, limit) for row in rows])
        self._highs.addRows(len(rows), lower, upper, len(columns), starts, columns, values)

    def _run(self, deadline: float) -> Any:
        left = max(0.001, deadline - clock.now())
        self._highs.setOptionValue("time_limit", float(self._highs.getRunTime() + left))
        self._highs.run()
        return self._highs.getModelStatus()

    def relax(self, deadline: float) -> Relaxation | None:
        """Solve the linear relaxation; None when the deadline struck, a value of infinity when it is infeasible."""
        status = self._run(deadline)
        if status == highspy.HighsModelStatus.kInfeasible:
            return Relaxation(inf, np.zeros(0), np.zeros(0))
        if status != highspy.HighsModelStatus.kOptimal:
            return None
        solution = self._highs.getSolution()
        value: float = self._highs.getInfo().objective_function_value
        return Relaxation(value, np.array(solution.col_value), np.array(solution.col_dual))

    def make_integer(self, count: int, gap: float) -> None:
        """Ask for whole numbers in the first ``count`` columns, up to a relative gap."""
        kinds = np.array([highspy.HighsVarType.kInteger] * count)
        self._highs.changeColsIntegrality(count, np.arange(count, dtype=np.int32), kinds)
        self._highs.setOptionValue("mip_rel_gap", gap)
        self._highs.setOptionValue("mip_heuristic_effort", 0.02)

    def branch(self, ones: Sequence[int], deadline: float) -> tuple[float, Floats]:
        """Branch and bound, warm-started with the columns that are one; -> proven bound, best point (maybe empty)."""
        self._highs.setSolution(len(ones), np.array(ones, np.int32), np.ones(len(ones)))
        left = deadline - clock.now()
        self._run(deadline - OVERSHOOT * left)
        bound: float = self._highs.getInfo().mip_dual_bound
        return bound, np.array(self._highs.getSolution().col_value)
