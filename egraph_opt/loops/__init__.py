# SPDX-License-Identifier: Apache-2.0
"""Loops and branches as a whole: what nobody reads, what can leave them, what has a closed form."""

from egraph_opt.loops.passes import LAWS as LAWS
from egraph_opt.loops.passes import improved as improved
