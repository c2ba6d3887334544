# SPDX-License-Identifier: Apache-2.0
"""Instances with values: random inputs, and the values of all nodes, computed outside of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from egraph_opt.engine.words import make_node
from egraph_opt.rules.check.draws import Array, Style, draw
from egraph_opt.rules.check.evaluate import EvaluationError, Reading, evaluate, numpy_dtype
from egraph_opt.rules.check.instances import Instance
from egraph_opt.rules.check.systems import are_regular, made_regular
from egraph_opt.verify.structured import imposed

Place = tuple[int, int]
"""Number of a case and position of a node in its instance."""


@dataclass(slots=True)
class Case:
    """An instance with values for its inputs, what kind they are of, and the values of its nodes once computed."""

    instance: Instance
    inputs: dict[int, Array]
    style: Style
    values: dict[Reading, dict[int, Array]] = field(default_factory=dict)

    def with_inputs(self, inputs: dict[int, Array]) -> Case:
        """The same program on other inputs."""
        return Case(self.instance, inputs, self.style)


def give_values(
    instance: Instance, style: Style, values: np.random.Generator, reading: Reading, near: Sequence[float] = ()
) -> Case:
    """A case with random inputs.

    Args:
        instance: the program.
        style: what kind of values.
        values: source of randomness.
        reading: how values of derived inputs are computed.
        near: numbers that the rule names: laws fail beside them.

    Raises:
        EvaluationError: an operation refused its operands.
    """
    case = Case(instance, {}, style)
    for n in instance.inputs:
        if n not in instance.derived:
            case.inputs[n] = draw(values, instance.nodes[n].type, style, near)
        if n in instance.structured:
            case.inputs[n] = imposed(case.inputs[n], instance.nodes[n].type, instance.structured[n], values)
    made_regular(instance.nodes, case.inputs, instance.structured)
    for n, (spec, source) in instance.derived.items():
        back = make_node("Einsum1", spec, (source,), (instance.nodes[n].type,))
        case.inputs[n] = evaluate(back, [node_values(case, reading)[source]], reading)
    case.values[reading] = node_values(case, reading)
    if not are_regular(instance.nodes, case.values[reading]):
        raise EvaluationError("a system is singular, or nearly so")
    return case


def node_values(case: Case, reading: Reading) -> dict[int, Array]:
    """Values of an instance's nodes, as far as its inputs are known."""
    values: dict[int, Array] = {}
    for n, node in enumerate(case.instance.nodes):
        if node.op == "input":
            if n in case.inputs:
                values[n] = case.inputs[n].astype(numpy_dtype(node.type.dtype, reading))
        elif all(q in values for q in node.operands):
            values[n] = evaluate(node, [values[q] for q in node.operands], reading)
    return values
