# SPDX-License-Identifier: Apache-2.0
"""The operators that terms are made of, and the themes: variables and operators that are tried together.

Einsums are listed by hand, one readable form each; elementwise operations come from their records.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jax import lax

from egraph_opt.errors import ArgumentError
from egraph_opt.ir import Node, TensorType
from egraph_opt.lower.literals import ADD, ATOM, MUL, UNARY, Expr
from egraph_opt.lower.templates import text_of
from egraph_opt.ops import Op, Trait, all_ops
from egraph_opt.rules.suggest.terms import DTYPE, Attributes, Dims, Operator, Shape, no_attributes


def _call(
    name: str,
    words: Sequence[str],
    output: str,
    text: str,
    op: str = "einsum",
    attrs: Attributes = no_attributes,
) -> Operator:
    return Operator(name, tuple(words), output, text, ATOM, (0,) * len(words), op, attrs=attrs)


def _axes(*axes: int) -> Attributes:
    return lambda shapes: (("axes", axes),)


def _half(second: bool) -> Attributes:
    def attrs(shapes: Sequence[Shape]) -> tuple[tuple[str, Shape | None], ...]:
        (n,) = shapes[0]
        start, limit = (n // 2, n) if second else (0, n // 2)
        return (("start_indices", (start,)), ("limit_indices", (limit,)), ("strides", None))

    return attrs


_EINSUMS = (
    Operator("matmul", ("ab", "bc"), "ac", "{0} @ {1}", MUL, (MUL + 1, MUL + 1)),
    Operator("matvec", ("ab", "b"), "a", "{0} @ {1}", MUL, (MUL + 1, MUL + 1)),
    Operator("vecmat", ("a", "ab"), "b", "{0} @ {1}", MUL, (MUL + 1, MUL + 1)),
    Operator("dot", ("a", "a"), "", "{0} @ {1}", MUL, (MUL + 1, MUL + 1)),
    Operator("mul", ("*", "*"), "*", "{0} * {1}", MUL, (MUL + 1, MUL + 1)),
    Operator("times", ("", "*"), "*", "{0} * {1}", MUL, (MUL + 1, MUL + 1)),
    _call("outer", ("a", "b"), "ab", "jnp.outer({0}, {1})"),
    Operator("scale_rows", ("a", "ab"), "ab", "{0}[:, None] * {1}", MUL, (ATOM, MUL + 1)),
    Operator("scale_columns", ("ab", "b"), "ab", "{0} * {1}", MUL, (MUL + 1, MUL + 1)),
    Operator("transpose", ("ab",), "ba", "{0}.T", ATOM, (ATOM,)),
    _call("trace", ("aa",), "", "jnp.trace({0})"),
    _call("diagonal", ("aa",), "a", "jnp.diagonal({0})"),
    _call("diag", ("a",), "aa", "jnp.diag({0})"),
    _call("sum_all", ("ab",), "", "jnp.sum({0})"),
    _call("sum", ("a",), "", "jnp.sum({0})"),
    _call("sum_rows", ("ab",), "b", "jnp.sum({0}, 0)"),
    _call("sum_columns", ("ab",), "a", "jnp.sum({0}, 1)"),
    Operator("neg", ("*",), "*", "-{0}", UNARY, (UNARY,), scale=-1),
    Operator("twice", ("*",), "*", "2.0 * {0}", MUL, (MUL + 1,), scale=2.0),
    Operator("half", ("*",), "*", "0.5 * {0}", MUL, (MUL + 1,), scale=0.5),
    Operator("add", ("*", "*"), "*", "{0} + {1}", ADD, (ADD + 1, ADD + 1), "add"),
    _call("copies", ("a",), "ka", "jnp.broadcast_to({0}, {shape})"),
)
_OTHERS = (
    _call("reduce_max", ("a",), "", "jnp.max({0})", "reduce_max", attrs=_axes(0)),
    _call("reduce_min", ("a",), "", "jnp.min({0})", "reduce_min", attrs=_axes(0)),
    _call("max_rows", ("ab",), "b", "jnp.max({0}, 0)", "reduce_max", attrs=_axes(0)),
    _call("max_columns", ("ab",), "a", "jnp.max({0}, 1)", "reduce_max", attrs=_axes(1)),
    _call("max_all", ("ab",), "", "jnp.max({0})", "reduce_max", attrs=_axes(0, 1)),
    Operator("rev", ("a",), "a", "{0}[::-1]", ATOM, (ATOM,), "rev", attrs=lambda shapes: (("dimensions", (0,)),)),
    _call("concat", ("a", "a"), "A", "jnp.concatenate([{0}, {1}])", "concatenate",
          attrs=lambda shapes: (("dimension", 0),)),
    _call("head", ("A",), "a", "jnp.split({0}, 2)[0]", "slice", attrs=_half(False)),
    _call("tail", ("A",), "a", "jnp.split({0}, 2)[1]", "slice", attrs=_half(True)),
    _call("cumsum", ("a",), "a", "jnp.cumsum({0})", "cumsum",
          attrs=lambda shapes: (("axis", 0), ("reverse", False))),
    Operator("reciprocal", ("*",), "*", "1.0 / {0}", MUL, (MUL + 1,), "div", constant=1.0),
    Operator("square", ("*",), "*", "{0} ** 2", ATOM - 1, (ATOM,), "integer_pow", attrs=lambda shapes: (("y", 2),)),
    _call("round", ("*",), "*", "jnp.round({0})", "round",
          attrs=lambda shapes: (("rounding_method", lax.RoundingMethod.TO_NEAREST_EVEN),)),
    Operator("one", (), "*", "1.0", ATOM, (), constant=1.0),
    Operator("zero", (), "*", "0.0", ATOM, (), constant=0.0),
)  # fmt: skip


@functools.cache
def operators() -> Mapping[str, Operator]:
    """Every operator by name."""
    listed = {operator.name: operator for operator in (*_EINSUMS, *_OTHERS)}
    return listed | {op.name: _of_record(op) for op in all_ops().values() if op.name not in listed and _fits(op)}


def _fits(op: Op) -> bool:
    """Whether terms can be made of an elementwise operation as its record stands: real in, real out, no attributes."""
    if op.arity not in (1, 2) or op.attrs or Trait.ELEMENTWISE not in op.traits or op.name in ("copy", "stop_gradient"):
        return False
    real = [e for e in op.examples if all(t.dtype == DTYPE for t in e.operands)]
    return bool(real) and op.infer(list(real[0].operands))[0].dtype == DTYPE


def _of_record(op: Op) -> Operator:
    assert op.arity is not None, "elementwise operations have as many operands as they say"
    type = TensorType((2,), DTYPE)
    names = [Expr(f"{{{position}}}") for position in range(op.arity)]
    node = Node(op.name, tuple(range(op.arity)), (), (type,))
    expr = text_of(node, names, [type] * op.arity, None)
    levels = (expr.level,) + (expr.level + 1,) * (op.arity - 1) if expr.level < ATOM else (0,) * op.arity
    return Operator(op.name, ("*",) * op.arity, "*", expr.text, expr.level, levels, op.name)


def pick(names: Sequence[str]) -> tuple[Operator, ...]:
    """Operators by name.

    Raises:
        ArgumentError: there is no such operator.
    """
    known = operators()
    for name in names:
        if name not in known:
            raise ArgumentError(f"--ops {name}: no such operation; there are {', '.join(sorted(known))}")
    return tuple(known[name] for name in names)


@dataclass(frozen=True, slots=True)
class Theme:
    """Variables and operators that are tried together.

    Args:
        name: as ``--theme`` spells it.
        variables: names and types, the first ones kept when fewer are asked for.
        ops: names of operators.
        size: largest number of operators in a term.
    """

    name: str
    variables: Mapping[str, Dims]
    ops: tuple[str, ...]
    size: int = 3


def custom(names: Sequence[str], size: int = 3) -> Theme:
    """A theme of given operators, over the types of variables that they take.

    Raises:
        ArgumentError: there is no such operator.
    """
    words = [word for operator in pick(names) for word in (*operator.words, operator.output)]
    ranks = {len(word) for word in words if word != "*"} & {1, 2} or {1}
    wanted: dict[str, Dims] = {}
    if 2 in ranks:
        wanted |= _SQUARE
    if 1 in ranks:
        wanted |= _VECTORS
    if any(c.isupper() for word in words for c in word):
        wanted |= {"w": ("N",)}
    if any(operator.words and "" in operator.words for operator in pick(names)):
        wanted |= {"s": ()}
    return Theme("operations", wanted, tuple(names), size)


_SQUARE: Mapping[str, Dims] = {"a": ("n", "n"), "b": ("n", "n"), "c": ("n", "n")}
_VECTORS: Mapping[str, Dims] = {"x": ("n",), "y": ("n",), "z": ("n",)}


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


THEMES: Mapping[str, Theme] = {
    theme.name: theme
    for theme in (
        Theme("ring", _VECTORS, _words("mul add neg twice")),
        Theme("order", _VECTORS, _words("max min")),
        Theme("products", _SQUARE, _words("matmul transpose add")),
        Theme("traces", dict(list(_SQUARE.items())[:2]), _words("matmul transpose trace diagonal sum mul sum_columns")),
        Theme("sums", dict(list(_SQUARE.items())[:2]), _words("matmul add sum_all sum_rows sum_columns dot transpose")),
        Theme("vectors", {"a": ("n", "n"), "x": ("n",), "y": ("n",)},
              _words("matvec transpose dot outer diag scale_rows trace add")),
        Theme("scales", {"s": (), "a": ("n", "n"), "b": ("n", "n")}, _words("times matmul neg twice add trace")),
        Theme("broadcasts", {"x": ("n",), "y": ("n",)}, _words("copies mul add exp transpose sum_rows sum_columns")),
        Theme("lattice", {"x": ("n",), "y": ("n",)}, _words("max min neg"), 4),
        Theme("absolute", {"x": ("n",), "y": ("n",)}, _words("max min neg abs add mul")),
        Theme("exponentials", {"x": ("n",), "y": ("n",)}, _words("exp log mul add neg reciprocal tanh logistic")),
        Theme("roots", {"x": ("n",), "y": ("n",)}, _words("sqrt rsqrt mul abs square reciprocal neg sign")),
        Theme("rounding", {"x": ("n",)}, _words("floor ceil round neg abs sign")),
        Theme("trigonometry", {"x": ("n",)}, _words("sin cos tan tanh sinh cosh asinh neg mul square")),
        Theme("reductions", {"x": ("n",), "y": ("n",)},
              _words("reduce_max reduce_min max neg rev exp add sum")),
        Theme("pieces", {"x": ("n",), "y": ("n",), "w": ("N",)},
              _words("concat head tail rev add neg exp sum reduce_max max")),
        Theme("units", {"x": ("n",)}, _words("one zero add mul max neg exp log logistic tanh"), 3),
    )
}  # fmt: skip
