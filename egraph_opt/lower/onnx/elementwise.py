# SPDX-License-Identifier: Apache-2.0
"""Elementwise operations in ONNX: one operator each where there is one, a few where there is none.

Where an operator of ONNX leaves open what JAX defines, such as division by zero, the steps around it define it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from egraph_opt.errors import UnsupportedOpError
from egraph_opt.ir import Node
from egraph_opt.ir.attrs import thaw
from egraph_opt.ir.types import is_floating, is_integer
from egraph_opt.lower.onnx import steps
from egraph_opt.lower.onnx.row import Row, Write, elementwise
from egraph_opt.lower.onnx.steps import number, where, widely
from egraph_opt.lower.onnx.values import Value
from egraph_opt.lower.onnx.writer import Writer


def _direct(op: str) -> Row:
    return elementwise(lambda w, node, args: w.apply(op, args))


def _compare(op: str) -> Row:
    return elementwise(lambda w, node, args: w.apply(op, args, dtype="bool"))


def _composed(step: Callable[..., Value]) -> Row:
    return elementwise(lambda w, node, args: widely(w, args, lambda *xs: step(w, *xs)))


def _one(w: Writer, x: Value, value: float = 1.0) -> Value:
    return number(w, value, x.dtype)


def _expm1(w: Writer, x: Value) -> Value:
    """``tanh(x/2) (exp(x) + 1)``: accurate near zero, and -1 and infinity where they belong."""
    half = w.apply("Tanh", [w.apply("Mul", [x, _one(w, x, 0.5)])])
    return w.apply("Mul", [half, w.apply("Add", [w.apply("Exp", [x]), _one(w, x)])])


def _log1p(w: Writer, x: Value) -> Value:
    """Kahan's form: ``log(u) x / (u - 1)`` where ``u = 1 + x`` was rounded, ``x`` where it is 1."""
    u = w.apply("Add", [x, _one(w, x)])
    less = w.apply("Sub", [u, _one(w, x)])
    log = w.apply("Log", [u])
    plain = w.apply("Equal", [less, x], dtype="bool")  # infinity as well
    exact = w.apply("Equal", [u, _one(w, x)], dtype="bool")
    nonzero = where(w, exact, _one(w, x), less)
    value = where(w, plain, log, w.apply("Mul", [log, w.apply("Div", [x, nonzero])]))
    return where(w, exact, x, value)


def _exp2(w: Writer, x: Value) -> Value:
    return w.apply("Pow", [_one(w, x, 2.0), x])


def _cbrt(w: Writer, x: Value) -> Value:
    root = w.apply("Pow", [w.apply("Abs", [x]), _one(w, x, 1 / 3)])
    return where(w, w.apply("Less", [x, _one(w, x, 0.0)], dtype="bool"), w.apply("Neg", [root]), root)


def _rsqrt(w: Writer, x: Value) -> Value:
    return w.apply("Reciprocal", [w.apply("Sqrt", [x])])


def _erfc(w: Writer, x: Value) -> Value:
    return w.apply("Sub", [_one(w, x), w.apply("Erf", [x])])


def _atan2(w: Writer, y: Value, x: Value) -> Value:
    """The angle by octants; signs of zeros and quotients of infinities as IEEE has them."""
    zero, one = _one(w, x, 0.0), _one(w, x)
    a, b = w.apply("Abs", [y]), w.apply("Abs", [x])
    small, large = w.apply("Min", [a, b]), w.apply("Max", [a, b])
    same = w.apply("Equal", [a, b], dtype="bool")
    origin = w.apply("Equal", [large, zero], dtype="bool")
    ratio = where(w, same, one, w.apply("Div", [small, where(w, origin, one, large)]))
    angle = w.apply("Atan", [where(w, origin, zero, ratio)])
    steep = w.apply("Greater", [a, b], dtype="bool")
    angle = where(w, steep, w.apply("Sub", [_one(w, x, math.pi / 2), angle]), angle)
    angle = where(w, _is_negative(w, x), w.apply("Sub", [_one(w, x, math.pi), angle]), angle)
    return where(w, _is_negative(w, y), w.apply("Neg", [angle]), angle)


def _is_negative(w: Writer, x: Value) -> Value:
    """Whether the sign bit is set; NaN counts as positive."""
    zero = _one(w, x, 0.0)
    below = w.apply("Less", [x, zero], dtype="bool")
    inverse = w.apply("Less", [w.apply("Reciprocal", [x]), zero], dtype="bool")  # -0 has the inverse -inf
    return w.apply("Or", [below, inverse])


