# SPDX-License-Identifier: Apache-2.0
"""What was done to a program and why, and why something was not done."""

from egraph_opt.explain.summary import summary as explain
from egraph_opt.explain.why_not import why_not

__all__ = ["explain", "why_not"]
