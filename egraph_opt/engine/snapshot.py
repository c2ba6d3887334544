# SPDX-License-Identifier: Apache-2.0
"""The e-graph as plain tables: classes, e-nodes, types, provenance.

Between iterations and at the end the e-graph is read out once; everything after (collecting sums, extraction, decoding)
works on this copy and knows nothing of egglog.
"""

from __future__ import annotations

import functools
from collections import defaultdict, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from egraph_opt.engine.compile import Constructor
from egraph_opt.engine.encode import ADD, RESHAPE, Encoder
from egraph_opt.engine.session import Session
from egraph_opt.ir import TensorType
from egraph_opt.ir.reshapes import parse_shape
from egraph_opt.ir.spec import Spec
from egraph_opt.ops import get_op

Types = tuple[TensorType, ...]


class ENode(NamedTuple):
    """One e-node: constructor, its text argument (spec or key, "" when none), child classes."""

    constructor: str
    text: str
    children: tuple[int, ...]


@dataclass(slots=True)
class Snapshot:
    """All classes of an e-graph.

    Args:
        classes: e-nodes of each class; classes are numbered by first appearance.
        of_number: class of each loaded node number.
        types: result types of each class, None where no e-node is well founded.
        definition: a well-founded e-node of each class: following definitions from any class ends at leaves.
    """

    classes: list[list[ENode]]
    of_number: dict[int, int]
    types: list[Types | None]
    definition: list[ENode | None] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Number of e-nodes."""
        return sum(map(len, self.classes))

    def derivable(self, encoder: Encoder, inputs: Collection[int]) -> set[int]:
        """Classes that constants and the inputs at the given positions alone determine."""
        waiting: dict[int, list[tuple[int, ENode]]] = defaultdict(list)
        queue: deque[int] = deque()
        for c, nodes in enumerate(self.classes):
            for node in nodes:
                call = encoder.calls.get(node.text)
                if call is not None and call.is_fixed(inputs):
                    queue.append(c)
                elif call is None or not call.is_leaf_or_effect:
                    for child in set(node.children):
                        waiting[child].append((c, node))
        found: set[int] = set()
        while queue:
            c = queue.popleft()
            if c not in found:
                found.add(c)
                queue.extend(user for user, node in waiting.pop(c, ()) if found.issuperset(node.children))
        return found


def take(session: Session, encoder: Encoder, constructors: Mapping[str, Constructor]) -> Snapshot:
    """Read the e-graph out."""
    functions = session.functions()
    ids = _class_numbers(functions, constructors)
    classes: list[list[ENode]] = [[] for _ in ids]
    text, number = session.text, session.number
    of_number = {number(row.inputs[0]): ids[row.output] for row in functions["node"].rows}
    for name, constructor in constructors.items():
        has_text = constructor.has_text
        for row in functions[name].rows:
            if row.subsumed:
                continue
            values = row.inputs
            key = text(values[0]) if has_text else ""
            classes[ids[row.output]].append(ENode(name, key, tuple([ids[v] for v in values[has_text:]])))
    snapshot = Snapshot(classes, of_number, [])
    snapshot.types, snapshot.definition = infer_types(classes, encoder)
    return snapshot


def _class_numbers(functions: Mapping[str, Any], constructors: Mapping[str, Constructor]) -> dict[object, int]:
    """Dense numbers of the e-classes: those of loaded nodes first, then by appearance."""
    found = dict.fromkeys(row.output for row in functions["node"].rows)
    for name, constructor in constructors.items():
        rows = [row for row in functions[name].rows if not row.subsumed]
        found.update(dict.fromkeys([row.output for row in rows]))
        for place in range(constructor.has_text, len(constructor.arguments)):
            found.update(dict.fromkeys([row.inputs[place] for row in rows]))
    return {value: number for number, value in enumerate(found)}


def read_provenance(session: Session, constructors: Mapping[str, Constructor]) -> dict[ENode, str]:
    """Rule that first made each e-node, with classes numbered as ``take`` numbers them right now."""
    functions = session.functions()
    ids = _class_numbers(functions, constructors)
    why: dict[ENode, str] = {}
    for name, constructor in constructors.items():
        has_text = constructor.has_text
        for row in functions[f"why.{name}"].rows:
            key = session.text(row.inputs[0]) if has_text else ""
            children = [ids.get(value) for value in row.inputs[has_text:]]
            if None not in children:
                why[ENode(name, key, tuple(c for c in children if c is not None))] = session.text(row.output)
    return why


def infer_types(classes: Sequence[Sequence[ENode]], encoder: Encoder) -> tuple[list[Types | None], list[ENode | None]]:
    """Types of all classes, from the leaves up, and the e-nodes that gave them."""
    types: list[Types | None] = [None] * len(classes)
    definition: list[ENode | None] = [None] * len(classes)
    users: list[list[int]] = [[] for _ in classes]
    owners = [number for number, nodes in enumerate(classes) for _ in nodes]
    members = [node for nodes in classes for node in nodes]
    missing = [0] * len(members)
    ready: deque[int] = deque()
    for i, node in enumerate(members):
        children = node.children if len(node.children) < 2 else set(node.children)
        missing[i] = len(children)
        if not children:
            ready.append(i)
        for child in children:
            users[child].append(i)
    while ready:
        i = ready.popleft()
        number = owners[i]
        if types[number] is not None:
            continue
        types[number], definition[number] = node_types(members[i], types, encoder), members[i]
        for use in users[number]:
            missing[use] -= 1
            if not missing[use]:
                ready.append(use)
    return types, definition


def node_types(node: ENode, types: Sequence[Types | None], encoder: Encoder) -> Types:
    """Types of an e-node whose children's types are known."""
    call = encoder.calls.get(node.text)
    if call is not None:
        return call.types
    operands = [types[child] for child in node.children]
    first = operands[0]
    assert first is not None, "children come first"
    if node.constructor in ("Einsum1", "Einsum2"):
        return _einsum_types(node.text, first[0].dtype)
    if node.constructor == ADD:
        return first
    if node.constructor == RESHAPE:
        return (TensorType(parse_shape(node.text), first[0].dtype),)
    op = get_op(encoder.op_name(node.constructor))
    return op.infer([t[0] for t in operands if t is not None], **dict.fromkeys(op.attrs))


@functools.cache
def _einsum_types(spec: str, dtype: str) -> Types:
    return (TensorType(Spec.parse(spec).shape, dtype),)
