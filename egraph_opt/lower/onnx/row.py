# SPDX-License-Identifier: Apache-2.0
"""The writer of one operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from egraph_opt.ir import Node
from egraph_opt.lower.onnx.values import Value
from egraph_opt.lower.onnx.writer import Writer

Write = Callable[[Writer, Node, list[Value]], Value | Sequence[Value]]


@dataclass(frozen=True, slots=True)
class Row:
    """How one operation is written.

    Args:
        write: ``write(writer, node, operands)`` makes its nodes and returns its result, or its results.
        takes_held: whether it takes operands whose broadcasts are not written out.
    """

    write: Write
    takes_held: bool = False


def elementwise(write: Write) -> Row:
    """The row of an operation that acts on each element alone."""
    return Row(write, takes_held=True)


def of_array(step: Callable[..., Value], *names: str) -> Row:
    """The row of ``step(writer, operand, *attributes)``."""

    def write(w: Writer, node: Node, args: list[Value]) -> Value:
        values: list[Any] = [node.attr(name) for name in names]
        return step(w, *args, *values)

    return Row(write)
