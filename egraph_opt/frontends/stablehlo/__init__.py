# SPDX-License-Identifier: Apache-2.0
"""The StableHLO frontend: MLIR text or bytes to records, and an evaluator of the records in JAX."""

from egraph_opt.frontends.stablehlo.evaluate import Evaluator as Evaluator
from egraph_opt.frontends.stablehlo.parse import parse_module as parse_module
from egraph_opt.frontends.stablehlo.parse import specialise as specialise
from egraph_opt.frontends.stablehlo.rules import RULES as RULES
from egraph_opt.frontends.stablehlo.rules import check_known as check_known
