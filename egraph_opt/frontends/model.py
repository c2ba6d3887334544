# SPDX-License-Identifier: Apache-2.0
"""A model loaded from a file: a function that JAX traces, with what is needed to call it and to save it again.

What comes out of `load`, and what capture traces like any function of the user. Each format has a class of its own.
"""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from egraph_opt import _compat
from egraph_opt.errors import ArgumentError
from egraph_opt.frontends.examples import evaluate_dim, example_array

MOST_ELEMENTS = 1 << 44
"""No argument has more elements than that."""


class LoadedModel(ABC):
    """A program from a file as a JAX function.

    Under a trace it leaves ordinary primitives, so it works under `jax.jit`, `jax.grad`, `jax.vmap` and
    `jax.make_jaxpr`.

    Attributes:
        name: name of the exported function, of the module or of the graph.
        path: the file it came from.
        in_tree: tree of ``(args, kwargs)``.
        out_tree: tree of the result.
        in_avals: flat argument types; dimensions may be symbolic.
        out_avals: flat result types.
        exported: the `jax.export.Exported` that the file held, or None.
        is_wide: whether the program holds 64-bit types, which JAX keeps only inside ``precision()``.
        dims: sizes that the user gave for symbolic dimensions, for examples.
    """

    name: str
    path: Path
    in_tree: Any
    out_tree: Any
    in_avals: Sequence[jax.ShapeDtypeStruct]
    out_avals: Sequence[Any]
    exported: jax.export.Exported | None = None
    is_wide: bool = False
    dims: Mapping[str, int] = MappingProxyType({})

    @abstractmethod
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model, or trace it when an argument is being traced."""

    @property
    @abstractmethod
    def constants(self) -> Mapping[str, Any]:
        """The weights that the file holds, by name: they stay the same between calls, and thereby are frozen."""

    @property
    def frozen_argnums(self) -> tuple[int, ...]:
        """Positions of the arguments that are evidently weights."""
        args, _ = jax.tree.unflatten(self.in_tree, self.in_avals)
        if len(args) < 2 or isinstance(args[0], jax.ShapeDtypeStruct):
            return ()
        leaves = jax.tree.leaves(args[0])
        floats = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact) and leaf.ndim]
        return (0,) if len(floats) >= 2 and len(floats) == len([x for x in leaves if x.ndim]) else ()

    def precision(self) -> contextlib.AbstractContextManager[None]:
        """A context with 64-bit types switched on where the model needs them; calls enter it by themselves."""
        return _compat.x64_enabled() if self.is_wide else contextlib.nullcontext()

    def example_args(self, seed: int = 0, dims: Mapping[str, int] | None = None) -> tuple[Any, ...]:
        """Random arguments of the right types and of a scale that keeps activations near one.

        Args:
            seed: of the random numbers.
            dims: sizes for symbolic dimensions by name; where none is given, those of ``load``, or 8.

        Returns:
            The positional arguments.

        Raises:
            ArgumentError: the model has keyword arguments, or sizes beyond any memory.
        """
        args, kwargs = self.example_call(seed, dims)
        if kwargs:
            raise ArgumentError(f"{self.path}: the model takes keyword arguments; example_call() gives both kinds")
        return args

    def example_call(
        self, seed: int = 0, dims: Mapping[str, int] | None = None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments, as ``example_args`` makes them.

        Raises:
            ArgumentError: sizes beyond any memory.
        """
        random = np.random.default_rng(seed)
        sizes = {**self.dims, **(dims or {})}
        args, kwargs = jax.tree.unflatten(self.in_tree, list(range(len(self.in_avals))))
        frozen = set(self.frozen_argnums)
        values = []
        for position, argument in enumerate([*args, *kwargs.values()]):
            numbers = jax.tree.leaves(argument)
            kind = "weight" if position in frozen else "state" if len(numbers) > 1 else "data"
            for number in numbers:
                aval = self.in_avals[number]
                shape = tuple(evaluate_dim(dim, sizes) for dim in aval.shape)
                if math.prod(shape) > MOST_ELEMENTS:
                    raise ArgumentError(
                        f"{self.path}: argument {number} has the shape {list(shape)}, more than any memory holds;"
                        " give smaller sizes"
                    )
                with self.precision():
                    values.append(example_array(random, shape, aval.dtype, kind))
        positional, keywords = jax.tree.unflatten(self.in_tree, values)
        return tuple(positional), dict(keywords)

    @property
    def open_dims(self) -> dict[str, tuple[int, int]]:
        """Dimensions that the file leaves open: name -> a leaf, and an axis of it, that has this dimension."""
        found: dict[str, tuple[int, int]] = {}
        for leaf, aval in enumerate(self.in_avals):
            for axis, dim in enumerate(aval.shape):
                if not isinstance(dim, int) and str(dim).isidentifier():
                    found.setdefault(str(dim), (leaf, axis))
        return found

    def __repr__(self) -> str:
        """Name and file."""
        return f"<{type(self).__name__} {self.name} from {self.path}>"


def vjp_order(exported: jax.export.Exported) -> int:
    """How many gradients of an exported function its file holds."""
    order = 0
    current = exported
    while current.has_vjp() and order < 3:
        current = current.vjp()
        order += 1
    return order
