# SPDX-License-Identifier: Apache-2.0
"""Which cases need more arithmetic than their hand form today, by family: what rules have yet to reach.

python -m benchmarks.gaps                      all suites with hand forms
python -m benchmarks.gaps linalg loops
"""

import sys

from egraph_opt.bench.command import main

SCORED = ["laab", "linnea", "spores", "linalg", "partial", "structure", "derivatives", "loops", "algebra"]

if __name__ == "__main__":
    given = sys.argv[1:]
    named = [name for name in given if not name.startswith("-")]
    sys.exit(main(["--gaps", *given, *([] if named else SCORED)]))
