# SPDX-License-Identifier: Apache-2.0
"""The roofline model: every kernel takes the longer of its arithmetic and its traffic, plus a start.

Whole graphs are priced kernel by kernel after fusion. A single e-node does not know its neighbours, so its price holds
what it adds in the usual case: elementwise work costs arithmetic and a share of its traffic, a product reads stored
operands, a layout change next to nothing.

Source:
    Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from egraph_opt.cost.count import alone
from egraph_opt.cost.device import Device
from egraph_opt.cost.kernels import Kernel, kernels
from egraph_opt.cost.work import Kind, Product, Work, moves_only, node_key, routine, work
from egraph_opt.ir import Graph, Node, TensorType
from egraph_opt.ir.types import itemsize

FUSED_SHARE = 0.25
"""Share of the traffic of an elementwise node that is paid on average: the rest stays in registers by fusion."""

MOVED_SHARE = 0.02
"""The same for nodes that only place elements: mostly they become index arithmetic of their reader."""

NODE_SECONDS = 1e-10
"""Price of existing [s]: of two equally fast programs the one with fewer nodes wins."""

FEW = 64
SLOW_LAYOUT = 1.3
LEAST_ELEMENTS = 1 << 18
"""On CPUs products of so few vectors with a matrix of at least so many elements take that much longer unless the matrix
stands first, with what is summed as its last dimension (docs/decisions/neural.md)."""

_ROUTINE_SPEED = {
    "triangular_solve": 6.0,
    "conv_general_dilated": 9.0,
    "dot_general": 15.0,
    "ragged_dot": 10.0,
    "reduce_window_sum": 0.15,
    "reduce_window_max": 0.15,
    "reduce_window_min": 0.15,
    "shifted_window": 0.5,
}
"""Routines that run faster than a factorisation, or slower, as multiples of its share of the peak."""


class Roofline:
    """Seconds on a device.

    Args:
        device: its rates.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self.name = f"roofline ({device.name})"
        self._known: dict[Hashable, float] = {}

    def node_cost(self, node: Node, operand_types: Sequence[TensorType]) -> float:
        """Price of one e-node [s]."""
        key = node_key(node, operand_types)
        price = self._known.get(key)
        if price is None:
            price = self._known[key] = NODE_SECONDS + self._node_seconds(node, operand_types)
        return price

    def graph_seconds(self, graph: Graph, free: frozenset[int] = frozenset()) -> float:
        """Run time of a whole program after fusion, Python's call not included, all branches as likely [s]."""
        return sum((self.kernel_seconds(k) * k.times for k in kernels(graph, free, any_branch=True)), 0.0)

    def kernel_seconds(self, kernel: Kernel) -> float:
        """Run time of one run of a kernel [s]."""
        device = self.device
        if kernel.call is not None:
            return self._called(kernel)
        if kernel.kind in (Kind.CONTRACTION, Kind.LIBRARY, Kind.OPAQUE):
            traffic = self._traffic(kernel)
            seconds = self._routine(
                kernel.kind, kernel.op, kernel.flops, traffic, kernel.dtype, kernel.product, kernel.grain
            )
            return device.launch_seconds + self._layout(kernel.product) * seconds + self._copy(kernel.copied)
        busy = self._arithmetic(kernel.flops, kernel.transcendentals, kernel.dtype)
        return device.launch_seconds + max(busy, self._traffic(kernel))

    def _layout(self, product: Product | None) -> float:
        """Factor on the time of a product whose operands lie badly; whole programs alone are priced with it."""
        if product is None or product.is_matvec or product.large_first or self.device.kind != "cpu":
            return 1.0
        few = min(product.m, product.n) <= FEW and max(product.m, product.n) * product.k >= LEAST_ELEMENTS
        return SLOW_LAYOUT if few else 1.0

    def _traffic(self, kernel: Kernel) -> float:
        """Time to move the bytes of a kernel [s].

        Weights that fill the cache together come from memory, however small each of them is.
        """
        device = self.device
        nbytes = kernel.bytes - kernel.copied
        cold = kernel.cold / device.bandwidth_for(max(nbytes, kernel.resident))
        return cold + (nbytes - kernel.cold) / device.bandwidth_for(nbytes)

    def _called(self, kernel: Kernel) -> float:
        """A registered kernel: what its record says, else its arithmetic or its operands and result, once."""
        device = self.device
        assert kernel.call is not None, "asked for such kernels only"
        lowering, types, static = kernel.call
        if lowering.seconds is not None:
            return lowering.seconds(types, static, device)
        rate = device.product_rate(kernel.dtype) if any(t.rank > 1 for t in types) else device.vector_flops
        busy = kernel.flops / rate + self._arithmetic(0.0, kernel.transcendentals, kernel.dtype)
        return device.launch_seconds + max(busy, kernel.bytes / device.bandwidth_for(kernel.bytes))

    def _node_seconds(self, node: Node, operand_types: Sequence[TensorType]) -> float:
        own = work(node, operand_types)
        if own.kind in (Kind.NOTHING, Kind.ALIAS):
            return 0.0
        if own.kind is Kind.CONTROL:
            return self.graph_seconds(alone(node, operand_types))
        if own.kind is Kind.FUSED:
            return self._fused(node, own)
        nbytes = sum(own.reads) + own.writes
        if own.kind is Kind.REDUCTION:
            busy = self._arithmetic(own.flops, own.transcendentals, own.dtype)
            return self.device.launch_seconds + max(busy, nbytes / self.device.bandwidth_for(nbytes))
        traffic = nbytes / self.device.bandwidth_for(nbytes)
        seconds = self._routine(own.kind, routine(node), own.flops, traffic, own.dtype, own.product, own.grain)
        return self.device.launch_seconds + seconds + self._copy(own.copied)

    def _fused(self, node: Node, own: Work) -> float:
        device = self.device
        if node.op == "einsum" and len(node.operands) == 1 and moves_only(node.attr("spec")):
            nbytes = own.reads[0] + own.writes
            return MOVED_SHARE * (nbytes / device.bandwidth_for(nbytes) + device.launch_seconds)
        # Terms of a sum are mostly stored: inputs, or products. Without their full traffic, adding two large matrices
        # before one matrix-vector product would look cheaper than two products.
        traffic = float(sum(own.reads)) if node.op == "add" else FUSED_SHARE * (sum(own.reads) + own.writes)
        busy = self._arithmetic(own.flops, own.transcendentals, own.dtype)
        return busy + traffic / device.bandwidth_for(traffic) + FUSED_SHARE * device.launch_seconds

    def _copy(self, nbytes: float) -> float:
        return nbytes / self.device.bandwidth_for(nbytes) + self.device.launch_seconds if nbytes else 0.0

    def _arithmetic(self, flops: float, transcendentals: float, dtype: str) -> float:
        share = self.device.vector_rate(itemsize(dtype)) / self.device.vector_flops
        return flops / (self.device.vector_flops * share) + transcendentals / (self.device.transcendentals * share)

    def _routine(
        self, kind: Kind, op: str, flops: float, traffic: float, dtype: str, product: Product | None, grain: float
    ) -> float:
        """Product, library routine or unknown primitive, given the time of its traffic [s]."""
        device = self.device
        if product is not None and product.is_matvec:
            return device.product_seconds + traffic / device.matvec_efficiency
        if product is not None:
            narrow = device.narrow * (1.0 / product.m + 1.0 / product.n + 1.0 / product.k)
            return device.product_seconds + max(flops * (1.0 + narrow) / device.product_rate(dtype), traffic)
        if kind is Kind.OPAQUE:
            return max(flops / device.vector_rate(itemsize(dtype)), traffic)
        speed = min(1.0, device.routine_efficiency * _ROUTINE_SPEED.get(op, 1.0))
        speed *= grain if device.kind == "cpu" else 1.0
        if op == "conv_general_dilated":
            return device.product_seconds + max(flops / (device.product_rate(dtype) * speed), traffic)
        return max(flops / (device.product_rate(dtype) * speed), traffic)
