# SPDX-License-Identifier: Apache-2.0
"""Which operators of a program can be evaluated; asked when a file is read, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping

from egraph_opt.errors import UnsupportedOpError
from egraph_opt.frontends.onnx import families  # noqa: F401 -- fills the table of operators
from egraph_opt.frontends.onnx.operator import OPERATORS
from egraph_opt.frontends.onnx.program import NodeRecord, Program
from egraph_opt.frontends.onnx.schema import SCHEMAS

MOST = 5
"""How many unknown operators a message names."""


def is_known(domain: str, op: str, version: int) -> bool:
    """Whether there is a rule, or a body in the standard, for an operator at a version of its operator set."""
    found = OPERATORS.find(domain, op)
    if found is not None and found.rule(version) is not None:
        return True
    return SCHEMAS.has_body(domain, op, version)


def check_known(program: Program) -> None:
    """Refuse a program with operators that nobody can evaluate.

    Raises:
        UnsupportedOpError: it has some; all are named, up to five.
    """
    unknown: dict[str, NodeRecord] = {}
    for node in program.graph.walk():
        _check(node, program, program.opsets, unknown)
    for function in program.functions.values():
        for node in function.nodes:
            _check(node, program, function.opsets, unknown)
    if unknown:
        named = ", ".join(f"{text} (node {node.name!r})" for text, node in list(unknown.items())[:MOST])
        more = f" and {len(unknown) - MOST} more" if len(unknown) > MOST else ""
        raise UnsupportedOpError(
            f"{program.origin}: operators that are not known: {named}{more}; see docs/onnx-operators.md"
        )


def _check(node: NodeRecord, program: Program, opsets: Mapping[str, int], unknown: dict[str, NodeRecord]) -> None:
    if (node.domain, node.op, node.overload) in program.functions:
        return
    version = opsets.get(node.domain, 1)
    if not is_known(node.domain, node.op, version):
        unknown.setdefault(f"{node.domain or 'ai.onnx'}::{node.op} version {version}", node)
