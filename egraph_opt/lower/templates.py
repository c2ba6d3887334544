# SPDX-License-Identifier: Apache-2.0
"""Source text of every operation but einsum and control flow: a table of templates, and a fallback that binds.

The fallback writes ``lax.<name>_p.bind(operands, parameters)``, which is valid for every public primitive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from jax import lax

from egraph_opt.errors import UnsupportedOpError
from egraph_opt.ir import Node, TensorType
from egraph_opt.ir.types import is_complex, is_floating
from egraph_opt.lower.literals import (
    AND,
    ATOM,
    COMPARE,
    MUL,
    OR,
    POWER,
    UNARY,
    XOR,
    Expr,
    call,
    dtype_text,
    value_text,
)
from egraph_opt.lower.solve_text import SOLVES
from egraph_opt.ops import Trait, get_op
from egraph_opt.ops.primitives import all_primitives, home_of

Types = Sequence[TensorType]
Template = Callable[[Node, list[Expr], Types], Expr | None]

_CALLS = {
    **{name: f"jnp.{name}" for name in ("exp", "exp2", "log", "log1p", "expm1", "tanh", "sin", "cos", "tan", "sinh")},
    **{name: f"jnp.{name}" for name in ("cosh", "asin", "acos", "atan", "asinh", "acosh", "atanh", "sqrt", "cbrt")},
    **{name: f"jnp.{name}" for name in ("floor", "ceil", "abs", "sign", "real", "imag")},
    **{name: f"lax.{name}" for name in ("rsqrt", "erf", "erfc", "erf_inv", "lgamma", "digamma", "stop_gradient")},
    "is_finite": "jnp.isfinite",
    "logistic": "jax.nn.sigmoid",
    "copy": "jnp.copy",
    "max": "jnp.maximum",
    "min": "jnp.minimum",
}
_KEYS = {
    "random_seed": "jax.random.key",
    "random_wrap": "jax.random.wrap_key_data",
    "random_unwrap": "jax.random.key_data",
}
_OPERATORS = {
    "eq": ("==", COMPARE),
    "ne": ("!=", COMPARE),
    "lt": ("<", COMPARE),
    "le": ("<=", COMPARE),
    "gt": (">", COMPARE),
    "ge": (">=", COMPARE),
    "and": ("&", AND),
    "or": ("|", OR),
    "xor": ("^", XOR),
}
PRECISE = ("conv_general_dilated", "triangular_product", "gram")
HELPERS = (
    "triangular_product",
    "gram",
    "banded_product",
    "band_part",
    "tridiagonal_system",
    "circulant_product",
    "segment_sum",
    "shifted_conv",
    "shifted_window",
)
"""Operations whose text calls a function of that name, which stands before the program."""

PROMOTING = {*_CALLS, *_OPERATORS, "div", "select_n"}
"""Operations whose text accepts a Python scalar beside an array and takes the array's element type."""


def text_of(node: Node, args: list[Expr], types: Types, precision: str | None = None) -> Expr:
    """Source text of a node.

    Args:
        node: any operation but einsum, add, control flow and leaves.
        args: its operands.
        types: their types.
        precision: of a convolution.

    Raises:
        UnsupportedOpError: a parameter cannot be written.
    """
    if node.op in _CALLS:
        return call(_CALLS[node.op], *(arg.text for arg in args))
    if node.op in _OPERATORS:
        sign, level = _OPERATORS[node.op]
        # Comparisons do not chain: both sides bind more tightly.
        return Expr(f"{args[0].at(level + (level == COMPARE))} {sign} {args[1].at(level + 1)}", level)
    if node.op in PRECISE and precision:
        node = replace(node, attrs=(*node.attrs, ("precision", precision)))
    template = _TEMPLATES.get(node.op)
    written = template(node, args, types) if template else None
    return written or _bound(node, args, types)


