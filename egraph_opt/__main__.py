# SPDX-License-Identifier: Apache-2.0
"""``python -m egraph_opt`` is the command ``egraph-opt``."""

import sys

from egraph_opt.cli import main

if __name__ == "__main__":
    sys.exit(main())
