# SPDX-License-Identifier: Apache-2.0
"""Small Graphs for tests of costs and measurements, built from letters instead of specs."""

from __future__ import annotations

from collections.abc import Sequence

from egraph_opt.ir import Graph, TensorType
from egraph_opt.ir.emit import Emitter


class Program(Emitter):
    """An Emitter of float32 programs that takes einsums as ``"ab,bc->ac"``."""

    def tensor(self, *shape: int) -> int:
        """An input of a shape."""
        return self.input(TensorType(shape, "float32"))

    def ein(self, text: str, *operands: int) -> int:
        """An einsum; sizes come from the operands."""
        left, output = text.split("->")
        words = left.split(",")
        sizes: dict[str, int] = {}
        for word, operand in zip(words, operands, strict=True):
            sizes |= zip(word, self.type(operand).shape, strict=True)
        return self.contract(words, output, sizes, operands)

    def apply(self, op: str, *operands: int) -> int:
        """An elementwise op without attributes."""
        shape = max((self.type(x).shape for x in operands), key=len)
        return self.elementwise(op, operands, (), self.type(operands[0]).with_shape(shape))

    def loop(self, body: Graph, operands: Sequence[int], consts: int, length: int) -> int:
        """A scan without scanned operands; ``body`` maps its constants and carries to the next carries."""
        carries = len(operands) - consts
        attrs = (("body", body), ("num_consts", consts), ("num_carry", carries), ("length", length))
        return self.add("scan", operands, (*attrs, ("reverse", False), ("unroll", 1)), body.output_types)


def scan(n: int, length: int, formed: bool) -> Graph:
    """The loop ``x := x - 0.1 A'A x``, with ``A'A`` formed, which does not change from trip to trip, or not."""
    e = Program()
    a, x = e.tensor(n, n), e.tensor(n)
    step = e.ein("ab,b->a", e.ein("ab,ac->bc", a, a), x) if formed else e.ein("ab,a->b", a, e.ein("ab,b->a", a, x))
    body = e.build([e.sum_of([x, e.scaled(step, -0.1)])])
    e = Program()
    a, x = e.tensor(n, n), e.tensor(n)
    return e.build([e.loop(body, [a, x], 1, length)])
