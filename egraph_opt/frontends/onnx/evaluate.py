# SPDX-License-Identifier: Apache-2.0
"""Runs an ONNX program with JAX, one node at a time.

Under a trace each node leaves the ordinary primitives behind that it stands for, under a name scope with the node's
name and, in JAX's source information, the line of the program that the file was exported from. What is known on the
host, such as arithmetic of shapes, is computed there and leaves nothing behind.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import source_info_util

from egraph_opt.errors import EgraphOptError, ModelError, UnsupportedOpError
from egraph_opt.frontends.onnx.functions import standard_function
from egraph_opt.frontends.onnx.node import LARGE, Array, Node, is_known
from egraph_opt.frontends.onnx.operator import OPERATORS
from egraph_opt.frontends.onnx.program import FunctionRecord, GraphRecord, NodeRecord, Program
from egraph_opt.frontends.onnx.schema import SCHEMAS

# JAX names the innermost frame outside its own files as the source of a primitive: that has to be the loaded program.
source_info_util.register_exclusion(str(Path(__file__).parent))


class Evaluator:
    """A program that can be run.

    Args:
        program: the records.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.origin = program.origin
        self.schemas = SCHEMAS

    def main(self, inputs: Mapping[str, Array], weights: Mapping[str, Array]) -> list[Array]:
        """Outputs of the main graph.

        Args:
            inputs: values of the inputs by name.
            weights: values of initializers by name; the file's own where one is not given.
        """
        frame = Frame(self, None, self.program.opsets, {})
        return frame.run(self.program.graph, inputs, weights)


class Frame:
    """The values of one running graph or function, and those of the graphs around it."""

    def __init__(
        self, evaluator: Evaluator, parent: Frame | None, opsets: Mapping[str, int], attributes: Mapping[str, Any]
    ) -> None:
        self.evaluator = evaluator
        self.opsets = opsets
        self.attributes = attributes
        self._parent = parent
        self._values: dict[str, Any] = {}
        self._stored: Mapping[str, np.ndarray] = {}
        self._nodes: Sequence[NodeRecord] = ()

    def value(self, name: str) -> Any:
        """A value by its name, of this graph or of one around it; None for an input that is left out."""
        if not name:
            return None
        frame: Frame | None = self
        while frame is not None:
            if name in frame._values:
                return frame._values[name]
            frame = frame._parent
        raise AssertionError(f"value {name} is read before it is made")

    def known(self, name: str) -> np.ndarray | None:
        """The value where it is known while the model is traced: computed on the host, or held by the file."""
        frame: Frame | None = self
        while frame is not None and name not in frame._values:
            frame = frame._parent
        if frame is None:
            return None
        value = frame._values[name]
        return np.asarray(value) if is_known(value) else frame._stored.get(name)

    def body(self, graph: GraphRecord) -> Callable[..., list[Any]]:
        """A graph inside this one as a function of its inputs."""

        def run(*args: Any) -> list[Any]:
            names = [info.name for info in graph.inputs]
            frame = Frame(self.evaluator, self, self.opsets, self.attributes)
            return frame.run(graph, dict(zip(names, args, strict=True)), {})

        return run

    def run(self, graph: GraphRecord, inputs: Mapping[str, Any], weights: Mapping[str, Any]) -> list[Any]:
        """Outputs of a graph."""
        self._stored, self._nodes = graph.initializers, graph.nodes
        for name, array in graph.initializers.items():
            self._values[name] = weights.get(name, array)
        self._values.update(inputs)
        for node in graph.nodes:
            self._evaluate(node)
        return [self.value(info.name) for info in graph.outputs]

    def call(self, function: FunctionRecord, args: Sequence[Any], attributes: Mapping[str, Any]) -> list[Any]:
        """Outputs of a function."""
        frame = Frame(self.evaluator, None, function.opsets, {**function.defaults, **attributes})
        frame._values.update(dict.fromkeys(function.inputs), **dict(zip(function.inputs, args, strict=False)))
        frame._nodes = function.nodes
        for node in function.nodes:
            frame._evaluate(node)
        return [frame.value(name) for name in function.outputs]

    def again(self, given: Mapping[str, Any], name: str) -> Any:
        """A value of this graph as it would be if others had given values; only what lies between runs again."""
        needed, wanted = [], {name}
        for node in reversed(self._nodes):
            if wanted.intersection(node.outputs) - given.keys():
                needed.append(node)
                wanted.update(node.inputs)
        frame = Frame(self.evaluator, self, self.opsets, self.attributes)
        frame._values.update(given)
        for node in reversed(needed):
            old = all(output in self._values for output in node.outputs if output)
            if not old or any(read in frame._values for read in node.inputs):
                frame._evaluate(node)
                frame._values.update(given)
        return frame.value(name)

    def resolved(self, record: NodeRecord) -> dict[str, Any]:
        """Attributes of a node; in a function some are those of its caller."""
        outer = {name: self.attributes[of] for name, of in record.references.items() if of in self.attributes}
        return {**record.attributes, **outer}

    def _evaluate(self, record: NodeRecord) -> None:
        args = [self.value(name) for name in record.inputs]
        file, line, function = record.source or (self.evaluator.origin, record.index, record.name)
        with jax.named_scope(record.name.strip("/") or record.op):
            results = _from_line(file, line, function)(_run_node, self, record, args)
        if not isinstance(results, tuple):  # a list is one value: a sequence
            results = (results,)
        for name, value in zip(record.outputs, results, strict=False):
            if name:
                self._values[name] = value


