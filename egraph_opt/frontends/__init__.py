# SPDX-License-Identifier: Apache-2.0
"""Model files in and out.

Every format becomes a JAX function that capture can trace, and a JAX function becomes a file.
"""

from egraph_opt.frontends.files import write_atomically as write_atomically
from egraph_opt.frontends.load import load as load
from egraph_opt.frontends.model import LoadedModel as LoadedModel
from egraph_opt.frontends.save import save as save
from egraph_opt.frontends.stablehlo import StableHLOModel as StableHLOModel
