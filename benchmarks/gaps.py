# SPDX-License-Identifier: Apache-2.0
"""Which cases need more arithmetic than their hand form today, by family: the same as ``egraph-opt bench --gaps``.

python -m benchmarks.gaps                      all suites with hand forms
python -m benchmarks.gaps linalg loops
"""

import sys

from egraph_opt.bench.command import main

if __name__ == "__main__":
    sys.exit(main(["--gaps", *sys.argv[1:]]))
