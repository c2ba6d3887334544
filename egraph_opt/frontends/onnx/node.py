# SPDX-License-Identifier: Apache-2.0
"""What a rule sees of the node that it evaluates: attributes, versions, what is known of its inputs, its errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from egraph_opt.errors import ModelError, UnsupportedOpError
from egraph_opt.frontends.onnx.program import GraphRecord, NodeRecord

if TYPE_CHECKING:
    from egraph_opt.frontends.onnx.evaluate import Frame

Array = Any
"""A JAX array, a tracer, or a numpy array whose value is known while the model is traced."""

LARGE = 4096
"""Results of more elements are not computed on the host, even where the inputs are known."""


class DataDependentError(UnsupportedOpError):
    """A shape, or a step that only Python can do, depends on values that are not known while the model is traced."""


class Node:
    """A node while it is evaluated.

    Args:
        record: what the file says.
        version: of the operator set that the node's graph imports for its domain.
        frame: the values around it.
        attributes: of the record, with references resolved and defaults of the standard filled in.
    """

    def __init__(self, record: NodeRecord, version: int, frame: Frame, attributes: Mapping[str, Any]) -> None:
        self.record, self.version, self.frame, self._attributes = record, version, frame, attributes

    @property
    def op(self) -> str:
        """Name of the operator."""
        return self.record.op

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs; "" for those that nobody asks for."""
        return self.record.outputs

    def wants(self, index: int) -> bool:
        """Whether the output at ``index`` is asked for."""
        return index < len(self.outputs) and bool(self.outputs[index])

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute: as the node gives it, else the standard's default, else ``default``."""
        value = self._attributes.get(name)
        return default if value is None else value

    def xp(self, *values: Array) -> Any:
        """``numpy`` where all values are known arrays, so that the result is known too; ``jax.numpy`` otherwise."""
        return np if all(value is None or is_known(value) for value in values) else jnp

    def space(self, *shape: int) -> Any:
        """``numpy`` for results of a modest number of elements, ``jax.numpy`` for larger ones."""
        return np if int(np.prod(shape, dtype=np.int64)) <= LARGE else jnp

    def static(self, index: int, value: Array) -> np.ndarray:
        """The value of the input at ``index``, which has to be known while the model is traced.

        Raises:
            DataDependentError: it is computed from the model's arguments.
        """
        known = self.frame.known(self.record.inputs[index]) if index < len(self.record.inputs) else None
        if known is not None:
            return known
        return self.concrete(value, f"its input {self._formal(index)}")

    def ints(self, index: int, value: Array) -> list[int]:
        """The integers of the input at ``index``, which has to be known while the model is traced."""
        return [int(number) for number in self.static(index, value).reshape(-1)]

    def concrete(self, value: Array, what: str) -> np.ndarray:
        """The value as a numpy array.

        Args:
            value: any array.
            what: which one, for the message.

        Raises:
            DataDependentError: it is being traced.
        """
        if isinstance(value, jax.core.Tracer):
            raise DataDependentError(
                f"{self.where}: {what} must be known while the model is traced, and is computed from its arguments;"
                " make it a constant of the model, or call the model outside of jax.jit"
            )
        return np.asarray(value)

    def body(self, name: str) -> Callable[..., list[Array]]:
        """A graph attribute as a function of its inputs; it reads the values around the node."""
        return self.frame.body(self.graph(name))

    def graph(self, name: str) -> GraphRecord:
        """A graph attribute as a record."""
        graph = self.attr(name)
        if not isinstance(graph, GraphRecord):
            raise self.fault(f"attribute {name} is missing; want a graph")
        return graph

    @property
    def where(self) -> str:
        """File and node, for messages."""
        return f"{self.frame.evaluator.origin}: node {self.record.name!r} ({self.op})"

    def fault(self, reason: str) -> ModelError:
        """The error for a node that contradicts the standard."""
        return ModelError(f"{self.where}: {reason}")

    def unsupported(self, reason: str) -> UnsupportedOpError:
        """The error for an operator that is known, but not in this form."""
        return UnsupportedOpError(f"{self.where}: {reason}; see docs/onnx.md")

    def _formal(self, index: int) -> str:
        names: Sequence[str] = self.frame.evaluator.schemas.input_names(self.record.domain, self.op, self.version)
        return repr(names[min(index, len(names) - 1)]) if names else str(index)


def is_known(value: Any) -> bool:
    """Whether a value is known on the host while the model is traced."""
    return isinstance(value, np.ndarray | np.generic | bool | int | float)