def _bound(node: Node, args: list[Expr], types: Types) -> Expr:
    """The primitive's ``bind`` with every parameter."""
    if node.op == "opaque" and node.attr("name") in _KEYS:
        impl = dict(node.attr("params")).get("impl")
        options = {"impl": repr(impl.value.name)} if impl is not None else {}
        return call(_KEYS[node.attr("name")], args[0].text, **options)
    if node.op == "opaque" and node.attr("name") == "geqrf":  # private as a primitive
        return Expr(f"(lambda turned, taus: (turned.mT, taus))(*jnp.linalg.qr({args[0].text}, mode='raw'))")
    if node.op == "opaque":
        where = f"primitive {node.attr('name')!r}"
        primitive = node.attr("primitive").value
        known = all_primitives().get(primitive.name)
        if known is not primitive or node.attr("effect") is not None:
            raise UnsupportedOpError(f"{where}: it cannot be written as source text; save the program as .stablehlo")
        params = dict(node.attr("params"))
    else:
        where = f"operation {node.op!r}"
        op = get_op(node.op)
        primitive = all_primitives()[op.captures[0]]
        params = node.kwargs | dict(op.fixed)
        if Trait.ELEMENTWISE in op.traits:
            args = spread(args, types)
    options = {name: value_text(value, where) for name, value in params.items()}
    return call(f"{home_of(primitive)}.bind", *(arg.text for arg in args), **options)


def spread(args: list[Expr], types: Types) -> list[Expr]:
    """Operands with those of rank 0 broadcast to the common shape."""
    shape = max((t.shape for t in types), key=len)
    return [
        arg if t.shape == shape else call("jnp.broadcast_to", arg.text, str(shape))
        for arg, t in zip(args, types, strict=True)
    ]


def _div(node: Node, args: list[Expr], types: Types) -> Expr | None:
    if is_floating(types[0].dtype) or is_complex(types[0].dtype):
        return Expr(f"{args[0].at(MUL)} / {args[1].at(MUL + 1)}", MUL)
    return call("lax.div", *(arg.text for arg in spread(args, types)))


def _select(node: Node, args: list[Expr], types: Types) -> Expr | None:
    if types[0].dtype == "bool" and len(args) == 3:
        return call("jnp.where", args[0].text, args[2].text, args[1].text)
    return call("lax.select_n", args[0].text, *(arg.text for arg in spread(args[1:], types[1:])))


def _convert(node: Node, args: list[Expr], types: Types) -> Expr | None:
    dtype = str(node.attr("new_dtype"))
    if is_complex(types[0].dtype) and not is_complex(dtype):
        return call("lax.convert_element_type", args[0].text, dtype_text(dtype))
    return call(f"{args[0].at(ATOM)}.astype", dtype_text(dtype))


def _slice(node: Node, args: list[Expr], types: Types) -> Expr | None:
    steps = node.attr("strides") or (1,) * types[0].rank
    bounds = zip(node.attr("start_indices"), node.attr("limit_indices"), steps, types[0].shape, strict=True)
    parts = []
    for start, limit, step, size in bounds:
        text = f"{start or ''}:{'' if limit == size else limit}"
        parts.append(text if step == 1 else f"{text}:{step}")
    while len(parts) > 1 and parts[-1] == ":":
        parts.pop()
    return Expr(f"{args[0].at(ATOM)}[{', '.join(parts)}]")


def _reduction(name: str) -> Template:
    def template(node: Node, args: list[Expr], types: Types) -> Expr | None:
        if name in ("all", "any") and types[0].dtype != "bool":
            return None
        axes = node.attr("axes")
        options = {"axis": str(axes[0]) if len(axes) == 1 else str(axes)} if len(axes) < types[0].rank else {}
        return call(f"{args[0].at(ATOM)}.{name}", **options)

    return template


_CLAMPED = {"allow_negative_indices": "False"}
"""Negative starts were counted from the end when the program was captured; what is still negative is clamped."""


def _starts(args: list[Expr]) -> str:
    return f"({', '.join(arg.text for arg in args)}{',' * (len(args) == 1)})"


