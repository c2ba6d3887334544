# SPDX-License-Identifier: Apache-2.0
"""Intermediate representation: types, attributes, specs, and the Graph with its text form."""

from egraph_opt.ir.graph import Attrs as Attrs
from egraph_opt.ir.graph import Builder as Builder
from egraph_opt.ir.graph import Graph as Graph
from egraph_opt.ir.graph import Node as Node
from egraph_opt.ir.sources import Source as Source
from egraph_opt.ir.sources import Sources as Sources
from egraph_opt.ir.spec import Spec as Spec
from egraph_opt.ir.types import TensorType as TensorType
