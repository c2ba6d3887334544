# SPDX-License-Identifier: Apache-2.0
"""Evaluates every e-node of every class on the same inputs: all e-nodes of a class must agree.

Einsums and sums are evaluated by numpy, from the meaning of the spec and not by its lowering, so that a fault of either
shows; other operations run as they are lowered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from egraph_opt.engine.decode import as_node
from egraph_opt.engine.limits import Limits
from egraph_opt.engine.rule import RuleSet
from egraph_opt.engine.saturate import Saturation
from egraph_opt.engine.snapshot import ENode, Snapshot, is_well_typed
from egraph_opt.ir import Graph, Spec
from egraph_opt.ir.attrs import thaw
from egraph_opt.ir.numerics import Numerics
from egraph_opt.ops import get_op

TOLERANCE = 1e-9
"""Of values in double precision, relative to the largest value of the class and of the e-node's operands."""

SMALL = 1e-4
"""Values below are taken for what cancellation left over of values of order one."""


def faults(
    graph: Graph,
    inputs: Sequence[Any],
    rules: RuleSet | None = None,
    limits: Limits | None = None,
    run: Callable[[Graph], Any] | None = None,
) -> tuple[list[str], Snapshot, Saturation]:
    """Disagreements within classes after saturation, evaluated in the inputs' own precision.

    Args:
        graph: the program.
        inputs: arrays of its input types.
        rules: None for the shipped ones of class ``reassociate``.
        limits: of the saturation.
        run: makes a function of lists of a sub-graph, for programs with control flow.

    Returns:
        One line for each wrong e-node, the snapshot, and the saturation.
    """
    chosen = rules or RuleSet.shipped().admitted(Numerics.REASSOCIATE)
    saturation = Saturation(graph, chosen, limits or Limits(seconds=60, nodes=3000))
    try:
        snapshot = saturation.run()
    finally:
        saturation.close()
    return disagreements(snapshot, saturation, inputs, run), snapshot, saturation


def unite(saturation: Saturation, pairs: Sequence[tuple[int, int]]) -> None:
    """Unite classes before a saturation runs: pairs of node numbers of what is known to be equal."""
    if pairs:
        saturation._load({}, pairs)


def disagreements(
    snapshot: Snapshot, saturation: Saturation, inputs: Sequence[Any], run: Callable[[Graph], Any] | None = None
) -> list[str]:
    """Lines for e-nodes whose value is not that of their class's definition."""
    return [str(found) for found in differences(snapshot, saturation, inputs, run)]


Compare = Callable[[tuple[ENode, ENode], tuple[Any, Any], tuple[Sequence[Any], Sequence[Any]]], str]
"""``compare((definition, e-node), their values, their operands' values)``: the difference in words, or ""."""


@dataclass(frozen=True, slots=True)
class Difference:
    """An e-node whose value is not that of its class.

    Args:
        number: the class.
        enode: the e-node.
        definition: e-node that gave the class its value.
        want: value of the definition; None where it has none.
        got: value of the e-node; None where it cannot be evaluated.
        problem: how far they are apart.
    """

    number: int
    enode: ENode
    definition: ENode
    want: Any
    got: Any
    problem: str

    def __str__(self) -> str:
        return f"class {self.number}: {self.enode}: {self.problem}; defined by {self.definition}"


def differences(
    snapshot: Snapshot,
    saturation: Saturation,
    inputs: Sequence[Any],
    run: Callable[[Graph], Any] | None = None,
    compare: Compare | None = None,
) -> Iterator[Difference]:
    """The e-nodes whose value is not that of their class's definition, or that cannot be evaluated.

    Args:
        snapshot: the e-graph.
        saturation: that made it.
        inputs: values of the program's inputs.
        run: makes a function of lists of a sub-graph.
        compare: what counts as a difference; None for values beyond ``TOLERANCE``.
    """
    compare = compare or within_tolerance
    evaluation = _Evaluation(snapshot, saturation, inputs, run)
    values = evaluation.values
    for c, enode, problem in evaluation.failed:
        yield Difference(c, enode, enode, None, None, problem)
    for c, enodes in enumerate(snapshot.classes):
        definition = snapshot.definition[c]
        for enode in enodes:
            if definition in (enode, None) or c not in values or any(q not in values for q in enode.children):
                continue
            assert definition is not None
            try:
                results = evaluation.run(c, enode)
            except (ValueError, TypeError) as error:
                yield Difference(c, enode, definition, values[c][0], None, f"ill-typed, {str(error).splitlines()[0]}")
                continue
            for want, got in zip(values[c], results, strict=True):
                operands = _first(values, definition), _first(values, enode)
                problem = compare((definition, enode), (want, got), operands)
                if problem:
                    yield Difference(c, enode, definition, want, got, problem)


def ill_typed(snapshot: Snapshot, saturation: Saturation) -> Iterator[Difference]:
    """The e-nodes that do not fit their operands or are of another type than their class."""
    for c, enodes in enumerate(snapshot.classes):
        own, definition = snapshot.types[c], snapshot.definition[c]
        for enode in enodes:
            if own is None or definition is None or any(snapshot.types[q] is None for q in enode.children):
                continue
            if not is_well_typed(enode, own, snapshot.types, saturation.encoder):
                yield Difference(c, enode, definition, None, None, "ill-typed, or of another type")


