# SPDX-License-Identifier: Apache-2.0
"""Model files in and out: every format becomes a JAX function that can be traced, and a JAX function becomes a file."""

from egraph_opt.frontends.files import write_atomically as write_atomically
from egraph_opt.frontends.load import load as load
from egraph_opt.frontends.model import LoadedModel as LoadedModel
from egraph_opt.frontends.save import save as save
