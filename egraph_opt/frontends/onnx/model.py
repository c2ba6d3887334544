# SPDX-License-Identifier: Apache-2.0
"""An ONNX program as a loaded model: its signature, its weights, its calls."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from egraph_opt import _compat
from egraph_opt._compat import outside_of_traces
from egraph_opt.errors import ArgumentError, ModelError
from egraph_opt.frontends.model import LoadedModel
from egraph_opt.frontends.onnx.evaluate import Evaluator
from egraph_opt.frontends.onnx.known import check_known
from egraph_opt.frontends.onnx.node import DataDependentError
from egraph_opt.frontends.onnx.program import Program
from egraph_opt.frontends.onnx.signature import Shape, Signature

KNOWN_INTEGERS = 1024
"""Integer initializers with at most so many elements are shapes, axes and the like: their values are used."""


class OnnxModel(LoadedModel):
    """An ONNX model as a JAX function.

    A call takes the graph's inputs in their order or by name, and returns its output, or a tuple of several. It is
    traced, compiled, or, where Python needs the values of arrays, run step by step. Weights are the float initializers
    of more than one element and large ones of other types: they stay outside of the program, the same on every call,
    until ``weights=`` gives others.

    Args:
        program: the records.
        path: the file, for messages.
        shapes: input -> its shape, or name of a dimension -> its size, where the model leaves them open.

    Raises:
        UnsupportedOpError: the model holds operators that are not known.
        ArgumentError: a shape that does not fit the model.
    """

    is_wide = True  # sizes, indices and labels are 64-bit integers in ONNX

    def __init__(self, program: Program, path: Path, shapes: Mapping[str, Shape | int] | None = None) -> None:
        check_known(program)
        self.path = path
        self.program = program
        self.name = path.stem  # exporters call every graph "main_graph"
        self.__name__ = self.name
        self.signature = Signature(program, shapes or {})
        count = len(self.signature.inputs)
        self.__signature__ = self.signature.python()
        self.in_tree = jax.tree.structure(((0,) * count, {}))
        results = len(program.graph.outputs)
        self.out_tree = jax.tree.structure((0,) * results if results != 1 else 0)
        self.in_avals = self.signature.avals
        self._evaluator = Evaluator(program)
        self._jitted = jax.jit(self._run, compiler_options=_compat.sound_compiler_options())
        self._given: dict[str, Any] = {}

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in the order of the call."""
        return tuple(info.name for info in self.signature.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in the order of the result."""
        return tuple(info.name for info in self.program.graph.outputs)

    @functools.cached_property
    def out_avals(self) -> Sequence[Any]:  # type: ignore[override]
        """Result types for the example arguments."""
        with self.precision():
            return jax.tree.leaves(jax.eval_shape(self._run, self.weights, self.example_args()))

    @functools.cached_property
    def weights(self) -> Mapping[str, jax.Array]:
        """The weights by name, on JAX's default device."""
        stored = {name: array for name, array in self.program.graph.initializers.items() if _is_weight(array)}
        with self.precision(), outside_of_traces():
            return {name: self._given.get(name, jax.device_put(array)) for name, array in stored.items()}

    @property
    def constants(self) -> Mapping[str, jax.Array]:
        """The weights."""
        return self.weights

    def with_weights(self, weights: Mapping[str, Any]) -> OnnxModel:
        """The same model with other weights.

        Args:
            weights: name -> array; those not given stay.

        Raises:
            ArgumentError: a name or a type that the model does not have.
        """
        other = OnnxModel.__new__(OnnxModel)
        other.__dict__.update({k: v for k, v in self.__dict__.items() if k not in {"weights", "_jitted"}})
        other._given = {**self._given, **self._checked_weights(weights)}
        other._jitted = jax.jit(other._run, compiler_options=_compat.sound_compiler_options())
        return other

    def example_call(
        self, seed: int = 0, dims: Mapping[str, int] | None = None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Random arguments of the right types: see `LoadedModel.example_args`.

        Raises:
            ArgumentError: the model does not tell the rank or the type of an input.
        """
        self.signature.check_complete(str(self.path))
        return super().example_call(seed, dims)

    def __call__(self, *args: Any, weights: Mapping[str, Any] | None = None, **named: Any) -> Any:
        """Run the model, or trace it when an argument is being traced.

        Args:
            args: inputs in order.
            weights: other weights by name; those not given stay.
            named: further inputs by name.
        """
        values = self.signature.bind(args, named, self.name)
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((values, weights)))
        with self.precision():
            held = {**self.weights, **self._checked_weights(weights)} if weights is not None else self.weights
            inputs = self.signature.arrays(values, self.name)
            if traced or self._has_strings(inputs):
                return self._run(held, inputs)
            try:
                return self._jitted(held, inputs)
            except DataDependentError:  # what needs the values of arrays runs outside of traces
                return self._run(held, inputs)

    def _has_strings(self, inputs: Sequence[Any]) -> bool:
        """Whether JAX cannot compile the model because strings go in or come out."""
        if any(info.kind == "string" for info in self.program.graph.outputs):
            return True
        return any(getattr(getattr(leaf, "dtype", None), "kind", "") == "O" for leaf in jax.tree.leaves(inputs))

    def _run(self, weights: Mapping[str, Any], inputs: Sequence[Any]) -> Any:
        with self.precision():
            results = self._evaluator.main(dict(zip(self.input_names, inputs, strict=True)), weights)
            results = [_array(value) for value in results]
        self._check_types(results)
        return results[0] if len(results) == 1 else tuple(results)

    def _check_types(self, results: Sequence[Any]) -> None:
        """Refuse outputs of other types than those that the file declares."""
        for info, value in zip(self.program.graph.outputs, results, strict=True):
            if info.dtype is not None and isinstance(value, jax.Array) and value.dtype != info.dtype:
                raise ModelError(
                    f"{self.path}: output {info.name!r} is declared as {info.dtype}, but is computed as {value.dtype};"
                    " export the model again"
                )

    def _checked_weights(self, weights: Mapping[str, Any]) -> dict[str, Any]:
        stored = self.program.graph.initializers
        checked = {}
        for name, value in weights.items():
            if name not in stored or not _is_weight(stored[name]):
                raise ArgumentError(f"{self.name}: {name!r} is none of its weights; model.weights has their names")
            array = jnp.asarray(value)
            if array.shape != stored[name].shape or array.dtype != stored[name].dtype:
                want = f"{stored[name].dtype}{list(stored[name].shape)}"
                raise ArgumentError(f"{self.name}: weight {name!r}: want {want}, got {array.dtype}{list(array.shape)}")
            checked[name] = array
        return checked


def _is_weight(array: np.ndarray) -> bool:
    """Whether an initializer is data rather than a parameter of operators."""
    if array.size <= 1 or array.dtype == object:
        return False
    return array.dtype.kind not in "iub" or array.size > KNOWN_INTEGERS


def _array(value: Any) -> Any:
    """A result as JAX returns it; sequences are lists of arrays, strings stay with numpy."""
    if isinstance(value, list | tuple):
        return [_array(item) for item in value]
    if value is None or (isinstance(value, np.ndarray) and value.dtype == object):
        return value
    return jnp.asarray(value)
