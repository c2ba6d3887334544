# SPDX-License-Identifier: Apache-2.0
"""Capture: a JAX function and its arguments become a Graph.

The only way into the Graph. Files that hold models are first turned into JAX functions by ``egraph_opt.frontends``.
"""

from egraph_opt.capture.arguments import Arguments as Arguments
from egraph_opt.capture.captured import Captured as Captured
from egraph_opt.capture.captured import capture as capture