def _run_node(frame: Frame, record: NodeRecord, args: Sequence[Any]) -> Any:
    attributes = frame.resolved(record)
    local = frame.evaluator.program.functions.get((record.domain, record.op, record.overload))
    if local is not None:
        return tuple(frame.call(local, args, attributes))
    version = frame.opsets.get(record.domain, 1)
    schemas = frame.evaluator.schemas
    given = {**schemas.defaults(record.domain, record.op, version), **attributes}
    node = Node(record, version, frame, given)
    while args and args[-1] is None:
        args = args[:-1]
    schemas.check_call(record.domain, record.op, version, [_dtype(x) for x in args], node.where)
    found = OPERATORS.find(record.domain, record.op)
    rule = found.rule(version) if found else None
    if found is None or rule is None:
        function = standard_function(record, frame.opsets, args, attributes)
        if function is None:
            raise UnsupportedOpError(
                f"{node.where}: operator {record.domain or 'ai.onnx'}::{record.op} version {version} is not known;"
                " see docs/onnx-operators.md for those that are"
            )
        return tuple(frame.call(function, args, given))
    try:
        with np.errstate(all="ignore"):  # overflow and NaN are values, on the host as on a device
            if found.host or not _is_small(args):
                return rule(node, *args)
            with jax.ensure_compile_time_eval():
                return jax.tree.map(_on_host, rule(node, *args))
    except EgraphOptError:
        raise
    except (TypeError, ValueError, IndexError, ZeroDivisionError, NotImplementedError) as error:
        # JAX refuses shapes and types that do not fit, numpy too: the model contradicts itself at this node.
        shapes = ", ".join(_text(x) for x in args)
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{node.where}: its inputs ({shapes}) do not fit: {reason}") from error


def _is_small(args: Sequence[Any]) -> bool:
    """Whether a node is worth computing on the host: all its inputs are known, and few."""
    arrays = [x for x in args if x is not None]
    return bool(arrays) and all(is_known(x) for x in arrays) and sum(np.size(x) for x in arrays) <= LARGE


def _on_host(value: Any) -> Any:
    if isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer) and value.size <= LARGE:
        return np.asarray(value)
    return value


def _dtype(value: Any) -> np.dtype[Any] | None:
    dtype = getattr(value, "dtype", None)
    return None if dtype is None or dtype.kind == "O" else np.dtype(dtype)


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return jnp.shape(value).__str__() if not hasattr(value, "dtype") else f"{value.dtype}{list(value.shape)}"


def _step(run: Callable[..., Any], frame: Frame, record: NodeRecord, args: Sequence[Any]) -> Any:
    return run(frame, record, args)


@functools.lru_cache(maxsize=65536)
def _from_line(file: str, line: int, function: str) -> Callable[..., Any]:
    """A copy of `_step` that claims to stand on a line of the user's program, so JAX records that line."""
    name = function or "<module>"
    code = _step.__code__.replace(co_filename=file, co_firstlineno=max(line - 1, 0), co_name=name, co_qualname=name)
    return types.FunctionType(code, _step.__globals__)
