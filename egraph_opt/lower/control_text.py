# SPDX-License-Identifier: Apache-2.0
"""Source text of loops and branches: bodies are nested functions that see the names around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from egraph_opt.ir import Graph, Node
from egraph_opt.lower.literals import Expr

if TYPE_CHECKING:
    from egraph_opt.lower.python import Block


def control_text(block: Block, node: Node, results: Sequence[str]) -> None:
    """Write the nested functions of a control-flow node and the call that assigns its results."""
    {"scan": _scan, "while": _while, "cond": _cond}[node.op](block, node, results)


def _tuple(parts: Sequence[str]) -> str:
    return f"({', '.join(parts)}{',' * (len(parts) == 1)})"


def _targets(parts: Sequence[str]) -> str:
    return _tuple(parts) if parts else "_"


def _function(
    block: Block, name: str, graph: Graph, params: Sequence[tuple[str, list[str]]], inputs: list[Expr]
) -> list[str]:
    """Write ``def name(params)``, each parameter unpacked; the texts of the outputs, which the caller returns."""
    block.lines.append("")
    inner = type(block)(graph, block.taken, inputs, block.depth + 1, block.precision)
    block.line(f"def {name}({', '.join(param for param, _ in params)}):")
    for param, names in params:
        if names:
            inner.line(f"{_tuple(names)} = {param}")
    outputs = [expr.text for expr in inner.write()]
    block.lines += inner.lines
    return outputs


def _return(block: Block, text: str) -> None:
    block.line(f"    return {text}")
    block.lines.append("")


def _scan(block: Block, node: Node, results: Sequence[str]) -> None:
    body: Graph = node.attr("body")
    operands = [block.operand(q) for q in node.operands]
    consts, carry = node.attr("num_consts"), node.attr("num_carry")
    name, held, row = block.fresh("step"), block.fresh("carry"), block.fresh("row")
    count = len(body.inputs) - consts - carry
    carried = [block.fresh("c") for _ in range(carry)]
    sliced = [block.fresh("s") for _ in range(count)]
    inputs = [*operands[:consts], *map(Expr, [*carried, *sliced])]
    outputs = _function(block, name, body, [(held, carried), (row, sliced)], inputs)
    _return(block, f"{_tuple(outputs[:carry])}, {_tuple(outputs[carry:])}")
    texts = [expr.text for expr in operands]
    init, rows = _tuple(texts[consts : consts + carry]), _tuple(texts[consts + carry :])
    options = f"length={node.attr('length')}"
    options += ", reverse=True" if node.attr("reverse") else ""
    options += f", unroll={node.attr('unroll')}" if node.attr("unroll") != 1 else ""
    left = f"{_targets(results[:carry])}, {_targets(results[carry:])}"
    block.line(f"{left} = lax.scan({name}, {init}, {rows}, {options})")


def _while(block: Block, node: Node, results: Sequence[str]) -> None:
    operands = [block.operand(q) for q in node.operands]
    first = node.attr("cond_nconsts")
    second = first + node.attr("body_nconsts")
    names = []
    for base, attr, consts in (("proceed", "cond", operands[:first]), ("step", "body", operands[first:second])):
        graph: Graph = node.attr(attr)
        name, held = block.fresh(base), block.fresh("carry")
        carried = [block.fresh("c") for _ in operands[second:]]
        inputs = [*consts, *map(Expr, carried)]
        outputs = _function(block, name, graph, [(held, carried)], inputs)
        _return(block, outputs[0] if attr == "cond" else _tuple(outputs))
        names.append(name)
    init = _tuple([expr.text for expr in operands[second:]])
    block.line(f"{_targets(results)} = lax.while_loop({', '.join(names)}, {init})")


def _cond(block: Block, node: Node, results: Sequence[str]) -> None:
    index, *operands = (block.operand(q) for q in node.operands)
    names = []
    for branch in node.attr("branches"):
        names.append(block.fresh("branch"))
        outputs = _function(block, names[-1], branch, [], list(operands))
        _return(block, _tuple(outputs))
    if block.graph.nodes[node.operands[0]].type.dtype == "bool":
        block.line(f"{_targets(results)} = lax.cond({index.text}, {names[1]}, {names[0]})")
    else:
        block.line(f"{_targets(results)} = lax.switch({index.text}, [{', '.join(names)}])")
