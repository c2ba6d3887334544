# SPDX-License-Identifier: Apache-2.0
"""The soundness check of rules: random instances through the engine, judged, and counterexamples shrunk."""

from egraph_opt.rules.check.run import QUICK_TRIALS as QUICK_TRIALS
from egraph_opt.rules.check.run import Verdict as Verdict
from egraph_opt.rules.check.run import check_rule as check_rule
from egraph_opt.rules.check.run import check_rules as check_rules
