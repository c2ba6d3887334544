# SPDX-License-Identifier: Apache-2.0
"""Text of a Graph: one line a node, read back without loss.

``%3: f32[8] = tanh(%2)  # model.py:14``. Sub-graphs of control flow stand below their users as ``graph @name``.
Source lines are printed as comments and are not read back.
"""

from __future__ import annotations

import re
from typing import Any

from egraph_opt.errors import GraphError
from egraph_opt.ir.attrs import format_attr, parse_attrs
from egraph_opt.ir.graph import Graph, Node
from egraph_opt.ir.sources import shown
from egraph_opt.ir.types import TensorType

_HEAD = re.compile(r"graph @(\w+)\((.*)\)(?: precision=(\w+))? \{")
_LINE = re.compile(r"%(\d+): (.+?) = ([\w.-]+)(?:\[(.*)\])?\(([%\d, ]*)\)")
_TAIL = re.compile(r"return \(([^)]*)\)(?: effects \(([%\d, ]*)\))?")


def format_graph(graph: Graph, name: str = "main") -> str:
    """Text of the graph and of every sub-graph it mentions."""
    chunks: list[str] = []
    labels: dict[Graph, str] = {}

    def label(sub: Graph) -> str:
        if sub not in labels:
            labels[sub] = f"g{len(labels)}"
            chunks.append(one(sub, labels[sub]))
        return labels[sub]

    def attr(value: Any) -> str:
        if isinstance(value, Graph):
            return label(value)
        if type(value) is tuple and any(isinstance(item, Graph) for item in value):
            return "(" + "".join(f"{attr(item)}, " for item in value).rstrip() + ")"
        return format_attr(value)

    def one(graph: Graph, name: str) -> str:
        params = ", ".join(f"%{number}: {graph.nodes[number].type}" for number in graph.inputs)
        precision = f" precision={graph.precision}" if graph.precision else ""
        lines = [f"graph @{name}({params}){precision} {{"]
        for number, node in enumerate(graph.nodes):
            if node.op == "input":
                continue
            attrs = ", ".join(f"{key}={attr(value)}" for key, value in node.attrs)
            head = f"  %{number}: {' * '.join(map(str, node.types)) or '()'} = {node.op}"
            call = f"{head}[{attrs}]" if attrs else head
            text = f"{call}({', '.join(f'%{q}' for q in node.operands)})"
            lines.append(f"{text}  # {shown(node.sources)}" if node.sources else text)
        weak = graph.weak_outputs or (False,) * len(graph.outputs)
        outputs = ", ".join(f"%{n}{'~' if w else ''}" for n, w in zip(graph.outputs, weak, strict=True))
        effects = f" effects ({', '.join(f'%{n}' for n in graph.effects)})" if graph.effects else ""
        lines += [f"  return ({outputs}){effects}", "}"]
        return "\n".join(lines)

    main = one(graph, name)
    return "\n".join([main, *reversed(chunks)])  # each before what it mentions: read from the end


def parse_graph(text: str) -> Graph:
    """Read ``format_graph``'s text; the first graph is the result.

    Raises:
        GraphError: the text is not a graph; the message names the line.
    """
    blocks: list[tuple[int, list[str]]] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line:
            continue
        if line.startswith("graph @"):
            blocks.append((number, []))
        if not blocks:
            raise GraphError(f"line {number}: {line[:60]!r} stands outside a graph; want 'graph @name(...) {{'")
        blocks[-1][1].append(line)
    if not blocks:
        raise GraphError("the text holds no graph; want 'graph @name(...) {' on the first line")
    names: dict[str, Graph] = {}
    result: Graph | None = None
    for start, lines in reversed(blocks):
        label, result = _parse_block(start, lines, names)
        names[label] = result
    assert result is not None
    return result


def _parse_block(start: int, lines: list[str], names: dict[str, Graph]) -> tuple[str, Graph]:
    head = _HEAD.fullmatch(lines[0])
    if not head:
        raise GraphError(f"line {start}: {lines[0][:60]!r} is no graph head; want 'graph @name(%0: f32[2]) {{'")
    label, params, precision = head.groups()
    nodes: dict[int, Node] = {}
    inputs = []
    for index, part in enumerate(re.findall(r"%(\d+): ([^%]+?)(?:, (?=%)|$)", params)):
        nodes[int(part[0])] = Node("input", (), (("index", index),), (TensorType.parse(part[1]),))
        inputs.append(int(part[0]))
    for offset, line in enumerate(lines[1:], start + 1):
        tail = _TAIL.fullmatch(line)
        if tail:
            roots = re.findall(r"%(\d+)(~?)", tail.group(1))
            effects = tuple(map(int, re.findall(r"%(\d+)", tail.group(2) or "")))
            ordered = tuple(_dense(nodes, start))
            outputs = tuple(int(n) for n, _ in roots)
            if any(n >= len(ordered) for n in (*outputs, *effects)):
                raise GraphError(f"line {offset}: an output is not defined")
            return label, Graph(
                ordered,
                tuple(inputs),
                outputs,
                effects,
                tuple(f"arg{i}" for i in range(len(inputs))),
                tuple(w == "~" for _, w in roots),
                precision,
            )
        if line == "}":
            break
        number, node = _parse_line(offset, line, names)
        missing = [q for q in node.operands if q not in nodes]
        if missing:
            raise GraphError(f"line {offset}: %{missing[0]} is read before it is made")
        nodes[number] = node
    raise GraphError(f"line {start}: graph @{label} has no 'return (...)'")


def _parse_line(place: int, line: str, names: dict[str, Graph]) -> tuple[int, Node]:
    match = _LINE.match(line)
    rest = line[match.end() :].strip() if match else ""
    if not match or (rest and not rest.startswith("#")):
        raise GraphError(f"line {place}: {line[:60]!r} is no node; want '%3: f32[2] = tanh(%2)'")
    number, types, op, attrs, operands = match.groups()
    kinds = () if types == "()" else tuple(TensorType.parse(part) for part in types.split(" * "))
    try:
        values = parse_attrs(attrs, names) if attrs else ()
    except GraphError as error:
        raise GraphError(f"line {place}: {error}") from None
    return int(number), Node(op, tuple(map(int, re.findall(r"\d+", operands))), values, kinds)


def _dense(nodes: dict[int, Node], start: int) -> list[Node]:
    if sorted(nodes) != list(range(len(nodes))):
        raise GraphError(f"line {start}: node numbers are not 0 to {len(nodes) - 1}")
    return [nodes[number] for number in range(len(nodes))]
