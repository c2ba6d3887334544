# SPDX-License-Identifier: Apache-2.0
"""Arguments of a call, split into array leaves that are traced and the rest, which is part of the program.

Static arguments are kept whole. A leaf that is no array and no number (an activation function inside a module, a
string) is static by itself, so that trees with static parts can be passed as they are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from egraph_opt.errors import ArgumentError

_ARRAY = (jax.Array, jax.ShapeDtypeStruct, np.ndarray, np.generic, bool, int, float, complex)


class _Static:
    """Stands in the argument tree for a value that is not traced."""

    def __repr__(self) -> str:
        return "static"


STATIC = _Static()
"""What a static argument or leaf is replaced by in ``Arguments.tree``."""


@dataclass(frozen=True)
class Arguments:
    """One call's arguments.

    Args:
        leaves: arrays, numbers and ``jax.ShapeDtypeStruct``, in the order of the flattened ``(args, kwargs)``.
        tree: tree of ``(args, kwargs)`` in which static parts hold no leaf.
        static: the values of the static parts, in order.
        names: a readable path of each leaf, such as ``params['w1']``.
        whole: tree of ``(args, kwargs)`` with every leaf, and which of its leaves are traced.
    """

    leaves: tuple[Any, ...]
    tree: Any
    static: tuple[Any, ...]
    names: tuple[str, ...]
    whole: tuple[Any, tuple[bool, ...]] = field(repr=False)

    @property
    def has_static_leaves(self) -> bool:
        """Whether an argument that was not declared static holds a leaf that is no array."""
        return any(not isinstance(value, _Box) for value in self.static)

    @staticmethod
    def flatten(
        fn: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None = None,
        static_argnums: int | Sequence[int] = (),
        static_argnames: str | Sequence[str] = (),
    ) -> Arguments:
        """Split the arguments of ``fn(*args, **kwargs)``.

        Raises:
            ArgumentError: a static position that the call does not have.
        """
        kwargs = dict(kwargs or {})
        parameters = _parameters(fn)
        positions, keywords = _static_places(parameters, args, static_argnums, static_argnames)
        boxed_args = tuple(_Box(a) if i in positions else a for i, a in enumerate(args))
        boxed = (boxed_args, {k: _Box(v) if k in keywords else v for k, v in sorted(kwargs.items())})
        paths, whole = jax.tree_util.tree_flatten_with_path(boxed)
        traced = tuple(isinstance(leaf, _ARRAY) for _, leaf in paths)
        _check_numbers((_name(path, parameters), leaf) for (path, leaf), t in zip(paths, traced, strict=True) if t)
        kept = [leaf if t else STATIC for (_, leaf), t in zip(paths, traced, strict=True)]
        tree = jax.tree.structure(jax.tree.map(lambda v: None if v is STATIC else v, jax.tree.unflatten(whole, kept)))
        return Arguments(
            leaves=tuple(leaf for leaf in kept if leaf is not STATIC),
            tree=tree,
            static=tuple(leaf for (_, leaf), t in zip(paths, traced, strict=True) if not t),
            names=tuple(_name(path, parameters) for (path, _), t in zip(paths, traced, strict=True) if t),
            whole=(whole, traced),
        )

    def unflatten(self, leaves: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """``(args, kwargs)`` with other leaves in the place of the traced ones."""
        whole, traced = self.whole
        arrays, rest = iter(leaves), iter(self.static)
        args, kwargs = jax.tree.unflatten(whole, [next(arrays) if t else next(rest) for t in traced])
        args = tuple(a.value if isinstance(a, _Box) else a for a in args)
        return args, {k: v.value if isinstance(v, _Box) else v for k, v in kwargs.items()}


def _check_numbers(leaves: Iterable[tuple[str, Any]]) -> None:
    for name, leaf in leaves:
        if isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind in "OSUMm":
            raise ArgumentError(
                f"{name}: want numbers, got a numpy array of {leaf.dtype}; make it static or convert it"
            )


class _Box:
    """A static argument: opaque to tree functions, equal when the value is."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Box) and type(self.value) is type(other.value) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash(self.value)


def _parameters(fn: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        return []


def _static_places(
    parameters: Sequence[inspect.Parameter],
    args: Sequence[Any],
    argnums: int | Sequence[int],
    argnames: str | Sequence[str],
) -> tuple[set[int], set[str]]:
    """Positions and keywords that are static; a name also covers its position and the other way round, as in jit."""
    numbers = {argnums} if isinstance(argnums, int) else set(argnums)
    names = {argnames} if isinstance(argnames, str) else set(argnames)
    named = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    for n in numbers:
        if n >= len(args) and (n >= len(named) or not parameters) and not variadic:
            raise ArgumentError(f"static_argnums={n}, but the function takes {len(named)} positional arguments")
    numbers = {n % len(args) if n < 0 and args else n for n in numbers}
    both_names = names | {named[n] for n in numbers if n < len(named)}
    return numbers | {i for i, name in enumerate(named) if name in names}, both_names


def _name(path: Sequence[Any], parameters: Sequence[inspect.Parameter]) -> str:
    """Name of a leaf from its path in ``(args, kwargs)``."""
    side, key, *rest = path
    if side.idx == 1:
        head = str(key.key)
    else:
        head = f"arg{key.idx}"
        for index, p in enumerate(parameters):
            if p.kind is p.VAR_POSITIONAL:
                head = f"{p.name}[{key.idx - index}]" if key.idx >= index else head
                break
            if index == key.idx:
                head = p.name
                break
    return head + jax.tree_util.keystr(tuple(rest))
