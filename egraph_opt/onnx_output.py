# SPDX-License-Identifier: Apache-2.0
"""Writes a result as an ONNX file: in the calling convention of the ONNX model that it came from, where it did.

What reads only weights is computed here and lies in the file; weights that are used as they are keep their names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from egraph_opt.capture import Captured
from egraph_opt.errors import OutputError
from egraph_opt.ir import Graph
from egraph_opt.kernels.found import Found, replaced
from egraph_opt.kernels.recognise import recognise
from egraph_opt.kernels.record import all_kernels
from egraph_opt.onnx_trial import try_model
from egraph_opt.ops.kernel import Lowering
from egraph_opt.ops.opened import opened
from egraph_opt.split import Split

if TYPE_CHECKING:
    from onnx import ModelProto

    from egraph_opt.result import Result

RECOGNITION_SECONDS = 10.0
"""Time to look for pieces that ONNX has an operator for [s]."""

MOST_NAMED = 3
"""Weights that the name of a prepared value lists."""


def save_as_onnx(result: Result, path: Path) -> None:
    """Write the chosen program as an ONNX model.

    Raises:
        UnsupportedOpError: an operation or an element type has no spelling in ONNX.
        OutputError: the package onnx is missing, or the file cannot be written.
    """
    ready_as_onnx(result, path)()


def ready_as_onnx(
    result: Result, path: Path, source: Path | None = None, args: Sequence[Any] | None = None
) -> Callable[[], None]:
    """What writes the chosen program as an ONNX model, which is made already.

    Args:
        result: the plan.
        path: of the file.
        source: the ONNX file that the program was loaded from, or None.
        args: of the program: where they are given the model runs in onnxruntime, and the report notes how it did there.

    Raises:
        UnsupportedOpError: an operation or an element type has no spelling in ONNX.
        OutputError: the package onnx is missing.
    """
    try:
        from egraph_opt.frontends.onnx.write import write_model
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] not in {"onnx", "google"}:
            raise
        raise OutputError(f"{path}: writing .onnx needs the package onnx; pip install egraph_opt[onnx]") from error
    model = result_to_onnx(result)
    if args is not None:
        result.report.notes.append(try_model(model, result, args, source).line(source))
    return lambda: write_model(model, path)


def result_to_onnx(result: Result) -> ModelProto:
    """The ONNX model of the chosen program, its weights in it.

    Raises:
        UnsupportedOpError: an operation or an element type has no spelling in ONNX.
    """
    from egraph_opt.lower.onnx import graph_to_onnx

    captured, function = result.captured, result.convention.function
    count = len(captured.leaf_names)
    weights = [weight.name for weight in _weights(captured, function)]
    if result.convention.holds_weights and not result.convention.places:
        graph, held, names = result.parts.run, result.prepared, _prepared_names(result.parts, weights)
    else:
        graph, held, names = result.after, captured.constants, weights
    with result.convention.precision():
        constants = {count + i: np.asarray(array) for i, array in enumerate(held)}
    inputs, outputs = _names(captured, function, graph)
    return graph_to_onnx(
        with_idioms(opened(graph)),
        constants,
        inputs,
        outputs,
        {count + i: name for i, name in enumerate(names)},
        result.report.name or "optimized",
    )


def with_idioms(graph: Graph) -> Graph:
    """The program with the pieces for which ONNX has one operator as nodes ``kernel`` of their names."""
    from egraph_opt.lower.onnx.idioms import IDIOMS

    kernels = [kernel for name, kernel in all_kernels().items() if name in IDIOMS and not kernel.user]
    found = [one for one in recognise(graph, kernels, RECOGNITION_SECONDS) if _is_equal(one, graph)]
    way = Lowering(name="onnx", function=_in_onnx_only)
    return replaced(graph, [(one, way) for one in found]) if found else graph


def _is_equal(found: Found, graph: Graph) -> bool:
    """Whether the piece overflows where the operator does: without a maximum taken from them, exponentials do first."""
    has_maximum = any(graph.nodes[number].op == "reduce_max" for number in found.inside)
    return not found.overflows and (has_maximum or "softmax" not in found.kernel.name)


def _in_onnx_only(*arrays: Any, **static: Any) -> Any:
    raise AssertionError("nodes of this lowering are written as ONNX; nothing runs them")


@dataclass(frozen=True, slots=True)
class _Weight:
    """A closed-over array and its name."""

    name: str
    array: Any


def _weights(captured: Captured, function: Any) -> list[_Weight]:
    """The closed-over arrays by the names that the model gives them."""
    known = getattr(function, "constants", None)
    known = known if isinstance(known, Mapping) else {}
    by_array = {id(array): name for name, array in known.items()}
    count = len(captured.leaf_names)
    own = captured.graph.names[count:]
    return [_Weight(by_array.get(id(array), name), array) for array, name in zip(captured.constants, own, strict=True)]


def _prepared_names(parts: Split, weights: Sequence[str]) -> list[str]:
    """A name for each value that was prepared: the weight's own, or those of the weights that it was made of."""
    graph = parts.prepare
    place = dict(zip(graph.inputs, weights, strict=True))
    made: list[tuple[int, ...]] = []
    for number, node in enumerate(graph.nodes):
        inputs = (number,) if number in place else ()
        made.append(tuple(dict.fromkeys((*inputs, *(q for operand in node.operands for q in made[operand])))))
    names = []
    for number in graph.outputs:
        from_weights = [place[q] for q in made[number]]
        if number in place:
            names.append(place[number])
            continue
        more = f"+{len(from_weights) - MOST_NAMED}" if len(from_weights) > MOST_NAMED else ""
        names.append(f"prepared({'+'.join(from_weights[:MOST_NAMED])}{more})")
    return names


def _names(captured: Captured, function: Any, graph: Graph) -> tuple[list[str], list[str]]:
    """Names of inputs and outputs: those of an ONNX model, else those of the arguments."""
    inputs = list(getattr(function, "input_names", ()) or ())
    outputs = list(getattr(function, "output_names", ()) or ())
    if len(inputs) != len(captured.leaf_names):
        inputs = _distinct([_plain(name) for name in captured.leaf_names], ())
    if len(outputs) != len(graph.outputs):
        paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(_numbered(captured.out_tree))]
        labels = [_plain("output" + jax.tree_util.keystr(path)) for path in paths]
        outputs = _distinct(labels, inputs)
    return inputs, _distinct(outputs, ())  # a model may return one value twice; valid files name each output once


def _numbered(tree: Any) -> Any:
    return jax.tree.unflatten(tree, list(range(tree.num_leaves)))


def _plain(text: str) -> str:
    """``params['w'][0]`` as ``params.w.0``."""
    return re.sub(r"[^\w]+", ".", text).strip(".") or "x"


def _distinct(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        label, number = name, 1
        while label in found or label in taken:
            number += 1
            label = f"{name}_{number}"
        found.append(label)
    return found
