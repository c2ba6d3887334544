# SPDX-License-Identifier: Apache-2.0
"""The clock of searches counts work, within bounds of the wall."""

import pytest

from egraph_opt.clock import PATIENCE, WorkClock


@pytest.mark.parametrize(
    ("wall", "work", "counted"),
    [
        (1.0, 1.0, 1.0),  # alone on the machine
        (2.0, 1.0, 1.0),  # another job has half of the core
        (30.0, 1.0, 30.0 / PATIENCE),  # a search that hardly gets on must end, too
        (1.0, 2.0, 1.0),  # other threads of the process compute
        (0.0, 0.0, 0.0),
    ],
)
def test_work_within_bounds_of_the_wall(wall, work, counted):
    now = [0.0, 0.0]
    clock = WorkClock(lambda: now[0], lambda: now[1])
    for _ in range(3):
        before = clock.now()
        now[0] += wall
        now[1] += work
        assert clock.now() - before == pytest.approx(counted)
