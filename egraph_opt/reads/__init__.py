# SPDX-License-Identifier: Apache-2.0
"""What is read of each tensor: programs that compute no more of a tensor than somebody reads."""

from egraph_opt.reads.elements import picked as picked
from egraph_opt.reads.folds import folded as folded
from egraph_opt.reads.narrow import narrowed as narrowed
from egraph_opt.reads.ordered import ordered as ordered

READ_PART = "read-part"
"""What reports call a program of which only a part is computed."""

LAWS = {
    READ_PART: "a part of a result is computed of parts of the operands",
    "read-elements": "elements of a product are computed of rows of its operands",
    "read-order": "values read in the order of their own sort are the sorted values",
    "read-fold": "sums, extremes and the first few do without the order that their operand was given",
}
"""What each pass does, in one line."""
