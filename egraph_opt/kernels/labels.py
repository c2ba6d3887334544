# SPDX-License-Identifier: Apache-2.0
"""Labels: whole numbers that say which of some classes is meant. What a piece may do with them, and draws of them.

Draws cannot meet every label of a large number of classes. So a piece may only compare labels with the numbers of the
classes, move negative ones up, and clip: what it does then has its turns at 0 and at the number of classes, and there
the draws are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from egraph_opt.ir import Graph, Node, Spec, TensorType
from egraph_opt.ir.types import is_floating
from egraph_opt.kernels.region import LABEL_DTYPES
from egraph_opt.kernels.values import Array

PLAIN = frozenset(
    {"input", "iota", "constant", "reshape", "einsum", "convert_element_type", "copy", "stop_gradient"}
    | {"eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "is_finite"}
    | {"select_n", "clamp", "min", "max", "add"}
)
"""Operations whose result may be labels, or truth values."""

STYLES = 5
HIDDEN_SHARE = 0.3


def reads_labels_plainly(graph: Graph) -> bool:
    """Whether a piece does nothing with labels that draws could miss."""
    words = [list(t.shape) for t in graph.input_types if t.dtype in LABEL_DTYPES]
    floats = [list(t.shape) for t in graph.input_types if t.dtype not in LABEL_DTYPES]
    classes = _lacking(words[0], floats[0]) if len(words) == len(floats) == 1 else None
    if classes is None:
        return False
    turns = {0, -1, 1, classes, classes - 1, -classes}
    return all(_is_plain(graph, node, turns) for node in graph.nodes)


def _lacking(some: list[int], whole: list[int]) -> int | None:
    """The size that one shape has beside those of another; sizes of 1 may stand anywhere."""
    rest = [n for n in whole if n != 1]
    for size in (n for n in some if n != 1):
        if size not in rest:
            return None
        rest.remove(size)
    return rest[0] if len(rest) == 1 else None


def _is_plain(graph: Graph, node: Node, turns: set[int]) -> bool:
    dtype = node.types[0].dtype
    if is_floating(dtype):
        known = node.op == "iota" or (node.op == "constant" and bool(node.type.shape))
        counted = node.op == "convert_element_type" and graph.nodes[node.operands[0]].type.dtype in LABEL_DTYPES
        return not known and not counted
    if node.op not in PLAIN:
        return False
    if node.op == "einsum":
        spec = Spec.parse(node.attr("spec"))
        return spec.is_copy and spec.scale == 1
    if node.op == "constant":
        return not node.type.shape and (dtype == "bool" or node.attr("value") in turns)
    if node.op == "add":
        return any(_is_constant(graph, q) for q in node.operands)
    return True


def _is_constant(graph: Graph, number: int) -> bool:
    while graph.nodes[number].op == "einsum":
        number = graph.nodes[number].operands[0]
    return graph.nodes[number].op == "constant"


def labelled_draws(types: Sequence[TensorType]) -> Iterator[list[Array]]:
    """Scores and labels: plain; labels at every turn; scores with ties, large, tiny; some and the label's hidden."""
    scores, labels = types
    classes = scores.shape[-1]
    at = (0, classes - 1, classes)
    turns = sorted({s * n + d for n in at for s in (1, -1) for d in (-1, 0, 1)} | {2 * classes, -2 * classes})
    rows = max(1, int(np.prod(labels.shape)))
    starts = range(0, len(turns), rows)
    for number in range(STYLES + 1 + len(starts)):
        random = np.random.default_rng([13, number])
        x = random.standard_normal(scores.shape)
        y = random.integers(0, classes, labels.shape)
        if number > len(starts):
            own = np.arange(classes) == y[..., None]
            x = _styled(x, own, number - len(starts), random)
        elif number:
            some = [turns[(starts[number - 1] + i) % len(turns)] for i in range(rows)]
            y = np.array(some).reshape(labels.shape)
        yield [x, y.astype(labels.dtype)]


def _styled(x: Array, own: Array, style: int, random: np.random.Generator) -> Array:
    """Scores of a style; ``own`` are those of the labels."""
    if style == 1:
        return np.asarray(np.round(2 * x) * random.choice([1.0, 40.0, 0.0], x.shape))
    if style == 2:
        return np.asarray(300.0 * x)
    if style == 3:
        return np.asarray(1e-3 * x + 0.5)
    return np.where(~own & (random.random(x.shape) < HIDDEN_SHARE) if style == 4 else own, -np.inf, x)
