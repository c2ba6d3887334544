# SPDX-License-Identifier: Apache-2.0
"""From a Graph back to JAX: as a traceable function, or as readable source text."""

from egraph_opt.lower.jaxpr import lower_graph as lower_graph