def _sign(w: Writer, node: Node, args: list[Value]) -> Value:
    """Zeros and NaN are returned as they are."""
    (x,) = args
    sign = w.apply("Sign", args)
    if not is_floating(x.dtype):
        return sign
    nonzero = w.apply("Greater", [w.apply("Abs", [x]), _one(w, x, 0.0)], dtype="bool")
    return where(w, nonzero, sign, x)


def _round(w: Writer, node: Node, args: list[Value]) -> Value:
    if node.attr("rounding_method").name == "TO_NEAREST_EVEN":
        return widely(w, args, lambda x: w.apply("Round", [x]))

    def away(x: Value) -> Value:
        size = w.apply("Abs", [x])
        whole = w.apply("Floor", [size])
        rest = w.apply("Sub", [size, whole])
        up = w.apply("GreaterOrEqual", [rest, _one(w, x, 0.5)], dtype="bool")
        return w.apply("Mul", [w.apply("Sign", [x]), where(w, up, w.apply("Add", [whole, _one(w, x)]), whole)])

    return widely(w, args, away)


def _is_finite(w: Writer, x: Value) -> Value:
    wide = w.cast(x, "float64" if x.dtype == "float64" else "float32")
    odd = w.apply("Or", [w.apply("IsInf", [wide], dtype="bool"), w.apply("IsNaN", [wide], dtype="bool")])
    return w.apply("Not", [odd])


def _reduce_precision(w: Writer, node: Node, args: list[Value]) -> Value:
    """A cast there and back, for the formats that are element types."""
    (x,) = args
    bits = (node.attr("exponent_bits"), node.attr("mantissa_bits"))
    formats = {(5, 10): "float16", (8, 7): "bfloat16", (8, 23): "float32", (11, 52): "float64"}
    narrow = formats.get(bits)
    if narrow is None or (bits[0] > 5 and x.dtype == "float16") or (bits == (5, 10) and x.dtype == "bfloat16"):
        raise UnsupportedOpError(f"rounding to {bits[0]} bits of exponent and {bits[1]} of mantissa")
    if np.dtype(narrow).itemsize >= np.dtype(x.dtype).itemsize:
        return x
    return w.cast(w.cast(x, narrow), x.dtype)


def _extreme(op: str, of_bools: str) -> Row:
    def write(w: Writer, node: Node, args: list[Value]) -> Value:
        return w.apply(of_bools if args[0].dtype == "bool" else op, args)

    return elementwise(write)


def _ordered(op: str, negated: int, of_bools: str) -> Row:
    """A comparison; of bools it is ``of_bools`` with one operand negated."""

    def write(w: Writer, node: Node, args: list[Value]) -> Value:
        if args[0].dtype != "bool":
            return w.apply(op, args, dtype="bool")
        args[negated] = w.apply("Not", [args[negated]])
        return w.apply(of_bools, args)

    return elementwise(write)


def _known_nonzero(w: Writer, x: Value) -> bool:
    """Whether a divisor is a constant without 0 and -1."""
    held = w.known(x)
    return held is not None and bool(np.all((held != 0) & (held.astype(np.int64) != -1)))


def _divided(w: Writer, node: Node, args: list[Value]) -> Value:
    """Integers divided by zero give -1, the largest one where they have no sign; by -1 the negative."""
    x, y = args
    if not is_integer(x.dtype):
        return w.apply("Div", args)
    if _known_nonzero(w, y):
        return w.apply("Div", args)
    zero, one = number(w, 0, x.dtype), number(w, 1, x.dtype)
    bad = w.apply("Equal", [y, zero], dtype="bool")
    signed = not x.dtype.startswith("u")
    turned = w.apply("Equal", [y, number(w, -1, x.dtype)], dtype="bool") if signed else bad
    quotient = w.apply("Div", [x, where(w, w.apply("Or", [bad, turned]), one, y)])
    if signed:
        quotient = where(w, turned, w.apply("Neg", [x]), quotient)
    return where(w, bad, w.constant(np.array(-1).astype(np.dtype(x.dtype))), quotient)


