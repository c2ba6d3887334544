# SPDX-License-Identifier: Apache-2.0
"""Programs that hold less at once: large intermediates are made and used up a block at a time, in a loop."""

from egraph_opt.memory.blocks import BLOCKS as BLOCKS
from egraph_opt.memory.blocks import LAWS as LAWS
from egraph_opt.memory.blocks import blocked as blocked
from egraph_opt.memory.choose import smallest as smallest
from egraph_opt.memory.choose import temporary_size as temporary_size
