# SPDX-License-Identifier: Apache-2.0
"""Timing of candidates against the original, the decision between them, and the calibration of a device."""

from egraph_opt.measure.calibrate import calibrate as calibrate
from egraph_opt.measure.choose import choose as choose
from egraph_opt.measure.choose import confirmed as confirmed
from egraph_opt.measure.race import Outcome as Outcome
from egraph_opt.measure.race import race as race
from egraph_opt.measure.timing import Measurement as Measurement
from egraph_opt.measure.timing import Stopwatch as Stopwatch
from egraph_opt.measure.timing import Timing as Timing
from egraph_opt.measure.timing import measure as measure
