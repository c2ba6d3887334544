# SPDX-License-Identifier: Apache-2.0
"""Structure of the classes of an e-graph: what follows for a tensor from how any of its e-nodes is made.

Facts are derived from the leaves up, each from facts that were derived before, so cycles prove nothing by themselves.
They are asked for between iterations, and only where some rule wants one and the program has a source of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from egraph_opt.engine.encode import Encoder
from egraph_opt.engine.snapshot import ENode, Snapshot
from egraph_opt.engine.structure_products import of_product, of_solution, of_sum, of_unary
from egraph_opt.engine.words import words
from egraph_opt.ir import Graph, Spec
from egraph_opt.ir.attrs import parse_attrs
from egraph_opt.ir.structure import BANDS, NOTHING, UNBOUNDED, Structure, closed, declared, names
from egraph_opt.ir.types import is_complex, is_floating
from egraph_opt.ops import Op, Trait, all_ops, get_op
from egraph_opt.ops.declared import ASSUME

Attributes = Mapping[str, Any]

MOST = 6_000
"""E-nodes beyond which a snapshot is no longer looked through."""

SIGNED = frozenset({"nonnegative", "positive", "positive_semidefinite", "positive_definite"})
NEVER_NEGATIVE = frozenset({"abs", "exp", "exp2", "sqrt", "logistic", "cosh", "erfc"})
ALWAYS_POSITIVE = frozenset({"exp", "exp2", "cosh"})
PARTS = {
    ("qr", 0): ("orthonormal_columns",),
    ("qr", 1): ("upper_triangular",),
    ("eigh", 0): ("orthogonal",),
    ("svd", 0): ("nonnegative",),
    ("svd", 1): ("orthonormal_columns",),
    ("svd", 2): ("orthonormal_rows",),
}
"""Facts about the results of decompositions."""

SOURCES = {
    "qr": frozenset({"orthogonal", "upper_triangular"}),
    "eigh": frozenset({"orthogonal"}),
    "svd": frozenset({"orthogonal"}),
    "cholesky": frozenset({"lower_triangular", "symmetric"}),
    "band_part": frozenset({"banded"}),
    "lu_factors": frozenset({"invertible", "symmetric"}),
    "solve": frozenset({"invertible", "symmetric"}),
}
"""Operations that bring structure which products alone do not have."""

SOLVE, GENERAL = "Solve", "matrix='general'"
"""A solve, and how the text of one begins that reads all of its matrix."""

GROUPS = (
    frozenset({"zero", "diagonal", "identity", "unit_diagonal", "invertible", "banded", *BANDS}),
    frozenset({"orthogonal", "orthonormal_columns", "orthonormal_rows", "permutation", "one_hot", "identity"}),
    frozenset({"circulant", "toeplitz"}),
    frozenset({"symmetric", "positive_semidefinite", "positive_definite", "invertible"}),
    frozenset({"nonnegative", "positive", "constant"}),
)
"""Structure of which one may follow from another; the last always may."""


def possible(graph: Graph) -> frozenset[str]:
    """Structure that tensors of a program may have and that is worth looking for; empty where there is no source."""
    found: set[str] = set()
    for node in graph.nodes:
        if node.op == ASSUME:
            said = declared(node.attr("facts"), node.type.shape, not is_complex(node.type.dtype))
            found |= names(said) | ({"banded"} if min(said.lower, said.upper) < UNBOUNDED else set())
        elif node.op == "einsum" and _writes_diagonal(node.attr("spec")):
            found |= {"diagonal", "symmetric"}
        else:
            found |= SOURCES.get(node.op, frozenset())
    groups = [group for group in GROUPS if group & found]
    return frozenset().union(*groups, GROUPS[-1]) if found else frozenset()


def stated(graph: Graph) -> dict[int, Structure]:
    """What is declared of the nodes of a program, by node."""
    found: dict[int, Structure] = {}
    for node in graph.nodes:
        if node.op == ASSUME:
            (x,) = node.operands
            while graph.nodes[x].op == ASSUME:
                (x,) = graph.nodes[x].operands
            said = declared(node.attr("facts"), node.type.shape, not is_complex(node.type.dtype))
            found[x] = found.get(x, NOTHING).both(said)
    return found


def infer(snapshot: Snapshot, encoder: Encoder, known: dict[int, Structure]) -> dict[int, Structure]:
    """Structure of all classes that have some.

    Args:
        snapshot: the e-graph.
        encoder: its call table.
        known: what is known of some classes already.
    """
    if snapshot.size > MOST:
        return known
    table = _Table(snapshot, encoder, known)
    users: dict[int, list[tuple[int, ENode]]] = defaultdict(list)
    for c, enodes in enumerate(snapshot.classes):
        if snapshot.types[c] is None:
            continue
        for enode in enodes:
            for child in set(enode.children):
                users[child].append((c, enode))
            table.look(c, enode)
            table.solved(enode)
    waiting = list(table.known)
    queued = set(waiting)
    while waiting:
        c = waiting.pop()
        queued.discard(c)
        for user, enode in users[c]:
            if table.look(user, enode) and user not in queued:
                queued.add(user)
                waiting.append(user)
    return {c: s for c, s in table.known.items() if s}


class _Table:
    """What is known of the classes of one snapshot."""

    def __init__(self, snapshot: Snapshot, encoder: Encoder, known: dict[int, Structure]) -> None:
        self._snapshot, self._encoder = snapshot, encoder
        self.known = dict(known)

    def of(self, c: int) -> Structure:
        """What is known of a class."""
        return self.known.get(c, NOTHING)

    def look(self, c: int, enode: ENode) -> bool:
        """Learn from one e-node; whether it said anything new."""
        types = self._snapshot.types[c]
        if types is None or len(types) != 1 or any(self._snapshot.types[q] is None for q in enode.children):
            return False
        found = self._made(enode)
        if not found:
            return False
        old = self.of(c)
        if not is_floating(types[0].dtype):  # integers wrap around
            found = found.only(found.facts - SIGNED, banded=True)
        new = closed(old.both(found), types[0].shape, not is_complex(types[0].dtype))
        if new == old:
            return False
        self.known[c] = new
        return True

    def solved(self, enode: ENode) -> None:
        """A matrix that a program solves with has an inverse, or the program has no value."""
        q = enode.children[0] if enode.constructor == SOLVE and enode.text.startswith(GENERAL) else -1
        types = self._snapshot.types[q] if q >= 0 else None
        if types is not None:
            held = self.of(q).having("invertible")
            self.known[q] = closed(held, types[0].shape, not is_complex(types[0].dtype))

    def _made(self, enode: ENode) -> Structure:
        name, text, children = enode
        if name == "Einsum2":
            x, y = children
            found = of_product(text, self.of(x), self.of(y), x == y)
            return found.both(self._sandwich(text, x, y))
        if name == "Einsum1":
            return of_unary(text, self.of(children[0]))
        if name == "Add":
            x, y = children
            return of_sum(self.of(x), self.of(y), self._are_transposes(x, y))
        if name == "Constant":
            return _constant(text)
        if name == SOLVE:
            return of_solution(text, self.of(children[0]), self.of(children[1]))
        call = self._encoder.calls.get(text)
        if call is None:
            word = words().get(name)
            return NOTHING if word is None or not children else self._other(get_op(word.op), text, None, children)
        if call.op == "result":
            return self._part(dict(call.attrs), children)
        if call.op == "constant":
            return NOTHING if call.types[0].shape else _constant(f"{call.types[0].dtype} {dict(call.attrs)['value']}")
        known = children and call.op in all_ops() and call.op != "opaque"
        return self._other(get_op(call.op), "", dict(call.attrs), children) if known else NOTHING

    def _part(self, attrs: dict[str, object], children: Sequence[int]) -> Structure:
        """A result of a decomposition."""
        index = attrs["index"]
        facts: set[str] = set()
        for enode in self._snapshot.classes[children[0]]:
            call = self._encoder.calls.get(enode.text)
            if call is not None and isinstance(index, int):
                facts.update(PARTS.get((call.op, index), ()))
        return Structure(frozenset(facts))

    def _other(self, op: Op, text: str, attrs: Attributes | None, children: Sequence[int]) -> Structure:
        """An operation of its own; its attributes are there, or their text is."""
        if op.name in ("pad", "integer_pow", "band_part") and attrs is None:
            attrs = dict(parse_attrs(text))
        if op.name == "band_part":
            return self._band(attrs or {}, self.of(children[0]))
        if op.name == "pad":
            return self._padded(attrs or {}, children)
        if op.name == "select_n" and len(children) == 3:
            taken = [self.of(q) for q in children[1:]]
            kept = [s for s, other in zip(taken, taken[::-1], strict=True) if "zero" in other.facts]
            return Structure(frozenset(), kept[0].lower, kept[0].upper) if len(kept) == 1 else NOTHING
        x = self.of(children[0])
        if op.name in ("max", "min") and len(children) == 2:
            y = self.of(children[1])
            either = x.facts | y.facts if op.name == "max" else x.facts & y.facts
            return Structure(frozenset(either & {"nonnegative", "positive"}))
        if Trait.ELEMENTWISE in op.traits and len(children) == 1:
            return self._elementwise(op, attrs or {}, x)
        return NOTHING

    def _elementwise(self, op: Op, attrs: Attributes, x: Structure) -> Structure:
        """A function of each element alone keeps symmetry, one that keeps zero keeps zeros."""
        found = x.only({"symmetric", "toeplitz", "circulant"})
        if op.name == "copy" or op.name == "stop_gradient":
            return x
        if op.name == "convert_element_type":
            return x.only({"symmetric", "toeplitz", "circulant", "nonnegative"}, banded=True)
        if Trait.ZERO_TO_ZERO in op.traits:
            found = found.both(x.only({"zero"}, banded=True))
        if op.name == "integer_pow":
            power = attrs["y"]
            if power > 0:
                found = found.both(x.only({"zero", "nonnegative"}, banded=True))
            return found.having("nonnegative") if power % 2 == 0 else found
        if op.name in NEVER_NEGATIVE:
            found = found.having("nonnegative")
        return found.having("positive") if op.name in ALWAYS_POSITIVE else found

    def _band(self, attrs: Attributes, x: Structure) -> Structure:
        """Some diagonals of a matrix."""
        lower, upper = attrs["lower"], attrs["upper"]
        kept = {"zero", "nonnegative", "toeplitz"}
        if lower == upper:
            kept.add("symmetric")
        if min(lower, upper) >= 0:
            kept.add("unit_diagonal")
        return x.only(kept).both(Structure(frozenset(), min(x.lower, lower), min(x.upper, upper)))

    def _padded(self, attrs: Attributes, children: Sequence[int]) -> Structure:
        """A matrix with zeros around it: its diagonal moves."""
        config = attrs["padding_config"]
        if "zero" not in self.of(children[1]).facts or any(inner for _, _, inner in config) or len(config) < 2:
            return NOTHING
        types = self._snapshot.types[children[0]]
        assert types is not None, "looked at by the caller"
        rows, columns = types[0].shape[-2:]
        x, move = self.of(children[0]), config[-2][0] - config[-1][0]
        lower, upper = min(x.lower, rows - 1) + move, min(x.upper, columns - 1) - move
        facts = x.facts & {"nonnegative", "zero"}
        if move == 0 and config[-2][1] == config[-1][1]:
            facts |= x.facts & {"symmetric", "positive_semidefinite"}
        return Structure(frozenset(facts), lower, upper)

    def _are_transposes(self, x: int, y: int) -> bool:
        """Whether two classes are each other's transposed matrices."""
        for one, other in ((x, y), (y, x)):
            for enode in self._snapshot.classes[one]:
                if enode.constructor == "Einsum1" and enode.children == (other,) and _transposes(enode.text):
                    return True
        return False

    def _sandwich(self, text: str, x: int, y: int) -> Structure:
        """``B' S B`` with symmetric S: one operand is S times the other, and the sums pair up."""
        outer = Spec.parse(text)
        if len(outer.output) < 2:
            return NOTHING
        for whole, side, position in ((y, x, 1), (x, y, 0)):
            for enode in self._snapshot.classes[whole]:
                if enode.constructor != "Einsum2" or side not in enode.children:
                    continue
                for place in (0, 1):
                    if enode.children[place] == side:
                        middle = self.of(enode.children[1 - place])
                        if "symmetric" in middle.facts and _is_sandwich(text, enode.text, position, place):
                            return Structure(middle.facts & {"symmetric", "positive_semidefinite"})
        return NOTHING


