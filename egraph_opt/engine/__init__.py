# SPDX-License-Identifier: Apache-2.0
"""The e-graph engine: rules, saturation under limits, and the e-graph as plain tables. egglog is known here only."""

from egraph_opt.engine import attributes_bands as attributes_bands
from egraph_opt.engine import attributes_block_solves as attributes_block_solves
from egraph_opt.engine import attributes_blocks as attributes_blocks
from egraph_opt.engine import attributes_casts as attributes_casts
from egraph_opt.engine import attributes_elementwise as attributes_elementwise
from egraph_opt.engine import attributes_kronecker as attributes_kronecker
from egraph_opt.engine import attributes_low_rank as attributes_low_rank
from egraph_opt.engine import attributes_quotients as attributes_quotients
from egraph_opt.engine import attributes_rows as attributes_rows
from egraph_opt.engine import attributes_selections as attributes_selections
from egraph_opt.engine import attributes_slices as attributes_slices
from egraph_opt.engine import attributes_solves as attributes_solves
from egraph_opt.engine import attributes_structure as attributes_structure
from egraph_opt.engine import patterns as patterns
from egraph_opt.engine.limits import Limits as Limits
from egraph_opt.engine.limits import SaturationReport as SaturationReport
from egraph_opt.engine.rule import Rule as Rule
from egraph_opt.engine.rule import RuleSet as RuleSet
from egraph_opt.engine.saturate import Saturation as Saturation
from egraph_opt.engine.snapshot import ENode as ENode
from egraph_opt.engine.snapshot import Snapshot as Snapshot
