# SPDX-License-Identifier: Apache-2.0
"""Random well-typed instances of what a rule matches: small programs in which the rule is meant to fire."""

from __future__ import annotations

from dataclasses import dataclass, field

from egraph_opt.ir import Node


@dataclass(slots=True)
class Instance:
    """One program that holds what a rule matches.

    Args:
        nodes: operands before users; operands are positions in this list.
        tensors: position of each tensor variable.
        texts: value of each text variable.
        derived: inputs whose value is that of a one-operand einsum of another node: ``position -> (spec, node)``.
        unions: pairs of positions that are equal by the values of derived inputs, and that the rule wants united.
        frozen: positions of the inputs that stay the same between calls.
        roots: positions of the rule's own terms.
        structured: facts that the values of inputs must have, by position.
    """

    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, int] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    derived: dict[int, tuple[str, int]] = field(default_factory=dict)
    unions: list[tuple[int, int]] = field(default_factory=list)
    frozen: set[int] = field(default_factory=set)
    roots: list[int] = field(default_factory=list)
    structured: dict[int, tuple[str, ...]] = field(default_factory=dict)

    @property
    def inputs(self) -> list[int]:
        """Positions of the inputs."""
        return [n for n, node in enumerate(self.nodes) if node.op == "input"]

    @property
    def elements(self) -> int:
        """Elements of all tensors."""
        return sum(node.type.size for node in self.nodes)


def leaves(instance: Instance, number: int) -> set[int]:
    """Inputs that a node reads, directly or not."""
    node = instance.nodes[number]
    if node.op == "input":
        return {number}
    return {leaf for q in node.operands for leaf in leaves(instance, q)}
