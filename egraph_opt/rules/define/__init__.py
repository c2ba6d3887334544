# SPDX-License-Identifier: Apache-2.0
"""Rules made of two JAX functions: captured, and written as patterns that match through the normal forms."""

from egraph_opt.rules.define.function_rule import FunctionRule as FunctionRule
from egraph_opt.rules.define.function_rule import define as define
