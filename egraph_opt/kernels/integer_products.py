# SPDX-License-Identifier: Apache-2.0
"""Products of 8-bit integers: in int8 with int32 results, for which CPUs have instructions, instead of in int32.

Integers wrap around, so that shifts by zero points come out of a product without an error:
(a + s)(b + t) = ab + s sum(b) + t sum(a) + n s t. Unsigned ones are signed ones shifted by 128.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import lax

from egraph_opt.ir import Graph, Spec, TensorType
from egraph_opt.ir.emit import Emitter
from egraph_opt.kernels.found import Found, Place
from egraph_opt.kernels.record import Kernel, frozen
from egraph_opt.ops.kernel import Lowering

NARROW = frozenset({"int8", "uint8"})
WIDE = "int32"
LEAST_PRODUCTS = 1 << 20
LEAST_ROWS = 8
"""Sizes below which the lowering gains nothing that could be measured."""

FASTER = 4.0
"""How many times the products of float32 a CPU does, at least."""


def pattern(a: Any, b: Any, *shifts: Any, spec: str, shifted: str) -> Any:
    """The product in int32; ``shifted`` names the operands to which a number is added first."""
    wide = [x.astype(jnp.int32) for x in (a, b)]
    for name, shift in zip(shifted, shifts, strict=True):
        wide["ab".index(name)] += shift
    return jnp.einsum(_text(spec), *wide)


def narrow(a: Any, b: Any, *shifts: Any, spec: str, shifted: str) -> Any:
    """The product in int8, and what shifts add to it."""
    parsed = Spec.parse(spec)
    own = dict(zip(shifted, shifts, strict=True))
    (a, s), (b, t) = (_signed(x, own.get(name)) for name, x in (("a", a), ("b", b)))
    made = jnp.einsum(_text(spec), a, b, preferred_element_type=jnp.int32)
    if s is not None:
        made += s * _sums(b, parsed, 1)
    if t is not None:
        made += t * _sums(a, parsed, 0)
    if s is not None and t is not None:
        made += s * t * jnp.int32(math.prod(parsed.sizes[c] for c in parsed.summed))
    return made


def _signed(x: Any, shift: Any) -> tuple[Any, Any]:
    """Signed integers, and what they lack."""
    if x.dtype == jnp.int8:
        return x, shift
    signed = lax.bitcast_convert_type(x ^ jnp.uint8(128), jnp.int8)
    return signed, jnp.int32(128) if shift is None else shift + jnp.int32(128)


def _sums(x: Any, spec: Spec, place: int) -> Any:
    """Sums of an operand along what is summed, laid out as the result."""
    word = spec.inputs[place]
    kept = "".join(c for c in spec.output if c in word)
    total = jnp.einsum(f"{word}->{kept}", x.astype(jnp.int32))
    return total.reshape([spec.sizes[c] if c in word else 1 for c in spec.output])


def _text(spec: str) -> str:
    parsed = Spec.parse(spec)
    return f"{','.join(parsed.inputs)}->{parsed.output}"


def _fits(types: Sequence[TensorType], static: Mapping[str, Any]) -> bool:
    del types
    spec = Spec.parse(static["spec"])
    own = [math.prod(spec.sizes[c] for c in spec.output if c not in word) for word in spec.inputs]
    return math.prod(spec.sizes.values()) >= LEAST_PRODUCTS and min(own) >= LEAST_ROWS


def _seconds(types: Sequence[TensorType], static: Mapping[str, Any], device: Any) -> float:
    spec = Spec.parse(static["spec"])
    work = 2.0 * math.prod(spec.sizes.values()) / (FASTER * device.product_rate("float32"))
    moved = sum(t.nbytes for t in types) + 8.0 * math.prod(spec.shape)
    return float(3.0 * device.launch_seconds + work + moved / device.bandwidth_for(moved))


INTEGER_PRODUCT = Kernel(
    name="integer_product",
    pattern=pattern,
    shapes=("m k", "k n"),
    result="m n",
    lowerings=(
        Lowering(name="narrow", function=narrow, devices=("cpu",), when=_fits, seconds=_seconds, differentiable=True),
    ),
    samples=({"spec": "ab,bc->ac;3,4,5", "shifted": ""},),
    doc="a product of 8-bit integers in 32 bits",
    families=frozenset(),
)


@dataclass(frozen=True, slots=True)
class _Operand:
    """An operand of a product.

    Args:
        leaf: node of its 8-bit integers.
        shift: node of the number that is added to them, or None.
        times: by what that is multiplied.
        inside: nodes between them and the product.
    """

    leaf: int
    shift: int | None
    times: int
    inside: frozenset[int]


def find_integer_products(graph: Graph) -> Iterator[Found]:
    """Products of 8-bit integers of a program in normal form."""
    for root, node in enumerate(graph.nodes):
        if node.op != "einsum" or len(node.operands) != 2 or node.type.dtype != WIDE:
            continue
        spec = Spec.parse(node.attr("spec"))
        words = (*spec.inputs, spec.output)
        if not spec.summed or spec.scale != 1 or spec.broadcast or any(len(set(w)) != len(w) for w in words):
            continue
        if any(c not in spec.inputs[0] or c not in spec.inputs[1] for c in spec.summed):
            continue
        pair = [_operand(graph, q) for q in node.operands]
        if pair[0] is not None and pair[1] is not None:
            yield _found(graph, root, (pair[0], pair[1]))


def _operand(graph: Graph, number: int) -> _Operand | None:
    node = graph.nodes[number]
    if node.op == "convert_element_type" and graph.nodes[node.operands[0]].type.dtype in NARROW:
        return _Operand(node.operands[0], None, 1, frozenset({number}))
    if node.op != "add" or len(node.operands) != 2:
        return None
    for one, other in (node.operands, node.operands[::-1]):
        inner, shift = _operand(graph, one), graph.nodes[other]
        if inner is None or inner.shift is not None or shift.op != "einsum" or len(shift.operands) != 1:
            continue
        spec = Spec.parse(shift.attr("spec"))
        if not spec.inputs[0] and isinstance(spec.scale, int) and len(set(spec.output)) == len(spec.output):
            return _Operand(inner.leaf, shift.operands[0], spec.scale, inner.inside | {number, other})
    return None


def _found(graph: Graph, root: int, pair: tuple[_Operand, _Operand]) -> Found:
    node = graph.nodes[root]
    shifts = [one for one in pair if one.shift is not None]
    static = frozen({
        "spec": node.attr("spec"),
        "shifted": "".join(name for name, one in zip("ab", pair, strict=True) if one.shift is not None),
    })  # fmt: skip
    leaves = (*(one.leaf for one in pair), *(one.shift for one in shifts if one.shift is not None))

    def arguments(emitter: Emitter, place: Place) -> list[int]:
        made = [place(one.leaf) for one in pair]
        for one in shifts:
            assert one.shift is not None, "it was looked at"
            made.append(emitter.scaled(place(one.shift), one.times))
        return made

    return Found(
        INTEGER_PRODUCT,
        static,
        root,
        leaves,
        frozenset({root}) | pair[0].inside | pair[1].inside,
        tuple(graph.nodes[n].type.strong() for n in leaves),
        arguments,
        lambda emitter, made: made,
    )
