# SPDX-License-Identifier: Apache-2.0
"""Terms that rules are looked for among: trees of typed operators over variables, with their text and their Graph.

A type is a tuple of dimension names: ``("n", "k")``. Operand and result types of an operator are words of letters, as
in an einsum; ``*`` stands for any one type. A capital letter is twice the dimension of its small one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from egraph_opt.ir import Builder, Graph, TensorType
from egraph_opt.ir.spec import LETTERS, canonical
from egraph_opt.lower.literals import Expr

Dims = tuple[str, ...]
Shape = tuple[int, ...]
Attributes = Callable[[Sequence[Shape]], tuple[tuple[str, Any], ...]]

DTYPE = "float32"


def no_attributes(shapes: Sequence[Shape]) -> tuple[tuple[str, Any], ...]:
    """For operators whose operation has none."""
    del shapes
    return ()


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """One way to make a term of terms.

    Args:
        name: as ``--ops`` spells it.
        words: letters of each operand; none for a constant.
        output: letters of the result.
        text: JAX source with ``{0}``, ``{1}`` for the operands and ``{shape}`` for the result's shape.
        level: how tightly the text binds, see ``Expr``.
        levels: how tightly each operand must bind.
        op: operation of the Graph.
        scale: of an einsum.
        constant: a scalar that the operation reads before its operands.
        attrs: attributes, from the operands' shapes.
    """

    name: str
    words: tuple[str, ...]
    output: str
    text: str
    level: int
    levels: tuple[int, ...]
    op: str = "einsum"
    scale: float = 1
    constant: float | None = None
    attrs: Attributes = no_attributes

    def result(self, operands: Sequence[Dims]) -> Dims | None:
        """Type of the result; None where the operands do not fit."""
        if "*" in self.words:
            same = [dims for word, dims in zip(self.words, operands, strict=True) if word == "*"]
            fit = all(dims == same[0] for dims in same)
            fit = fit and all(w == "*" or len(w) == len(d) for w, d in zip(self.words, operands, strict=True))
            return (same[0] if self.output == "*" else tuple(self.output)) if fit else None
        doubles = any(c.isupper() for word in (*self.words, self.output) for c in word)
        bound: dict[str, str] = {}
        for word, dims in zip(self.words, operands, strict=True):
            if len(word) != len(dims):
                return None
            for letter, dim in zip(word, dims, strict=True):
                if doubles and letter.isupper() != dim.isupper():
                    return None
                key, value = (letter.lower(), dim.lower()) if doubles else (letter, dim)
                if bound.setdefault(key, value) != value:
                    return None
        if doubles:
            return tuple(bound[c.lower()].upper() if c.isupper() else bound[c] for c in self.output)
        return tuple(bound.get(c, c) for c in self.output)

    def spelled(self, rank: int) -> tuple[tuple[str, ...], str]:
        """Words of operands and result with ``*`` written out."""
        star = LETTERS[:rank]
        return tuple(star if w == "*" else w for w in self.words), star if self.output == "*" else self.output


class Term:
    """A variable, or an operator applied to terms; equal terms of one enumeration are one object.

    Args:
        operator: None for a variable.
        args: operands.
        dims: type.
        name: of a variable.
    """

    __slots__ = ("args", "code", "dims", "name", "operator", "size")

    def __init__(self, operator: Operator | None, args: tuple[Term, ...], dims: Dims, name: str = "") -> None:
        self.operator, self.args, self.dims, self.name = operator, args, dims, name
        self.size: int = sum(arg.size for arg in args) + (1 if args else 0)
        head = operator.name + (",".join(dims).join("<>") if "{shape}" in operator.text else "") if operator else name
        self.code: str = f"{head}({' '.join(arg.code for arg in args)})" if args else head

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Term) and self.code == other.code

    def __hash__(self) -> int:
        return hash(self.code)

    def __repr__(self) -> str:
        return self.expr().text

    def expr(self, shape: Callable[[Dims], str] = lambda dims: f"({', '.join(dims)})") -> Expr:
        """JAX source; ``shape`` writes the shape of a type."""
        if self.operator is None:
            return Expr(self.name)
        parts = [arg.expr(shape).at(level) for arg, level in zip(self.args, self.operator.levels, strict=True)]
        return Expr(self.operator.text.format(*parts, shape=shape(self.dims)), self.operator.level)

    def walk(self) -> Iterator[Term]:
        """Subterms, operands before their users; a term that occurs twice comes twice."""
        for arg in self.args:
            yield from arg.walk()
        yield self

    def variables(self) -> dict[str, Dims]:
        """Variables by name, in order of appearance."""
        return {term.name: term.dims for term in self.walk() if term.operator is None}

    def replaced(self, table: Mapping[str, Term]) -> Term:
        """The term with other terms for its variables."""
        if self.operator is None:
            return table.get(self.name, self)
        args = tuple(arg.replaced(table) for arg in self.args)
        dims = self.operator.result([arg.dims for arg in args]) if args else self.dims
        assert dims is not None, "variables are replaced by terms of their types"
        return Term(self.operator, args, dims)


def to_graph(terms: Sequence[Term], sizes: Mapping[str, int], variables: Mapping[str, Dims]) -> Graph:
    """The terms as outputs of one Graph, spelled as they stand: nothing is simplified.

    Args:
        terms: outputs.
        sizes: of the small letters.
        variables: inputs in their order.
    """
    builder = Builder()
    numbers: dict[Term, int] = {}

    def shape(dims: Dims) -> Shape:
        return tuple(size_of(dim, sizes) for dim in dims)

    for name, dims in variables.items():
        numbers[Term(None, (), dims, name)] = builder.input(TensorType(shape(dims), DTYPE), name)
    for root in terms:
        for term in root.walk():
            if term not in numbers:
                numbers[term] = _emit(builder, term, [numbers[arg] for arg in term.args], shape)
    return builder.build([numbers[term] for term in terms])


def _emit(builder: Builder, term: Term, operands: list[int], shape: Callable[[Dims], Shape]) -> int:
    operator = term.operator
    assert operator is not None, "variables are inputs"
    shapes = [shape(arg.dims) for arg in term.args]
    type = TensorType(shape(term.dims), DTYPE)
    if operator.constant is not None:
        operands = [builder.add("constant", (), (("value", operator.constant),), TensorType((), DTYPE)), *operands]
        if not term.args and not type.shape:
            return operands[0]
    if operator.op != "einsum":
        return builder.add(operator.op, operands, operator.attrs(shapes), type)
    words, output = spell(term)
    sizes = dict(zip("".join((*words, output)), (n for s in (*shapes, type.shape) for n in s), strict=True))
    return builder.add("einsum", operands, (("spec", canonical(words, output, sizes, operator.scale)),), type)


def spell(term: Term) -> tuple[tuple[str, ...], str]:
    """Letters of the operands and the result of an einsum term; a constant counts as an operand without letters."""
    assert term.operator is not None, "variables have no spec"
    words, output = term.operator.spelled(len(term.dims))
    return (words, output) if term.args else (("",), LETTERS[: len(term.dims)])


def size_of(dim: str, sizes: Mapping[str, int]) -> int:
    """Size of a dimension by name."""
    return 2 * sizes[dim.lower()] if dim.isupper() else sizes[dim]
