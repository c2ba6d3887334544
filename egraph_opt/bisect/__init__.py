# SPDX-License-Identifier: Apache-2.0
"""Names an unsound rule in a few runs and shrinks the program that shows it."""

from egraph_opt.bisect.run import bisect as bisect
