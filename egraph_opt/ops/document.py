# SPDX-License-Identifier: Apache-2.0
"""The table of operations, docs/ops.md, made from the records: ``python -m egraph_opt.ops.document > docs/ops.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from egraph_opt.ops import Op, Trait, all_ops

_HEAD = """# Operations

Made from the records in `egraph_opt/ops/` by `python -m egraph_opt.ops.document`; do not edit.

A primitive of JAX that no record names stays an `opaque` node and is bound again as it was. Operands of elementwise
operations have equal shapes or rank 0. The column *weight* counts transcendental evaluations per result element, one
exponential being 1; an operation without weight costs arithmetic or nothing.

| operation | operands | attributes | traits | weight | meaning |
|---|---|---|---|---|---|
"""


def table() -> str:
    """Text of the page."""
    return _HEAD + "".join(f"{_row(op)}\n" for op in sorted(all_ops().values(), key=lambda op: op.name))


def _row(op: Op) -> str:
    arity = "any" if op.arity is None else str(op.arity)
    attrs = ", ".join(f"`{name}`" for name in op.attrs)
    traits = ", ".join(trait.name.lower() for trait in Trait if trait in op.traits)
    weight = f"{op.transcendentals:g}" if op.transcendentals else ""
    cells = (f"[`{op.name}`]({op.source})", arity, attrs, traits, weight, "; ".join(_meaning(op)))
    return f"| {' | '.join(cells)} |"


def _meaning(op: Op) -> Iterator[str]:
    if op.doc:
        yield op.doc
    others = [name for name in op.captures if name != op.name]
    if others:
        yield f"primitive {', '.join(f'`{name}`' for name in others)}"


if __name__ == "__main__":
    sys.stdout.write(table())
