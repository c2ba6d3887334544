# SPDX-License-Identifier: Apache-2.0
"""What was done to a program and why, and why something was not done."""

from egraph_opt.explain.explanation import Explanation as Explanation
from egraph_opt.explain.explanation import explain as explain
from egraph_opt.explain.why_not import why_not as why_not