def einsum(spec: str, *operands: Any) -> Any:
    """What a spec means, by numpy, in the operands' element type.

    >>> einsum("a->aa;2", np.array([1.0, 2.0])).tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    parsed = Spec.parse(spec)
    letters = "".join(dict.fromkeys(parsed.output))
    held = "".join(c for c in letters if c not in parsed.broadcast)
    core = contracted(parsed.inputs, held, *operands)
    places = [1 if c in parsed.broadcast else parsed.sizes[c] for c in letters]
    result = np.broadcast_to(core.reshape(places), [parsed.sizes[c] for c in letters])
    if letters != parsed.output:
        written = np.zeros(parsed.shape, result.dtype)
        np.einsum(f"{parsed.output}->{letters}", written)[...] = result
        result = written
    if parsed.scale == -1:
        return np.negative(result)  # as it is lowered; a complex product makes other zeros
    with np.errstate(all="ignore"):
        return result if parsed.scale == 1 else (result * parsed.scale).astype(result.dtype)


def contracted(inputs: Sequence[str], output: str, *operands: Any) -> Any:
    """A product summed over the letters that the result lacks; what is not summed is multiplied and no more.

    numpy adds every product to a zero, in which the sign of a zero is lost.
    """
    if len(operands) < 2 or not set("".join(inputs)) <= set(output):
        return np.einsum(f"{','.join(inputs)}->{output}", *operands)
    aligned = []
    for word, value in zip(inputs, operands, strict=True):
        own = [c for c in output if c in word]
        straight = np.einsum(f"{word}->{''.join(own)}", value)
        sizes = iter(straight.shape)
        aligned.append(straight.reshape([next(sizes) if c in own else 1 for c in output]))
    return _product(*aligned)


def _product(x: Any, y: Any) -> Any:
    """Elementwise; of complex numbers without fused operations, in which the order of the factors shows."""
    if np.result_type(x, y).kind != "c":
        return x * y
    real = x.real * y.real - x.imag * y.imag
    found = np.empty(real.shape, np.result_type(x, y))
    found.real, found.imag = real, x.real * y.imag + x.imag * y.real
    return found


class _Evaluation:
    """Values of all classes, each by its definition; several for an op with several results."""

    def __init__(
        self, snapshot: Snapshot, saturation: Saturation, inputs: Sequence[Any], run: Callable[[Graph], Any] | None
    ) -> None:
        self._snapshot, self._encoder, self._inputs, self._sub_graph = snapshot, saturation.encoder, inputs, run
        self.values: dict[int, list[Any]] = {}
        self.failed: list[tuple[int, ENode, str]] = []
        pending = [(c, d) for c, d in enumerate(snapshot.definition) if d is not None]
        while pending:
            left = []
            for c, definition in pending:
                if not all(q in self.values for q in definition.children):
                    left.append((c, definition))
                    continue
                try:
                    self.values[c] = self.run(c, definition)
                except (ValueError, TypeError) as error:
                    self.failed.append((c, definition, f"ill-typed, {str(error).splitlines()[0]}"))
            if len(left) == len(pending):
                assert self.failed, "definitions are well founded"
                break
            pending = left

    def run(self, c: int, enode: ENode) -> list[Any]:
        """Results of an e-node of class ``c``."""
        types = self._snapshot.types[c]
        assert types is not None
        node = as_node(enode, types, self._encoder)
        if node.op == "input":
            return [np.asarray(self._inputs[node.attr("index")])]
        if node.op == "result":
            return [self.values[enode.children[0]][node.attr("index")]]
        if node.op == "constant":
            return [np.asarray(thaw(node.attr("value")), types[0].dtype)]
        operands = [self.values[q][0] for q in enode.children]
        if node.op == "einsum":
            return [einsum(node.attr("spec"), *operands)]
        if node.op == "add":
            return [operands[0] + operands[1]]
        op = get_op(node.op)
        nested = {"run": self._sub_graph} if op.nested else {}
        results = op.lower(*operands, **node.kwargs, **nested)
        return [np.asarray(r) for r in (results if isinstance(results, list | tuple) else [results])]


def _first(values: dict[int, list[Any]], enode: ENode) -> list[Any]:
    """Values of the operands; of one with several results the first."""
    return [values[q][0] for q in enode.children]


def within_tolerance(
    nodes: tuple[ENode, ENode], values: tuple[Any, Any], operands: tuple[Sequence[Any], Sequence[Any]]
) -> str:
    """Difference of two values of one class beyond ``TOLERANCE`` of the largest value and operand."""
    scale = max(SMALL, _largest(values[0]), *map(_largest, operands[1]))
    return _difference(*values, scale)


def _largest(value: Any) -> float:
    finite = np.abs(value[np.isfinite(value)]) if value.dtype.kind in "fc" else np.abs(value.astype(np.float64))
    return float(np.max(finite, initial=0.0))


def _difference(want: Any, got: Any, scale: float) -> str:
    if want.shape != got.shape or want.dtype != got.dtype:
        return f"{got.dtype}{got.shape}, want {want.dtype}{want.shape}"
    if want.dtype.kind in "fc":
        same = np.allclose(want, got, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True)
    else:
        same = np.array_equal(want, got)
    if same:
        return ""
    distance = np.abs(want.astype(np.complex128) - got.astype(np.complex128))
    return f"off by {np.max(distance, initial=0.0):.3g} of {scale:.3g}"
