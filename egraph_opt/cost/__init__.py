# SPDX-License-Identifier: Apache-2.0
"""What programs cost: counts of work on the Graph, device descriptions, models that price e-nodes and graphs."""

from egraph_opt.cost.count import Count as Count
from egraph_opt.cost.count import count_graph as count_graph
from egraph_opt.cost.count import count_node as count_node
from egraph_opt.cost.device import Device as Device
from egraph_opt.cost.kernels import Kernel as Kernel
from egraph_opt.cost.kernels import frozen_nodes as frozen_nodes
from egraph_opt.cost.kernels import kernels as kernels
from egraph_opt.cost.memory import peak_bytes as peak_bytes
from egraph_opt.cost.model import CostModel as CostModel
from egraph_opt.cost.model import FlopCount as FlopCount
from egraph_opt.cost.model import cost_model as cost_model
from egraph_opt.cost.roofline import Roofline as Roofline
