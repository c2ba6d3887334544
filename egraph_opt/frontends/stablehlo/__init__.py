# SPDX-License-Identifier: Apache-2.0
"""The StableHLO frontend.

MLIR text or bytes become records (`mlir`, `refine`, `parse`), and the records are run in JAX, op by op (`evaluate`,
`rules` and the files of op families).
"""

from egraph_opt.frontends.stablehlo.evaluate import Evaluator as Evaluator
from egraph_opt.frontends.stablehlo.model import StableHLOModel as StableHLOModel
from egraph_opt.frontends.stablehlo.parse import parse_module as parse_module
from egraph_opt.frontends.stablehlo.parse import specialise as specialise
from egraph_opt.frontends.stablehlo.rules import RULES as RULES
from egraph_opt.frontends.stablehlo.rules import check_known as check_known
