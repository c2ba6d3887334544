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

from egraph_opt.engine.compile import JOINED, Constructor
from egraph_opt.engine.encode import Encoder
from egraph_opt.engine.session import Session
from egraph_opt.engine.words import ADD, EINSUM, RESHAPE, Types, infer_word
from egraph_opt.ir import TensorType
from egraph_opt.ir.reshapes import parse_shape
from egraph_opt.ir.spec import Spec


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
                if call.is_fixed(inputs) if call is not None else not node.children:
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
    """Rule that first made each e-node, with classes numbered as ``take`` numbers them now; loaded ones are missing."""
    functions = session.functions()
    ids = _class_numbers(functions, constructors)
    why: dict[ENode, str] = {}
    for name, constructor in constructors.items():
        has_text = constructor.has_text
        for row in functions[f"why.{name}"].rows:
            key = session.text(row.inputs[0]) if has_text else ""
            children = [ids.get(value) for value in row.inputs[has_text:]]
            rule = session.text(row.output)
            if rule and None not in children:
                why[ENode(name, key, tuple(c for c in children if c is not None))] = rule
    return why


def read_relation(
    session: Session, constructors: Mapping[str, Constructor], name: str, sorts: Sequence[str] = ()
) -> frozenset[tuple[int | str, ...]]:
    """Rows of a relation over classes, numbered as ``take`` numbers them now.

    Args:
        session: the e-graph.
        constructors: its constructors.
        name: of the relation, or of a function: its value stands last.
        sorts: of the values of a row, where some are texts.
    """
    functions = session.functions()
    ids = _class_numbers(functions, constructors)
    found: set[tuple[int | str, ...]] = set()
    for row in functions[name].rows:
        values = [*row.inputs, row.output]
        kinds = sorts or ("T",) * len(row.inputs)
        pairs = zip(kinds, values, strict=False)
        found.add(tuple([ids.get(value, -1) if sort == "T" else session.text(value) for sort, value in pairs]))
    return frozenset(row for row in found if -1 not in row)


def read_joined(session: Session, constructors: Mapping[str, Constructor]) -> dict[int, str]:
    """Rule that first found a class equal to a tensor that was there already, classes numbered as ``take`` does."""
    functions = session.functions()
    ids = _class_numbers(functions, constructors)
    rows = functions[JOINED].rows
    return {ids[row.inputs[0]]: session.text(row.output) for row in rows if row.inputs[0] in ids}


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
        found = node_types(members[i], types, encoder)
        if found is None:
            continue
        types[number], definition[number] = found, members[i]
        for use in users[number]:
            missing[use] -= 1
            if not missing[use]:
                ready.append(use)
    return types, definition


def node_types(node: ENode, types: Sequence[Types | None], encoder: Encoder) -> Types | None:
    """Types of an e-node whose children's types are known; None when it is ill-typed: wrong rules make such."""
    call = encoder.calls.get(node.text)
    if call is not None:
        return call.types
    operands = [known[0] for child in node.children if (known := types[child]) is not None]
    return word_types(node, operands)


def is_well_typed(node: ENode, own: Types, types: Sequence[Types | None], encoder: Encoder) -> bool:
    """Whether an e-node has its class's types and fits its operands; what wrong rules make may not."""
    if node.text in encoder.calls:
        return encoder.calls[node.text].types == own
    operands = [known[0] for child in node.children if (known := types[child]) is not None]
    if node.constructor in EINSUM.values():
        spec = Spec.parse(node.text)
        return spec.shapes == tuple(t.shape for t in operands) and word_types(node, operands) == own
    if node.constructor == ADD:
        return operands[0].strong() == operands[1].strong() == own[0].strong()
    return word_types(node, operands) == own


def word_types(node: ENode, operands: Sequence[TensorType]) -> Types | None:
    """Types of an e-node that is no call, given its operands' types; None when it is ill-typed."""
    if not operands:
        return infer_word(node.constructor, node.text, ())
    first = operands[0]
    if node.constructor in EINSUM.values():
        return _einsum_types(node.text, first.dtype)
    if node.constructor == ADD:
        return (first.strong(),)
    if node.constructor == RESHAPE:
        return (TensorType(parse_shape(node.text), first.dtype),)
    return infer_word(node.constructor, node.text, operands)


@functools.cache
def _einsum_types(spec: str, dtype: str) -> Types:
    return (TensorType(Spec.parse(spec).shape, dtype),)