def _rem(w: Writer, node: Node, args: list[Value]) -> Value:
    """The remainder with the dividend's sign; integers modulo zero are returned, modulo -1 they are 0."""
    x, y = args
    if not is_integer(x.dtype):
        return widely(w, args, lambda a, b: w.apply("Mod", [a, b], fmod=1))
    if _known_nonzero(w, y):
        return w.apply("Mod", args, fmod=1)
    zero, one = number(w, 0, x.dtype), number(w, 1, x.dtype)
    bad = w.apply("Equal", [y, zero], dtype="bool")
    guarded = where(w, bad, one, y)
    if not x.dtype.startswith("u"):
        guarded = where(w, w.apply("Equal", [y, number(w, -1, x.dtype)], dtype="bool"), one, guarded)
    return where(w, bad, x, w.apply("Mod", [x, guarded], fmod=1))


def _pow(w: Writer, node: Node, args: list[Value]) -> Value:
    x, y = args
    return widely(w, [x, w.cast(y, x.dtype)], lambda a, b: w.apply("Pow", [a, b]))


def _integer_pow(w: Writer, node: Node, args: list[Value]) -> Value:
    """Products by squaring, as XLA makes them."""
    exponent = node.attr("y")
    (x,) = args
    if exponent == 0:
        return steps.filled(w, 1, x.type)

    def power(x: Value) -> Value:
        result, square, rest = None, x, abs(exponent)
        while rest:
            if rest & 1:
                result = square if result is None else w.apply("Mul", [result, square])
            rest >>= 1
            square = w.apply("Mul", [square, square]) if rest else square
        assert result is not None
        return w.apply("Div", [_one(w, x), result]) if exponent < 0 else result

    return widely(w, args, power)


def _select(w: Writer, node: Node, args: list[Value]) -> Value:
    predicate, *cases = args
    if predicate.dtype == "bool":
        return where(w, predicate, cases[1], cases[0]) if len(cases) == 2 else cases[0]
    result = cases[-1]
    for place in range(len(cases) - 2, -1, -1):
        here = w.apply("LessOrEqual", [predicate, number(w, place, "int32")], dtype="bool")
        result = where(w, here, cases[place], result)
    return result


def _clamp(w: Writer, node: Node, args: list[Value]) -> Value:
    low, x, high = args
    return w.apply("Min", [w.apply("Max", [x, low]), high])


def _convert(w: Writer, node: Node, args: list[Value]) -> Value:
    return w.cast(args[0], str(thaw(node.attr("new_dtype"))))


def _same(w: Writer, node: Node, args: list[Value]) -> Value:
    return args[0]


_DIRECT = {
    "exp": "Exp", "log": "Log", "tanh": "Tanh", "logistic": "Sigmoid", "sin": "Sin", "cos": "Cos", "tan": "Tan",
    "sqrt": "Sqrt", "asin": "Asin", "acos": "Acos", "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh", "asinh": "Asinh",
    "acosh": "Acosh", "atanh": "Atanh", "erf": "Erf", "floor": "Floor", "ceil": "Ceil", "abs": "Abs",
}  # fmt: skip
_COMPOSED: dict[str, Callable[..., Value]] = {
    "expm1": _expm1, "log1p": _log1p, "exp2": _exp2, "cbrt": _cbrt, "rsqrt": _rsqrt, "erfc": _erfc, "atan2": _atan2,
}  # fmt: skip
_WRITTEN: dict[str, Write] = {
    "sign": _sign, "round": _round, "div": _divided, "rem": _rem, "pow": _pow, "integer_pow": _integer_pow,
    "select_n": _select, "clamp": _clamp, "convert_element_type": _convert, "reduce_precision": _reduce_precision,
    "is_finite": lambda w, node, args: _is_finite(w, args[0]),
    "stop_gradient": _same, "copy": _same, "assume": _same,
}  # fmt: skip

ELEMENTWISE = {
    **{name: _direct(op) for name, op in _DIRECT.items()},
    **{name: _composed(step) for name, step in _COMPOSED.items()},
    **{name: elementwise(write) for name, write in _WRITTEN.items()},
    "max": _extreme("Max", "Or"),
    "min": _extreme("Min", "And"),
    "eq": _compare("Equal"),
    "ne": elementwise(lambda w, node, args: w.apply("Not", [w.apply("Equal", args, dtype="bool")])),
    "lt": _ordered("Less", 0, "And"),
    "le": _ordered("LessOrEqual", 0, "Or"),
    "gt": _ordered("Greater", 1, "And"),
    "ge": _ordered("GreaterOrEqual", 1, "Or"),
}