@cache
def _is_sandwich(outer_text: str, inner_text: str, position: int, place: int) -> bool:
    """Whether ``side . (middle . side)`` is the same with the last two dimensions of its result exchanged.

    Args:
        outer_text: product whose operand ``position`` is the inner one; the other is the side.
        inner_text: product of the side, at ``place``, and the middle.
        position: 0 or 1.
        place: 0 or 1.
    """
    outer, inner = Spec.parse(outer_text), Spec.parse(inner_text)
    table = dict(zip(inner.output, outer.inputs[position], strict=True))
    names = iter("αβγδεζηθικλμνξοπρστυφχψω")
    for c in inner.sizes:
        if c not in table:
            table[c] = next(names, "?")
    if "?" in table.values():
        return False
    first = outer.inputs[1 - position]
    second = "".join(table[c] for c in inner.inputs[place])
    middle = "".join(table[c] for c in inner.inputs[1 - place])
    if len(middle) < 2 or len(first) != len(second):
        return False
    # The exchange of the two letters that differ must be the exchange of the middle's last two and of the result's.
    swap = {a: b for a, b in zip(first, second, strict=True) if a != b}
    swap |= {b: a for a, b in swap.items()}
    if "".join(swap.get(c, c) for c in first) != second or "".join(swap.get(c, c) for c in second) != first:
        return False
    turned = "".join(swap.get(c, c) for c in middle)
    result = "".join(swap.get(c, c) for c in outer.output)
    exchanged = middle[:-2] + middle[-1] + middle[-2]
    return turned == exchanged and result == outer.output[:-2] + outer.output[-1] + outer.output[-2]


@cache
def _transposes(text: str) -> bool:
    spec = Spec.parse(text)
    word = spec.inputs[0]
    return spec.is_permutation and spec.scale == 1 and spec.output == word[:-2] + word[-1:] + word[-2:-1] != word


@cache
def _writes_diagonal(text: str) -> bool:
    output = Spec.parse(text).output
    return len(set(output)) < len(output)


@cache
def _constant(text: str) -> Structure:
    """A scalar constant."""
    try:
        value = float(text.partition(" ")[2])
    except ValueError:
        return NOTHING
    facts = ({"zero"} if value == 0 else set()) | ({"one"} if value == 1 else set())
    if value >= 0:
        facts |= {"nonnegative"} | ({"positive"} if value > 0 else set())
    return Structure(frozenset(facts))
