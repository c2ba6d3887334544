# SPDX-License-Identifier: Apache-2.0
"""The work of one node alone: arithmetic, what it reads and writes, and how it runs.

The einsum is priced from its spec, everything else from its op record. Counting is the one place where sizes meet ops;
fusion (``kernels``) and rates (``roofline``) build on it.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from egraph_opt.ir import Graph, Node, Spec, TensorType
from egraph_opt.ir.types import is_complex, itemsize
from egraph_opt.ops import Trait, all_ops

PARTIAL_READS = frozenset({"slice", "dynamic_slice", "dynamic_slice_in_dim", "gather", "take"})
"""Ops that read only as much of their first operand as they return."""

IN_PLACE = frozenset({"dynamic_update_slice", "scatter", "scatter-add", "scatter_add", "scatter-mul", "scatter_mul"})
"""Ops that XLA applies in place inside loops: they touch the updates only."""


CHANNELS = 40.0
"""Channels a group with which a grouped convolution reaches its usual speed on CPUs (docs/decisions/neural.md)."""


TURNED = 125.0
"""Arithmetic in whose time a convolution on CPUs brings an element of its input or result from or to another order than
channels last [flop]."""

CROSSED = 165.0
"""The same for an element of a kernel whose last dimensions are not its input and output channels [flop]."""


CUMULATIVE = frozenset({"cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"})
"""Ops that XLA runs on CPUs by halves: as many passes as the length of the axis has binary digits."""


PASS = (10.0, 4e4)
"""Arithmetic in whose time such a pass does one element, and in which it starts [flop] (docs/decisions/cost.md)."""


class Kind(enum.Enum):
    """How XLA runs a node."""

    NOTHING = "no code: inputs, constants, results of other nodes"
    ALIAS = "the same bytes under another shape"
    FUSED = "computed inside the loop of whoever reads it"
    REDUCTION = "a loop of its own that computes its operand as it goes"
    CONTRACTION = "a matrix product: operands and result in memory"
    LIBRARY = "a routine: convolution, factorisation, sort, scatter; operands and result in memory"
    CONTROL = "sub-graphs"
    OPAQUE = "a primitive that nothing is known about"


@dataclass(frozen=True, slots=True)
class Product:
    """Sizes of a contraction as a batch of matrix products ``x[b,m,k] y[b,k,n]``, and which tensors need a copy.

    Args:
        batch: number of products.
        m: rows that only the first operand has.
        n: columns that only the second operand has.
        k: summed.
        copies: for the first operand, the second and the result: its dimensions must be brought into another order,
            since they are not a plain or transposed matrix with the batch in front.
        large_first: whether the larger operand ends with what is summed, and its rows stand first in the result.
    """

    batch: int
    m: int
    n: int
    k: int
    copies: tuple[bool, bool, bool]
    large_first: bool = True

    @property
    def is_matvec(self) -> bool:
        """Whether every element of the larger operand is used once: bound by bandwidth."""
        return self.m == 1 or self.n == 1


@dataclass(frozen=True, slots=True)
class Work:
    """What one node does, alone.

    Args:
        kind: how it runs.
        flops: additions, multiplications, comparisons ... on real numbers [flop].
        transcendentals: evaluations that count like one exponential.
        reads: bytes of each operand that are read [byte].
        writes: size of the results [byte].
        dtype: element type of the arithmetic.
        product: sizes, for a contraction.
        grain: share of its usual speed that a routine for CPUs reaches on operands of these sizes.
    """

    kind: Kind
    flops: float
    transcendentals: float
    reads: tuple[float, ...]
    writes: float
    dtype: str
    product: Product | None = None
    grain: float = 1.0

    @property
    def copied(self) -> float:
        """Bytes moved beforehand and afterwards to bring the tensors of a product into matrix order [byte]."""
        if self.product is None:
            return 0.0
        tensors = zip((*self.reads, self.writes), self.product.copies, strict=True)
        return 2.0 * sum(nbytes for nbytes, copied in tensors if copied)


def work(node: Node, operand_types: Sequence[TensorType]) -> Work:
    """The work of one node.

    Args:
        node: its operands are not looked up.
        operand_types: type of each operand.
    """
    if node.op == "einsum":
        return einsum_work(node.attr("spec"), node.types[0].dtype)
    writes = float(sum(t.nbytes for t in node.types))
    reads = tuple(t.nbytes for t in operand_types)
    dtype = node.types[0].dtype if node.types else "float32"
    kind = _kind(node)
    if kind in (Kind.NOTHING, Kind.ALIAS):
        return Work(kind, 0.0, 0.0, reads, writes, dtype)
    if node.op in PARTIAL_READS and reads:
        reads = (min(reads[0], writes), *reads[1:])
    size = float(sum(t.size for t in node.types))
    flops, transcendentals = _arithmetic(node, operand_types, size)
    factor = 4.0 if is_complex(dtype) else 1.0
    return Work(
        kind, flops * factor, transcendentals * factor, reads, writes, dtype, grain=_grain(node, operand_types, flops)
    )


def _grain(node: Node, operand_types: Sequence[TensorType], flops: float) -> float:
    """Share of its usual speed that a convolution or a cumulative operation reaches on CPUs.

    Grouped convolutions with few channels a group run element by element; channels are made last, and kernels turned.
    """
    if node.op in CUMULATIVE and flops:
        passes = max(1, node.types[0].shape[node.attr("axis")] - 1).bit_length()
        return float(min(1.0, flops / (passes * (PASS[0] * flops + PASS[1]))))
    if node.op != "conv_general_dilated":
        return 1.0
    numbers = node.attr("dimension_numbers")
    x, kernel = operand_types
    last = len(numbers.lhs_spec) - 1
    moved = TURNED * sum(
        type.size for type, spec in ((x, numbers.lhs_spec), (node.types[0], numbers.out_spec)) if spec[1] != last
    )
    if numbers.rhs_spec != (last, last - 1, *range(last - 1)):
        moved += CROSSED * kernel.size
    layout = flops / (flops + moved) if flops else 1.0
    if node.attr("feature_group_count") == 1:
        return layout
    channels = max(1, kernel.shape[numbers.rhs_spec[1]])
    return layout * float(min(1.0, math.pow(channels / CHANNELS, 1.5)))


@lru_cache(maxsize=1 << 16)
def einsum_work(spec: str, dtype: str) -> Work:
    """The work of an einsum whose operands and result have the element type ``dtype``."""
    parsed = Spec.parse(spec)
    nbytes = itemsize(dtype)
    reads = tuple(math.prod(shape) * nbytes for shape in parsed.shapes)
    writes = math.prod(parsed.shape) * nbytes
    flops = parsed.flops * (4.0 if is_complex(dtype) and len(parsed.inputs) == 2 else 1.0)
    if parsed.scale == -1:
        flops += math.prod(parsed.shape)
    if len(parsed.inputs) == 1:
        kind = Kind.REDUCTION if parsed.summed else Kind.FUSED
        return Work(kind, flops, 0.0, reads, writes, dtype)
    if not parsed.summed:
        return Work(Kind.FUSED, flops, 0.0, reads, writes, dtype)
    return Work(Kind.CONTRACTION, flops, 0.0, reads, writes, dtype, _product(parsed))


@lru_cache(maxsize=1 << 14)
def moves_only(spec: str) -> bool:
    """Whether an einsum only places elements: a permutation, a broadcast, a diagonal, without arithmetic."""
    parsed = Spec.parse(spec)
    return parsed.is_copy and parsed.scale == 1


def node_key(node: Node, operand_types: Sequence[TensorType]) -> Hashable:
    """What the price of a node depends on, quick to hash: models memoise on it, most e-nodes repeat a few keys."""
    if node.op == "einsum":
        return node.attrs[0][1], node.types[0].dtype
    return (
        node.op,
        node.attrs,
        tuple([(t.shape, t.dtype) for t in node.types]),
        tuple([(t.shape, t.dtype) for t in operand_types]),
    )


def subgraphs(node: Node) -> tuple[Graph, ...]:
    """The sub-graphs among the attributes of a node."""
    found: list[Graph] = []
    for _, value in node.attrs:
        if isinstance(value, Graph):
            found.append(value)
        elif type(value) is tuple:
            found += [item for item in value if isinstance(item, Graph)]
    return tuple(found)


def routine(node: Node) -> str:
    """Name of the library routine that a node runs, by which its speed is known."""
    if node.op == "lu_solve" or (node.op == "solve" and node.attr("matrix") != "general"):
        return "triangular_solve"
    return node.op


def _kind(node: Node) -> Kind:
    if node.op in ("input", "constant", "result"):
        return Kind.NOTHING
    if node.op == "reshape":
        return Kind.ALIAS
    if node.op == "add":
        return Kind.FUSED
    if subgraphs(node):
        return Kind.CONTROL
    record = all_ops().get(node.op)
    if record is None or node.op == "opaque":
        return Kind.OPAQUE
    if Trait.ELEMENTWISE in record.traits:
        return Kind.FUSED
    if Trait.REDUCTION in record.traits:
        return Kind.REDUCTION
    if Trait.EXPENSIVE in record.traits or node.op in IN_PLACE:
        return Kind.LIBRARY
    return Kind.FUSED if record.traits & {Trait.LAYOUT, Trait.LEAF} else Kind.LIBRARY


def _arithmetic(node: Node, operand_types: Sequence[TensorType], size: float) -> tuple[float, float]:
    """Flops and transcendentals of anything but an einsum."""
    if node.op == "add":
        return (len(node.operands) - 1) * size, 0.0
    record = all_ops().get(node.op)
    if record is None or node.op == "opaque" or subgraphs(node):
        return max(size, float(sum(t.size for t in operand_types))), 0.0
    return float(record.flops(operand_types, node.types, **node.kwargs)), record.transcendentals * size


def _product(spec: Spec) -> Product:
    x, y = spec.inputs
    out = spec.output
    batch = [c for c in out if c in x and c in y]
    summed = [c for c in x if c in y and c not in out]
    rows, columns = [c for c in x if c not in y], [c for c in y if c not in x]
    larger = x if spec.count(x) >= spec.count(y) else y
    batch = [c for c in larger if c in batch]
    summed = [c for c in larger if c in summed]
    copies = (
        not _is_matrix(x, batch, rows, summed),
        not _is_matrix(y, batch, summed, columns),
        not _is_matrix(out, batch, rows, columns),
    )
    own, others = (rows, columns) if larger is x else (columns, rows)
    ends = not own or larger[-1] in summed
    leads = not own or not others or out.index(own[0]) < out.index(others[0])
    return Product(spec.count(batch), spec.count(rows), spec.count(columns), spec.count(summed), copies, ends and leads)


def _is_matrix(word: str, batch: list[str], first: list[str], second: list[str]) -> bool:
    """Whether the dimensions stand as batch, then two groups in either order."""
    have = list(word)
    return have in (batch + first + second, batch + second + first)
