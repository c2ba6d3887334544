# SPDX-License-Identifier: Apache-2.0
"""The measured error gate: is a candidate as right as the original, against a float64 evaluation on sampled inputs?"""

from egraph_opt.verify.gate import Limits as Limits
from egraph_opt.verify.gate import Verifier as Verifier
from egraph_opt.verify.gate import compare as compare
from egraph_opt.verify.inputs import KINDS as KINDS
from egraph_opt.verify.inputs import sample_inputs as sample_inputs
from egraph_opt.verify.promote import promote_graph as promote_graph
from egraph_opt.verify.structured import is_guarded as is_guarded
from egraph_opt.verify.verdict import OutputVerdict as OutputVerdict
from egraph_opt.verify.verdict import Verdict as Verdict
