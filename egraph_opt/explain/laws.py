# SPDX-License-Identifier: Apache-2.0
"""What decoding does beyond the rules: constructors put constants into specs and move copies out of elementwise ops.

The e-graph does not know these laws, but its classes say where they apply.
"""

from __future__ import annotations

from collections.abc import Sequence

from egraph_opt.engine.words import parse_constant
from egraph_opt.explain.evidence import Equation, Evidence
from egraph_opt.explain.terms import Term
from egraph_opt.ir import Node
from egraph_opt.ir.attrs import parse_attrs
from egraph_opt.ir.emit import Emitter
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ir.spec import Spec
from egraph_opt.ops import Trait, all_ops

ROUNDS = 4
MOST_COPIES = 8
"""Spellings of an operand that are tried."""


def apply_laws(evidence: Evidence, numerics: Numerics) -> None:
    """Add the equations that smart constructors would make of the terms so far, until the goals are joined."""
    near = [t for goal in evidence.goals for t in goal]
    for _ in range(ROUNDS):
        if evidence.done():
            return
        near += _round(evidence, numerics, set(evidence.table.reach(near)))


def _round(evidence: Evidence, numerics: Numerics, near: set[int]) -> list[int]:
    """Laws once: constants and shared copies anywhere, other copies in the given terms; the terms that were made."""
    table, find = evidence.table, evidence.classes.find
    constants: dict[int, int] = {}
    copies: dict[int, dict[str, int]] = {}
    for t, row in enumerate(table.rows):
        if row.op == "constant" and not row.types[0].shape:
            constants[find(t)] = t
        elif row.op == "einsum" and len(row.args) == 1 and Spec.parse(row.attrs).is_copy:
            copies.setdefault(find(t), {}).setdefault(row.attrs, t)
    made: list[int] = []
    for t in range(len(table.rows)):
        row = table.rows[t]
        spellings: list[list[int]] = []
        if row.op == "einsum":
            if any(find(a) in constants for a in row.args):
                spellings.append([constants.get(find(a), a) for a in row.args])
            for place, a in enumerate(row.args if t in near else ()):
                known = list(copies.get(find(a), {}).values())[:MOST_COPIES]
                spellings += [[*row.args[:place], copy, *row.args[place + 1 :]] for copy in known]
        elif _is_elementwise(row):
            wide = [a for a in row.args if table.rows[a].types[0].shape]
            specs = set.intersection(*(set(copies.get(find(a), ())) for a in wide)) if wide else set()
            spellings = [[copies[find(a)][spec] if a in wide else a for a in row.args] for spec in sorted(specs)]
        made += [_emit(evidence, t, args, numerics) for args in spellings]
    return made


def _is_elementwise(row: Term) -> bool:
    return row.op in all_ops() and Trait.ELEMENTWISE in all_ops()[row.op].traits and bool(row.types[0].shape)


def _emit(evidence: Evidence, t: int, args: Sequence[int], numerics: Numerics) -> int:
    """The term over other spellings of its operands equals what the constructor of its op makes of it: that term."""
    table = evidence.table
    row = table.rows[t]
    emitter = Emitter(numerics)
    image: dict[int, int] = {}

    def leaf(a: int) -> int:
        number = emitter.input(table.rows[a].types[0])
        image[number] = a
        return number

    def operand(a: int) -> int:
        inner = table.rows[a]
        if inner.op == "constant":
            dtype, value = parse_constant(inner.attrs)
            number = emitter.constant(value, dtype)
        elif inner.op == "einsum" and len(inner.args) == 1:
            number = emitter.add("einsum", (leaf(inner.args[0]),), (("spec", inner.attrs),), inner.types)
        else:
            return leaf(a)
        image[number] = a
        return number

    numbers = [operand(a) for a in args]
    attrs = (("spec", row.attrs),) if row.op == "einsum" else parse_attrs(row.attrs)
    result = emitter.emit(Node(row.op, tuple(numbers), attrs, row.types), numbers, row.op != "einsum")
    for number, node in enumerate(emitter.nodes):
        if number not in image:
            image[number] = table.node(node, [image[q] for q in node.operands])
    evidence.add(Equation("normal-form", table.add(row.op, row.attrs, args, row.types), image[result]))
    return image[result]
