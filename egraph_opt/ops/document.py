# SPDX-License-Identifier: Apache-2.0
"""The table of operations, docs/ops.md, made from the records: ``python -m egraph_opt.ops.document > docs/ops.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from egraph_opt.ir.attrs import Ref, format_attr
from egraph_opt.ops import Op, Trait, all_ops

_HEAD = """# Operations

Made from the records in `egraph_opt/ops/` by `python -m egraph_opt.ops.document`; do not edit.

A primitive of JAX that no record names stays an `opaque` node and is bound again as it was. Operands of elementwise
operations have equal shapes or rank 0. The column *weight* counts transcendental evaluations per result element, one
exponential being 1; an operation without weight costs arithmetic or nothing.

The column *in rules* shows an example of the operation as rules spell it; where there is none, rules cannot speak of
it. Products, transposes, sums over axes, diagonals, broadcasts, differences and multiples are `(Einsum1 s x)`,
`(Einsum2 s x y)` and `(Add x y)`.

| operation | operands | attributes | traits | weight | in rules | meaning |
|---|---|---|---|---|---|---|
"""


def table() -> str:
    """Text of the page."""
    return _HEAD + "".join(f"{_row(op)}\n" for op in sorted(all_ops().values(), key=lambda op: op.name))


def _row(op: Op) -> str:
    arity = "any" if op.arity is None else str(op.arity)
    attrs = ", ".join(f"`{name}`" for name in op.attrs)
    traits = ", ".join(trait.name.lower() for trait in Trait if trait in op.traits)
    weight = f"{op.transcendentals:g}" if op.transcendentals else ""
    cells = (f"[`{op.name}`]({op.source})", arity, attrs, traits, weight, _in_rules(op), "; ".join(_meaning(op)))
    return f"| {' | '.join(cells)} |"


_SPECIAL = {
    "einsum": '(Einsum2 "ab,bc->ac;2,3,4" x y)',
    "add": "(Add x y)",
    "reshape": '(Reshape "3,2" x)',
    "constant": '(Constant "float32 1.0")',
}


def _in_rules(op: Op) -> str:
    """The first example as the engine's constructor (``engine.words``) has it."""
    example = next(iter(op.examples), None)
    if op.name in _SPECIAL:
        return f"`{_SPECIAL[op.name]}`"
    if example is None or op.nested or op.name in ("opaque", "result"):
        return ""
    several = len(op.infer(example.operands, **dict(example.attrs))) > 1
    if several or any(isinstance(value, Ref) for _, value in example.attrs):
        return ""
    attrs = ", ".join(f"{name}={format_attr(value)}" for name, value in example.attrs)
    text = [f'"{attrs}"'] if op.has_text else []
    name = op.constructor if op.arity is not None else f"{op.constructor}{len(example.operands)}"
    call = f"({' '.join([name, *text, *'xyzuvw'[: len(example.operands)]])})"
    return f"`{call.replace('|', chr(92) + '|')}`"


def _meaning(op: Op) -> Iterator[str]:
    if op.doc:
        yield op.doc
    others = [name for name in op.captures if name != op.name]
    if others:
        yield f"primitive {', '.join(f'`{name}`' for name in others)}"


if __name__ == "__main__":
    sys.stdout.write(table())
