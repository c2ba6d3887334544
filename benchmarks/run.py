# SPDX-License-Identifier: Apache-2.0
"""Run benchmark suites: the same as ``egraph-opt bench``.

python -m benchmarks.run                       a few cases of every suite
python -m benchmarks.run algebra               a suite
python -m benchmarks.run kalman_step "Jv"      single cases
"""

import sys

from egraph_opt.bench.command import main

if __name__ == "__main__":
    sys.exit(main())
