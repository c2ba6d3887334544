# SPDX-License-Identifier: Apache-2.0
"""Values that have the structure which is stated of them: what was drawn is made symmetric, banded, orthogonal ...

Everything is exact: an orthogonal matrix is made of signed permutations and halves of Hadamard's matrix of order 4, so
that a law about it holds to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from egraph_opt.ir import Graph, Node, Spec, TensorType
from egraph_opt.ir.spec_algebra import inverse
from egraph_opt.ir.structure import ELEMENTWISE, UNBOUNDED, declared, impossible
from egraph_opt.ir.types import is_complex, is_floating
from egraph_opt.ops.declared import ASSUME

Array = np.ndarray[Any, Any]

_HADAMARD = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2


def fits(shape: Sequence[int], facts: Collection[str]) -> bool:
    """Whether a tensor of this shape can have facts."""
    if ELEMENTWISE.issuperset(facts):
        return True
    return len(shape) > 1 and impossible(shape).isdisjoint(facts)


def imposed(value: Array, type_: TensorType, facts: Collection[str], random: np.random.Generator) -> Array:
    """The value changed so that it has facts.

    Args:
        value: as drawn.
        type_: its type.
        facts: as ``assume`` nodes hold them.
        random: source of randomness.
    """
    if not value.size:
        return value
    known = declared(facts, type_.shape, not is_complex(type_.dtype))
    wide = value.astype(np.float64) if value.dtype.kind in "V" or value.dtype == np.float16 else value.copy()
    for name, change in _CHANGES.items():
        if name in known.facts:
            wide = change(wide, random)
    if wide.ndim > 1 and min(known.lower, known.upper) < UNBOUNDED:
        below = np.arange(wide.shape[-2])[:, None] - np.arange(wide.shape[-1])
        wide = np.where((below <= known.lower) & (-below <= known.upper), wide, np.zeros_like(wide))
    return wide.astype(value.dtype)


def with_stated(
    graph: Graph, leaves: Sequence[Any], drawn: Collection[int], random: np.random.Generator, branches: bool = True
) -> list[Any]:
    """Leaves of which the drawn ones have what the program states of its inputs.

    Args:
        graph: the program; ``assume`` of an input, also of one that is squeezed or transposed, counts.
        leaves: values of its inputs.
        drawn: positions of those that may be changed.
        random: source of randomness.
        branches: whether what a branch of a choice states counts: then the branch that states it can be taken.
    """
    found = list(leaves)
    for position, spec, node in _statements(graph, dict(enumerate(graph.inputs)), branches):
        if position not in drawn:
            continue
        whole = np.asarray(found[position])
        order = None if spec is None else _order(spec)
        seen = (
            whole.reshape([n for n in whole.shape if n != 1])
            if order is not None or whole.ndim != node.type.rank
            else whole
        )
        turned = seen if order is None else np.transpose(seen, np.argsort(order))
        if turned.shape != node.type.shape:
            continue
        value = _solvable(imposed(turned, node.type, node.attr("facts"), random), node.type, node.attr("facts"))
        found[position] = (value if order is None else np.transpose(value, order)).reshape(whole.shape)
    return found


def _solvable(value: Array, type_: TensorType, facts: Collection[str]) -> Array:
    """A triangular matrix with a diagonal away from zero: the inverse of a random one grows with two to its size."""
    known = declared(facts, type_.shape, not is_complex(type_.dtype))
    triangular = type_.rank > 1 and (known.lower == 0) != (known.upper == 0)
    if not triangular or not is_floating(type_.dtype) or {"unit_diagonal", "orthogonal"} & known.facts:
        return value
    changed, place = value.copy(), np.arange(min(value.shape[-2:]))
    diagonal = changed[..., place, place]
    changed[..., place, place] = np.where(diagonal < 0, diagonal - 1, diagonal + 1)
    return changed


def is_guarded(graph: Graph) -> bool:
    """Whether a branch of the program states something of its inputs."""
    inputs = dict(enumerate(graph.inputs))
    return sum(1 for _ in _statements(graph, inputs, True)) > sum(1 for _ in _statements(graph, inputs, False))


def _statements(graph: Graph, inputs: Mapping[int, int], branches: bool) -> Iterator[tuple[int, str | None, Node]]:
    """What is stated of inputs: position of the input, how it was transposed, the ``assume`` node.

    Args:
        graph: a program, or a branch of one.
        inputs: the node of the graph that is each input of the program.
        branches: whether to look into branches.
    """
    places = {n: position for position, n in inputs.items()}
    for node in graph.nodes:
        if node.op == "cond" and branches:
            taken = node.operands[1:]
            for branch in node.attr("branches"):
                pairs = zip(branch.inputs, taken, strict=True)
                yield from _statements(branch, {places[q]: n for n, q in pairs if q in places}, branches)
        if node.op != ASSUME:
            continue
        x, spec = node.operands[0], None
        while x not in places:
            inner = graph.nodes[x]
            if inner.op == "einsum" and len(inner.operands) == 1 and spec is None:
                spec = inverse(inner.attr("spec"))
            if inner.op not in (ASSUME, "reshape") and (inner.op != "einsum" or spec is None):
                break
            x = inner.operands[0]
        if x in places:
            yield places[x], spec, node


def _order(spec: str) -> list[int]:
    """How a permuting einsum orders the dimensions of its operand."""
    parsed = Spec.parse(spec)
    return [parsed.inputs[0].index(c) for c in parsed.output]


def _symmetric(value: Array, random: np.random.Generator) -> Array:
    upper = np.triu(value)
    return np.asarray(np.where(np.tri(value.shape[-1], dtype=bool), np.swapaxes(upper, -1, -2), upper))


def _dominant(value: Array, random: np.random.Generator) -> Array:
    """A symmetric matrix whose diagonal outweighs the rest of each row."""
    small = np.abs(value) < 1e3
    plain = _symmetric(np.where(small, value, np.ones_like(value)), random)
    rows = np.abs(plain).sum(-1)
    place = np.arange(value.shape[-1])
    plain[..., place, place] = rows
    return plain


def _definite(value: Array, random: np.random.Generator) -> Array:
    plain, place = _dominant(value, random), np.arange(value.shape[-1])
    plain[..., place, place] += 1
    return plain


def _matrices(make: Callable[[int, int, np.random.Generator], Array]) -> Callable[[Array, np.random.Generator], Array]:
    """Each matrix of a batch made anew."""

    def change(value: Array, random: np.random.Generator) -> Array:
        made = np.zeros_like(value)
        rows, columns = value.shape[-2:]
        for index in np.ndindex(value.shape[:-2]):
            made[index] = make(rows, columns, random).astype(value.dtype)
        return made

    return change


def _permutation(rows: int, columns: int, random: np.random.Generator) -> Array:
    return np.eye(rows)[random.permutation(rows)]


def _one_hot(rows: int, columns: int, random: np.random.Generator) -> Array:
    return np.eye(columns)[random.integers(0, columns, rows)] if columns else np.zeros((rows, 0))


def _orthogonal(value: Array, random: np.random.Generator) -> Array:
    whole = value.dtype.kind in "iu"

    def make(rows: int, columns: int, random: np.random.Generator) -> Array:
        n = max(rows, columns)
        found = np.eye(n)[random.permutation(n)] * (1 if value.dtype.kind == "u" else random.choice((-1, 1), (n, 1)))
        if n >= 4 and not whole:
            block = np.eye(n)
            place = int(random.integers(0, n - 3))
            block[place : place + 4, place : place + 4] = _HADAMARD
            found = block @ found @ block
        return found[:rows, :columns]

    return _matrices(make)(value, random)


def _circulant(value: Array, random: np.random.Generator) -> Array:
    n = value.shape[-1]
    return value[..., :, 0][..., (np.arange(n)[:, None] - np.arange(n)) % max(n, 1)]


def _toeplitz(value: Array, random: np.random.Generator) -> Array:
    rows, columns = value.shape[-2:]
    band = np.concatenate([value[..., 0, :0:-1], value[..., :, 0]], -1)
    return band[..., np.arange(rows)[:, None] - np.arange(columns) + columns - 1] if rows and columns else value


def _unit(value: Array, random: np.random.Generator) -> Array:
    place = np.arange(value.shape[-1])
    changed = value.copy()
    changed[..., place, place] = 1
    return changed


def _invertible(value: Array, random: np.random.Generator) -> Array:
    plain = np.where(np.abs(value) < 1e3, value, np.ones_like(value))
    place = np.arange(value.shape[-1])
    plain[..., place, place] = np.abs(plain).sum(-1) + 1
    return np.asarray(plain)


_CHANGES: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "invertible": _invertible,
    "toeplitz": _toeplitz,
    "circulant": _circulant,
    "symmetric": _symmetric,
    "positive_semidefinite": _dominant,
    "positive_definite": _definite,
    "orthonormal_columns": _orthogonal,
    "orthonormal_rows": _orthogonal,
    "orthogonal": _orthogonal,
    "one_hot": _matrices(_one_hot),
    "permutation": _matrices(_permutation),
    "nonnegative": lambda value, random: np.abs(value),
    "positive": lambda value, random: np.abs(value) + (value == 0).astype(value.dtype),
    "constant": lambda value, random: np.full_like(value, value.flat[0]) if value.size else value,
    "unit_diagonal": _unit,
    "identity": _matrices(lambda rows, columns, random: np.eye(rows)),
    "zero": lambda value, random: np.zeros_like(value),
}
"""By fact, weaker ones first: what is made last has the facts before it as well."""
