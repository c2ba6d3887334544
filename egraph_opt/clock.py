# SPDX-License-Identifier: Apache-2.0
"""The clock of searches: seconds of work, so that a busy machine does not cut a search short.

A budget in seconds of the wall would make the result depend on what else runs: with two other jobs on the same core a
search got a third of its steps and ended with worse programs. So the clock runs with the processor time of this
process, never faster than the wall and never slower than a third of it: a budget of two seconds takes six at the most.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PATIENCE = 3.0
"""Seconds of the wall that count as one second of work at least."""


class WorkClock:
    """Adds up steps of both clocks; threads that search at the same time share the processor time that they use.

    Args:
        walls: gives seconds of the wall [s].
        works: gives seconds of the processor [s].
    """

    def __init__(
        self, walls: Callable[[], float] = time.perf_counter, works: Callable[[], float] = time.process_time
    ) -> None:
        self._lock = threading.Lock()
        self._walls, self._works = walls, works
        self._wall, self._work, self._value = walls(), works(), 0.0

    def now(self) -> float:
        """Seconds of work since the clock was made [s]."""
        with self._lock:
            wall, work = self._walls(), self._works()
            passed = wall - self._wall
            self._value += min(passed, max(work - self._work, passed / PATIENCE))
            self._wall, self._work = wall, work
            return self._value


now = WorkClock().now
