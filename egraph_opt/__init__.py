# SPDX-License-Identifier: Apache-2.0
"""egraph_opt finds a cheaper equal program for a JAX function or an exported model, and says what it did."""

from egraph_opt.api import Optimized as Optimized
from egraph_opt.api import load as load
from egraph_opt.api import optimize as optimize
from egraph_opt.api import rule as rule
from egraph_opt.engine import RuleSet as RuleSet
from egraph_opt.frontends.torch import from_torch as from_torch
from egraph_opt.ir import Graph as Graph
from egraph_opt.kernels import register_kernel as register_kernel
from egraph_opt.kernels import unregister_kernel as unregister_kernel
from egraph_opt.report import Report as Report
from egraph_opt.result import Result as Result
from egraph_opt.stated import assume as assume
from egraph_opt.stated import guarded as guarded