def _iota(node: Node, args: list[Expr], types: Types) -> Expr | None:
    dtype, shape = dtype_text(str(node.attr("dtype"))), node.attr("shape")
    if len(shape) == 1:
        return call("jnp.arange", str(shape[0]), dtype=dtype)
    return call("lax.broadcasted_iota", dtype, str(shape), str(node.attr("dimension")))


def _keywords(function: str) -> Template:
    """A public function that takes operands first and the attributes by keyword."""

    def template(node: Node, args: list[Expr], types: Types) -> Expr | None:
        where = f"operation {node.op!r}"
        options = {name: value_text(value, where) for name, value in node.attrs}
        return call(function, *(arg.text for arg in args), **options)

    return template


def _take(node: Node, args: list[Expr], types: Types) -> Expr | None:
    if node.attr("mode") is not lax.GatherScatterMode.FILL_OR_DROP:  # promised indices are not changed by clamping
        return call("jnp.take", args[0].text, args[1].text, axis=str(node.attr("axis")), mode='"clip"')
    place = ":, " * node.attr("axis") + args[1].text
    options = {"mode": '"fill"', "wrap_negative_indices": "False"}  # they were counted from the end before
    if node.attr("fill_value") is not None:
        options["fill_value"] = value_text(node.attr("fill_value"), "operation 'take'")
    return call(f"{args[0].at(ATOM)}.at[{place}].get", **options)


def _joined(node: Node, args: list[Expr], types: Types) -> Expr | None:
    return call("jnp.concatenate", f"[{', '.join(arg.text for arg in args)}]", axis=str(node.attr("dimension")))


_TEMPLATES: dict[str, Template] = {
    "assume": lambda node, args, types: args[0],
    "div": _div,
    "select_n": _select,
    "not": lambda node, args, types: Expr(f"~{args[0].at(UNARY)}", UNARY),
    "integer_pow": lambda node, args, types: Expr(f"{args[0].at(ATOM)} ** {node.attr('y')}", POWER),
    "pow": lambda node, args, types: call("lax.pow", *(arg.text for arg in spread(args, types))),
    "clamp": lambda node, args, types: call("lax.clamp", *(arg.text for arg in spread(args, types))),
    "convert_element_type": _convert,
    "reshape": lambda node, args, types: call(f"{args[0].at(ATOM)}.reshape", str(node.attr("shape"))),
    "slice": _slice,
    "concatenate": _joined,
    "pad": lambda node, args, types: call(
        "lax.pad", args[0].text, args[1].text, value_text(node.attr("padding_config"), "pad")
    ),
    "rev": lambda node, args, types: call("lax.rev", args[0].text, str(node.attr("dimensions"))),
    "iota": _iota,
    "reduce_max": _reduction("max"),
    "reduce_min": _reduction("min"),
    "reduce_and": _reduction("all"),
    "reduce_or": _reduction("any"),
    "dynamic_slice": lambda node, args, types: call(
        "lax.dynamic_slice", args[0].text, _starts(args[1:]), str(node.attr("slice_sizes")), **_CLAMPED
    ),
    "dynamic_slice_in_dim": lambda node, args, types: call(
        "lax.dynamic_slice_in_dim",
        args[0].text,
        args[1].text,
        str(node.attr("slice_size")),
        axis=str(node.attr("axis")),
        **_CLAMPED,
    ),
    "take": _take,
    "dynamic_update_slice": lambda node, args, types: call(
        "lax.dynamic_update_slice", args[0].text, args[1].text, _starts(args[2:]), **_CLAMPED
    ),
    **{name: _keywords(f"lax.{name}") for name in ("gather", "scatter", "cumsum", "cumprod", "cummax", "cummin")},
    **{name: _keywords(f"lax.{name}") for name in ("scatter_add", "scatter_sub", "scatter_mul", "scatter_min")},
    **{name: _keywords(f"lax.{name}") for name in ("scatter_max", "cumlogsumexp", "conv_general_dilated", "split")},
    "triangular_solve": _keywords("lax.linalg.triangular_solve"),
    **{name: _keywords(name) for name in HELPERS},
    **SOLVES,
}
