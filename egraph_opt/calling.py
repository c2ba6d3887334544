# SPDX-License-Identifier: Apache-2.0
"""Calling convention of a captured program: pytrees to flat leaves, and which leaves are frozen."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

from egraph_opt.capture import Arguments, Captured
from egraph_opt.errors import ArgumentError
from egraph_opt.frontends import LoadedModel


@dataclass(frozen=True)
class Convention:
    """How a captured program is called.

    Args:
        function: the original function, for the names of its parameters.
        captured: its capture.
        frozen: names of the frozen parameters.
        static_argnums: positions of static arguments.
        static_argnames: names of static arguments.
    """

    function: Callable[..., Any]
    captured: Captured
    frozen: tuple[str, ...] = ()
    static_argnums: tuple[int, ...] = ()
    static_argnames: tuple[str, ...] = ()

    def leaves(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """Flat leaves of a call.

        Raises:
            ArgumentError: the arguments have another structure, shape or element type than those planned for.
        """
        arguments = Arguments.flatten(self.function, args, kwargs, self.static_argnums, self.static_argnames)
        if arguments.tree != self.captured.in_tree:
            raise ArgumentError(
                f"{self._name}: want arguments of the structure {self.captured.in_tree}, got {arguments.tree};"
                " plan again for other arguments"
            )
        for wanted, got in zip(self.captured.arguments.static, arguments.static, strict=True):
            if wanted is not got and wanted != got:
                raise ArgumentError(
                    f"{self._name}: want the static arguments that were planned for; plan again for others"
                )
        for position, leaf in enumerate(arguments.leaves):
            self._check(position, leaf)
        return list(arguments.leaves)

    def _check(self, position: int, leaf: Any) -> None:
        type, aval = self.captured.graph.input_types[position], jax.typeof(leaf)
        if aval.shape != type.shape or str(aval.dtype) != type.dtype:
            name = self.captured.leaf_names[position]
            raise ArgumentError(
                f"{self._name}: argument {name}: want {type}, got {aval.str_short()}; plan again for other types"
            )

    @property
    def places(self) -> list[str]:
        """Frozen parameters that the program has, in call order."""
        return list(self._frozen_leaves)

    @property
    def holds_weights(self) -> bool:
        """Whether the function is a loaded model with weights of its own, which it closes over."""
        return isinstance(self.function, LoadedModel) and bool(self.captured.constants)

    @property
    def frozen_positions(self) -> tuple[int, ...]:
        """Input positions that stay the same between calls: frozen leaves, and closed-over arrays with them.

        The arrays that a loaded model closes over came from its file: they are frozen without being asked for.
        """
        if not self._frozen_leaves and not self.holds_weights:
            return ()
        count = len(self.captured.leaf_names)
        closed = range(count, count + len(self.captured.constants))
        return (*sorted(p for leaves in self._frozen_leaves.values() for p in leaves), *closed)

    def positions_of(self, names: Sequence[str]) -> tuple[int, ...]:
        """Input positions of the leaves of these parameters."""
        return tuple(sorted(p for name in names for p in self._leaves_of.get(name, ())))

    def frozen_values(self, values: Sequence[Any]) -> dict[int, Any]:
        """Leaf position -> array, for the values of the frozen parameters in call order.

        Raises:
            ArgumentError: the values do not fit.
        """
        leaves = self._leaves_with(dict(zip(self._frozen_leaves, values, strict=True)))
        return {p: leaves[p] for positions in self._frozen_leaves.values() for p in positions}

    def closed_values(self, weights: Mapping[str, Any]) -> list[Any]:
        """The closed-over arrays of a loaded model, in order, with some of its weights replaced.

        Args:
            weights: name -> array, as in ``model.constants``.

        Raises:
            ArgumentError: a name or type that the model does not have.
        """
        assert isinstance(self.function, LoadedModel)
        names = {id(array): name for name, array in self.function.constants.items()}
        for name, value in weights.items():
            own = self.function.constants.get(name)
            if own is None:
                raise ArgumentError(f"{self._name}: {name!r} is none of the model's weights, see model.constants")
            if np.shape(value) != own.shape or jax.dtypes.result_type(value) != own.dtype:
                raise ArgumentError(f"{self._name}: weight {name!r}: want {own.dtype}{list(own.shape)}")
        return [weights.get(names.get(id(array), ""), array) for array in self.captured.constants]

    def rest(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """Leaves of the arguments that are not frozen, for a call without the frozen ones.

        Raises:
            ArgumentError: the arguments do not fit.
        """
        names = self._parameters
        free = [name for name in names if name not in self._frozen_leaves]
        want = [name for name in free if name not in kwargs]
        if len(args) > len(want):
            raise ArgumentError(f"{self._name}: want {len(want)} arguments besides the frozen ones, got {len(args)}")
        given = {**dict(zip(want, args, strict=False)), **kwargs}
        for name in given:
            if name not in free:
                raise ArgumentError(f"{self._name}: argument {name!r} is not one of {', '.join(free)}")
        for name in free:
            if name not in given:
                raise ArgumentError(f"{self._name}: argument {name} is missing")
        frozen = {p for positions in self._frozen_leaves.values() for p in positions}
        return [leaf for position, leaf in enumerate(self._leaves_with(given)) if position not in frozen]

    def _leaves_with(self, given: Mapping[str, Any]) -> list[Any]:
        """Leaves of the call that was planned for, with other values for some of the parameters."""
        args, kwargs = self.captured.arguments.unflatten(self.captured.arguments.leaves)
        names = _parameter_names(self.function, len(args))
        return self.leaves(
            [given.get(name, value) for name, value in zip(names, args, strict=True)],
            {name: given.get(name, value) for name, value in kwargs.items()},
        )

    def precision(self) -> contextlib.AbstractContextManager[None]:
        """A context in which the program's element types exist."""
        return precision_of(self.function)

    def structs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """``(args, kwargs)`` of ``jax.ShapeDtypeStruct``."""
        types = self.captured.graph.input_types[: len(self.captured.leaf_names)]
        shapes = [
            jax.ShapeDtypeStruct(jax.typeof(leaf).shape, jax.typeof(leaf).dtype)
            for leaf, _ in zip(self.captured.arguments.leaves, types, strict=True)
        ]
        return self.captured.arguments.unflatten(shapes)

    @property
    def _name(self) -> str:
        return getattr(self.function, "__name__", "the program")

    @cached_property
    def _parameters(self) -> list[str]:
        return list(self._leaves_of)

    @cached_property
    def _leaves_of(self) -> dict[str, list[int]]:
        """Leaf positions of each parameter, in call order."""
        count = len(self.captured.leaf_names)
        args, kwargs = self.captured.arguments.unflatten(range(count))
        names = _parameter_names(self.function, len(args))
        table = {name: _positions(value) for name, value in zip(names, args, strict=True)}
        return table | {name: _positions(value) for name, value in kwargs.items()}

    @cached_property
    def _frozen_leaves(self) -> dict[str, list[int]]:
        for name in self.frozen:
            if name not in self._leaves_of:
                raise ArgumentError(
                    f"{self._name}: frozen={name!r} is no argument of the call; there are {', '.join(self._leaves_of)}"
                )
        return {name: leaves for name, leaves in self._leaves_of.items() if name in self.frozen}


def precision_of(function: Callable[..., Any]) -> contextlib.AbstractContextManager[None]:
    """A context with 64-bit types switched on where a loaded model needs them; no change for other functions."""
    return function.precision() if isinstance(function, LoadedModel) else contextlib.nullcontext()


def _positions(value: Any) -> list[int]:
    return [leaf for leaf in jax.tree.leaves(value) if type(leaf) is int]


def _parameter_names(function: Callable[..., Any], count: int) -> list[str]:
    """Names of the first positional parameters; ``arg0`` ... where there are none, ``args[0]`` ... behind a star."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names: list[str] = []
    for index in range(count):
        if index < len(parameters) and parameters[index].kind in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        ):
            names.append(parameters[index].name)
        else:
            names.append(f"arg{index}")
    return names
